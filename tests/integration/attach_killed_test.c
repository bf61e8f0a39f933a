/* SPDX-License-Identifier: MIT */
/*
 * A keeper that is killed at every step of its work, or whose target is: with probes of each kind, and in Go
 * programs. The target goes on, and the next keeper can do everything.
 */
#include "../unit/check.h"

#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#undef PAGE_SIZE /* base/types.h has its own */
#include "attach_states.h"

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
	       r->orig_rax == SYS_sendmsg || r->orig_rax == SYS_tgkill;
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

static u8 original[5];     /* of the probed function, in the file */
static bool only_injected; /* nothing can be preloaded into the target */

/* The function of target_path that links are on from here on. */
static bool probe(const char *name)
{
	int fd = open(target_path, O_RDONLY);

	probed_off = symbol_offset(target_path, name);
	if (pread(fd, original, sizeof(original), (off_t)probed_off) != sizeof(original))
		probed_off = 0;
	close(fd);
	return probed_off;
}

static bool patched_or_not(pid_t pid)
{
	u8 text[sizeof(original)];

	text_of(pid, text, sizeof(text));
	if (text[0] == 0xcc)
		return !memcmp(text + 1, original + 1, sizeof(text) - 1);
	return !memcmp(text, original, sizeof(text)) || text[0] == 0xe9;
}

/* Has the target ended, or does it stand still? */
static void tell_end(pid_t pid)
{
	siginfo_t si = {0};

	if (!waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) && si.si_pid)
		printf("# the target has ended: code %d, status %d\n", si.si_code, si.si_status);
	else
		printf("# the target is in state %c\n", state_of(pid, pid));
}

static pid_t start(const char *const *names, bool as_target)
{
	pid_t pid = start_states(names, as_target && !only_injected);
	struct keeper_error e;

	if (as_target && only_injected)
		report(keeper_inject(k, pid, &e), &e);
	return pid;
}

/*
 * A keeper dies at its n-th step: the target goes on, and the next keeper can do everything, and undo it. text: that
 * of a process that never was a target.
 */
static bool survives(enum work work, const char *const *names, u64 text, long n)
{
	struct keeper_error e;
	bool over;
	pid_t pid = start(names, work == ADD || work == REMOVE);
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
	if (check_failed)
		tell_end(pid);
	CHECK(patched_or_not(pid));
	other = make_link(-1);
	report(keeper_inject(k, pid, &e), &e);
	*(u64 *)map_direct_value(&counter) = 0;
	CHECK(EVENTUALLY(hits() > 20));
	report(keeper_detach(k, pid, &e), &e);
	CHECK(all_go_on(names, 1));
	CHECK_EQ(sum_text(pid), text);
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

	REQUIRE(prepare() && probe("probed"));
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

/* seldom: there are thousands of steps. */
static void die_everywhere(const char *const *names, bool seldom)
{
	static const char *const what[] = {"inject", "add", "remove", "detach"};
	long stride = getenv("LIMPET_LONG") ? seldom ? 7 : 1 : seldom ? 499 : 31;
	pid_t pid = start_states(names, false);
	u64 text = sum_text(pid);

	CHECK_EQ(end_target(pid), 0);
	for (int work = INJECT; work <= DETACH; work++) {
		long n = (work * 5 + getpid()) % stride;

		while (!survives(work, names, text, n) && !check_failed)
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

	REQUIRE(prepare() && probe("probed"));
	die_everywhere(names, false);
}

TEST(a_keeper_dies_at_any_step_sleeping_thread)
{
	static const char *const names[] = {"nanosleep", "call_seldom", "futex", NULL};

	REQUIRE(prepare() && probe("probed"));
	die_everywhere(names, false);
}

TEST(a_keeper_dies_at_any_step_waiting_for_signals)
{
	static const char *const names[] = {"sigsuspend", "call_seldom", NULL};

	REQUIRE(prepare() && probe("probed"));
	die_everywhere(names, false);
}

/* The signal that ends a command stays with nobody; with handlers for all that might, commands end otherwise. */
TEST(a_keeper_dies_at_any_step_and_no_signal_stays)
{
	static const char *const free_lead[] = {"call_seldom", "quiet_blocked", NULL};
	static const char *const caught[] = {"quiet_caught", "call_seldom", NULL};

	REQUIRE(prepare() && probe("probed"));
	die_everywhere(free_lead, false);
	die_everywhere(caught, false);
}

/* Trampolines, stubs and the functions' copies are written in several steps, and calls are in flight. */
TEST(a_keeper_dies_at_any_step_with_return_probes)
{
	static const char *const names[] = {"registers", "call", "nanosleep", NULL};

	REQUIRE(prepare() && probe("probed"));
	link_flags = PROBE_F_RETURN;
	die_everywhere(names, false);
	link_flags = 0;
}

/* Calls that set masks are watched, then a handler comes, then the breakpoint; and back in several stops. */
TEST(a_keeper_dies_at_any_step_with_breakpoints)
{
	static const char *const names[] = {"registers", "call_looping", "nanosleep", "handler",
					    NULL};

	REQUIRE(prepare() && probe("looping"));
	die_everywhere(names, false);
}

/* Some hundred places of libc's, before and behind calls that threads are in. */
TEST(a_keeper_dies_at_any_step_with_system_calls)
{
	static const char *const names[] = {"nanosleep", "make_calls", "read_restart", "futex",
					    NULL};

	REQUIRE(prepare() && probe("probed"));
	link_syscall = SYSCALL_ALL;
	for (link_flags = 0; link_flags <= PROBE_F_RETURN && !check_failed;
	     link_flags += PROBE_F_RETURN)
		die_everywhere(names, true);
	link_flags = 0;
	link_syscall = NO_SYSCALL;
}

/* The borrowed thread is on a goroutine's stack, or the scheduler's. */
TEST(a_keeper_dies_at_any_step_in_a_go_program)
{
	static const char *const names[] = {"goroutine", "goroutine", "goroutine", "goroutine",
					    NULL};
	char *source = getenv("ATTACH_GO"), *build, was[sizeof(target_path)];
	bool built;

	REQUIRE(prepare() && source);
	memcpy(was, target_path, sizeof(was));
	snprintf(target_path, sizeof(target_path), "%.4000s/go", s.path);
	REQUIRE(asprintf(&build, "GOCACHE='%s/cache' go build -o '%s' '%s' 2>/dev/null", s.path,
			 target_path, source) > 0);
	built = !system(build);
	free(build);
	if (built) {
		only_injected = true;
		CHECK(probe("main.probed"));
		die_everywhere(names, false);
		only_injected = false;
	}
	memcpy(target_path, was, sizeof(was));
	if (!built)
		SKIP("no Go compiler (tools/setup.sh --long)");
}

TEST_MAIN()
