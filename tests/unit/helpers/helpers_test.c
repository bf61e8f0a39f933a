/* SPDX-License-Identifier: MIT */
/* Helper functions called directly, against libc's answers. */
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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
	struct trace_slot slot;

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
