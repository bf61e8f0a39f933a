/* SPDX-License-Identifier: MIT */
/*
 * Every way of waiting, for every kind of descriptor of bpf(2)'s: what the calls answer, whether a signal ends them and
 * is handled, and what epoll says of edges, single shots and sets within sets. The same lines on the kernel and on limpet.
 *
 * usage: ready OBJECT.bpf.o
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define LATE 20 /* milliseconds after which something happens to who waits */

/* ---- descriptors, and how they become ready ---- */

static int prog_fd[3];
static unsigned long *ring_pos[2]; /* consumer's and producer's */
static struct user_ring_buffer *user_ring;
static struct perf_event_mmap_page *perf_page;

static void test_run(int fd)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	bpf_prog_test_run_opts(fd, &opts);
}

static void fill_user_ring(void)
{
	void *sample;

	while ((sample = user_ring_buffer__reserve(user_ring, 56)))
		user_ring_buffer__submit(user_ring, sample);
}

static void ring_ready(void)
{
	test_run(prog_fd[0]);
}

static void ring_empty(void)
{
	__atomic_store_n(ring_pos[0], __atomic_load_n(ring_pos[1], __ATOMIC_ACQUIRE),
			 __ATOMIC_RELEASE);
}

static void perf_ready(void)
{
	test_run(prog_fd[1]);
}

static void perf_empty(void)
{
	__atomic_store_n(&perf_page->data_tail,
			 __atomic_load_n(&perf_page->data_head, __ATOMIC_ACQUIRE),
			 __ATOMIC_RELEASE);
}

static void user_ready(void)
{
	test_run(prog_fd[2]);
}

static struct kind {
	const char *name;
	int fd;
	short events;
	void (*ready)(void), (*empty)(void);
} kinds[] = {{"ring", -1, POLLIN, ring_ready, ring_empty},
	     {"user_ring", -1, POLLOUT, user_ready, fill_user_ring},
	     {"perf", -1, POLLIN, perf_ready, perf_empty}};

/* Nothing is ready: what is left over is taken, too. */
static void settle(const struct kind *k)
{
	struct pollfd p = {.fd = k->fd, .events = k->events};

	k->empty();
	poll(&p, 1, 0);
}

static int open_perf(int map)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .config = PERF_COUNT_SW_BPF_OUTPUT,
				       .size = sizeof(attr),
				       .sample_type = PERF_SAMPLE_RAW,
				       .sample_period = 1,
				       .wakeup_events = 1};
	int fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC),
	    zero = 0;

	perf_page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (perf_page == MAP_FAILED || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0) ||
	    bpf_map_update_elem(map, &zero, &fd, 0))
		return -1;
	return fd;
}

static bool set_up(const char *path)
{
	static const char *const programs[] = {"ring_out", "perf_out", "user_in"};
	struct bpf_object *obj = bpf_object__open_file(path, NULL);
	int ring;

	if (!obj || bpf_object__load(obj))
		return false;
	for (int i = 0; i < 3; i++)
		prog_fd[i] = bpf_program__fd(bpf_object__find_program_by_name(obj, programs[i]));
	ring = bpf_object__find_map_fd_by_name(obj, "ring");
	kinds[0].fd = ring;
	ring_pos[0] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0);
	ring_pos[1] = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ring, PAGE);
	kinds[1].fd = bpf_object__find_map_fd_by_name(obj, "user_ring");
	user_ring = user_ring_buffer__new(kinds[1].fd, NULL);
	kinds[2].fd = open_perf(bpf_object__find_map_fd_by_name(obj, "events"));
	return ring_pos[0] != MAP_FAILED && ring_pos[1] != MAP_FAILED && user_ring &&
	       kinds[2].fd >= 0;
}

/* ---- ways of waiting ---- */

static int set; /* with the one descriptor of a kind */

enum way { EPOLL, EPOLL_P, EPOLL_P2, POLL, PPOLL, SELECT, PSELECT, WAYS };
static const char *const ways[] = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll",
				   "ppoll",      "select",      "pselect"};

static bool has_mask(enum way w)
{
	return w != EPOLL && w != POLL && w != SELECT;
}

static int wait_select(const struct kind *k, int ms, const sigset_t *mask, bool masked,
		       unsigned int *ret_events)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};
	fd_set set, *in = k->events == POLLIN ? &set : NULL, *out = in ? NULL : &set;
	int n;

	FD_ZERO(&set);
	FD_SET(k->fd, &set);
	n = masked ? pselect(k->fd + 1, in, out, NULL, ms < 0 ? NULL : &t, mask)
		   : select(k->fd + 1, in, out, NULL, ms < 0 ? NULL : &tv);
	*ret_events = n > 0 && FD_ISSET(k->fd, &set);
	return n;
}

static int wait_for(enum way w, const struct kind *k, int ms, const sigset_t *mask,
		    unsigned int *ret_events)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L}, *timeout = ms < 0 ? NULL : &t;
	struct pollfd p = {.fd = k->fd, .events = k->events};
	struct epoll_event e = {.events = 0};
	int n;

	switch (w) {
	case EPOLL:
		n = epoll_wait(set, &e, 1, ms);
		break;
	case EPOLL_P:
		n = epoll_pwait(set, &e, 1, ms, mask);
		break;
	case EPOLL_P2:
		n = epoll_pwait2(set, &e, 1, timeout, mask);
		break;
	case POLL:
		n = poll(&p, 1, ms);
		break;
	case PPOLL:
		n = ppoll(&p, 1, timeout, mask);
		break;
	default:
		return wait_select(k, ms, mask, w == PSELECT, ret_events);
	}
	*ret_events = w <= EPOLL_P2 ? e.events : (unsigned short)p.revents;
	return n;
}

/* ---- situations ---- */

static volatile sig_atomic_t handled;

static void on_signal(int sig)
{
	handled++;
}

static void alarm_ms(int ms)
{
	struct itimerval t = {.it_value = {0, ms * 1000}};

	setitimer(ITIMER_REAL, &t, NULL);
}

static void *make_ready(void *kind)
{
	usleep(LATE * 1000);
	((const struct kind *)kind)->ready();
	return NULL;
}

struct situation {
	const char *name;
	int ms;
	bool ready;          /* beforehand */
	bool later;          /* a thread makes it ready */
	bool alarm;          /* a signal comes */
	bool pending;        /* a signal is there already, and blocked */
	int mask;            /* 0: none, 1: blocks the signals, 2: lets them through */
	bool takes_at_least; /* the whole time */
};

static const struct situation situations[] = {
	{"nothing, no time", .ms = 0},
	{"nothing, some time", 30, .takes_at_least = true},
	{"ready", -1, .ready = true},
	{"ready, no time", 0, .ready = true},
	{"ready later", -1, .later = true},
	{"a signal", -1, .alarm = true},
	{"a signal, some time", 5000, .alarm = true},
	{"a signal that the mask blocks", 50, .alarm = true, .mask = 1, .takes_at_least = true},
	{"a signal that the mask blocks, ready later", -1, .alarm = true, .later = true, .mask = 1},
	{"a blocked signal, pending", 30, .pending = true, .takes_at_least = true},
	{"a blocked signal that the mask lets through", -1, .pending = true, .mask = 2},
	{"the same, no time", 0, .pending = true, .mask = 2},
	{"the same, ready", -1, .pending = true, .mask = 2, .ready = true},
	{"the same, ready, no time", 0, .pending = true, .mask = 2, .ready = true},
	{"the same, ready later", -1, .pending = true, .mask = 2, .later = true},
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void try(const struct situation *s, enum way w, const struct kind *k)
{
	sigset_t none, alarms, old, *mask;
	unsigned int events = 0;
	pthread_t thread;
	double start;
	int n, err;

	if (s->mask && !has_mask(w))
		return;
	sigemptyset(&none);
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	mask = s->mask == 1 ? &alarms : s->mask == 2 ? &none : NULL;
	settle(k);
	handled = 0;
	if (s->ready)
		k->ready();
	/* signals are for the thread that waits */
	pthread_sigmask(SIG_BLOCK, &alarms, &old);
	if (s->later)
		pthread_create(&thread, NULL, make_ready, (void *)k);
	if (s->pending)
		raise(SIGALRM);
	else
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (s->alarm)
		alarm_ms(LATE / 2);
	start = now_ms();
	n = wait_for(w, k, s->ms, mask, &events);
	err = n < 0 ? errno : 0;
	printf("%s %s, %s: %d %s events %#x handled %d%s\n", k->name, ways[w], s->name, n,
	       err ? strerror(err) : "-", events, (int)handled,
	       s->takes_at_least && now_ms() - start < s->ms ? " too early" : "");
	if (s->later)
		pthread_join(thread, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (s->alarm)
		usleep(LATE * 1000);
	printf("%s %s, %s: handled %d in the end\n", k->name, ways[w], s->name, (int)handled);
}

static void refused(enum way w, const struct kind *k)
{
	struct timespec bad = {0, 1000000000}, before = {-1, 0};
	struct pollfd p = {.fd = k->fd, .events = k->events};
	struct epoll_event e;
	sigset_t none;
	int n, m;

	sigemptyset(&none);
	k->ready();
	switch (w) {
	case EPOLL:
		n = epoll_wait(set, &e, 0, 0);
		m = epoll_wait(-1, &e, 1, 0);
		break;
	case EPOLL_P2:
		n = epoll_pwait2(set, &e, 1, &bad, &none);
		m = epoll_pwait2(set, &e, 1, &before, NULL);
		break;
	case PPOLL:
		n = ppoll(&p, 1, &bad, &none);
		m = ppoll(&p, 1, &before, NULL);
		break;
	case PSELECT: {
		fd_set in;

		FD_ZERO(&in);
		FD_SET(k->fd, &in);
		n = pselect(k->fd + 1, &in, NULL, NULL, &bad, &none);
		m = pselect(k->fd + 1, &in, NULL, NULL, &before, NULL);
		break;
	}
	default:
		return;
	}
	printf("%s %s, bad arguments: %d %d %s\n", k->name, ways[w], n, m, strerror(errno));
}

/* ---- what only epoll has ---- */

static void say(const struct kind *k, const char *what, int in)
{
	struct epoll_event e[4];
	int n = epoll_wait(in, e, 4, 0);

	printf("%s %s: %d", k->name, what, n);
	for (int i = 0; i < n; i++)
		printf(" %#x %llx", e[i].events, (unsigned long long)e[i].data.u64);
	putchar('\n');
}

static int control(int in, int op, int fd, unsigned int events, unsigned long long data)
{
	struct epoll_event e = {.events = events, .data.u64 = data};

	return epoll_ctl(in, op, fd, &e) ? -errno : 0;
}

/* The kernel's perf events forget that they were ready when anybody looks, be it a set around the set, or a change of it. */
static bool forgets(const struct kind *k)
{
	return k == &kinds[2];
}

static void edges(const struct kind *k)
{
	const unsigned int want = (unsigned int)k->events;
	const int s = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e;

	settle(k);
	printf("%s added: %d", k->name,
	       control(s, EPOLL_CTL_ADD, k->fd, want | EPOLLET, 0x123456789));
	printf(" %d\n", control(s, EPOLL_CTL_ADD, k->fd, want, 1));
	say(k, "edge, nothing", s);
	k->ready();
	say(k, "edge, ready", s);
	say(k, "edge, still ready", s);
	k->ready();
	say(k, "edge, more", s);
	say(k, "edge, and no more", s);
	k->empty();
	say(k, "edge, taken", s);
	k->ready();
	k->empty();
	say(k, "edge, ready and taken", s);
	k->ready();
	printf("%s changed: %d\n", k->name, control(s, EPOLL_CTL_MOD, k->fd, want | EPOLLET, 0x42));
	if (!forgets(k))
		say(k, "edge, changed", s);
	epoll_wait(s, &e, 1, 0);
	printf("%s once: %d\n", k->name,
	       control(s, EPOLL_CTL_MOD, k->fd, want | EPOLLONESHOT, 0x43));
	say(k, "once", s);
	say(k, "once, again", s);
	k->ready();
	say(k, "once, more", s);
	printf("%s once again: %d\n", k->name,
	       control(s, EPOLL_CTL_MOD, k->fd, want | EPOLLONESHOT | EPOLLET, 0x44));
	say(k, "once and edge", s);
	say(k, "once and edge, again", s);
	printf("%s nothing wanted: %d\n", k->name, control(s, EPOLL_CTL_MOD, k->fd, 0, 0x45));
	say(k, "nothing wanted", s);
	printf("%s other way: %d\n", k->name,
	       control(s, EPOLL_CTL_MOD, k->fd, want ^ (EPOLLIN | EPOLLOUT), 0x46));
	say(k, "other way", s);
	printf("%s exclusive: %d", k->name,
	       control(s, EPOLL_CTL_MOD, k->fd, want | EPOLLEXCLUSIVE, 0x47));
	printf(" %d", control(s, EPOLL_CTL_DEL, k->fd, 0, 0));
	printf(" %d", control(s, EPOLL_CTL_DEL, k->fd, 0, 0));
	printf(" %d\n", control(s, EPOLL_CTL_ADD, k->fd, want | EPOLLEXCLUSIVE, 0x48));
	settle(k);
	k->ready();
	say(k, "exclusive", s);
	close(s);
}

/* Sets in sets, with a pipe beside. */
static void nested(const struct kind *k)
{
	const unsigned int want = (unsigned int)k->events;
	const int inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC),
		  edge = epoll_create1(EPOLL_CLOEXEC);
	struct pollfd p = {.fd = inner, .events = POLLIN};
	const int again = dup(k->fd);
	struct epoll_event e;
	int ends[2], n;
	char c = 'c';

	if (pipe2(ends, O_CLOEXEC))
		return;
	settle(k);
	control(inner, EPOLL_CTL_ADD, k->fd, want, 0xa);
	control(inner, EPOLL_CTL_ADD, ends[0], EPOLLIN, 0xb);
	control(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 0xc);
	control(edge, EPOLL_CTL_ADD, inner, EPOLLIN | EPOLLET, 0xd);
	printf("%s twice: %d\n", k->name, control(inner, EPOLL_CTL_ADD, again, want, 0xe));
	n = poll(&p, 1, 0);
	printf("%s inner polled: %d %#x\n", k->name, n, (unsigned short)p.revents);
	say(k, "outer, nothing", outer);
	k->ready();
	n = poll(&p, 1, 0);
	printf("%s inner polled, ready: %d %#x\n", k->name, n, (unsigned short)p.revents);
	if (!forgets(k)) {
		say(k, "outer, ready", outer);
		say(k, "outer, still ready", outer);
		say(k, "outer edge", edge);
		say(k, "outer edge, again", edge);
		say(k, "inner", inner);
	}
	epoll_wait(inner, &e, 1, 0);
	k->empty();
	n = poll(&p, 1, 0);
	printf("%s inner polled, taken: %d %#x\n", k->name, n, (unsigned short)p.revents);
	say(k, "outer, taken", outer);
	if (write(ends[1], &c, 1) == 1)
		say(k, "outer, a pipe", outer);
	say(k, "inner, a pipe", inner);
	settle(k);
	close(again);
	k->ready();
	say(k, "inner, one closed", inner);
	close(inner);
	say(k, "outer, inner closed", outer);
	close(outer);
	close(edge);
	close(ends[0]);
	close(ends[1]);
}

/* Processor time, of all threads, of two seconds in which nothing happens. */
static void idle(const struct kind *k)
{
	const bool is_long = getenv("LIMPET_LONG") != NULL;
	struct rusage before, after;
	long us;

	settle(k);
	getrusage(RUSAGE_SELF, &before);
	epoll_wait(set, &(struct epoll_event){0}, 1, is_long ? 2000 : 300);
	getrusage(RUSAGE_SELF, &after);
	us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
	      before.ru_stime.tv_sec) *
		     1000000 +
	     after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
	     before.ru_stime.tv_usec;
	if (is_long)
		fprintf(stderr, "%s: %ld us of processor time in 2 s\n", k->name, us);
	printf("%s idle: %s\n", k->name, us < 20000 ? "at rest" : "at work");
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one); /* the perf event's */
	if (argc != 2 || !set_up(argv[1]))
		return 2;
	sigaction(SIGALRM, &sa, NULL);
	for (const struct kind *k = kinds; k < kinds + 3; k++) {
		set = epoll_create1(EPOLL_CLOEXEC);
		control(set, EPOLL_CTL_ADD, k->fd, (unsigned int)k->events, 5);
		for (enum way w = 0; w < WAYS; w++) {
			for (unsigned int i = 0; i < sizeof(situations) / sizeof(situations[0]);
			     i++)
				try(&situations[i], w, k);
			refused(w, k);
		}
		edges(k);
		nested(k);
		idle(k);
		close(set);
	}
	return 0;
}
