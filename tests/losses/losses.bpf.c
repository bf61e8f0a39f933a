/* SPDX-License-Identifier: MIT */
/* Programs that lose something, one for each cause that limpet counts; on the target's functions of the same names. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define MAP(name, kind, keys, values, count)                                                       \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(key_size, keys);                                                            \
		__uint(value_size, values);                                                        \
		__uint(max_entries, count);                                                        \
	} name SEC(".maps")
#define BUFFER(name, kind)                                                                         \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(max_entries, 4096);                                                         \
	} name SEC(".maps")
#define STACKS(name, count)                                                                        \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_STACK_TRACE);                                            \
		__uint(key_size, 4);                                                               \
		__uint(value_size, 8 * 16);                                                        \
		__uint(max_entries, count);                                                        \
	} name SEC(".maps")

MAP(hash, HASH, 8, 8, 4);
MAP(percpu_hash, PERCPU_HASH, 8, 8, 4);
MAP(queue, QUEUE, 0, 8, 4);
MAP(over, QUEUE, 0, 8, 4);
MAP(stack, STACK, 0, 8, 4);
MAP(lru, LRU_HASH, 8, 8, 4);
MAP(spoilt, QUEUE, 0, 8, 64);
MAP(slots, PERCPU_ARRAY, 4, 8, 1);
MAP(calls, PROG_ARRAY, 4, 4, 1);
MAP(cut, ARRAY, 4, 8, 1000);
STACKS(stacks, 1);
BUFFER(ring, RINGBUF);
BUFFER(late, RINGBUF);
BUFFER(given, USER_RINGBUF);

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps"), nobody SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(key_size, 8);
	__uint(value_size, 8);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} trie SEC(".maps");

/* How the helper answered the last time. */
MAP(answers, ARRAY, 4, 8, 32);

static void answer(__u32 which, __s64 value)
{
	__s64 *at = bpf_map_lookup_elem(&answers, &which);

	if (at)
		*at = value;
}

#define UPROBE(name, n) SEC("uprobe") int BPF_KPROBE(name, __u64 n)

UPROBE(on_hash, n)
{
	bpf_map_update_elem(&hash, &n, &n, BPF_ANY);
	bpf_map_update_elem(&percpu_hash, &n, &n, BPF_ANY);
	return 0;
}

UPROBE(on_trie, n)
{
	struct {
		__u32 length, bits;
	} key = {32, (__u32)n};

	bpf_map_update_elem(&trie, &key, &n, BPF_ANY);
	return 0;
}

UPROBE(on_queue, n)
{
	bpf_map_push_elem(&queue, &n, BPF_ANY);
	bpf_map_push_elem(&stack, &n, BPF_ANY);
	bpf_map_push_elem(&over, &n, BPF_EXIST);
	return 0;
}

UPROBE(on_lru, n)
{
	bpf_map_update_elem(&lru, &n, &n, BPF_ANY);
	return 0;
}

UPROBE(on_stacks, n)
{
	answer(0, bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK));
	return 0;
}

UPROBE(on_ring, n)
{
	char record[120] = {};

	bpf_ringbuf_output(&ring, record, sizeof(record), 0);
	return 0;
}

UPROBE(on_perf, n)
{
	char record[120] = {};

	answer(1, bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, record, sizeof(record)));
	return 0;
}

UPROBE(on_nobody, n)
{
	answer(2, bpf_perf_event_output(ctx, &nobody, 0, &n, sizeof(n)));
	return 0;
}

UPROBE(on_spoilt, n)
{
	bpf_map_push_elem(&spoilt, &n, BPF_ANY);
	bpf_map_pop_elem(&spoilt, &n);
	return 0;
}

/* The target's struct middle. */
struct waiting {
	int *inside, *go;
};

static long look(__u32 i, struct waiting *w)
{
	int go = 1;

	bpf_probe_read_user(&go, sizeof(go), w->go);
	return go != 0;
}

static long look_long(__u32 i, struct waiting *w)
{
	return bpf_loop(1 << 20, look, w, 0) < 1 << 20;
}

/* Says that it is there, and waits, for seconds at most: the target is to be interrupted meanwhile. */
static void wait_for_signal(struct pt_regs *ctx)
{
	int *middle = (int *)PT_REGS_PARM2(ctx), one = 1;
	struct waiting w = {middle, middle + 1};

	bpf_probe_write_user(w.inside, &one, sizeof(one));
	bpf_loop(1000, look_long, &w, 0);
}

/* The target's handler of the signal calls the function again, in the middle of this. */
UPROBE(on_slots, n)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&slots, &zero);

	if (value && n)
		wait_for_signal(ctx);
	return 0;
}

static long take(struct bpf_dynptr *sample, void *hit)
{
	wait_for_signal(*(struct pt_regs **)hit);
	return 0;
}

UPROBE(on_given, n)
{
	answer(3, bpf_user_ringbuf_drain(&given, take, &ctx, 0));
	return 0;
}

/* Stopped, or killed, with the record in its hands. */
UPROBE(on_late, n)
{
	__u64 *record = bpf_ringbuf_reserve(&late, sizeof(*record), 0);

	if (!record)
		return 0;
	if (n)
		wait_for_signal(ctx);
	*record = n;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

UPROBE(on_calls, n)
{
	bpf_tail_call(ctx, &calls, 0);
	return 0;
}

SEC("uprobe")
int called(struct pt_regs *ctx)
{
	return 0;
}

/* Reads and writes no memory but its map's. */
UPROBE(on_cut, n)
{
	__u32 key = (__u32)n;
	__u64 *value = bpf_map_lookup_elem(&cut, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
