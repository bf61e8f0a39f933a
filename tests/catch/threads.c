/* SPDX-License-Identifier: MIT */
/* Scenes of masks, stacks, children, nested signals, and storms of mappings that come and go. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include "target.h"

static char *no_page;
static volatile int calls;

static void look_bad(const char *what)
{
	expect(what, no_page, LOOK_WORD, -EFAULT, NULL);
	expect(what, no_page, LOOK_STR, -EFAULT, NULL);
}

static void in_handler(int sig)
{
	calls++;
	look_bad("in a handler");
}

static void *all_blocked(void *arg)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	look_bad("all blocked");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	look_bad("none blocked");
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return NULL;
}

static void *as_born(void *arg)
{
	look_bad("as born");
	return NULL;
}

static void run_thread(void *(*fn)(void *), size_t stack)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	if (stack)
		pthread_attr_setstacksize(&attr, stack);
	if (pthread_create(&t, &attr, fn, NULL))
		fail("pthread_create");
	else
		pthread_join(t, NULL);
	pthread_attr_destroy(&attr);
}

static void waits_with(const sigset_t *mask)
{
	struct timespec now = {0, 0};
	struct epoll_event ev;
	int ep = epoll_create1(EPOLL_CLOEXEC);

	raise(SIGUSR1);
	sigsuspend(mask);
	raise(SIGUSR1);
	ppoll(NULL, 0, &now, mask);
	raise(SIGUSR1);
	pselect(0, NULL, NULL, NULL, &now, mask);
	raise(SIGUSR1);
	epoll_pwait(ep, &ev, 1, 0, mask);
	close(ep);
}

void scene_masks(void)
{
	struct sigaction sa = {.sa_handler = in_handler};
	sigset_t all, but, usr1;

	no_page = pages(1, PROT_NONE);
	calls = 0;
	sigfillset(&all);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &all, NULL);
	look_bad("all blocked");
	run_thread(as_born, 0);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	look_bad("none blocked");
	run_thread(as_born, 0);
	run_thread(all_blocked, 0);
	sigfillset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	sigemptyset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	but = all;
	sigdelset(&but, SIGUSR1);
	waits_with(&but);
	sigemptyset(&but);
	waits_with(&but);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	say(" handler ran %d times", calls);
}

static ucontext_t main_context, other_context;

static void on_other_stack(void)
{
	look_bad("on another stack");
	swapcontext(&other_context, &main_context);
	look_bad("on another stack again");
}

static __attribute__((noinline)) void deep(int n)
{
	volatile char room[8192];

	room[0] = (char)n;
	if (n)
		deep(n - 1);
	else
		look_bad("deep in the stack");
	room[8191] = room[0];
}

/* Down to where a signal's frame has no room any more, but a probe has. */
static __attribute__((noinline)) void to_the_end_of(const char *low)
{
	volatile char room[512];

	room[0] = 0;
	look_bad("little room");
	if ((const char *)room - low > 7000)
		to_the_end_of(low);
	room[511] = room[0];
}

static void *to_the_end(void *arg)
{
	pthread_attr_t attr;
	size_t size;
	void *low;

	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &low, &size);
	pthread_attr_destroy(&attr);
	to_the_end_of(low);
	return NULL;
}

void scene_stacks(void)
{
	struct sigaction sa = {.sa_handler = in_handler, .sa_flags = SA_ONSTACK};
	stack_t alt = {.ss_sp = pages(4, PROT_READ | PROT_WRITE), .ss_size = 4 * PAGE};
	static char small[16384];

	no_page = pages(1, PROT_NONE);
	getcontext(&other_context);
	other_context.uc_stack = (stack_t){.ss_sp = small, .ss_size = sizeof(small)};
	other_context.uc_link = &main_context;
	makecontext(&other_context, on_other_stack, 0);
	swapcontext(&main_context, &other_context);
	look_bad("back");
	swapcontext(&main_context, &other_context);
	sigaltstack(&alt, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	munmap(alt.ss_sp, alt.ss_size); /* stale: whatever uses it dies */
	look_bad("stale signal stack");
	alt.ss_flags = SS_DISABLE;
	sigaltstack(&alt, NULL);
	run_thread(as_born, 16384);
	run_thread(as_born, 65536);
	run_thread(to_the_end, 65536);
	deep(100);
	look_bad("and again");
}

static int wait_for(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void vforks(void)
{
	pid_t pid = vfork();

	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_IGN);
		look_bad("in a vfork child");
		signal(SIGSEGV, in_handler);
		look_bad("in a vfork child with a handler");
		_exit(0);
	}
	say(" vfork: %d", wait_for(pid));
	look_bad("after vfork");
	pid = vfork();
	if (!pid) {
		*(volatile char *)no_page = 1;
		_exit(0);
	}
	say(" vfork child that crashes: %d", wait_for(pid));
	look_bad("after that");
}

static void forks(void)
{
	pid_t pid = fork();

	if (!pid) {
		look_bad("in a forked child");
		signal(SIGSEGV, in_handler);
		look_bad("with its own handler");
		signal(SIGSEGV, SIG_DFL);
		look_bad("and without");
		pid = vfork();
		if (!pid) {
			signal(SIGSEGV, in_handler);
			look_bad("in its vfork child");
			_exit(0);
		}
		wait_for(pid);
		look_bad("after its vfork child");
		run_thread(as_born, 0);
		*(volatile char *)no_page = 1;
		_exit(0);
	}
	say(" forked child that crashes: %d", wait_for(pid));
}

static void spawns(void)
{
	char *sh[] = {"sh", "-c", "grep SigIgn /proc/self/status", NULL};
	posix_spawnattr_t attr;
	sigset_t segv;
	pid_t pid;
	int err;

	posix_spawnattr_init(&attr);
	sigemptyset(&segv);
	sigaddset(&segv, SIGSEGV);
	posix_spawnattr_setsigdefault(&attr, &segv);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	err = posix_spawnp(&pid, "sh", NULL, &attr, sh, environ);
	say(" spawned: %d %d", err, err ? 0 : wait_for(pid));
	say(" system: %d", system("kill -SEGV $$; exit 3"));
	look_bad("after spawning");
}

void scene_children(void)
{
	no_page = pages(1, PROT_NONE);
	vforks();
	forks();
	spawns();
	vforks();
}

static sigjmp_buf out;
static volatile sig_atomic_t ticks;

static void tick(int sig)
{
	ticks++;
	look_bad("in a timer's handler");
	if (ticks % 7 == 0)
		siglongjmp(out, 1);
}

/* A timer whose handler looks, too, and sometimes never returns. */
void scene_nested(void)
{
	struct sigaction sa = {.sa_handler = tick};
	struct itimerval often = {{0, 200}, {0, 200}}, never = {0};
	volatile unsigned long n = 0;

	no_page = pages(1, PROT_NONE);
	ticks = 0;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	sigsetjmp(out, 1);
	while (n < rounds || ticks < 50) {
		n++;
		look_at(no_page, n % 2 ? LOOK_WORD : LOOK_BIG);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_DFL);
	look_bad("after the timer");
}

static char *_Atomic shared;
static atomic_bool over;
static int short_file;

/* What the lookers look at comes and goes, by one of every way a mapping can. */
static void *mapper(void *arg)
{
	char *p = shared;

	for (unsigned long n = 0; !over; n++) {
		switch (n % 6) {
		case 0:
			mprotect(p, 2 * PAGE, PROT_NONE);
			break;
		case 1:
			mprotect(p, 2 * PAGE, PROT_READ | PROT_WRITE);
			memset(p, 's', 2 * PAGE);
			break;
		case 2:
			munmap(p, 2 * PAGE);
			break;
		case 3:
			mmap(p, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			     short_file, 0);
			break;
		case 4:
			if (ftruncate(short_file, 0) || ftruncate(short_file, 2 * PAGE))
				_exit(8);
			break;
		case 5:
			mmap(p, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			     0);
			break;
		}
	}
	return NULL;
}

static void *looker(void *arg)
{
	static const long how[] = {LOOK_WORD, LOOK_STR, LOOK_BIG, LOOK_STORE};

	for (unsigned long n = 0; n < rounds; n++) {
		long h = how[n % 4];
		struct look_result r = look_at(shared + (n * 520 % (2 * PAGE - 4)), h);

		if (r.ran && r.result && r.result != -EFAULT && h != LOOK_STR)
			fail("a storm's look came to %ld", r.result);
	}
	return NULL;
}

static void *thread_maker(void *arg)
{
	while (!over) {
		pid_t pid;

		run_thread(as_born, 0);
		pid = vfork();
		if (!pid)
			_exit(0);
		wait_for(pid);
	}
	return NULL;
}

void scene_storm(void)
{
	pthread_t map, make, look[3];

	no_page = pages(1, PROT_NONE);
	short_file = memfd_create("short", MFD_CLOEXEC);
	if (short_file < 0 || ftruncate(short_file, 2 * PAGE))
		_exit(8);
	/* Where nobody else's mapping comes while it is gone. */
	shared = mmap((void *)(1UL << 40), 2 * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (shared == MAP_FAILED)
		_exit(8);
	over = false;
	pthread_create(&map, NULL, mapper, NULL);
	pthread_create(&make, NULL, thread_maker, NULL);
	for (int i = 0; i < 3; i++)
		pthread_create(&look[i], NULL, looker, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(look[i], NULL);
	over = true;
	pthread_join(map, NULL);
	pthread_join(make, NULL);
	close(short_file);
}

/* Looks at nothing until its standard input ends: somebody attaches and detaches meanwhile. */
/* Its map's file is cut short meanwhile: the program goes on. */
void scene_cut(void)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	static char there[LOOK_BIG];
	bool over = false;

	while (!over) {
		over = poll(&in, 1, 0);
		for (int i = 0; i < 100; i++)
			look_at(there, LOOK_BIG);
	}
	say(" went on: %ld", look_at(there, LOOK_BIG).ran);
}

void scene_leave(void)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};

	no_page = pages(1, PROT_NONE);
	while (!poll(&in, 1, 0))
		for (int i = 0; i < 100; i++)
			look_at(no_page, LOOK_WORD);
	say(" handler left: %d %d", sees_handler(SIGSEGV), sees_handler(SIGBUS));
}
