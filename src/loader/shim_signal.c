/* SPDX-License-Identifier: MIT */
/*
 * SIGBUS as a tool handles and blocks it. Maps' files may be cut short while they are mapped, and what then reads them gets
 * that signal (store/fault.c): once the process is a tool the handler is ours in front of its own, and its threads
 * do not block it. It reads back what it has set, but for a blocked SIGBUS. Calls that libc makes inside itself are not seen.
 */
#include "loader/shim.h"

#include <signal.h>
#include "store/store.h"

EXPORT int sigaction(int sig, const struct sigaction *set, struct sigaction *old)
{
	int err = sig == SIGBUS && !store_is_fault_handler(set) ? store_sigbus(set, old) : -ENOENT;

	return err == -ENOENT ? NEXT(sigaction)(sig, set, old) : (int)shim_result(err);
}

EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	struct sigaction set = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
	int err;

	if (sig != SIGBUS || !store_catches_faults())
		return NEXT(signal)(sig, handler);
	sigemptyset(&set.sa_mask);
	sigaddset(&set.sa_mask, sig);
	err = store_sigbus(&set, &old);
	return err ? (shim_result(err), SIG_ERR) : old.sa_handler;
}

/* The mask without SIGBUS. */
static const sigset_t *without(sigset_t *copy, int how, const sigset_t *set)
{
	if (!set || how == SIG_UNBLOCK || !store_catches_faults() || sigismember(set, SIGBUS) != 1)
		return set;
	*copy = *set;
	sigdelset(copy, SIGBUS);
	return copy;
}

EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t copy;

	return NEXT(sigprocmask)(how, without(&copy, how, set), old);
}

EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t copy;

	return NEXT(pthread_sigmask)(how, without(&copy, how, set), old);
}

/* Looking a name up is nothing for a signal handler: once, before there is one. */
__attribute__((constructor)) static void find_next(void)
{
	shim_finding = true;
	sigaction(0, NULL, NULL);
	signal(0, SIG_DFL);
	sigprocmask(SIG_BLOCK, NULL, NULL);
	pthread_sigmask(SIG_BLOCK, NULL, NULL);
	shim_finding = false;
}
