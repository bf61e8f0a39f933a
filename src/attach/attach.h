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
 * General-purpose registers and flags are preserved (rdi.. may be changed by the handler through
 * regs where ATTACH_F_WRITE_REGS is set); vector registers are never touched; the red zone is
 * skipped. The stack is aligned to 16 at the call.
 */
#ifndef LIMPET_ATTACH_ATTACH_H
#define LIMPET_ATTACH_ATTACH_H

#include "base/types.h"

/* The kernel's struct pt_regs for x86-64 (arch/x86/include/uapi/asm/ptrace.h): what programs see. */
struct attach_regs {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	u64 orig_rax, rip, cs, eflags, rsp, ss;
};

typedef void attach_handler(void *arg, struct attach_regs *regs);

#define ATTACH_JMP_LEN      5
#define ATTACH_WINDOW_MAX   20  /* bytes of text a patch may displace: 5 + a 15-byte insn */
#define ATTACH_TEXT_WANTED  32  /* bytes from the address that attach_plan() wants to see */
#define ATTACH_TRAMP_MAX    512 /* bytes a trampoline takes at most */

/* Why an address cannot be probed; attach_reason() gives the words. */
enum attach_error {
	ATTACH_OK,
	ATTACH_E_DECODE,      /* unknown or truncated instruction */
	ATTACH_E_SHORT,       /* no room for five bytes */
	ATTACH_E_BRANCH_IN,   /* something jumps into the window */
	ATTACH_E_RELOCATE,    /* an instruction that cannot be moved */
	ATTACH_E_RANGE,       /* trampoline further than 2 GiB */
	ATTACH_E_RSEQ,        /* inside a restartable sequence */
	ATTACH_E_NOT_CODE,    /* not in an executable mapping */
};

/* A planned patch. All addresses are those of the target. */
struct attach_plan {
	u64 addr;
	u64 tramp;
	u8 window;                     /* displaced bytes, a whole number of instructions, >= 5 */
	u8 insn_count;
	u8 insn_off[ATTACH_WINDOW_MAX];   /* offset of each displaced instruction in the window */
	u16 moved_off[ATTACH_WINDOW_MAX]; /* offset of its relocated form in the trampoline */
	u16 code_len;                  /* bytes of trampoline */
	u8 orig[ATTACH_WINDOW_MAX];    /* the bytes that were there */
	u8 patch[ATTACH_JMP_LEN];      /* what goes to addr .. addr + 4 */
};

/*
 * Plans a probe at `addr`, whose text is at `text` (text_len bytes are readable, at least
 * ATTACH_TEXT_WANTED unless the mapping ends), with a trampoline that will run at `tramp`. Writes
 * the trampoline to `code` (cap >= ATTACH_TRAMP_MAX). Returns enum attach_error; *ret only on
 * ATTACH_OK.
 */
enum attach_error attach_plan(const u8 *text, size_t text_len, u64 addr, u64 tramp,
			      attach_handler *handler, void *arg, u8 *code, size_t cap,
			      struct attach_plan *ret);

/*
 * True when a direct branch in [text, text + len), which runs at `base`, targets an address in
 * (addr, addr + window), that is, the inside of a patch. A linear sweep; stops at what it cannot
 * decode.
 */
bool attach_branch_into(const u8 *text, size_t len, u64 base, u64 addr, u32 window);

/*
 * Where a thread whose program counter is at `pc`, inside the window, goes on: the address of the
 * same instruction in the trampoline. 0 when pc is not on an instruction of the window, `addr`
 * itself is returned as is.
 */
u64 attach_moved_pc(const struct attach_plan *plan, u64 pc);

const char *attach_reason(enum attach_error e);

#endif
