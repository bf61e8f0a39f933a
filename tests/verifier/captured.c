/* SPDX-License-Identifier: MIT */
/* See captured.h. */
#include "captured.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bpf/check.h"

static bool is_frozen(int fd)
{
	char path[64], line[128];
	bool frozen = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		frozen |= !strncmp(line, "frozen:\t1", 9);
	if (f)
		fclose(f);
	return frozen;
}

static s32 find_lock(const struct bpf_map_info *info)
{
	struct btf *btf = info->btf_id ? btf__load_from_kernel_by_id(info->btf_id) : NULL;
	const struct btf_type *t = btf ? btf__type_by_id(btf, info->btf_value_type_id) : NULL;
	s32 off = -1;

	for (int i = 0; t && btf_is_struct(t) && i < btf_vlen(t); i++) {
		const struct btf_member *m = btf_members(t) + i;
		const struct btf_type *mt = btf__type_by_id(btf, m->type);

		if (mt && btf_is_struct(mt) &&
		    !strcmp(btf__name_by_offset(btf, mt->name_off), "bpf_spin_lock"))
			off = (s32)btf_member_bit_offset(t, (u32)i) / 8;
	}
	btf__free(btf);
	return off;
}

static int describe_map(struct captured *c, u32 i, int fd)
{
	struct bpf_map_info info = {0};
	struct verifier_map *m = &c->maps[i];
	u32 len = sizeof(info), zero = 0;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -EBADF;
	memcpy(c->names[i], info.name, sizeof(info.name));
	*m = (struct verifier_map){.name = c->names[i],
				   .type = info.type,
				   .key_size = info.key_size,
				   .value_size = info.value_size,
				   .max_entries = info.max_entries,
				   .flags = info.map_flags,
				   .lock_off = find_lock(&info)};
	if (info.type == BPF_MAP_TYPE_ARRAY && info.max_entries == 1 &&
	    info.map_flags & BPF_F_RDONLY_PROG && is_frozen(fd)) {
		c->constants[i] = calloc(1, info.value_size + 8);
		if (!bpf_map_lookup_elem(fd, &zero, c->constants[i]))
			m->constant = c->constants[i];
	}
	return 0;
}

static int map_index(struct captured *c, int fd)
{
	struct bpf_map_info a = {0}, b;
	u32 len = sizeof(a);

	if (bpf_obj_get_info_by_fd(fd, &a, &len))
		return -EBADF;
	for (u32 i = 0; i < c->prog.map_count; i++) {
		len = sizeof(b);
		memset(&b, 0, sizeof(b));
		if (!bpf_obj_get_info_by_fd(c->fds[i], &b, &len) && a.id == b.id)
			return (int)i;
	}
	if (c->prog.map_count == CAPTURED_MAPS || describe_map(c, c->prog.map_count, fd))
		return -E2BIG;
	c->fds[c->prog.map_count] = fd;
	return (int)c->prog.map_count++;
}

static int resolve(struct captured *c, const union bpf_attr *attr)
{
	const int *fds = (const int *)attr->fd_array;

	for (u32 i = 0; i + 1 < c->prog.insn_count; i++) {
		struct bpf_insn *in = &c->insns[i];
		int index;

		if (in->code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (in->src_reg == BPF_PSEUDO_MAP_IDX || in->src_reg == BPF_PSEUDO_MAP_IDX_VALUE) {
			in->imm = fds[in->imm];
			in->src_reg = in->src_reg == BPF_PSEUDO_MAP_IDX ? BPF_PSEUDO_MAP_FD
									: BPF_PSEUDO_MAP_VALUE;
		}
		if (in->src_reg == BPF_PSEUDO_MAP_FD || in->src_reg == BPF_PSEUDO_MAP_VALUE) {
			index = map_index(c, in->imm);
			if (index < 0)
				return index;
			in->imm = index;
		}
		i++;
	}
	return 0;
}

static void *records(u64 from, u32 count, u32 size, u32 known)
{
	u8 *to = calloc(count + 1, known);

	for (u32 i = 0; i < count; i++)
		memcpy(to + i * known, (const u8 *)from + i * size, size < known ? size : known);
	return to;
}

static void take_types(struct captured *c, const union bpf_attr *a)
{
	struct bpf_btf_info info = {0};
	u32 len = sizeof(info);

	if (!a->prog_btf_fd || bpf_obj_get_info_by_fd((int)a->prog_btf_fd, &info, &len))
		return;
	c->btf = calloc(1, info.btf_size + 8);
	c->prog.btf_size = info.btf_size;
	info = (struct bpf_btf_info){.btf = (u64)c->btf, .btf_size = c->prog.btf_size};
	len = sizeof(info);
	if (bpf_obj_get_info_by_fd((int)a->prog_btf_fd, &info, &len))
		return;
	c->prog.btf = c->btf;
	c->prog.funcs = c->funcs =
		records(a->func_info, a->func_info_cnt, a->func_info_rec_size, sizeof(*c->funcs));
	c->prog.func_count = a->func_info_cnt;
	c->prog.lines = c->lines =
		records(a->line_info, a->line_info_cnt, a->line_info_rec_size, sizeof(*c->lines));
	c->prog.line_count = a->line_info_cnt;
}

static bool is_gpl(const char *license)
{
	return !strcmp(license, "GPL") || !strcmp(license, "Dual BSD/GPL") ||
	       !strcmp(license, "GPL v2") || !strcmp(license, "Dual MIT/GPL");
}

/* Whether limpet has a helper yet is not what is compared. */
static bool any_helper(u32 id)
{
	return bpf_helper_desc(id) != NULL;
}

/* As the loader has it: what no path reaches may be anything. */
static bool anything(u32 id)
{
	return true;
}

int captured_take(struct captured *c, const union bpf_attr *a, unsigned int size,
		  struct verifier_sink *log)
{
	char text[4096] = "";
	struct bpf_log check_log = {.buf = text, .size = sizeof(text)};
	struct bpf_check_env env = {.log = &check_log, .helper_known = anything};
	int err;

	memset(c, 0, sizeof(*c));
	if (!a->insn_cnt || a->insn_cnt > BPF_MAX_INSNS)
		return -E2BIG;
	c->insns = calloc(a->insn_cnt, sizeof(*c->insns));
	memcpy(c->insns, (const void *)a->insns, a->insn_cnt * sizeof(*c->insns));
	c->prog = (struct verifier_prog){.insns = c->insns,
					 .insn_count = a->insn_cnt,
					 .type = a->prog_type,
					 .attach_type = a->expected_attach_type,
					 .gpl = is_gpl((const char *)a->license),
					 .sleepable = a->prog_flags & BPF_F_SLEEPABLE,
					 .strict_alignment = a->prog_flags & BPF_F_STRICT_ALIGNMENT,
					 .cpus = (u32)sysconf(_SC_NPROCESSORS_CONF),
					 .maps = c->maps,
					 .helper_known = any_helper};
	err = resolve(c, a);
	if (err)
		return err;
	take_types(c, a);
	env.map_count = c->prog.map_count;
	err = bpf_check(c->insns, a->insn_cnt, &env);
	if (err)
		sink_printf(log, "%s", text);
	return err;
}

void captured_free(struct captured *c)
{
	free(c->insns);
	free(c->funcs);
	free(c->lines);
	free(c->btf);
	for (u32 i = 0; i < CAPTURED_MAPS; i++)
		free(c->constants[i]);
}
