/* SPDX-License-Identifier: MIT */
/* BPF_PROG_LOAD: descriptors in the program become indexes of its map table, then it is checked. */
#include "loader/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bpf/check.h"

#define MAX_MAPS 64 /* as the kernel's MAX_USED_MAPS */

struct load {
	struct bpf_insn *insns;
	u32 count;
	u32 map_count;
	u32 map_id[MAX_MAPS];
	u32 value_size[MAX_MAPS];
	struct bpf_log log;
};

static int map_index(struct load *l, int fd)
{
	u64 direct = 0;
	int err = 0;
	struct map *m = loader_map_by_fd(fd, &err);

	if (!m) {
		bpf_log(&l->log, "fd %d is not pointing to valid bpf_map\n", fd);
		return err;
	}
	for (u32 i = 0; i < l->map_count; i++)
		if (l->map_id[i] == m->id)
			return (int)i;
	if (l->map_count == MAX_MAPS)
		return -E2BIG;
	if (map_direct_value(m))
		direct = m->def.value_size;
	l->map_id[l->map_count] = m->id;
	l->value_size[l->map_count] = (u32)direct;
	return (int)l->map_count++;
}

static int resolve_maps(struct load *l, const union bpf_attr *a)
{
	const int *fds = (const int *)a->fd_array;

	for (u32 i = 0; i < l->count; i++) {
		struct bpf_insn *insn = &l->insns[i];
		int fd = insn->imm, index;

		if (insn->code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (i + 1 >= l->count)
			return 0; /* bpf_check() says it */
		switch (insn->src_reg) {
		case BPF_PSEUDO_MAP_IDX:
		case BPF_PSEUDO_MAP_IDX_VALUE:
			if (!fds) {
				bpf_log(&l->log, "fd_idx without fd_array is invalid\n");
				return -EPROTO;
			}
			fd = fds[insn->imm];
			insn->src_reg = insn->src_reg == BPF_PSEUDO_MAP_IDX ?
						BPF_PSEUDO_MAP_FD : BPF_PSEUDO_MAP_VALUE;
			break;
		case BPF_PSEUDO_MAP_FD:
		case BPF_PSEUDO_MAP_VALUE:
			break;
		default:
			i++;
			continue;
		}
		index = map_index(l, fd);
		if (index < 0)
			return index;
		insn->imm = index;
		i++;
	}
	return 0;
}

/* Tells equal programs from different ones; not the kernel's SHA-1. */
static void make_tag(u8 ret_tag[8], const struct load *l)
{
	const u8 *p = (const u8 *)l->insns;
	u64 h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < l->count * sizeof(*l->insns); i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	memcpy(ret_tag, &h, 8);
}

static bool type_supported(u32 type)
{
	return type == BPF_PROG_TYPE_SOCKET_FILTER || type == BPF_PROG_TYPE_KPROBE ||
	       type == BPF_PROG_TYPE_TRACEPOINT || type == BPF_PROG_TYPE_PERF_EVENT ||
	       type == BPF_PROG_TYPE_RAW_TRACEPOINT;
}

static bool gpl_compatible(const char *license)
{
	static const char *const ok[] = {"GPL", "GPL v2", "GPL and additional rights",
					 "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"};

	for (size_t i = 0; i < ARRAY_SIZE(ok); i++)
		if (!strcmp(license, ok[i]))
			return true;
	return false;
}

static u64 put(struct prog_file *f, u64 *off, const void *p, u64 n)
{
	u64 at = *off;

	memcpy((char *)f + at, p, n);
	*off = ALIGN_UP(at + n, 8);
	return at;
}

static long store_prog(struct store *s, struct load *l, const union bpf_attr *a, u32 btf_id)
{
	const u64 insns = (u64)l->count * sizeof(struct bpf_insn);
	const bool func = a->func_info_rec_size == sizeof(struct bpf_func_info);
	const bool line = a->line_info_rec_size == sizeof(struct bpf_line_info);
	const u64 funcs = func ? (u64)a->func_info_cnt * a->func_info_rec_size : 0;
	const u64 lines = line ? (u64)a->line_info_cnt * a->line_info_rec_size : 0;
	u64 off = ALIGN_UP(sizeof(struct prog_file), 8), size;
	struct prog_file *f;
	u32 id;
	int fd, err = 0;

	size = off + insns + sizeof(l->map_id) + funcs + lines + 64;
	fd = store_new(s, OBJ_PROG, ALIGN_UP(size, PAGE_SIZE), &id);
	if (fd < 0)
		return fd;
	f = store_map_fd(fd, true, &size, &err);
	if (!f) {
		close(fd);
		return err;
	}
	store_head(&f->head, OBJ_PROG, id, size);
	f->type = a->prog_type;
	f->expected_attach_type = a->expected_attach_type;
	f->insn_count = l->count;
	f->map_count = l->map_count;
	f->btf_id = btf_id;
	f->gpl_compatible = gpl_compatible((const char *)a->license);
	f->flags = a->prog_flags;
	f->insns_off = put(f, &off, l->insns, insns);
	f->map_ids_off = put(f, &off, l->map_id, l->map_count * sizeof(u32));
	f->func_info_cnt = funcs ? a->func_info_cnt : 0;
	f->func_info_off = funcs ? put(f, &off, (void *)a->func_info, funcs) : 0;
	f->line_info_cnt = lines ? a->line_info_cnt : 0;
	f->line_info_off = lines ? put(f, &off, (void *)a->line_info, lines) : 0;
	make_tag(f->tag, l);
	loader_copy_name(f->name, a->prog_name);
	munmap(f, size);
	return loader_fd_add(store_publish(s, OBJ_PROG, id, fd), OBJ_PROG);
}

static int check_attr(const union bpf_attr *a, u32 *ret_btf)
{
	char name[16];
	int err;

	if (!type_supported(a->prog_type) || a->prog_ifindex || a->attach_btf_id)
		return -EINVAL;
	if (!a->insn_cnt || a->insn_cnt > BPF_MAX_INSNS)
		return -E2BIG;
	if (!a->insns || !a->license)
		return -EFAULT;
	if (a->log_level && (!a->log_buf || a->log_size < 128))
		return -EINVAL;
	err = loader_copy_name(name, a->prog_name);
	if (!err && (a->func_info_cnt || a->line_info_cnt))
		err = loader_fd_object((int)a->prog_btf_fd, OBJ_BTF, ret_btf);
	return err;
}

long loader_prog_load(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	struct load *l;
	u32 btf_id = 0;
	long ret = check_attr(a, &btf_id);

	if (ret)
		return ret;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->count = a->insn_cnt;
	l->insns = malloc((size_t)l->count * sizeof(*l->insns));
	if (!l->insns) {
		free(l);
		return -ENOMEM;
	}
	memcpy(l->insns, (void *)a->insns, (size_t)l->count * sizeof(*l->insns));
	if (a->log_level) {
		l->log = (struct bpf_log){.buf = (char *)a->log_buf, .size = a->log_size};
		l->log.buf[0] = 0;
	}
	ret = resolve_maps(l, a);
	if (!ret)
		ret = bpf_check(l->insns, l->count,
				&(struct bpf_check_env){.map_count = l->map_count,
							.map_value_size = l->value_size,
							.log = &l->log});
	if (!ret && a->log_level && l->log.len >= l->log.size)
		ret = -ENOSPC;
	if (!ret)
		ret = store_prog(s, l, a, btf_id);
	free(l->insns);
	free(l);
	return ret;
}

long loader_prog_test_run(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	u32 id;
	int err = loader_fd_object((int)a->test.prog_fd, OBJ_PROG, &id);

	return err ? err : -LOADER_ENOTSUPP;
}
