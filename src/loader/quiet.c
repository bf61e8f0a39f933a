/* SPDX-License-Identifier: MIT */
#include "loader/quiet.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>

void quiet_signals(sigset_t *ret_old)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, ret_old);
}

int quiet_thread(void *(*run)(void *arg), void *arg, size_t stack)
{
	pthread_attr_t attr;
	sigset_t old;
	pthread_t thread;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (stack)
		pthread_attr_setstacksize(&attr, stack + PTHREAD_STACK_MIN);
	quiet_signals(&old);
	err = pthread_create(&thread, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}
