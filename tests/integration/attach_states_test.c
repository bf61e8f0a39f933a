/* SPDX-License-Identifier: MIT */
/*
 * Stopping, borrowing and giving back, for every state a thread can be in (attach_states.c checks
 * what it sees itself).
 */
#include "../unit/check.h"

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#undef PAGE_SIZE /* base/types.h has its own */
#include "attach_states.h"

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

TEST(signals_that_end_commands_are_not_seen)
{
	static const char *const each[][4] = {{"quiet_caught", "call"},
					      {"quiet_blocked", "call"},
					      {"call", "quiet_blocked", "sigsuspend"},
					      {"sigsuspend", "quiet_caught", "call"}};

	REQUIRE(prepare());
	for (size_t i = 0; i < ARRAY_SIZE(each) && !check_failed; i++) {
		go_through(each[i], false, 3);
		if (check_failed)
			printf("# states %s and %s\n", each[i][0], each[i][1]);
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

TEST_MAIN()
