/* SPDX-License-Identifier: MIT */
/* A helper called TIMES times in a run; `nothing` is the loop alone. */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "rows.h"

char LICENSE[] SEC("license") = "GPL";

struct big {
	char bytes[1024];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct big);
} buffer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16384);
	__uint(key_size, 4);
	__uint(value_size, 16 * 8);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

#define ROW(name, ...)                                                                             \
	SEC("uprobe") int name(struct pt_regs *ctx)                                                \
	{                                                                                          \
		__u64 user = PT_REGS_PARM1(ctx), local = PT_REGS_PARM2(ctx), stack[16] = {};        \
		__u32 zero = 0;                                                                    \
		struct big *big = bpf_map_lookup_elem(&buffer, &zero);                             \
		long sum = (long)user + (long)local;                                               \
		char small[64] = "1234";                                                           \
		if (!big)                                                                          \
			return 0;                                                                  \
		for (int i = 0; i < TIMES; i++) {                                                  \
			__VA_ARGS__;                                                               \
			__asm__ volatile("" : "+r"(sum) : : "memory");                             \
		}                                                                                  \
		stack[0] = (__u64)small;                                                           \
		return sum != 0;                                                                   \
	}

static long count(__u64 i, void *arg)
{
	*(__u64 *)arg += i;
	return 0;
}

/* Where a task's name is, by the BTF in use. */
struct task_struct {
	char comm[16];
} __attribute__((preserve_access_index));
#define comm_at __builtin_preserve_field_info(((struct task_struct *)0)->comm, 0)

ROW(nothing)
ROW(pid_tgid, sum += bpf_get_current_pid_tgid())
ROW(comm, sum += bpf_get_current_comm(small, 16))
ROW(uid_gid, sum += bpf_get_current_uid_gid())
ROW(ktime, sum += bpf_ktime_get_ns())
ROW(ktime_boot, sum += bpf_ktime_get_boot_ns())
ROW(prandom, sum += bpf_get_prandom_u32())
ROW(cpu, sum += bpf_get_smp_processor_id())
ROW(read_8, sum += bpf_probe_read_user(small, 8, (void *)user))
/* what the first one in a run costs */
ROW(read_8_once, if (!i) sum += bpf_probe_read_user(small, 8, (void *)user))
ROW(read_64, sum += bpf_probe_read_user(small, 64, (void *)user))
ROW(read_1024, sum += bpf_probe_read_user(big, 1024, (void *)user))
ROW(read_stack_8, sum += bpf_probe_read_user(small, 8, (void *)local))
ROW(read_str_62, sum += bpf_probe_read_user_str(small, 64, (void *)user))
ROW(stack_16, sum += bpf_get_stack(ctx, stack, sizeof(stack), BPF_F_USER_STACK))
ROW(stackid_16, sum += bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK))
ROW(task, sum += bpf_get_current_task())
ROW(task_comm, sum += bpf_probe_read_kernel(small, 16, (void *)bpf_get_current_task() + comm_at))
ROW(strtol_4, long v; sum += bpf_strtol(small, 4, 10, &v))
ROW(perf_output_48, sum += bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, small, 48))
ROW(snprintf_2, static const char f[] = "%d %s"; __u64 a[2] = {(__u64)i, (__u64)small};
    sum += bpf_snprintf(big->bytes, 64, f, a, sizeof(a)))

/* TIMES iterations of a callback in each run */
SEC("uprobe") int loop(struct pt_regs *ctx)
{
	__u64 sum = 0;

	bpf_loop(TIMES, count, &sum, 0);
	return sum != 0;
}
