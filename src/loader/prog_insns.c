/* SPDX-License-Identifier: MIT */
/*
 * BPF_PROG_LOAD, the instructions: map references, checks, the tag. Messages in the kernel's words.
 */
#include "loader/prog.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include "bpf/helper_desc.h"
#include "loader/digest.h"

#define MAX_VALUE_OFF (1u << 29)

static bool is_wide(const struct bpf_insn *in)
{
	return in->code == (BPF_LD | BPF_IMM | BPF_DW);
}

/* Tags are the beginning of a SHA-1; of a SHA-256 since 6.18. As this machine's kernel has it. */
static bool tags_are_sha256(void)
{
	unsigned int major, minor;
	struct utsname u;

	return !uname(&u) && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 18));
}

int prog_tag(struct prog_load *l)
{
	struct bpf_insn *copy = malloc(l->count * sizeof(*copy));
	u8 digest[32];

	if (!copy)
		return -ENOMEM;
	memcpy(copy, l->insns, l->count * sizeof(*copy));
	for (u32 i = 0; i + 1 < l->count; i++) {
		if (!is_wide(&copy[i]))
			continue;
		if (copy[i].src_reg == BPF_PSEUDO_MAP_FD || copy[i].src_reg == BPF_PSEUDO_MAP_VALUE)
			copy[i].imm = copy[i + 1].imm =
				0; /* descriptors differ from load to load */
		i++;
	}
	(tags_are_sha256() ? sha256 : sha1)(copy, l->count * sizeof(*copy), digest);
	memcpy(l->tag, digest, sizeof(l->tag));
	free(copy);
	return 0;
}

static int add_map(struct prog_load *l, struct map *m)
{
	for (u32 i = 0; i < l->map_count; i++)
		if (l->map_id[i] == m->id)
			return (int)i;
	if (l->map_count == PROG_MAX_MAPS) {
		bpf_log(&l->log.text,
			"The total number of maps per program has reached the limit of %u\n",
			PROG_MAX_MAPS);
		return -E2BIG;
	}
	l->map_id[l->map_count] = m->id;
	l->value_size[l->map_count] =
		map_direct_value(m) && m->def.max_entries == 1 ? m->def.value_size : 0;
	return (int)l->map_count++;
}

static int map_index(struct prog_load *l, int fd, struct map **ret)
{
	int err = 0;
	struct map *m = loader_map_by_fd(fd, NULL, &err);

	if (!m) {
		bpf_log(&l->log.text, "fd %d is not pointing to valid bpf_map\n", fd);
		return err;
	}
	*ret = m;
	return add_map(l, m);
}

/* Maps and BTF the program shall keep, whether its instructions name them or not. */
int prog_take_fd_array(struct prog_load *l, const union attr_more *a)
{
	const u32 n = a->prog_load.fd_array_cnt;
	struct map *m;
	u32 btf;

	if (n >= UINT32_MAX / sizeof(int))
		return -EINVAL;
	for (u32 i = 0; i < n; i++) {
		int fd, err = user_read(&fd, a->attr.fd_array + i * sizeof(fd), sizeof(fd));

		if (err)
			return err;
		if (!loader_fd_object(fd, OBJ_BTF, &btf))
			continue;
		err = map_index(l, fd, &m);
		if (err < 0)
			return err;
	}
	return 0;
}

static int value_ref(struct prog_load *l, const struct map *m, u32 index, u32 off)
{
	if (off >= MAX_VALUE_OFF) {
		bpf_log(&l->log.text, "direct value offset of %u is not allowed\n", off);
		return -EINVAL;
	}
	if (!map_direct_value(m)) {
		bpf_log(&l->log.text, "no direct value access support for this map type\n");
		return -EINVAL;
	}
	if (off < l->value_size[index])
		return 0;
	bpf_log(&l->log.text, "invalid access to map value pointer, value_size=%u off=%u\n",
		m->def.value_size, off);
	return m->def.max_entries == 1 ? -EINVAL : -LOADER_ENOTSUPP;
}

static int resolve_one(struct prog_load *l, const union attr_more *a, struct bpf_insn *in)
{
	const bool by_index =
		in->src_reg == BPF_PSEUDO_MAP_IDX || in->src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
	const bool value =
		in->src_reg == BPF_PSEUDO_MAP_VALUE || in->src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
	int fd = in->imm, index;
	struct map *m;

	if (!value && in[1].imm) {
		bpf_log(&l->log.text, "unrecognized bpf_ld_imm64 insn\n");
		return -EINVAL;
	}
	if (by_index) {
		if (!a->attr.fd_array) {
			bpf_log(&l->log.text, "fd_idx without fd_array is invalid\n");
			return -EPROTO;
		}
		if (user_read(&fd, a->attr.fd_array + (u64)(s64)in->imm * sizeof(fd), sizeof(fd)))
			return -EFAULT;
	}
	index = map_index(l, fd, &m);
	if (index < 0)
		return index;
	in->imm = index;
	in->src_reg = value ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD;
	return value ? value_ref(l, m, (u32)index, (u32)in[1].imm) : 0;
}

int prog_resolve_maps(struct prog_load *l, const union attr_more *a)
{
	int err = 0;

	for (u32 i = 0; !err && i + 1 < l->count; i++) {
		if (!is_wide(&l->insns[i]))
			continue;
		switch (l->insns[i].src_reg) {
		case BPF_PSEUDO_MAP_FD:
		case BPF_PSEUDO_MAP_VALUE:
		case BPF_PSEUDO_MAP_IDX:
		case BPF_PSEUDO_MAP_IDX_VALUE:
			err = resolve_one(l, a, &l->insns[i]);
		}
		i++;
	}
	return err;
}

void prog_log_processed(struct prog_load *l, u32 insns)
{
	bpf_log(&l->log.text,
		"processed %u insns (limit %u) max_states_per_insn 0 total_states 0 peak_states 0 "
		"mark_read 0\n",
		insns, BPF_MAX_INSNS);
}

int prog_check(struct prog_load *l)
{
	const struct bpf_check_env env = {
		.map_count = l->map_count, .map_value_size = l->value_size, .probes = l->verified, .log = &l->log.text};
	int err = bpf_check(l->insns, l->count, &env);

	for (u32 i = 0; !err && i < l->count; i++) {
		const struct bpf_insn *in = &l->insns[i];
		const struct bpf_helper_desc *d;

		if (in->code != (BPF_JMP | BPF_CALL) || in->src_reg)
			continue;
		d = bpf_helper_desc((u32)in->imm);
		l->asks_task |= in->imm == BPF_FUNC_get_current_task || in->imm == BPF_FUNC_get_current_task_btf;
		if (d && !l->verified && (d->ret == RET_TASK || d->ret == RET_PT_REGS || d->ret == RET_CAST)) { /* it says which loads go there */
			bpf_log(&l->log.text, "unknown func bpf_%s#%d\n", d->name, in->imm);
			err = -EINVAL;
		}
		l->traces |= in->imm == BPF_FUNC_trace_printk || in->imm == BPF_FUNC_trace_vprintk;
		if (d && (d->flags & HELPER_GPL_ONLY) && !l->gpl) {
			bpf_log(&l->log.text, "cannot call GPL-restricted function from non-GPL "
					      "compatible program\n");
			err = -EINVAL;
		}
	}
	if (!l->log.sink.end || err)
		prog_log_processed(l, err ? 0 : l->count);
	return err;
}
