/* SPDX-License-Identifier: MIT */
/* Snippets about dynptrs on records and values, and what helpers and functions of the kernel do with them (edge_gen.h). */
#include "edge_emit.h"

#define CLONE (-144) /* where clones lie */

/* The dynptr's address in register r. */
static void dynptr_in(struct edge_gen *g, u32 r, s32 slot, u32 given)
{
	if (given)
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, r, given, 0, 0);
	else
		stack_address(g, r, slot);
}

/* In the dynptr, at its edge, or any number. */
static s32 place(struct edge_gen *g)
{
	return one_in(g, 3) ? edge(g) : (s32)edge_below(g, 20);
}

static s32 length(struct edge_gen *g)
{
	return (s32)edge_below(g, 18);
}

/* What r0 points to, if it is not NULL: `room` bytes, or one more. */
static void into_data(struct edge_gen *g, s32 room, bool rdonly)
{
	const u32 none = emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
	const u8 sz = size(g);

	scratch_regs(g);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 0, 0, 0);
	if (rdonly && room >= bytes(sz) && !one_in(g, 10))
		emit(g, BPF_LDX | BPF_MEM | sz, 5, 4, (s32)edge_below(g, (u32)(room - bytes(sz)) + 1), 0);
	else
		somewhere_in(g, 4, room + 1);
	number(g, 4, 2);
	to_here(g, none);
}

static void read_it(struct edge_gen *g, s32 slot, u32 given)
{
	dynptr_in(g, 3, slot, given);
	stack_address(g, 1, -32);
	number(g, 2, length(g));
	number(g, 4, place(g));
	number(g, 5, 0);
	call_helper(g, BPF_FUNC_dynptr_read);
}

static void write_it(struct edge_gen *g, s32 slot, u32 given)
{
	dynptr_in(g, 1, slot, given);
	number(g, 2, place(g));
	stack_address(g, 3, -32);
	number(g, 4, length(g));
	number(g, 5, 0);
	call_helper(g, BPF_FUNC_dynptr_write);
}

static void data_of_it(struct edge_gen *g, s32 slot, u32 given)
{
	const s32 room = length(g);

	dynptr_in(g, 1, slot, given);
	number(g, 2, place(g));
	number(g, 3, room);
	call_helper(g, BPF_FUNC_dynptr_data);
	into_data(g, room, false);
}

static void slice_of_it(struct edge_gen *g, s32 slot, u32 given)
{
	const s32 room = length(g);

	dynptr_in(g, 1, slot, given);
	number(g, 2, place(g));
	if (one_in(g, 2))
		stack_address(g, 3, -32);
	else
		number(g, 3, 0);
	number(g, 4, room);
	call_helper(g, one_in(g, 20) ? HELPER_DYNPTR_SLICE_RDWR : HELPER_DYNPTR_SLICE);
	into_data(g, room, true);
}

/* What is said of it, as index. */
static void ask_it(struct edge_gen *g, s32 slot, u32 given)
{
	static const s32 questions[] = {HELPER_DYNPTR_SIZE, HELPER_DYNPTR_IS_NULL, HELPER_DYNPTR_IS_RDONLY};
	u32 jumps[4], n;

	dynptr_in(g, 1, slot, given);
	call_helper(g, questions[edge_below(g, 3)]);
	scratch_regs(g);
	n = bound(g, 0, EDGE_VALUE - 8, jumps);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, 0, 0, 0);
	load_or_store(g, 4, 0, BPF_DW);
	number(g, 4, 0);
	for (u32 i = 0; i < n; i++)
		to_here(g, jumps[i]);
}

static void adjust_it(struct edge_gen *g, s32 slot, u32 given)
{
	dynptr_in(g, 1, slot, given);
	number(g, 2, place(g));
	if (one_in(g, 3))
		unknown(g, 3);
	else
		number(g, 3, place(g));
	call_helper(g, HELPER_DYNPTR_ADJUST);
}

static void fill_it(struct edge_gen *g, s32 slot, u32 given)
{
	static const s32 reads[] = {HELPER_PROBE_READ_USER_DYNPTR, HELPER_PROBE_READ_KERNEL_DYNPTR,
				    HELPER_PROBE_READ_USER_STR_DYNPTR, HELPER_PROBE_READ_KERNEL_STR_DYNPTR};

	dynptr_in(g, 1, slot, given);
	number(g, 2, place(g));
	number(g, 3, length(g));
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, one_in(g, 3) ? 7 : num(g), 0, 0);
	call_helper(g, one_in(g, 30)  ? HELPER_COPY_FROM_USER_DYNPTR
		       : one_in(g, 3) ? HELPER_DYNPTR_MEMSET
				      : reads[edge_below(g, 4)]);
}

static void copy_it(struct edge_gen *g, s32 slot, u32 given)
{
	dynptr_in(g, 1, slot, given);
	number(g, 2, place(g));
	dynptr_in(g, 3, one_in(g, 8) ? CLONE : slot, given);
	number(g, 4, place(g));
	number(g, 5, length(g));
	call_helper(g, HELPER_DYNPTR_COPY);
}

/* A second one of the same, which others use; what becomes of the data of the one it overwrites. */
static void clone_it(struct edge_gen *g, s32 slot, u32 given)
{
	dynptr_in(g, 1, slot, given);
	stack_address(g, 2, one_in(g, 15) ? slot - 8 * (s32)edge_below(g, 3) : CLONE);
	call_helper(g, HELPER_DYNPTR_CLONE);
	if (one_in(g, 2))
		data_of_it(g, CLONE, 0);
	if (one_in(g, 12))
		emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, CLONE + 8 * (s32)edge_below(g, 2), 0);
	if (one_in(g, 3))
		ask_it(g, CLONE, 0);
}

void edge_use_dynptr(struct edge_gen *g, s32 slot, u32 given)
{
	static void (*const uses[])(struct edge_gen *g, s32 slot, u32 given) = {
		read_it, write_it, data_of_it, data_of_it, slice_of_it, ask_it, adjust_it, fill_it, copy_it, clone_it};

	uses[edge_below(g, sizeof(uses) / sizeof(uses[0]))](g, slot, given);
	unknown(g, 0);
}

/* A dynptr on a record, or on a value, that lies on the stack. */
void edge_dynptr(struct edge_gen *g)
{
	const s32 slot = one_in(g, 12) ? -8 * (s32)(1 + edge_below(g, 12)) : -112;
	const bool record = one_in(g, 2);
	u32 times = 1 + one_in(g, 25) - one_in(g, 25);

	if (one_in(g, 3))
		for (s32 at = -8; at >= -32; at -= 8)
			emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, at, 0);
	stack_address(g, 4, slot);
	if (record) {
		wide(g, 1, BPF_PSEUDO_MAP_FD, 2, 0);
		if (one_in(g, 3))
			unknown(g, 2);
		else
			number(g, 2, (s32)edge_below(g, 40));
	} else {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, 7, 0, 0);
		number(g, 2, EDGE_VALUE - (s32)edge_below(g, 20) + (s32)one_in(g, 10));
	}
	number(g, 3, 0);
	call_helper(g, record ? BPF_FUNC_ringbuf_reserve_dynptr : BPF_FUNC_dynptr_from_mem);
	for (u32 i = edge_below(g, 3); i-- > 0;)
		edge_use_dynptr(g, slot, 0);
	if (one_in(g, 12)) /* over it */
		emit(g, BPF_ST | BPF_MEM | size(g), 10, 0, slot + 8 * (s32)edge_below(g, 2), 0);
	while (record && times--) {
		stack_address(g, 1, slot);
		number(g, 2, 0);
		call_helper(g, one_in(g, 2) ? BPF_FUNC_ringbuf_submit_dynptr : BPF_FUNC_ringbuf_discard_dynptr);
	}
	afterwards(g);
}
