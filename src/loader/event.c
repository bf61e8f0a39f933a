/* SPDX-License-Identifier: MIT */
/* perf_event_open(2) for uprobes, and the ioctls on such events. */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The thread group of a thread: what a uprobe's pid means. */
static int thread_group(s32 pid, s32 *ret)
{
	char path[64], line[256];
	int err = -ESRCH;
	FILE *f;

	if (pid <= 0) {
		*ret = pid ? -1 : getpid();
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return err;
	while (err && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %d", ret) == 1)
			err = 0;
	fclose(f);
	return err;
}

static int fill_event(struct event_file *e, const struct perf_event_attr *a, s32 pid, s32 cpu)
{
	const char *path = (const char *)a->config1;
	struct stat st;
	int err;

	if (!path)
		return -EINVAL;
	if (pid < -1 || (pid == -1 && cpu == -1))
		return -EINVAL;
	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || a->config2 > (u64)st.st_size)
		return -EINVAL;
	err = thread_group(pid, &e->pid);
	if (err)
		return err;
	e->perf_type = EVENT_UPROBE;
	e->cpu = cpu;
	e->flags = a->config & 1 ? PROBE_F_RETURN : 0;
	e->offset = a->config2;
	e->ref_ctr = a->config >> 32;
	e->sample_period = a->sample_period;
	e->dev_major = major(st.st_dev);
	e->dev_minor = minor(st.st_dev);
	e->ino = st.st_ino;
	e->enabled = !a->disabled;
	snprintf(e->path, sizeof(e->path), "%s", path);
	return 0;
}

long loader_event_open(const struct perf_event_attr *attr, s32 pid, s32 cpu, int group, u64 flags)
{
	struct event_file *e;
	struct store *s;
	u64 size;
	u32 id;
	int fd, err = 0;

	if (!attr || attr->type != LOADER_PERF_TYPE)
		return -LOADER_PASS;
	s = loader_store(&err);
	if (!s)
		return err;
	fd = store_new(s, OBJ_EVENT, PAGE_SIZE, &id);
	if (fd < 0)
		return fd;
	e = store_map_fd(fd, true, &size, &err);
	if (e) {
		err = fill_event(e, attr, pid, cpu);
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
	return loader_fd_add(fd, OBJ_EVENT);
}

/* One program an event, as the kernel has it: the second SET_BPF is EEXIST. */
static long set_bpf(struct store *s, struct event_file *e, int prog_fd)
{
	u32 prog, none = 0;
	int fd, err = loader_fd_object(prog_fd, OBJ_PROG, &prog);

	if (err)
		return err;
	if (!__atomic_compare_exchange_n(&e->pad, &none, 1, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return -EEXIST;
	fd = loader_link_add(s, LINK_EVENT_BPF, prog, e->head.id, 0);
	if (fd < 0) {
		__atomic_store_n(&e->pad, 0, __ATOMIC_SEQ_CST);
		return fd;
	}
	close(fd); /* the event keeps it */
	return 0;
}

long loader_event_ioctl(int fd, unsigned long request, unsigned long arg)
{
	struct event_file *e;
	struct store *s;
	int err = 0;
	long ret = 0;
	u64 size;
	u32 id;

	if (!loader_active() || loader_fd_object(fd, OBJ_EVENT, &id))
		return -LOADER_PASS;
	s = loader_store(&err);
	e = store_map_object(s, OBJ_EVENT, id, &size, &err);
	if (!e)
		return err;
	switch (request) {
	case PERF_EVENT_IOC_SET_BPF:
		ret = set_bpf(s, e, (int)arg);
		break;
	case PERF_EVENT_IOC_ENABLE:
		atomic_store(&e->enabled, 1);
		break;
	case PERF_EVENT_IOC_DISABLE:
		atomic_store(&e->enabled, 0);
		break;
	case PERF_EVENT_IOC_ID:
		*(u64 *)arg = id;
		break;
	default:
		ret = -ENOTTY;
	}
	munmap(e, size);
	return ret;
}
