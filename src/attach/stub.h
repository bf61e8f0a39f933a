/* SPDX-License-Identifier: MIT */
/*
 * Return probes: stubs, one for each pair of function and return address.
 *
 *     caller:  call function --> jmp trampoline    the patch at the function's first instruction
 *     trampoline:                                  finds the pair's slot, goes to its stub
 *     stub:    lea 8(%rsp), %rsp                   the return address is popped
 *              call *slot.body                     the function runs; it returns to the stub
 *              push slot.ra                        the address is back where it was
 *              jmp *slot.exit  --> programs; ret
 *
 * The stub's own return address lies where the caller's lay, so arguments on the stack are where
 * they were, and the processor's memory of calls and returns stays balanced. All that a return needs
 * is constant in the slot: nothing is remembered of a call. So it does not matter how often, on
 * which thread or stack, in which order, or whether at all a call returns.
 *
 * Stubs are all alike: each works on the slot at the same distance from itself (struct attach_slot is
 * as long as a stub). The code of a pool is one page again and again, followed by its slots:
 *
 *     pool   | stub 0 | stub 1 | ... || slot 0 | slot 1 | ...
 *                                     ^ pool + size
 *
 * A slot is claimed by one compare-and-swap of 16 bytes over its key, (0, 0) to (function, return
 * address), and then never changes while any thread may run: what follows from the key, body and exit,
 * is stored by everybody who finds the slot without it, with the same values, before going there. A
 * thread that is stopped or dies, or whose handler of a signal comes here, at any point leaves a slot
 * that others use.
 *
 * Unwinders find one frame description for the whole pool (agent/unwind.S): the caller's stack pointer
 * is the stub's, its program counter is in the slot.
 */
#ifndef LIMPET_ATTACH_STUB_H
#define LIMPET_ATTACH_STUB_H

#include "attach/attach.h"

#define ATTACH_STUB_SIZE 32 /* bytes of a stub, and of a slot; a power of two */
#define ATTACH_STUB_BACK 11 /* where in a stub functions return to */
#define ATTACH_STUB_DONE 17 /* from here on the return address is on the stack again */

struct attach_slot {
	_Alignas(16) _Atomic u64 fn; /* the key: which function, ... */
	_Atomic u64 ra;              /* ... and its return address; 0, 0: free */
	_Atomic u64 body;            /* what to call: attach_return.body_off */
	_Atomic u64 exit;            /* where to go then: attach_return.exit_off */
};
_Static_assert(sizeof(struct attach_slot) == ATTACH_STUB_SIZE, "a slot is as long as a stub");

/* Where a trampoline looks first: a table of 1 << bits slots, open addressing. */
struct attach_stubs {
	u64 slots;    /* address of the table's first slot */
	u64 distance; /* of a slot from its stub */
	u64 fn;
	u32 bits;
	u32 hash; /* of the function */
};

/* Where in a table of 1 << bits slots the pair is looked for first; trampolines compute the same. */
static inline u32 attach_stub_index(u64 ra, u32 fn_hash, u32 bits)
{
	return ((u32)ra * 0x9e3779b1u >> (32 - bits)) ^ (fn_hash & ((1u << bits) - 1));
}

/* Fills a page with stubs whose slots are `distance` bytes behind them. */
void attach_stub_page(u8 *page, u64 distance);

#endif
