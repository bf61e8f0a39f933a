/* SPDX-License-Identifier: MIT */
/*
 * Perf events on the software CPU clock, which run a program at every period (bpftrace's `interval`):
 * by a thread of the tool's process, all signals blocked, by absolute times.
 *
 *     ioctl, close, link  -- event_file.turn + 1, futex -->  thread: waits for the turn or the time
 *
 * An event may be open in several processes, after a fork. Each has a thread for it; the one that
 * holds the event's byte in the session's `events.lock` runs the program, the others wait for that
 * lock, so one takes over when the process of another ends. A thread ends when the event is gone.
 * What is left by a death: nothing; by a stop: the program does not run, as long as no one else can.
 *
 * Not served: sampling what the processors run (bpftrace's `profile`), which only the kernel can. The
 * kernel's `interval` asks for processor 0, and that is what is taken for one: a sampling tool, which wants every
 * processor, fails at the next.
 */
#include "loader/event.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf_perf_event.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/kernel.h"
#include "loader/quiet.h"
#include "loader/run.h"
#include "loader/say.h"

#define PERIOD_MIN 10000 /* ns, as the kernel's */

struct clock {
	struct store *s;
	struct event_file *e; /* mapped, not held */
	pid_t pid;            /* the process whose thread this is for */
	u32 id;
	u64 next; /* when to run, CLOCK_MONOTONIC; 0: not running */
	u64 left; /* of a period that was interrupted, or 0 */
	struct clock *later;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct clock *clocks;

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

static u64 period_of(const struct event_file *e)
{
	const u64 n = e->sample_period,
		  period = e->attr_flags & EVENT_ATTR_FREQ ? 1000000000 / (n ? n : 1) : n;

	return period < PERIOD_MIN ? PERIOD_MIN : period;
}

/* Waits until the event's turn is not `turn`, or until a time (0: for ever). */
static void wait_turn(struct clock *c, u32 turn, u64 until)
{
	const struct timespec at = {.tv_sec = (time_t)(until / 1000000000),
				    .tv_nsec = (long)(until % 1000000000)};

	sys_call6(__NR_futex, (long)&c->e->turn, FUTEX_WAIT_BITSET, turn, until ? (long)&at : 0, 0,
		  -1);
}

static void tell(struct event_file *e)
{
	atomic_fetch_add(&e->turn, 1);
	sys_call6(__NR_futex, (long)&e->turn, FUTEX_WAKE, INT32_MAX, 0, 0, 0);
}

/* The lease on an event; the descriptor that holds it. Blocks. */
static int take_lease(const struct clock *c)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = c->id, .l_len = 1};
	int fd = openat(c->s->dir_fd, "events.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			0600);

	while (fd >= 0 && fcntl(fd, F_OFD_SETLKW, &fl))
		if (errno != EINTR) {
			sys_close(fd);
			return -1;
		}
	return fd;
}

static void run_program(const struct loader_run *r, const struct event_file *e)
{
	struct bpf_perf_event_data ctx = {.sample_period = period_of(e)};
	u32 value;

	run_once(r, &ctx, &value);
}

/* How long a disabled clock still had to go is kept, as by the kernel. */
static void suspend(struct clock *c)
{
	const u64 now = c->next ? now_ns() : 0;

	if (c->next)
		c->left = c->next > now ? c->next - now : 1;
	c->next = 0;
}

static void tick(struct clock *c, const struct loader_run *r)
{
	const u64 period = period_of(c->e), now = now_ns();

	if (!c->next) {
		c->next = now + (c->left ? c->left : period);
		c->left = 0;
	}
	if (now < c->next)
		return;
	run_program(r, c->e);
	c->next += period * ((now - c->next) / period + 1); /* missed ones are not made up for */
}

static void serve(struct clock *c)
{
	struct loader_run r;
	u32 prog = 0;

	while (!atomic_load(&c->e->gone)) {
		const u32 turn = atomic_load(&c->e->turn), wanted = atomic_load(&c->e->prog_id);

		if (prog && wanted != prog) {
			run_close(&r);
			prog = 0;
		}
		if (!prog && wanted && !run_open(&r, c->s, wanted)) {
			run_set_ctx(&r, sizeof(struct bpf_perf_event_data));
			prog = wanted;
		}
		if (prog && atomic_load(&c->e->enabled) && c->e->sample_period)
			tick(c, &r);
		else
			suspend(c);
		if (!atomic_load(&c->e->gone))
			wait_turn(c, turn, c->next);
	}
	if (prog)
		run_close(&r);
}

static void forget(struct clock *c)
{
	pthread_mutex_lock(&lock);
	for (struct clock **at = &clocks; *at; at = &(*at)->later)
		if (*at == c) {
			*at = c->later;
			break;
		}
	pthread_mutex_unlock(&lock);
	munmap(c->e, PAGE_SIZE);
	free(c);
}

static void *keep_time(void *arg)
{
	struct clock *c = arg;
	int lease;

	loader_inside++;
	lease = take_lease(c);
	if (lease >= 0)
		serve(c);
	forget(c);
	if (lease >= 0)
		sys_close(lease);
	loader_inside--;
	return NULL;
}

static int start_thread(struct clock *c)
{
	c->pid = getpid();
	return quiet_thread(keep_time, c, 0);
}

/* Makes this process one that keeps time for the event. */
static int start_clock(struct store *s, u32 event)
{
	struct clock *c;
	int err = 0;
	u64 size;

	pthread_mutex_lock(&lock);
	for (c = clocks; c && c->id != event; c = c->later)
		;
	if (c) {
		pthread_mutex_unlock(&lock);
		return 0;
	}
	c = calloc(1, sizeof(*c));
	if (c) {
		*c = (struct clock){.s = s, .id = event};
		c->e = store_map_object(s, OBJ_EVENT, event, &size, &err);
	}
	if (!c || !c->e) {
		free(c);
		pthread_mutex_unlock(&lock);
		return c ? err : -ENOMEM;
	}
	c->later = clocks;
	clocks = c;
	pthread_mutex_unlock(&lock);
	err = start_thread(c);
	if (err)
		forget(c);
	return err;
}

void loader_clocks_after_fork(void)
{
	const pid_t pid = getpid();

	pthread_mutex_init(&lock, NULL);
	for (struct clock *c = clocks; c; c = c->later)
		if (c->pid != pid && !atomic_load(&c->e->gone))
			start_thread(c);
}

static int fill(struct event_file *e, const struct perf_event_attr *a)
{
	return 0;
}

static int check_served(const struct event_file *e)
{
	if (e->pid == -1 && e->cpu == 0)
		return 0;
	loader_say("limpet: programs that sample what processors run (profile) need the kernel; a "
		   "period on processor 0 "
		   "(interval) is served\n");
	return -EOPNOTSUPP;
}

int loader_event_prog(struct store *s, u32 event, u32 prog)
{
	struct prog_file *p;
	struct event_file *e;
	u64 size;
	u32 type;
	int err = loader_claim_event(s, event, true);

	if (err)
		return err;
	p = store_map_object(s, OBJ_PROG, prog, &size, &err);
	if (p) {
		type = p->type;
		munmap(p, size);
		err = type == BPF_PROG_TYPE_PERF_EVENT
			      ? store_ref(s, OBJ_EVENT, event, OBJ_PROG, prog)
			      : -EINVAL;
	}
	e = err ? NULL : store_map_object(s, OBJ_EVENT, event, &size, &err);
	if (e) {
		atomic_store(&e->prog_id, prog);
		tell(e);
		munmap(e, size);
	}
	if (err)
		loader_claim_event(s, event, false);
	return err;
}

static long set_bpf(struct store *s, u32 event, u32 prog)
{
	struct event_file *e;
	u64 size;
	int err = 0;

	e = store_map_object(s, OBJ_EVENT, event, &size, &err);
	if (!e)
		return err;
	err = check_served(e);
	munmap(e, size);
	if (!err)
		err = kernel_prog_in_user_space(prog);
	if (!err)
		err = loader_event_prog(s, event, prog);
	if (!err)
		err = start_clock(s, event);
	return err;
}

static void switched(struct store *s, u32 event, struct event_file *e)
{
	tell(e);
}

const struct event_kind event_clock = {.fill = fill, .set_bpf = set_bpf, .switched = switched};
