/* SPDX-License-Identifier: MIT */
/* What tool_bpftool.py loads on both sides: maps of all kinds, values with types, and programs. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

enum kind { ONE = 1, TWO };

struct key {
	int a;
	short b;
	char c[6];
};

struct val {
	enum kind kind;
	unsigned long long n;
	union {
		int i;
		char s[4];
	} u;
	struct {
		unsigned f : 3;
		int g : 5;
	} bits;
	int arr[3];
	void *p;
	_Bool ok;
};

#define MAP(map_type, name, entries, key_type, value_type)                                                             \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##map_type);                                                                 \
		__uint(max_entries, entries);                                                                          \
		__type(key, key_type);                                                                                 \
		__type(value, value_type);                                                                             \
	} name SEC(".maps")
#define SIZED(map_type, name, entries, key, value)                                                                     \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##map_type);                                                                 \
		__uint(max_entries, entries);                                                                          \
		__uint(key_size, key);                                                                                 \
		__uint(value_size, value);                                                                             \
	} name SEC(".maps")
#define KEYLESS(map_type, name, entries, value_type)                                                                   \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##map_type);                                                                 \
		__uint(max_entries, entries);                                                                          \
		__type(value, value_type);                                                                             \
	} name SEC(".maps")

MAP(HASH, h, 8, struct key, struct val);
MAP(PERCPU_HASH, ph, 8, int, struct val);
MAP(PERCPU_ARRAY, pa, 2, int, long);
MAP(LRU_HASH, lru, 64, int, long);
SIZED(PERF_EVENT_ARRAY, pe, 0, 4, 4);
SIZED(STACK_TRACE, st, 16, 4, 80);
SIZED(PROG_ARRAY, pr, 4, 4, 4);
KEYLESS(BLOOM_FILTER, bl, 64, int);
KEYLESS(STACK, sk, 4, int);
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, 8);
	__uint(value_size, 8);
} lpm SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} rb SEC(".maps");
struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} in1 SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, int);
	__array(values, struct inner);
} hom SEC(".maps");

int global = 7, bss;
const volatile int ro = 9;
static char text[8] = "hi";

static __noinline int triple(int x)
{
	return x * 3 + ro;
}

SEC("uprobe")
int up(struct pt_regs *ctx)
{
	struct key k = {1, 2, "abc"};
	struct val v = {TWO, 5};

	v.u.i = triple((int)PT_REGS_PARM1(ctx));
	bpf_map_update_elem(&h, &k, &v, 0);
	bss += global;
	bpf_printk("%d %s", bss, text);
	bpf_tail_call(ctx, &pr, 1);
	return 0;
}

SEC("socket")
int filter(struct __sk_buff *c)
{
	int key = 0, *p = bpf_map_lookup_elem(&in1, &key);

	if (p)
		(*p)++;
	return c->len;
}

SEC("raw_tp/sys_enter")
int raw(struct bpf_raw_tracepoint_args *c)
{
	bss++;
	return (int)c->args[0] + 5;
}

SEC("raw_tp/sys_enter")
int uses(void *c)
{
	char b[8] = {};
	int zero = 0;
	long one = 1;
	void *r = bpf_ringbuf_reserve(&rb, 8, 0);

	if (r)
		bpf_ringbuf_submit(r, 0);
	bpf_perf_event_output(c, &pe, BPF_F_CURRENT_CPU, b, 8);
	bpf_get_stackid(c, &st, BPF_F_USER_STACK);
	bpf_map_push_elem(&bl, &zero, 0);
	bpf_map_push_elem(&sk, &zero, 0);
	bpf_map_update_elem(&lru, &zero, &one, 0);
	bpf_map_lookup_elem(&ph, &zero);
	bpf_map_lookup_elem(&pa, &zero);
	bpf_map_lookup_elem(&lpm, b);
	bpf_map_lookup_elem(&hom, &zero);
	return 1;
}

char _license[] SEC("license") = "GPL";
