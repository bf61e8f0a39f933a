/* SPDX-License-Identifier: MIT */
/* See task.h: names of structures and members, looked up in the BTF that tools relocate programs against. */
#include "loader/task.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define MAX_DEPTH 8 /* of unnamed members within each other */

static const struct {
	const char *type, *member, *part; /* part: a member of that member, or NULL */
} names[TASK_FIELDS] = {
	[TASK_PID] = {"task_struct", "pid", NULL},
	[TASK_TGID] = {"task_struct", "tgid", NULL},
	[TASK_COMM] = {"task_struct", "comm", NULL},
	[TASK_REAL_PARENT] = {"task_struct", "real_parent", NULL},
	[TASK_PARENT] = {"task_struct", "parent", NULL},
	[TASK_GROUP_LEADER] = {"task_struct", "group_leader", NULL},
	[TASK_NSPROXY] = {"task_struct", "nsproxy", NULL},
	[TASK_CRED] = {"task_struct", "cred", NULL},
	[TASK_REAL_CRED] = {"task_struct", "real_cred", NULL},
	[TASK_MM] = {"task_struct", "mm", NULL},
	[TASK_CRED_UID] = {"cred", "uid", NULL},
	[TASK_CRED_GID] = {"cred", "gid", NULL},
	[TASK_CRED_SUID] = {"cred", "suid", NULL},
	[TASK_CRED_SGID] = {"cred", "sgid", NULL},
	[TASK_CRED_EUID] = {"cred", "euid", NULL},
	[TASK_CRED_EGID] = {"cred", "egid", NULL},
	[TASK_NSPROXY_MNT] = {"nsproxy", "mnt_ns", NULL},
	[TASK_NSPROXY_UTS] = {"nsproxy", "uts_ns", NULL},
	[TASK_NSPROXY_IPC] = {"nsproxy", "ipc_ns", NULL},
	[TASK_NSPROXY_PID] = {"nsproxy", "pid_ns_for_children", NULL},
	[TASK_NSPROXY_NET] = {"nsproxy", "net_ns", NULL},
	[TASK_NSPROXY_CGROUP] = {"nsproxy", "cgroup_ns", NULL},
	[TASK_MNT_INUM] = {"mnt_namespace", "ns", "inum"},
	[TASK_UTS_INUM] = {"uts_namespace", "ns", "inum"},
	[TASK_IPC_INUM] = {"ipc_namespace", "ns", "inum"},
	[TASK_PID_INUM] = {"pid_namespace", "ns", "inum"},
	[TASK_NET_INUM] = {"net", "ns", "inum"},
	[TASK_CGROUP_INUM] = {"cgroup_namespace", "ns", "inum"},
};

static bool is_composite(u32 kind)
{
	return kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION;
}

static const char *name_at(const struct btf *b, u32 off)
{
	return off < b->head.str_len ? b->strings + off : "";
}

/* The member's place and type, unnamed members looked into. */
static bool find_member(const struct btf *b, const struct btf_type *t, const char *name, u32 depth,
			u32 *ret_off, u32 *ret_type)
{
	const struct btf_member *m = (const struct btf_member *)(t + 1);

	for (u32 i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		u32 bits =
			BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m[i].offset) : m[i].offset;
		const char *own = name_at(b, m[i].name_off);
		const struct btf_type *inner = *own ? NULL : btf_strip(b, m[i].type);

		if (*own && !strcmp(own, name) && bits % 8 == 0) {
			*ret_off += bits / 8;
			*ret_type = m[i].type;
			return true;
		}
		if (inner && is_composite(BTF_INFO_KIND(inner->info)) && depth < MAX_DEPTH &&
		    find_member(b, inner, name, depth + 1, ret_off, ret_type)) {
			*ret_off += bits / 8;
			return true;
		}
	}
	return false;
}

static u16 place_in(const struct btf *b, const struct btf_type *t, u32 f)
{
	const struct btf_type *part;
	u32 off = 0, type = 0, size = 0;

	if (!find_member(b, t, names[f].member, 0, &off, &type))
		return TASK_NOT_THERE;
	part = names[f].part ? btf_strip(b, type) : NULL;
	if (names[f].part && (!part || !is_composite(BTF_INFO_KIND(part->info)) ||
			      !find_member(b, part, names[f].part, 0, &off, &type)))
		return TASK_NOT_THERE;
	if (off >= TASK_NOT_THERE - task_field_size(f) || !btf_size(b, type, &size) ||
	    size != task_field_size(f))
		return TASK_NOT_THERE;
	return (u16)off;
}

void task_layout_read(const struct btf *b, u16 *ret_off)
{
	for (u32 f = 0; f < TASK_FIELDS; f++)
		ret_off[f] = TASK_NOT_THERE;
	for (u32 id = 1; id <= b->count; id++) {
		const struct btf_type *t = btf_type(b, id);

		if (!t || BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT)
			continue;
		for (u32 f = 0; f < TASK_FIELDS; f++)
			if (ret_off[f] == TASK_NOT_THERE &&
			    !strcmp(name_at(b, t->name_off), names[f].type))
				ret_off[f] = place_in(b, t, f);
	}
}

bool task_is_known(const u16 *layout, const char *type, u32 off, u32 size)
{
	for (u32 f = 0; f < TASK_FIELDS; f++)
		if (layout[f] != TASK_NOT_THERE && !strcmp(names[f].type, type) && off >= layout[f] &&
		    off + size <= layout[f] + task_field_size(f))
			return true;
	return !strcmp(type, "pt_regs");
}

static int read_btf(u16 *ret_off)
{
	struct btf b = {0};
	int err = btf_open_kernel(&b);

	if (err)
		return err;
	task_layout_read(&b, ret_off);
	btf_close(&b);
	return 0;
}

int task_layout_make(struct store *s)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct task_layout *l = &s->file->task;
	u16 off[ARRAY_SIZE(l->off)] = {0};
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!atomic_load_explicit(&l->ready, memory_order_acquire)) {
		err = read_btf(off);
		if (!err) {
			memcpy(l->off, off,
			       sizeof(off)); /* tools at the same time write the same */
			atomic_store_explicit(&l->ready, 1, memory_order_release);
		}
	}
	pthread_mutex_unlock(&lock);
	return err;
}
