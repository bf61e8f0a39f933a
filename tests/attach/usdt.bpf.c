/* SPDX-License-Identifier: MIT */
/* Sums what USDT probes pass, by probe and argument. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "GPL";

struct sums {
	long hits, count, cookie, arg[5];
};
struct sums work, plain;

static void add(struct pt_regs *ctx, struct sums *s)
{
	s->hits++;
	s->count += bpf_usdt_arg_cnt(ctx);
	s->cookie += bpf_usdt_cookie(ctx);
#pragma unroll
	for (int i = 0; i < 5; i++) {
		long v;

		if (!bpf_usdt_arg(ctx, i, &v))
			s->arg[i] += v;
	}
}

SEC("usdt")
int on_work(struct pt_regs *ctx)
{
	add(ctx, &work);
	return 0;
}

SEC("usdt")
int on_plain(struct pt_regs *ctx)
{
	long n, item;

	plain.hits++;
	plain.count += bpf_usdt_arg_cnt(ctx);
	if (!bpf_usdt_arg(ctx, 0, &n))
		plain.arg[0] += n;
	if (!bpf_usdt_arg(ctx, 1, &item))
		bpf_probe_read_user(&plain.arg[1], sizeof(int), (void *)(item + 4));
	return 0;
}
