/* SPDX-License-Identifier: MIT */
/*
 * A target under a seccomp filter that kills for what helpers like to do: reading its memory
 * through the kernel, asking its name; and that refuses getuid.
 *
 * usage: sandbox prctl | seccomp    installs it by that call, then works
 *        sandbox run COMMAND...     installs it, then becomes COMMAND
 *        sandbox wait               by prctl, then works when a line comes in
 *        sandbox work               works
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __clang__ /* makes no clones, and knows no word for it */
#define noclone noinline
#endif

__attribute__((noinline, noclone)) long boxed(const char *heap, const char *stack, long pid)
{
	__asm__ volatile("nop; nop; nop; nop; nop; nop" : "+r"(heap), "+r"(stack), "+r"(pid));
	return pid;
}

#define FIELD(f)      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, f))
#define WHEN(v, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, v, 0, skip)
#define ANSWER(v)     BPF_STMT(BPF_RET | BPF_K, v)

static void install(int by_prctl)
{
	static struct sock_filter filter[] = {
		FIELD(nr),
		WHEN(__NR_process_vm_readv, 1),
		ANSWER(SECCOMP_RET_KILL_PROCESS),
		WHEN(__NR_getuid, 1),
		ANSWER(SECCOMP_RET_ERRNO | EPERM),
		WHEN(__NR_prctl, 3),
		FIELD(args[0]),
		WHEN(PR_GET_NAME, 1),
		ANSWER(SECCOMP_RET_KILL_PROCESS),
		ANSWER(SECCOMP_RET_ALLOW),
	};
	static struct sock_fprog prog = {sizeof(filter) / sizeof(filter[0]), filter};
	long err;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	err = by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog)
		       : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
				 &prog);
	if (err)
		exit(9);
}

int main(int argc, char **argv)
{
	char stack[32] = "on the stack", *heap = strdup("on the heap"), line[16];

	if (argc < 2)
		return 2;
	if (strcmp(argv[1], "work"))
		install(strcmp(argv[1], "seccomp"));
	if (!strcmp(argv[1], "run") && argc > 2) {
		execv(argv[2], argv + 2);
		return 127;
	}
	if (!strcmp(argv[1], "wait") && !fgets(line, sizeof(line), stdin))
		return 3;
	boxed(heap, stack, getpid());
	puts("alive");
	return 0;
}
