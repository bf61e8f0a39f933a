/* SPDX-License-Identifier: MIT */
/* Kernel functions: iterators as libbpf's bpf_for(), bpf_repeat() and bpf_for_each() emit them, and sections. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "result.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RESULTS);
	__type(key, __u32);
	__type(value, struct result);
} results SEC(".maps");

struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern void bpf_preempt_disable(void) __ksym;
extern void bpf_preempt_enable(void) __ksym;
struct task_struct {
	int pid;
};
extern struct task_struct *bpf_task_from_pid(__s32 pid) __ksym __weak; /* not for these programs, and never called */

/* The iterator ends wherever the block is left. */
#define EACH(i, start, end)                                                                        \
	for (struct bpf_iter_num it_ __attribute__((cleanup(bpf_iter_num_destroy))),               \
	     *once_ = (bpf_iter_num_new(&it_, (start), (end)), (void *)0);                         \
	     ({                                                                                    \
		     int *t_ = bpf_iter_num_next(&it_);                                            \
		     (void)once_;                                                                  \
		     t_ && ((i) = *t_, 1);                                                         \
	     });)

const volatile int no_tasks = 1;
int seen[16];

static __always_inline struct result *result(__u32 n)
{
	return bpf_map_lookup_elem(&results, &n);
}

static __noinline int sum_to(int n)
{
	int i, sum = 0;

	EACH(i, 0, n)
		sum += i;
	return sum;
}

/* How many come between them, what new says, and the first and the last. */
static __noinline int limits(__u32 n, int start, int end)
{
	struct result *r = result(n);
	struct bpf_iter_num it;
	int *next, count = 0, last = 0, first = 0, err;

	err = bpf_iter_num_new(&it, start, end);
	while ((next = bpf_iter_num_next(&it))) {
		if (!count++)
			first = *next;
		last = *next;
		if (count == 1000)
			break;
	}
	bpf_iter_num_destroy(&it);
	if (r) {
		r->ret = count;
		((int *)r->out)[0] = err;
		((int *)r->out)[1] = first;
		((int *)r->out)[2] = last;
	}
	return 0;
}

SEC("uprobe")
int formats(struct pt_regs *ctx)
{
	struct result *r;
	int i, j, sum = 0;

	if ((r = result(0)))
		r->ret = sum_to(100);
	EACH(i, 2, 6)
		EACH(j, 0, i)
			sum += i * j;
	if ((r = result(1)))
		r->ret = sum;
	limits(2, 0, 0);
	limits(3, 5, 4);
	limits(4, -3, 4);
	limits(5, -2147483647 - 1, -2147483640);
	limits(6, 2147483600, 2147483647);
	limits(7, 0, 1 << 23);
	limits(8, 0, (1 << 23) + 1);
	limits(9, -2147483647 - 1, 2147483647);
	limits(10, 7, 1 << 20);
	if ((r = result(11)))
		EACH(i, 0, OUT_LEN) {
			r->out[i & 63] = i;
			if (i == 70)
				break;
		}
	EACH(i, 0, 16)
		seen[i & 15] += i;
	bpf_rcu_read_lock();
	if ((r = result(12)))
		r->ret = seen[9];
	bpf_rcu_read_unlock();
	bpf_preempt_disable();
	bpf_preempt_disable();
	bpf_preempt_enable();
	if ((r = result(13)))
		r->ret = seen[15] + 1;
	bpf_preempt_enable();
	if (!no_tasks)
		bpf_task_from_pid(1);
	return 0;
}

SEC("uprobe.s")
int texts(struct pt_regs *ctx)
{
	struct result *r = result(20);

	if (r)
		r->ret = 100 + bpf_copy_from_user(r->out, 8, (void *)PT_REGS_PARM1(ctx));
	r = result(21);
	if (r)
		r->ret = 100 + bpf_copy_from_user(r->out, 8, (void *)16);
	return 0;
}
