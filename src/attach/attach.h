/* SPDX-License-Identifier: MIT */
/*
 * Attach engine: turns "call this handler whenever execution reaches this address" into bytes. It
 * decodes and relocates the displaced instructions and emits a trampoline; it writes nothing to
 * any process and knows no BPF. Who writes the bytes, and with which threads stopped, is the
 * caller's business (agent, keeper).
 *
 *     function:  jmp trampoline        (5 bytes; the rest of the displaced window is kept)
 *     trampoline: save, build struct pt_regs, call handler(arg, regs), restore,
 *                 displaced instructions (relocated), jmp back
 *
 * A call of five to eight bytes at the address is replaced by a call of the trampoline instead,
 * which pushes the right return address and keeps the processor's prediction of returns; it ends
 * with a jump to what was called.
 *
 * All registers and flags are preserved; vector registers are never touched; the red zone is
 * skipped. The handler runs with the stack aligned to 16 and the direction flag clear, and sees
 * what the kernel's uprobe shows.
 *
 * Where there is no room for that, the patch can be the first instruction's bytes alone: a jump whose
 * distance ends in the bytes that follow, which stay as they are and go on being what they were (a
 * "punned" jump). They say where the trampoline has to lie: attach_pun_room().
 *
 * Or it is a breakpoint over the first byte (attach_text.trap): whoever handles its signal sends the thread on
 * at the trampoline, with the same registers. Everything else is the same.
 *
 * When is a window safe? Nothing may ever go on inside it: no branch from anywhere may lead there
 * (function.h finds the branches), no call may return there, no restartable sequence may cover it,
 * and it must not reach into another function. What cannot be shown is refused, with the
 * instruction that is in the way.
 */
#ifndef LIMPET_ATTACH_ATTACH_H
#define LIMPET_ATTACH_ATTACH_H

#include "base/types.h"

/*
 * The kernel's struct pt_regs for x86-64 (arch/x86/include/uapi/asm/ptrace.h): what programs see.
 */
struct attach_regs {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	u64 orig_rax, rip, cs, eflags, rsp, ss;
};

typedef void attach_handler(void *arg, struct attach_regs *regs);

/* Answers where the thread goes on: 0: where it was going, else there, with the same registers. */
typedef u64 attach_steer(void *arg, struct attach_regs *regs);

struct attach_stubs; /* attach/stub.h */
struct attach_lease; /* attach/lease.h */

/* The call that a trampoline makes. */
struct attach_call {
	attach_handler *handler;
	void *arg;
	const void *live; /* u32: the call is left out while it is 0; NULL: always made */
	/*
	 * In the handler's place, at a function's first instruction only: what lies below the stack
	 * pointer is free there. With `behind` anywhere, and r11 is lost.
	 */
	attach_steer *steer;
	/* With steer: a call without it that is made first, and always; NULL: none. */
	const struct attach_call *before;
	/* With steer: where return stubs are found without a call; NULL: always ask. */
	const struct attach_stubs *stubs;
	/* NULL: it is made on the thread's own stack, which takes 300 bytes and what the handler does. */
	const struct attach_lease *lease;
	/*
	 * Not 0: the call is made when the instructions in the first so many bytes have run,
	 * and no others are displaced. A branch among them that is taken goes where it leads, without a call.
	 */
	u8 behind;
};

#define ATTACH_JMP_LEN     5
#define ATTACH_PATCH_MAX   8   /* bytes written over the text */
#define ATTACH_WINDOW_MAX  20  /* bytes of text a patch may displace: 5 + a 15-byte insn */
#define ATTACH_TEXT_WANTED 32  /* bytes from the address that attach_plan() wants to see */
#define ATTACH_TRAMP_MAX   1536/* bytes a trampoline takes at most */
#define ATTACH_INSN_MAX    15

/* Why an address cannot be probed; attach_reason() gives the words. */
enum attach_error {
	ATTACH_OK,
	ATTACH_E_DECODE,     /* unknown or truncated instruction */
	ATTACH_E_SHORT,      /* no room for five bytes */
	ATTACH_E_BRANCH_IN,  /* something jumps into the window */
	ATTACH_E_RELOCATE,   /* an instruction that cannot be moved */
	ATTACH_E_RANGE,      /* trampoline further than 2 GiB */
	ATTACH_E_RSEQ,       /* inside a restartable sequence */
	ATTACH_E_NOT_CODE,   /* not in an executable mapping */
	ATTACH_E_BREAKPOINT, /* a breakpoint is there: a debugger's */
	ATTACH_E_OVERLAP,    /* its window overlaps that of another probe */
	ATTACH_E_NOT_INSN,   /* not the beginning of an instruction */
	ATTACH_E_NO_MEMORY,
	ATTACH_E_STACKS, /* Go: the stack may have no room for even a trampoline */
	ATTACH_E_NOT_ENTRY, /* a return probe, but not on a function's first instruction */
	ATTACH_E_NOT_CALLED, /* a return probe where no return address tops the stack */
	ATTACH_E_CALLER,    /* a return probe on a function that looks at its return address */
	ATTACH_E_UNWIND,    /* a return probe that unwinders would not get past */
	ATTACH_E_OWN,       /* limpet needs the place for itself */
	ATTACH_E_SHADOW,    /* a return probe where the processor checks returns */
	ATTACH_E_GO,        /* a return probe in Go */
	ATTACH_E_GO_FAULT,  /* Go: an instruction that may fault */
	ATTACH_E_EXTENT,    /* a system call in code without unwind information */
	ATTACH_E_LOOSE,     /* code that no file has, where system calls may be */
	/* Why there cannot be a breakpoint (agent/traps.c), where there is no room for a jump */
	ATTACH_E_TRAP_SOON,    /* not looked into yet */
	ATTACH_E_TRAP_HANDLER, /* the program has a handler for SIGTRAP, or ignores it */
	ATTACH_E_TRAP_BLOCKED, /* a thread blocks SIGTRAP */
	ATTACH_E_TRAP_CALLS,   /* a system call that changes signals cannot be watched */
	ATTACH_E_TRAP_TRACED,  /* there are programs on system calls */
	ATTACH_E_TRAP_CODE,    /* code that no file has */
	ATTACH_E_TRAP_FILTER,  /* a seccomp filter forbids what it takes */
	ATTACH_E_TRAP_LIBC,    /* in libc itself, which runs where signals are not as they seem */
	ATTACH_E_TRAP_LINKER,  /* no dynamic linker that tells of new code */
	ATTACH_E_TRAP_MANY,    /* there are as many as can be */
	ATTACH_E_TRAP_STACK,   /* handlers run on signal stacks, where two signal frames may be too much */
};

/* What is in the way, for people. */
struct attach_refusal {
	u32 error;                /* enum attach_error */
	u32 trap;                 /* likewise: why there is no breakpoint instead; 0: it was not considered */
	u8 len;                   /* bytes of insn */
	u8 insn[ATTACH_INSN_MAX]; /* the instruction in the way, len 0: none to show */
	u64 where;                /* its address; BRANCH_IN: where the branch leads */
};

/* Text as it was before any patch, from the probed address on. */
struct attach_text {
	const u8 *bytes;
	size_t len; /* readable, at least ATTACH_TEXT_WANTED unless the mapping or the room for the
		       window ends */
	size_t own; /* up to the end of the function; ATTACH_OWN_UNKNOWN where that is not known */
	size_t seen; /* readable, what belongs to another function included */
	bool first_only; /* the patch may change the first instruction only */
	bool trap; /* with first_only: it is a breakpoint */
	u64 hop; /* with first_only: where its jump leads, when that is not the trampoline itself; else 0 */
	bool shadow_stack; /* the process has one: calls are moved only where the patch is a call */
};
#define ATTACH_OWN_UNKNOWN (~(size_t)0)

/* A planned patch. All addresses are those of the target. */
struct attach_plan {
	u64 addr;
	u64 tramp;
	u8 window; /* displaced bytes: instructions, and padding behind the last */
	u8 reach;  /* bytes that no other patch may change: the window, or all of a punned jump */
	u8 insn_count;
	u8 insn_off[ATTACH_WINDOW_MAX];   /* offset of each displaced instruction in the window */
	u16 moved_off[ATTACH_WINDOW_MAX]; /* offset of its relocated form in the trampoline */
	u16 code_len;                     /* bytes of trampoline */
	u16 behind_off; /* with attach_call.behind: where in it the call is made, the instructions run */
	u8 orig[ATTACH_WINDOW_MAX];       /* the bytes that were there */
	u8 patch_len;
	u8 patch[ATTACH_PATCH_MAX]; /* what goes to addr .. addr + patch_len - 1 */
};

/*
 * Plans a probe at `addr` with a trampoline that will run at `tramp` and makes `call`. Writes the
 * trampoline to `code` (cap >= ATTACH_TRAMP_MAX). ATTACH_OK, or the error, which is also in
 * *ret_why then; *ret only on ATTACH_OK. Whether something leads into the window is for the caller
 * to find out.
 */
enum attach_error attach_plan(const struct attach_text *text, u64 addr, u64 tramp,
			      const struct attach_call *call, u8 *code, size_t cap,
			      struct attach_plan *ret, struct attach_refusal *ret_why);

/*
 * Plans what a function with return probes needs once (attach/stub.h), to run at `at`: the code that
 * its stubs go on to when it has returned, which makes `call` with the registers of that moment and
 * returns to the caller; and the function's first instructions, for the stubs to call. The offsets
 * of both, and in *ret the window as attach_plan() has it. Errors as there.
 */
struct attach_return {
	u16 exit_off, body_off;
};
enum attach_error attach_plan_return(const struct attach_text *text, u64 addr, u64 at,
				     const struct attach_call *call, u8 *code, size_t cap,
				     struct attach_plan *ret, struct attach_return *ret_offs,
				     struct attach_refusal *ret_why);

/*
 * With text->first_only: where the trampoline, or text->hop, may begin, both ends included, for a jump with so many
 * prefixes in front (they take more of what follows for its distance: 0, 1, ... give other places).
 * False where the first instruction has room enough for a jump, is not known, cannot take that many
 * prefixes, or where what follows it cannot be seen.
 */
bool attach_pun_room(const struct attach_text *text, u64 addr, u32 prefixes, u64 *ret_first, u64 *ret_last);

/*
 * Where a thread whose program counter is at `pc`, inside the window, goes on: the address of the
 * same instruction in the trampoline. 0 when pc is not on an instruction of the window, `addr`
 * itself is returned as is.
 */
u64 attach_moved_pc(const struct attach_plan *plan, u64 pc);

const char *attach_reason(enum attach_error e);

#endif
