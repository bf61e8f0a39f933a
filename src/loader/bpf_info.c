/* SPDX-License-Identifier: MIT */
/* BPF_OBJ_GET_INFO_BY_FD: what there is to know about an object, in the kernel's structures. */
#include "loader/info.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "loader/attr.h"

/* Structures of 6.18 where they are longer than in the headers limpet is built with. */
struct map_info {
	struct bpf_map_info info;
	u64 hash;
	u32 hash_size;
	u32 pad;
};
struct uprobe_info {
	u64 file_name;
	u32 name_len;
	u32 offset;
	u64 cookie;
	u64 ref_ctr;
};
struct tracepoint_info {
	u64 name;
	u32 name_len;
	u32 pad;
	u64 cookie;
};
struct link_info {
	u32 type;
	u32 id;
	u32 prog_id;
	u32 pad;
	union {
		struct {
			u64 path, offsets, ref_ctrs, cookies;
			u32 path_size, count, flags, pid;
		} multi;
		struct {
			u32 type;
			u32 pad;
			union {
				struct uprobe_info uprobe;
				struct tracepoint_info tracepoint;
			};
		} perf;
		struct tracepoint_info raw_tracepoint;
		u8 room[48];
	};
};

#define LINK_TYPE_RAW_TRACEPOINT 1
#define LINK_TYPE_PERF_EVENT     7
#define LINK_TYPE_UPROBE_MULTI   12
#define EVENT_TYPE_UPROBE        1
#define EVENT_TYPE_URETPROBE     2
#define EVENT_TYPE_TRACEPOINT    5

const void *info_in_file(const struct info_view *v, u64 off, u64 count, u64 each)
{
	return off <= v->size && count <= (v->size - off) / each ? v->p + off : NULL;
}

int info_give(u64 dst, u32 *count, const void *src, u32 have, u32 each)
{
	u32 n = *count < have ? *count : have;

	*count = have;
	if (!src && have)
		return -EINVAL;
	return n ? user_write(dst, src, (u64)n * each) : 0;
}

static long map_info(const struct loader_obj *o, void *info)
{
	struct bpf_map_info *i = info;
	int err = 0;
	struct map *m = loader_map_by_id(o->id, &err);

	if (!m)
		return err;
	memset(info, 0, sizeof(struct map_info));
	i->type = m->def.type;
	i->id = m->id;
	i->key_size = m->def.key_size;
	i->value_size = m->def.value_size;
	i->max_entries = m->def.max_entries;
	i->map_flags = m->def.flags;
	i->btf_id = m->def.btf_id;
	i->btf_key_type_id = m->def.btf_key_type_id;
	i->btf_value_type_id = m->def.btf_value_type_id;
	i->map_extra = m->def.map_extra;
	memcpy(i->name, m->def.name, sizeof(i->name));
	return 0;
}

static long btf_info(const struct info_view *v, void *info)
{
	const struct btf_file *b = (const void *)v->p;
	const void *blob = info_in_file(v, b->data_off, b->data_size, 1);
	const u32 name_len = (u32)strnlen(b->name, sizeof(b->name) - 1);
	struct bpf_btf_info *i = info;
	u32 room = i->name_len;
	long err;

	if (!i->name != !room)
		return -EINVAL;
	i->id = b->kernel_btf ? LOADER_BTF_VMLINUX : b->head.id;
	i->kernel_btf = b->kernel_btf;
	if (b->kernel_btf) {
		err = loader_btf_vmlinux_read(i->btf, i->btf_size < b->data_size ? i->btf_size : b->data_size);
		i->btf_size = b->data_size;
	} else {
		err = info_give(i->btf, &i->btf_size, blob, b->data_size, 1);
	}
	i->name_len = name_len;
	if (err || !i->name)
		return err;
	if (room > name_len)
		return user_write(i->name, b->name, name_len + 1);
	err = room > 1 ? user_write(i->name, b->name, room - 1) : 0;
	if (!err)
		err = user_write(i->name + room - 1, "", 1);
	return err ? err : -ENOSPC;
}

/* A link's name to the caller, as far as there is room for it. */
static long give_name(u64 dst, u32 room, const struct link_file *l, u32 len)
{
	long err;

	if (!room)
		return 0;
	if (room > len)
		return user_write(dst, l->path, len + 1);
	err = user_write(dst, l->path, room - 1);
	if (!err)
		err = user_write(dst + room - 1, "", 1);
	return err ? err : -ENOSPC;
}

static u32 name_len(const struct link_file *l)
{
	return (u32)strnlen(l->path, sizeof(l->path) - 1);
}

static long tracepoint_info(const struct link_file *l, const struct link_probe *p,
			    struct tracepoint_info *t)
{
	const u32 room = t->name_len, len = name_len(l);

	if (!room != !t->name)
		return -EINVAL;
	t->name_len = len + 1;
	t->cookie = p->cookie;
	return give_name(t->name, room, l, len);
}

static long raw_link_info(const struct link_file *l, const struct link_probe *p,
			  struct link_info *i)
{
	i->type = LINK_TYPE_RAW_TRACEPOINT;
	return tracepoint_info(l, p, &i->raw_tracepoint);
}

static long perf_link_info(const struct link_file *l, const struct link_probe *p,
			   struct link_info *i)
{
	struct uprobe_info *u = &i->perf.uprobe;
	const u32 room = u->name_len, len = name_len(l);

	i->type = LINK_TYPE_PERF_EVENT;
	if (l->place == LINK_AT_SYSCALL) {
		i->perf.type = EVENT_TYPE_TRACEPOINT;
		return tracepoint_info(l, p, &i->perf.tracepoint);
	}
	if (!room != !u->file_name)
		return -EINVAL;
	i->perf.type = l->flags & PROBE_F_RETURN ? EVENT_TYPE_URETPROBE : EVENT_TYPE_UPROBE;
	u->name_len = len + 1;
	u->offset = (u32)p->offset;
	u->cookie = p->cookie;
	u->ref_ctr = p->ref_ctr;
	return give_name(u->file_name, room, l, len);
}

static long give_column(u64 dst, const struct link_probe *p, u32 n, size_t field)
{
	long err = 0;

	for (u32 i = 0; dst && !err && i < n; i++)
		err = user_write(dst + i * sizeof(u64), (const u8 *)&p[i] + field, sizeof(u64));
	return err;
}

static long multi_link_info(const struct link_file *l, const struct link_probe *p,
			    struct link_info *i)
{
	const u32 room = i->multi.path_size, count = i->multi.count,
		  len = (u32)strnlen(l->path, sizeof(l->path) - 1);
	const u32 n = count < l->probe_count ? count : l->probe_count;
	const bool columns = i->multi.offsets || i->multi.ref_ctrs || i->multi.cookies;
	long err = 0;

	if (!i->multi.path != !room || (columns && !count))
		return -EINVAL;
	i->type = LINK_TYPE_UPROBE_MULTI;
	i->multi.count = l->probe_count;
	i->multi.flags = l->bpf_flags;
	i->multi.pid = l->pid < 0 ? 0 : (u32)l->pid;
	if (room && room <= len)
		return -ENAMETOOLONG;
	i->multi.path_size = len + 1;
	if (room)
		err = user_write(i->multi.path, l->path, len + 1);
	if (!err)
		err = give_column(i->multi.offsets, p, n, offsetof(struct link_probe, offset));
	if (!err)
		err = give_column(i->multi.ref_ctrs, p, n, offsetof(struct link_probe, ref_ctr));
	if (!err)
		err = give_column(i->multi.cookies, p, n, offsetof(struct link_probe, cookie));
	return err || !columns || n == l->probe_count ? err : -ENOSPC;
}

static long link_info(const struct info_view *v, void *info)
{
	const struct link_file *l = (const void *)v->p;
	const struct link_probe *p = info_in_file(v, l->probes_off, l->probe_count, sizeof(*p));
	struct link_info *i = info;

	if (!p || !l->probe_count)
		return -EINVAL;
	i->id = l->head.id;
	i->prog_id = l->prog_id;
	return l->type == LINK_UPROBE_MULTI      ? multi_link_info(l, p, i)
	       : l->type == LINK_RAW_TRACEPOINT ? raw_link_info(l, p, i)
						: perf_link_info(l, p, i);
}

static u32 info_size(enum object_kind kind)
{
	switch (kind) {
	case OBJ_MAP:
		return sizeof(struct map_info);
	case OBJ_PROG:
		return sizeof(struct bpf_prog_info);
	case OBJ_BTF:
		return sizeof(struct bpf_btf_info);
	case OBJ_LINK:
		return sizeof(struct link_info);
	default:
		return 0;
	}
}

static long object_info(struct store *s, const struct loader_obj *o, void *info)
{
	struct info_view v;
	int err = 0;
	void *p;
	long ret;

	if (o->kind == OBJ_MAP)
		return map_info(o, info);
	p = store_map_object(s, o->kind, o->id, &v.size, &err);
	if (!p)
		return err;
	v.p = p;
	ret = o->kind == OBJ_PROG  ? info_prog(s, &v, info)
	      : o->kind == OBJ_BTF ? btf_info(&v, info)
				   : link_info(&v, info);
	munmap(p, v.size);
	return ret;
}

long loader_obj_info(const struct loader_call *c, union bpf_attr *a)
{
	union {
		struct map_info map;
		struct bpf_prog_info prog;
		struct bpf_btf_info btf;
		struct link_info link;
	} info;
	struct loader_obj o;
	u32 size, room = a->info.info_len;
	long err = loader_fd_any((int)a->info.bpf_fd, &o);

	if (err)
		return err == -EBADF ? -EBADFD : err;
	size = info_size(o.kind);
	if (!size)
		return -EINVAL;
	if (room > PAGE_SIZE)
		return -E2BIG;
	if (room > size) {
		err = user_zero(a->info.info + size, room - size);
		if (err)
			return err;
		room = size;
	}
	memset(&info, 0, sizeof(info));
	err = user_read(&info, a->info.info, room);
	if (!err)
		err = object_info(c->store, &o, &info);
	if (!err)
		err = user_write(a->info.info, &info, room);
	return err ? err
		   : user_write((u64)c->u + offsetof(union bpf_attr, info.info_len), &room,
				sizeof(room));
}
