/* SPDX-License-Identifier: MIT */
/* Programs that a tool puts on itself (own_probes.c). */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} commands SEC(".maps");

const volatile int factor = 1;
long weight = 1; /* .data: changed while programs run */
long all, mine, returned, usdt_hits, usdt_sum, usdt_count, usdt_cookie, drained, calls, versions;
int my_pid;

SEC("uprobe")
int BPF_KPROBE(on_all, int a)
{
	__sync_fetch_and_add(&all, weight * factor);
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(on_mine, int a)
{
	if (bpf_get_current_pid_tgid() >> 32 == my_pid)
		__sync_fetch_and_add(&mine, 1);
	return 0;
}

/* For all processes, whose calls the programs pass by. */
SEC("tp/syscalls/sys_enter_getppid")
int on_call(void *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 == my_pid)
		__sync_fetch_and_add(&calls, 1);
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(on_library)
{
	if (bpf_get_current_pid_tgid() >> 32 == my_pid)
		__sync_fetch_and_add(&versions, 1);
	return 0;
}

SEC("uretprobe")
int BPF_KRETPROBE(on_return, int ret)
{
	__sync_fetch_and_add(&returned, ret);
	return 0;
}

static long take(struct bpf_dynptr *d, void *ctx)
{
	long n = 0;

	bpf_dynptr_read(&n, sizeof(n), d, 0, 0);
	drained += n;
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(on_drain)
{
	bpf_user_ringbuf_drain(&commands, take, NULL, 0);
	return 0;
}

SEC("usdt")
int on_usdt(struct pt_regs *ctx)
{
	long v;

	usdt_hits++;
	usdt_count += bpf_usdt_arg_cnt(ctx);
	usdt_cookie += bpf_usdt_cookie(ctx);
	for (int i = 0; i < 3; i++)
		if (!bpf_usdt_arg(ctx, i, &v))
			usdt_sum += v;
	return 0;
}
