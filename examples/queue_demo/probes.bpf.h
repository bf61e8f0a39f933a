/* SPDX-License-Identifier: MIT */
/*
 * The eBPF side of both monitors. The including file says by EVENT_MAP_TYPE whether events wait in a
 * queue or on a stack; everything else is the same.
 */
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "events.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Set by the monitor before loading: BPF_ANY rejects new events when full, BPF_EXIST drops the oldest. */
const volatile __u64 push_flags = BPF_ANY;

struct {
	__uint(type, EVENT_MAP_TYPE);
	__uint(max_entries, EVENT_CAPACITY);
	__uint(key_size, 0);
	__type(value, struct event_data);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTER_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* Adds one and returns the new value: one atomic instruction (-mcpu=v3), so no call shares a number. */
static __always_inline __u32 count(__u32 index)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &index);

	return value ? __sync_fetch_and_add(value, 1) + 1 : 0;
}

static __always_inline int push_event(__u32 function_id, __s32 input_value)
{
	struct event_data event;
	__u64 id = bpf_get_current_pid_tgid();

	__builtin_memset(&event, 0, sizeof(event));
	event.timestamp = bpf_ktime_get_ns();
	event.pid = id >> 32;
	event.tid = (__u32)id;
	event.function_id = function_id;
	event.input_value = input_value;
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	event.counter = count(COUNTER_CALLS);
	if (bpf_map_push_elem(&events, &event, push_flags))
		count(COUNTER_REJECTED);
	return 0;
}

SEC("uprobe")
int target_function_entry(struct pt_regs *ctx)
{
	return push_event(FUNCTION_TARGET, (__s32)PT_REGS_PARM1(ctx));
}

SEC("uprobe")
int secondary_function_entry(struct pt_regs *ctx)
{
	return push_event(FUNCTION_SECONDARY, 0);
}
