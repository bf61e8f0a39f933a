/* SPDX-License-Identifier: MIT */
/*
 * The agent and the keeper on a real target, without a tool: the test makes the session's objects
 * itself. The program adds 1 to the first value of an array for every hit.
 */
#include "../unit/check.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include "attach_session.h"

static pid_t start_target(int threads, long calls, bool preload)
{
	char n[16], c[32];
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	*(u64 *)map_direct_value(&counter) = 0;
	snprintf(n, sizeof(n), "%d", threads);
	snprintf(c, sizeof(c), "%ld", calls);
	pid = fork();
	if (pid)
		return pid;
	if (preload) {
		setenv("LD_PRELOAD", agent_path, 1);
		setenv(AGENT_ENV, s.path, 1);
	}
	execl(target_path, target_path, shared_path, n, c, NULL);
	_exit(127);
}

static bool calls_go_on(void)
{
	long before = sum_calls();

	return EVENTUALLY(sum_calls() > before + 1000);
}

TEST(constructor_attaches_before_main)
{
	pid_t pid;
	int link;

	REQUIRE(prepare());
	link = make_link(-1);
	REQUIRE(link >= 0);
	pid = start_target(4, 10000, true);
	CHECK_EQ(end_target(pid) & ~0xff00, 0);
	pid = start_target(4, 10000, true);
	ms_sleep(0);
	int status;
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(hits(), 40000);
	CHECK_EQ(shared->errors, 0);
	drop_link(link);
}

TEST(constructor_stays_idle_without_session)
{
	pid_t pid;
	int status;

	REQUIRE(prepare());
	memset(shared, 0, sizeof(*shared));
	pid = fork();
	if (!pid) {
		setenv("LD_PRELOAD", agent_path, 1);
		setenv(AGENT_ENV, "/nonexistent/session", 1);
		execl(target_path, target_path, shared_path, "1", "1000", NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(sum_calls(), 1000);
}

/* Stops a starting target in the middle of the agent's constructor; 0 when it never was there. */
static pid_t stop_in_constructor(void)
{
	struct agent_header h;
	int status;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	*(u64 *)map_direct_value(&counter) = 0;
	pid = fork();
	if (!pid) {
		setenv("LD_PRELOAD", agent_path, 1);
		setenv(AGENT_ENV, s.path, 1);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execl(target_path, target_path, shared_path, "1", "1000", NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		if (keeper_is_target(k, pid, &h)) {
			ptrace(PTRACE_DETACH, pid, 0, SIGSTOP);
			return atomic_load(&h.ready) ? 0 : pid;
		}
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
	}
	return 0;
}

TEST(a_target_whose_constructor_is_at_work_is_left_alone)
{
	struct keeper_error e;
	int link, status;
	pid_t pid;

	REQUIRE(prepare());
	link = make_link(-1);
	REQUIRE(link >= 0);
	pid = stop_in_constructor();
	REQUIRE(pid > 0);
	CHECK_EQ(keeper_sync(k, pid, &e), -EAGAIN);
	CHECK_EQ(e.reason, KEEPER_BUSY);
	kill(pid, SIGCONT);
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(hits(), 1000);
	drop_link(link);
}

TEST(links_come_and_go_in_a_started_target)
{
	struct keeper_error e;
	pid_t pid;
	int link;
	u64 seen;

	REQUIRE(prepare());
	pid = start_target(4, 0, true);
	REQUIRE(EVENTUALLY(shared->ready));
	CHECK(keeper_is_target(k, pid, NULL));
	link = make_link(-1);
	CHECK_EQ(keeper_sync(k, pid, &e), 0);
	CHECK_STR(e.detail, "");
	CHECK(EVENTUALLY(hits() > 1000));
	drop_link(link);
	ms_sleep(20);
	seen = hits();
	CHECK(calls_go_on());
	CHECK_EQ(hits(), seen);
	CHECK_EQ(keeper_sync(k, pid, &e), 0);
	CHECK(calls_go_on());
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->errors, 0);
	CHECK_EQ(shared->interrupted, 0);
}

TEST(injects_and_leaves_no_trace)
{
	static char maps_before[65536], maps_after[65536];
	u8 text_before[32], text_after[32];
	struct keeper_error e;
	pid_t pid;
	int link;

	REQUIRE(prepare());
	pid = start_target(4, 0, false);
	REQUIRE(EVENTUALLY(shared->ready) && calls_go_on());
	slurp(pid, "maps", maps_before, sizeof(maps_before));
	text_of(pid, text_before, sizeof(text_before));
	link = make_link(-1);
	CHECK_EQ(keeper_inject(k, pid, &e), 0);
	CHECK_STR(e.detail, "");
	CHECK(EVENTUALLY(hits() > 1000));
	CHECK_EQ(keeper_inject(k, pid, &e), 0);
	CHECK_EQ(keeper_detach(k, pid, &e), 0);
	CHECK_STR(e.detail, "");
	CHECK(calls_go_on());
	slurp(pid, "maps", maps_after, sizeof(maps_after));
	text_of(pid, text_after, sizeof(text_after));
	CHECK(!strcmp(maps_before, maps_after));
	CHECK(!memcmp(text_before, text_after, sizeof(text_before)));
	CHECK_EQ(keeper_detach(k, pid, &e) != 0, 1);
	CHECK_EQ(e.reason, KEEPER_NOT_TARGET);
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->errors, 0);
	CHECK_EQ(shared->interrupted, 0);
	drop_link(link);
}

TEST(two_links_count_twice_and_a_pid_filter_holds)
{
	struct keeper_error e;
	int a, b, other;
	pid_t pid;
	u64 h0, h1;
	long c0;

	REQUIRE(prepare());
	a = make_link(-1);
	b = make_link(-1);
	other = make_link(1);
	pid = start_target(1, 20000, true);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	CHECK_EQ(hits(), 40000);
	drop_link(a);
	drop_link(b);
	pid = start_target(1, 0, false);
	REQUIRE(EVENTUALLY(shared->ready));
	CHECK_EQ(keeper_inject(k, pid, &e), 0);
	CHECK(calls_go_on());
	CHECK_EQ(hits(), 0);
	a = make_link(pid);
	CHECK_EQ(keeper_sync(k, pid, &e), 0);
	h0 = hits();
	CHECK(EVENTUALLY(hits() > h0));
	b = make_link(-1);
	CHECK_EQ(keeper_sync(k, pid, &e), 0);
	h0 = hits();
	c0 = sum_calls();
	CHECK(calls_go_on());
	h1 = hits();
	CHECK((long)(h1 - h0) > (sum_calls() - c0) * 3 / 2);
	CHECK_EQ(end_target(pid), 0);
	drop_link(a);
	drop_link(b);
	drop_link(other);
}

TEST(a_stopped_target_stays_stopped)
{
	struct keeper_error e;
	char stat[1024];
	pid_t pid;
	int link, status;

	REQUIRE(prepare());
	pid = start_target(2, 0, false);
	REQUIRE(EVENTUALLY(shared->ready));
	kill(pid, SIGSTOP);
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	link = make_link(-1);
	CHECK_EQ(keeper_inject(k, pid, &e), 0);
	CHECK_STR(e.detail, "");
	ms_sleep(20);
	slurp(pid, "stat", stat, sizeof(stat));
	CHECK(strstr(stat, ") T ") != NULL);
	CHECK_EQ(hits(), 0);
	kill(pid, SIGCONT);
	CHECK(EVENTUALLY(hits() > 100));
	CHECK_EQ(keeper_detach(k, pid, &e), 0);
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->interrupted, 0);
	drop_link(link);
}

/* All that a process shows of itself and that limpet must not change. */
struct looks {
	char maps[65536], status[1024], fds[4096];
	long threads;
	u64 text; /* sum over all code from files */
};

static long list_folder(pid_t pid, const char *name, char *ret, size_t size)
{
	char path[64], to[256];
	struct dirent *d;
	size_t n = 0;
	long count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	dir = opendir(path);
	for (*ret = 0; dir && (d = readdir(dir)); count++) {
		ssize_t r = readlinkat(dirfd(dir), d->d_name, to, sizeof(to));

		n += (size_t)snprintf(ret + n, size - n, "%s %.*s\n", d->d_name, r < 0 ? 0 : (int)r,
				      to);
	}
	closedir(dir);
	return count;
}

static void look_at(pid_t pid, struct looks *ret)
{
	static char text[8192], tasks[4096];
	size_t n = 0;

	memset(ret, 0, sizeof(*ret));
	slurp(pid, "maps", ret->maps, sizeof(ret->maps));
	slurp(pid, "status", text, sizeof(text));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if ((!strncmp(line, "Sig", 3) && line[3] != 'Q') || !strncmp(line, "Cap", 3) ||
		    !strncmp(line, "Seccomp", 7) || !strncmp(line, "TracerPid", 9) ||
		    !strncmp(line, "FDSize", 6))
			n += (size_t)snprintf(ret->status + n, sizeof(ret->status) - n, "%s\n",
					      line);
	list_folder(pid, "fd", ret->fds, sizeof(ret->fds));
	ret->threads = list_folder(pid, "task", tasks, sizeof(tasks));
	ret->text = sum_text(pid);
}

static _Atomic bool calm_down;

/* SIGSTOP and SIGCONT at random. */
static void *annoy(void *arg)
{
	pid_t pid = *(pid_t *)arg;
	unsigned int seed = (unsigned int)pid;

	while (!atomic_load(&calm_down)) {
		kill(pid, SIGSTOP);
		ms_sleep(rand_r(&seed) % 3);
		kill(pid, SIGCONT);
		ms_sleep(rand_r(&seed) % 5);
	}
	kill(pid, SIGCONT);
	return NULL;
}

TEST(attach_and_detach_again_and_again)
{
	static struct looks before, after;
	int rounds = getenv("LIMPET_LONG") ? 1000 : 25, bad = 0;
	struct keeper_error e;
	pthread_t t;
	pid_t pid;
	int link;

	REQUIRE(prepare());
	pid = start_target(16, 0, false);
	REQUIRE(EVENTUALLY(shared->ready) && calls_go_on());
	look_at(pid, &before);
	link = make_link(-1);
	REQUIRE(!pthread_create(&t, NULL, annoy, &pid));
	for (int i = 0; i < rounds && !bad; i++) {
		u64 seen = hits();

		if (keeper_inject(k, pid, &e) || !EVENTUALLY(hits() > seen) ||
		    keeper_detach(k, pid, &e)) {
			printf("# round %d: %s\n", i, e.detail);
			bad++;
		}
	}
	CHECK_EQ(bad, 0);
	CHECK(calls_go_on());
	calm_down = true;
	pthread_join(t, NULL);
	CHECK(calls_go_on());
	look_at(pid, &after);
	CHECK(!strcmp(before.maps, after.maps));
	CHECK_STR(after.status, before.status);
	CHECK_STR(after.fds, before.fds);
	CHECK_EQ(after.threads, before.threads);
	CHECK_EQ(after.text, before.text);
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->errors, 0);
	drop_link(link);
}

static int stop_pipe[2];

static void *keeping(void *arg)
{
	keeper_run(k, stop_pipe[0], false);
	return NULL;
}

TEST(the_keepers_loop_follows_the_session)
{
	pthread_t t;
	pid_t pid;
	int link;
	u64 seen;

	REQUIRE(prepare() && !pipe(stop_pipe));
	pid = start_target(2, 0, true);
	REQUIRE(EVENTUALLY(shared->ready));
	REQUIRE(!pthread_create(&t, NULL, keeping, NULL));
	link = make_link(-1);
	CHECK(EVENTUALLY(hits() > 1000));
	drop_link(link);
	ms_sleep(20);
	seen = hits();
	CHECK(calls_go_on());
	CHECK_EQ(hits(), seen);
	CHECK_EQ(write(stop_pipe[1], "x", 1), 1);
	pthread_join(t, NULL);
	CHECK_EQ(end_target(pid), 0);
	CHECK_EQ(shared->interrupted, 0);
}

TEST(refusals_name_their_reason)
{
	struct keeper_error e;
	pid_t pid;

	REQUIRE(prepare());
	CHECK(keeper_inject(k, 0x3fffff, &e) != 0);
	CHECK_EQ(e.reason, KEEPER_NO_PROCESS);
	if (!geteuid() && !access("/proc/2/status", R_OK)) {
		char comm[32];

		slurp(2, "comm", comm, sizeof(comm));
		if (!strcmp(comm, "kthreadd\n")) {
			CHECK(keeper_inject(k, 2, &e) != 0);
			CHECK_EQ(e.reason, KEEPER_KERNEL_THREAD);
		}
	}
	pid = start_target(1, 0, false);
	REQUIRE(EVENTUALLY(shared->ready));
	CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
	CHECK(keeper_inject(k, pid, &e) != 0);
	CHECK_EQ(e.reason, KEEPER_TRACED);
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, NULL, 0);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	CHECK_EQ(end_target(pid), 0);
}

TEST_MAIN()
