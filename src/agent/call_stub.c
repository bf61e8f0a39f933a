/* SPDX-License-Identifier: MIT */
/*
 * x86-64 code that takes the place of a system call which makes threads or processes (identity.c):
 *
 *     libc:  mov $NR, %eax  -->  jmp stub      stub:  save; r = fn(regs, NR, any); restore
 *            syscall                                  if (r == CALL_DONE) jmp behind libc's syscall
 *                                                     mov $NR, %eax
 *                                                     if (!r) jmp back to libc's syscall
 *                                                     syscall
 *                                                     parent: take the count away
 *                                                     child:  see that there is a count
 *                                                     jmp behind libc's syscall
 *
 * The count is the high half of helper_process.ident, which fn has raised when it answers CALL_COUNTED.
 *
 * Where a site is before the call (syscall_sites.c), its jump is in libc's text, and its trampoline goes on at the
 * stub: what the jump replaces is then run twice, which for these two instructions is as once.
 */
#include <asm/unistd.h>
#include "agent/state.h"
#include "attach/x86_64/emit.h"

/* syscall() is called for everything: calls of no interest pass here. r11 is free. */
static void emit_filter(struct emit *e, u64 at, const u8 *orig)
{
	static const u32 of_interest[] = {__NR_clone,   __NR_vfork,        __NR_clone3,
					  __NR_seccomp, __NR_prctl,        __NR_rt_sigaction,
					  __NR_mmap,    __NR_mprotect,     __NR_pkey_mprotect};
	u32 left = ARRAY_SIZE(of_interest);

	EMIT(e, 0x41, 0x89, 0xc3,                       /* mov %eax, %r11d */
	     0x41, 0x81, 0xe3, 0xff, 0xff, 0xff, 0xbf); /* and $~0x40000000, %r11d */
	while (left--) {
		EMIT(e, 0x41, 0x81, 0xfb); /* cmp $nr, %r11d */
		emit32(e, of_interest[left]);
		EMIT(e, 0x74, (u8)(left * 9 + 2 * ATTACH_JMP_LEN)); /* je over */
	}
	emit_bytes(e, orig, ATTACH_JMP_LEN);
	emit_jmp(e, at + ATTACH_JMP_LEN);
	/* over: */
}

static void emit_ask(struct emit *e, u32 nr, call_stub_fn *fn)
{
	EMIT(e, 0x48, 0x8d, 0x64, 0x24, 0x80); /* lea -128(%rsp), %rsp: the red zone */
	EMIT(e, 0x50, 0x51, 0x52, 0x56, 0x57,  /* push rax rcx rdx rsi rdi */
	     0x41, 0x50, 0x41, 0x51, 0x41, 0x52, 0x41, 0x53, 0x55); /* r8 r9 r10 r11 rbp */
	if (nr) {
		EMIT(e, 0xbe); /* mov $nr, %esi */
		emit32(e, nr);
	} else {
		EMIT(e, 0x89, 0xc6); /* mov %eax, %esi */
	}
	EMIT(e, 0xba, (u8)!nr, 0, 0, 0,            /* mov $any, %edx */
	     0x48, 0x89, 0xe7, 0x48, 0x89, 0xe5,   /* mov %rsp, %rdi; mov %rsp, %rbp */
	     0x48, 0x83, 0xe4, 0xf0, 0x48, 0xb8);  /* and $-16, %rsp; movabs $fn, %rax */
	emit64(e, (u64)fn);
	EMIT(e, 0xff, 0xd0, 0x48, 0x89, 0xec,  /* call *%rax; mov %rbp, %rsp */
	     0x48, 0x89, 0x44, 0x24, 0x08);    /* mov %rax, 8(%rsp): comes back in r11 */
	EMIT(e, 0x5d, 0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58, /* pop rbp r11 r10 r9 r8 */
	     0x5f, 0x5e, 0x5a, 0x59, 0x58);                           /* rdi rsi rdx rcx rax */
	EMIT(e, 0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0);               /* lea 128(%rsp), %rsp */
}

/* The system call itself, and the end of its count. */
static void emit_counted(struct emit *e, u64 behind)
{
	EMIT(e, 0x0f, 0x05, 0x49, 0xbb); /* syscall; movabs $count, %r11 */
	emit64(e, (u64)&agent.env.process->ident + 4);
	EMIT(e, 0x48, 0x85, 0xc0, 0x74, 0x09, /* test %rax, %rax; jz child */
	     0xf0, 0x41, 0xff, 0x0b);         /* lock decl (%r11) */
	emit_jmp(e, behind);
	/* child: no count when a signal handler forked between the count and the call; then never */
	EMIT(e, 0x41, 0x83, 0x3b, 0x00, 0x75, 0x08, /* cmpl $0, (%r11); jne away */
	     0xf0, 0x41, 0x81, 0x0b,                /* lock orl $IDENT_NEVER >> 32, (%r11) */
	     0x00, 0x00, 0x00, (u8)(IDENT_NEVER >> 56));
	emit_jmp(e, behind);
}

u32 call_stub_emit(u8 *code, u64 stub, const struct libc_call *call, const u8 *orig, call_stub_fn *fn,
		   u32 *ret_made)
{
	struct emit e = {.code = code, .cap = ATTACH_TRAMP_MAX, .at = stub};

	if (!call->nr)
		emit_filter(&e, call->at, orig);
	emit_ask(&e, call->nr, fn);
	EMIT(&e, 0x41, 0x83, 0xfb, CALL_DONE, 0x75, 0x05); /* cmp $, %r11d; jne over */
	emit_jmp(&e, call->at + ATTACH_JMP_LEN + 2);
	emit_bytes(&e, orig, ATTACH_JMP_LEN);
	EMIT(&e, 0x45, 0x85, 0xdb, 0x75, 0x05); /* test %r11d, %r11d; jnz counted */
	emit_jmp(&e, call->at + ATTACH_JMP_LEN);
	*ret_made = (u32)e.len + 2;
	emit_counted(&e, call->at + ATTACH_JMP_LEN + 2);
	return (u32)e.len;
}

bool call_stub_fits(u64 at)
{
	u8 behind[4], *p = behind;

	memcpy(behind, (const u8 *)at + ATTACH_JMP_LEN + 2, sizeof(behind));
	sites_overlay(behind, at + ATTACH_JMP_LEN + 2, sizeof(behind));
	p += *p == 0x57 || *p == 0x52; /* push %rdi, push %rdx */
	return *p == 0x3d ||
	       (p[0] == 0x48 && (p[1] == 0x3d || p[1] == 0x85)); /* cmp $, %rax; test %rax */
}
