/* SPDX-License-Identifier: MIT */
/* bpf(2): objects by id, and what there is to know about one. */
#include "loader/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static long fd_by_id(struct store *s, enum object_kind kind, u32 id)
{
	return loader_fd_add(store_hold(s, kind, id), kind);
}

long loader_map_fd_by_id(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	return a->open_flags ? -EINVAL : fd_by_id(s, OBJ_MAP, a->map_id);
}

long loader_prog_fd_by_id(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	return fd_by_id(s, OBJ_PROG, a->prog_id);
}

long loader_btf_fd_by_id(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	return fd_by_id(s, OBJ_BTF, a->btf_id);
}

long loader_link_fd_by_id(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	return fd_by_id(s, OBJ_LINK, a->link_id);
}

static long next_id(struct store *s, enum object_kind kind, u32 start, union bpf_attr *u)
{
	int n = store_list(s, kind, NULL, 0);
	long ret = -ENOENT;
	u32 *ids;

	if (n <= 0)
		return n ? n : -ENOENT;
	ids = calloc((size_t)n, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	int now = store_list(s, kind, ids, (u32)n);

	for (int i = 0; i < n && i < now && ret; i++) {
		if (ids[i] > start) {
			u->next_id = ids[i];
			ret = 0;
		}
	}
	free(ids);
	return ret;
}

long loader_map_next_id(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	return next_id(s, OBJ_MAP, a->start_id, u);
}

long loader_prog_next_id(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	return next_id(s, OBJ_PROG, a->start_id, u);
}

long loader_btf_next_id(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	return next_id(s, OBJ_BTF, a->start_id, u);
}

long loader_link_next_id(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	return next_id(s, OBJ_LINK, a->start_id, u);
}

/* No file system of pins yet: as a kernel would where no bpffs is allowed. */
long loader_obj_pin(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	return -EPERM;
}

/* Copies at most what the caller has room for; what it knows beyond us must be zero. */
static long give(const union bpf_attr *a, union bpf_attr *u, const void *info, u32 size)
{
	const u8 *out = (const u8 *)a->info.info;
	u32 n = a->info.info_len;

	for (u32 i = size; i < n; i++)
		if (out[i])
			return -E2BIG;
	if (n > size)
		n = size;
	memcpy((void *)a->info.info, info, n);
	u->info.info_len = n;
	return 0;
}

static long map_info(const union bpf_attr *a, union bpf_attr *u)
{
	struct bpf_map_info info = {0};
	int err = 0;
	struct map *m = loader_map_by_fd((int)a->info.bpf_fd, &err);

	if (!m)
		return err;
	info.type = m->def.type;
	info.id = m->id;
	info.key_size = m->def.key_size;
	info.value_size = m->def.value_size;
	info.max_entries = m->def.max_entries;
	info.map_flags = m->def.flags;
	info.btf_id = m->def.btf_id;
	info.btf_key_type_id = m->def.btf_key_type_id;
	info.btf_value_type_id = m->def.btf_value_type_id;
	info.map_extra = m->def.map_extra;
	memcpy(info.name, m->def.name, sizeof(info.name));
	return give(a, u, &info, sizeof(info));
}

static void prog_info(const struct prog_file *p, u64 size, const struct bpf_prog_info *want,
		      struct bpf_prog_info *info)
{
	const u64 off = p->map_ids_off;
	u32 n = p->map_count;

	if (off > size || n > (size - off) / sizeof(u32))
		n = 0;
	info->type = p->type;
	info->id = p->head.id;
	memcpy(info->tag, p->tag, sizeof(info->tag));
	info->xlated_prog_len = p->insn_count * (u32)sizeof(struct bpf_insn);
	info->load_time = p->head.created_boot_ns;
	info->created_by_uid = p->head.uid;
	info->nr_map_ids = n;
	info->map_ids = want->map_ids;
	if (want->map_ids && want->nr_map_ids)
		memcpy((void *)want->map_ids, (const char *)p + off,
		       (n < want->nr_map_ids ? n : want->nr_map_ids) * sizeof(u32));
	memcpy(info->name, p->name, sizeof(info->name));
	info->gpl_compatible = p->gpl_compatible & 1;
	info->btf_id = p->btf_id;
}

static void btf_info(const struct btf_file *b, u64 size, const struct bpf_btf_info *want,
		     struct bpf_btf_info *info)
{
	*info = *want;
	if (b->data_off > size || b->data_size > size - b->data_off)
		return;
	if (want->btf)
		memcpy((void *)want->btf, (const char *)b + b->data_off,
		       want->btf_size < b->data_size ? want->btf_size : b->data_size);
	info->btf_size = b->data_size;
	info->id = b->head.id;
	info->kernel_btf = b->kernel_btf;
}

long loader_obj_info(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	union {
		struct bpf_prog_info prog;
		struct bpf_btf_info btf;
		struct bpf_link_info link;
	} info, want;
	const u32 room = a->info.info_len < sizeof(want) ? a->info.info_len : (u32)sizeof(want);
	const int fd = (int)a->info.bpf_fd;
	enum object_kind kind;
	u32 id, length = 0;
	int err = 0;
	u64 size;
	void *p;

	err = store_identify(s, fd, &kind, &id);
	if (err)
		return err;
	if (!a->info.info)
		return -EFAULT;
	if (kind == OBJ_MAP)
		return map_info(a, u);
	p = store_map_object(s, kind, id, &size, &err);
	if (!p)
		return err;
	memset(&info, 0, sizeof(info));
	memset(&want, 0, sizeof(want));
	memcpy(&want, (void *)a->info.info, room);
	if (kind == OBJ_PROG) {
		prog_info(p, size, &want.prog, &info.prog);
		length = sizeof(info.prog);
	} else if (kind == OBJ_BTF) {
		btf_info(p, size, &want.btf, &info.btf);
		length = sizeof(info.btf);
	} else if (kind == OBJ_LINK) {
		info.link.type = BPF_LINK_TYPE_PERF_EVENT;
		info.link.id = id;
		info.link.prog_id = ((struct link_file *)p)->prog_id;
		length = sizeof(info.link);
	}
	munmap(p, size);
	return length ? give(a, u, &info, length) : -EINVAL;
}
