/* SPDX-License-Identifier: MIT */
/*
 * Which of the helpers' system calls seccomp filters forbid (helpers/filter.c), asked from outside:
 * of a stopped target by PTRACE_SECCOMP_GET_FILTER, of ourselves by trying each in a child.
 */
#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "helpers/helpers.h"
#include "keeper/internal.h"

#define GET_FILTER  0x420c /* PTRACE_SECCOMP_GET_FILTER */
#define MODE_FILTER 2
#define FILTERS_MAX 256

/* Of one thread; everything where that cannot be told. */
static u64 thread_denied(const struct target *t, const struct thread *th)
{
	struct sock_filter *insns;
	u64 denied = 0;
	long mode = proc_status(t->pid, th->tid, "Seccomp");

	if (!mode)
		return 0;
	insns = mode == MODE_FILTER ? calloc(BPF_MAXINSNS, sizeof(*insns)) : NULL;
	for (long i = 0; insns && i < FILTERS_MAX; i++) {
		long n = ptrace(GET_FILTER, th->tid, i, NULL);

		if (n < 0 && errno == ENOENT && i) {
			free(insns);
			return denied;
		}
		if (n <= 0 || n > BPF_MAXINSNS || ptrace(GET_FILTER, th->tid, i, insns) != n)
			break;
		denied |= helper_filter_denies(insns, (u32)n);
	}
	free(insns);
	return ~0ULL;
}

u64 target_denied(const struct target *t, bool all)
{
	u64 denied = 0;

	for (size_t i = 0; i < t->count; i++)
		if (t->threads[i].stopped && (all || &t->threads[i] == t->lead))
			denied |= thread_denied(t, &t->threads[i]);
	return denied;
}

static volatile sig_atomic_t handled;

static void handler(int sig)
{
	handled = 1;
}

/* In a child: makes the call, and ends with 0 when it came to what it should. */
static bool call_works(enum helper_call call)
{
	char from = 1, to = 0, buf[256];
	struct {
		void *base;
		size_t len;
	} a = {&to, 1}, b = {&from, 1};

	switch (call) {
	case HELPER_CALL_GETPID:
		return syscall(SYS_getpid) > 0;
	case HELPER_CALL_GETTID:
		return syscall(SYS_gettid) > 0;
	case HELPER_CALL_GETUID:
		return syscall(SYS_getuid) >= 0;
	case HELPER_CALL_GETGID:
		return syscall(SYS_getgid) >= 0;
	case HELPER_CALL_GET_NAME:
		return !syscall(SYS_prctl, PR_GET_NAME, buf);
	case HELPER_CALL_READ:
		return syscall(SYS_process_vm_readv, getpid(), &a, 1, &b, 1, 0) == 1 && to == 1;
	case HELPER_CALL_WRITE:
		return syscall(SYS_process_vm_writev, getpid(), &b, 1, &a, 1, 0) == 1 && to == 1;
	case HELPER_CALL_KILL:
		return !syscall(SYS_kill, getpid(), 0);
	case HELPER_CALL_SIGQUEUE:
		return !syscall(SYS_rt_sigqueueinfo, syscall(SYS_gettid), 0, memset(buf, 0, sizeof(buf)));
	case HELPER_CALL_TGSIGQUEUE:
		return !syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), 0, memset(buf, 0, sizeof(buf)));
	case HELPER_CALL_STAT:
		return syscall(SYS_stat, "/", buf) >= -1 && errno != ENOSYS;
	case HELPER_CALL_TIMES:
		return syscall(SYS_times, NULL) != -1;
	case HELPER_CALL_GETRANDOM:
		return syscall(SYS_getrandom, buf, 8, 1) == 8;
	case HELPER_CALL_CLOCK:
		return !syscall(SYS_clock_gettime, 1, buf);
	case HELPER_CALL_GETCPU:
		return !syscall(SYS_getcpu, buf, NULL, NULL);
	case HELPER_CALL_FUTEX:
		return syscall(SYS_futex, buf, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0) == 0;
	case HELPER_CALL_YIELD:
		return !syscall(SYS_sched_yield);
	case HELPER_CALL_RESERVE:
		return !syscall(SYS_madvise, NULL, 0, 0);
	case HELPER_CALL_GETPPID:
		return syscall(SYS_getppid) >= 0;
	case HELPER_CALL_GETRESUID:
		return !syscall(SYS_getresuid, buf, buf + 4, buf + 8);
	case HELPER_CALL_GETRESGID:
		return !syscall(SYS_getresgid, buf, buf + 4, buf + 8);
	case HELPER_CALL_SIGMASK:
		return !syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, buf, 8);
	case HELPER_CALL_SIGACTION:
		return !syscall(SYS_rt_sigaction, SIGSEGV, NULL, buf, 8);
	case HELPER_CALL_SIGRETURN: /* by a handler's end */
		return signal(SIGURG, handler) != SIG_ERR &&
		       !syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGURG,
				&(siginfo_t){.si_code = SI_QUEUE}) &&
		       handled;
	default:
		return false;
	}
}

bool keeper_seccomp_note(char *ret, size_t size)
{
	u64 denied = 0;

	if (!proc_status(getpid(), getpid(), "Seccomp"))
		return false;
	for (u32 call = 0; call < HELPER_CALLS; call++) {
		pid_t pid = fork();
		int status = -1;

		if (!pid)
			_exit(!call_works(call));
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			denied |= BIT(call);
	}
	snprintf(ret, size, "%ld:%llx", proc_status(getpid(), getpid(), "Seccomp_filters"),
		 (unsigned long long)denied);
	return true;
}
