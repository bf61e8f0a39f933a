/* SPDX-License-Identifier: MIT */
/* Rows on tracepoints of system calls: perf events, links on them, raw tracepoints, what is said of them. */
#include "oracle.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)

#define OPENAT  "syscalls/sys_enter_openat"
#define GETPID  "syscalls/sys_enter_getpid"
#define ALL     "raw_syscalls/sys_enter"
#define ALL_OUT "raw_syscalls/sys_exit"

/* A program that loads `size` bytes of its context at `off`; size 0: nothing. */
static int load(struct side *s, u32 type, int off, int size)
{
	static const u8 sizes[] = {[1] = BPF_B, [2] = BPF_H, [4] = BPF_W, [8] = BPF_DW};
	const struct bpf_insn nothing = {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0};
	const struct bpf_insn insns[] = {
		nothing, size ? (struct bpf_insn){BPF_LDX | BPF_MEM | sizes[size], 0, 1, (s16)off, 0} : nothing,
		nothing, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = type;
	a.insns = (u64)insns;
	a.insn_cnt = 4;
	a.license = (u64) "GPL";
	return (int)s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

static int open_id(struct side *s, u64 id, int pid, int cpu)
{
	struct perf_event_attr a = {.type = PERF_TYPE_TRACEPOINT, .size = sizeof(a), .config = id};

	return (int)s->perf(&a, pid, cpu, -1, 0);
}

static int open_event(struct side *s, const char *name)
{
	return open_id(s, s->event_id(name), -1, 0);
}

static int link_to(struct side *s, int prog, int event, u64 cookie)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = (u32)prog;
	a.link_create.target_fd = (u32)event;
	a.link_create.attach_type = BPF_PERF_EVENT;
	a.link_create.perf_event.bpf_cookie = cookie;
	return (int)s->bpf(BPF_LINK_CREATE, &a, sizeof(a));
}

/* Closes what is one; its number is not to be compared. */
static long done(struct side *s, long fd)
{
	if (fd < 0)
		return fd;
	s->close((int)fd);
	return 1;
}

static long loaded(struct side *s, u32 type, int off, int size)
{
	return done(s, load(s, type, off, size));
}

/* Calls a helper with the context as its first argument. */
static long calls(struct side *s, u32 type, int helper)
{
	const struct bpf_insn insns[] = {
		{BPF_JMP | BPF_CALL, 0, 0, 0, helper}, {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = type;
	a.insns = (u64)insns;
	a.insn_cnt = 3;
	a.license = (u64) "GPL";
	return done(s, s->bpf(BPF_PROG_LOAD, &a, sizeof(a)));
}

#define CALLS(name_, ...) ROW(name_) { return calls(s, __VA_ARGS__); }
CALLS(cookie_tracepoint, BPF_PROG_TYPE_TRACEPOINT, BPF_FUNC_get_attach_cookie)
CALLS(cookie_raw_tp, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_FUNC_get_attach_cookie)
CALLS(cookie_perf_event, BPF_PROG_TYPE_PERF_EVENT, BPF_FUNC_get_attach_cookie)
CALLS(cookie_filter, BPF_PROG_TYPE_SOCKET_FILTER, BPF_FUNC_get_attach_cookie)
CALLS(func_ip_kprobe, BPF_PROG_TYPE_KPROBE, BPF_FUNC_get_func_ip)
CALLS(func_ip_tracepoint, BPF_PROG_TYPE_TRACEPOINT, BPF_FUNC_get_func_ip)
CALLS(func_ip_raw_tp, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_FUNC_get_func_ip)
CALLS(func_ip_perf_event, BPF_PROG_TYPE_PERF_EVENT, BPF_FUNC_get_func_ip)

#define LOAD(name_, ...) ROW(name_) { return loaded(s, __VA_ARGS__); }
LOAD(ctx_first, BPF_PROG_TYPE_TRACEPOINT, 0, 8)
LOAD(ctx_second, BPF_PROG_TYPE_TRACEPOINT, 8, 8)
LOAD(ctx_half, BPF_PROG_TYPE_TRACEPOINT, 12, 4)
LOAD(ctx_byte, BPF_PROG_TYPE_TRACEPOINT, 7, 1)
LOAD(ctx_odd, BPF_PROG_TYPE_TRACEPOINT, 9, 2)
LOAD(ctx_last, BPF_PROG_TYPE_TRACEPOINT, 8184, 8)
LOAD(ctx_last_byte, BPF_PROG_TYPE_TRACEPOINT, 8191, 1)
LOAD(ctx_behind, BPF_PROG_TYPE_TRACEPOINT, 8192, 8)
LOAD(raw_first, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 8)
LOAD(raw_half, BPF_PROG_TYPE_RAW_TRACEPOINT, 4, 4)
LOAD(raw_last, BPF_PROG_TYPE_RAW_TRACEPOINT, 88, 8)
LOAD(raw_behind, BPF_PROG_TYPE_RAW_TRACEPOINT, 96, 8)

static long opened(struct side *s, u64 id, int pid, int cpu) { return done(s, open_id(s, id, pid, cpu)); }
ROW(open_good) { return opened(s, s->event_id(OPENAT), -1, 0); }
ROW(open_self) { return opened(s, s->event_id(OPENAT), 0, -1); }
ROW(open_self_cpu) { return opened(s, s->event_id(OPENAT), 0, 0); }
ROW(open_nobody) { return opened(s, s->event_id(OPENAT), -1, -1); }
ROW(open_no_pid) { return opened(s, s->event_id(OPENAT), 0x3fffff, -1); }
ROW(open_none) { return opened(s, 60000, -1, 0); }
ROW(open_zero) { return opened(s, 0, -1, 0); }
ROW(open_huge) { return opened(s, ~0ULL, -1, 0); }

/* One program of a type on one event, both ways. */
static long attach(struct side *s, const char *event, u32 type, int off, int size)
{
	const int e = open_event(s, event), p = load(s, type, off, size);
	int link = link_to(s, p, e, 7);
	long set;

	done(s, link);
	s->settle();
	set = s->ioctl(e, PERF_EVENT_IOC_SET_BPF, (unsigned long)p);
	link = link < 0 ? link : 1;
	oracle_out(s, &link, sizeof(link));
	s->close(p);
	s->close(e);
	return set;
}

#define ATTACH(name_, ...) ROW(name_) { return attach(s, __VA_ARGS__); }
ATTACH(on_openat, OPENAT, BPF_PROG_TYPE_TRACEPOINT, 40, 8)
ATTACH(on_openat_behind, OPENAT, BPF_PROG_TYPE_TRACEPOINT, 48, 8)
ATTACH(on_getpid, GETPID, BPF_PROG_TYPE_TRACEPOINT, 8, 4)
ATTACH(on_getpid_behind, GETPID, BPF_PROG_TYPE_TRACEPOINT, 8, 8)
ATTACH(on_all, ALL, BPF_PROG_TYPE_TRACEPOINT, 56, 8)
ATTACH(on_all_behind, ALL, BPF_PROG_TYPE_TRACEPOINT, 64, 8)
ATTACH(on_exit, "syscalls/sys_exit_openat", BPF_PROG_TYPE_TRACEPOINT, 16, 8)
ATTACH(on_exit_behind, "syscalls/sys_exit_openat", BPF_PROG_TYPE_TRACEPOINT, 24, 8)
ATTACH(on_all_exit, ALL_OUT, BPF_PROG_TYPE_TRACEPOINT, 16, 8)
ATTACH(on_all_exit_behind, ALL_OUT, BPF_PROG_TYPE_TRACEPOINT, 24, 8)
ATTACH(by_kprobe, OPENAT, BPF_PROG_TYPE_KPROBE, 0, 0)
ATTACH(by_perf_event, OPENAT, BPF_PROG_TYPE_PERF_EVENT, 0, 0)
ATTACH(by_raw_tp, OPENAT, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0)
ATTACH(by_filter, OPENAT, BPF_PROG_TYPE_SOCKET_FILTER, 0, 0)
ROW(tp_on_uprobe) { int p = load(s, BPF_PROG_TYPE_TRACEPOINT, 0, 0); long r = done(s, link_to(s, p, s->event, 0)); s->close(p); return r; }

/* The same tracepoint and program again: on the event, on another, with another cookie; another tracepoint. */
ROW(twice)
{
	const int e = open_event(s, OPENAT), f = open_event(s, OPENAT), g = open_event(s, GETPID);
	const int p = load(s, BPF_PROG_TYPE_TRACEPOINT, 0, 0), q = load(s, BPF_PROG_TYPE_TRACEPOINT, 0, 0);
	const int first = link_to(s, p, e, 5);
	const long more[] = {done(s, link_to(s, p, e, 5)), done(s, link_to(s, p, f, 5)), done(s, link_to(s, p, f, 6)),
			     s->ioctl(f, PERF_EVENT_IOC_SET_BPF, (unsigned long)p), done(s, link_to(s, q, e, 5)),
			     done(s, link_to(s, p, g, 5)), done(s, link_to(s, q, f, 5))};

	oracle_out(s, more, sizeof(more));
	s->close(first);
	s->settle();
	const long after = done(s, link_to(s, p, f, 5));
	s->close(e), s->close(f), s->close(g), s->close(p), s->close(q);
	return after;
}

ROW(controls)
{
	const int e = open_event(s, OPENAT);
	u64 period = 5;
	const long r[] = {s->ioctl(e, PERF_EVENT_IOC_ENABLE, 0), s->ioctl(e, PERF_EVENT_IOC_DISABLE, 0), s->ioctl(e, PERF_EVENT_IOC_RESET, 0),
			  s->ioctl(e, PERF_EVENT_IOC_ID, (unsigned long)room), s->ioctl(e, PERF_EVENT_IOC_ID, bad_page),
			  s->ioctl(e, PERF_EVENT_IOC_PERIOD, (unsigned long)&period), s->ioctl(e, PERF_EVENT_IOC_REFRESH, 1),
			  s->ioctl(e, PERF_EVENT_IOC_SET_BPF, (unsigned long)s->array), s->ioctl(e, PERF_EVENT_IOC_SET_BPF, (unsigned long)-1)};

	oracle_out(s, r, sizeof(r));
	s->close(e);
	return 0;
}

static int raw_open(struct side *s, u64 name, int prog)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.raw_tracepoint.name = name;
	a.raw_tracepoint.prog_fd = (u32)prog;
	return (int)s->bpf(BPF_RAW_TRACEPOINT_OPEN, &a, ATTR(&a, raw_tracepoint));
}

static long raw(struct side *s, u64 name, u32 type, int off, int size)
{
	const int p = load(s, type, off, size);
	const long r = done(s, raw_open(s, name, p));

	s->close(p);
	return r;
}

#define RAW(name_, ...) ROW(name_) { return raw(s, __VA_ARGS__); }
RAW(raw_enter, (u64) "sys_enter", BPF_PROG_TYPE_RAW_TRACEPOINT, 8, 8)
RAW(raw_exit, (u64) "sys_exit", BPF_PROG_TYPE_RAW_TRACEPOINT, 8, 8)
RAW(raw_enter_behind, (u64) "sys_enter", BPF_PROG_TYPE_RAW_TRACEPOINT, 16, 8)
RAW(raw_one_call, (u64) "sys_enter_openat", BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0)
RAW(raw_system, (u64) "raw_syscalls:sys_enter", BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0)
RAW(raw_empty, (u64) "", BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0)
RAW(raw_null, 0, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0)
RAW(raw_tracepoint, (u64) "sys_enter", BPF_PROG_TYPE_TRACEPOINT, 0, 0)
ROW(raw_twice) { int p = load(s, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0), l = raw_open(s, (u64) "sys_enter", p); long r = done(s, raw_open(s, (u64) "sys_enter", p)); s->close(l); s->close(p); return r; }

static long create(struct side *s, union bpf_attr *a, u32 type)
{
	const int p = load(s, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0);
	long r;

	a->link_create.prog_fd = (u32)p;
	a->link_create.attach_type = type;
	r = done(s, s->bpf(BPF_LINK_CREATE, a, sizeof(*a)));
	s->close(p);
	return r;
}

ROW(raw_link_0) { return create(s, a, 0); }
ROW(raw_link_raw) { return create(s, a, BPF_TRACE_RAW_TP); }
ROW(raw_link_perf) { return create(s, a, BPF_PERF_EVENT); }
ROW(raw_update)
{
	const int p = load(s, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0), l = raw_open(s, (u64) "sys_enter", p);
	long r;

	a->link_update.link_fd = (u32)l;
	a->link_update.new_prog_fd = (u32)p;
	r = s->bpf(BPF_LINK_UPDATE, a, sizeof(*a));
	oracle_out(s, &r, sizeof(r));
	memset(a, 0, sizeof(*a));
	a->link_detach.link_fd = (u32)l;
	r = s->bpf(BPF_LINK_DETACH, a, sizeof(*a));
	s->close(l), s->close(p);
	return r;
}

/* bpf_link_info of 6.18: words 0 type, 1 id, 2 prog_id; then the union, from word 4. */
static long describe(struct side *s, int link, u32 name_at, u32 len_at, u32 name_room)
{
	char name[64] = {0};
	u32 info[16] = {0};
	const u64 at = name_room ? (u64)name : 0;
	union bpf_attr a;
	long r;

	memcpy(&info[name_at], &at, sizeof(at));
	info[len_at] = name_room;
	memset(&a, 0, sizeof(a));
	a.info.bpf_fd = (u32)link;
	a.info.info_len = sizeof(info);
	a.info.info = (u64)info;
	r = s->bpf(BPF_OBJ_GET_INFO_BY_FD, &a, ATTR(&a, info));
	info[1] = info[2] = info[name_at] = info[name_at + 1] = 0;
	oracle_out(s, info, sizeof(info));
	oracle_out(s, name, sizeof(name));
	oracle_out(s, &a.info.info_len, sizeof(u32));
	return r;
}

static long info(struct side *s, const char *event, u32 room)
{
	const int e = event ? open_event(s, event) : -1;
	const int p = load(s, event ? BPF_PROG_TYPE_TRACEPOINT : BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0);
	const int l = event ? link_to(s, p, e, 0x1234567890) : raw_open(s, (u64) "sys_exit", p);
	const long r = event ? describe(s, l, 6, 8, room) : describe(s, l, 4, 6, room);

	s->close(l), s->close(p);
	if (event)
		s->close(e);
	return r;
}

#define INFO(name_, ...) ROW(name_) { return info(s, __VA_ARGS__); }
INFO(info_openat, OPENAT, 64)
INFO(info_openat_no_name, OPENAT, 0)
INFO(info_openat_cut, OPENAT, 16)
INFO(info_openat_fits, OPENAT, 17)
INFO(info_all, ALL_OUT, 64)
INFO(info_raw, NULL, 64)
INFO(info_raw_no_name, NULL, 0)
INFO(info_raw_cut, NULL, 8)
INFO(info_raw_fits, NULL, 9)

static long query(struct side *s, int fd, u32 room)
{
	char name[64] = {0};
	union bpf_attr a;
	long r;

	memset(&a, 0, sizeof(a));
	a.task_fd_query.pid = (u32)getpid();
	a.task_fd_query.fd = (u32)fd;
	a.task_fd_query.buf = (u64)name;
	a.task_fd_query.buf_len = room;
	r = s->bpf(BPF_TASK_FD_QUERY, &a, ATTR(&a, task_fd_query));
	oracle_out(s, name, sizeof(name));
	oracle_out(s, &a.task_fd_query.fd_type, 4);
	oracle_out(s, &a.task_fd_query.buf_len, 4);
	oracle_out(s, &a.task_fd_query.probe_offset, 16);
	return r;
}

ROW(query_event)
{
	const int e = open_event(s, OPENAT), p = load(s, BPF_PROG_TYPE_TRACEPOINT, 0, 0);
	long r = query(s, e, 64);

	oracle_out(s, &r, sizeof(r));
	s->ioctl(e, PERF_EVENT_IOC_SET_BPF, (unsigned long)p);
	r = query(s, e, 64);
	oracle_out(s, &r, sizeof(r));
	r = query(s, e, 8);
	s->close(e), s->close(p);
	return r;
}

ROW(query_raw)
{
	const int p = load(s, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0), l = raw_open(s, (u64) "sys_enter", p);
	const long r = query(s, l, 64);

	s->close(l), s->close(p);
	return r;
}
ROW(query_link) { return query(s, s->link, 64); }

#define R(name_) {#name_, name_}
const struct row oracle_syscall_rows[] = {
	R(ctx_first), R(ctx_second), R(ctx_half), R(ctx_byte), R(ctx_odd), R(ctx_last), R(ctx_last_byte), R(ctx_behind),
	R(cookie_tracepoint), R(cookie_raw_tp), R(cookie_perf_event), R(cookie_filter), R(func_ip_kprobe),
	R(func_ip_tracepoint), R(func_ip_raw_tp), R(func_ip_perf_event),
	R(raw_first), R(raw_half), R(raw_last), R(raw_behind),
	R(open_good), R(open_self), R(open_self_cpu), R(open_nobody), R(open_no_pid), R(open_none), R(open_zero), R(open_huge),
	R(on_openat), R(on_openat_behind), R(on_getpid), R(on_getpid_behind), R(on_all), R(on_all_behind), R(on_exit),
	R(on_exit_behind), R(on_all_exit), R(on_all_exit_behind), R(by_kprobe), R(by_perf_event), R(by_raw_tp), R(by_filter),
	R(tp_on_uprobe), R(twice), R(controls),
	R(raw_enter), R(raw_exit), R(raw_enter_behind), R(raw_one_call), R(raw_system), R(raw_empty), R(raw_null),
	R(raw_tracepoint), R(raw_twice), R(raw_link_0), R(raw_link_raw), R(raw_link_perf), R(raw_update),
	R(info_openat), R(info_openat_no_name), R(info_openat_cut), R(info_openat_fits), R(info_all), R(info_raw),
	R(info_raw_no_name), R(info_raw_cut), R(info_raw_fits), R(query_event), R(query_raw), R(query_link),
	{NULL, NULL},
};
