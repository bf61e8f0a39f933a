/* SPDX-License-Identifier: MIT */
/* perf_event_open(2) and the ioctls on events: what all kinds share (event.h). */
#include "loader/event.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>
#include "bpf/syscall_desc.h"
#include "loader/event_shared.h"
#include "loader/kernel.h"
#include "loader/kernel_only.h"
#include "loader/probe.h"
#include "loader/say.h"
#include "loader/uprobe_events.h"

#define OPEN_KNOWN                                                                                 \
	(PERF_FLAG_FD_NO_GROUP | PERF_FLAG_FD_OUTPUT | PERF_FLAG_PID_CGROUP | PERF_FLAG_FD_CLOEXEC)
#define READ_FORMAT_KNOWN 0x1fULL
#define MAX_SAMPLE_RATE   100000u     /* kernel.perf_event_max_sample_rate at its default */
#define REGS_ALLOWED      0xff0fffULL /* of x86: without ds, es, fs, gs; and no xmm */

static const struct event_kind *const kinds[] = {
	[EVENT_UPROBE] = &event_uprobe,
	[EVENT_TRACEPOINT] = &event_syscall,
	[EVENT_BPF_OUTPUT] = &event_output,
	[EVENT_SW_CLOCK] = &event_clock,
};

const struct event_kind *event_kind(u32 type)
{
	return type < ARRAY_SIZE(kinds) ? kinds[type] : NULL;
}

/*
 * A copy of the caller's attr: any size a kernel ever had, as long as what is not known here is
 * zero.
 */
static int read_attr(struct perf_event_attr *ret, u64 uattr)
{
	const u32 known = sizeof(*ret);
	u32 size;
	int err;

	if (user_read(&size, uattr + offsetof(struct perf_event_attr, size), sizeof(size)))
		return -EFAULT;
	if (!size)
		size = PERF_ATTR_SIZE_VER0;
	err = size < PERF_ATTR_SIZE_VER0 || size > PAGE_SIZE ? -E2BIG : 0;
	if (!err && size > known)
		err = user_zero(uattr + known, size - known);
	if (err == -E2BIG)
		user_write(uattr + offsetof(struct perf_event_attr, size), &known, sizeof(known));
	if (err)
		return err;
	memset(ret, 0, sizeof(*ret));
	return user_read(ret, uattr, size < known ? size : known);
}

/* The bits after read_format: bitfields to C, one word to everybody else. */
static u64 attr_flags(const struct perf_event_attr *a)
{
	u64 flags;

	memcpy(&flags, (const u8 *)a + offsetof(struct perf_event_attr, read_format) + sizeof(u64),
	       sizeof(flags));
	return flags;
}

static bool regs_ok(u64 mask)
{
	return mask && !(mask & ~REGS_ALLOWED);
}

/* What the kernel's perf_copy_attr() refuses, in its order. */
static int check_attr(const struct perf_event_attr *a)
{
	if (a->__reserved_1 || a->__reserved_2 || a->sample_type >= PERF_SAMPLE_MAX ||
	    (a->read_format & ~READ_FORMAT_KNOWN))
		return -EINVAL;
	if ((a->sample_type & PERF_SAMPLE_BRANCH_STACK) && !(a->branch_sample_type & ~7ULL))
		return -EINVAL;
	if ((a->sample_type & PERF_SAMPLE_REGS_USER) && !regs_ok(a->sample_regs_user))
		return -EINVAL;
	if ((a->sample_type & PERF_SAMPLE_STACK_USER) &&
	    (a->sample_stack_user >= 65535 || a->sample_stack_user % 8))
		return -EINVAL;
	if ((a->sample_type & PERF_SAMPLE_REGS_INTR) && !regs_ok(a->sample_regs_intr))
		return -EINVAL;
	if ((a->sample_type & PERF_SAMPLE_WEIGHT) && (a->sample_type & PERF_SAMPLE_WEIGHT_STRUCT))
		return -EINVAL;
	if ((!a->inherit && a->inherit_thread) || (a->remove_on_exec && a->enable_on_exec) ||
	    (a->sigtrap && !a->remove_on_exec))
		return -EINVAL;
	return a->freq ? (a->sample_freq > MAX_SAMPLE_RATE ? -EINVAL : 0)
		       : (a->sample_period >> 63 ? -EINVAL : 0);
}

/* What is looked at when the event has been made. */
static int check_late(const struct perf_event_attr *a)
{
	if (a->sample_type & PERF_SAMPLE_BRANCH_STACK)
		return -EOPNOTSUPP;
	if (a->aux_output || a->__reserved_3)
		return -EOPNOTSUPP; /* there is no AUX area */
	return a->use_clockid && a->clockid != CLOCK_MONOTONIC &&
			       a->clockid != CLOCK_MONOTONIC_RAW && a->clockid != CLOCK_REALTIME &&
			       a->clockid != CLOCK_BOOTTIME && a->clockid != CLOCK_TAI
		       ? -EINVAL
		       : 0;
}

/* Which process (-1: all; programs run in whole processes) and which processor. */
static int check_scope(s32 pid, s32 cpu, int group, u64 flags, s32 *ret_pid)
{
	struct loader_obj o;

	if ((flags & PERF_FLAG_PID_CGROUP) && (pid == -1 || cpu == -1))
		return -EINVAL;
	if (group != -1 && (loader_fd_any(group, &o) || o.kind != OBJ_EVENT))
		return -EBADF;
	if (flags & PERF_FLAG_PID_CGROUP)
		return -EBADF; /* no cgroup is observed */
	*ret_pid = -1;
	if (pid == 0)
		*ret_pid = (s32)user_pid();
	else if (pid != -1 && probe_process(pid, false, ret_pid))
		return -ESRCH;
	if (pid == -1 && cpu == -1)
		return -EINVAL;
	return cpu < -1 || cpu >= get_nprocs_conf() ? -EINVAL : 0;
}

static void fill_common(struct event_file *e, const struct perf_event_attr *a)
{
	e->sample_period = a->sample_period;
	e->sample_type = a->sample_type;
	e->attr_flags = attr_flags(a);
	e->wakeup = a->wakeup_events;
	e->clockid = a->use_clockid ? a->clockid : -1;
	atomic_store(&e->enabled, !a->disabled);
}

/* Places are for programs: a count of their own would read 0, a ring stay empty. Who says what reads give wants one of the two. */
static int check_counting(u32 type, const struct perf_event_attr *a)
{
	if ((type != EVENT_UPROBE && type != EVENT_TRACEPOINT) || !a->read_format)
		return 0;
	loader_say("limpet: perf counts and samples nothing here: on probes and system calls eBPF programs run. Count with "
		   "bpftrace or funccount, or `limpet list` (hits)\n");
	return -EOPNOTSUPP;
}

/* The event's file, filled: a held descriptor. */
static int make_event(struct store *s, u32 type, const struct perf_event_attr *a, s32 pid, s32 cpu,
		      u32 *ret_id)
{
	struct event_file *e;
	int fd, err = 0;
	u64 size;

	fd = store_new(s, OBJ_EVENT, PAGE_SIZE, ret_id);
	if (fd < 0)
		return fd;
	e = store_map_fd(fd, true, &size, &err);
	if (e) {
		e->perf_type = type;
		e->pid = pid;
		e->cpu = cpu;
		fill_common(e, a);
		err = check_counting(type, a);
		err = err ? err : event_kind(type)->fill(e, a);
		store_head(&e->head, OBJ_EVENT, *ret_id, size);
		munmap(e, size);
	}
	if (!err)
		return store_publish(s, OBJ_EVENT, *ret_id, fd);
	close(fd);
	return err;
}

static long open_event(u32 type, const struct perf_event_attr *uattr, s32 pid, s32 cpu, int group,
		       u64 flags)
{
	struct perf_event_attr attr;
	struct store *s;
	s32 process;
	u32 id;
	int fd, err = 0;

	if (flags & ~(u64)OPEN_KNOWN)
		return -EINVAL;
	err = read_attr(&attr, (u64)uattr);
	if (!err)
		err = check_attr(&attr);
	if (!err)
		err = check_scope(pid, cpu, group, flags, &process);
	if (!err)
		err = check_late(&attr);
	if (err)
		return err;
	s = loader_store(&err);
	if (!s)
		return err;
	fd = make_event(s, type, &attr, process, cpu, &id);
	if (fd >= 0 && user_space && type == EVENT_BPF_OUTPUT)
		fd = event_share(fd, id);
	if (fd >= 0 && !(flags & PERF_FLAG_FD_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
	return loader_fd_add(fd, OBJ_EVENT, id);
}

static bool is_named_uprobe(u64 id)
{
	struct uprobe_event e;
	int err = 0;
	struct store *s = loader_session(&err);

	return s && uprobe_event_by_id(s, id, &e);
}

/*
 * Which kind it is, or -1: the kernel's. Its clock and its own tracepoints are ours in tools only:
 * other programs that are started here may really want to count.
 */
static int kind_of(const struct perf_event_attr *uattr)
{
	struct perf_event_attr a;

	if (user_read(&a, (u64)uattr, PERF_ATTR_SIZE_VER0))
		return -1;
	if (a.type == LOADER_PERF_TYPE)
		return EVENT_UPROBE;
	if (a.type == PERF_TYPE_TRACEPOINT && is_named_uprobe(a.config))
		return EVENT_UPROBE;
	if (a.type == PERF_TYPE_TRACEPOINT &&
	    ((loader_active() && !kernel_on()) || syscall_event_by_id(a.config, &(struct syscall_event){0})))
		return EVENT_TRACEPOINT;
	if (a.type == PERF_TYPE_SOFTWARE && a.config == PERF_COUNT_SW_BPF_OUTPUT)
		return EVENT_BPF_OUTPUT;
	if (a.type == PERF_TYPE_SOFTWARE && a.config == PERF_COUNT_SW_CPU_CLOCK && loader_active())
		return EVENT_SW_CLOCK;
	return -1;
}

/* Others are the kernel's, but a probe of its own would wait for a program that cannot come. */
static long refuse_kprobe(const struct perf_event_attr *uattr)
{
	struct perf_event_attr a;
	long err;

	if (!loader_active() || user_read(&a, (u64)uattr, sizeof(a.type)) ||
	    user_read(&a.kprobe_func, (u64)&uattr->kprobe_func, sizeof(a.kprobe_func)))
		return -LOADER_PASS;
	loader_inside++;
	err = kernel_only_kprobe(a.type, a.kprobe_func);
	loader_inside--;
	return err ? err : -LOADER_PASS;
}

long loader_event_open(const struct perf_event_attr *uattr, s32 pid, s32 cpu, int group, u64 flags)
{
	int kind = kind_of(uattr);
	long ret;

	if (kind < 0 && loader_active() && kernel_on())
		return kernel_event_open(uattr, pid, cpu, group, flags);
	if (kind < 0)
		return refuse_kprobe(uattr);
	loader_inside++;
	ret = open_event((u32)kind, uattr, pid, cpu, group, flags);
	loader_inside--;
	return ret;
}

long event_set_bpf(struct store *s, u32 event, u32 prog)
{
	u32 link;
	int fd = loader_attach(s, LINK_EVENT_BPF, event, prog, 0, &link);

	if (fd < 0)
		return fd;
	close(fd); /* the event keeps it */
	return 0;
}

struct control {
	struct store *s;
	u32 id;
	struct event_file *e;
	const struct event_kind *kind;
	unsigned long arg;
};

static long set_bpf(const struct control *c)
{
	u32 prog;
	int err = loader_fd_object((int)c->arg, OBJ_PROG, &prog);

	return err ? err : c->kind->set_bpf(c->s, c->id, prog);
}

/* To a uprobe this counts its events on and off; its programs run regardless, as with the kernel. */
static long switch_to(const struct control *c, bool on)
{
	atomic_store(&c->e->enabled, on);
	if (c->kind->switched)
		c->kind->switched(c->s, c->id, c->e);
	return 0;
}

static long enable(const struct control *c)
{
	return switch_to(c, true);
}

static long disable(const struct control *c)
{
	return switch_to(c, false);
}

static long refresh(const struct control *c)
{
	if ((c->e->attr_flags & EVENT_ATTR_INHERIT) || !event_samples(c->e))
		return -EINVAL;
	return switch_to(c, true);
}

static long reset(const struct control *c)
{
	return 0;
}

static long give_id(const struct control *c)
{
	const u64 unique = c->id;

	return user_write(c->arg, &unique, sizeof(unique));
}

static long set_period(const struct control *c)
{
	u64 value;

	if (user_read(&value, c->arg, sizeof(value)))
		return -EFAULT;
	if (!event_samples(c->e) || !value ||
	    (c->e->attr_flags & EVENT_ATTR_FREQ ? value > MAX_SAMPLE_RATE : value >> 63))
		return -EINVAL;
	c->e->sample_period = value;
	if (c->kind->switched)
		c->kind->switched(c->s, c->id, c->e);
	return 0;
}

static const struct {
	unsigned long request;
	long (*run)(const struct control *c);
} controls[] = {
	{PERF_EVENT_IOC_SET_BPF, set_bpf},   {PERF_EVENT_IOC_ENABLE, enable},
	{PERF_EVENT_IOC_DISABLE, disable},   {PERF_EVENT_IOC_REFRESH, refresh},
	{PERF_EVENT_IOC_RESET, reset},       {PERF_EVENT_IOC_ID, give_id},
	{PERF_EVENT_IOC_PERIOD, set_period},
};

static long control_event(u32 id, unsigned long request, unsigned long arg)
{
	int err = 0;
	struct store *s = loader_store(&err);
	struct control c = {.s = s, .id = id, .arg = arg};
	long ret = -ENOTTY;
	u64 size;

	if (!s)
		return err;
	c.e = store_map_object(s, OBJ_EVENT, id, &size, &err);
	if (!c.e)
		return err;
	c.kind = event_kind(c.e->perf_type);
	for (size_t i = 0; c.kind && i < ARRAY_SIZE(controls); i++)
		if (controls[i].request == request) {
			ret = controls[i].run(&c);
			goto out;
		}
	if (c.kind && c.kind->ioctl)
		ret = c.kind->ioctl(s, id, c.e, request, arg);
out:
	munmap(c.e, size);
	return ret;
}

/* A program of ours cannot go on an event of the kernel's; say so where it would only answer EINVAL. */
static void say_not_served(int fd, unsigned long arg)
{
	struct store *s;
	int err = 0;
	u32 prog;

	s = loader_session(&err);
	if (s && !loader_fd_object((int)arg, OBJ_PROG, &prog))
		kernel_only_event(s, prog, fd);
}

long loader_event_ioctl(int fd, unsigned long request, unsigned long arg)
{
	long ret = -LOADER_PASS;
	u32 id;

	if (!loader_active())
		return ret;
	loader_inside++;
	if (!loader_fd_object(fd, OBJ_EVENT, &id))
		ret = control_event(id, request, arg);
	else if (request == PERF_EVENT_IOC_SET_BPF && kernel_on())
		ret = kernel_event_set_bpf(fd, (int)arg);
	else if (request == PERF_EVENT_IOC_SET_BPF)
		say_not_served(fd, arg);
	loader_inside--;
	return ret;
}

long loader_event_mmap(u32 id, void *addr, size_t len, int prot, int flags, off_t off)
{
	const struct event_kind *kind;
	struct event_file *e;
	struct store *s;
	int err = 0;
	u64 size;

	s = loader_store(&err);
	e = s ? store_map_object(s, OBJ_EVENT, id, &size, &err) : NULL;
	if (!e)
		return err;
	kind = event_kind(e->perf_type);
	munmap(e, size);
	return kind && kind->map ? kind->map(s, id, addr, len, prot, flags, off) : -ENODEV;
}
