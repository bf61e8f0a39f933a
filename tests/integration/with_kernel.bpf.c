/* SPDX-License-Identifier: MIT */
/* One program for user space, one for the kernel, and maps that one of them uses, or both (with_kernel.c). */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>

#define MAP(map_type, name, entries, value_type)                                                                       \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##map_type);                                                                 \
		__uint(max_entries, entries);                                                                          \
		__type(key, unsigned);                                                                                 \
		__type(value, value_type);                                                                             \
	} name SEC(".maps")

MAP(PERCPU_ARRAY, both_array, 4, long);
MAP(PERCPU_HASH, both_hash, 16, long);
MAP(ARRAY, both_plain, 700, long); /* more than a page */
MAP(HASH, user_hash, 16, long);
MAP(HASH, kernel_hash, 16, long);
MAP(ARRAY, kernel_array, 4, long);
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, unsigned);
} kernel_queue SEC(".maps");

struct {
	long total, step, called, seen;
} globals; /* the tool sets the step, through a mapping */

const volatile char wanted[16] = ""; /* comm of those whose exec counts */
const volatile unsigned mark = 0;

static void add(void *map, unsigned key, long n)
{
	long one = n, *value = bpf_map_lookup_elem(map, &key);

	if (value)
		*value += n;
	else
		bpf_map_update_elem(map, &key, &one, BPF_NOEXIST);
}

static void add_both(unsigned key, long n)
{
	long *value = bpf_map_lookup_elem(&both_plain, &key);

	if (value)
		__sync_fetch_and_add(value, n);
	__sync_fetch_and_add(&globals.total, n * globals.step);
}

static void note(unsigned who)
{
	unsigned *record = bpf_ringbuf_reserve(&records, 2 * sizeof(*record), 0);

	if (!record)
		return;
	record[0] = who;
	record[1] = mark;
	bpf_ringbuf_submit(record, 0);
}

SEC("uprobe")
int in_user_space(struct pt_regs *ctx)
{
	add(&both_array, 1, 1);
	add(&both_hash, 5, 1);
	add(&both_hash, 6, 1);
	add(&user_hash, 1, 1);
	add_both(1, 1);
	add_both(600, 1);
	globals.called = 5;
	note(1);
	return 0;
}

static int is_wanted(void)
{
	char comm[16];

	if (bpf_get_current_comm(comm, sizeof(comm)))
		return 0;
	for (int i = 0; i < 16; i++) {
		if (comm[i] != wanted[i])
			return 0;
		if (!comm[i])
			break;
	}
	return 1;
}

SEC("tracepoint/sched/sched_process_exec")
int in_kernel(void *ctx)
{
	unsigned left = 0;

	if (!is_wanted())
		return 0;
	add(&both_array, 1, 1000);
	add(&both_hash, 5, 1000);
	add(&both_hash, 7, 1000);
	add(&kernel_hash, 1, 1);
	add_both(1, 1000);
	if (globals.called == 5)
		__sync_fetch_and_add(&globals.seen, 1);
	add(&kernel_array, 2, 1);
	if (!bpf_map_pop_elem(&kernel_queue, &left))
		add(&kernel_hash, 100 + left, 1);
	note(2);
	return 0;
}

char _license[] SEC("license") = "GPL";
