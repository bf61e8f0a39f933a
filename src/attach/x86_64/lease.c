/* SPDX-License-Identifier: MIT */
/*
 * The two ends of a hit on a leased stack (attach/lease.h). What lies on the thread's own stack, from its
 * stack pointer R down, behind the red zone: rax, rcx, flags.
 */
#include "attach/lease.h"
#include "attach/x86_64/emit.h"

#define REGS(f) ((u32)offsetof(struct attach_regs, f))

/* In a call's place: nothing runs. Returns where the distance to the end of the hit is. */
static size_t emit_none(struct emit *e, const struct attach_lease *l)
{
	EMIT(e, 0x48, 0xb9); /* movabs $missed, %rcx; lock incq (%rcx); popf; pop %rcx, %rax */
	emit64(e, (u64)l->missed);
	EMIT(e, 0xf0, 0x48, 0xff, 0x01, 0x9d, 0x59, 0x58);
	EMIT(e, 0x48, 0x8d, 0xa4, 0x24); /* lea red(%rsp), %rsp */
	emit32(e, l->red_zone);
	EMIT(e, 0xe9, 0, 0, 0, 0);
	return e->len - 4;
}

static void emit_find(struct emit *e, const struct attach_lease *l, size_t *ret_none)
{
	u32 mask = ((1u << l->bits) - 1) << ATTACH_LEASE_SHIFT;
	size_t next, got;

	EMIT(e, 0x48, 0x89, 0xe1,    /* mov %rsp, %rcx */
	     0x48, 0xc1, 0xe1, 0x08, /* shl $8, %rcx: a page of the own stack, a leased one */
	     0x81, 0xe1);            /* and $mask, %ecx */
	emit32(e, mask);
	EMIT(e, 0x48, 0xb8); /* movabs $first word, %rax; add %rax, %rcx */
	emit64(e, attach_lease_word(l->base, 0));
	EMIT(e, 0x48, 0x01, 0xc1);
	next = e->len;
	EMIT(e, 0x31, 0xc0,                /* next: xor %eax, %eax */
	     0xf0, 0x48, 0x0f, 0xb1, 0x21, /* lock cmpxchg %rsp, (%rcx) */
	     0x0f, 0x84, 0, 0, 0, 0);      /* je got */
	got = e->len - 4;
	EMIT(e, 0x48, 0x81, 0xc1, 0, 0, 0x10, 0,                         /* add $1 MiB, %rcx */
	     0x48, 0x0f, 0xba, 0xf1, (u8)(ATTACH_LEASE_SHIFT + l->bits), /* btr $.., %rcx */
	     0x48, 0x89, 0xe0, 0x48, 0xc1, 0xe0, 0x08, /* mov %rsp, %rax; shl $8, %rax */
	     0x31, 0xc8, 0xa9);                        /* xor %ecx, %eax; test $mask, %eax */
	emit32(e, mask);
	EMIT(e, 0x75, (u8)(next - (e->len + 2))); /* jne next */
	*ret_none = emit_none(e, l);
	emit_lands_here(e, got);
	_Static_assert(ATTACH_LEASE_SHIFT == 20, "1 MiB, as added and shifted");
}

size_t emit_leased_save(struct emit *e, u64 addr, u32 pushed, const struct attach_lease *l)
{
	size_t none;

	EMIT(e, 0x48, 0x8d, 0xa4, 0x24); /* lea -red(%rsp), %rsp */
	emit32(e, -l->red_zone);
	EMIT(e, 0x50, 0x51, 0x9c); /* push %rax, %rcx; pushf */
	emit_find(e, l, &none);
	EMIT(e, 0x48, 0x89, 0xe0, /* mov %rsp, %rax */
	     0x48, 0x89, 0xcc,    /* mov %rcx, %rsp */
	     0x6a, 0x2b,          /* push $0x2b: ss */
	     0x48, 0x8d, 0x88);   /* lea R(%rax), %rcx; push %rcx: rsp */
	emit32(e, ATTACH_LEASE_OWN + l->red_zone + pushed);
	EMIT(e, 0x51, 0xff, 0x30, /* push (%rax): flags */
	     0x6a, 0x33);         /* push $0x33: cs */
	if (addr) {
		EMIT(e, 0x48, 0x8d, 0x0d); /* lea addr(%rip), %rcx; push %rcx */
		emit_rel32(e, addr);
		EMIT(e, 0x51);
	} else {
		EMIT(e, 0xff, 0xb0); /* push R(%rax): what tops the stack */
		emit32(e, ATTACH_LEASE_OWN + l->red_zone);
	}
	EMIT(e, 0x6a, 0xff,                                   /* push $-1: orig_rax */
	     0x57, 0x56, 0x52, 0xff, 0x70, 8, 0xff, 0x70, 16, /* push rdi, rsi, rdx, rcx, rax, */
	     0x41, 0x50, 0x41, 0x51, 0x41, 0x52, 0x41, 0x53,  /* r8 .. r11, */
	     0x53, 0x55,                                      /* rbx, rbp, */
	     0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* r12 .. r15 */
	return none;
}

/* rcx goes by way of the own stack: it is needed to the last for the word. */
void emit_leased_rcx(struct emit *e)
{
	EMIT(e, 0x48, 0x8b, 0x8b); /* mov word(%rbx), %rcx: the own stack pointer */
	emit32(e, (u32)sizeof(struct attach_regs));
	EMIT(e, 0x48, 0x8b, 0x43, (u8)REGS(rcx), /* mov rcx(%rbx), %rax */
	     0x48, 0x89, 0x41, 0x08);            /* mov %rax, 8(%rcx) */
}

void emit_leased_back(struct emit *e, const struct attach_lease *l)
{
	EMIT(e, 0x48, 0x8d, 0x63, (u8)REGS(rbx), /* lea rbx(%rbx), %rsp */
	     0x5b, 0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58,
	     0x58,                   /* pop rbx, r11 .. r8, rax, */
	     0x59, 0x5a, 0x5e, 0x5f, /* (rcx), rdx, rsi, rdi */
	     0x48, 0x8d, 0x4c, 0x24,
	     (u8)(sizeof(struct attach_regs) - REGS(orig_rax)), /* lea word, %rcx */
	     0x48, 0x8b, 0x21,                                  /* mov (%rcx), %rsp */
	     0x48, 0xc7, 0x01, 0, 0, 0, 0,                      /* movq $0, (%rcx) */
	     0x48, 0x8d, 0x64, 0x24, 0x08,                      /* lea 8(%rsp), %rsp: flags */
	     0x59,                                              /* pop %rcx */
	     0x48, 0x8d, 0xa4, 0x24);                           /* lea 8 + red(%rsp), %rsp */
	emit32(e, 8 + l->red_zone);
}
