/* SPDX-License-Identifier: MIT */
/* What gouser.go loads: calls by the cookie of their link, writes of a program by its name. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define RESERVED 1 /* cookies of records that are reserved and given up */

const volatile __u32 step;
const volatile __u64 name;
__u64 writes;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

static void count(__u64 cookie)
{
	__u64 none = 0, *n;

	bpf_map_update_elem(&counts, &cookie, &none, BPF_NOEXIST);
	n = bpf_map_lookup_elem(&counts, &cookie);
	if (n)
		__sync_fetch_and_add(n, step);
}

SEC("uprobe/probed")
int called(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), *record;

	count(cookie);
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record)
		return 0;
	*record = cookie;
	if (cookie == RESERVED)
		bpf_ringbuf_discard(record, 0);
	else
		bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_write")
int wrote(void *ctx)
{
	__u64 comm[2];

	bpf_get_current_comm(comm, sizeof(comm));
	if (comm[0] == name) {
		__sync_fetch_and_add(&writes, 1);
		count(bpf_get_attach_cookie(ctx));
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
