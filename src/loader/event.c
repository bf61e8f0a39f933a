/* SPDX-License-Identifier: MIT */
/* perf_event_open(2) for uprobes, and the ioctls on such events. */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "loader/probe.h"

#define OPEN_KNOWN                                                                                 \
	(PERF_FLAG_FD_NO_GROUP | PERF_FLAG_FD_OUTPUT | PERF_FLAG_PID_CGROUP | PERF_FLAG_FD_CLOEXEC)

int probe_process(s32 pid, bool leader, s32 *ret)
{
	char path[64], line[256];
	int err = -ESRCH;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return err;
	while (err && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %d", ret) == 1)
			err = 0;
	fclose(f);
	return !err && leader && *ret != pid ? -ESRCH : err;
}

int probe_place(const struct stat *file, u64 offset, u64 ref_ctr)
{
	return (s64)offset > file->st_size || ref_ctr % sizeof(short) ? -EINVAL : 0;
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

static int fill_event(struct event_file *e, const struct perf_event_attr *a)
{
	char path[PATH_MAX];
	struct stat st;
	long n;

	if (!a->config1)
		return -EINVAL;
	n = user_string(path, a->config1, sizeof(path));
	if (n < 0 || n == PATH_MAX)
		return n < 0 ? (int)n : -E2BIG;
	if (!n)
		return -EINVAL;
	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((size_t)n >= sizeof(e->path))
		return -ENAMETOOLONG;
	e->perf_type = EVENT_UPROBE;
	e->flags = a->config & 1 ? PROBE_F_RETURN : 0;
	e->offset = a->config2;
	e->ref_ctr = a->config >> 32;
	e->sample_period = a->sample_period;
	e->dev_major = major(st.st_dev);
	e->dev_minor = minor(st.st_dev);
	e->ino = st.st_ino;
	e->enabled = !a->disabled;
	strcpy(e->path, path);
	return probe_place(&st, e->offset, e->ref_ctr);
}

/* Which process (-1: all) and, looked at but otherwise ignored, which processor. */
static int check_scope(s32 pid, s32 cpu, int group, s32 *ret_pid)
{
	struct loader_obj o;

	if (pid == -1 && cpu == -1)
		return -EINVAL;
	if (group != -1 && (loader_fd_any(group, &o) || o.kind != OBJ_EVENT))
		return -EBADF;
	*ret_pid = -1;
	if (pid == 0)
		*ret_pid = getpid();
	else if (pid != -1 && probe_process(pid, false, ret_pid))
		return -ESRCH;
	return cpu < -1 || cpu >= get_nprocs_conf() ? -EINVAL : 0;
}

static long open_uprobe(const struct perf_event_attr *uattr, s32 pid, s32 cpu, int group, u64 flags)
{
	struct perf_event_attr attr;
	struct event_file *e;
	struct store *s;
	u64 size;
	s32 process;
	u32 id;
	int fd, err = 0;

	if (flags & ~(u64)OPEN_KNOWN)
		return -EINVAL;
	err = read_attr(&attr, (u64)uattr);
	if (!err && !attr.freq && attr.sample_period >> 63)
		err = -EINVAL;
	if (!err)
		err = check_scope(pid, cpu, group, &process);
	if (err)
		return err;
	s = loader_store(&err);
	if (!s)
		return err;
	fd = store_new(s, OBJ_EVENT, PAGE_SIZE, &id);
	if (fd < 0)
		return fd;
	e = store_map_fd(fd, true, &size, &err);
	if (e) {
		e->pid = process;
		e->cpu = cpu;
		err = fill_event(e, &attr);
		store_head(&e->head, OBJ_EVENT, id, size);
		munmap(e, size);
	}
	if (err) {
		close(fd);
		return err;
	}
	fd = store_publish(s, OBJ_EVENT, id, fd);
	if (fd >= 0 && !(flags & PERF_FLAG_FD_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
	return loader_fd_add(fd, OBJ_EVENT, id);
}

long loader_event_open(const struct perf_event_attr *uattr, s32 pid, s32 cpu, int group, u64 flags)
{
	u32 type;
	long ret;

	if (user_read(&type, (u64)uattr, sizeof(type)) || type != LOADER_PERF_TYPE)
		return -LOADER_PASS;
	loader_inside++;
	ret = open_uprobe(uattr, pid, cpu, group, flags);
	loader_inside--;
	return ret;
}

static long set_bpf(struct store *s, u32 event, int prog_fd)
{
	u32 prog, link;
	int fd, err = loader_fd_object(prog_fd, OBJ_PROG, &prog);

	if (!err)
		err = loader_check_uprobe_prog(s, prog);
	if (!err)
		err = loader_claim_event(s, event, true);
	if (err)
		return err;
	fd = loader_link_add(s, LINK_EVENT_BPF, prog, event, 0, &link);
	if (fd < 0) {
		loader_claim_event(s, event, false);
		return fd;
	}
	close(fd); /* the event keeps it */
	return 0;
}

static long control_event(u32 id, unsigned long request, unsigned long arg)
{
	int err = 0;
	struct store *s = loader_store(&err);
	u64 unique = id;

	if (!s)
		return err;
	switch (request) {
	case PERF_EVENT_IOC_SET_BPF:
		return set_bpf(s, id, (int)arg);
	case PERF_EVENT_IOC_ENABLE:
	case PERF_EVENT_IOC_DISABLE:
	case PERF_EVENT_IOC_RESET:
		return 0; /* they count events on and off; programs run regardless */
	case PERF_EVENT_IOC_ID:
		return user_write(arg, &unique, sizeof(unique));
	default:
		return -ENOTTY;
	}
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
	loader_inside--;
	return ret;
}
