/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a tool that uses the kernel's bpf(2): every program it loads is given to limpet's verifier
 * too, and both verdicts are written to the file $LIMPET_VERDICTS, a line a program:
 *
 *     kernel=0 limpet=-13 insns=123 type=2 kernel_us=210 limpet_us=14 name=handle_entry
 *
 * The times are the thread's own; the kernel compiles what it accepts, too.
 *
 * With LIMPET_VERDICT_LOGS set to a directory, both logs of programs that differ are kept there.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "captured.h"

#define LOG_SIZE (64u << 20)

typedef long syscall_fn(long number, ...);

static syscall_fn *real_syscall(void)
{
	static syscall_fn *fn;

	if (!fn)
		fn = (syscall_fn *)dlsym(RTLD_NEXT, "syscall");
	return fn;
}

static void keep_log(const char *who, const char *text, const char *name)
{
	const char *dir = getenv("LIMPET_VERDICT_LOGS");
	static int number;
	char path[512];
	FILE *f;

	if (!dir)
		return;
	snprintf(path, sizeof(path), "%s/%d-%d-%s.%s", dir, getpid(), number++, name, who);
	f = fopen(path, "w");
	if (!f)
		return;
	fputs(text, f);
	fclose(f);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The time is the verifier's own, without what it takes here to ask the kernel for maps and types. */
static int limpet_verdict(const union bpf_attr *attr, unsigned int size, struct verifier_sink *log,
			  u32 level, double *ret_us)
{
	struct verifier_result result;
	struct captured c;
	int err = captured_take(&c, attr, size, log);
	double start = now_us();

	if (!err)
		err = verifier_check(&c.prog, log, level, NULL, &result);
	*ret_us = now_us() - start;
	captured_free(&c);
	return err;
}

static void kernel_log(const union bpf_attr *attr, unsigned int size, const char *name)
{
	char *text = calloc(1, LOG_SIZE);
	union bpf_attr again;
	long fd;

	memset(&again, 0, sizeof(again));
	memcpy(&again, attr, size < sizeof(again) ? size : sizeof(again));
	again.log_level = 2;
	again.log_buf = (u64)text;
	again.log_size = LOG_SIZE;
	fd = real_syscall()(SYS_bpf, BPF_PROG_LOAD, &again, sizeof(again));
	if (fd >= 0)
		close((int)fd);
	keep_log("kernel", text, name);
	free(text);
}

static void compare(const union bpf_attr *attr, unsigned int size, long kernel, int kernel_errno,
		    double kernel_us)
{
	struct verifier_sink log = {.keep = LOG_SIZE};
	char name[17] = "";
	FILE *f = fopen(getenv("LIMPET_VERDICTS"), "a");
	double us;
	char *text;
	int err;

	memcpy(name, attr->prog_name, 16);
	if (!f)
		return;
	err = limpet_verdict(attr, size, &log, getenv("LIMPET_VERDICT_LOGS") ? 2 : 0, &us);
	fprintf(f, "kernel=%d limpet=%d insns=%u type=%u kernel_us=%.0f limpet_us=%.0f name=%s\n",
		kernel < 0 ? -kernel_errno : 0, err, attr->insn_cnt, attr->prog_type, kernel_us, us,
		name);
	fclose(f);
	if (getenv("LIMPET_VERDICT_LOGS") &&
	    (!err != (kernel >= 0) || getenv("LIMPET_VERDICT_ALL"))) {
		text = calloc(1, LOG_SIZE);
		sink_copy(&log, text, LOG_SIZE);
		keep_log("limpet", text, name);
		free(text);
		kernel_log(attr, size, name);
	}
	sink_free(&log);
}

static bool is_ours(u32 type)
{
	return type == BPF_PROG_TYPE_SOCKET_FILTER || type == BPF_PROG_TYPE_KPROBE ||
	       type == BPF_PROG_TYPE_TRACEPOINT || type == BPF_PROG_TYPE_PERF_EVENT ||
	       type == BPF_PROG_TYPE_RAW_TRACEPOINT;
}

long syscall(long number, ...)
{
	long a[6], ret;
	va_list args;
	double start;
	int err;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	start = now_us();
	ret = real_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number != SYS_bpf || a[0] != BPF_PROG_LOAD || !getenv("LIMPET_VERDICTS") ||
	    !is_ours(((const union bpf_attr *)a[1])->prog_type))
		return ret;
	err = errno;
	compare((const union bpf_attr *)a[1], (unsigned int)a[2], ret, err, now_us() - start);
	errno = err;
	return ret;
}
