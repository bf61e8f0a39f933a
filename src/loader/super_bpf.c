/* SPDX-License-Identifier: MIT */
/* The supervisor's calls that are about objects: bpf(2), perf events, and descriptors of ours. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/event_shared.h"
#include "loader/perf_array.h"
#include "loader/super_call.h"
#include "loader/tracefs_write.h"

#define LINES_MAX (1u << 20)

static struct super_answer object(long fd, bool cloexec)
{
	return fd < 0 ? answer(fd)
		      : (struct super_answer){
				.how = ANSWER_OBJECT, .value = fd, .cloexec = cloexec};
}

static bool gives_descriptor(u32 cmd)
{
	switch (cmd) {
	case BPF_MAP_CREATE:
	case BPF_PROG_LOAD:
	case BPF_OBJ_GET:
	case BPF_PROG_GET_FD_BY_ID:
	case BPF_MAP_GET_FD_BY_ID:
	case BPF_BTF_GET_FD_BY_ID:
	case BPF_LINK_GET_FD_BY_ID:
	case BPF_RAW_TRACEPOINT_OPEN:
	case BPF_BTF_LOAD:
	case BPF_LINK_CREATE:
	case BPF_ENABLE_STATS:
	case BPF_ITER_CREATE:
		return true;
	default:
		return false;
	}
}

/* Children of the tool that call are tools of their own: keepers wait for their end too. */
static void note_tool(struct super_process *p)
{
	int err = 0;
	struct store *s;

	if (atomic_exchange(&p->is_tool, true))
		return;
	s = loader_active() ? loader_session(&err) : NULL;
	if (s)
		store_tool_add(s, p->pid);
}

struct super_answer super_bpf(const struct super_call *c)
{
	const u64 *a = (const u64 *)c->n->data.args;
	long ret;

	if ((u32)a[0] == SUPER_ASK)
		return answer(SUPER_ANSWER);
	ret = loader_bpf((int)a[0], (union bpf_attr *)a[1], (unsigned int)a[2]);
	note_tool(c->p);
	return gives_descriptor((u32)a[0]) ? object(ret, true) : answer(ret);
}

struct super_answer super_event_open(const struct super_call *c)
{
	const u64 *a = (const u64 *)c->n->data.args;
	const long ret = loader_event_open((const struct perf_event_attr *)a[0], (s32)a[1],
					   (s32)a[2], (int)a[3], a[4]);

	return ret == -LOADER_PASS ? CONTINUE : object(ret, a[4] & PERF_FLAG_FD_CLOEXEC);
}

struct super_answer super_ioctl(const struct super_call *c)
{
	const u64 *a = (const u64 *)c->n->data.args;
	const long ret = loader_event_ioctl((int)a[0], a[1], a[2]);

	return ret == -LOADER_PASS ? CONTINUE : answer(ret);
}

/* For files of tracefs; whatever else has such a number is written by the kernel. */
struct super_answer super_write(const struct super_call *c)
{
	const u64 *a = (const u64 *)c->n->data.args;
	const int fd = atomic_load(&tracefs_write_any) ? user_fd((int)a[0]) : -1;
	char rest[TRACEFS_NAME_MAX];
	char *text;
	long ret;

	if (fd < 0 || !tracefs_write_is(fd, rest))
		return CONTINUE;
	if (a[2] > LINES_MAX)
		return answer(-E2BIG);
	text = malloc(a[2] + 1);
	ret = !text ? -ENOMEM : user_read(text, a[1], a[2]);
	if (!ret)
		ret = tracefs_write(rest, text, a[2]);
	free(text);
	return answer(ret);
}

static bool is_ours(int fd, struct loader_obj *ret)
{
	return loader_active() && !loader_fd_any(fd, ret);
}

/*
 * The mapping is made by the kernel, of the file behind the descriptor, when it is one that may be made: the
 * memory in it lies as the kernel's would (session/layout.h, event_shared.h).
 */
struct super_answer super_mmap(const struct super_call *c)
{
	const u64 *a = (const u64 *)c->n->data.args;
	struct loader_obj o;
	int err;

	if (!is_ours((int)a[4], &o))
		return CONTINUE;
	if (o.kind == OBJ_EVENT)
		err = event_shared_map(o.id, a[1], (int)a[2], (int)a[3], (off_t)a[5]);
	else if (o.kind == OBJ_MAP)
		err = loader_mmap_theirs((int)a[4], a[1], (int)a[2], (int)a[3], (off_t)a[5]);
	else
		err = -ENODEV;
	return err ? answer(err) : CONTINUE;
}

/* Puts a file that is nothing in the descriptor's place: from now on the caller does not have the object. */
static bool take_away(const struct super_call *c, int fd)
{
	const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct seccomp_notif_addfd add = {.id = c->n->id,
					  .flags = SECCOMP_ADDFD_FLAG_SETFD,
					  .srcfd = (u32)null,
					  .newfd = (u32)fd,
					  .newfd_flags = O_CLOEXEC};
	bool taken;

	taken = null >= 0 && sys_call3(SYS_ioctl, c->listener, (long)SECCOMP_IOCTL_NOTIF_ADDFD,
				       (long)&add) == fd;
	if (null >= 0)
		close(null);
	return taken;
}

/*
 * What the descriptor held is released before close() returns, as with the kernel: links stop then. The close itself
 * goes on in the kernel and closes what take_away() put there.
 */
struct super_answer super_close(const struct super_call *c)
{
	const int fd = (int)c->n->data.args[0];
	struct user_space *u = user_space;
	struct loader_obj o;
	int next, err = 0;

	if (fd < super_base() || !is_ours(fd, &o))
		return CONTINUE;
	super_epoll_closed(c->p, fd);
	if (!take_away(c, fd))
		return CONTINUE;
	user_space_end(); /* and so do we not have it */
	user_space = u;
	if (o.kind == OBJ_MAP)
		perf_array_closed(o.id);
	event_shared_sweep();
	store_release(loader_session(&err), o.kind, o.id);
	super_look_again(); /* another call may have had it at this moment */
	next = atomic_load(&c->p->next_fd);
	while (fd < next && !atomic_compare_exchange_weak(&c->p->next_fd, &next, fd))
		;
	return CONTINUE;
}

struct super_answer super_close_range(const struct super_call *c)
{
	super_look_again();
	return CONTINUE;
}

/* A duplicate is to have a number of ours too. */
static struct super_answer duplicate(int fd, bool cloexec, int from)
{
	struct super_answer a;
	struct loader_obj o;

	if (!is_ours(fd, &o))
		return CONTINUE;
	a = object(dup(user_fd(fd)), cloexec);
	a.from = from;
	return a;
}

struct super_answer super_dup(const struct super_call *c)
{
	return duplicate((int)c->n->data.args[0], false, 0);
}

struct super_answer super_fcntl(const struct super_call *c)
{
	const u64 *a = (const u64 *)c->n->data.args;

	if ((int)a[2] < 0)
		return CONTINUE; /* EINVAL */
	return duplicate((int)a[0], a[1] == F_DUPFD_CLOEXEC,
			 (int)a[2] > super_base() ? (int)a[2] : 0);
}

/* Maps are charged as shared memory, not as locked memory: wishes for more are granted unheard (shim.c). */
struct super_answer super_rlimit(const struct super_call *c)
{
	const u64 *a = (const u64 *)c->n->data.args;
	const bool old_call = c->n->data.nr == SYS_setrlimit;
	const u64 from = old_call ? a[1] : a[2], to = old_call ? 0 : a[3];
	const u32 pid = old_call || !a[0] ? c->p->pid : (u32)a[0];
	struct rlimit new, old;
	long err;

	if (!from || pid != c->p->pid)
		return CONTINUE;
	if (user_read(&new, from, sizeof(new)))
		return answer(-EFAULT);
	err = sys_call4(SYS_prlimit64, pid, RLIMIT_MEMLOCK, (long)&new, (long)&old);
	if (err && err != -EPERM)
		return answer(err);
	return answer(to && !err ? user_write(to, &old, sizeof(old)) : 0);
}
