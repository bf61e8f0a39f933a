/* SPDX-License-Identifier: MIT */
/*
 * What is done to one target: inject, bring in line, detach. Each is one or a few stops; in a stop
 * the agent plans, and the keeper writes.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "keeper/internal.h"

#define RETIRE_TRIES 3
#define PATIENCE     150 /* attempts that a command makes, about 3 s */
#define LATER_TRIES  4   /* 1 ms and more apart */
#define ROUNDS       4   /* of SYNC and COMMIT in one stop (agent_header.again) */

int sync_fail(struct target *t, int err, const char *what)
{
	if (t->e->reason)
		return err;
	return keeper_fail(t->e, err == -ESRCH ? KEEPER_NO_PROCESS : KEEPER_SYSTEM, err, "%s: %s",
			   what, strerror(-err));
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
static int fill_inbox(struct target *t, struct agent_request *r, const struct needs *n)
{
	size_t size = t->maps.count * sizeof(struct agent_region);
	size_t busy = t->busy_count * sizeof(u64), threads = t->count * sizeof(struct agent_thread);
	size_t files = n && n->file_count <= AGENT_FILES_MAX ? n->file_count * sizeof(struct agent_file) : 0;
	struct agent_region *all;
	struct agent_thread *who;
	int err;

	if (size + busy + threads + files > t->header.inbox_size)
		return -E2BIG;
	all = calloc(1, size + threads + 1);
	if (!all)
		return -ENOMEM;
	who = (struct agent_thread *)(all + t->maps.count);
	for (size_t i = 0; i < t->maps.count; i++) {
		const struct region *m = &t->maps.all[i];

		all[i] = (struct agent_region){.start = m->start,
					       .end = m->end,
					       .file_off = m->file_off,
					       .ino = m->ino,
					       .dev_major = m->dev_major,
					       .dev_minor = m->dev_minor,
					       .exec = m->exec && m->read,
					       .read = m->read,
					       .private_write = m->write && m->private,
					       .stack = m->stack};
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
	r->files = r->threads + threads;
	r->file_count = n ? n->file_count : 0;
	r->view = n ? n->view : 0;
	if (!err && files)
		err = target_write(t, r->files, n->files, files);
	free(all);
	return err;
}

/* The five bytes at a probed address, unless something else lies there now (dlclose). */
static int write_patch(struct target *t, const struct agent_write *w, const u8 *bytes)
{
	u8 now[sizeof(w->old)];

	if (w->len > sizeof(now) || target_read(t, w->dst, now, w->len) ||
	    memcmp(now, w->old, w->len))
		return 0;
	if (w->dst / PAGE_SIZE != (w->dst + w->len - 1) / PAGE_SIZE) {
		/*
		 * On two pages: makes both private first, so that the two halves come right
		 * together.
		 */
		target_write(t, w->dst, now, 1);
		target_write(t, w->dst + w->len - 1, now + w->len - 1, 1);
	}
	return target_write(t, w->dst, bytes, w->len);
}

static int write_one(struct target *t, const struct agent_write *w)
{
	u8 *bytes = malloc(w->len + 1);
	int err = bytes ? target_read(t, w->src, bytes, w->len) : -ENOMEM;

	if (!err)
		err = w->patch ? write_patch(t, w, bytes) : target_write(t, w->dst, bytes, w->len);
	free(bytes);
	return err;
}

/*
 * Writes what the agent lists: fresh code; then, when all of that is there, threads inside windows
 * are moved to it; then the patches. Can be done again from the start at any point.
 */
static int write_listed(struct target *t)
{
	const struct agent_header *h = &t->header;
	struct agent_write *w;
	struct agent_move *m;
	int err;

	w = fetch(t, h->writes, h->write_count, sizeof(*w), &err);
	m = w ? fetch(t, h->moves, h->move_count, sizeof(*m), &err) : NULL;
	for (u64 i = 0; i < h->write_count && !err; i++)
		err = w[i].patch ? 0 : write_one(t, &w[i]);
	if (!err)
		err = target_apply_moves(t, m, h->move_count);
	for (u64 i = 0; i < h->write_count && !err; i++)
		err = w[i].patch ? write_one(t, &w[i]) : 0;
	free(w);
	free(m);
	return err;
}

/* Everything listed is written and retired. ret_in_use: some thread is in limpet's code. */
static int finish(struct target *t, struct agent_request *r, bool *ret_in_use)
{
	int err = target_read(t, t->header_at, &t->header, sizeof(t->header));

	if (!err)
		err = write_listed(t);
	if (err)
		return err;
	r->command = AGENT_CMD_COMMIT;
	err = target_command(t, r);
	*ret_in_use = r->in_use;
	/* What nobody uses is gone now: who goes on in this stop must not think that it is there. */
	return err ? err : target_read(t, t->header_at, &t->header, sizeof(t->header));
}

/* A keeper died between SYNC and COMMIT: what it was at is done first. */
int sync_finish_pending(struct target *t)
{
	struct agent_request r = {.pid = (u32)t->pid};
	bool in_use;
	int err;

	if (!t->header.write_count && !t->header.move_count)
		return 0;
	err = scan(t);
	if (!err)
		err = fill_inbox(t, &r, NULL);
	return err ? err : finish(t, &r, &in_use);
}

/* SYNC, or without needs DETACH, and COMMIT in the present stop. */
int sync_stopped(struct target *t, const struct needs *n, u32 generation, bool all, bool *ret_in_use)
{
	struct agent_request r = {.command = n ? AGENT_CMD_SYNC : AGENT_CMD_DETACH,
				  .in_use = all,
				  .generation = generation,
				  .pid = (u32)t->pid,
				  .denied = target_denied(t, false)};
	int cgroups = store_cgroups(t->live_tid, r.cgroup, HELPER_CGROUPS), err = scan(t);

	r.cgroup_count = cgroups > 0 ? (u32)cgroups : 0;

	if (!err)
		err = proc_read_maps(t->live_tid, &t->maps); /* objects were mapped meanwhile */
	if (!err)
		err = fill_inbox(t, &r, n);
	if (!err)
		err = target_command(t, &r);
	return err ? err : finish(t, &r, ret_in_use);
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

static int init_agent(struct keeper *k, struct target *t, const struct image *image, bool follows)
{
	static const struct agent_fd session[] = {{.kind = AGENT_FD_SESSION},
						  {.kind = AGENT_FD_TRACE, .writable = 1}};
	struct agent_request r = {.command = AGENT_CMD_INIT,
				  .pid = (u32)t->pid,
				  .vdso = target_vdso(t),
				  .tp_is_thread = tp_is_thread(t),
				  .phdr = proc_aux(t->live_tid, AT_PHDR),
				  .phdr_count = (u32)proc_aux(t->live_tid, AT_PHNUM),
				  .denied = target_denied(t, true),
				  .follows = follows};
	int err = image_protections(t, image, &r);

	if (!err)
		err = target_first_command(t, &r);
	return err ? err : objects_send(k, t, session, 2);
}

/* Unmaps an agent that a keeper mapped. */
int sync_unmap_image(struct target *t)
{
	u64 start = t->header.text_start, end = ALIGN_UP(t->header.image_end, PAGE_SIZE);
	int err = target_move_out(t);

	if (!err)
		err = (int)target_syscall(t, SYS_munmap, start, end - start, 0, 0, 0, 0);
	if (!err)
		t->header_at = 0;
	return err;
}

/* Stops the target and finds the agent in it. */
int sync_begin(struct keeper *k, struct target *t, pid_t pid, const struct home_code *home, struct keeper_error *e)
{
	int err = target_stop(t, pid, e);

	if (err)
		return err;
	if (home)
		t->home = *home;
	if (keeper_find(k, &t->maps, t->mem, &t->header_at, &t->header)) {
		t->header_at = 0;
		return 0;
	}
	if (!atomic_load(&t->header.ready)) {
		target_resume(t);
		return keeper_fail(e, KEEPER_BUSY, -EAGAIN, "it is just starting");
	}
	t->agent_ready = true;
	t->agent_runs = target_agent_runs(t);
	if (!t->agent_runs && t->header.borrowed)
		err = scan(t);
	if (!err && t->agent_runs)
		err = keeper_fail(e, KEEPER_BUSY, -EAGAIN, "a thread of it is not back yet");
	if (err)
		target_resume(t);
	return err;
}

/* Stops once more, a little later, to free what was in use before. Failing is harmless. */
static bool retire_once(struct keeper *k, pid_t pid)
{
	struct agent_request r = {.command = AGENT_CMD_COMMIT, .pid = (u32)pid, .in_use = 1};
	struct keeper_error e;
	struct target t;

	if (sync_begin(k, &t, pid, NULL, &e))
		return true;
	if (!t.header_at || scan(&t) || target_borrow(&t, false) || sync_finish_pending(&t) ||
	    fill_inbox(&t, &r, NULL) || target_command(&t, &r))
		r.in_use = 0;
	target_resume(&t);
	return !r.in_use;
}

static void retire_later(struct keeper *k, pid_t pid)
{
	for (int i = 0; i < RETIRE_TRIES; i++) {
		struct timespec ms = {.tv_nsec = 1000000L << (2 * i)};

		nanosleep(&ms, NULL);
		if (retire_once(k, pid))
			return;
	}
}

static struct image *agent_image(struct keeper *k)
{
	return image_open(k->agent_path ? k->agent_path : "liblimpet-agent.so");
}

/* Maps the agent and starts it; its text is there before anything depends on it. */
static int inject(struct keeper *k, struct target *t, struct image *image, bool follows)
{
	int err = image_inject(t, image);

	if (err)
		return err;
	err = init_agent(k, t, image, follows);
	if (!err)
		err = target_read(t, t->header_at, &t->header, sizeof(t->header));
	return err;
}

/* An agent that just came, and could not be brought in line, goes. One with patches in the text stays. */
static void take_back(struct target *t)
{
	struct agent_request r = {.command = AGENT_CMD_RELEASE, .pid = (u32)t->pid, .in_use = 1};

	if (!t->agent_ready || !target_command(t, &r))
		sync_unmap_image(t);
}

/* Hands over what the target lacks, and brings its probes in line. */
static int supply(struct keeper *k, struct target *t, bool *ret_in_use)
{
	static const struct agent_fd trace = {.kind = AGENT_FD_TRACE, .writable = 1};
	u32 generation = atomic_load(&k->store.file->generation);
	struct needs n = {0};
	int err;
	u32 *had = fetch(t, t->header.links, t->header.link_count, sizeof(u32), &err);
	u64 *has = err ? NULL : fetch(t, t->header.objects, t->header.object_count, sizeof(u64), &err);

	n.has = has;
	n.has_count = has ? t->header.object_count : 0;
	if (!err)
		err = needs_find(k, &t->maps, t->pid, had, t->header.link_count, &n);
	if (!err && n.file_count && !t->header.has_trace && !store_trace(&k->store, true, NULL))
		err = objects_send(k, t, &trace, 1); /* it may have been made after the agent came */
	if (!err)
		err = objects_send(k, t, n.all, n.count);
	for (int i = 0; !err && (!i || (t->header.again == AGAIN_NOW && i < ROUNDS)); i++)
		err = sync_stopped(t, &n, generation, false, ret_in_use);
	needs_free(&n);
	free(had);
	free(has);
	return err;
}

/* What a process that is no target will need is made ready before it is stopped. ret_later: another one may do more. */
static int sync_once(struct keeper *k, pid_t pid, struct keeper_error *e, enum newcomer newcomer, bool *ret_later)
{
	struct home_code home = {0};
	struct image *image = NULL;
	bool in_use = false, fresh;
	struct target t;
	int err;

	if (newcomer != STAYS_OUT && !keeper_is_target(k, pid, NULL)) {
		home = home_code_ahead(pid);
		image = agent_image(k);
	}
	err = sync_begin(k, &t, pid, &home, e);
	if (err) {
		image_close(image);
		return err;
	}
	fresh = !t.header_at;
	if (fresh && newcomer == STAYS_OUT)
		err = keeper_fail(e, KEEPER_NOT_TARGET, -ENOENT, "it is no target");
	if (!err && fresh && target_is_starting(&t, k->agent_path))
		err = keeper_fail(e, KEEPER_BUSY, -EAGAIN, "it is just starting");
	if (!err)
		err = target_borrow(&t, fresh);
	if (!err && fresh && !image) /* it was a target when that was looked at */
		image = agent_image(k);
	if (!err)
		err = fresh ? inject(k, &t, image, newcomer == COMES_IN_FOLLOWED) : sync_finish_pending(&t);
	if (!err)
		err = supply(k, &t, &in_use);
	if (err && fresh && t.header_at && t.borrowed && t.lead->stopped)
		take_back(&t);
	if (err)
		sync_fail(&t, err, "bringing the probes in line");
	*ret_later = !err && t.header.again == AGAIN_LATER;
	target_resume(&t);
	image_close(image);
	if (!err && in_use)
		retire_later(k, pid);
	return err;
}

static int do_sync(struct keeper *k, pid_t pid, struct keeper_error *e, enum newcomer newcomer)
{
	struct keeper_error ignored = {0};
	bool later;
	int err = sync_once(k, pid, e, newcomer, &later);

	for (int i = 0; !err && later && i < LATER_TRIES; i++) {
		struct timespec ms = {.tv_nsec = 1000000L << (2 * i)};

		nanosleep(&ms, NULL);
		if (sync_once(k, pid, &ignored, STAYS_OUT, &later))
			break;
	}
	return err;
}

bool sync_in_line(struct keeper *k, pid_t pid)
{
	struct regions maps = {0};
	struct agent_header h;
	struct needs n = {0};
	struct target t = {.mem = -1};
	pid_t tid = proc_live_tid(pid);
	u32 *had = NULL;
	u64 *has = NULL;
	char path[64];
	bool same = false;
	int err = -1;

	if (!tid || proc_read_maps(tid, &maps))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	t.mem = open(path, O_RDONLY | O_CLOEXEC);
	if (t.mem >= 0 && !keeper_find(k, &maps, t.mem, &t.header_at, &h))
		had = fetch(&t, h.links, h.link_count, sizeof(u32), &err);
	if (had)
		n.has = has = fetch(&t, h.objects, h.object_count, sizeof(u64), &err);
	n.has_count = has ? h.object_count : 0;
	if (has && !needs_find(k, &maps, pid, had, h.link_count, &n))
		same = n.same && n.view == h.view && (h.has_trace || !n.file_count) && !h.write_count &&
		       !h.move_count;
	if (t.mem >= 0)
		close(t.mem);
	needs_free(&n);
	free(had);
	free(has);
	free(maps.all);
	return same;
}

struct work {
	int (*fn)(struct keeper *k, pid_t pid, struct keeper_error *e, enum newcomer newcomer);
	struct keeper *k;
	pid_t pid;
	struct keeper_error *e;
	enum newcomer newcomer;
	int result;
};

static void *run_work(void *arg)
{
	struct work *w = arg;

	w->result = w->fn(w->k, w->pid, w->e, w->newcomer);
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

/*
 * Tries `tries` times, 2 ms and more apart, while the target cannot be stopped (a thread waits in
 * vfork), another keeper is at it, or the last one's threads are only just ending.
 */
static int attempt(struct work *w, int tries)
{
	for (int i = 0;; i++) {
		struct timespec ms = {.tv_nsec = i < 20 ? 2000000 : 20000000};
		int lock = lock_target(w->k, w->pid), err = lock;

		if (lock >= 0) {
			err = on_a_thread(w);
			close(lock);
		} else {
			*w->e = (struct keeper_error){.pid = w->pid};
			keeper_fail(w->e, lock == -EAGAIN ? KEEPER_BUSY : KEEPER_SYSTEM, lock,
				    "targets.lock: another keeper works on it");
		}
		if (i + 1 >= tries ||
		    (err != -EAGAIN && (w->e->reason != KEEPER_TRACED || i >= 20)))
			return err;
		nanosleep(&ms, NULL);
	}
}

/*
 * What could not be done need not be: the target's constructor, or another keeper, may have done it between the look
 * and the stop. A process under a seccomp filter that was met while it started was refused so.
 */
static int unless_in_line(struct keeper *k, pid_t pid, struct keeper_error *e, int err)
{
	if (!err || !sync_in_line(k, pid))
		return err;
	*e = (struct keeper_error){.pid = pid};
	return 0;
}

int keeper_inject(struct keeper *k, pid_t pid, struct keeper_error *e)
{
	struct work w = {.fn = do_sync, .k = k, .pid = pid, .e = e, .newcomer = COMES_IN};

	return unless_in_line(k, pid, e, attempt(&w, PATIENCE));
}

int keeper_inject_executed(struct keeper *k, pid_t pid, struct keeper_error *e)
{
	return attempt(&(struct work){.fn = do_sync, .k = k, .pid = pid, .e = e, .newcomer = COMES_IN_FOLLOWED}, 1);
}

int keeper_sync(struct keeper *k, pid_t pid, struct keeper_error *e)
{
	struct agent_header h;

	if (keeper_is_target(k, pid, &h) && atomic_load(&h.draining))
		return attempt(&(struct work){.fn = sync_drain, .k = k, .pid = pid, .e = e}, 1);
	if (sync_in_line(k, pid)) {
		*e = (struct keeper_error){.pid = pid};
		return 0;
	}
	return unless_in_line(k, pid, e, attempt(&(struct work){.fn = do_sync, .k = k, .pid = pid, .e = e}, 3));
}

int keeper_detach(struct keeper *k, pid_t pid, struct keeper_error *e)
{
	return attempt(&(struct work){.fn = sync_detach, .k = k, .pid = pid, .e = e}, PATIENCE);
}
