/* SPDX-License-Identifier: MIT */
/*
 * `limpet load --with-kernel`: programs that limpet does not run go to the kernel's own eBPF, the rest stays
 * in user space. What a tool has in its hands are objects of the session all the same; beside those that the
 * kernel needs stands a *twin*: the kernel's object, by a descriptor of this process that the tool never sees.
 *
 *     tool:      map fd ---> session's map      program fd ---> session's program     BTF fd
 *                               |                                  |                    |
 *     kernel:                 twin <--- used by --------------- twin <-- link, event   twin
 *
 *     kernel.c        the option, bpf(2) itself, twins of BTF
 *     kernel_prog.c   which side a program goes to; what it was loaded from, for a twin made later
 *     kernel_map.c    which side uses a map, and what that means for it
 *     tool_map.c      a map's elements as the tool sees them, wherever they are
 *     kernel_ring.c   records that kernel programs write to ring buffers, kernel_perf.c: to perf events
 *     kernel_call.c   commands on what is the kernel's: links, events, programs of its kinds
 *
 * Links and perf events of the kernel's are the kernel's own descriptors to the tool, so their lives are what
 * they always are. Twins live as long as the process (and its forked children): with it the kernel's part ends.
 */
#ifndef LIMPET_LOADER_KERNEL_H
#define LIMPET_LOADER_KERNEL_H

#include <stdio.h>
#include "loader/attr.h"
#include "loader/loader.h"

/* Was this tool started so? The supervisor's tools never are. */
HIDDEN bool kernel_on(void);

/* bpf(2): what it answers, or -errno. A descriptor it gives is close-on-exec, and the tool's to have. */
HIDDEN long kernel_bpf(unsigned int cmd, union attr_more *a);
/* The same for a descriptor of ours: out of the way of the tool's. -errno; -EPERM is said to the user, once. */
HIDDEN int kernel_bpf_fd(unsigned int cmd, union attr_more *a);
HIDDEN void kernel_say_denied(void);
/* The kernel's number for what the descriptor is: 0 when it cannot tell. `kind`: map or program. */
HIDDEN u32 kernel_id(int fd, enum object_kind kind);

/* One at a time for all that is remembered about twins; taken again by who has it. */
HIDDEN void kernel_lock(void);
HIDDEN void kernel_unlock(void);

/* The twin of a BTF object, made at the first call; -errno. */
HIDDEN int kernel_btf(struct store *s, u32 id);

/* ---- programs (kernel_prog.c) ---- */

/* BPF_PROG_LOAD with the option: a descriptor of the session's program, or -errno. */
HIDDEN long kernel_prog_load(const struct loader_call *c, union bpf_attr *a);
/* The twin of a program of the session, made when it is needed; says why there is none. -errno. */
HIDDEN int kernel_prog_fd(u32 prog);
HIDDEN bool kernel_prog_only(u32 prog); /* the kernel alone can run it */
HIDDEN u32 kernel_prog_session_id(u32 kernel_prog); /* 0: none of ours */
/* The program is about to run in user space, for good: 0, or -EINVAL and a message. */
HIDDEN int kernel_prog_in_user_space(u32 prog);
/* Runs once, and then no more: where its maps are. 1: in the kernel; 0: here; -errno and a message: neither. */
HIDDEN int kernel_prog_run_where(u32 prog);

/* ---- maps (kernel_map.c) ---- */

enum kernel_side { SIDE_USER = 1, SIDE_KERNEL = 2 };

/* A program uses the map there from now on: 0, or -errno, where that would make it two maps, and a message. */
HIDDEN int kernel_map_use(u32 map, enum kernel_side side, const char *prog);
/* The tool has just made it. */
HIDDEN void kernel_map_created(u32 map);
/* Its twin, -1: it has none. */
HIDDEN int kernel_map_fd(u32 map);
HIDDEN bool kernel_map_is_there(u32 map);    /* its contents are in the kernel alone */
HIDDEN bool kernel_map_in_use(u32 map, enum kernel_side side);
HIDDEN void kernel_released(enum object_kind kind, u32 id); /* a descriptor of it was closed */

/* ---- commands (kernel_call.c) ---- */

/* A command that is about the kernel's objects: what it answers; -LOADER_PASS: it is limpet's. */
HIDDEN long kernel_command(const struct loader_call *c, union bpf_attr *a);
/* perf_event_open(2) for what is the kernel's. */
HIDDEN long kernel_event_open(const struct perf_event_attr *attr, s32 pid, s32 cpu, int group, u64 flags);
/* PERF_EVENT_IOC_SET_BPF on an event of the kernel's. */
HIDDEN long kernel_event_set_bpf(int event, int prog);

/* ---- files (kernel_files.c) ---- */

/* How many processors are possible, as the tool is told (tool_map.h). */
HIDDEN u32 kernel_tool_cpus(void);
/* Is the file, `rest` of tracefs' path, the kernel's to a tool with the option? Then where it is, as in files_path(). */
HIDDEN bool kernel_has_file(const char *rest);
HIDDEN const char *kernel_file(const char *path, const char *rest, char *buf);
HIDDEN void kernel_print_events(FILE *to); /* the kernel's own part of available_events */

/* ---- records of kernel programs (kernel_ring.c, kernel_perf.c) ---- */

HIDDEN int kernel_ring_start(struct map *m, int twin);
HIDDEN int kernel_perf_start(struct map *m, int twin);
/* Entry `index` of the array was set or emptied. */
HIDDEN void kernel_perf_entry(struct map *m, u32 index);

#endif
