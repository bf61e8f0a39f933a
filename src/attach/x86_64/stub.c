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

/* The modrm of an operand that is the return address: at (%rsp), or `from_rbx` bytes above rbx. */
static void emit_ra(struct emit *e, u8 reg, u32 from_rbx)
{
	if (!from_rbx) {
		EMIT(e, (u8)(0x04 | reg << 3), 0x24);
		return;
	}
	EMIT(e, (u8)(0x83 | reg << 3));
	emit32(e, from_rbx);
}

struct ways {
	size_t fn, ra; /* where the distances to the end are of two short jumps, for when it is another slot */
};

/*
 * rax becomes the address of the stub, zero is set when its slot is not complete yet; uses rcx. The slot's key is
 * compared in the order that it is read in by everybody: fn, then ra; both are there at once.
 */
static struct ways emit_find(struct emit *e, const struct attach_stubs *s, u32 from_rbx)
{
	struct ways other;

	EMIT(e, 0x69); /* imul $K, RA, %eax */
	emit_ra(e, 0, from_rbx);
	emit32(e, 0x9e3779b1u);
	EMIT(e, 0xc1, 0xe8, (u8)(32 - s->bits), /* shr $(32 - bits), %eax */
	     0x35);                             /* xor $hash, %eax */
	emit32(e, s->hash & ((1u << s->bits) - 1));
	EMIT(e, 0xc1, 0xe0, 0x05, 0x48, 0xb9); /* shl $5, %eax; movabs $slots, %rcx */
	emit64(e, s->slots);
	EMIT(e, 0x48, 0x01, 0xc8, 0x48, 0xb9); /* add %rcx, %rax; movabs $fn, %rcx */
	emit64(e, s->fn);
	EMIT(e, 0x48, 0x39, 0x48, SLOT(fn), /* cmp %rcx, fn(%rax) */
	     0x75, 0);                      /* jne */
	other.fn = e->len;
	EMIT(e, 0x48, 0x8b); /* mov RA, %rcx */
	emit_ra(e, 1, from_rbx);
	EMIT(e, 0x48, 0x39, 0x48, SLOT(ra), /* cmp %rcx, ra(%rax) */
	     0x75, 0);                      /* jne */
	other.ra = e->len;
	EMIT(e, 0x48, 0x83, 0x78, SLOT(exit), 0x00, /* cmpq $0, exit(%rax) */
	     0x48, 0x8d, 0x80);                     /* lea stub(%rax), %rax */
	emit32(e, (u32)-s->distance);
	return other;
}

static void lands_here(struct emit *e, struct ways other)
{
	if (e->full)
		return;
	e->code[other.fn - 1] = (u8)(e->len - other.fn);
	e->code[other.ra - 1] = (u8)(e->len - other.ra);
}

/*
 * What lies below the stack pointer is free at a function's first instruction, and flags are dead;
 * registers need not be (-fipa-ra).
 */
void emit_stub_jump(struct emit *e, const struct attach_stubs *s)
{
	struct ways other;

	EMIT(e, 0x48, 0x89, 0x44, 0x24, 0xf0,  /* mov %rax, -16(%rsp) */
	     0x48, 0x89, 0x4c, 0x24, 0xe8);    /* mov %rcx, -24(%rsp) */
	other = emit_find(e, s, 0);
	EMIT(e, 0x48, 0x89, 0x44, 0x24, 0xf8, /* mov %rax, -8(%rsp) */
	     0x48, 0x8b, 0x4c, 0x24, 0xe8,    /* mov -24(%rsp), %rcx */
	     0x48, 0x8b, 0x44, 0x24, 0xf0,    /* mov -16(%rsp), %rax */
	     0x74, 0x04,                      /* je ask */
	     0xff, 0x64, 0x24, 0xf8);         /* jmp *-8(%rsp) */
	lands_here(e, other);
	EMIT(e, 0x48, 0x8b, 0x4c, 0x24, 0xe8, 0x48, 0x8b, 0x44, 0x24, 0xf0); /* ask: the two as above */
}

size_t emit_stub_find(struct emit *e, const struct attach_stubs *s, u32 ra, u32 found)
{
	struct ways other;
	size_t ask;

	EMIT(e, 0x48, 0x8d, 0x05, 0, 0, 0, 0); /* lea ask(%rip), %rax */
	ask = e->len - 4;
	EMIT(e, 0x48, 0x89, 0x83); /* mov %rax, FOUND */
	emit32(e, found);
	other = emit_find(e, s, ra);
	EMIT(e, 0x74, 0x07,        /* je over */
	     0x48, 0x89, 0x83);    /* mov %rax, FOUND */
	emit32(e, found);
	lands_here(e, other); /* over: */
	return ask;
}
