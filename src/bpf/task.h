/* SPDX-License-Identifier: MIT */
/*
 * The task that bpf_get_current_task() answers: which of the kernel's structures limpet knows parts of, and
 * where those parts lie. Programs have the places from the BTF they were relocated against, so a session
 * takes them from there, too (loader/task.c), and hands them to targets (session/layout.h).
 */
#ifndef LIMPET_BPF_TASK_H
#define LIMPET_BPF_TASK_H

#include <stdatomic.h>
#include "base/types.h"

enum task_object {
	TASK_OF_NONE,
	TASK_OF_THREAD,  /* task_struct of a thread that is not its process's first */
	TASK_OF_PROCESS, /* task_struct of the first thread */
	TASK_OF_CRED,
	TASK_OF_MM, /* nothing of it is known */
	TASK_OF_NSPROXY,
	TASK_OF_MNT_NS,
	TASK_OF_UTS_NS,
	TASK_OF_IPC_NS,
	TASK_OF_PID_NS,
	TASK_OF_NET_NS,
	TASK_OF_CGROUP_NS,
	TASK_OBJECTS
};

enum task_field {
	TASK_PID,
	TASK_TGID,
	TASK_COMM,
	TASK_REAL_PARENT,
	TASK_PARENT,
	TASK_GROUP_LEADER,
	TASK_NSPROXY,
	TASK_CRED,
	TASK_REAL_CRED,
	TASK_MM,
	TASK_CRED_UID,
	TASK_CRED_GID,
	TASK_CRED_SUID,
	TASK_CRED_SGID,
	TASK_CRED_EUID,
	TASK_CRED_EGID,
	TASK_NSPROXY_MNT, /* these six in the order of the namespaces above */
	TASK_NSPROXY_UTS,
	TASK_NSPROXY_IPC,
	TASK_NSPROXY_PID,
	TASK_NSPROXY_NET,
	TASK_NSPROXY_CGROUP,
	TASK_MNT_INUM, /* and these */
	TASK_UTS_INUM,
	TASK_IPC_INUM,
	TASK_PID_INUM,
	TASK_NET_INUM,
	TASK_CGROUP_INUM,
	TASK_FIELDS
};

/* Whose it is (for both kinds of tasks: TASK_OF_PROCESS), and how many bytes limpet has of it. */
static inline u32 task_field_of(enum task_field f)
{
	if (f >= TASK_MNT_INUM)
		return TASK_OF_MNT_NS + (f - TASK_MNT_INUM);
	return f >= TASK_NSPROXY_MNT ? TASK_OF_NSPROXY
	       : f >= TASK_CRED_UID  ? TASK_OF_CRED
				     : TASK_OF_PROCESS;
}

static inline u32 task_field_size(enum task_field f)
{
	if (f == TASK_COMM)
		return 16;
	return f <= TASK_TGID || f >= TASK_MNT_INUM || (f >= TASK_CRED_UID && f < TASK_NSPROXY_MNT)
		       ? 4
		       : 8;
}

#define TASK_NOT_THERE 0xffffu /* as an offset: the BTF has no such field */

/* Written once, by the first tool that needs it: `off`, then `ready`. Readers bound what they read. */
struct task_layout {
	_Atomic u32 ready;
	u32 pad;
	u16 off[32];
};
_Static_assert(TASK_FIELDS <= 32, "a place each");

#endif
