/* SPDX-License-Identifier: MIT */
/* BPF_OBJ_GET_INFO_BY_FD of programs. */
#include "loader/info.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "loader/attr.h"
#include "loader/run.h"

/* The program as loaded, its maps by their ids. */
static int give_insns(const struct info_view *v, const struct prog_file *p, u64 dst, u32 *len,
		      const u32 *maps)
{
	const struct bpf_insn *src = info_in_file(v, p->insns_off, p->insn_count, sizeof(*src));
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
		copy[i].code = bpf_plain_load(&copy[i]);
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
 * The machine code, as one function, compiled as targets do but for the addresses in it: theirs are there only.
 * Where it cannot be compiled here (another processor, a damaged map), the program is "not jited".
 */
static int give_code(struct store *s, const struct prog_file *p, struct bpf_prog_info *i, u32 *ret_len)
{
	struct loader_run r;
	u8 *code = NULL;
	long len = run_open(&r, s, p->head.id);
	int err;

	if (!len) {
		len = run_compile(&r, &code);
		run_close(&r);
	}
	*ret_len = len > 0 ? (u32)len : 0;
	err = info_give(i->jited_prog_insns, &i->jited_prog_len, code, *ret_len, 1);
	free(code);
	return err;
}

/*
 * The links' own counts are in their files. Finding them means looking at all links, so in a session with very
 * many only those that are gone count: listing its programs would take minutes.
 */
#define RUNS_MAX_LINKS 512

void info_runs(struct store *s, const struct prog_file *p, u64 *ret_runs, u64 *ret_ns)
{
	u32 ids[RUNS_MAX_LINKS];
	int n = store_list(s, OBJ_LINK, ids, RUNS_MAX_LINKS), err;
	u64 size;

	*ret_runs = atomic_load(&p->runs);
	*ret_ns = atomic_load(&p->run_ns);
	for (int i = 0; i < n && n <= RUNS_MAX_LINKS; i++) {
		struct link_file *l = store_map_object(s, OBJ_LINK, ids[i], &size, &err);

		if (!l)
			continue;
		if (l->prog_id == p->head.id && size >= 2 * PAGE_SIZE) {
			struct link_stats *stats = (void *)((u8 *)l + size - PAGE_SIZE);

			*ret_runs += atomic_load(&stats->timed_runs);
			*ret_ns += atomic_load(&stats->timed_ns);
		}
		munmap(l, size);
	}
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
	i->verified_insns = p->processed;
	i->btf_id = p->btf_id;
	memcpy(i->tag, p->tag, sizeof(i->tag));
	memcpy(i->name, p->name, sizeof(i->name));
	i->nr_jited_line_info = 0;
	i->recursion_misses = 0;
	i->ifindex = 0;
	i->netns_dev = i->netns_ino = 0;
	i->attach_btf_obj_id = i->attach_btf_id = 0;
}

long info_prog(struct store *s, const struct info_view *v, struct bpf_prog_info *i)
{
	const struct prog_file *p = (const void *)v->p;
	const u32 *maps = info_in_file(v, p->map_ids_off, p->map_count, sizeof(u32));
	u32 one = 1;
	u64 none = 0, runs, ns;
	u32 jited;
	long err = info_give(i->map_ids, &i->nr_map_ids, maps, p->map_count, sizeof(u32));

	if (!err)
		err = set_record_sizes(i);
	if (err)
		return err;
	prog_facts(p, i);
	info_runs(s, p, &runs, &ns);
	i->run_cnt = runs;
	i->run_time_ns = ns;
	err = give_insns(v, p, i->xlated_prog_insns, &i->xlated_prog_len, maps);
	if (!err)
		err = give_code(s, p, i, &jited);
	if (!err)
		err = info_give(i->jited_ksyms, &i->nr_jited_ksyms, &none, one, sizeof(u64));
	if (!err)
		err = info_give(i->jited_func_lens, &i->nr_jited_func_lens, &jited, one,
				 sizeof(u32));
	if (!err)
		err = info_give(i->func_info, &i->nr_func_info,
				 info_in_file(v, p->func_info_off, p->func_info_cnt,
					 sizeof(struct bpf_func_info)),
				 p->func_info_cnt, sizeof(struct bpf_func_info));
	if (!err)
		err = info_give(i->line_info, &i->nr_line_info,
				 info_in_file(v, p->line_info_off, p->line_info_cnt,
					 sizeof(struct bpf_line_info)),
				 p->line_info_cnt, sizeof(struct bpf_line_info));
	return err ? err : info_give(i->prog_tags, &i->nr_prog_tags, p->tag, one, sizeof(p->tag));
}
