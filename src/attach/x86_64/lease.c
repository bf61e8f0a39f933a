/* SPDX-License-Identifier: MIT */
/*
 * Leased stacks (attach/lease.h): the look at the thread's own stack, and the hit on a leased one. What lies
 * on the own stack then, below the stack pointer R at the probe and the red zone:
 *
 *     R - red_zone - 8     rax
 *                  - 16    rcx
 *                  - 24    flags
 *                  - 32    where attach_lease_take() returns, then attach_lease_give(): what the word has
 *
 * and, while it waits, three words.
 */
#include "attach/lease.h"
#include "attach/x86_64/emit.h"
#include "base/stacks.h"

#define YIELDS       1000
#define YIELDS_TIRED 10
#define STRING_(x)   #x
#define STRING(x)    STRING_(x)

HIDDEN u64 attach_leases_none = 1; /* a word that is taken */
struct attach_leases attach_leases = {.first = (u64)&attach_leases_none, .round = ~0ULL, .quiet = 1};

void attach_leases_set(u64 base, u32 bits, void (*taken)(u64 sp))
{
	attach_leases = (struct attach_leases){
		.first = base ? attach_lease_word(base, 0) : (u64)&attach_leases_none,
		.mask = base ? ((1ULL << bits) - 1) << ATTACH_LEASE_SHIFT : 0,
		.round = base ? ~(1ULL << (bits + ATTACH_LEASE_SHIFT)) : ~0ULL,
		.taken = taken,
		.yields = YIELDS,
		.quiet = !base,
	};
}

/*
 * Called, not by C, with rax, rcx and flags on the stack. Carry: no stack is to be had, and rax and rcx are lost.
 * Else rsp is on the leased one, aligned, with rbx at struct attach_regs there, in which rip and rsp are missing.
 *
 * The other gets rbx so, and restores all registers, rsp as it was when the first was called.
 */
extern const u8 attach_lease_take[] HIDDEN, attach_lease_give[] HIDDEN, lease_refuse[] HIDDEN;
__asm__(".text\n"
	".globl attach_lease_take, attach_lease_give, lease_refuse\n"
	".hidden attach_lease_take, attach_lease_give, lease_refuse\n"
	".type lease_refuse, @function\n"
	"lease_refuse:\n" /* in the next one's place: looks at the own stack, so that later hits have room there */
	"	testl $0x40400, 8(%rsp)\n" /* flags as C code does not expect them */
	"	jnz 1f\n"
	"	mov 24+attach_leases(%rip), %rcx\n"
	"	jrcxz 1f\n"
	"	mov %rsp, %rax\n"
	"	push %rdi\n"
	"	push %rsi\n"
	"	push %rdx\n"
	"	push %r8\n"
	"	push %r9\n"
	"	push %r10\n"
	"	push %r11\n"
	"	push %rbp\n"
	"	mov %rsp, %rbp\n"
	"	mov %rax, %rdi\n"
	"	and $-16, %rsp\n"
	"	call *%rcx\n"
	"	mov %rbp, %rsp\n"
	"	pop %rbp\n"
	"	pop %r11\n"
	"	pop %r10\n"
	"	pop %r9\n"
	"	pop %r8\n"
	"	pop %rdx\n"
	"	pop %rsi\n"
	"	pop %rdi\n"
	"1:	stc\n"
	"	ret\n"
	".size lease_refuse, . - lease_refuse\n"
	".type attach_lease_take, @function\n"
	".p2align 4\n"
	"attach_lease_take:\n"
	"	mov %rsp, %rcx\n"
	"	shl $8, %rcx\n" /* a page of the own stack, a leased one */
	"	and 8+attach_leases(%rip), %rcx\n"
	"	add attach_leases(%rip), %rcx\n"
	"1:	xor %eax, %eax\n"
	"	lock cmpxchg %rsp, (%rcx)\n"
	"	je 2f\n"
	"	add $0x100000, %rcx\n"
	"	and 16+attach_leases(%rip), %rcx\n"
	"	mov %rsp, %rax\n"
	"	shl $8, %rax\n"
	"	and 8+attach_leases(%rip), %rax\n"
	"	add attach_leases(%rip), %rax\n"
	"	xor %rcx, %rax\n"
	"	test 8+attach_leases(%rip), %rax\n"
	"	jnz 1b\n"
	"	mov 32+attach_leases(%rip), %eax\n" /* yields */
	"	push %r11\n"
	"	push %rdx\n"
	"	push %rax\n"
	"	lea 24(%rsp), %rdx\n"
	"8:	cmpl $0, 36+attach_leases(%rip)\n" /* quiet */
	"	jne 7f\n"
	"	mov $24, %eax\n" /* sched_yield */
	"	syscall\n"
	"	mov %rdx, %rcx\n" /* as above, but for rdx */
	"	shl $8, %rcx\n"
	"	and 8+attach_leases(%rip), %rcx\n"
	"	add attach_leases(%rip), %rcx\n"
	"9:	xor %eax, %eax\n"
	"	lock cmpxchg %rdx, (%rcx)\n"
	"	je 9f\n"
	"	add $0x100000, %rcx\n"
	"	and 16+attach_leases(%rip), %rcx\n"
	"	mov %rdx, %rax\n"
	"	shl $8, %rax\n"
	"	and 8+attach_leases(%rip), %rax\n"
	"	add attach_leases(%rip), %rax\n"
	"	xor %rcx, %rax\n"
	"	test 8+attach_leases(%rip), %rax\n"
	"	jnz 9b\n"
	"	decl (%rsp)\n"
	"	jnz 8b\n"
	"	movl $" STRING(YIELDS_TIRED) ", 32+attach_leases(%rip)\n"
	"7:	add $8, %rsp\n"
	"	pop %rdx\n"
	"	pop %r11\n"
	"	stc\n"
	"	ret\n"
	"9:	movl $" STRING(YIELDS) ", 32+attach_leases(%rip)\n"
	"	add $8, %rsp\n"
	"	pop %rdx\n"
	"	pop %r11\n"
	"2:	mov %rsp, %rax\n"
	"	mov %rcx, %rsp\n"
	"	push $0x2b\n"   /* ss */
	"	push %rcx\n"    /* rsp's place */
	"	push 8(%rax)\n" /* flags */
	"	push $0x33\n"   /* cs */
	"	push %rcx\n"    /* rip's place */
	"	push $-1\n"     /* orig_rax */
	"	push %rdi\n"
	"	push %rsi\n"
	"	push %rdx\n"
	"	push 16(%rax)\n" /* rcx, rax */
	"	push 24(%rax)\n"
	"	push %r8\n"
	"	push %r9\n"
	"	push %r10\n"
	"	push %r11\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, %rbx\n"
	"	testl $0x40400, 144(%rbx)\n" /* eflags: the direction or alignment check flag */
	"	jnz 4f\n"
	"3:	and $-16, %rsp\n"
	"	push (%rax)\n"
	"	mov 24+attach_leases(%rip), %rcx\n"
	"	jrcxz 5f\n"
	"	mov %rax, %rdi\n"
	"	sub $8, %rsp\n"
	"	call *%rcx\n"
	"	add $8, %rsp\n"
	"5:	clc\n"
	"	ret\n"
	"4:	pushf\n"
	"	andl $~0x40400, (%rsp)\n"
	"	popf\n"
	"	jmp 3b\n"
	".size attach_lease_take, . - attach_lease_take\n"
	".type attach_lease_give, @function\n"
	".p2align 4\n"
	"attach_lease_give:\n"
	"	movq $0, 136(%rbx)\n"  /* cs */
	"	mov 168(%rbx), %rcx\n" /* the word */
	"	mov (%rsp), %rax\n"
	"	mov %rax, (%rcx)\n"
	"	mov 88(%rbx), %rax\n" /* rcx goes by way of the own stack: it is needed to the last for the word */
	"	mov %rax, 16(%rcx)\n"
	"	testl $0x40400, 144(%rbx)\n"
	"	jnz 7f\n"
	"	movzbl 145(%rbx), %eax\n" /* flags, as a trampoline restores them */
	"	and $8, %al\n"
	"	add $0x78, %al\n"
	"	mov 144(%rbx), %ah\n"
	"	sahf\n"
	"6:	lea 40(%rbx), %rsp\n"
	"	pop %rbx\n"
	"	pop %r11\n"
	"	pop %r10\n"
	"	pop %r9\n"
	"	pop %r8\n"
	"	pop %rax\n"
	"	pop %rcx\n"
	"	pop %rdx\n"
	"	pop %rsi\n"
	"	pop %rdi\n"
	"	lea 48(%rsp), %rcx\n"
	"	mov (%rcx), %rsp\n"
	"	movq $0, (%rcx)\n"
	"	mov 16(%rsp), %rcx\n"
	"	ret\n"
	"7:	push 144(%rbx)\n"
	"	andl $~0x100, (%rsp)\n" /* a debugger's */
	"	popf\n"
	"	jmp 6b\n"
	".size attach_lease_give, . - attach_lease_give\n");
_Static_assert(ATTACH_LEASE_SHIFT == 20, "1 MiB, as added and shifted");
_Static_assert(offsetof(struct attach_leases, mask) == 8 && offsetof(struct attach_leases, round) == 16 &&
		       offsetof(struct attach_leases, taken) == 24 && offsetof(struct attach_leases, yields) == 32 &&
		       offsetof(struct attach_leases, quiet) == 36,
	       "as above");
_Static_assert(offsetof(struct attach_regs, rbx) == 40 && offsetof(struct attach_regs, rcx) == 88 &&
		       offsetof(struct attach_regs, cs) == 136 && offsetof(struct attach_regs, eflags) == 144 &&
		       sizeof(struct attach_regs) == 168,
	       "as above");

#define REGS(f)  ((u8)offsetof(struct attach_regs, f))
#define COLUMN(f) ((u32)offsetof(struct known_stacks, f))

void emit_stack_look(struct emit *e, const struct known_stacks *all, struct lease_ways *ret)
{
	EMIT(e, 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, /* mov %fs:0, %rax */
	     0x69, 0xc8);                                 /* imul $K, %eax, %ecx */
	emit32(e, STACKS_HASH);
	EMIT(e, 0xc1, 0xe9, 32 - STACKS_BITS, 0x48, 0xba); /* shr $.., %ecx; movabs $all, %rdx */
	emit64(e, (u64)all);
	EMIT(e, 0x48, 0x89, 0xe6,        /* mov %rsp, %rsi */
	     0x48, 0x2b, 0xb4, 0xca);    /* sub room(%rdx, %rcx, 8), %rsi */
	emit32(e, COLUMN(room));
	EMIT(e, 0x48, 0x3b, 0xb4, 0xca); /* cmp size(%rdx, %rcx, 8), %rsi */
	emit32(e, COLUMN(size));
	EMIT(e, 0x0f, 0x83, 0, 0, 0, 0); /* jae */
	ret->no_room = e->len - 4;
	EMIT(e, 0x48, 0x39, 0x04, 0xca,  /* cmp %rax, tp(%rdx, %rcx, 8) */
	     0x0f, 0x85, 0, 0, 0, 0);    /* jne */
	ret->other = e->len - 4;
	ret->looked = e->len;
	_Static_assert(!offsetof(struct known_stacks, tp), "as used");
}

static void emit_far_call(struct emit *e, const u8 *to)
{
	s64 rel = (s64)((u64)to - (e->at + e->len + 5));

	if (rel == (s32)rel) {
		EMIT(e, 0xe8);
		emit32(e, (u32)rel);
		return;
	}
	EMIT(e, 0x48, 0xb8); /* movabs $to, %rax; call *%rax */
	emit64(e, (u64)to);
	EMIT(e, 0xff, 0xd0);
}

static void emit_off_the_stack(struct emit *e, u32 bytes)
{
	EMIT(e, 0x48, 0x8d, 0xa4, 0x24); /* lea bytes(%rsp), %rsp */
	emit32(e, bytes);
}

void emit_lease_instead(struct emit *e)
{
	EMIT(e, 0x48, 0x8b, 0x44, 0x24, REGS(rax),         /* mov rax(%rsp), %rax */
	     0x48, 0x89, 0x84, 0x24, REGS(ss), 0, 0, 0,    /* mov %rax, ss(%rsp) */
	     0x48, 0x8b, 0x44, 0x24, REGS(rcx),            /* mov rcx(%rsp), %rax */
	     0x48, 0x89, 0x84, 0x24, REGS(rsp), 0, 0, 0,   /* mov %rax, rsp(%rsp) */
	     0x48, 0x8b, 0x54, 0x24, REGS(rdx),            /* mov rdx(%rsp), %rdx */
	     0x48, 0x8b, 0x74, 0x24, REGS(rsi),            /* mov rsi(%rsp), %rsi */
	     0x48, 0x8d, 0xa4, 0x24, REGS(eflags), 0, 0, 0); /* lea eflags(%rsp), %rsp */
}

void emit_lease_push(struct emit *e, const struct attach_lease *l)
{
	emit_off_the_stack(e, -l->red_zone);
	EMIT(e, 0x50, 0x51, 0x9c); /* push %rax, %rcx; pushf */
}

size_t emit_lease_take(struct emit *e, u64 addr, u32 pushed, const struct attach_lease *l)
{
	size_t none;

	emit_far_call(e, l->never ? lease_refuse : attach_lease_take);
	EMIT(e, 0x0f, 0x82, 0, 0, 0, 0); /* jc */
	none = e->len - 4;
	EMIT(e, 0x48, 0x8b, 0x8b); /* mov word(%rbx), %rcx */
	emit32(e, (u32)sizeof(struct attach_regs));
	EMIT(e, 0x48, 0x8d, 0x81); /* lea R(%rcx), %rax; mov %rax, rsp(%rbx) */
	emit32(e, 32 + l->red_zone + pushed);
	EMIT(e, 0x48, 0x89, 0x83, REGS(rsp), 0, 0, 0);
	if (addr) {
		EMIT(e, 0x48, 0x8d, 0x05); /* lea addr(%rip), %rax */
		emit_rel32(e, addr);
	} else {
		EMIT(e, 0x48, 0x8b, 0x81); /* mov R(%rcx), %rax */
		emit32(e, 32 + l->red_zone);
	}
	EMIT(e, 0x48, 0x89, 0x83, REGS(rip), 0, 0, 0); /* mov %rax, rip(%rbx) */
	return none;
}

void emit_lease_give(struct emit *e, const struct attach_lease *l)
{
	emit_far_call(e, attach_lease_give);
	emit_off_the_stack(e, 24 + l->red_zone);
}

void emit_lease_none(struct emit *e, const struct attach_lease *l)
{
	if (l->insists) {
		EMIT(e, 0x48, 0x8d, 0xa4, 0x24); /* lea -eflags(%rsp), %rsp */
		emit32(e, -(u32)REGS(eflags));
		EMIT(e, 0x48, 0xc7, 0x84, 0x24, REGS(ss), 0, 0, 0, 0x2b, 0, 0, 0); /* movq $0x2b, ss(%rsp) */
		return;
	}
	EMIT(e, 0x48, 0xb9); /* movabs $missed, %rcx; lock incq (%rcx); popf; pop %rcx, %rax */
	emit64(e, (u64)l->missed);
	EMIT(e, 0xf0, 0x48, 0xff, 0x01, 0x9d, 0x59, 0x58);
	emit_off_the_stack(e, l->red_zone);
}
