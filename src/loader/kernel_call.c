/* SPDX-License-Identifier: MIT */
/*
 * Commands on what is the kernel's (kernel.h). A program's descriptor becomes its twin's on the way there, and the
 * kernel's number of a program the session's on the way back; what else is in the command is the tool's own: its
 * memory, its control groups and network devices, the kernel's links and events that it has.
 */
#include "loader/kernel.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/sys.h"
#include "bpf/syscall_desc.h"
#include "loader/say.h"
#include "loader/tool_map.h"

#define PINS_NOTHING "limpet: %s cannot be pinned: pins are the session's, and this is in the kernel\n"

/* The kernel's answer, and what it wrote into the command. `field`: a descriptor that is `there` to the kernel. */
static long pass(const struct loader_call *c, union bpf_attr *attr, u32 *field, u32 there)
{
	union attr_more *a = (union attr_more *)attr, before;
	const u32 here = field ? *field : 0;
	const size_t size = c->size < sizeof(*a) ? c->size : sizeof(*a);
	long ret;

	if (field)
		*field = there;
	before = *a;
	ret = kernel_bpf(c->cmd, a);
	if (!memcmp(a, &before, sizeof(*a)))
		return ret;
	if (field)
		*field = here;
	return user_write((u64)c->u, a, size) ? -EFAULT : ret;
}

static long pass_prog(const struct loader_call *c, union bpf_attr *a, u32 *field, u32 prog)
{
	const int twin = kernel_prog_fd(prog);

	return twin < 0 ? twin : pass(c, a, field, (u32)twin);
}

static bool is_kernels(int fd)
{
	struct loader_obj o;

	return loader_fd_any(fd, &o) == -EINVAL;
}

/* A descriptor of the kernel's of this kind ("[perf_event]", "bpf_link")? */
static bool is_named(int fd, const char *kind)
{
	char path[48], name[48] = "", want[48];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(want, sizeof(want), "anon_inode:%s", kind);
	return readlink(path, name, sizeof(name) - 1) > 0 && !strcmp(name, want);
}

static bool is_prog(u32 fd, u32 *ret_id)
{
	return !loader_fd_object((int)fd, OBJ_PROG, ret_id);
}

static long link_create(const struct loader_call *c, union bpf_attr *a)
{
	const u32 type = a->link_create.attach_type;
	u32 prog, event;

	if (!is_prog(a->link_create.prog_fd, &prog))
		return -LOADER_PASS;
	if (type == ATTACH_PERF_EVENT && !loader_fd_object((int)a->link_create.target_fd, OBJ_EVENT, &event))
		return -LOADER_PASS;
	if (type == ATTACH_UPROBE_MULTI || type == ATTACH_UPROBE_SESSION)
		return -LOADER_PASS;
	if (type == ATTACH_PERF_EVENT && !is_named((int)a->link_create.target_fd, "[perf_event]"))
		return -LOADER_PASS; /* nothing to attach to: libraries ask for what there is so */
	if (!kernel_prog_only(prog) && type != ATTACH_PERF_EVENT)
		return -LOADER_PASS;
	return pass_prog(c, a, &a->link_create.prog_fd, prog);
}

static long raw_tracepoint(const struct loader_call *c, union bpf_attr *a)
{
	struct syscall_event call;
	char name[128] = "";
	u32 prog;

	if (!is_prog(a->raw_tracepoint.prog_fd, &prog))
		return -LOADER_PASS;
	if (a->raw_tracepoint.name && user_string(name, a->raw_tracepoint.name, sizeof(name) - 1) < 0)
		return -EFAULT;
	if (!kernel_prog_only(prog) && syscall_event_by_name("raw_syscalls", name, &call))
		return -LOADER_PASS;
	return pass_prog(c, a, &a->raw_tracepoint.prog_fd, prog);
}

static long prog_attach(const struct loader_call *c, union bpf_attr *a)
{
	u32 prog;

	if (c->cmd == BPF_PROG_QUERY)
		return pass(c, a, NULL, 0);
	if (is_prog(a->attach_bpf_fd, &prog) && kernel_prog_only(prog))
		return pass_prog(c, a, &a->attach_bpf_fd, prog);
	return c->cmd == BPF_PROG_DETACH && !a->attach_bpf_fd ? pass(c, a, NULL, 0) : -LOADER_PASS;
}

/* Links that are the kernel's. */
static long link_command(const struct loader_call *c, union bpf_attr *a)
{
	u32 prog;

	if (!is_kernels((int)a->link_update.link_fd)) /* where all three have it */
		return -LOADER_PASS;
	if (c->cmd == BPF_LINK_UPDATE && is_prog(a->link_update.new_prog_fd, &prog))
		return pass_prog(c, a, &a->link_update.new_prog_fd, prog);
	return pass(c, a, NULL, 0);
}

/* Numbers of programs and maps in what the kernel says of a program are the kernel's. */
static long prog_info(const struct loader_call *c, union bpf_attr *a, u32 prog)
{
	const u64 at = a->info.info + offsetof(struct bpf_prog_info, id);
	long ret;

	ret = pass_prog(c, a, &a->info.bpf_fd, prog);
	if (!ret && a->info.info_len >= offsetof(struct bpf_prog_info, tag))
		ret = user_write(at, &prog, sizeof(prog));
	return ret;
}

static long link_info(const struct loader_call *c, union bpf_attr *a)
{
	const u64 at = a->info.info + offsetof(struct bpf_link_info, prog_id);
	u32 prog;
	long ret = pass(c, a, NULL, 0);

	if (ret || a->info.info_len < offsetof(struct bpf_link_info, prog_id) + sizeof(prog) ||
	    user_read(&prog, at, sizeof(prog)))
		return ret;
	prog = kernel_prog_session_id(prog);
	return prog ? user_write(at, &prog, sizeof(prog)) : 0;
}

static long obj_info(const struct loader_call *c, union bpf_attr *a)
{
	u32 prog;

	if (is_kernels((int)a->info.bpf_fd))
		return link_info(c, a);
	if (is_prog(a->info.bpf_fd, &prog) && kernel_prog_only(prog))
		return prog_info(c, a, prog);
	return -LOADER_PASS;
}

static long test_run(const struct loader_call *c, union bpf_attr *a)
{
	u32 prog;
	int where;

	if (!is_prog(a->test.prog_fd, &prog))
		return -LOADER_PASS;
	where = kernel_prog_run_where(prog);
	return where < 0 ? where : where ? pass_prog(c, a, &a->test.prog_fd, prog) : -LOADER_PASS;
}

static long obj_pin(const struct loader_call *c, union bpf_attr *a)
{
	struct loader_obj o;
	const char *what = NULL;
	const int err = loader_fd_any((int)a->bpf_fd, &o);

	if (is_named((int)a->bpf_fd, "bpf_link"))
		what = "a link";
	else if (!err && o.kind == OBJ_PROG && kernel_prog_only(o.id))
		what = "a program";
	else if (!err && o.kind == OBJ_MAP && kernel_map_fd(o.id) >= 0)
		what = "a map";
	if (!what)
		return -LOADER_PASS;
	loader_say(PINS_NOTHING, what);
	return -EOPNOTSUPP;
}

static long task_fd_query(const struct loader_call *c, union bpf_attr *a)
{
	if (a->task_fd_query.pid != user_pid() || !is_kernels((int)a->task_fd_query.fd))
		return -LOADER_PASS;
	return pass(c, a, NULL, 0);
}

/* The session's map, and then its twin: what it says there is the same, or nobody's. */
static long map_freeze(const struct loader_call *c, union bpf_attr *a)
{
	long ret = loader_map_freeze(c, a);
	union attr_more there = {0};
	enum map_at at;
	struct map *m;
	int twin, err = 0;

	m = ret ? NULL : loader_map_by_fd((int)a->map_fd, NULL, &err);
	if (!m)
		return ret;
	at = kernel_map_at(m, &twin);
	if (twin < 0 || at == AT_SESSION) /* what it shares with the kernel is mapped writable, by us */
		return 0;
	there.attr.map_fd = (u32)twin;
	return kernel_bpf(BPF_MAP_FREEZE, &there);
}

static long (*const commands[])(const struct loader_call *c, union bpf_attr *a) = {
	[BPF_LINK_CREATE] = link_create,     [BPF_RAW_TRACEPOINT_OPEN] = raw_tracepoint,
	[BPF_PROG_ATTACH] = prog_attach,     [BPF_PROG_DETACH] = prog_attach,
	[BPF_PROG_QUERY] = prog_attach,      [BPF_LINK_UPDATE] = link_command,
	[BPF_LINK_DETACH] = link_command,    [BPF_ITER_CREATE] = link_command,
	[BPF_OBJ_GET_INFO_BY_FD] = obj_info, [BPF_PROG_TEST_RUN] = test_run,
	[BPF_OBJ_PIN] = obj_pin,             [BPF_TASK_FD_QUERY] = task_fd_query,
	[BPF_MAP_FREEZE] = map_freeze,
};

long kernel_command(const struct loader_call *c, union bpf_attr *a)
{
	return c->cmd < ARRAY_SIZE(commands) && commands[c->cmd] ? commands[c->cmd](c, a) : -LOADER_PASS;
}

long kernel_event_open(const struct perf_event_attr *attr, s32 pid, s32 cpu, int group, u64 flags)
{
	const long ret = sys_call6(__NR_perf_event_open, (long)attr, pid, cpu, group, (long)flags, 0);

	if (ret == -EPERM || ret == -EACCES)
		kernel_say_denied();
	return ret;
}

long kernel_event_set_bpf(int event, int prog_fd)
{
	u32 prog;
	int twin;

	if (!is_named(event, "[perf_event]") || loader_fd_object(prog_fd, OBJ_PROG, &prog))
		return -LOADER_PASS;
	twin = kernel_prog_fd(prog);
	return twin < 0 ? twin : sys_call3(__NR_ioctl, event, (long)PERF_EVENT_IOC_SET_BPF, twin);
}
