/* SPDX-License-Identifier: MIT */
/* Elements of maps from inside a program: every operation and flag on every type that has them. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "result.h"

char LICENSE[] SEC("license") = "GPL";

#define MAP(name, kind, n, flags, key_type, value_type)                                            \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(max_entries, n);                                                            \
		__uint(map_flags, flags);                                                          \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")
#define LIST(name, kind, n)                                                                        \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(max_entries, n);                                                            \
		__uint(value_size, 8);                                                             \
	} name SEC(".maps")

struct route {
	__u32 bits;
	__u8 addr[4];
};

MAP(results, ARRAY, RESULTS, 0, __u32, struct result);
MAP(hash, HASH, 2, 0, __u32, __u64);
MAP(hash_alloc, HASH, 2, BPF_F_NO_PREALLOC, __u32, __u64);
MAP(array, ARRAY, 2, 0, __u32, __u64);
MAP(cpu_hash, PERCPU_HASH, 2, 0, __u32, __u64);
MAP(cpu_array, PERCPU_ARRAY, 2, 0, __u32, __u64);
MAP(cpu_lru, LRU_PERCPU_HASH, 64, 0, __u32, __u64);
MAP(lru, LRU_HASH, 64, 0, __u32, __u64);
MAP(routes, LPM_TRIE, 4, BPF_F_NO_PREALLOC, struct route, __u64);
LIST(queue, QUEUE, 3);
LIST(stack, STACK, 3);
LIST(bloom, BLOOM_FILTER, 4);

static __always_inline struct result *result(__u32 n)
{
	return bpf_map_lookup_elem(&results, &n);
}

/* Each step is a character: what it answered, and what is there then. */
static __always_inline void note(struct result *r, __u32 at, long ret, const __u64 *value)
{
	if (at < OUT_LEN / 4) {
		r->out[4 * at] = (char)ret;
		r->out[4 * at + 1] = value ? (char)*value : '-';
		r->out[4 * at + 2] = '|';
	}
}

#define STEP(map, ret)                                                                             \
	do {                                                                                       \
		long ret_ = (ret);                                                                 \
		note(r, at++, ret_, bpf_map_lookup_elem(&map, &k));                                \
	} while (0)
#define PUT(map, key_, v, flags)                                                                   \
	do {                                                                                       \
		k = key_;                                                                          \
		value = v;                                                                         \
		STEP(map, bpf_map_update_elem(&map, &k, &value, flags));                           \
	} while (0)
#define DROP(map, key_)                                                                            \
	do {                                                                                       \
		k = key_;                                                                          \
		STEP(map, bpf_map_delete_elem(&map, &k));                                          \
	} while (0)

/* The same for every type with keys that are numbers: a third key does not fit, or makes room. */
#define KEYED(n, map)                                                                              \
	do {                                                                                       \
		struct result *r = result(n);                                                      \
		__u64 value;                                                                       \
		__u32 k, at = 0;                                                                   \
		if (!r)                                                                            \
			break;                                                                     \
		PUT(map, 0, 'a', BPF_EXIST);                                                       \
		PUT(map, 0, 'b', BPF_NOEXIST);                                                     \
		PUT(map, 0, 'c', BPF_NOEXIST);                                                     \
		PUT(map, 0, 'd', BPF_EXIST);                                                       \
		PUT(map, 1, 'e', BPF_ANY);                                                         \
		PUT(map, 2, 'f', BPF_ANY);                                                         \
		PUT(map, 0, 'g', BPF_ANY);                                                         \
		PUT(map, 0, 'h', BPF_F_LOCK);                                                      \
		PUT(map, 0, 'i', 3);                                                               \
		PUT(map, 0, 'j', 8);                                                               \
		PUT(map, 0, 'k', 1ULL << 40);                                                      \
		DROP(map, 1);                                                                      \
		DROP(map, 1);                                                                      \
		DROP(map, 7);                                                                      \
		PUT(map, 7, 'l', BPF_ANY);                                                         \
		DROP(map, 0);                                                                      \
		r->ret = 1000 + at;                                                                \
	} while (0)

SEC("uprobe")
int facts(struct pt_regs *ctx)
{
	KEYED(0, hash);
	KEYED(1, hash_alloc);
	KEYED(2, array);
	KEYED(3, cpu_hash);
	KEYED(4, cpu_array);
	KEYED(5, lru);
	KEYED(6, cpu_lru);
	return 0;
}

#define ROUTE(bits_, a, b)                                                                         \
	do {                                                                                       \
		k.bits = bits_;                                                                    \
		k.addr[0] = a;                                                                     \
		k.addr[1] = b;                                                                     \
	} while (0)
#define PUT_ROUTE(v, flags)                                                                        \
	do {                                                                                       \
		value = v;                                                                         \
		STEP(routes, bpf_map_update_elem(&routes, &k, &value, flags));                     \
	} while (0)

SEC("uprobe")
int formats(struct pt_regs *ctx)
{
	struct result *r = result(10);
	struct route k = {};
	__u64 value;
	__u32 at = 0;

	if (!r)
		return 0;
	ROUTE(8, 10, 0);
	PUT_ROUTE('a', BPF_EXIST);
	PUT_ROUTE('b', BPF_NOEXIST);
	PUT_ROUTE('c', BPF_NOEXIST);
	ROUTE(16, 10, 1);
	PUT_ROUTE('d', BPF_ANY);
	ROUTE(32, 10, 2);
	STEP(routes, 0);
	PUT_ROUTE('e', BPF_ANY);
	ROUTE(0, 0, 0);
	PUT_ROUTE('f', BPF_ANY);
	ROUTE(4, 0, 0);
	PUT_ROUTE('g', BPF_ANY);
	ROUTE(33, 0, 0);
	PUT_ROUTE('h', BPF_ANY);
	STEP(routes, bpf_map_delete_elem(&routes, &k));
	ROUTE(16, 10, 1);
	STEP(routes, bpf_map_delete_elem(&routes, &k));
	STEP(routes, bpf_map_delete_elem(&routes, &k));
	ROUTE(32, 10, 1);
	STEP(routes, bpf_map_delete_elem(&routes, &k));
	PUT_ROUTE('i', BPF_F_LOCK);
	PUT_ROUTE('j', 3);
	r->ret = 1000 + at;
	return 0;
}

#define PUSH(map, v, flags)                                                                        \
	do {                                                                                       \
		value = v;                                                                         \
		ret = bpf_map_push_elem(&map, &value, flags);                                      \
		value = '?';                                                                       \
		bpf_map_peek_elem(&map, &value);                                                   \
		note(r, at++, ret, &value);                                                        \
	} while (0)
#define POP(map)                                                                                   \
	do {                                                                                       \
		value = '?';                                                                       \
		ret = bpf_map_pop_elem(&map, &value);                                              \
		note(r, at++, ret, &value);                                                        \
	} while (0)
#define LISTED(n, map)                                                                             \
	do {                                                                                       \
		struct result *r = result(n);                                                      \
		__u64 value;                                                                       \
		__u32 at = 0;                                                                      \
		long ret;                                                                          \
		if (!r)                                                                            \
			break;                                                                     \
		POP(map);                                                                          \
		PUSH(map, 'a', BPF_ANY);                                                           \
		PUSH(map, 'b', BPF_NOEXIST);                                                       \
		PUSH(map, 'c', BPF_EXIST);                                                         \
		PUSH(map, 'd', BPF_ANY);                                                           \
		PUSH(map, 'e', BPF_ANY);                                                           \
		PUSH(map, 'f', BPF_EXIST);                                                         \
		PUSH(map, 'g', 4);                                                                 \
		PUSH(map, 'h', 1ULL << 40);                                                        \
		POP(map);                                                                          \
		POP(map);                                                                          \
		POP(map);                                                                          \
		POP(map);                                                                          \
		r->ret = 1000 + at;                                                                \
	} while (0)

static __always_inline long lookup(void *map, __u32 key, __u32 cpu)
{
	__u64 *v = bpf_map_lookup_percpu_elem(map, &key, cpu);

	return v ? (long)*v : -1;
}

/* The processor of this very moment; all others have nothing. */
static __always_inline void cpus(__u32 n, void *map)
{
	struct result *r = result(n);
	__u32 key = 0;
	__u64 value = 77;
	long sum = 0;

	if (!r)
		return;
	bpf_map_update_elem(map, &key, &value, BPF_ANY);
	for (__u32 cpu = 0; cpu < 64; cpu++) {
		long v = lookup(map, 0, cpu);

		sum += v > 0 ? v : 0;
	}
	r->ret = 1000 + sum;
	((long *)r->out)[0] = lookup(map, 5, 0);
	((long *)r->out)[1] = lookup(map, 0, 1u << 30);
	((long *)r->out)[2] = lookup(map, 0, -1);
}

#define NOWHERE(n, helper, addr)                                                                   \
	do {                                                                                       \
		struct result *r_ = result(n);                                                     \
		if (r_) {                                                                          \
			__builtin_memset(r_->out, 'x', 8);                                         \
			r_->ret = 1000 + helper(r_->out, 8, (void *)(addr));                       \
		}                                                                                  \
	} while (0)

SEC("uprobe")
int texts(struct pt_regs *ctx)
{
	struct result *r;
	__u64 value = 5;
	__u32 a, b, c;
	char text[16] = "a text";

	LISTED(20, queue);
	LISTED(21, stack);
	if ((r = result(22))) {
		((long *)r->out)[0] = bpf_map_peek_elem(&bloom, &value);
		((long *)r->out)[1] = bpf_map_push_elem(&bloom, &value, BPF_EXIST);
		((long *)r->out)[2] = bpf_map_push_elem(&bloom, &value, BPF_NOEXIST);
		((long *)r->out)[3] = bpf_map_push_elem(&bloom, &value, BPF_ANY);
		((long *)r->out)[4] = bpf_map_peek_elem(&bloom, &value);
		((long *)r->out)[5] = bpf_map_push_elem(&bloom, &value, 8);
		r->ret = 1;
	}
	cpus(23, &cpu_array);
	cpus(24, &cpu_hash);
	cpus(25, &cpu_lru);
	/* numbers that are random, and a processor that there is */
	a = bpf_get_prandom_u32();
	b = bpf_get_prandom_u32();
	c = bpf_get_prandom_u32();
	if ((r = result(26)))
		r->ret = 1 + (a != b || b != c) + (bpf_get_smp_processor_id() < 4096);
	/* by the names without "user" or "kernel": what a program has itself is the kernel's */
	if ((r = result(27)))
		r->ret = 1000 + bpf_probe_read(r->out, 8, text);
	if ((r = result(28)))
		r->ret = 1000 + bpf_probe_read_str(r->out, 16, text);
	if ((r = result(29)))
		r->ret = 1000 + bpf_probe_read_str(r->out, 4, text);
	if ((r = result(30)))
		r->ret = 1000 + bpf_probe_read(r->out, 8, (void *)16);
	if ((r = result(31)))
		r->ret = 1000 + bpf_probe_read_str(r->out, 8, (void *)16);
	if ((r = result(32)))
		r->ret = 1000 + bpf_probe_read(r->out, 8, (void *)PT_REGS_PARM1(ctx));
	if ((r = result(33)))
		r->ret = 1000 + bpf_probe_read_str(r->out, 8, (void *)PT_REGS_PARM1(ctx));
	if ((r = result(34)))
		r->ret = 1000 + bpf_probe_read_str(r->out, 0, (void *)PT_REGS_PARM1(ctx));
	/* addresses that are nobody's, by each of the names */
	NOWHERE(40, bpf_probe_read, 16);
	NOWHERE(41, bpf_probe_read_user, 16);
	NOWHERE(42, bpf_probe_read_kernel, 16);
	NOWHERE(43, bpf_probe_read_str, 16);
	NOWHERE(44, bpf_probe_read_user_str, 16);
	NOWHERE(45, bpf_probe_read_kernel_str, 16);
	NOWHERE(46, bpf_probe_read, 0x0123456789abcdef);
	NOWHERE(47, bpf_probe_read_user, 0x0123456789abcdef);
	NOWHERE(48, bpf_probe_read_kernel, 0x0123456789abcdef);
	NOWHERE(49, bpf_probe_read_str, 0x0123456789abcdef);
	NOWHERE(50, bpf_probe_read_user_str, 0x0123456789abcdef);
	NOWHERE(51, bpf_probe_read_kernel_str, 0x0123456789abcdef);
	NOWHERE(52, bpf_probe_read, ~0ULL - 63);
	NOWHERE(53, bpf_probe_read_user, ~0ULL - 63);
	NOWHERE(54, bpf_probe_read_kernel, ~0ULL - 63);
	NOWHERE(55, bpf_probe_read_str, ~0ULL - 63);
	NOWHERE(56, bpf_probe_read_user_str, ~0ULL - 63);
	NOWHERE(57, bpf_probe_read_kernel_str, ~0ULL - 63);
	NOWHERE(61, bpf_probe_read, 0x800000000000);
	NOWHERE(62, bpf_probe_read_str, 0x800000000000);
	NOWHERE(63, bpf_probe_read_kernel, 0);
	NOWHERE(64, bpf_probe_read_kernel_str, 0);
	NOWHERE(65, bpf_probe_read_kernel, 0xffffffffff600000);
	NOWHERE(66, bpf_probe_read_kernel_str, 0xffffffffff600000);
	NOWHERE(67, bpf_probe_read_kernel, ~0ULL - 3);
	NOWHERE(68, bpf_probe_read_kernel_str, ~0ULL - 3);
	NOWHERE(69, bpf_probe_read_user, ~0ULL - 3);
	NOWHERE(70, bpf_probe_read, 0x7fffffffefff);
	NOWHERE(71, bpf_probe_read, 0x7ffffffff000);
	return 0;
}
