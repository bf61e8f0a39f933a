/* SPDX-License-Identifier: MIT */
/* Rows on perf events and links. */
#include "oracle.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)

struct opening {
	u64 path, offset, config;
	int pid, cpu, group;
	u32 size;
	unsigned long flags;
};
#define PLAIN {.path = (u64) "/bin/true", .offset = 0x40, .pid = -1, .cpu = 0, .group = -1, .size = PERF_ATTR_SIZE_VER7}

static long open_with(struct side *s, const struct opening *o, const u8 *tail)
{
	union {
		struct perf_event_attr a;
		u8 bytes[8192];
	} attr;
	u32 size;

	memset(&attr, 0, sizeof(attr));
	attr.a.type = s->uprobe_type;
	attr.a.size = o->size;
	attr.a.config = o->config;
	attr.a.config1 = o->path;
	attr.a.config2 = o->offset;
	if (tail)
		memcpy(attr.bytes + 200, tail, 8);
	long fd = s->perf(&attr, o->pid, o->cpu, o->group, o->flags);

	size = attr.a.size == o->size;
	oracle_out(s, &size, 4);
	if (fd < 0)
		return fd;
	s->close((int)fd);
	return 1;
}

#define OPEN(name_, ...)                                                                           \
	ROW(name_)                                                                                 \
	{                                                                                          \
		struct opening o = PLAIN;                                                          \
		__VA_ARGS__;                                                                       \
		return open_with(s, &o, NULL);                                                     \
	}

OPEN(open_plain, (void)o)
OPEN(open_self, o.pid = 0)
OPEN(open_pid, o.pid = getpid(), o.cpu = -1)
OPEN(open_no_pid, o.pid = 0x3fffff)
OPEN(open_pid_neg, o.pid = -2)
OPEN(open_nobody, o.cpu = -1)
OPEN(open_cpu_999, o.cpu = 999)
OPEN(open_cpu_neg, o.cpu = -2)
OPEN(open_group, o.group = s->pipe)
OPEN(open_group_closed, o.group = s->closed)
OPEN(open_path_null, o.path = 0)
OPEN(open_path_bad, o.path = bad_page)
OPEN(open_path_low, o.path = BAD_LOW)
OPEN(open_path_none, o.path = (u64) "/no/such/file")
OPEN(open_path_empty, o.path = (u64) "")
OPEN(open_path_dir, o.path = (u64) "/tmp")
OPEN(open_path_dev, o.path = (u64) "/dev/null")
OPEN(open_path_under, o.path = (u64) "/bin/true/x")
OPEN(open_path_long, memset(room, 'a', PATH_MAX + 10); o.path = (u64)room)
OPEN(open_far, o.offset = 1ULL << 40)
OPEN(open_offset_neg, o.offset = ~0ULL)
OPEN(open_ret, o.config = 1)
OPEN(open_ref_odd, o.config = 3ULL << 32)
OPEN(open_size_0, o.size = 0)
OPEN(open_size_8, o.size = 8)
OPEN(open_size_64, o.size = 64)
OPEN(open_size_4096, o.size = 4096)
OPEN(open_size_5000, o.size = 5000)
OPEN(open_flag_bad, o.flags = 1u << 20)
OPEN(open_flag_cloexec, o.flags = PERF_FLAG_FD_CLOEXEC)
ROW(open_tail) { struct opening o = PLAIN; u8 t[8] = {1}; o.size = 208; return open_with(s, &o, t); }
ROW(open_null) { return s->perf(NULL, -1, 0, -1, 0); }

static int new_event(struct side *s, u64 config)
{
	struct perf_event_attr a = {.type = s->uprobe_type, .size = sizeof(a), .config = config};

	a.config1 = (u64) "/bin/true";
	a.config2 = 0x40;
	return (int)s->perf(&a, -1, 0, -1, 0);
}

static long set_bpf(struct side *s, int event, int prog)
{
	return s->ioctl(event, PERF_EVENT_IOC_SET_BPF, (unsigned long)prog);
}

ROW(set_good) { int e = new_event(s, 0); long r = set_bpf(s, e, s->prog); s->close(e); return r; }
ROW(set_twice) { int e = new_event(s, 0); set_bpf(s, e, s->prog); long r = set_bpf(s, e, s->prog); s->close(e); return r; }
ROW(set_taken) { return set_bpf(s, s->taken, s->prog); }
ROW(set_closed) { return set_bpf(s, s->event, s->closed); }
ROW(set_map) { return set_bpf(s, s->event, s->array); }
ROW(set_pipe) { return set_bpf(s, s->event, s->pipe); }
ROW(set_neg) { return set_bpf(s, s->event, -1); }
ROW(ioctl_enable) { return s->ioctl(s->event, PERF_EVENT_IOC_ENABLE, 0); }
ROW(ioctl_disable) { return s->ioctl(s->event, PERF_EVENT_IOC_DISABLE, 0); }
ROW(ioctl_reset) { return s->ioctl(s->event, PERF_EVENT_IOC_RESET, 0); }
ROW(ioctl_id) { return s->ioctl(s->event, PERF_EVENT_IOC_ID, (unsigned long)room); }
ROW(ioctl_id_bad) { return s->ioctl(s->event, PERF_EVENT_IOC_ID, bad_page); }
ROW(ioctl_unknown) { return s->ioctl(s->event, 0x24ff, 0); }

static long link_to(struct side *s, union bpf_attr *a, int prog, int target, u32 type)
{
	a->link_create.prog_fd = (u32)prog;
	a->link_create.target_fd = (u32)target;
	a->link_create.attach_type = type;
	long fd = s->bpf(BPF_LINK_CREATE, a, sizeof(*a));

	if (fd < 0)
		return fd;
	s->close((int)fd);
	return 1;
}

ROW(link_good) { int e = new_event(s, 0); long r = link_to(s, a, s->prog, e, 41); s->close(e); return r; }
ROW(link_again) { int e = new_event(s, 0); link_to(s, a, s->prog, e, 41); long r = link_to(s, a, s->prog, e, 41); s->close(e); return r; }
ROW(link_taken) { return link_to(s, a, s->prog, s->taken, 41); }
ROW(link_no_event) { return link_to(s, a, s->prog, -1, 41); }
ROW(link_closed_event) { return link_to(s, a, s->prog, s->closed, 41); }
ROW(link_pipe_event) { return link_to(s, a, s->prog, s->pipe, 41); }
ROW(link_map_event) { return link_to(s, a, s->prog, s->array, 41); }
ROW(link_closed_prog) { return link_to(s, a, s->closed, s->event, 41); }
ROW(link_map_prog) { return link_to(s, a, s->array, s->event, 41); }
ROW(link_flags) { a->link_create.flags = 1; return link_to(s, a, s->prog, s->event, 41); }
ROW(link_type_0) { return link_to(s, a, s->prog, s->event, 0); }
ROW(link_type_42) { return link_to(s, a, s->prog, s->event, 42); }
ROW(link_type_48) { return link_to(s, a, s->prog, s->event, 48); }
ROW(link_type_999) { return link_to(s, a, s->prog, s->event, 999); }
ROW(link_tail) { ((u8 *)a)[100] = 1; return link_to(s, a, s->prog, s->event, 41); }

ROW(update_good) { a->link_update.link_fd = (u32)s->link; a->link_update.new_prog_fd = (u32)s->prog_plain; return s->bpf(BPF_LINK_UPDATE, a, sizeof(*a)); }
ROW(update_closed) { a->link_update.link_fd = (u32)s->closed; return s->bpf(BPF_LINK_UPDATE, a, sizeof(*a)); }
ROW(update_no_prog) { a->link_update.link_fd = (u32)s->link; a->link_update.new_prog_fd = (u32)s->closed; return s->bpf(BPF_LINK_UPDATE, a, sizeof(*a)); }
ROW(update_map) { a->link_update.link_fd = (u32)s->array; return s->bpf(BPF_LINK_UPDATE, a, sizeof(*a)); }
ROW(update_flags) { a->link_update.link_fd = (u32)s->link; a->link_update.flags = 2; return s->bpf(BPF_LINK_UPDATE, a, sizeof(*a)); }
ROW(detach_good) { a->link_detach.link_fd = (u32)s->link; return s->bpf(BPF_LINK_DETACH, a, sizeof(*a)); }
ROW(detach_closed) { a->link_detach.link_fd = (u32)s->closed; return s->bpf(BPF_LINK_DETACH, a, sizeof(*a)); }
ROW(detach_pipe) { a->link_detach.link_fd = (u32)s->pipe; return s->bpf(BPF_LINK_DETACH, a, sizeof(*a)); }

/* ---- uprobe_multi ---- */

struct multi {
	u64 path, offsets, ref_ctrs, cookies;
	u32 count, flags, pid;
};

static int multi_prog(struct side *s, u32 type)
{
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_KPROBE, .insn_cnt = 2, .expected_attach_type = type};

	a.insns = (u64)oracle_insns;
	a.license = (u64) "GPL";
	return (int)s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

static const u64 two_offsets[] = {0x40, 0x48}, far_offsets[] = {0x40, 1ULL << 40}, cookies[] = {1, 2};

static long multi_with(struct side *s, union bpf_attr *a, const struct multi *m, int prog, u32 type)
{
	memcpy((u8 *)a + 16, m, 44);
	return link_to(s, a, prog, 0, type);
}

#define MULTI(name_, ...) MULTI_OF(48, name_, __VA_ARGS__)
#define MULTI_OF(kind_, name_, ...)                                                                \
	ROW(name_)                                                                                 \
	{                                                                                          \
		struct multi m = {(u64) "/bin/true", (u64)two_offsets, 0, (u64)cookies, 2, 0, 0};  \
		int prog = multi_prog(s, kind_);                                                   \
		u32 type = kind_;                                                                    \
		__VA_ARGS__;                                                                       \
		long r = multi_with(s, a, &m, prog, type);                                         \
		s->close(prog);                                                                    \
		return r;                                                                          \
	}

MULTI(multi_good, (void)m)
MULTI(multi_no_cookies, m.cookies = 0)
MULTI(multi_path_null, m.path = 0)
MULTI(multi_path_bad, m.path = bad_page)
MULTI(multi_path_none, m.path = (u64) "/no/such/file")
MULTI(multi_path_empty, m.path = (u64) "")
MULTI(multi_path_dir, m.path = (u64) "/tmp")
MULTI(multi_path_long, memset(room, 'a', PATH_MAX + 10); m.path = (u64)room)
MULTI(multi_offsets_null, m.offsets = 0)
MULTI(multi_offsets_bad, m.offsets = bad_page)
MULTI(multi_offsets_far, m.offsets = (u64)far_offsets)
MULTI(multi_cookies_bad, m.cookies = bad_page)
MULTI(multi_refs_bad, m.ref_ctrs = bad_page)
MULTI(multi_none, m.count = 0)
MULTI(multi_million, m.count = (1u << 20) + 1)
MULTI(multi_flags, m.flags = 2)
MULTI(multi_pid, m.pid = (u32)getpid())
MULTI(multi_no_pid, m.pid = 0x3fffff)
MULTI(multi_session_type, type = 57)
MULTI(multi_perf_type, type = 41)
MULTI(multi_return, m.flags = 1)
MULTI(multi_return_pid, m.flags = 1; m.pid = (u32)getpid())
MULTI(multi_flags_3, m.flags = 3)
MULTI_OF(57, session_good, (void)m)
MULTI_OF(57, session_return, m.flags = 1)
MULTI_OF(57, session_flags, m.flags = 2)
MULTI_OF(57, session_none, m.count = 0)
MULTI_OF(57, session_as_multi, type = 48)
MULTI_OF(57, session_as_perf, type = 41)
ROW(multi_plain_prog) { struct multi m = {(u64) "/bin/true", (u64)two_offsets, 0, 0, 2, 0, 0}; return multi_with(s, a, &m, s->prog, 48); }

#define R(name_) {#name_, name_}
const struct row oracle_link_rows[] = {
	R(open_plain), R(open_self), R(open_pid), R(open_no_pid), R(open_pid_neg), R(open_nobody), R(open_cpu_999),
	R(open_cpu_neg), R(open_group), R(open_group_closed), R(open_path_null), R(open_path_bad), R(open_path_low),
	R(open_path_none), R(open_path_empty), R(open_path_dir), R(open_path_dev), R(open_path_under),
	R(open_path_long), R(open_far), R(open_offset_neg), R(open_ret), R(open_ref_odd), R(open_size_0),
	R(open_size_8), R(open_size_64), R(open_size_4096), R(open_size_5000), R(open_flag_bad),
	R(open_flag_cloexec), R(open_tail), R(open_null),
	R(set_good), R(set_twice), R(set_taken), R(set_closed), R(set_map), R(set_pipe), R(set_neg), R(ioctl_enable),
	R(ioctl_disable), R(ioctl_reset), R(ioctl_id), R(ioctl_id_bad), R(ioctl_unknown),
	R(link_good), R(link_again), R(link_taken), R(link_no_event), R(link_closed_event), R(link_pipe_event),
	R(link_map_event), R(link_closed_prog), R(link_map_prog), R(link_flags), R(link_type_0), R(link_type_42),
	R(link_type_48), R(link_type_999), R(link_tail),
	R(update_good), R(update_closed), R(update_no_prog), R(update_map), R(update_flags), R(detach_good),
	R(detach_closed), R(detach_pipe),
	R(multi_good), R(multi_no_cookies), R(multi_path_null), R(multi_path_bad), R(multi_path_none),
	R(multi_path_empty), R(multi_path_dir), R(multi_path_long), R(multi_offsets_null), R(multi_offsets_bad),
	R(multi_offsets_far), R(multi_cookies_bad), R(multi_refs_bad), R(multi_none), R(multi_million),
	R(multi_flags), R(multi_pid), R(multi_no_pid), R(multi_session_type), R(multi_perf_type), R(multi_plain_prog),
	R(multi_return), R(multi_return_pid), R(multi_flags_3), R(session_good), R(session_return), R(session_flags),
	R(session_none), R(session_as_multi), R(session_as_perf),
	{NULL, NULL},
};
