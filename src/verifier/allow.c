/* SPDX-License-Identifier: MIT */
/* Which map types programs may use, which helpers work on these, and in which program types. Source: the kernel, asked. */
#include "verifier/internal.h"

#define KIND(t) BIT(BPF_MAP_TYPE_##t)
#define QUEUES  (KIND(QUEUE) | KIND(STACK) | KIND(BLOOM_FILTER))

/* Map types for programs of their own: nothing but these helpers takes them, and these take nothing else. */
static const struct {
	u32 helper;
	u64 types;
} only[] = {
	{BPF_FUNC_tail_call, KIND(PROG_ARRAY)},
	{BPF_FUNC_perf_event_read, KIND(PERF_EVENT_ARRAY)},
	{BPF_FUNC_perf_event_output, KIND(PERF_EVENT_ARRAY)},
	{BPF_FUNC_perf_event_read_value, KIND(PERF_EVENT_ARRAY)},
	{BPF_FUNC_get_stackid, KIND(STACK_TRACE)},
	{BPF_FUNC_current_task_under_cgroup, KIND(CGROUP_ARRAY)},
	{BPF_FUNC_ringbuf_output, KIND(RINGBUF)},
	{BPF_FUNC_ringbuf_reserve, KIND(RINGBUF)},
	{BPF_FUNC_ringbuf_query, KIND(RINGBUF)},
	{BPF_FUNC_ringbuf_reserve_dynptr, KIND(RINGBUF)},
	{BPF_FUNC_user_ringbuf_drain, KIND(USER_RINGBUF)},
	{BPF_FUNC_map_push_elem, QUEUES},
	{BPF_FUNC_map_peek_elem, QUEUES},
	{BPF_FUNC_map_pop_elem, KIND(QUEUE) | KIND(STACK)},
	{BPF_FUNC_map_lookup_percpu_elem,
	 KIND(PERCPU_ARRAY) | KIND(PERCPU_HASH) | KIND(LRU_PERCPU_HASH)},
	{BPF_FUNC_for_each_map_elem, KIND(HASH) | KIND(PERCPU_HASH) | KIND(LRU_HASH) |
					     KIND(LRU_PERCPU_HASH) | KIND(ARRAY) |
					     KIND(PERCPU_ARRAY) | KIND(HASH_OF_MAPS)},
};

#define SPECIAL                                                                                    \
	(KIND(PROG_ARRAY) | KIND(PERF_EVENT_ARRAY) | KIND(STACK_TRACE) | KIND(CGROUP_ARRAY) |      \
	 KIND(RINGBUF) | KIND(USER_RINGBUF) | QUEUES)
#define READ_ONLY_MAPS (KIND(ARRAY_OF_MAPS) | KIND(HASH_OF_MAPS))

bool map_allows(u32 type, u32 helper)
{
	if (type >= 64)
		return false;
	for (u32 i = 0; i < ARRAY_SIZE(only); i++)
		if (only[i].helper == helper)
			return only[i].types & BIT(type);
	if (SPECIAL & BIT(type))
		return false;
	return !(READ_ONLY_MAPS & BIT(type)) || helper == BPF_FUNC_map_lookup_elem;
}

/* What a map that may change under a program that sleeps is made for. */
#define FOR_SLEEPERS                                                                               \
	(KIND(HASH) | KIND(LRU_HASH) | KIND(ARRAY) | KIND(PERCPU_HASH) | KIND(PERCPU_ARRAY) |      \
	 KIND(LRU_PERCPU_HASH) | READ_ONLY_MAPS | KIND(RINGBUF) | KIND(USER_RINGBUF) |             \
	 KIND(QUEUE) | KIND(STACK))

static int check_map(struct verifier *v, const struct verifier_map *m)
{
	const bool tracing = v->prog->type != BPF_PROG_TYPE_SOCKET_FILTER;

	if (tracing && m->has_timer)
		return fail(v, EINVAL, "tracing progs cannot use bpf_timer yet\n");
	if (tracing && m->has_wq)
		return fail(v, EINVAL, "tracing progs cannot use bpf_wq yet\n");
	if (v->prog->sleepable && (m->type >= 64 || !(FOR_SLEEPERS & BIT(m->type))))
		return fail(v, EINVAL, "Sleepable programs can only use array, hash, ringbuf and local storage maps\n");
	return 0;
}

/* Those that its instructions name. */
int check_maps(struct verifier *v)
{
	int err = 0;

	for (u32 i = 0; i < v->prog->insn_count && !err; i++) {
		const struct bpf_insn *in = &v->prog->insns[i];

		if (in->code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (in->src_reg == BPF_PSEUDO_MAP_FD || in->src_reg == BPF_PSEUDO_MAP_VALUE)
			err = check_map(v, &v->prog->maps[in->imm]);
		i++;
	}
	return err;
}

/*
 * All types here are for tracing and have the same helpers, but packet filters. (What limpet has beyond the kernel,
 * docs/helpers.md, it has for all the others.)
 */
bool type_allows(u32 prog_type, u32 helper)
{
	static const u32 not_for_filters[] = {
		BPF_FUNC_probe_read,       BPF_FUNC_get_stackid,      BPF_FUNC_probe_read_str,
		BPF_FUNC_get_stack,        BPF_FUNC_get_func_ip,      BPF_FUNC_get_attach_cookie,
		BPF_FUNC_probe_write_user, BPF_FUNC_override_return,  BPF_FUNC_get_func_arg,
		BPF_FUNC_get_func_ret,     BPF_FUNC_get_func_arg_cnt,
	};

	for (u32 i = 0; i < ARRAY_SIZE(not_for_filters); i++)
		if (prog_type == BPF_PROG_TYPE_SOCKET_FILTER && not_for_filters[i] == helper)
			return false;
	return true;
}
