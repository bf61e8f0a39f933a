/* SPDX-License-Identifier: MIT */
/* The code of return stubs (attach/stub.h), and the short way from a trampoline to its stub. */
#include "attach/stub.h"
#include "attach/x86_64/emit.h"

#define SLOT(f) ((u32)offsetof(struct attach_slot, f))

void attach_stub_page(u8 *page, u64 distance)
{
	struct emit e = {.code = page, .cap = PAGE_SIZE, .at = 0};

	memset(page, 0xcc, PAGE_SIZE);
	for (u64 stub = 0; stub < PAGE_SIZE; stub += ATTACH_STUB_SIZE) {
		e.len = stub;
		EMIT(&e, 0x48, 0x8d, 0x64, 0x24, 0x08, /* lea 8(%rsp), %rsp */
		     0xff, 0x15);                      /* call *body */
		emit_rel32(&e, stub + distance + SLOT(body));
		EMIT(&e, 0xff, 0x35); /* push ra */
		emit_rel32(&e, stub + distance + SLOT(ra));
		EMIT(&e, 0xff, 0x25); /* jmp *exit */
		emit_rel32(&e, stub + distance + SLOT(exit));
	}
}

/*
 * What lies below the stack pointer is free at a function's first instruction, and flags are dead;
 * registers need not be (-fipa-ra). The slot's key is compared in the order that it is read in by
 * everybody: fn, then ra; both are there at once.
 */
void emit_stub_jump(struct emit *e, const struct attach_stubs *s)
{
	size_t other_ra, other_fn;

	EMIT(e, 0x48, 0x89, 0x44, 0x24, 0xf0, /* mov %rax, -16(%rsp) */
	     0x48, 0x89, 0x4c, 0x24, 0xe8,    /* mov %rcx, -24(%rsp) */
	     0x69, 0x04, 0x24);               /* imul $K, (%rsp), %eax */
	emit32(e, 0x9e3779b1u);
	EMIT(e, 0xc1, 0xe8, (u8)(32 - s->bits), /* shr $(32 - bits), %eax */
	     0x35);                             /* xor $hash, %eax */
	emit32(e, s->hash & ((1u << s->bits) - 1));
	EMIT(e, 0xc1, 0xe0, 0x05, 0x48, 0xb9); /* shl $5, %eax; movabs $slots, %rcx */
	emit64(e, s->slots);
	EMIT(e, 0x48, 0x01, 0xc8, 0x48, 0xb9); /* add %rcx, %rax; movabs $fn, %rcx */
	emit64(e, s->fn);
	EMIT(e, 0x48, 0x39, 0x48, SLOT(fn), /* cmp %rcx, fn(%rax) */
	     0x75, 0);                      /* jne ask */
	other_fn = e->len;
	EMIT(e, 0x48, 0x8b, 0x0c, 0x24,  /* mov (%rsp), %rcx */
	     0x48, 0x39, 0x48, SLOT(ra), /* cmp %rcx, ra(%rax) */
	     0x75, 0);                   /* jne ask */
	other_ra = e->len;
	EMIT(e, 0x48, 0x83, 0x78, SLOT(exit), 0x00, /* cmpq $0, exit(%rax): not stored yet */
	     0x48, 0x8d, 0x80);                     /* lea stub(%rax), %rax */
	emit32(e, (u32)-s->distance);
	EMIT(e, 0x48, 0x89, 0x44, 0x24, 0xf8, /* mov %rax, -8(%rsp) */
	     0x48, 0x8b, 0x4c, 0x24, 0xe8,    /* mov -24(%rsp), %rcx */
	     0x48, 0x8b, 0x44, 0x24, 0xf0,    /* mov -16(%rsp), %rax */
	     0x74, 0x04,                      /* je ask */
	     0xff, 0x64, 0x24, 0xf8);         /* jmp *-8(%rsp) */
	if (!e->full) {
		e->code[other_fn - 1] = (u8)(e->len - other_fn);
		e->code[other_ra - 1] = (u8)(e->len - other_ra);
	}
	/* ask: */
	EMIT(e, 0x48, 0x8b, 0x4c, 0x24, 0xe8, 0x48, 0x8b, 0x44, 0x24, 0xf0);
}
