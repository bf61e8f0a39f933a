/* SPDX-License-Identifier: MIT */
/*
 * The system calls that have tracepoints, as data (syscall_table.h), and the tracepoints: events
 * syscalls:sys_enter_NAME and sys_exit_NAME of each, raw_syscalls:sys_enter and sys_exit of all.
 * Their ids are limpet's own: they follow from the number of the call, and are above those that a
 * kernel hands out to the events it is built with.
 */
#ifndef LIMPET_BPF_SYSCALL_DESC_H
#define LIMPET_BPF_SYSCALL_DESC_H

#include "base/types.h"

#define SYSCALL_ARGS_MAX 6

struct syscall_desc {
	u32 nr;
	const char *name; /* of its tracepoints: newfstat, where user space says fstat */
	const char *args; /* "type|name;type|name" */
};

#define SYSCALL_ALL         (-1)
#define SYSCALL_NAME_MAX    64 /* of an event, with its end */
#define SYSCALL_RECORD_ARGS 16 /* offset of the arguments, or the result, in a record */

struct syscall_event {
	s32 nr; /* SYSCALL_ALL: raw_syscalls */
	bool exit;
};

HIDDEN const struct syscall_desc *syscall_desc_at(u32 index); /* ascending numbers; NULL: no more */
HIDDEN const struct syscall_desc *syscall_desc_find(u32 nr);  /* NULL: there is none */
HIDDEN u32 syscall_desc_args(const struct syscall_desc *d);   /* how many */

HIDDEN u32 syscall_event_id(struct syscall_event e);
HIDDEN bool syscall_event_by_id(u64 id, struct syscall_event *ret);
HIDDEN bool syscall_event_by_name(const char *system, const char *name, struct syscall_event *ret);
HIDDEN void syscall_event_name(struct syscall_event e, char buf[SYSCALL_NAME_MAX]); /* "?": none */
/* Bytes of the record that programs on the event may look at. */
HIDDEN u32 syscall_event_size(struct syscall_event e);

#endif
