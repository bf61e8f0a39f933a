/* SPDX-License-Identifier: MIT */
/* The helper functions, for the table, and what families share. */
#ifndef LIMPET_HELPERS_INTERNAL_H
#define LIMPET_HELPERS_INTERNAL_H

#include "helpers/helpers.h"

#define HELPER_EFAULT 14
#define HELPER_EINVAL 22
#define HELPER_E2BIG  7

vm_helper_fn help_map_lookup, help_map_update, help_map_delete, help_map_push, help_map_pop, help_map_peek;
vm_helper_fn help_probe_read, help_probe_read_str;
vm_helper_fn help_ktime, help_ktime_boot, help_prandom, help_cpu, help_pid_tgid, help_uid_gid, help_comm;
vm_helper_fn help_trace_printk, help_trace_vprintk;

/* CLOCK_* in nanoseconds, by the vDSO where there is one. */
u64 help_clock(const struct helper_env *env, int clock);

/* tgid << 32 | tid of the calling thread. */
u64 help_identity(const struct helper_env *env);

/* The calling thread's name, padded with zeroes. */
void help_thread_name(const struct helper_env *env, u64 ret[2]);

/* Copies from this process's memory; 0, or -EFAULT with nothing promised about dst. */
int help_copy(void *dst, u64 src, u64 size);

/* Copies a string and its NUL, at most size bytes; its length with the NUL, or -EFAULT. */
long help_copy_str(char *dst, u64 src, u64 size);

#endif
