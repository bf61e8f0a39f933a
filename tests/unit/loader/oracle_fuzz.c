/* SPDX-License-Identifier: MIT */
/*
 * bpf_attr at random, the same on both sides: bytes anyhow, and fields filled with what the command
 * would take, or nearly. Nothing may crash, and the answers are the kernel's, errno included, except where
 * limpet is documented to have less (less_here()).
 */
#include "oracle.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static u64 state;

static u32 draw(u32 n)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(state >> 33) % n;
}

static bool one_in(u32 n)
{
	return !draw(n);
}

#define MEMORY 32768 /* what pointers point into; the largest access begins in its last quarter */
static u8 memory[4 * MEMORY];

/* Addresses of every kind; most are good. */
static u64 pointer(void)
{
	const u64 odd[] = {BAD_NULL, BAD_LOW,       BAD_HIGH, BAD_CANON,
			   bad_page, readonly_page, edge,     edge + 4};

	return one_in(4) ? odd[draw(8)] : (u64)memory + draw(4) * 8192;
}

static u32 descriptor(const struct side *s)
{
	const int fds[] = {s->array,     s->mappable, s->frozen,     s->queue,  s->readonly,
			   s->writeonly, s->prog,     s->prog_plain, s->btf,    s->event,
			   s->link,      s->taken,    s->pipe,       s->closed, -1};

	return (u32)fds[draw(ARRAY_SIZE(fds))];
}

static u32 number(void)
{
	static const u32 some[] = {0,  0,  0,  1,  2,    3,          4,          7,         8,
				   16, 41, 48, 64, 4096, 0x7fffffff, 0x80000000, 0xffffffff};

	return one_in(8) ? 1u << draw(32) : some[draw(ARRAY_SIZE(some))];
}

static void fill_map(union bpf_attr *a, const struct side *s)
{
	static const u32 sizes[] = {0, 1, 4, 8, 16, 64};

	a->map_type = one_in(4) ? draw(40) : one_in(2) ? BPF_MAP_TYPE_ARRAY : BPF_MAP_TYPE_QUEUE;
	a->key_size = one_in(2) ? 4 : sizes[draw(6)];
	a->value_size = sizes[draw(6)];
	a->max_entries = draw(5);
	a->map_flags = one_in(2) ? 0 : 1u << draw(18);
	if (one_in(4))
		a->numa_node = draw(3);
	if (one_in(4))
		memcpy(a->map_name, memory, draw(17));
	if (one_in(4))
		a->btf_fd = descriptor(s);
	if (one_in(4))
		a->btf_key_type_id = draw(10), a->btf_value_type_id = draw(10);
	if (one_in(16))
		a->map_extra = number();
}

static void fill_prog(union bpf_attr *a, const struct side *s)
{
	static const struct bpf_func_info func[] = {{0, 7}, {1, 7}};
	static const u32 sizes[] = {
		0, 1, 8, 4096}; /* the log fits in none or the last: its length is not compared */

	a->prog_type = one_in(3) ? draw(34) : BPF_PROG_TYPE_KPROBE;
	a->insn_cnt = one_in(8) ? draw(4) : 2;
	a->insns = one_in(8) ? pointer() : (u64)oracle_insns;
	a->license = one_in(8) ? pointer() : (u64) "GPL";
	if (one_in(3)) {
		a->log_level = draw(20);
		a->log_size = sizes[draw(4)];
		a->log_buf = one_in(4) ? bad_page : one_in(4) ? 0 : (u64)memory + 16384;
	}
	if (one_in(4))
		a->prog_flags = 1u << draw(18);
	if (one_in(4))
		a->expected_attach_type = draw(60);
	if (one_in(4)) {
		a->prog_btf_fd = one_in(2) ? (u32)s->btf : descriptor(s);
		a->func_info = one_in(4) ? pointer() : (u64)func;
		a->func_info_cnt = draw(3);
		a->func_info_rec_size = one_in(4) ? draw(20) : 8;
	}
	if (one_in(16))
		a->fd_array = pointer();
	if (one_in(16))
		a->attach_btf_id = number();
}

static void fill_elem(union bpf_attr *a, const struct side *s)
{
	a->map_fd = descriptor(s);
	a->key = one_in(8) ? 0 : pointer();
	a->value = pointer();
	a->flags = one_in(2) ? 0 : one_in(2) ? draw(5) : 1ULL << draw(64);
}

static void fill_link(union bpf_attr *a, const struct side *s)
{
	static const u64 offsets[] = {0x40, 0x44};

	a->link_create.prog_fd = one_in(2) ? (u32)s->prog : descriptor(s);
	a->link_create.target_fd = descriptor(s);
	a->link_create.attach_type = one_in(2) ? 41 : draw(60);
	if (one_in(8))
		a->link_create.flags = number();
	if (one_in(2)) {
		u64 multi[6] = {one_in(4) ? pointer() : (u64) "/bin/true",
				one_in(4) ? pointer() : (u64)offsets,
				0,
				0,
				draw(3),
				draw(2)};

		memcpy((u8 *)a + 16, multi, sizeof(multi));
	}
}

static void fill_rest(union bpf_attr *a, const struct side *s, u32 cmd)
{
	switch (cmd) {
	case BPF_OBJ_PIN:
		a->pathname = pointer();
		a->bpf_fd = descriptor(s);
		break;
	case BPF_PROG_TEST_RUN:
		a->test.prog_fd = descriptor(s);
		a->test.ctx_in = one_in(2) ? pointer() : 0;
		a->test.ctx_size_in = draw(100);
		a->test.repeat = draw(3);
		break;
	case BPF_OBJ_GET_INFO_BY_FD:
		a->info.bpf_fd = descriptor(s);
		a->info.info = pointer();
		a->info.info_len = one_in(8) ? number() : draw(300);
		break;
	case BPF_BTF_LOAD:
		a->btf = one_in(2) ? (u64)oracle_btf : pointer();
		a->btf_size = one_in(4) ? number() : oracle_btf_size;
		a->btf_log_level = one_in(4) ? draw(8) : 0;
		break;
	case BPF_LINK_UPDATE:
	case BPF_LINK_DETACH:
	case BPF_ITER_CREATE:
	case BPF_PROG_BIND_MAP:
	case BPF_RAW_TRACEPOINT_OPEN:
		((u32 *)a)[0] = descriptor(s);
		((u32 *)a)[1] = descriptor(s);
		((u32 *)a)[2] = one_in(2) ? 0 : number();
		break;
	case BPF_TASK_FD_QUERY:
		a->task_fd_query.pid = (u32)getpid();
		a->task_fd_query.fd = descriptor(s);
		a->task_fd_query.buf = pointer();
		a->task_fd_query.buf_len = draw(100);
		break;
	case BPF_OBJ_GET:
		a->pathname = pointer();
		a->bpf_fd = one_in(8) ? descriptor(s) : 0;
		a->file_flags = one_in(2) ? number() : 0;
		break;
	default:
		for (u32 i = 0; i < 8; i++)
			((u32 *)a)[i] = one_in(2) ? 0 : number();
	}
}

/* One bit, not of a descriptor: what another number is differs between the sides. */
static void flip(u8 *bytes)
{
	const u32 at = 24 + draw(176);
	u32 word;

	memcpy(&word, bytes + (at & ~3u), sizeof(word));
	if (!word || word > 1024)
		bytes[at] ^= (u8)(1 << draw(8));
}

static bool batch_cmd(u32 cmd)
{
	return cmd >= BPF_MAP_LOOKUP_BATCH && cmd <= BPF_MAP_DELETE_BATCH;
}

static bool elem_cmd(u32 cmd)
{
	return (cmd >= BPF_MAP_LOOKUP_ELEM && cmd <= BPF_MAP_GET_NEXT_KEY) ||
	       cmd == BPF_MAP_LOOKUP_AND_DELETE_ELEM || cmd == BPF_MAP_FREEZE;
}

static void fill(u8 *bytes, const struct side *s, u32 cmd)
{
	union bpf_attr *a = (union bpf_attr *)bytes;

	if (one_in(6)) { /* no sense in it at all */
		for (u32 i = 0; i < 168; i++)
			bytes[i] = one_in(3) ? (u8)draw(256) : 0;
		if (cmd == BPF_MAP_CREATE ||
		    cmd == BPF_PROG_LOAD) /* but do not ask for the whole memory */
			memset(bytes + 4, 0, 12);
		for (u32 i = 0; i < 168; i += 4) /* nor name each other's descriptors */
			if (!bytes[i + 1] && !bytes[i + 2] && !bytes[i + 3])
				bytes[i] |= 0x80;
		bytes[0] |= 0x80; /* the size may cut the word */
	} else if (cmd == BPF_MAP_CREATE) {
		fill_map(a, s);
	} else if (cmd == BPF_PROG_LOAD) {
		fill_prog(a, s);
	} else if (elem_cmd(cmd)) {
		fill_elem(a, s);
	} else if (batch_cmd(cmd)) {
		a->batch.map_fd = descriptor(s);
		a->batch.keys = pointer();
		a->batch.values = pointer();
		a->batch.in_batch = one_in(2) ? 0 : pointer();
		a->batch.out_batch = pointer();
		a->batch.count = draw(6);
		a->batch.elem_flags = one_in(8) ? number() : 0;
	} else if (cmd == BPF_LINK_CREATE) {
		fill_link(a, s);
	} else {
		fill_rest(a, s, cmd);
	}
	if (one_in(20))
		flip(bytes);
}

/* Ids differ between the sides, and so does what random ones name. */
static bool comparable(u32 cmd)
{
	return cmd != BPF_PROG_GET_NEXT_ID && cmd != BPF_MAP_GET_NEXT_ID &&
	       cmd != BPF_PROG_GET_FD_BY_ID && cmd != BPF_MAP_GET_FD_BY_ID &&
	       cmd != BPF_BTF_GET_FD_BY_ID && cmd != BPF_BTF_GET_NEXT_ID &&
	       cmd != BPF_LINK_GET_FD_BY_ID && cmd != BPF_LINK_GET_NEXT_ID;
}

static const bool less_maps[BPF_MAP_TYPE_BLOOM_FILTER + 1] = {
	[BPF_MAP_TYPE_DEVMAP] = true,         [BPF_MAP_TYPE_SOCKMAP] = true,
	[BPF_MAP_TYPE_CPUMAP] = true,         [BPF_MAP_TYPE_XSKMAP] = true,
	[BPF_MAP_TYPE_SOCKHASH] = true,       [BPF_MAP_TYPE_CGROUP_STORAGE] = true,
	[BPF_MAP_TYPE_DEVMAP_HASH] = true,    [BPF_MAP_TYPE_SK_STORAGE] = true,
	[BPF_MAP_TYPE_STRUCT_OPS] = true,     [BPF_MAP_TYPE_INODE_STORAGE] = true,
	[BPF_MAP_TYPE_TASK_STORAGE] = true,   [BPF_MAP_TYPE_REUSEPORT_SOCKARRAY] = true,
	[BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE] = true,
};

/* What limpet refuses (docs/compatibility.md), whatever else is wrong with it. */
static bool less_here(const u8 *bytes, u32 cmd)
{
	const union bpf_attr *a = (const union bpf_attr *)bytes;

	switch (cmd) {
	case BPF_PROG_LOAD:
		if (bytes[152] || bytes[153] || bytes[154] || bytes[155] || bytes[156] || bytes[157] || bytes[158] || bytes[159])
			return true; /* a signature */
		return a->prog_type != BPF_PROG_TYPE_SOCKET_FILTER && a->prog_type != BPF_PROG_TYPE_KPROBE &&
		       a->prog_type != BPF_PROG_TYPE_TRACEPOINT && a->prog_type != BPF_PROG_TYPE_PERF_EVENT &&
		       a->prog_type != BPF_PROG_TYPE_RAW_TRACEPOINT;
	case BPF_MAP_CREATE:
		return a->map_type > BPF_MAP_TYPE_BLOOM_FILTER || less_maps[a->map_type];
	default:
		return cmd == BPF_PROG_ATTACH || cmd == BPF_PROG_DETACH || cmd == BPF_PROG_QUERY || cmd > BPF_PROG_BIND_MAP;
	}
}

static bool gives_fd(u32 cmd)
{
	return cmd == BPF_MAP_CREATE || cmd == BPF_PROG_LOAD || cmd == BPF_OBJ_GET ||
	       cmd == BPF_BTF_LOAD || cmd == BPF_LINK_CREATE || cmd == BPF_ENABLE_STATS ||
	       cmd == BPF_RAW_TRACEPOINT_OPEN || cmd == BPF_ITER_CREATE ||
	       cmd == BPF_PROG_GET_FD_BY_ID || cmd == BPF_MAP_GET_FD_BY_ID ||
	       cmd == BPF_BTF_GET_FD_BY_ID || cmd == BPF_LINK_GET_FD_BY_ID;
}

static long call(struct side *s, u64 seed, u32 *ret_cmd, bool *ret_less)
{
	u8 bytes[256] = {0};
	unsigned int size;
	u32 cmd;
	long r;

	state = seed;
	cmd = one_in(50) ? number() : draw(40);
	memset(memory, 0, MEMORY);
	memset((void *)edge, 0, 8);
	strcpy((char *)memory, "a_name");
	fill(bytes, s, cmd);
	size = one_in(6) ? draw(220) : one_in(2) ? (unsigned int)sizeof(union bpf_attr) : 168;
	*ret_less = less_here(bytes, cmd);
	if (getenv("ORACLE_SHOW")) {
		printf("# %s command %u, size %u:", s->name, cmd, size);
		for (u32 i = 0; i < sizeof(bytes) / 4; i++)
			if (((u32 *)bytes)[i])
				printf(" [%u]=%#x", i * 4, ((u32 *)bytes)[i]);
		printf("\n");
	}
	r = s->bpf((int)cmd, bytes, size);
	if (r >= 0 && gives_fd(cmd)) {
		s->close((int)r);
		r = 1;
	}
	*ret_cmd = cmd;
	return r;
}

int oracle_fuzz(struct side *ours, struct side *kernel, u64 first, u32 count, u64 *ret_seed)
{
	for (u64 i = 0; i < count; i++) {
		const u64 seed = (first + i) * 0x9e3779b97f4a7c15ULL;
		u32 cmd;
		bool less;
		long got = call(ours, seed, &cmd, &less), want = kernel ? call(kernel, seed, &cmd, &less) : got;

		if (!comparable(cmd) || got == want || (got >= 0 && want >= 0) || (less && got < 0))
			continue;
		printf("# command %u answers %ld, the kernel's %ld\n", cmd, got, want);
		*ret_seed = first + i;
		return (int)cmd + 1;
	}
	return 0;
}
