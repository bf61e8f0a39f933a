/* SPDX-License-Identifier: MIT */
/* Kernel functions: iterators as libbpf's bpf_for(), bpf_repeat() and bpf_for_each() emit them, sections, strings. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_core_read.h>
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
extern int bpf_copy_from_user_str(void *dst, __u32 dst__sz, const void *unsafe_ptr__ign, __u64 flags) __ksym;
extern int bpf_copy_from_user_dynptr(struct bpf_dynptr *dptr, __u32 off, __u32 size, const void *unsafe_ptr__ign) __ksym;
extern int bpf_copy_from_user_str_dynptr(struct bpf_dynptr *dptr, __u32 off, __u32 size, const void *unsafe_ptr__ign) __ksym;
extern int bpf_strlen(const char *s) __ksym;
extern int bpf_strcmp(const char *s1, const char *s2) __ksym;
extern int bpf_strstr(const char *s1, const char *s2) __ksym;
extern int bpf_strrchr(const char *s, int c) __ksym;
struct task_struct {
	int pid;
	char comm[16];
} __attribute__((preserve_access_index));
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

static const char needle[] = "stack";
static char in_map[16] = "in the map";

#define ANSWER(n, call)                                                                            \
	do {                                                                                       \
		struct result *r_ = result(n);                                                     \
		if (r_)                                                                            \
			r_->ret = 1000 + (call);                                                   \
	} while (0)

/* Strings of the program's own, of the target, and of the task. */
SEC("uprobe")
int stacks(struct pt_regs *ctx)
{
	const char *user = (const char *)PT_REGS_PARM1(ctx);
	struct task_struct *task = (void *)bpf_get_current_task();
	const char *comm = (const char *)task + bpf_core_field_offset(struct task_struct, comm);
	char mine[24] = "on the stack", name[16];

	bpf_get_current_comm(name, sizeof(name));
	ANSWER(30, bpf_strlen(mine));
	ANSWER(31, bpf_strlen(in_map));
	ANSWER(32, bpf_strstr(mine, needle));
	ANSWER(33, bpf_strcmp(in_map, mine));
	ANSWER(34, bpf_strlen(user));
	ANSWER(35, bpf_strcmp(mine, user));
	ANSWER(36, bpf_strlen(comm));
	ANSWER(37, bpf_strcmp(name, comm));
	ANSWER(38, bpf_strrchr(comm, 'e'));
	ANSWER(39, bpf_strcmp(comm, comm));
	ANSWER(40, bpf_strlen((void *)16));
	return 0;
}

#define USER_STR(n, size, from, flags)                                                             \
	do {                                                                                       \
		struct result *r_ = result(n);                                                     \
		if (r_) {                                                                          \
			__builtin_memset(r_->out, 'x', 24);                                        \
			r_->ret = 100 + bpf_copy_from_user_str(r_->out, size, (void *)(from), flags); \
		}                                                                                  \
	} while (0)
#define USER_DYNPTR(n, function, off, size, from)                                                  \
	do {                                                                                       \
		struct result *r_ = result(n);                                                     \
		struct bpf_dynptr d_;                                                              \
		if (r_) {                                                                          \
			__builtin_memset(r_->out, 'x', 24);                                        \
			bpf_dynptr_from_mem(r_->out, 24, 0, &d_);                                  \
			r_->ret = 100 + function(&d_, off, size, (void *)(from));                  \
		}                                                                                  \
	} while (0)

SEC("uprobe.s")
int texts(struct pt_regs *ctx)
{
	struct result *r = result(20);

	if (r)
		r->ret = 100 + bpf_copy_from_user(r->out, 8, (void *)PT_REGS_PARM1(ctx));
	r = result(21);
	if (r)
		r->ret = 100 + bpf_copy_from_user(r->out, 8, (void *)16);
	r = result(230);
	if (r)
		r->ret = 100 + bpf_copy_from_user_task(r->out, 8, (void *)PT_REGS_PARM1(ctx), bpf_get_current_task_btf(), 0);
	r = result(231);
	if (r)
		r->ret = 100 + bpf_copy_from_user_task(r->out, 8, (void *)16, bpf_get_current_task_btf(), 0);
	r = result(232);
	if (r)
		r->ret = 100 + bpf_copy_from_user_task(r->out, 8, (void *)PT_REGS_PARM1(ctx), bpf_get_current_task_btf(), 1);
	USER_STR(22, 16, PT_REGS_PARM1(ctx), 0);
	USER_STR(23, 16, PT_REGS_PARM1(ctx), 1);
	USER_STR(24, 4, PT_REGS_PARM1(ctx), 0);
	USER_STR(25, 4, PT_REGS_PARM1(ctx), 1);
	USER_STR(26, 16, PT_REGS_PARM1(ctx), 2);
	USER_STR(27, 0, PT_REGS_PARM1(ctx), 0);
	USER_STR(28, 16, PT_REGS_PARM2(ctx), 0);
	USER_STR(29, 16, PT_REGS_PARM2(ctx), 1);
	USER_STR(50, 1, PT_REGS_PARM1(ctx), 0);
	USER_STR(51, 16, PT_REGS_PARM1(ctx) + 8, 1);
	USER_DYNPTR(60, bpf_copy_from_user_dynptr, 2, 8, PT_REGS_PARM1(ctx));
	USER_DYNPTR(61, bpf_copy_from_user_dynptr, 0, 16, PT_REGS_PARM1(ctx));
	USER_DYNPTR(62, bpf_copy_from_user_dynptr, 2, 8, PT_REGS_PARM2(ctx));
	USER_DYNPTR(63, bpf_copy_from_user_dynptr, 20, 8, PT_REGS_PARM1(ctx));
	USER_DYNPTR(64, bpf_copy_from_user_dynptr, 24, 0, PT_REGS_PARM1(ctx));
	USER_DYNPTR(65, bpf_copy_from_user_str_dynptr, 2, 16, PT_REGS_PARM1(ctx));
	USER_DYNPTR(66, bpf_copy_from_user_str_dynptr, 2, 4, PT_REGS_PARM1(ctx));
	USER_DYNPTR(67, bpf_copy_from_user_str_dynptr, 2, 0, PT_REGS_PARM1(ctx));
	USER_DYNPTR(68, bpf_copy_from_user_str_dynptr, 2, 8, PT_REGS_PARM2(ctx));
	USER_DYNPTR(69, bpf_copy_from_user_str_dynptr, 20, 8, PT_REGS_PARM1(ctx));
	return 0;
}
