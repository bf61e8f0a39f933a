/* SPDX-License-Identifier: MIT */
/*
 * Snippets about what a program takes and must give back (records, sections), about functions of the kernel,
 * and about maps of other kinds (edge_gen.h). Some go wrong: too far, twice, not at all.
 */
#include "edge_emit.h"

/* A record of a ring buffer: reserved, written to, submitted or discarded. */
void edge_record(struct edge_gen *g)
{
	const s32 sizes[] = {8, 16, 24, 1}, room = sizes[edge_below(g, 4)];
	const u32 keep = one_in(g, 2) ? 8 : 9;
	const bool spilled = one_in(g, 3), tested = !one_in(g, 20);
	u32 none = 0, times = 1 + one_in(g, 30) - one_in(g, 30);

	wide(g, 1, BPF_PSEUDO_MAP_FD, 2, 0);
	number(g, 2, room);
	number(g, 3, 0);
	call_helper(g, BPF_FUNC_ringbuf_reserve);
	if (spilled)
		emit(g, BPF_STX | BPF_MEM | BPF_DW, 10, 0, -96, 0);
	if (tested)
		none = emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, keep, 0, 0, 0);
	scratch_regs(g);
	for (u32 i = edge_below(g, 3); i-- > 0;) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, keep, 0, 0);
		somewhere_in(g, 4, room);
		number(g, 4, 1);
	}
	while (times--) {
		if (spilled && one_in(g, 2))
			emit(g, BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -96, 0);
		else
			emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, keep, 0, 0);
		if (one_in(g, 30))
			emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, 8);
		number(g, 2, 0);
		call_helper(g, one_in(g, 2) ? BPF_FUNC_ringbuf_submit : BPF_FUNC_ringbuf_discard);
	}
	if (one_in(g, 30)) /* it is gone */
		emit(g, BPF_LDX | BPF_MEM | BPF_B, 3, keep, 0, 0);
	number(g, keep, 3);
	if (tested) {
		u32 over = emit(g, BPF_JMP | BPF_JA, 0, 0, 0, 0);

		to_here(g, none);
		number(g, keep, (s32)edge_below(g, 50));
		to_here(g, over);
	}
	afterwards(g);
}

/* A section in which nothing is freed, or nobody preempts. */
void edge_section(struct edge_gen *g)
{
	const bool rcu = one_in(g, 2);
	u32 over = 0, times = 1 + one_in(g, 12);
	const bool skipped = one_in(g, 12);

	for (u32 i = times; i-- > 0;)
		call_helper(g, rcu ? HELPER_RCU_READ_LOCK : HELPER_PREEMPT_DISABLE);
	afterwards(g);
	if (one_in(g, 2)) {
		unknown(g, 3);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, EDGE_VALUE - 17);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
		emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, 3, 0, 0);
		load_or_store(g, 4, 0, BPF_B);
		number(g, 4, 0);
	}
	if (skipped)
		over = emit(g, jmp_class(g) | compare(g) | BPF_K, 5, 0, 0, edge(g));
	for (u32 i = times - one_in(g, 12); i-- > 0;)
		call_helper(g, rcu ? HELPER_RCU_READ_UNLOCK : HELPER_PREEMPT_ENABLE);
	if (skipped) {
		scratch_regs(g);
		to_here(g, over);
	}
	afterwards(g);
}

/* What a function on a string answers is an int, as index. */
void edge_string(struct edge_gen *g)
{
	enum { STRING, NUMBER };
	static const struct {
		s32 function;
		u8 second;
	} all[] = {{HELPER_STRLEN, NUMBER},    {HELPER_STRNLEN, NUMBER}, {HELPER_STRCMP, STRING},  {HELPER_STRCASECMP, STRING},
		   {HELPER_STRCHR, NUMBER},    {HELPER_STRNCHR, NUMBER}, {HELPER_STRRCHR, NUMBER}, {HELPER_STRCHRNUL, NUMBER},
		   {HELPER_STRSTR, STRING},    {HELPER_STRNSTR, STRING}, {HELPER_STRSPN, STRING},  {HELPER_STRCSPN, STRING}};
	const u32 f = edge_below(g, sizeof(all) / sizeof(all[0]));
	u32 jumps[4], n, r = one_in(g, 2) ? 0 : 5;

	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, one_in(g, 3) ? 10 : 7, 0, 0);
	if ((all[f].second == STRING) != one_in(g, 30))
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 2, one_in(g, 10) ? 8 : 7, 0, 0);
	else
		number(g, 2, (s32)edge_below(g, 100));
	number(g, 3, 'x');
	call_helper(g, all[f].function);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 5, 0, (s32)(one_in(g, 2) ? 32 : 0), 0);
	unknown(g, 3);
	n = bound(g, r, EDGE_VALUE - 8, jumps);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 4, 7, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, 4, r, 0, 0);
	load_or_store(g, 4, 0, BPF_DW);
	number(g, 4, 0);
	for (u32 i = 0; i < n; i++)
		to_here(g, jumps[i]);
	afterwards(g);
}

/* An entry written, from the stack or the value, or deleted. */
void edge_update(struct edge_gen *g)
{
	const bool deletes = one_in(g, 3);

	if (one_in(g, 2))
		emit(g, BPF_STX | BPF_MEM | BPF_W, 10, num(g), -64, 0);
	if (one_in(g, 2))
		emit(g, BPF_STX | BPF_MEM | size(g), 10, num(g), -88, 0);
	wide(g, 1, BPF_PSEUDO_MAP_FD, one_in(g, 12) ? edge_below(g, EDGE_MAPS) : 1, 0);
	stack_address(g, 2, -64 + (s32)(one_in(g, 12) ? edge_below(g, 70) : 0));
	if (one_in(g, 2))
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 3, 7, 0, 0);
	else
		stack_address(g, 3, -88);
	if (one_in(g, 3))
		emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0,
		     g->insns[g->count - 1].src_reg == 7 ? EDGE_VALUE - EDGE_HASH_VALUE + (s32)edge_below(g, 2) : 0);
	number(g, 4, (s32)edge_below(g, 3));
	call_helper(g, deletes ? BPF_FUNC_map_delete_elem : BPF_FUNC_map_update_elem);
	afterwards(g);
}

/* A queue: what comes out of it overwrites what was known of the stack. */
void edge_queue(struct edge_gen *g)
{
	static const s32 calls[] = {BPF_FUNC_map_push_elem, BPF_FUNC_map_pop_elem, BPF_FUNC_map_peek_elem};
	const s32 slot = -16 - 8 * (s32)edge_below(g, 4);

	for (u32 i = edge_below(g, 3); i-- > 0;)
		emit(g, BPF_STX | BPF_MEM | BPF_DW, 10, one_in(g, 6) ? 7 : num(g), slot + 8 * (s32)edge_below(g, 2), 0);
	wide(g, 1, BPF_PSEUDO_MAP_FD, one_in(g, 15) ? edge_below(g, EDGE_MAPS) : 3, 0);
	stack_address(g, 2, one_in(g, 15) ? -8 : slot);
	number(g, 3, one_in(g, 2) ? 2 : 0);
	call_helper(g, calls[edge_below(g, 3)]);
	unknown(g, 0);
	for (u32 r = 1; r < 6; r++)
		emit(g, BPF_LDX | BPF_MEM | size(g), r, 10, slot + 8 * (s32)edge_below(g, 2), 0);
}

/* A callback for each entry of the hash, or each record from user space. */
void edge_each(struct edge_gen *g)
{
	const bool drain = one_in(g, 2);

	if (g->sub_calls == 8)
		return;
	emit(g, BPF_STX | BPF_MEM | BPF_DW, 10, num(g), -40, 0);
	wide(g, 1, BPF_PSEUDO_MAP_FD, drain ? 4 : one_in(g, 4) ? 0 : 1, 0);
	g->sub_kind[g->sub_calls] = drain ? EDGE_DRAIN : EDGE_EACH;
	g->sub_call[g->sub_calls++] = emit(g, BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 0);
	emit(g, 0, 0, 0, 0, 0);
	stack_address(g, 3, -40);
	number(g, 4, 0);
	call_helper(g, drain ? BPF_FUNC_user_ringbuf_drain : BPF_FUNC_for_each_map_elem);
	g->loops = true;
	afterwards(g);
	if (one_in(g, 2))
		emit(g, BPF_LDX | BPF_MEM | BPF_DW, num(g), 10, -40, 0);
}

/* (map, key, value, pointer to eight bytes), or (dynptr, pointer to eight bytes). */
void edge_callback(struct edge_gen *g, u32 n)
{
	const bool drain = g->sub_kind[n] == EDGE_DRAIN;
	const u32 ctx = drain ? 2 : 4;

	if (one_in(g, 2))
		emit(g, BPF_ST | BPF_MEM | size(g), ctx, 0, 0, edge(g));
	if (drain) { /* registers as in the main function, but that r8 has the dynptr */
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 8, 1, 0, 0);
		wide(g, 7, BPF_PSEUDO_MAP_VALUE, 0, 0);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 6, 7, 0, 0);
		unknown(g, 0);
		unknown(g, 9);
		scratch_regs(g);
	} else {
		emit(g, BPF_LDX | BPF_MEM | (one_in(g, 8) ? BPF_DW : BPF_W), 5, 2, one_in(g, 20) ? 4 : 0, 0);
		if (one_in(g, 20))
			emit(g, BPF_ST | BPF_MEM | BPF_W, 2, 0, 0, 1);
		if (one_in(g, 2))
			emit(g, BPF_STX | BPF_MEM | BPF_DW, 3, 5, one_in(g, 8) ? 16 : 8, 0);
	}
	if (drain)
		edge_use_dynptr(g, 0, 8);
	if (one_in(g, 10))
		unknown(g, 0);
	else
		number(g, 0, (s32)edge_below(g, 2) + (s32)one_in(g, 20));
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}
