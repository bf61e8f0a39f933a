/* SPDX-License-Identifier: MIT */
/* Threads of ours in the tool's process. */
#ifndef LIMPET_LOADER_QUIET_H
#define LIMPET_LOADER_QUIET_H

#include <signal.h>
#include "base/types.h"

/* No handler comes between from here on, in this thread, but for SIGBUS: what touches maps must have that (store_catch_faults()). */
HIDDEN void quiet_signals(sigset_t *ret_old);

/*
 * A detached thread that the tool does not notice: no signal of the tool's is delivered to it (but SIGBUS,
 * store_catch_faults()). stack: bytes beyond PTHREAD_STACK_MIN, 0: what threads have. 0 or -errno.
 */
HIDDEN int quiet_thread(void *(*run)(void *arg), void *arg, size_t stack);

#endif
