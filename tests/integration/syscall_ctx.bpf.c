/* SPDX-License-Identifier: MIT */
/* Everything that programs on system calls see of one call, as it is: for syscall_ctx.c. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <stddef.h>

#define NR_CALL 310 /* process_vm_readv */
#define MARK    0x1111

struct event {
	__u64 what; /* which program */
	__u64 words[10];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} ours SEC(".maps");

struct enter {
	__u64 common;
	__s64 nr;
	__u64 args[6];
};

struct leave {
	__u64 common;
	__s64 nr;
	__s64 ret;
};

static __always_inline struct event *event(__u64 what)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return NULL;
	__builtin_memset(e, 0, sizeof(*e));
	e->what = what;
	return e;
}

static __always_inline int on_enter(struct enter *ctx, __u64 what)
{
	__u64 id = bpf_get_current_pid_tgid(), one = 1;
	struct event *e;

	if (ctx->nr != NR_CALL || ctx->args[1] != MARK)
		return 0;
	bpf_map_update_elem(&ours, &id, &one, BPF_ANY);
	e = event(what);
	if (!e)
		return 0;
	e->words[0] = ctx->nr;
	for (int i = 0; i < 6; i++)
		e->words[1 + i] = ctx->args[i];
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline int is_ours(void)
{
	__u64 id = bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&ours, &id) != NULL;
}

static __always_inline int on_leave(struct leave *ctx, __u64 what)
{
	struct event *e;

	if (ctx->nr != NR_CALL || !is_ours())
		return 0;
	e = event(what);
	if (!e)
		return 0;
	e->words[0] = ctx->nr;
	e->words[1] = ctx->ret;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_process_vm_readv")
int enter(struct enter *ctx)
{
	return on_enter(ctx, 1);
}

SEC("tracepoint/raw_syscalls/sys_enter")
int enter_all(struct enter *ctx)
{
	return on_enter(ctx, 2);
}

SEC("tracepoint/syscalls/sys_exit_process_vm_readv")
int leave(struct leave *ctx)
{
	return on_leave(ctx, 3);
}

SEC("tracepoint/raw_syscalls/sys_exit")
int leave_all(struct leave *ctx)
{
	return on_leave(ctx, 4);
}

/* The registers, but for addresses, which differ from run to run. */
static __always_inline int on_raw(struct bpf_raw_tracepoint_args *ctx, __u64 what)
{
	struct pt_regs r;
	struct event *e;

	if (bpf_probe_read_kernel(&r, sizeof(r), (void *)ctx->args[0]) || r.orig_rax != NR_CALL || r.rsi != MARK)
		return 0;
	e = event(what);
	if (!e)
		return 0;
	e->words[0] = ctx->args[1];
	e->words[1] = r.rdi;
	e->words[2] = r.rsi;
	e->words[3] = r.rdx;
	e->words[4] = r.r10;
	e->words[5] = r.r8;
	e->words[6] = r.r9;
	e->words[7] = r.rax;
	e->words[8] = (__u64)(r.rcx == r.rip) << 32 | (r.cs & 0xffff) << 16 | (r.ss & 0xffff);
	e->words[9] = r.r11 == r.eflags;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("raw_tracepoint/sys_enter")
int raw_enter(struct bpf_raw_tracepoint_args *ctx)
{
	return on_raw(ctx, 5);
}

SEC("raw_tracepoint/sys_exit")
int raw_leave(struct bpf_raw_tracepoint_args *ctx)
{
	return on_raw(ctx, 6);
}

char LICENSE[] SEC("license") = "GPL";
