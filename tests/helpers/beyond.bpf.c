/* SPDX-License-Identifier: MIT */
/* What limpet has for uprobes and kernels do not, or not everywhere. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "results.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct locked {
	__u32 before;
	struct bpf_spin_lock lock;
	__u64 after[3];
};

#define LOCKED(name, kind)                                                                         \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__uint(max_entries, 3);                                                            \
		__type(key, __u32);                                                                \
		__type(value, struct locked);                                                      \
	} name SEC(".maps")

LOCKED(locked_array, BPF_MAP_TYPE_ARRAY);
LOCKED(locked_hash, BPF_MAP_TYPE_HASH);

#define UPDATE(n, map, key, flags)                                                                 \
	do {                                                                                       \
		struct result *r = result(n);                                                      \
		__u32 k = key;                                                                     \
		struct locked v = {.before = n, .after = {n, n + 1, n + 2}};                       \
		if (r)                                                                             \
			r->ret = 1000 + bpf_map_update_elem(&map, &k, &v, flags);                  \
	} while (0)

#define BOTH(n, map)                                                                               \
	do {                                                                                       \
		__u32 zero = 0;                                                                    \
		struct locked *l;                                                                  \
		struct result *r = result(n + 8);                                                  \
		UPDATE(n, map, 0, BPF_ANY);                                                        \
		UPDATE(n + 1, map, 0, BPF_F_LOCK);                                                 \
		UPDATE(n + 2, map, 1, BPF_F_LOCK);                                                 \
		UPDATE(n + 3, map, 1, BPF_F_LOCK | BPF_NOEXIST);                                   \
		UPDATE(n + 4, map, 1, BPF_F_LOCK | BPF_EXIST);                                     \
		UPDATE(n + 5, map, 2, BPF_F_LOCK | BPF_EXIST);                                     \
		UPDATE(n + 6, map, 9, BPF_F_LOCK);                                                 \
		UPDATE(n + 7, map, 0, BPF_F_LOCK | 3);                                             \
		l = bpf_map_lookup_elem(&map, &zero);                                              \
		if (l) {                                                                           \
			bpf_spin_lock(&l->lock);                                                   \
			l->before += 5;                                                            \
			l->after[2] *= 2;                                                          \
			bpf_spin_unlock(&l->lock);                                                 \
			if (r)                                                                     \
				r->ret = l->before * 1000 + l->after[2];                           \
		}                                                                                  \
	} while (0)

SEC("uprobe")
int beyond(struct pt_regs *ctx)
{
	__u64 value = 4711, v = 0, sum = 0;
	struct result *r;

	if ((r = result(0)))
		r->ret = 100 + bpf_probe_write_user((void *)PT_REGS_PARM1(ctx), &value, 8);
	if ((r = result(1)))
		r->ret = 100 + bpf_probe_write_user((void *)8, &value, 8);
	for (int i = 1; i < 6; i++) {
		bpf_get_func_arg(ctx, i, &v);
		sum = sum * 100 + v;
	}
	if ((r = result(2)))
		r->ret = sum;
	if ((r = result(3)))
		r->ret = 100 + bpf_get_func_arg(ctx, 6, &v);
	if ((r = result(4)))
		r->ret = bpf_get_func_arg_cnt(ctx);
	if ((r = result(5)))
		r->ret = 100 + bpf_get_func_ret(ctx, &v);
	if ((r = result(6)))
		r->ret = bpf_ktime_get_ns() - bpf_ktime_get_coarse_ns() < 20000000;
	BOTH(20, locked_array);
	BOTH(30, locked_hash);
	return 0;
}
