/* SPDX-License-Identifier: MIT */
/*
 * Programs and events that limpet does not have, since they observe the kernel: tools get the answers
 * of a kernel without the feature and misreport them, so the user reads here which program it is and
 * why (say.h).
 */
#ifndef LIMPET_LOADER_KERNEL_ONLY_H
#define LIMPET_LOADER_KERNEL_ONLY_H

#include "loader/loader.h"

/* What a program type that only the kernel runs is for; NULL: limpet runs it, or nobody knows it. */
HIDDEN const char *kernel_only_type(u32 type);
/* BPF_PROG_LOAD of a type that limpet does not run; programs without a name are probes of features. */
HIDDEN void kernel_only_prog(const union bpf_attr *a);
/* The program cannot go on what descriptor `fd` is, if that is an event of the kernel's. */
HIDDEN void kernel_only_event(struct store *s, u32 prog, int fd);
HIDDEN void kernel_only_raw_tracepoint(struct store *s, u32 prog, const char *name);
HIDDEN void kernel_only_socket(struct store *s, u32 prog); /* SO_ATTACH_BPF */
/* perf_event_open(2) for a probe in the kernel, by the type of its own that it has: -ENOENT, or 0: it is none. */
HIDDEN int kernel_only_kprobe(u32 type, u64 function);

#endif
