/* SPDX-License-Identifier: MIT */
/* Rows on BPF output events, their rings, clock events and perf event arrays. */
#include "oracle.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)
#define PAGES(n) ((n) * 4096ul)

struct opening {
	struct perf_event_attr a;
	int pid, cpu, group;
	unsigned long flags;
};

static struct opening plain(void)
{
	struct opening o = {.pid = -1, .group = -1, .flags = PERF_FLAG_FD_CLOEXEC};

	o.a = (struct perf_event_attr){.type = PERF_TYPE_SOFTWARE, .size = sizeof(o.a), .config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_period = 1, .sample_type = PERF_SAMPLE_RAW, .wakeup_events = 1};
	return o;
}

static int open_it(struct side *s, struct opening *o)
{
	return (int)s->perf(&o->a, o->pid, o->cpu, o->group, o->flags);
}

static int open_plain(struct side *s, int cpu)
{
	struct opening o = plain();

	o.cpu = cpu;
	return open_it(s, &o);
}

static long opened(struct side *s, int fd)
{
	if (fd < 0)
		return fd;
	s->close(fd);
	return 1;
}

#define OPEN(name_, ...)                                                                           \
	ROW(name_)                                                                                 \
	{                                                                                          \
		struct opening o = plain();                                                        \
		__VA_ARGS__;                                                                       \
		return opened(s, open_it(s, &o));                                                  \
	}

OPEN(output, (void)o)
OPEN(output_no_raw, o.a.sample_type = 0)
OPEN(output_all_known, o.a.sample_type = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD | PERF_SAMPLE_RAW)
OPEN(output_sample_max, o.a.sample_type = 1 << 25)
OPEN(output_branch, o.a.sample_type = PERF_SAMPLE_BRANCH_STACK)
OPEN(output_regs_none, o.a.sample_type = PERF_SAMPLE_REGS_USER)
OPEN(output_regs_ds, o.a.sample_type = PERF_SAMPLE_REGS_USER; o.a.sample_regs_user = 1 << 12)
OPEN(output_stack_odd, o.a.sample_type = PERF_SAMPLE_STACK_USER; o.a.sample_stack_user = 7)
OPEN(output_stack_big, o.a.sample_type = PERF_SAMPLE_STACK_USER; o.a.sample_stack_user = 65535)
OPEN(output_weights, o.a.sample_type = PERF_SAMPLE_WEIGHT | PERF_SAMPLE_WEIGHT_STRUCT)
OPEN(output_read_format, o.a.read_format = 0x1f)
OPEN(output_read_format_32, o.a.read_format = 0x20)
OPEN(output_inherit, o.a.inherit = 1)
OPEN(output_inherit_thread, o.a.inherit_thread = 1)
OPEN(output_remove_on_exec, o.a.remove_on_exec = 1)
OPEN(output_remove_and_enable, o.a.remove_on_exec = 1; o.a.enable_on_exec = 1)
OPEN(output_sigtrap, o.a.sigtrap = 1)
OPEN(output_aux, o.a.aux_output = 1)
OPEN(output_reserved_1, o.a.__reserved_1 = 1)
OPEN(output_reserved_2, o.a.__reserved_2 = 1)
OPEN(output_reserved_3, o.a.__reserved_3 = 1)
OPEN(output_backward, o.a.write_backward = 1)
OPEN(output_watermark, o.a.watermark = 1; o.a.wakeup_watermark = 0)
OPEN(output_period_0, o.a.sample_period = 0)
OPEN(output_period_neg, o.a.sample_period = 1ULL << 63)
OPEN(output_freq, o.a.freq = 1; o.a.sample_freq = 99)
OPEN(output_freq_big, o.a.freq = 1; o.a.sample_freq = 1 << 30)
OPEN(output_self, o.pid = 0; o.cpu = -1)
OPEN(output_self_cpu, o.pid = 0)
OPEN(output_nobody, o.cpu = -1)
OPEN(output_cpu_2000, o.cpu = 2000)
OPEN(output_cpu_neg, o.cpu = -2)
OPEN(output_pid_none, o.pid = 0x3fffff)
OPEN(output_pid_neg, o.pid = -2)
OPEN(output_group_pipe, o.group = s->pipe)
OPEN(output_flag_bad, o.flags = 1 << 20)
OPEN(output_cgroup, o.flags = PERF_FLAG_PID_CGROUP)
OPEN(output_clock_mono, o.a.use_clockid = 1; o.a.clockid = 1)
OPEN(output_clock_boot, o.a.use_clockid = 1; o.a.clockid = 7)
OPEN(output_clock_cpu, o.a.use_clockid = 1; o.a.clockid = 2)
OPEN(output_size_0, o.a.size = 0)
OPEN(output_size_60, o.a.size = 60)
OPEN(clock_period, o.a.config = PERF_COUNT_SW_CPU_CLOCK)
OPEN(clock_period_0, o.a.config = PERF_COUNT_SW_CPU_CLOCK; o.a.sample_period = 0)

static long map_it(struct side *s, int fd, u64 size, int prot, int flags, long off)
{
	void *p = s->mmap(fd, size, prot, flags, off);

	if ((long)p < 0 && (long)p > -4096)
		return (long)p;
	return s->munmap(p, size);
}

#define MAP(name_, size_, prot_, flags_, off_)                                                     \
	ROW(name_)                                                                                 \
	{                                                                                          \
		int fd = open_plain(s, 0);                                                         \
		long ret = map_it(s, fd, size_, prot_, flags_, off_);                              \
		s->close(fd);                                                                      \
		return ret;                                                                        \
	}

MAP(ring_1, PAGES(1), 3, MAP_SHARED, 0)
MAP(ring_2, PAGES(2), 3, MAP_SHARED, 0)
MAP(ring_3, PAGES(3), 3, MAP_SHARED, 0)
MAP(ring_4, PAGES(4), 3, MAP_SHARED, 0)
MAP(ring_65, PAGES(65), 3, MAP_SHARED, 0)
MAP(ring_part, PAGES(5) + 1, 3, MAP_SHARED, 0)
MAP(ring_part_of_page, PAGES(4) + 1, 3, MAP_SHARED, 0)
MAP(ring_readonly, PAGES(5), 1, MAP_SHARED, 0)
MAP(ring_writeonly, PAGES(5), 2, MAP_SHARED, 0)
MAP(ring_none, PAGES(5), 0, MAP_SHARED, 0)
MAP(ring_private, PAGES(5), 3, MAP_PRIVATE, 0)
MAP(ring_exec, PAGES(5), 7, MAP_SHARED, 0)
MAP(ring_validate, PAGES(5), 3, MAP_SHARED_VALIDATE, 0)
MAP(ring_aux, PAGES(1), 3, MAP_SHARED, 4096)

struct ring {
	int fd;
	u8 *p;
};

static struct ring ring(struct side *s, u64 pages)
{
	struct ring r = {.fd = open_plain(s, 0)};

	r.p = s->mmap(r.fd, PAGES(pages), 3, MAP_SHARED, 0);
	return r;
}

static long end_ring(struct side *s, struct ring *r, u64 pages, long ret)
{
	oracle_out(s, &(int){(int)s->munmap(r->p, PAGES(pages))}, sizeof(int));
	s->close(r->fd);
	return ret;
}

#define RING(name_, ...)                                                                           \
	ROW(name_)                                                                                 \
	{                                                                                          \
		struct ring r = ring(s, 9);                                                        \
		long ret;                                                                          \
		__VA_ARGS__;                                                                       \
		return end_ring(s, &r, 9, ret);                                                    \
	}

RING(ring_again, ret = map_it(s, r.fd, PAGES(9), 3, MAP_SHARED, 0))
RING(ring_again_readonly, ret = map_it(s, r.fd, PAGES(9), 1, MAP_SHARED, 0))
RING(ring_again_smaller, ret = map_it(s, r.fd, PAGES(5), 3, MAP_SHARED, 0))
RING(ring_unmap_part, ret = s->munmap(r.p + 4096, 4096))
RING(ring_page, oracle_out(s, r.p, 8); oracle_out(s, r.p + 72, 8); oracle_out(s, r.p + 1024, 32); ret = 0)
RING(ring_other_size_later, s->munmap(r.p, PAGES(9)); r.p = s->mmap(r.fd, PAGES(5), 3, MAP_SHARED, 0); ret = s->munmap(r.p, PAGES(5)); r.p = s->mmap(r.fd, PAGES(9), 3, MAP_SHARED, 0))
RING(ring_seen_twice, u8 *q = s->mmap(r.fd, PAGES(9), 3, MAP_SHARED, 0); r.p[1032] = 7; oracle_out(s, q + 1032, 1); ret = s->munmap(q, PAGES(9)))

#define CONTROL(name_, request_, arg_)                                                             \
	ROW(name_)                                                                                 \
	{                                                                                          \
		int fd = open_plain(s, 0);                                                         \
		u64 v = 5;                                                                         \
		long ret = s->ioctl(fd, request_, (unsigned long)(arg_));                          \
		(void)v;                                                                           \
		s->close(fd);                                                                      \
		return ret;                                                                        \
	}

CONTROL(do_enable, PERF_EVENT_IOC_ENABLE, 0)
CONTROL(do_enable_group, PERF_EVENT_IOC_ENABLE, PERF_IOC_FLAG_GROUP)
CONTROL(do_disable, PERF_EVENT_IOC_DISABLE, 0)
CONTROL(do_refresh, PERF_EVENT_IOC_REFRESH, 1)
CONTROL(do_reset, PERF_EVENT_IOC_RESET, 0)
CONTROL(do_period, PERF_EVENT_IOC_PERIOD, &v)
CONTROL(do_period_0, PERF_EVENT_IOC_PERIOD, room)
CONTROL(do_period_bad, PERF_EVENT_IOC_PERIOD, bad_page)
CONTROL(do_id_bad, PERF_EVENT_IOC_ID, bad_page)
CONTROL(do_output_self, PERF_EVENT_IOC_SET_OUTPUT, fd)
CONTROL(do_output_none, PERF_EVENT_IOC_SET_OUTPUT, -1)
CONTROL(do_output_pipe, PERF_EVENT_IOC_SET_OUTPUT, s->pipe)
CONTROL(do_output_closed, PERF_EVENT_IOC_SET_OUTPUT, s->closed)
CONTROL(do_output_uprobe, PERF_EVENT_IOC_SET_OUTPUT, s->event)
CONTROL(do_pause_no_ring, PERF_EVENT_IOC_PAUSE_OUTPUT, 1)
CONTROL(do_bpf_kprobe, PERF_EVENT_IOC_SET_BPF, s->prog)
CONTROL(do_bpf_closed, PERF_EVENT_IOC_SET_BPF, s->closed)
CONTROL(do_bpf_map, PERF_EVENT_IOC_SET_BPF, s->array)
CONTROL(do_bogus, _IO('$', 99), 0)

RING(pause_ring, ret = s->ioctl(r.fd, PERF_EVENT_IOC_PAUSE_OUTPUT, 1))
RING(output_to_other_mapped, int fd = open_plain(s, 0); ret = s->ioctl(r.fd, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)fd); s->close(fd))
RING(output_from_other, int fd = open_plain(s, 0); ret = s->ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)r.fd); s->close(fd))
RING(output_twice, int fd = open_plain(s, 0); s->ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)r.fd); ret = s->ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)r.fd); s->close(fd))
RING(output_other_backward, struct opening o = plain(); o.a.write_backward = 1; int fd = open_it(s, &o); ret = s->ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)r.fd); s->close(fd))
RING(output_other_task, struct opening o = plain(); o.pid = 0; o.cpu = -1; int fd = open_it(s, &o); ret = s->ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)r.fd); s->close(fd))
RING(output_shared_mapped_too, int fd = open_plain(s, 0); s->ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)r.fd); ret = map_it(s, fd, PAGES(9), 3, MAP_SHARED, 0); s->close(fd))
RING(output_shared_other_size, int fd = open_plain(s, 0); s->ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)r.fd); ret = map_it(s, fd, PAGES(5), 3, MAP_SHARED, 0); s->close(fd))

static int perf_prog(struct side *s)
{
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_PERF_EVENT, .insn_cnt = 2};

	a.insns = (u64)oracle_insns;
	a.license = (u64) "GPL";
	return (int)s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

#define PROG(name_, config_, ...)                                                                  \
	ROW(name_)                                                                                 \
	{                                                                                          \
		struct opening o = plain();                                                        \
		int prog = perf_prog(s), fd;                                                       \
		long ret;                                                                          \
		o.a.config = config_;                                                              \
		o.a.sample_period = 1000000000;                                                    \
		fd = open_it(s, &o);                                                               \
		__VA_ARGS__;                                                                       \
		s->close(fd);                                                                      \
		s->close(prog);                                                                    \
		return ret;                                                                        \
	}
#define SET(prog_) s->ioctl(fd, PERF_EVENT_IOC_SET_BPF, (unsigned long)(prog_))

PROG(prog_on_clock, PERF_COUNT_SW_CPU_CLOCK, ret = SET(prog))
PROG(prog_on_clock_twice, PERF_COUNT_SW_CPU_CLOCK, SET(prog); ret = SET(prog))
PROG(prog_on_clock_kprobe, PERF_COUNT_SW_CPU_CLOCK, ret = SET(s->prog))
PROG(prog_on_clock_kprobe_second, PERF_COUNT_SW_CPU_CLOCK, SET(prog); ret = SET(s->prog))
PROG(prog_on_output, PERF_COUNT_SW_BPF_OUTPUT, ret = SET(prog))

#define CREATE(name_, ...)                                                                         \
	ROW(name_)                                                                                 \
	{                                                                                          \
		*a = (union bpf_attr){.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 2}; \
		__VA_ARGS__;                                                                       \
		return opened(s, (int)s->bpf(BPF_MAP_CREATE, a, sizeof(*a)));                      \
	}

CREATE(array_plain, (void)a)
CREATE(array_key_8, a->key_size = 8)
CREATE(array_value_8, a->value_size = 8)
CREATE(array_empty, a->max_entries = 0)
CREATE(array_prealloc, a->map_flags = BPF_F_NO_PREALLOC)
CREATE(array_lru, a->map_flags = BPF_F_NO_COMMON_LRU)
CREATE(array_numa, a->map_flags = BPF_F_NUMA_NODE)
CREATE(array_rdonly, a->map_flags = BPF_F_RDONLY)
CREATE(array_wronly, a->map_flags = BPF_F_WRONLY)
CREATE(array_rdonly_prog, a->map_flags = BPF_F_RDONLY_PROG)
CREATE(array_wronly_prog, a->map_flags = BPF_F_WRONLY_PROG)
CREATE(array_mmapable, a->map_flags = BPF_F_MMAPABLE)
CREATE(array_preserve, a->map_flags = BPF_F_PRESERVE_ELEMS)
CREATE(array_inner, a->map_flags = BPF_F_INNER_MAP)
CREATE(array_extra, a->map_extra = 1)

static int make_array(struct side *s, u32 flags)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 2, .map_flags = flags};

	return (int)s->bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

static long elem(struct side *s, int cmd, int map, u32 key, int value, u64 flags)
{
	union bpf_attr a = {.map_fd = (u32)map};

	a.key = (u64)&key;
	if (cmd != BPF_MAP_DELETE_ELEM)
		a.value = (u64)&value;
	a.flags = flags;
	return s->bpf(cmd, &a, cmd == BPF_MAP_DELETE_ELEM ? ATTR(&a, key) : ATTR(&a, flags));
}

static long update(struct side *s, int map, u32 key, int value)
{
	return elem(s, BPF_MAP_UPDATE_ELEM, map, key, value, 0);
}

#define ELEM(name_, ...)                                                                           \
	ROW(name_)                                                                                 \
	{                                                                                          \
		int map = make_array(s, 0), event = open_plain(s, 0);                              \
		long ret;                                                                          \
		__VA_ARGS__;                                                                       \
		s->close(event);                                                                   \
		s->close(map);                                                                     \
		return ret;                                                                        \
	}

ELEM(elem_set, ret = update(s, map, 0, event))
ELEM(elem_set_again, update(s, map, 0, event); ret = update(s, map, 0, event))
ELEM(elem_noexist, ret = elem(s, BPF_MAP_UPDATE_ELEM, map, 0, event, BPF_NOEXIST))
ELEM(elem_exist, ret = elem(s, BPF_MAP_UPDATE_ELEM, map, 0, event, BPF_EXIST))
ELEM(elem_lock, ret = elem(s, BPF_MAP_UPDATE_ELEM, map, 0, event, BPF_F_LOCK))
ELEM(elem_far, ret = update(s, map, 2, event))
ELEM(elem_far_closed, ret = update(s, map, 2, s->closed))
ELEM(elem_closed, ret = update(s, map, 0, s->closed))
ELEM(elem_pipe, ret = update(s, map, 0, s->pipe))
ELEM(elem_map, ret = update(s, map, 0, map))
ELEM(elem_prog, ret = update(s, map, 0, s->prog))
ELEM(elem_uprobe, ret = update(s, map, 0, s->event))
ELEM(elem_closed_event_replaces, update(s, map, 0, event); update(s, map, 0, s->closed); ret = elem(s, BPF_MAP_DELETE_ELEM, map, 0, 0, 0))
ELEM(elem_lookup, ret = elem(s, BPF_MAP_LOOKUP_ELEM, map, 0, 0, 0))
ELEM(elem_lookup_far, ret = elem(s, BPF_MAP_LOOKUP_ELEM, map, 7, 0, 0))
ELEM(elem_take, ret = elem(s, BPF_MAP_LOOKUP_AND_DELETE_ELEM, map, 0, 0, 0))
ELEM(elem_delete, update(s, map, 0, event); ret = elem(s, BPF_MAP_DELETE_ELEM, map, 0, 0, 0))
ELEM(elem_delete_twice, update(s, map, 0, event); elem(s, BPF_MAP_DELETE_ELEM, map, 0, 0, 0); ret = elem(s, BPF_MAP_DELETE_ELEM, map, 0, 0, 0))
ELEM(elem_delete_far, ret = elem(s, BPF_MAP_DELETE_ELEM, map, 9, 0, 0))
ELEM(elem_next, a->map_fd = (u32)map; a->next_key = (u64)room; ret = s->bpf(BPF_MAP_GET_NEXT_KEY, a, ATTR(a, next_key)); oracle_out(s, room, 4))
ELEM(elem_next_end, room[0] = 1; a->map_fd = (u32)map; a->key = (u64)room; a->next_key = (u64)room + 8; ret = s->bpf(BPF_MAP_GET_NEXT_KEY, a, ATTR(a, next_key)))
ELEM(elem_key_bad, a->map_fd = (u32)map; a->key = bad_page; a->value = (u64)room; ret = s->bpf(BPF_MAP_UPDATE_ELEM, a, ATTR(a, flags)))
ELEM(elem_value_bad, a->map_fd = (u32)map; a->key = (u64)room; a->value = bad_page; ret = s->bpf(BPF_MAP_UPDATE_ELEM, a, ATTR(a, flags)))
ELEM(elem_frozen, a->map_fd = (u32)map; s->bpf(BPF_MAP_FREEZE, a, ATTR(a, map_fd)); ret = update(s, map, 0, event))
ELEM(elem_mapped, ret = map_it(s, map, 4096, 3, MAP_SHARED, 0))
ELEM(elem_after_event_closed, update(s, map, 0, event); s->close(event); event = open_plain(s, 0); ret = elem(s, BPF_MAP_DELETE_ELEM, map, 0, 0, 0))

ROW(elem_inherit)
{
	struct opening o = plain();
	int map = make_array(s, 0), fd;
	long ret;

	o.a.inherit = 1;
	fd = open_it(s, &o);
	ret = update(s, map, 0, fd);
	s->close(fd);
	s->close(map);
	return ret;
}

/* An entry goes with the open file through which it was set, or stays with PRESERVE_ELEMS. */
static long set_elsewhere(struct side *s, u32 flags, bool same)
{
	int map = make_array(s, flags), event = open_plain(s, 0), other;
	union bpf_attr a = {0}, info_attr = {0};
	struct bpf_map_info info = {0};
	long ret;

	info_attr.info.bpf_fd = (u32)map;
	info_attr.info.info_len = sizeof(info);
	info_attr.info.info = (u64)&info;
	s->bpf(BPF_OBJ_GET_INFO_BY_FD, &info_attr, sizeof(info_attr));
	a.map_id = info.id;
	other = (int)s->bpf(BPF_MAP_GET_FD_BY_ID, &a, sizeof(a));
	if (other < 0)
		return other;
	update(s, same ? map : other, 0, event);
	s->close(other);
	s->settle();
	ret = elem(s, BPF_MAP_DELETE_ELEM, map, 0, 0, 0);
	s->close(event);
	s->close(map);
	return ret;
}

ROW(elem_goes_with_its_file) { return set_elsewhere(s, 0, false); }
ROW(elem_stays_with_its_file) { return set_elsewhere(s, 0, true); }
ROW(elem_preserved) { return set_elsewhere(s, BPF_F_PRESERVE_ELEMS, false); }

#define R(name_) {#name_, name_}

const struct row oracle_perf_rows[] = {
	R(output), R(output_no_raw), R(output_all_known), R(output_sample_max), R(output_branch), R(output_regs_none),
	R(output_regs_ds), R(output_stack_odd), R(output_stack_big), R(output_weights), R(output_read_format),
	R(output_read_format_32), R(output_inherit), R(output_inherit_thread), R(output_remove_on_exec),
	R(output_remove_and_enable), R(output_sigtrap), R(output_aux), R(output_reserved_1), R(output_reserved_2),
	R(output_reserved_3), R(output_backward), R(output_watermark), R(output_period_0), R(output_period_neg),
	R(output_freq), R(output_freq_big), R(output_self), R(output_self_cpu), R(output_nobody), R(output_cpu_2000),
	R(output_cpu_neg), R(output_pid_none), R(output_pid_neg), R(output_group_pipe), R(output_flag_bad),
	R(output_cgroup), R(output_clock_mono), R(output_clock_boot), R(output_clock_cpu), R(output_size_0),
	R(output_size_60), R(clock_period), R(clock_period_0),
	R(ring_1), R(ring_2), R(ring_3), R(ring_4), R(ring_65), R(ring_part), R(ring_part_of_page), R(ring_readonly),
	R(ring_writeonly), R(ring_none), R(ring_private), R(ring_exec), R(ring_validate), R(ring_aux), R(ring_again),
	R(ring_again_readonly), R(ring_again_smaller), R(ring_unmap_part), R(ring_page), R(ring_other_size_later),
	R(ring_seen_twice),
	R(do_enable), R(do_enable_group), R(do_disable), R(do_refresh), R(do_reset), R(do_period), R(do_period_0),
	R(do_period_bad), R(do_id_bad), R(do_output_self), R(do_output_none), R(do_output_pipe), R(do_output_closed),
	R(do_output_uprobe), R(do_pause_no_ring), R(do_bpf_kprobe), R(do_bpf_closed), R(do_bpf_map), R(do_bogus),
	R(pause_ring), R(output_to_other_mapped), R(output_from_other), R(output_twice), R(output_other_backward),
	R(output_other_task), R(output_shared_mapped_too), R(output_shared_other_size),
	R(prog_on_clock), R(prog_on_clock_twice), R(prog_on_clock_kprobe), R(prog_on_clock_kprobe_second), R(prog_on_output),
	R(array_plain), R(array_key_8), R(array_value_8), R(array_empty), R(array_prealloc), R(array_lru), R(array_numa),
	R(array_rdonly), R(array_wronly), R(array_rdonly_prog), R(array_wronly_prog), R(array_mmapable), R(array_preserve),
	R(array_inner), R(array_extra),
	R(elem_set), R(elem_set_again), R(elem_noexist), R(elem_exist), R(elem_lock), R(elem_far), R(elem_far_closed),
	R(elem_closed), R(elem_pipe), R(elem_map), R(elem_prog), R(elem_uprobe), R(elem_closed_event_replaces),
	R(elem_lookup), R(elem_lookup_far), R(elem_take), R(elem_delete), R(elem_delete_twice), R(elem_delete_far),
	R(elem_next), R(elem_next_end), R(elem_key_bad), R(elem_value_bad), R(elem_frozen), R(elem_mapped),
	R(elem_after_event_closed), R(elem_inherit), R(elem_goes_with_its_file), R(elem_stays_with_its_file),
	R(elem_preserved), {0}
};
