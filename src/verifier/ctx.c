/* SPDX-License-Identifier: MIT */
/* What programs may touch of their context, by program type. */
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <asm/ptrace.h>
#include <stddef.h>
#include "verifier/internal.h"

#define TRACE_RECORD 8192
#define RAW_TP_ARGS  12
#define SKB_END(f)   (offsetof(struct __sk_buff, f) + sizeof(((struct __sk_buff *)0)->f))
#define IN_SKB(f)    (off >= offsetof(struct __sk_buff, f) && off < SKB_END(f))
#define SKB_SIZE     192

/* Kernels from 6.18 on let uprobe programs change registers; here targets stay as they are. */
static bool kprobe_ctx(u32 off, u32 size, bool write)
{
	return !write && off + size <= sizeof(struct pt_regs);
}

static bool tracepoint_ctx(u32 off, u32 size, bool write)
{
	return !write && off >= sizeof(void *) && off < TRACE_RECORD;
}

static bool raw_tracepoint_ctx(u32 off, u32 size, bool write)
{
	return !write && off < RAW_TP_ARGS * sizeof(u64);
}

static bool perf_event_ctx(u32 off, u32 size, bool write)
{
	if (write || off >= sizeof(struct bpf_perf_event_data))
		return false;
	return off >= offsetof(struct bpf_perf_event_data, sample_period) || size == sizeof(long);
}

/* A filter sees the packet's description, but no pointers, times, classes and addresses. */
static bool socket_filter_ctx(u32 off, u32 size, bool write)
{
	if (off >= SKB_SIZE || IN_SKB(tc_classid) || IN_SKB(data) || IN_SKB(data_end) ||
	    IN_SKB(data_meta) || IN_SKB(tstamp) || IN_SKB(wire_len) || off >= SKB_END(gso_size) ||
	    IN_SKB(flow_keys) || IN_SKB(sk) ||
	    (off >= offsetof(struct __sk_buff, family) && off < SKB_END(local_port)))
		return false;
	if (off >= offsetof(struct __sk_buff, cb) && off < SKB_END(cb))
		return off + size <= SKB_END(cb);
	if (write)
		return false;
	return size <= sizeof(u32);
}

static const struct {
	u32 type;
	bool (*valid)(u32 off, u32 size, bool write);
} contexts[] = {
	{BPF_PROG_TYPE_KPROBE, kprobe_ctx},
	{BPF_PROG_TYPE_TRACEPOINT, tracepoint_ctx},
	{BPF_PROG_TYPE_RAW_TRACEPOINT, raw_tracepoint_ctx},
	{BPF_PROG_TYPE_PERF_EVENT, perf_event_ctx},
	{BPF_PROG_TYPE_SOCKET_FILTER, socket_filter_ctx},
};

int check_ctx(struct verifier *v, u32 n, s32 more, u32 size, bool write)
{
	const struct reg *r = &cur_regs(v->st)[n];
	const s64 off = (s64)r->off + more;

	if (r->off < 0)
		return fail(v, EACCES, "negative offset ctx ptr R%u off=%d disallowed\n", n,
			    r->off);
	if (r->off)
		return fail(v, EACCES, "dereference of modified ctx ptr R%u off=%d disallowed\n", n,
			    r->off);
	if (!tnum_is_const(r->var) || r->var.value)
		return fail(v, EACCES, "variable ctx access var_off=(0x%llx; 0x%llx) disallowed\n",
			    (unsigned long long)r->var.value, (unsigned long long)r->var.mask);
	for (u32 i = 0; i < ARRAY_SIZE(contexts); i++)
		if (contexts[i].type == v->prog->type && off >= 0 && !(off % size) &&
		    contexts[i].valid((u32)off, size, write)) {
			if ((u32)off + size > v->res->ctx_end)
				v->res->ctx_end = (u32)off + size;
			return 0;
		}
	return fail(v, EACCES, "invalid bpf_context access off=%lld size=%u\n", (long long)off,
		    size);
}
