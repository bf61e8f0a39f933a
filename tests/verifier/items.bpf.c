/* SPDX-License-Identifier: MIT */
/*
 * Programs for items.txt that need types: locks in maps' values, global functions, CO-RE. What instructions alone can say
 * stands in corpus_*.c. Each is refused or accepted as items.txt says, for the reason that stands there.
 */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#define GLOBAL      __attribute__((noinline))
#define ARG(what)   __attribute__((btf_decl_tag("arg:" what)))
#define OPAQUE(var) asm volatile("" : "+r"(var))

struct locked {
	__u64 n;
	struct bpf_spin_lock lock;
	__u32 more;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct locked);
} locked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64[4]);
} plain SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

static __always_inline struct locked *one(__u32 key)
{
	return bpf_map_lookup_elem(&locked, &key);
}

/* ---- locks ---- */

#define LOCKED(name, ...)                                                                                              \
	SEC("uprobe")                                                                                                  \
	int name(void *ctx)                                                                                            \
	{                                                                                                              \
		struct locked *v = one(1), *w = one(2);                                                                \
                                                                                                                       \
		if (v && w) {                                                                                          \
			__VA_ARGS__;                                                                                   \
		}                                                                                                      \
		return 0;                                                                                              \
	}

#define LOCK(p)   bpf_spin_lock(&(p)->lock)
#define UNLOCK(p) bpf_spin_unlock(&(p)->lock)

LOCKED(lock, LOCK(v); v->n++; UNLOCK(v))
LOCKED(lock_one_after_the_other, LOCK(v); UNLOCK(v); LOCK(w); UNLOCK(w))
LOCKED(lock_left, LOCK(v); v->n++)
LOCKED(lock_left_on_one_way, LOCK(v); if (v->n == 7) return 0; UNLOCK(v))
LOCKED(lock_twice, LOCK(v); LOCK(v); UNLOCK(v))
LOCKED(lock_two, LOCK(v); LOCK(w); UNLOCK(w); UNLOCK(v))
LOCKED(lock_of_another_given, LOCK(v); UNLOCK(w))
LOCKED(lock_not_taken, UNLOCK(v))
LOCKED(lock_around_helper, LOCK(v); v->n = bpf_ktime_get_ns(); UNLOCK(v))
LOCKED(lock_read, __u32 x = *(volatile __u32 *)&v->lock; OPAQUE(x); v->n = x)
LOCKED(lock_written, *(volatile __u32 *)&v->lock = 1)
LOCKED(lock_next_to_it, v->more = 7; v->n = 1)
LOCKED(lock_written_by_helper, bpf_get_current_comm(v, sizeof(*v)))
LOCKED(lock_elsewhere, bpf_spin_lock((void *)&v->n))

SEC("uprobe")
int lock_untested(void *ctx)
{
	struct locked *v = one(1);

	LOCK(v);
	UNLOCK(v);
	return 0;
}

SEC("uprobe")
int lock_in_no_lock(void *ctx)
{
	__u32 key = 1;
	__u64 *v = bpf_map_lookup_elem(&plain, &key);

	if (v) {
		bpf_spin_lock((void *)v);
		bpf_spin_unlock((void *)v);
	}
	return 0;
}

static __attribute__((noinline)) int add_in_callee(struct locked *v)
{
	v->n++;
	return 0;
}

LOCKED(lock_around_call, LOCK(v); add_in_callee(v); UNLOCK(v))

GLOBAL int nothing(int x)
{
	OPAQUE(x);
	return x;
}

LOCKED(lock_around_global, LOCK(v); nothing(3); UNLOCK(v))

/* ---- global functions ---- */

GLOBAL int masked(int x)
{
	__u32 key = 0;
	__u64 *v = bpf_map_lookup_elem(&plain, &key);

	return v ? v[x & 3] : 0;
}

GLOBAL int not_masked(int x)
{
	__u32 key = 0;
	__u64 *v = bpf_map_lookup_elem(&plain, &key);

	return v ? v[x] : 0;
}

SEC("uprobe")
int global(void *ctx)
{
	return masked(2);
}

/* Its arguments are anything when it is verified by itself. */
SEC("uprobe")
int global_unsafe_for_others(void *ctx)
{
	return not_masked(2);
}

SEC("uprobe")
int global_result(void *ctx)
{
	__u32 key = 0;
	__u64 *v = bpf_map_lookup_elem(&plain, &key);

	return v ? v[masked(1) & 3] : 0;
}

SEC("uprobe")
int global_result_trusted(void *ctx)
{
	__u32 key = 0, i = masked(1);
	__u64 *v = bpf_map_lookup_elem(&plain, &key);

	return v ? v[i] : 0;
}

GLOBAL int first_argument(struct pt_regs *regs)
{
	return regs->rdi;
}

SEC("uprobe")
int global_context(struct pt_regs *ctx)
{
	return first_argument(ctx);
}

SEC("uprobe")
int global_context_is_none(struct pt_regs *ctx)
{
	struct pt_regs regs = {};

	return first_argument(&regs);
}

GLOBAL int tagged(void *ctx ARG("ctx"))
{
	return ((struct pt_regs *)ctx)->rdi;
}

struct pair {
	__u64 a, b;
};

static __always_inline void fill(struct pair *p)
{
	p->a = 1;
	p->b = 2;
	asm volatile("" : : "r"(p) : "memory");
}

GLOBAL int sum(struct pair *p)
{
	return p ? p->a + p->b : 0;
}

GLOBAL int sum_untested(struct pair *p)
{
	return p->a + p->b;
}

GLOBAL int sum_nonnull(struct pair *p ARG("nonnull"))
{
	return p->a + p->b;
}

SEC("uprobe")
int global_memory(void *ctx)
{
	struct pair p;

	fill(&p);
	return sum(&p) + sum(NULL);
}

SEC("uprobe")
int global_memory_untested(void *ctx)
{
	struct pair p;

	fill(&p);
	return sum_untested(&p);
}

SEC("uprobe")
int global_memory_nonnull(void *ctx)
{
	struct pair p;

	fill(&p);
	return sum_nonnull(&p);
}

SEC("uprobe")
int global_memory_small(void *ctx)
{
	__u32 key = 0;
	__u64 *v = bpf_map_lookup_elem(&plain, &key);

	return v ? sum((void *)(v + 3)) : 0;
}

SEC("uprobe")
int global_memory_number(void *ctx)
{
	return sum((void *)4711);
}

SEC("uprobe")
int global_memory_readonly(void *ctx)
{
	static const struct pair p = {1, 2};

	return sum((struct pair *)&p);
}

SEC("uprobe")
int global_context_tagged(void *ctx)
{
	return tagged(ctx);
}

GLOBAL struct pair *same(struct pair *p)
{
	OPAQUE(p);
	return p;
}

SEC("uprobe")
int global_returns_pointer(void *ctx)
{
	struct pair p;

	fill(&p);
	return same(&p) != 0;
}

GLOBAL int dynptr_size(const struct bpf_dynptr *p)
{
	__u8 b = 0;

	bpf_dynptr_read(&b, 1, p, 0, 0);
	return b;
}

SEC("uprobe")
int global_dynptr(void *ctx)
{
	struct bpf_dynptr p;
	int n;

	bpf_ringbuf_reserve_dynptr(&ring, 8, 0, &p);
	n = dynptr_size(&p);
	bpf_ringbuf_discard_dynptr(&p, 0);
	return n;
}

SEC("uprobe")
int global_dynptr_is_none(void *ctx)
{
	struct bpf_dynptr p = {};

	return dynptr_size(&p);
}

/* CVE-2024-43910: a dynptr that was given, moved. */
GLOBAL int beyond_dynptr(const struct bpf_dynptr *p)
{
	__u8 b = 0;

	bpf_dynptr_read(&b, 1, (void *)p + 8, 0, 0);
	return b;
}

SEC("uprobe")
int cve_2024_43910(void *ctx)
{
	struct bpf_dynptr p;
	int n;

	bpf_ringbuf_reserve_dynptr(&ring, 8, 0, &p);
	n = beyond_dynptr(&p);
	bpf_ringbuf_discard_dynptr(&p, 0);
	return n;
}

/* What sleeps in a global function is known where it is called. */
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern void bpf_preempt_disable(void) __ksym;
extern void bpf_preempt_enable(void) __ksym;

GLOBAL int sleeper(__u64 from)
{
	char c;

	return bpf_copy_from_user(&c, 1, (void *)from) ? 0 : c;
}

GLOBAL int around_sleeper(__u64 from)
{
	return sleeper(from) + 1;
}

static GLOBAL int static_around_sleeper(__u64 from)
{
	return sleeper(from) + 2;
}

#define SLEEPS(section, name, before, call, after)                                                                     \
	SEC(section)                                                                                                   \
	int name(struct pt_regs *ctx)                                                                                  \
	{                                                                                                              \
		int ret;                                                                                               \
                                                                                                                       \
		before;                                                                                                \
		ret = call;                                                                                            \
		after;                                                                                                 \
		return ret;                                                                                            \
	}

SLEEPS("uprobe.s", sleeper_called, , sleeper(ctx->rdi), )
SLEEPS("uprobe.s", sleeper_in_rcu, bpf_rcu_read_lock(), sleeper(ctx->rdi), bpf_rcu_read_unlock())
SLEEPS("uprobe.s", sleeper_without_preemption, bpf_preempt_disable(), sleeper(ctx->rdi), bpf_preempt_enable())
SLEEPS("uprobe.s", sleeper_behind_in_rcu, bpf_rcu_read_lock(), around_sleeper(ctx->rdi), bpf_rcu_read_unlock())
SLEEPS("uprobe.s", sleeper_in_static_in_rcu, bpf_rcu_read_lock(), static_around_sleeper(ctx->rdi), bpf_rcu_read_unlock())
SLEEPS("uprobe.s", masked_in_rcu, bpf_rcu_read_lock(), masked(ctx->rdi), bpf_rcu_read_unlock())
SLEEPS("uprobe", sleeper_not_allowed, , sleeper(ctx->rdi), )

/* ---- pointers of the kernel's types ---- */

extern void *bpf_rdonly_cast(const void *p, __u32 type) __ksym;

SEC("uprobe")
int untrusted_cast(void *ctx)
{
	return *(int *)bpf_rdonly_cast(ctx, 0);
}

/* ---- types, other than limpet runs ---- */

SEC("xdp")
int type_xdp(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data > 100 ? XDP_PASS : XDP_DROP;
}

/* ---- CO-RE ---- */

struct task_struct {
	int pid;
	int no_such_field;
} __attribute__((preserve_access_index));

SEC("uprobe")
int core_guarded(void *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();

	return bpf_core_field_exists(t->no_such_field) ? BPF_CORE_READ(t, no_such_field) : BPF_CORE_READ(t, pid);
}

SEC("uprobe")
int core_missing(void *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();

	return BPF_CORE_READ(t, no_such_field);
}
