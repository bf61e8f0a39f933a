/* SPDX-License-Identifier: MIT */
/* What lib_test.c loads: maps, global data, subprograms, a callback, a CO-RE access in another
 * section. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__uint(key_size, 0);
	__uint(value_size, 8);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u64);
} seen SEC(".maps");

__u64 calls;                    /* .bss */
__u64 step = 5;                 /* .data */
const volatile __u64 limit = 7; /* .rodata */

static __attribute__((noinline)) __u64 add(__u64 a, __u64 b)
{
	return a + b * step;
}

SEC("socket")
int sums(__u64 *ctx)
{
	__u64 v = add(ctx[0], ctx[1]);

	calls++;
	return v > limit ? v : 0;
}

SEC("socket")
int pushes(__u64 *ctx)
{
	__u32 key = 1;
	__u64 v = ctx[0], *n = bpf_map_lookup_elem(&counts, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
	return bpf_map_push_elem(&events, &v, 0);
}

SEC("socket")
int hashes(__u64 *ctx)
{
	__u64 key = ctx[0], one = 1, *n = bpf_map_lookup_elem(&seen, &key);

	if (n)
		return __sync_fetch_and_add(n, 1);
	return bpf_map_update_elem(&seen, &key, &one, BPF_NOEXIST);
}

static long (*visit)(void *fn, __u64 n) = (void *)2000;

static __u64 square(__u64 i)
{
	return i * i;
}

SEC("socket")
int calls_back(void *ctx)
{
	return visit(square, 5);
}

SEC("socket")
int no_helper(void *ctx)
{
	return ((long (*)(void))60000)();
}
