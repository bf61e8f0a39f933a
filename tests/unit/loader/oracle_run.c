/* SPDX-License-Identifier: MIT */
/* Rows on running programs, batches, and the commands that stand alone. */
#include "oracle.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)

/* ---- BPF_PROG_TEST_RUN ---- */

static int load(struct side *s, u32 type, const struct bpf_insn *insns, u32 n)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = type;
	a.insns = (u64)insns;
	a.insn_cnt = n;
	a.license = (u64) "GPL";
	return (int)s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

/* r0 = ctx->first u64 + 5 */
static const struct bpf_insn first_arg[] = {{BPF_LDX | BPF_MEM | BPF_DW, 0, 1, 0, 0},
					    {BPF_ALU64 | BPF_ADD | BPF_K, 0, 0, 0, 5}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
static const struct bpf_insn seven[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 7}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
/* r0 = skb->len << 16 | skb->protocol ... as the offsets of struct __sk_buff */
static const struct bpf_insn packet_facts[] = {
	{BPF_LDX | BPF_MEM | BPF_W, 0, 1, offsetof(struct __sk_buff, len), 0},
	{BPF_ALU64 | BPF_LSH | BPF_K, 0, 0, 0, 16},
	{BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct __sk_buff, protocol), 0},
	{BPF_ALU64 | BPF_OR | BPF_X, 0, 2, 0, 0},
	{BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct __sk_buff, pkt_type), 0},
	{BPF_ALU64 | BPF_LSH | BPF_K, 2, 0, 0, 28},
	{BPF_ALU64 | BPF_OR | BPF_X, 0, 2, 0, 0},
	{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
};

static long run_fd(struct side *s, union bpf_attr *a, int fd)
{
	a->test.prog_fd = (u32)fd;
	long r = s->bpf(BPF_PROG_TEST_RUN, a, sizeof(*a));

	oracle_out(s, &a->test.retval, 4);
	oracle_out(s, &a->test.data_size_out, 4);
	s->close(fd);
	return r;
}

static long run_raw(struct side *s, union bpf_attr *a)
{
	return run_fd(s, a, load(s, BPF_PROG_TYPE_RAW_TRACEPOINT, first_arg, 3));
}

static const u64 args[12] = {0x1122334455, 2, 3};

ROW(raw_plain) { return run_fd(s, a, load(s, BPF_PROG_TYPE_RAW_TRACEPOINT, seven, 2)); }
ROW(raw_args) { a->test.ctx_in = (u64)args; a->test.ctx_size_in = 16; return run_raw(s, a); }
ROW(raw_all_args) { a->test.ctx_in = (u64)args; a->test.ctx_size_in = 96; return run_raw(s, a); }
ROW(raw_many_args) { a->test.ctx_in = (u64)room; a->test.ctx_size_in = 104; return run_raw(s, a); }
ROW(raw_no_args) { return run_raw(s, a); }
ROW(raw_bad_args) { a->test.ctx_in = bad_page; a->test.ctx_size_in = 16; return run_raw(s, a); }
ROW(raw_no_size) { a->test.ctx_in = (u64)args; return run_raw(s, a); }
ROW(raw_no_ctx) { a->test.ctx_size_in = 8; return run_raw(s, a); }
ROW(raw_repeat) { a->test.repeat = 1; return run_raw(s, a); }
ROW(raw_data) { a->test.data_in = (u64)room; a->test.data_size_in = 64; return run_raw(s, a); }
ROW(raw_cpu) { a->test.ctx_in = (u64)args; a->test.ctx_size_in = 8; a->test.cpu = 1; return run_raw(s, a); }
ROW(raw_on_cpu) { a->test.ctx_in = (u64)args; a->test.ctx_size_in = 8; a->test.flags = 1; return run_raw(s, a); }
ROW(raw_on_cpu_999) { a->test.ctx_in = (u64)args; a->test.ctx_size_in = 8; a->test.flags = 1; a->test.cpu = 999; return run_raw(s, a); }
ROW(raw_small_attr) { int fd = load(s, BPF_PROG_TYPE_RAW_TRACEPOINT, seven, 2); a->test.prog_fd = (u32)fd; long r = s->bpf(BPF_PROG_TEST_RUN, a, 8); oracle_out(s, &a->test.retval, 4); s->close(fd); return r; }

static u8 *packet(u8 *room)
{
	static const u8 head[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 0x08, 0x00, 0x45};

	memcpy(room, head, sizeof(head));
	return room;
}

static long run_packet(struct side *s, union bpf_attr *a, u8 *room, u32 size)
{
	a->test.data_in = (u64)packet(room);
	a->test.data_size_in = size;
	return run_fd(s, a, load(s, BPF_PROG_TYPE_SOCKET_FILTER, packet_facts, 8));
}

ROW(packet_plain) { return run_packet(s, a, room, 64); }
ROW(packet_host) { a->test.data_in = (u64)(room + 100); a->test.data_size_in = 64; memset(room + 100, 0, 64); return run_fd(s, a, load(s, BPF_PROG_TYPE_SOCKET_FILTER, packet_facts, 8)); }
ROW(packet_repeat) { a->test.repeat = 10; return run_packet(s, a, room, 100); }
ROW(packet_short) { return run_packet(s, a, room, 13); }
ROW(packet_long) { return run_packet(s, a, room, 5000); }
ROW(packet_out) { a->test.data_out = (u64)(room + 8192); a->test.data_size_out = 100; long r = run_packet(s, a, room, 64); oracle_out(s, room + 8192, 100); return r; }
ROW(packet_out_cut) { a->test.data_out = (u64)(room + 8192); a->test.data_size_out = 20; long r = run_packet(s, a, room, 64); oracle_out(s, room + 8192, 64); return r; }
ROW(packet_out_bad) { a->test.data_out = bad_page; return run_packet(s, a, room, 64); }
ROW(packet_in_bad) { a->test.data_in = bad_page; a->test.data_size_in = 64; return run_fd(s, a, load(s, BPF_PROG_TYPE_SOCKET_FILTER, seven, 2)); }
ROW(packet_flags) { a->test.flags = 1; return run_packet(s, a, room, 64); }
ROW(packet_on_cpu) { a->test.cpu = 1; return run_packet(s, a, room, 64); }

#define SKB_WORDS (sizeof(struct __sk_buff) / 4)

/* Every field of the context that comes in, alone: taken or not, and what goes out. */
ROW(packet_ctx)
{
	static const u32 set[] = {0, 1, 200, 70000, ~0u};
	struct __sk_buff *in = (void *)(room + 512), *out = in + 1;
	int fd = load(s, BPF_PROG_TYPE_SOCKET_FILTER, packet_facts, 8);

	for (u32 i = 0; i < SKB_WORDS * ARRAY_SIZE(set); i++) {
		memset(in, 0, 2 * sizeof(*in));
		((u32 *)in)[i % SKB_WORDS] = set[i / SKB_WORDS];
		*a = (union bpf_attr){.test = {.prog_fd = (u32)fd, .data_in = (u64)packet(room), .data_size_in = 64}};
		a->test.ctx_in = (u64)in;
		a->test.ctx_out = (u64)out;
		a->test.ctx_size_in = a->test.ctx_size_out = sizeof(*in);
		long r = s->bpf(BPF_PROG_TEST_RUN, a, sizeof(*a));

		oracle_out(s, &r, sizeof(r));
		oracle_out(s, out, sizeof(*out));
	}
	s->close(fd);
	return 0;
}

/* What of the context a filter may read and write, in every size; but for the socket, which limpet does not have. */
ROW(packet_access)
{
	static const u8 sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

	for (u32 i = 0; i < 4 * 2 * (sizeof(struct __sk_buff) + 8); i++) {
		const bool write = i / 4 % 2;
		const struct bpf_insn insns[] = {
			{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
			{(u8)((write ? BPF_STX : BPF_LDX) | BPF_MEM | sizes[i % 4]), write, !write, (s16)(i / 8), 0},
			{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
			{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
		};
		const int fd = load(s, BPF_PROG_TYPE_SOCKET_FILTER, insns, 4);
		const u8 taken = fd >= 0 && i / 8 != offsetof(struct __sk_buff, sk);

		if (fd >= 0)
			s->close(fd);
		oracle_out(s, &taken, 1);
	}
	return 0;
}

/* ---- batches ---- */

static const u32 keys[] = {0, 1, 2, 3, 4};
static const u64 values[] = {10, 20, 30, 40, 50};

static long batch(struct side *s, union bpf_attr *a, int cmd, int fd, u32 count, u64 k, u64 v)
{
	a->batch.map_fd = (u32)fd;
	a->batch.count = count;
	a->batch.keys = k;
	a->batch.values = v;
	long r = s->bpf(cmd, a, sizeof(*a));

	oracle_out(s, &a->batch.count, 4);
	return r;
}

/* A walk that begins with a cursor of 0, as syscount's does, and ends where there is nothing more. */
ROW(batch_cursor_0)
{
	union bpf_attr m = {.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 16};
	int fd = (int)s->bpf(BPF_MAP_CREATE, &m, sizeof(m));
	u64 from = 0, to = 0, sum = 0;
	u32 *got = (u32 *)room;
	long r;

	batch(s, a, BPF_MAP_UPDATE_BATCH, fd, 5, (u64)keys, (u64)values);
	memset(a, 0, sizeof(*a));
	a->batch.in_batch = (u64)&from;
	a->batch.out_batch = (u64)&to;
	r = batch(s, a, BPF_MAP_LOOKUP_AND_DELETE_BATCH, fd, 16, (u64)got, (u64)(room + 1024));
	for (u32 i = 0; i < a->batch.count && i < 16; i++)
		sum += got[i] + 1;
	oracle_out(s, &sum, sizeof(sum));
	s->close(fd);
	return r;
}
ROW(batch_update) { return batch(s, a, BPF_MAP_UPDATE_BATCH, s->array, 4, (u64)keys, (u64)values); }
ROW(batch_update_over) { return batch(s, a, BPF_MAP_UPDATE_BATCH, s->array, 5, (u64)keys, (u64)values); }
ROW(batch_update_none) { return batch(s, a, BPF_MAP_UPDATE_BATCH, s->array, 0, (u64)keys, (u64)values); }
ROW(batch_update_noexist) { a->batch.elem_flags = BPF_NOEXIST; return batch(s, a, BPF_MAP_UPDATE_BATCH, s->array, 4, (u64)keys, (u64)values); }
ROW(batch_update_bad) { return batch(s, a, BPF_MAP_UPDATE_BATCH, s->array, 4, bad_page, (u64)values); }
ROW(batch_update_frozen) { return batch(s, a, BPF_MAP_UPDATE_BATCH, s->frozen, 4, (u64)keys, (u64)values); }
ROW(batch_update_ro) { return batch(s, a, BPF_MAP_UPDATE_BATCH, s->readonly, 4, (u64)keys, (u64)values); }
ROW(batch_delete) { return batch(s, a, BPF_MAP_DELETE_BATCH, s->array, 4, (u64)keys, 0); }
ROW(batch_queue) { return batch(s, a, BPF_MAP_LOOKUP_BATCH, s->queue, 4, (u64)room, (u64)room); }
ROW(batch_closed) { return batch(s, a, BPF_MAP_LOOKUP_BATCH, s->closed, 4, (u64)room, (u64)room); }

static long lookup(struct side *s, union bpf_attr *a, u8 *room, int fd, u32 count, u64 in, u64 out)
{
	a->batch.in_batch = in;
	a->batch.out_batch = out;
	long r = batch(s, a, BPF_MAP_LOOKUP_BATCH, fd, count, (u64)(room + 1024), (u64)(room + 2048));

	oracle_out(s, room, 64);
	oracle_out(s, room + 1024, 64);
	oracle_out(s, room + 2048, 128);
	return r;
}

ROW(batch_lookup) { return lookup(s, a, room, s->array, 4, 0, (u64)room); }
ROW(batch_lookup_2) { return lookup(s, a, room, s->array, 2, 0, (u64)room); }
ROW(batch_lookup_next) { u32 at = 1; return lookup(s, a, room, s->array, 4, (u64)&at, (u64)room); }
ROW(batch_lookup_end) { u32 at = 3; return lookup(s, a, room, s->array, 4, (u64)&at, (u64)room); }
ROW(batch_lookup_more) { return lookup(s, a, room, s->array, 10, 0, (u64)room); }
ROW(batch_lookup_none) { return lookup(s, a, room, s->array, 0, 0, (u64)room); }
ROW(batch_lookup_no_out) { return lookup(s, a, room, s->array, 2, 0, 0); }
ROW(batch_lookup_bad_in) { return lookup(s, a, room, s->array, 2, bad_page, (u64)room); }
ROW(batch_lookup_wo) { return lookup(s, a, room, s->writeonly, 2, 0, (u64)room); }
ROW(batch_lookup_flags) { a->batch.elem_flags = 1; return lookup(s, a, room, s->array, 2, 0, (u64)room); }
ROW(batch_lookup_delete) { a->batch.out_batch = (u64)room; return batch(s, a, BPF_MAP_LOOKUP_AND_DELETE_BATCH, s->array, 2, (u64)(room + 64), (u64)(room + 128)); }

static int new_hash(struct side *s, u32 entries)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = entries};

	return (int)s->bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

/* A hash walked in steps of `step`: how many come, their sum, and that it ends. */
static long walk_hash(struct side *s, u8 *room, int cmd, u32 n, u32 step)
{
	int fd = new_hash(s, n);
	u64 cursor[2] = {0}, sum = 0;
	u32 count = 0, total = 0;
	union bpf_attr a;
	long r = 0;

	for (u32 k = 0; k < n; k++) {
		u64 v = 3 * k;

		memset(&a, 0, sizeof(a));
		a.map_fd = (u32)fd;
		a.key = (u64)&k;
		a.value = (u64)&v;
		s->bpf(BPF_MAP_UPDATE_ELEM, &a, 32);
	}
	for (u32 turn = 0; !r && turn <= n; turn++) {
		memset(&a, 0, sizeof(a));
		a.batch.map_fd = (u32)fd;
		a.batch.count = step;
		a.batch.in_batch = turn ? (u64)&cursor[0] : 0;
		a.batch.out_batch = (u64)&cursor[1];
		a.batch.keys = (u64)room;
		a.batch.values = (u64)(room + 16384);
		r = s->bpf(cmd, &a, sizeof(a));
		count = r && r != -2 ? 0 : a.batch.count;
		for (u32 i = 0; i < count; i++)
			sum += ((u64 *)(room + 16384))[i];
		total += count;
		cursor[0] = cursor[1];
	}
	oracle_out(s, &sum, 8);
	oracle_out(s, &total, 4);
	s->close(fd);
	return r;
}

ROW(hash_walk) { return walk_hash(s, room, BPF_MAP_LOOKUP_BATCH, 500, 100); }
ROW(hash_walk_all) { return walk_hash(s, room, BPF_MAP_LOOKUP_BATCH, 100, 1000); }
ROW(hash_walk_delete) { return walk_hash(s, room, BPF_MAP_LOOKUP_AND_DELETE_BATCH, 500, 100); }

/* ---- commands that stand alone ---- */

ROW(bind_good)
{
	struct bpf_prog_info *i = (void *)room;
	int fd = load(s, BPF_PROG_TYPE_KPROBE, seven, 2);

	a->prog_bind_map.prog_fd = (u32)fd;
	a->prog_bind_map.map_fd = (u32)s->array;
	long r = s->bpf(BPF_PROG_BIND_MAP, a, sizeof(*a));

	r |= s->bpf(BPF_PROG_BIND_MAP, a, sizeof(*a));
	memset(a, 0, sizeof(*a));
	a->info.bpf_fd = (u32)fd;
	a->info.info_len = sizeof(*i);
	a->info.info = (u64)i;
	s->bpf(BPF_OBJ_GET_INFO_BY_FD, a, 16);
	oracle_out(s, &i->nr_map_ids, 4);
	s->close(fd);
	return r;
}

ROW(bind_closed) { a->prog_bind_map.prog_fd = (u32)s->closed; return s->bpf(BPF_PROG_BIND_MAP, a, sizeof(*a)); }
ROW(bind_prog) { a->prog_bind_map.prog_fd = (u32)s->prog; a->prog_bind_map.map_fd = (u32)s->prog; return s->bpf(BPF_PROG_BIND_MAP, a, sizeof(*a)); }
ROW(bind_flags) { a->prog_bind_map.prog_fd = (u32)s->prog; a->prog_bind_map.flags = 1; return s->bpf(BPF_PROG_BIND_MAP, a, sizeof(*a)); }

static long query(struct side *s, union bpf_attr *a, u8 *room, int fd, u32 len)
{
	a->task_fd_query.pid = (u32)getpid();
	a->task_fd_query.fd = (u32)fd;
	a->task_fd_query.buf = (u64)room;
	a->task_fd_query.buf_len = len;
	long r = s->bpf(BPF_TASK_FD_QUERY, a, sizeof(*a));

	oracle_out(s, &a->task_fd_query.buf_len, 4);
	oracle_out(s, &a->task_fd_query.fd_type, 4);
	oracle_out(s, &a->task_fd_query.probe_offset, 8);
	oracle_out(s, &(u8){a->task_fd_query.prog_id != 0}, 1);
	oracle_out(s, room, 64);
	return r;
}

ROW(query_good) { return query(s, a, room, s->taken, 64); }
ROW(query_cut) { return query(s, a, room, s->taken, 4); }
ROW(query_no_buf) { return query(s, a, room, s->taken, 0); }
ROW(query_bare_event) { return query(s, a, room, s->event, 64); }
ROW(query_map) { return query(s, a, room, s->array, 64); }
ROW(query_pipe) { return query(s, a, room, s->pipe, 64); }
ROW(query_closed) { return query(s, a, room, s->closed, 64); }
ROW(query_no_pid) { a->task_fd_query.pid = 0x3fffff; return s->bpf(BPF_TASK_FD_QUERY, a, sizeof(*a)); }
ROW(query_flags) { a->task_fd_query.flags = 1; return s->bpf(BPF_TASK_FD_QUERY, a, sizeof(*a)); }

ROW(stats_good) { long fd = s->bpf(BPF_ENABLE_STATS, a, sizeof(*a)); if (fd >= 0) close((int)fd); return fd < 0 ? fd : 1; }
ROW(stats_type) { a->enable_stats.type = 1; return s->bpf(BPF_ENABLE_STATS, a, sizeof(*a)); }
ROW(iter_link) { a->iter_create.link_fd = (u32)s->link; return s->bpf(BPF_ITER_CREATE, a, sizeof(*a)); }
ROW(iter_closed) { a->iter_create.link_fd = (u32)s->closed; return s->bpf(BPF_ITER_CREATE, a, sizeof(*a)); }
ROW(iter_flags) { a->iter_create.flags = 1; return s->bpf(BPF_ITER_CREATE, a, sizeof(*a)); }
ROW(raw_tp_none) { int fd = load(s, BPF_PROG_TYPE_RAW_TRACEPOINT, seven, 2); a->raw_tracepoint.name = (u64) "no_such_tracepoint"; a->raw_tracepoint.prog_fd = (u32)fd; long r = s->bpf(BPF_RAW_TRACEPOINT_OPEN, a, sizeof(*a)); s->close(fd); return r; }
ROW(raw_tp_bad) { int fd = load(s, BPF_PROG_TYPE_RAW_TRACEPOINT, seven, 2); a->raw_tracepoint.name = bad_page; a->raw_tracepoint.prog_fd = (u32)fd; long r = s->bpf(BPF_RAW_TRACEPOINT_OPEN, a, sizeof(*a)); s->close(fd); return r; }
ROW(raw_tp_kprobe) { a->raw_tracepoint.name = (u64) "sys_enter"; a->raw_tracepoint.prog_fd = (u32)s->prog; return s->bpf(BPF_RAW_TRACEPOINT_OPEN, a, sizeof(*a)); }
ROW(raw_tp_closed) { a->raw_tracepoint.name = (u64) "sys_enter"; a->raw_tracepoint.prog_fd = (u32)s->closed; return s->bpf(BPF_RAW_TRACEPOINT_OPEN, a, sizeof(*a)); }
ROW(attach_uprobe) { a->attach_type = 41; a->attach_bpf_fd = (u32)s->prog; return s->bpf(BPF_PROG_ATTACH, a, sizeof(*a)); }
ROW(query_type_999) { a->query.attach_type = 999; return s->bpf(BPF_PROG_QUERY, a, sizeof(*a)); }

#define R(name_) {#name_, name_}
const struct row oracle_run_rows[] = {
	R(raw_plain), R(raw_args), R(raw_all_args), R(raw_many_args), R(raw_no_args), R(raw_bad_args), R(raw_no_size),
	R(raw_no_ctx), R(raw_repeat), R(raw_data), R(raw_cpu), R(raw_on_cpu), R(raw_on_cpu_999), R(raw_small_attr),
	R(packet_plain), R(packet_host), R(packet_repeat), R(packet_short), R(packet_long), R(packet_out),
	R(packet_out_cut), R(packet_out_bad), R(packet_in_bad), R(packet_flags), R(packet_on_cpu), R(packet_ctx), R(packet_access),
	R(batch_cursor_0), R(batch_update), R(batch_update_over), R(batch_update_none), R(batch_update_noexist), R(batch_update_bad),
	R(batch_update_frozen), R(batch_update_ro), R(batch_delete), R(batch_queue), R(batch_closed),
	R(batch_lookup), R(batch_lookup_2), R(batch_lookup_next), R(batch_lookup_end), R(batch_lookup_more),
	R(batch_lookup_none), R(batch_lookup_no_out), R(batch_lookup_bad_in), R(batch_lookup_wo),
	R(batch_lookup_flags), R(batch_lookup_delete), R(hash_walk), R(hash_walk_all), R(hash_walk_delete),
	R(bind_good), R(bind_closed), R(bind_prog), R(bind_flags), R(query_good), R(query_cut), R(query_no_buf),
	R(query_bare_event), R(query_map), R(query_pipe), R(query_closed), R(query_no_pid), R(query_flags),
	R(stats_good), R(stats_type), R(iter_link), R(iter_closed), R(iter_flags), R(raw_tp_none), R(raw_tp_bad),
	R(raw_tp_kprobe), R(raw_tp_closed), R(attach_uprobe), R(query_type_999),
	{NULL, NULL},
};
