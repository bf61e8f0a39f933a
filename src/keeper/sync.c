/* SPDX-License-Identifier: MIT */
/*
 * What is done to one target: inject, bring in line, detach. Each is one or a few stops; in a stop
 * the agent plans, and the keeper writes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "keeper/internal.h"
#include "session/object.h"

#define SEND_BATCH    64   /* descriptors in flight at a time */
#define DETACH_TRIES  2000 /* times 1 ms and a stop */
#define RETIRE_TRIES  3

/* The objects a target needs: links that concern it, with their programs and maps. */
struct needs {
	struct agent_fd *all;
	size_t count, cap;
	u32 *links;
	size_t link_count, link_cap;
	bool same; /* nothing new, nothing to remove */
};

static int fail_sys(struct target *t, int err, const char *what)
{
	if (t->e->reason)
		return err;
	return keeper_fail(t->e, err == -ESRCH ? KEEPER_NO_PROCESS : KEEPER_SYSTEM, err, "%s: %s", what,
			   strerror(-err));
}

static int open_object(struct keeper *k, u32 kind, u32 id)
{
	static const char *const prefix[] = {"bpf-map", "bpf-prog", "bpf-link"};
	char name[40];
	int fd;

	if (kind == AGENT_FD_SESSION)
		return openat(k->store.dir_fd, "session", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (kind == AGENT_FD_TRACE)
		return openat(k->store.dir_fd, "trace", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	snprintf(name, sizeof(name), "%s.%u", prefix[kind], id);
	fd = openat(k->store.dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return fd;
}

static int need(struct needs *n, u32 kind, u32 id)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->all[i].kind == kind && n->all[i].id == id)
			return 0;
	if (n->count == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 32;
		struct agent_fd *all = realloc(n->all, cap * sizeof(*all));

		if (!all)
			return -ENOMEM;
		n->all = all;
		n->cap = cap;
	}
	n->all[n->count++] = (struct agent_fd){.kind = kind, .id = id, .writable = 1};
	return 0;
}

static int need_maps(struct keeper *k, struct needs *n, u32 prog_id)
{
	struct prog_file head;
	struct stat st;
	u32 *ids;
	int fd = open_object(k, OBJ_PROG, prog_id), err = -EINVAL;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && pread(fd, &head, sizeof(head), 0) == sizeof(head))
		err = object_check_prog(&head, (u64)st.st_size);
	ids = err ? NULL : calloc(head.map_count + 1, sizeof(u32));
	if (ids && pread(fd, ids, head.map_count * sizeof(u32), (off_t)head.map_ids_off) ==
			   (ssize_t)(head.map_count * sizeof(u32)))
		for (u32 i = 0; i < head.map_count && !err; i++)
			err = need(n, OBJ_MAP, ids[i]);
	free(ids);
	close(fd);
	return err ? err : need(n, OBJ_PROG, prog_id);
}

static bool concerns(const struct regions *maps, const struct link_file *l, pid_t pid)
{
	if (!atomic_load(&l->live) || (l->pid >= 0 && l->pid != pid))
		return false;
	for (size_t i = 0; i < maps->count; i++)
		if (maps->all[i].exec && maps->all[i].ino == l->ino &&
		    maps->all[i].dev_major == l->dev_major && maps->all[i].dev_minor == l->dev_minor)
			return true;
	return false;
}

static int add_link(struct needs *n, u32 id)
{
	if (n->link_count == n->link_cap) {
		size_t cap = n->link_cap ? n->link_cap * 2 : 32;
		u32 *p = realloc(n->links, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		n->links = p;
		n->link_cap = cap;
	}
	n->links[n->link_count++] = id;
	return 0;
}

static bool has(const u32 *ids, u64 count, u32 id)
{
	for (u64 i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* Looks through the session's links. `had`: the links that the target has already. */
static int find_needs(struct keeper *k, const struct regions *maps, pid_t pid, const u32 *had,
		      u64 had_count, struct needs *n)
{
	int fd = openat(k->store.dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir)
		return -errno;
	while (!err && (d = readdir(dir))) {
		struct link_file head;
		struct stat st;
		u32 id;
		bool ok;

		if (sscanf(d->d_name, "bpf-link.%u", &id) != 1)
			continue;
		fd = open_object(k, OBJ_LINK, id);
		if (fd < 0)
			continue;
		ok = !fstat(fd, &st) && pread(fd, &head, sizeof(head), 0) == sizeof(head) &&
		     !object_check_link(&head, (u64)st.st_size) && head.head.id == id &&
		     concerns(maps, &head, pid);
		close(fd);
		if (!ok)
			continue;
		err = add_link(n, id);
		if (err || has(had, had_count, id))
			continue;
		if (!need_maps(k, n, head.prog_id)) /* else: gone meanwhile, or damaged */
			err = need(n, OBJ_LINK, id);
	}
	closedir(dir);
	n->same = !n->count && n->link_count == had_count;
	return err;
}

static void free_needs(struct needs *n)
{
	free(n->all);
	free(n->links);
}

static int send_fd(int sock, const struct agent_fd *what, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} c = {0};
	struct iovec iov = {.iov_base = (void *)what, .iov_len = sizeof(*what)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf,
			   .msg_controllen = sizeof(c.buf)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int open_channel(struct target *t, struct agent_request *r)
{
	int pidfd, sock, err;

	*r = (struct agent_request){.command = AGENT_CMD_CHANNEL, .pid = (u32)t->pid};
	err = target_command(t, r);
	if (err)
		return err;
	pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	if (pidfd < 0)
		return -errno;
	sock = (int)syscall(SYS_pidfd_getfd, pidfd, r->channel[1], 0);
	err = -errno;
	close(pidfd);
	return sock < 0 ? err : sock;
}

/* Hands `count` descriptors over. What cannot be opened any more is left out. */
static int send_some(struct keeper *k, struct target *t, const struct agent_fd *all, size_t count)
{
	struct agent_request r;
	int sock = open_channel(t, &r), err = 0, got;

	if (sock < 0 && r.result)
		return sock;
	for (size_t i = 0; i < count && !err && sock >= 0; i++) {
		int fd = open_object(k, all[i].kind, all[i].id);

		if (fd < 0)
			continue;
		err = send_fd(sock, &all[i], fd);
		close(fd);
	}
	r.command = AGENT_CMD_RECV; /* closes the target's ends in any case */
	got = target_command(t, &r);
	if (sock >= 0)
		close(sock);
	return sock < 0 ? sock : err ? err : got;
}

static int send_all(struct keeper *k, struct target *t, const struct needs *n)
{
	int err = 0;

	for (size_t at = 0; at < n->count && !err; at += SEND_BATCH)
		err = send_some(k, t, n->all + at,
				n->count - at < SEND_BATCH ? n->count - at : SEND_BATCH);
	return err;
}

/* Copies an array out of the target. */
static void *fetch(struct target *t, u64 at, u64 count, size_t elem, int *ret_err)
{
	void *p = count > (1u << 24) / elem ? NULL : calloc(count + 1, elem);

	*ret_err = p ? count ? target_read(t, at, p, count * elem) : 0 : -ENOMEM;
	if (!*ret_err)
		return p;
	free(p);
	return NULL;
}

static int scan(struct target *t)
{
	struct agent_region *areas;
	int err = target_read(t, t->header_at, &t->header, sizeof(t->header));

	if (err)
		return err;
	areas = fetch(t, t->header.areas, t->header.area_count, sizeof(*areas), &err);
	if (!areas)
		return err;
	err = target_scan(t, areas, t->header.area_count);
	free(areas);
	return err;
}

/* Puts regions, then busy addresses, then threads into the inbox. */
static int fill_inbox(struct target *t, struct agent_request *r)
{
	size_t size = t->maps.count * sizeof(struct agent_region);
	size_t busy = t->busy_count * sizeof(u64), threads = t->count * sizeof(struct agent_thread);
	struct agent_region *all;
	struct agent_thread *who;
	int err;

	if (size + busy + threads > t->header.inbox_size)
		return -E2BIG;
	all = calloc(1, size + threads + 1);
	if (!all)
		return -ENOMEM;
	who = (struct agent_thread *)(all + t->maps.count);
	for (size_t i = 0; i < t->maps.count; i++) {
		const struct region *m = &t->maps.all[i];

		all[i] = (struct agent_region){
			.start = m->start, .end = m->end, .file_off = m->file_off, .ino = m->ino,
			.dev_major = m->dev_major, .dev_minor = m->dev_minor, .exec = m->exec && m->read,
			.read = m->read};
	}
	r->regions = t->header.inbox;
	r->region_count = t->maps.count;
	r->busy = t->header.inbox + size;
	r->busy_count = t->busy_count;
	err = target_write(t, r->regions, all, size);
	if (!err && busy)
		err = target_write(t, r->busy, t->busy, busy);
	r->threads = r->busy + busy;
	r->thread_count = target_threads(t, who);
	if (!err)
		err = target_write(t, r->threads, who, r->thread_count * sizeof(*who));
	free(all);
	return err;
}

/* Writes what the agent listed: fresh code, then, when all of that is there, the patches. */
static int write_listed(struct target *t, const struct agent_request *r)
{
	struct agent_write *w;
	struct agent_move *m;
	u8 *buf = NULL;
	int err;

	w = fetch(t, r->writes, r->write_count, sizeof(*w), &err);
	m = w ? fetch(t, r->moves, r->move_count, sizeof(*m), &err) : NULL;
	for (u32 patch = 0; patch < 2 && !err; patch++)
		for (u64 i = 0; i < r->write_count && !err; i++) {
			u8 *p;

			if (w[i].patch != patch)
				continue;
			p = realloc(buf, w[i].len + 1);
			if (!p) {
				err = -ENOMEM;
				break;
			}
			buf = p;
			err = target_read(t, w[i].src, buf, w[i].len);
			if (!err)
				err = target_write(t, w[i].dst, buf, w[i].len);
		}
	if (!err)
		err = target_apply_moves(t, m, r->move_count);
	free(buf);
	free(w);
	free(m);
	return err;
}

/* SYNC (or DETACH) and COMMIT in the present stop. ret_in_use: some thread is in limpet's code. */
static int sync_stopped(struct target *t, u32 command, u32 generation, bool *ret_in_use)
{
	struct agent_request r = {.command = command, .generation = generation, .pid = (u32)t->pid};
	int err = scan(t), done;

	if (!err)
		err = proc_read_maps(t->live_tid, &t->maps); /* objects were mapped meanwhile */
	if (!err)
		err = fill_inbox(t, &r);
	if (!err)
		err = target_command(t, &r);
	if (!err)
		err = write_listed(t, &r);
	r.command = AGENT_CMD_COMMIT;
	done = target_command(t, &r);
	*ret_in_use = r.in_use;
	return err ? err : done;
}

static u64 target_vdso(struct target *t)
{
	for (size_t i = 0; i < t->maps.count; i++)
		if (t->maps.all[i].vdso)
			return t->maps.all[i].start;
	return 0;
}

/* True when every thread's thread pointer points to itself, as glibc and musl have it. */
static bool tp_is_thread(struct target *t)
{
	for (size_t i = 0; i < t->count; i++) {
		u64 tp = t->threads[i].regs.fs_base, self = 0;

		if (t->threads[i].stopped &&
		    (!tp || target_read(t, tp, &self, sizeof(self)) || self != tp))
			return false;
	}
	return true;
}

static int init_agent(struct keeper *k, struct target *t)
{
	static const struct agent_fd session[] = {{.kind = AGENT_FD_SESSION},
						  {.kind = AGENT_FD_TRACE, .writable = 1}};
	struct agent_request r = {.command = AGENT_CMD_INIT, .pid = (u32)t->pid,
				  .vdso = target_vdso(t), .tp_is_thread = tp_is_thread(t)};
	int err = target_command(t, &r);

	return err ? err : send_some(k, t, session, 2);
}

/* Unmaps an agent that the keeper mapped. One that ld.so mapped stays, idle. */
static int unmap_image(struct target *t)
{
	const struct region *r = region_at(&t->maps, t->header.text_start);

	if (!r || r->ino)
		return 0;
	return (int)target_syscall(t, SYS_munmap, t->header.text_start,
				   ALIGN_UP(t->header.image_end, PAGE_SIZE) - t->header.text_start, 0,
				   0, 0, 0);
}

static int begin(struct keeper *k, struct target *t, pid_t pid, struct keeper_error *e)
{
	int err = target_stop(t, pid, e);

	if (err)
		return err;
	if (keeper_find(k, &t->maps, t->mem, &t->header_at, &t->header))
		t->header_at = 0;
	return 0;
}

/* Stops once more, a little later, to free what was in use before. Failing is harmless. */
static void retire_later(struct keeper *k, pid_t pid)
{
	for (int i = 0; i < RETIRE_TRIES; i++) {
		struct timespec ms = {.tv_nsec = 1000000L << (2 * i)};
		struct agent_request r = {.command = AGENT_CMD_COMMIT, .pid = (u32)pid, .in_use = 1};
		struct keeper_error e;
		struct target t;

		nanosleep(&ms, NULL);
		if (begin(k, &t, pid, &e))
			return;
		if (!t.header_at || scan(&t) || target_borrow(&t) || fill_inbox(&t, &r) ||
		    target_command(&t, &r))
			r.in_use = 0;
		target_resume(&t);
		if (!r.in_use)
			return;
	}
}

static int do_sync(struct keeper *k, pid_t pid, struct keeper_error *e, bool inject)
{
	u32 generation = atomic_load(&k->store.file->generation);
	struct needs n = {0};
	bool in_use = false, fresh = false;
	struct target t;
	u32 *had = NULL;
	int err = begin(k, &t, pid, e);

	if (err)
		return err;
	if (!t.header_at && !inject)
		err = keeper_fail(e, KEEPER_NOT_TARGET, -ENOENT, "process %d is no target", pid);
	if (!err)
		err = target_borrow(&t);
	if (!err && !t.header_at) {
		fresh = true;
		err = image_inject(&t, k->agent_path ? k->agent_path : "liblimpet-agent.so");
		if (!err)
			err = init_agent(k, &t);
		if (!err)
			err = target_read(&t, t.header_at, &t.header, sizeof(t.header));
	}
	if (!err)
		had = fetch(&t, t.header.links, t.header.link_count, sizeof(u32), &err);
	if (!err)
		err = find_needs(k, &t.maps, pid, had, t.header.link_count, &n);
	if (!err)
		err = send_all(k, &t, &n);
	if (!err)
		err = sync_stopped(&t, AGENT_CMD_SYNC, generation, &in_use);
	if (err && fresh && t.header_at && t.borrowed && t.lead->stopped)
		unmap_image(&t);
	if (err)
		fail_sys(&t, err, "bringing the probes in line");
	target_resume(&t);
	free_needs(&n);
	free(had);
	if (!err && in_use)
		retire_later(k, pid);
	return err;
}

static int detach_once(struct keeper *k, pid_t pid, struct keeper_error *e, bool *ret_in_use)
{
	struct agent_request r = {.command = AGENT_CMD_RELEASE, .pid = (u32)pid};
	struct target t;
	int err = begin(k, &t, pid, e);

	if (err)
		return err;
	if (!t.header_at)
		err = keeper_fail(e, KEEPER_NOT_TARGET, -ENOENT, "process %d is no target", pid);
	if (!err)
		err = target_borrow(&t);
	if (!err)
		err = sync_stopped(&t, AGENT_CMD_DETACH, 0, ret_in_use);
	if (!err && !*ret_in_use) {
		err = target_command(&t, &r);
		if (!err)
			err = unmap_image(&t);
	}
	if (err)
		fail_sys(&t, err, "detaching");
	target_resume(&t);
	return err;
}

static int do_detach(struct keeper *k, pid_t pid, struct keeper_error *e, bool unused)
{
	struct timespec ms = {.tv_nsec = 1000000};

	for (int i = 0; i < DETACH_TRIES; i++) {
		bool in_use = true;
		int err = detach_once(k, pid, e, &in_use);

		if (err || !in_use)
			return err;
		nanosleep(&ms, NULL);
	}
	return keeper_fail(e, KEEPER_BUSY, -EBUSY, "a thread of %d stays in a probe", pid);
}

/* A quick look without stopping: are the target's links those it should have? */
static bool in_line(struct keeper *k, pid_t pid)
{
	struct regions maps = {0};
	struct agent_header h;
	struct needs n = {0};
	struct target t = {.mem = -1};
	pid_t tid = proc_live_tid(pid);
	u32 *had = NULL;
	char path[64];
	bool same = false;
	int err = -1;

	if (!tid || proc_read_maps(tid, &maps))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	t.mem = open(path, O_RDONLY | O_CLOEXEC);
	if (t.mem >= 0 && !keeper_find(k, &maps, t.mem, &t.header_at, &h))
		had = fetch(&t, h.links, h.link_count, sizeof(u32), &err);
	if (had && !find_needs(k, &maps, pid, had, h.link_count, &n))
		same = n.same;
	if (t.mem >= 0)
		close(t.mem);
	free_needs(&n);
	free(had);
	free(maps.all);
	return same;
}

struct work {
	int (*fn)(struct keeper *k, pid_t pid, struct keeper_error *e, bool inject);
	struct keeper *k;
	pid_t pid;
	struct keeper_error *e;
	bool inject;
	int result;
};

static void *run_work(void *arg)
{
	struct work *w = arg;

	w->result = w->fn(w->k, w->pid, w->e, w->inject);
	return NULL;
}

/* On a thread of its own: its end lets go whatever could not be let go otherwise. */
static int on_a_thread(struct work *w)
{
	pthread_t thread;

	memset(w->e, 0, sizeof(*w->e));
	w->e->pid = w->pid;
	if (pthread_create(&thread, NULL, run_work, w))
		return keeper_fail(w->e, KEEPER_SYSTEM, -EAGAIN, "no thread");
	pthread_join(thread, NULL);
	return w->result;
}

int keeper_inject(struct keeper *k, pid_t pid, struct keeper_error *e)
{
	return on_a_thread(&(struct work){.fn = do_sync, .k = k, .pid = pid, .e = e, .inject = true});
}

int keeper_sync(struct keeper *k, pid_t pid, struct keeper_error *e)
{
	if (in_line(k, pid)) {
		*e = (struct keeper_error){.pid = pid};
		return 0;
	}
	return on_a_thread(&(struct work){.fn = do_sync, .k = k, .pid = pid, .e = e});
}

int keeper_detach(struct keeper *k, pid_t pid, struct keeper_error *e)
{
	return on_a_thread(&(struct work){.fn = do_detach, .k = k, .pid = pid, .e = e});
}
