/* SPDX-License-Identifier: MIT */
/*
 * Stopping, borrowing and giving back, for every state a thread can be in (attach_states.c checks
 * what it sees itself), and with the keeper killed at every step of its work.
 */
#include "../unit/check.h"

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#undef PAGE_SIZE /* base/types.h has its own */
#include "attach_session.h"

#define STATES_MAX 24

static pid_t start_states(const char *const *names, bool preload)
{
	char *argv[STATES_MAX + 4] = {target_path, shared_path};
	pid_t pid;
	int n = 0;

	memset(shared, 0, sizeof(*shared));
	*(u64 *)map_direct_value(&counter) = 0;
	for (; names[n]; n++)
		argv[n + 2] = (char *)names[n];
	pid = fork();
	if (!pid) {
		if (preload) {
			setenv("LD_PRELOAD", agent_path, 1);
			setenv(AGENT_ENV, s.path, 1);
		}
		execv(target_path, argv);
		_exit(127);
	}
	if (!EVENTUALLY(shared->ready))
		printf("# the target is not ready\n");
	return pid;
}

/* Every state comes round at least `n` times more, within two seconds. */
static bool all_go_on(const char *const *names, long n)
{
	for (int i = 0; names[i]; i++) {
		long before = shared->calls[i];

		if (!strcmp(names[i], "gone") || !strcmp(names[i], "compat"))
			continue;
		if (!EVENTUALLY(shared->calls[i] >= before + n)) {
			printf("# state %s stands still\n", names[i]);
			return false;
		}
	}
	return true;
}

static void check_states(const char *const *names)
{
	if (shared->errors)
		printf("# wrong in state %s, attach_states.c:%ld\n", names[shared->where],
		       (long)shared->what);
	CHECK_EQ(shared->errors, 0);
}

static void report(int err, const struct keeper_error *e)
{
	if (err)
		printf("# %d: %s\n", err, e->detail);
	CHECK_EQ(err, 0);
}

/* Inject, two links that come and go, detach, with the first state on the main thread. */
static void go_through(const char *const *names, bool preload, int rounds)
{
	pid_t pid = start_states(names, preload);
	struct keeper_error e;
	int link[2];

	CHECK(all_go_on(names, 1));
	report(preload ? 0 : keeper_inject(k, pid, &e), &e);
	for (int round = 0; round < rounds; round++) {
		link[0] = make_link(-1);
		EVENTUALLY(keeper_sync(k, pid, &e) != -EAGAIN);
		link[1] = make_link(-1);
		EVENTUALLY(keeper_sync(k, pid, &e) != -EAGAIN);
		CHECK(all_go_on(names, 1));
		drop_link(link[0]);
		EVENTUALLY(keeper_sync(k, pid, &e) != -EAGAIN);
		drop_link(link[1]);
	}
	CHECK(hits() > 0);
	report(keeper_detach(k, pid, &e), &e);
	CHECK(all_go_on(names, 2));
	CHECK_EQ(end_target(pid), 0);
	check_states(names);
	CHECK_EQ(shared->interrupted, 0);
}

static const char *const calm[] = {
	"registers",    "nanosleep", "poll",    "select",       "futex",        "epoll",
	"semop",        "read",      "accept",  "read_eintr",   "read_restart", "sigsuspend",
	"sigtimedwait", "handler",   "blocked", "trap_ignored", "call",         NULL};

TEST(states_hold_without_limpet)
{
	pid_t pid;

	REQUIRE(prepare());
	pid = start_states(calm, false);
	CHECK(all_go_on(calm, 5));
	CHECK_EQ(end_target(pid), 0);
	check_states(calm);
}

TEST(states_of_threads_see_nothing)
{
	REQUIRE(prepare());
	go_through(calm, false, 3);
	go_through(calm, true, 3);
}

/* The keeper borrows the main thread first, so each state gets its turn there. */
TEST(states_of_a_borrowed_thread_see_nothing)
{
	const char *names[] = {NULL, "call_seldom", "nanosleep", NULL};

	REQUIRE(prepare());
	for (int i = 0; calm[i]; i++) {
		names[0] = calm[i];
		go_through(names, false, getenv("LIMPET_LONG") ? 20 : 1);
		if (check_failed) {
			printf("# main thread: %s\n", names[0]);
			return;
		}
	}
}

TEST(children_and_short_threads_live_on)
{
	static const char *const each[][4] = {{"vfork", "call"},          {"call", "vfork"},
					      {"spawn", "call"},          {"call", "spawn"},
					      {"fork", "call"},           {"threads", "call"},
					      {"call", "threads", "fork"}};

	REQUIRE(prepare());
	for (size_t i = 0; i < ARRAY_SIZE(each) && !check_failed; i++) {
		go_through(each[i], false, 3);
		if (check_failed)
			printf("# states %s and %s\n", each[i][0], each[i][1]);
	}
}

/* Threads start and end all the time, some of them just when they are looked at. */
static void come_and_go(const char *const *names, int rounds)
{
	pid_t pid = start_states(names, false);
	int link = make_link(-1);
	struct keeper_error e;

	for (int round = 0; round < rounds && !check_failed; round++) {
		report(keeper_inject(k, pid, &e), &e);
		*(u64 *)map_direct_value(&counter) = 0;
		CHECK(EVENTUALLY(hits() > 20));
		report(keeper_detach(k, pid, &e), &e);
		CHECK(all_go_on(names, 1));
		if (check_failed)
			printf("# %s and %s, round %d\n", names[0], names[1], round);
	}
	drop_link(link);
	CHECK_EQ(end_target(pid), 0);
	check_states(names);
}

TEST(threads_that_end_are_no_end_of_the_process)
{
	static const char *const each[][5] = {{"registers", "relay", "call_seldom"},
					      {"call_seldom", "threads", "threads", "relay"},
					      {"gone", "relay", "nanosleep"},
					      {"gone", "relay"}};
	int rounds = getenv("LIMPET_LONG") ? 2000 : 60;

	REQUIRE(prepare());
	for (size_t i = 0; i < ARRAY_SIZE(each) && !check_failed; i++)
		come_and_go(each[i], rounds);
}

TEST(a_target_without_a_main_thread)
{
	static const char *const names[] = {"gone", "call", "registers", "nanosleep", NULL};

	REQUIRE(prepare());
	go_through(names, false, 3);
	go_through(names, true, 3);
}

/* One thread under a filter of its own; then all of them, which only the privileged can help. */
TEST(threads_under_seccomp_see_nothing)
{
	static const char *const some[] = {"filtered", "call_seldom", "nanosleep", NULL};
	static const char *const all[] = {"filtered", NULL};

	REQUIRE(prepare());
	go_through(some, false, 1);
	if (geteuid() || prctl(PR_GET_SECCOMP, 0, 0, 0, 0))
		SKIP("all threads under seccomp: needs CAP_SYS_ADMIN, and no filter over the test");
	go_through(all, false, 1);
	go_through(all, true, 1);
}

TEST(a_thread_in_32_bit_code_is_refused)
{
	static const char *const names[] = {"call", "compat", NULL};
	struct keeper_error e;
	pid_t pid;

	REQUIRE(prepare());
	pid = start_states(names, false);
	REQUIRE(EVENTUALLY(shared->calls[1]));
	ms_sleep(5);
	CHECK(keeper_inject(k, pid, &e) < 0);
	CHECK_EQ(e.reason, KEEPER_ARCH);
	CHECK(EVENTUALLY(shared->calls[0] > 100));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static pid_t second_thread(pid_t pid)
{
	char path[64];
	struct dirent *d;
	pid_t tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (tid == 0 || tid == pid) && (d = readdir(dir)))
		tid = atoi(d->d_name);
	closedir(dir);
	return tid;
}

TEST(a_traced_thread_is_refused)
{
	static const char *const names[] = {"call", "nanosleep", NULL};
	struct keeper_error e;
	pid_t pid, tid;

	REQUIRE(prepare());
	pid = start_states(names, false);
	REQUIRE(EVENTUALLY(shared->calls[1]));
	tid = second_thread(pid);
	CHECK_EQ(ptrace(PTRACE_SEIZE, tid, 0, 0), 0);
	CHECK(keeper_inject(k, pid, &e) < 0);
	CHECK_EQ(e.reason, KEEPER_TRACED);
	ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	waitpid(tid, NULL, __WALL);
	ptrace(PTRACE_DETACH, tid, 0, 0);
	CHECK(all_go_on(names, 1));
	CHECK_EQ(end_target(pid), 0);
}

enum work { INJECT, ADD, REMOVE, DETACH };

static void work_as_keeper(enum work work, pid_t pid)
{
	struct keeper_error e;

	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	if (work == INJECT)
		keeper_inject(k, pid, &e);
	else if (work == DETACH)
		keeper_detach(k, pid, &e);
	else
		keeper_sync(k, pid, &e);
	_exit(0);
}

/* Does this call change anything in the target? */
static bool is_step(const struct user_regs_struct *r)
{
	return r->orig_rax == SYS_ptrace || r->orig_rax == SYS_pwrite64 ||
	       r->orig_rax == SYS_sendmsg;
}

/* Threads that run while a keeper writes into their process. */
static long at_large;

static char state_of(pid_t pid, pid_t tid)
{
	char name[32], text[1024], *p;

	snprintf(name, sizeof(name), "task/%d/stat", tid);
	slurp(pid, name, text, sizeof(text));
	p = strrchr(text, ')');
	return p ? p[2] : 0;
}

/* The keeper is about to write: where to? */
static void check_all_stand(pid_t keeper, pid_t pid, unsigned long long fd)
{
	char path[64], to[64] = "";
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd/%llu", keeper, fd);
	if (readlink(path, to, sizeof(to) - 1) < 0 || !strstr(to, "/mem"))
		return;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		pid_t tid = atoi(d->d_name);
		char state = tid > 0 ? state_of(pid, tid) : 't';

		at_large += state != 't' && !(state == 'Z' && tid == pid);
	}
	closedir(dir);
}

/*
 * Runs the work in a process that is killed before its step number `kill_at`; true when it came to
 * its end before. kill_target: not the keeper is killed, but its target.
 */
static bool dies_at(enum work work, pid_t pid, long kill_at, bool kill_target)
{
	pid_t keeper = fork(), tid;
	bool entering[4096] = {false};
	long steps = 0;
	int status;

	if (!keeper)
		work_as_keeper(work, pid);
	waitpid(keeper, &status, 0);
	ptrace(PTRACE_SETOPTIONS, keeper, 0,
	       PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
	ptrace(PTRACE_SYSCALL, keeper, 0, 0);
	for (;;) {
		struct user_regs_struct r;
		int sig = 0;

		tid = waitpid(-1, &status, __WALL);
		if (tid == pid && kill_target)
			continue;
		if (tid < 0 || tid == pid)
			return true; /* the target has ended: the checks will say so */
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (tid == keeper)
				return steps <= kill_at || kill_at < 0;
			continue;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			entering[tid % 4096] = !entering[tid % 4096];
			if (entering[tid % 4096] && !ptrace(PTRACE_GETREGS, tid, 0, &r) &&
			    (is_step(&r) || (kill_target && r.orig_rax == SYS_waitid))) {
				if (r.orig_rax == SYS_pwrite64)
					check_all_stand(tid, pid, r.rdi);
				if (steps++ == kill_at) {
					if (!kill_target)
						break;
					kill(pid, SIGKILL);
				}
			}
		} else if (status >> 16 == 0 && WSTOPSIG(status) != SIGSTOP &&
			   WSTOPSIG(status) != SIGTRAP) {
			sig = WSTOPSIG(status);
		}
		ptrace(PTRACE_SYSCALL, tid, 0, sig);
	}
	kill(keeper, SIGKILL);
	while ((tid = waitpid(-1, &status, __WALL)) > 0 && tid != keeper)
		;
	return false;
}

static bool keeper_dies_at(enum work work, pid_t pid, long kill_at)
{
	return dies_at(work, pid, kill_at, false);
}

static const u8 original[5] = {0x0f, 0x1f, 0x44, 0x00, 0x00};

static bool patched_or_not(pid_t pid)
{
	u8 text[sizeof(original)];

	text_of(pid, text, sizeof(text));
	return !memcmp(text, original, sizeof(text)) || text[0] == 0xe9;
}

/* A keeper dies at its n-th step: the target goes on, and the next keeper can do everything. */
static bool survives(enum work work, const char *const *names, long n)
{
	struct keeper_error e;
	bool over;
	pid_t pid = start_states(names, work == ADD || work == REMOVE);
	int link = -1, other;

	if (work == DETACH)
		CHECK_EQ(keeper_inject(k, pid, &e), 0);
	link = make_link(-1);
	if (work == REMOVE || work == DETACH) {
		CHECK_EQ(keeper_sync(k, pid, &e), 0);
		if (work == REMOVE)
			drop_link(link);
	}
	over = keeper_dies_at(work, pid, n);
	CHECK(all_go_on(names, 2));
	CHECK(patched_or_not(pid));
	other = make_link(-1);
	report(keeper_inject(k, pid, &e), &e);
	*(u64 *)map_direct_value(&counter) = 0;
	CHECK(EVENTUALLY(hits() > 20));
	report(keeper_detach(k, pid, &e), &e);
	CHECK(all_go_on(names, 1));
	CHECK(patched_or_not(pid));
	if (work != REMOVE)
		drop_link(link);
	drop_link(other);
	CHECK_EQ(end_target(pid), 0);
	check_states(names);
	return over;
}

/* Another keeper, to whom nobody says that there is something to do, leaves the target as it is to be. */
static bool brought_in_line(pid_t pid)
{
	struct keeper_error e;
	bool done = EVENTUALLY(!keeper_sync(k, pid, &e));

	if (!done)
		printf("# %s\n", e.detail);
	return done;
}

/* A link comes and goes again, each time under a keeper that dies at its n-th step. */
static bool is_finished(pid_t pid, long n)
{
	int link = make_link(-1);
	u8 text[sizeof(original)];
	bool over = keeper_dies_at(ADD, pid, n);

	CHECK(brought_in_line(pid));
	*(u64 *)map_direct_value(&counter) = 0;
	CHECK(EVENTUALLY(hits() > 20));
	if (check_failed)
		printf("# keeper killed at add, step %ld\n", n);
	drop_link(link);
	over &= keeper_dies_at(REMOVE, pid, n);
	CHECK(brought_in_line(pid));
	text_of(pid, text, sizeof(text));
	CHECK(!memcmp(text, original, sizeof(text)));
	if (check_failed)
		printf("# keeper killed at step %ld, text %02x\n", n, text[0]);
	return over;
}

TEST(what_a_dead_keeper_left_is_finished_without_another_change)
{
	static const char *const names[] = {"call", "nanosleep", NULL};
	struct keeper_error e;
	pid_t pid;
	long n = 0;

	REQUIRE(prepare());
	pid = start_states(names, true);
	while (!is_finished(pid, n) && !check_failed)
		n++;
	printf("# %ld steps\n", n);
	CHECK(n > 10);
	report(keeper_detach(k, pid, &e), &e);
	CHECK_EQ(end_target(pid), 0);
	check_states(names);
}

/* A keeper's look takes no step in a target that is in line: nobody is stopped for it. */
static bool left_alone(pid_t pid)
{
	struct agent_header h = {.write_count = 1};

	CHECK(keeper_is_target(k, pid, &h));
	CHECK_EQ(h.write_count, 0);
	CHECK_EQ(h.move_count, 0);
	return keeper_dies_at(ADD, pid, 0);
}

TEST(a_target_in_line_is_left_alone)
{
	static const char *const names[] = {"call", "nanosleep", NULL};
	struct keeper_error e;

	REQUIRE(prepare());
	for (int preload = 0; preload < 2; preload++) {
		int first = make_link(-1), second;
		pid_t pid = start_states(names, preload);

		report(preload ? 0 : keeper_inject(k, pid, &e), &e);
		CHECK(EVENTUALLY(hits() > 20));
		CHECK(left_alone(pid));
		second = make_link(-1);
		CHECK(!keeper_dies_at(ADD, pid,
				      0)); /* there is something to do: the look above can fail */
		CHECK(brought_in_line(pid));
		CHECK(left_alone(pid));
		drop_link(second);
		CHECK(brought_in_line(pid));
		CHECK(left_alone(pid));
		drop_link(first);
		CHECK(brought_in_line(pid));
		CHECK(left_alone(pid));
		report(keeper_detach(k, pid, &e), &e);
		CHECK_EQ(end_target(pid), 0);
		check_states(names);
	}
}

static void die_everywhere(const char *const *names)
{
	static const char *const what[] = {"inject", "add", "remove", "detach"};
	long stride = getenv("LIMPET_LONG") ? 1 : 97;

	for (int work = INJECT; work <= DETACH; work++) {
		long n = (work * 5 + getpid()) % stride;

		while (!survives(work, names, n) && !check_failed)
			n += stride;
		if (check_failed) {
			printf("# keeper killed at %s, step %ld, main thread: %s\n", what[work], n,
			       names[0]);
			return;
		}
		printf("# %s: %ld steps\n", what[work], n);
	}
}

/* However fast threads come and go, none runs while something is written. */
TEST(all_threads_stand_while_a_keeper_writes)
{
	static const char *const each[][4] = {{"registers", "relay", "call_seldom"},
					      {"gone", "relay", "nanosleep"}};
	int rounds = getenv("LIMPET_LONG") ? 500 : 10;

	REQUIRE(prepare());
	at_large = 0;
	for (size_t i = 0; i < ARRAY_SIZE(each) && !check_failed; i++) {
		pid_t pid = start_states(each[i], true);

		for (int round = 0; round < rounds && !check_failed; round++) {
			int link = make_link(-1);

			keeper_dies_at(ADD, pid, -1); /* never */
			CHECK(brought_in_line(pid));
			CHECK_EQ(at_large, 0);
			drop_link(link);
			keeper_dies_at(REMOVE, pid, -1);
			CHECK(brought_in_line(pid));
			CHECK_EQ(at_large, 0);
		}
		CHECK_EQ(end_target(pid), 0);
		check_states(each[i]);
	}
}

/* A target is killed while a keeper works on it: the keeper does not wait for what never comes. */
TEST(a_keeper_survives_its_target)
{
	static const char *const each[][4] = {{"registers", "nanosleep", "call"},
					      {"nanosleep", "registers", "call"},
					      {"gone", "registers", "call"}};
	long stride = getenv("LIMPET_LONG") ? 1 : 29;

	REQUIRE(prepare());
	alarm(100);
	for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
		bool over = false;
		long n;

		for (n = getpid() % stride; !over; n += stride) {
			pid_t pid = start_states(each[i], true);
			int link = make_link(-1);

			over = dies_at(ADD, pid, n, true);
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			drop_link(link);
		}
		printf("# %s: %ld steps\n", each[i][0], n);
		CHECK(n > 50);
	}
	alarm(0);
}

TEST(a_keeper_dies_at_any_step_computing_thread)
{
	static const char *const names[] = {"registers", "call", "read_restart", NULL};

	REQUIRE(prepare());
	die_everywhere(names);
}

TEST(a_keeper_dies_at_any_step_sleeping_thread)
{
	static const char *const names[] = {"nanosleep", "call_seldom", "futex", NULL};

	REQUIRE(prepare());
	die_everywhere(names);
}

TEST(a_keeper_dies_at_any_step_waiting_for_signals)
{
	static const char *const names[] = {"sigsuspend", "call_seldom", NULL};

	REQUIRE(prepare());
	die_everywhere(names);
}

/* Trampolines, stubs and the functions' copies are written in several steps, and calls are in flight. */
TEST(a_keeper_dies_at_any_step_with_return_probes)
{
	static const char *const names[] = {"registers", "call", "nanosleep", NULL};

	REQUIRE(prepare());
	link_flags = PROBE_F_RETURN;
	die_everywhere(names);
	link_flags = 0;
}

TEST_MAIN()
