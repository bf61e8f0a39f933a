/* SPDX-License-Identifier: MIT */
/* BPF_OBJ_GET_INFO_BY_FD: what there is to know about an object, in the kernel's structures. */
#include "loader/loader.h"

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

/* The file's object, mapped; what it says lies in it is looked at with in_file(). */
struct view {
	const u8 *p;
	u64 size;
};

static const void *in_file(const struct view *v, u64 off, u64 count, u64 each)
{
	return off <= v->size && count <= (v->size - off) / each ? v->p + off : NULL;
}

/* Copies an array out as far as the caller has room; the count becomes what there is. */
static int give_array(u64 dst, u32 *count, const void *src, u32 have, u32 each)
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

/* The program as loaded, its maps by their ids. */
static int give_insns(const struct view *v, const struct prog_file *p, u64 dst, u32 *len,
		      const u32 *maps)
{
	const struct bpf_insn *src = in_file(v, p->insns_off, p->insn_count, sizeof(*src));
	const u32 size = p->insn_count * (u32)sizeof(*src), room = *len < size ? *len : size;
	struct bpf_insn *copy;
	int err;

	*len = size;
	if (!room)
		return 0;
	copy = src ? malloc(size) : NULL;
	if (!copy)
		return -ENOMEM;
	memcpy(copy, src, size);
	for (u32 i = 0; i + 1 < p->insn_count; i++) {
		if (copy[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if ((copy[i].src_reg == BPF_PSEUDO_MAP_FD ||
		     copy[i].src_reg == BPF_PSEUDO_MAP_VALUE) &&
		    maps && (u32)copy[i].imm < p->map_count)
			copy[i].imm = (s32)maps[copy[i].imm];
		i++;
	}
	err = user_write(dst, copy, room);
	free(copy);
	return err;
}

/*
 * Runs of the program by all its links: limpet counts them always, BPF_ENABLE_STATS or not. Finding
 * the links means looking at all of them, so a session with very many shows 0: listing its programs
 * would take minutes.
 */
#define RUNS_MAX_LINKS 512

static u64 prog_runs(struct store *s, u32 prog)
{
	u32 ids[RUNS_MAX_LINKS];
	int n = store_list(s, OBJ_LINK, ids, RUNS_MAX_LINKS), err;
	u64 runs = 0, size;

	for (int i = 0; i < n && n <= RUNS_MAX_LINKS; i++) {
		struct link_file *l = store_map_object(s, OBJ_LINK, ids[i], &size, &err);

		if (!l)
			continue;
		if (l->prog_id == prog && size >= 2 * PAGE_SIZE)
			runs += link_hits((struct link_stats *)((u8 *)l + size - PAGE_SIZE));
		munmap(l, size);
	}
	return runs;
}

static long set_record_sizes(struct bpf_prog_info *i)
{
	if ((i->nr_func_info || i->func_info_rec_size) &&
	    i->func_info_rec_size != sizeof(struct bpf_func_info))
		return -EINVAL;
	if ((i->nr_line_info || i->line_info_rec_size) &&
	    i->line_info_rec_size != sizeof(struct bpf_line_info))
		return -EINVAL;
	if ((i->nr_jited_line_info || i->jited_line_info_rec_size) &&
	    i->jited_line_info_rec_size != sizeof(u64))
		return -EINVAL;
	i->func_info_rec_size = sizeof(struct bpf_func_info);
	i->line_info_rec_size = sizeof(struct bpf_line_info);
	i->jited_line_info_rec_size = sizeof(u64);
	return 0;
}

/* Facts that need no room of the caller's. */
static void prog_facts(const struct prog_file *p, struct bpf_prog_info *i)
{
	i->type = p->type;
	i->id = p->head.id;
	i->load_time = p->head.created_boot_ns;
	i->created_by_uid = p->head.uid;
	i->gpl_compatible = p->gpl_compatible & 1;
	i->verified_insns = p->insn_count;
	i->btf_id = p->btf_id;
	memcpy(i->tag, p->tag, sizeof(i->tag));
	memcpy(i->name, p->name, sizeof(i->name));
	i->jited_prog_len = 0; /* compiled in the processes that run it */
	i->nr_jited_line_info = 0;
	i->run_time_ns = i->recursion_misses = 0;
	i->ifindex = 0;
	i->netns_dev = i->netns_ino = 0;
	i->attach_btf_obj_id = i->attach_btf_id = 0;
}

static long prog_info(struct store *s, const struct view *v, void *info)
{
	const struct prog_file *p = (const void *)v->p;
	const u32 *maps = in_file(v, p->map_ids_off, p->map_count, sizeof(u32));
	struct bpf_prog_info *i = info;
	u32 one = 1;
	u64 none = 0;
	long err = give_array(i->map_ids, &i->nr_map_ids, maps, p->map_count, sizeof(u32));

	if (!err)
		err = set_record_sizes(i);
	if (err)
		return err;
	prog_facts(p, i);
	i->run_cnt = prog_runs(s, i->id);
	err = give_insns(v, p, i->xlated_prog_insns, &i->xlated_prog_len, maps);
	if (!err)
		err = give_array(i->jited_ksyms, &i->nr_jited_ksyms, &none, one, sizeof(u64));
	if (!err)
		err = give_array(i->jited_func_lens, &i->nr_jited_func_lens, &none, one,
				 sizeof(u32));
	if (!err)
		err = give_array(i->func_info, &i->nr_func_info,
				 in_file(v, p->func_info_off, p->func_info_cnt,
					 sizeof(struct bpf_func_info)),
				 p->func_info_cnt, sizeof(struct bpf_func_info));
	if (!err)
		err = give_array(i->line_info, &i->nr_line_info,
				 in_file(v, p->line_info_off, p->line_info_cnt,
					 sizeof(struct bpf_line_info)),
				 p->line_info_cnt, sizeof(struct bpf_line_info));
	return err ? err : give_array(i->prog_tags, &i->nr_prog_tags, p->tag, one, sizeof(p->tag));
}

static long btf_info(const struct view *v, void *info)
{
	const struct btf_file *b = (const void *)v->p;
	const void *blob = in_file(v, b->data_off, b->data_size, 1);
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
		err = give_array(i->btf, &i->btf_size, blob, b->data_size, 1);
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

static long link_info(const struct view *v, void *info)
{
	const struct link_file *l = (const void *)v->p;
	const struct link_probe *p = in_file(v, l->probes_off, l->probe_count, sizeof(*p));
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
	struct view v;
	int err = 0;
	void *p;
	long ret;

	if (o->kind == OBJ_MAP)
		return map_info(o, info);
	p = store_map_object(s, o->kind, o->id, &v.size, &err);
	if (!p)
		return err;
	v.p = p;
	ret = o->kind == OBJ_PROG  ? prog_info(s, &v, info)
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
