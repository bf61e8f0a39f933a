/* SPDX-License-Identifier: MIT */
/*
 * Programs that the verifier lets pass because of what their maps are said to be: were a map smaller than that, and nobody
 * looked, each would reach outside of it. They count in `went` that they came to their end.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define WIDE  (1 << 20)
#define MANY  (1 << 17)
#define ON(f) SEC("uprobe") int f(struct pt_regs *ctx)

#define MAP(name, kind, keys, values, count)                                                       \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(key_size, keys);                                                            \
		__uint(value_size, values);                                                        \
		__uint(max_entries, count);                                                        \
	} name SEC(".maps")

enum { VALUE, GLOBAL, ELEMENT, KEY, POP, CONSTANT, TAIL, RING, WENT };

MAP(wide, ARRAY, 4, WIDE, 1);
MAP(many, ARRAY, 4, 8, MANY);
MAP(keyed, HASH, 8, 8, 16);
MAP(queue, QUEUE, 0, 8, 1024);
MAP(small, ARRAY, 4, 8, 4);
MAP(went, ARRAY, 4, 8, WENT);
MAP(ring, RINGBUF, 0, 0, 64 << 10);
int called(struct pt_regs *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(max_entries, 2);
	__array(values, int(struct pt_regs *));
} chain SEC(".maps") = {.values = {[0] = &called}};

unsigned char data[WIDE];
const volatile unsigned int limit = 3;

static __always_inline void note(unsigned int what)
{
	unsigned long long *n = bpf_map_lookup_elem(&went, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

ON(on_value)
{
	unsigned int zero = 0;
	unsigned char *value = bpf_map_lookup_elem(&wide, &zero);
	unsigned long n = PT_REGS_PARM1(ctx);

	if (!value || n >= WIDE)
		return 0;
	value[n]++;
	note(VALUE);
	return 0;
}

ON(on_global)
{
	unsigned long n = PT_REGS_PARM1(ctx);

	if (n >= WIDE)
		return 0;
	data[n]++;
	note(GLOBAL);
	return 0;
}

/* An element of an array whose key is a constant below the number of elements is there. */
ON(on_element)
{
	unsigned int last = MANY - 1;
	unsigned long long *value = bpf_map_lookup_elem(&many, &last);

	__sync_fetch_and_add(value, 1);
	note(ELEMENT);
	return 0;
}

ON(on_key)
{
	unsigned long long key = PT_REGS_PARM1(ctx), value = 1;

	if (!bpf_map_update_elem(&keyed, &key, &value, 0))
		note(KEY);
	return 0;
}

ON(on_pop)
{
	unsigned long long value = PT_REGS_PARM1(ctx);

	bpf_map_push_elem(&queue, &value, 0);
	if (!bpf_map_pop_elem(&queue, &value))
		note(POP);
	return 0;
}

ON(on_constant)
{
	unsigned long long words[4] = {1, 2, 3, 4};
	unsigned int key = limit;
	unsigned long long *value = bpf_map_lookup_elem(&small, &key);

	if (!value)
		return 0;
	for (unsigned int i = 0; i <= limit; i++)
		*value += words[i];
	note(CONSTANT);
	return 0;
}

ON(on_tail)
{
	bpf_tail_call(ctx, &chain, 0);
	return 0;
}

SEC("uprobe") int called(struct pt_regs *ctx)
{
	note(TAIL);
	return 0;
}

ON(on_ring)
{
	unsigned long long *record = bpf_ringbuf_reserve(&ring, 4096, 0);

	if (!record)
		return 0;
	record[511] = PT_REGS_PARM1(ctx);
	bpf_ringbuf_discard(record, 0);
	note(RING);
	return 0;
}

char _license[] SEC("license") = "GPL";
