/* SPDX-License-Identifier: MIT */
/* Helper functions called directly, against libc's answers. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "helpers/helpers.h"
#include "session/trace.h"
#include "../check.h"

static struct helper_env env;
static struct vm_run run = {.env = &env};

static u64 call(u32 id, u64 a, u64 b, u64 c, u64 d)
{
	if (!env.vdso_ok)
		helper_env_init(&env, getauxval(AT_SYSINFO_EHDR), NULL);
	return helper_table[id](a, b, c, d, 0, &run);
}

TEST(clocks_are_the_systems)
{
	struct timespec a, b;
	u64 t;

	clock_gettime(CLOCK_MONOTONIC, &a);
	t = call(5, 0, 0, 0, 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	CHECK(t >= (u64)a.tv_sec * 1000000000 + (u64)a.tv_nsec && t <= (u64)b.tv_sec * 1000000000 + (u64)b.tv_nsec);
	clock_gettime(CLOCK_BOOTTIME, &a);
	CHECK(call(125, 0, 0, 0, 0) >= (u64)a.tv_sec * 1000000000 + (u64)a.tv_nsec);
	CHECK(env.vdso_ok);
}

TEST(identity_is_the_callers_also_in_a_forked_child)
{
	char name[16];

	CHECK_EQ(call(14, 0, 0, 0, 0), (u64)getpid() << 32 | (u32)gettid());
	CHECK_EQ(call(15, 0, 0, 0, 0), (u64)getgid() << 32 | (u32)getuid());
	prctl(PR_SET_NAME, "a-thread");
	CHECK_EQ(call(16, (u64)name, sizeof(name), 0, 0), 0);
	CHECK_STR(name, "a-thread");
	CHECK_EQ(call(16, (u64)name, 4, 0, 0), 0);
	CHECK_STR(name, "a-t");
}

/* Cheap identity as the agent sets it up in a process of one thread that makes no vfork children. */
static bool make_cheap(void)
{
	const u32 *desc = dlsym(RTLD_DEFAULT, "_thread_db_pthread_tid");
	void *wiped = mmap(NULL, helper_wiped_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!desc || madvise(wiped, helper_wiped_size(), MADV_WIPEONFORK))
		return false;
	helper_env_init(&env, getauxval(AT_SYSINFO_EHDR), wiped);
	env.tid_off = desc[2];
	atomic_store(&env.process->ident, (u64)getpid());
	return true;
}

static void *in_thread(void *arg)
{
	char name[16];

	prctl(PR_SET_NAME, "other");
	call(16, (u64)name, 16, 0, 0);
	*(bool *)arg = call(14, 0, 0, 0, 0) == ((u64)getpid() << 32 | (u32)gettid()) && !strcmp(name, "other");
	return NULL;
}

static int in_child(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return status;
}

TEST(cheap_identity_is_exact_in_threads_and_forked_children)
{
	bool good = false;
	pthread_t t;
	pid_t pid;

	if (!make_cheap())
		SKIP("this libc does not tell where it keeps thread ids");
	CHECK_EQ(call(14, 0, 0, 0, 0), (u64)getpid() << 32 | (u32)gettid());
	pthread_create(&t, NULL, in_thread, &good);
	pthread_join(t, NULL);
	CHECK(good);
	pid = fork();
	if (!pid)
		_exit(call(14, 0, 0, 0, 0) != ((u64)getpid() << 32 | (u32)gettid()) ||
		      atomic_load(&env.process->ident) != (u64)getpid() ||
		      call(14, 0, 0, 0, 0) != ((u64)getpid() << 32 | (u32)gettid()));
	CHECK_EQ(in_child(pid), 0);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); /* libc does not notice */
	if (!pid)
		_exit(call(14, 0, 0, 0, 0) != ((u64)syscall(SYS_getpid) << 32 | (u32)syscall(SYS_gettid)) ||
		      atomic_load(&env.process->ident));
	CHECK_EQ(in_child(pid), 0);
	memset(&env, 0, sizeof(env));
}

TEST(a_name_is_kept_for_at_most_10_ms)
{
	struct timespec ms10 = {.tv_nsec = 10000000};
	struct helper_name *e;
	char name[16];

	if (!make_cheap())
		SKIP("this libc does not tell where it keeps thread ids");
	prctl(PR_SET_NAME, "first");
	call(16, (u64)name, 16, 0, 0);
	CHECK_STR(name, "first");
	e = &env.process->names[gettid() & (HELPER_THREADS - 1)];
	CHECK_EQ(atomic_load(&e->tid), gettid());
	atomic_store(&e->name[0], 'x'); /* seen: it is the entry that answers */
	call(16, (u64)name, 16, 0, 0);
	CHECK(!strcmp(name, "x") || !strcmp(name, "first"));
	prctl(PR_SET_NAME, "second");
	nanosleep(&ms10, NULL);
	call(16, (u64)name, 16, 0, 0);
	CHECK_STR(name, "second");
	/* What a writer leaves that never came back: the kernel answers, at once. */
	atomic_fetch_add(&e->seq, 1);
	prctl(PR_SET_NAME, "third");
	call(16, (u64)name, 16, 0, 0);
	CHECK_STR(name, "third");
	memset(&env, 0, sizeof(env));
}

TEST(random_numbers_differ_in_forked_children)
{
	u64 *seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), ones = 0;
	pid_t pid;

	make_cheap();
	for (int i = 0; i < 4000; i++) {
		u64 r = call(7, 0, 0, 0, 0);

		CHECK(r >> 32 == 0);
		ones += (u64)__builtin_popcountll(r);
	}
	CHECK(ones > 4000 * 15 && ones < 4000 * 17);
	for (int i = 0; i < 2; i++) {
		pid = fork();
		if (!pid) {
			seen[i] = call(7, 0, 0, 0, 0) << 32 | call(7, 0, 0, 0, 0);
			_exit(0);
		}
		CHECK_EQ(in_child(pid), 0);
	}
	seen[2] = call(7, 0, 0, 0, 0) << 32 | call(7, 0, 0, 0, 0);
	CHECK(seen[0] != seen[1] && seen[0] != seen[2] && seen[1] != seen[2]);
	memset(&env, 0, sizeof(env));
}

TEST(the_processor_is_the_one_it_runs_on)
{
	for (int i = 0; i < 1000; i++) {
		unsigned int before, after;
		u64 cpu;

		syscall(SYS_getcpu, &before, NULL, NULL);
		cpu = call(8, 0, 0, 0, 0);
		syscall(SYS_getcpu, &after, NULL, NULL);
		CHECK(cpu == before || before != after);
	}
}

TEST(probe_reads_never_fault)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), buf[64];

	munmap(page + 4096, 4096);
	memcpy(page + 4090, "hello", 6);
	CHECK_EQ(call(112, (u64)buf, 6, (u64)page + 4090, 0), 0);
	CHECK_STR(buf, "hello");
	CHECK_EQ((s64)call(112, (u64)buf, 7, (u64)page + 4090, 0), -14);
	CHECK_EQ((s64)call(112, (u64)buf, 8, 0, 0), -14);
	CHECK_EQ(call(114, (u64)buf, sizeof(buf), (u64)page + 4090, 0), 6);
	CHECK_EQ(call(114, (u64)buf, 3, (u64)page + 4090, 0), 3);
	CHECK_STR(buf, "he");
	memcpy(page + 4091, "12345", 5);
	CHECK_EQ((s64)call(114, (u64)buf, sizeof(buf), (u64)page + 4091, 0), -14);
	munmap(page, 4096);
}

TEST(printk_formats_into_the_log)
{
	struct trace_log *log = calloc(1, sizeof(*log) + 64);
	static const char fmt[] = "%d %5u|%-4x|%04llx %s %c%%", bad[] = "%q";
	u64 args[6] = {(u64)-3, 42, 0xab, 0x1f, (u64) "str", 'z'}, cursor = 0, lost = 0;
	struct trace_message slot;

	log = (struct trace_log *)(((u64)log + 63) & ~63ULL);
	call(5, 0, 0, 0, 0);
	env.trace = log;
	CHECK_EQ(call(177, (u64)fmt, sizeof(fmt), (u64)args, sizeof(args)), strlen("-3    42|ab  |001f str z%"));
	CHECK_EQ(trace_read(log, &cursor, &slot, &lost), 1);
	slot.text[slot.len] = 0;
	CHECK_STR(slot.text, "-3    42|ab  |001f str z%");
	CHECK_EQ(slot.pid, getpid());
	CHECK_EQ(trace_read(log, &cursor, &slot, &lost), 0);
	CHECK_EQ((s64)call(6, (u64)bad, sizeof(bad), 0, 0), -22);
	CHECK_EQ((s64)call(6, (u64)fmt, 3, 0, 0), -22);
	for (u32 i = 0; i < TRACE_SLOTS + 10; i++)
		call(6, (u64) "x", 2, 0, 0);
	CHECK_EQ(trace_read(log, &cursor, &slot, &lost), 1);
	CHECK_EQ(lost, 10);
	env.trace = NULL;
}

TEST_MAIN()
