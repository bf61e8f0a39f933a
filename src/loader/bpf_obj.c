/* SPDX-License-Identifier: MIT */
/* bpf(2): objects by id. */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "loader/attr.h"

#define OPEN_FLAGS (BPF_F_RDONLY | BPF_F_WRONLY)

int loader_open_mode(u32 flags)
{
	if ((flags & OPEN_FLAGS) == OPEN_FLAGS)
		return -EINVAL;
	return flags & BPF_F_RDONLY ? O_RDONLY : flags & BPF_F_WRONLY ? O_WRONLY : O_RDWR;
}

int loader_open_object(struct store *s, enum object_kind kind, u32 id, int mode)
{
	/* only maps have a choice */
	if (kind != OBJ_MAP)
		mode = kind == OBJ_PROG ? O_RDWR : O_RDONLY;
	return loader_fd_add(store_hold_as(s, kind, id, mode), kind, id);
}

long loader_map_fd_by_id(const struct loader_call *c, union bpf_attr *a)
{
	int mode = a->open_flags & ~(u32)OPEN_FLAGS ? -EINVAL : loader_open_mode(a->open_flags);

	return mode < 0 ? mode : loader_open_object(c->store, OBJ_MAP, a->map_id, mode);
}

static const u8 kind_of_cmd[] = {
	[BPF_PROG_GET_FD_BY_ID] = OBJ_PROG, [BPF_BTF_GET_FD_BY_ID] = OBJ_BTF,
	[BPF_LINK_GET_FD_BY_ID] = OBJ_LINK, [BPF_MAP_GET_NEXT_ID] = OBJ_MAP,
	[BPF_PROG_GET_NEXT_ID] = OBJ_PROG,  [BPF_BTF_GET_NEXT_ID] = OBJ_BTF,
	[BPF_LINK_GET_NEXT_ID] = OBJ_LINK,
};

long loader_fd_by_id(const struct loader_call *c, union bpf_attr *a)
{
	const enum object_kind kind = (enum object_kind)kind_of_cmd[c->cmd];

	if (kind == OBJ_BTF && a->prog_id == LOADER_BTF_VMLINUX)
		return loader_btf_vmlinux(c->store);
	return loader_open_object(c->store, kind, a->prog_id, O_RDWR);
}

static long put_id(const struct loader_call *c, u32 id)
{
	return user_write((u64)c->u + offsetof(union bpf_attr, next_id), &id, sizeof(id));
}

/* Behind the session's objects. */
static long last_id(const struct loader_call *c, enum object_kind kind, u32 start)
{
	return kind == OBJ_BTF && start < LOADER_BTF_VMLINUX ? put_id(c, LOADER_BTF_VMLINUX) : -ENOENT;
}

/* The kernel's BTF, opened by some tool: it has a number that stays, and this one may be gone at the next look. */
static bool is_vmlinux(struct store *s, enum object_kind kind, u32 id)
{
	struct btf_file *f;
	bool is = false;
	u64 size;
	int err;

	if (kind != OBJ_BTF)
		return false;
	f = store_map_object(s, kind, id, &size, &err);
	if (!f)
		return false;
	is = size >= sizeof(*f) && f->kernel_btf;
	munmap(f, size);
	return is;
}

long loader_next_id(const struct loader_call *c, union bpf_attr *a)
{
	const enum object_kind kind = (enum object_kind)kind_of_cmd[c->cmd];
	int n = a->start_id >= INT32_MAX ? -EINVAL : store_list(c->store, kind, NULL, 0), now;
	long ret = -ENOENT;
	u32 *ids;

	if (n <= 0)
		return n ? n : last_id(c, kind, a->start_id);
	ids = calloc((size_t)n, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	now = store_list(c->store, kind, ids, (u32)n);
	for (int i = 0; i < n && i < now && ret == -ENOENT; i++)
		if (ids[i] > a->start_id && !is_vmlinux(c->store, kind, ids[i]))
			ret = put_id(c, ids[i]);
	free(ids);
	return ret == -ENOENT ? last_id(c, kind, a->start_id) : ret;
}
