/* SPDX-License-Identifier: MIT */
/* Rows on ids and BPF_OBJ_GET_INFO_BY_FD. */
#include "oracle.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)

static long info(struct side *s, union bpf_attr *a, int fd, void *p, u32 len)
{
	memset(a, 0, sizeof(*a));
	a->info.bpf_fd = (u32)fd;
	a->info.info_len = len;
	a->info.info = (u64)p;
	long r = s->bpf(BPF_OBJ_GET_INFO_BY_FD, a, 16);

	oracle_out(s, &a->info.info_len, 4);
	return r;
}

ROW(info_map)
{
	struct bpf_map_info *i = (void *)room;
	long r = info(s, a, s->mappable, room, 1024);

	i->id = i->id != 0;
	oracle_out(s, room, 104);
	return r;
}

ROW(info_map_readonly)
{
	struct bpf_map_info *i = (void *)room;
	long r = info(s, a, s->readonly, room, sizeof(*i));

	oracle_out(s, &i->map_flags, 4);
	return r;
}

ROW(info_prog)
{
	struct bpf_prog_info *i = (void *)room;
	long r = info(s, a, s->prog, room, sizeof(*i));

	i->id = i->id != 0;
	i->load_time = i->load_time != 0;
	i->jited_prog_len = 0; /* the kernel's compiled length */
	i->btf_id = 0;
	oracle_out(s, room, sizeof(*i));
	return r;
}

ROW(info_prog_plain)
{
	struct bpf_prog_info *i = (void *)room;
	long r = info(s, a, s->prog_plain, room, sizeof(*i));
	u8 gpl = i->gpl_compatible;

	oracle_out(s, &gpl, 1);
	return r;
}

ROW(info_prog_insns)
{
	struct bpf_prog_info *i = (void *)room;
	long r;

	i->xlated_prog_len = 64;
	i->xlated_prog_insns = (u64)(room + 4096);
	i->nr_map_ids = 2;
	i->map_ids = (u64)(room + 8192);
	i->nr_prog_tags = 4;
	i->prog_tags = (u64)(room + 8300);
	r = info(s, a, s->prog, room, sizeof(*i));
	oracle_out(s, &i->xlated_prog_len, 4);
	oracle_out(s, &i->nr_map_ids, 4);
	oracle_out(s, &i->nr_prog_tags, 4);
	oracle_out(s, room + 4096, 64);
	return r;
}

static long bad_array(struct side *s, union bpf_attr *a, struct bpf_prog_info *i)
{
	return info(s, a, s->prog, i, sizeof(*i));
}

ROW(info_insns_bad) { struct bpf_prog_info *i = (void *)room; i->xlated_prog_len = 64; i->xlated_prog_insns = bad_page; return bad_array(s, a, i); }
ROW(info_tags_bad) { struct bpf_prog_info *i = (void *)room; i->nr_prog_tags = 1; i->prog_tags = bad_page; return bad_array(s, a, i); }
ROW(info_rec_size) { struct bpf_prog_info *i = (void *)room; i->func_info_rec_size = 4; return bad_array(s, a, i); }
ROW(info_line_size) { struct bpf_prog_info *i = (void *)room; i->nr_line_info = 1; return bad_array(s, a, i); }
ROW(info_short) { long r = info(s, a, s->prog, room, 4); oracle_out(s, room, 16); return r; }
ROW(info_none) { return info(s, a, s->prog, NULL, 0); }
ROW(info_null) { return info(s, a, s->prog, NULL, 64); }
ROW(info_bad) { return info(s, a, s->array, (void *)bad_page, 64); }
ROW(info_readonly) { return info(s, a, s->array, (void *)readonly_page, 64); }
ROW(info_tail) { room[1000] = 1; return info(s, a, s->array, room, 1024); }
ROW(info_4097) { return info(s, a, s->array, room, 4097); }
ROW(info_closed) { return info(s, a, s->closed, room, 64); }
ROW(info_pipe) { return info(s, a, s->pipe, room, 64); }
ROW(info_event) { return info(s, a, s->event, room, 64); }
ROW(info_attr_tail) { a->info.bpf_fd = (u32)s->array; ((u8 *)a)[20] = 1; return s->bpf(BPF_OBJ_GET_INFO_BY_FD, a, 32); }

ROW(info_btf)
{
	struct bpf_btf_info *i = (void *)room;
	long r;

	i->btf = (u64)(room + 4096);
	i->btf_size = 4096;
	i->name = (u64)(room + 2048);
	i->name_len = 16;
	r = info(s, a, s->btf, room, sizeof(*i));
	i->id = 0;
	i->btf = i->name = 0;
	oracle_out(s, i, sizeof(*i));
	oracle_out(s, room + 4096, oracle_btf_size + 8);
	return r;
}

ROW(info_btf_part) { struct bpf_btf_info *i = (void *)room; i->btf = (u64)(room + 4096); i->btf_size = 10; long r = info(s, a, s->btf, room, sizeof(*i)); oracle_out(s, &i->btf_size, 4); oracle_out(s, room + 4096, 64); return r; }
ROW(info_btf_name) { struct bpf_btf_info *i = (void *)room; i->name_len = 5; return info(s, a, s->btf, room, sizeof(*i)); }
ROW(info_btf_bad) { struct bpf_btf_info *i = (void *)room; i->btf = bad_page; i->btf_size = 5; return info(s, a, s->btf, room, sizeof(*i)); }

ROW(info_link)
{
	u32 *i = (void *)room;
	long r;

	*(u64 *)(room + 24) = (u64)(room + 4096);
	*(u32 *)(room + 32) = 64;
	r = info(s, a, s->link, room, 64);
	i[1] = i[1] != 0;
	i[2] = i[2] != 0;
	*(u64 *)(room + 24) = 0;
	oracle_out(s, room, 64);
	oracle_out(s, room + 4096, 64);
	return r;
}

ROW(info_link_cut) { *(u64 *)(room + 24) = (u64)(room + 4096); *(u32 *)(room + 32) = 4; long r = info(s, a, s->link, room, 64); oracle_out(s, room + 4096, 16); return r; }
ROW(info_link_len) { *(u32 *)(room + 32) = 4; return info(s, a, s->link, room, 64); }
ROW(info_link_name) { *(u64 *)(room + 24) = (u64)(room + 4096); return info(s, a, s->link, room, 64); }
ROW(info_link_bad) { *(u64 *)(room + 24) = bad_page; *(u32 *)(room + 32) = 64; return info(s, a, s->link, room, 64); }

/* ---- ids ---- */

static u32 id_of(struct side *s, union bpf_attr *a, int fd)
{
	u32 room[32] = {0};
	u32 keep = s->out_len;

	info(s, a, fd, room, 16);
	s->out_len = keep;
	return room[1];
}

static long by_id(struct side *s, union bpf_attr *a, int cmd, u32 id, u32 flags)
{
	memset(a, 0, sizeof(*a));
	a->map_id = id;
	a->open_flags = flags;
	long fd = s->bpf(cmd, a, 16);

	if (fd < 0)
		return fd;
	int mode = fcntl((int)fd, F_GETFL) & O_ACCMODE, cloexec = fcntl((int)fd, F_GETFD);

	oracle_out(s, &mode, 4);
	oracle_out(s, &cloexec, 4);
	s->close((int)fd);
	return 1;
}

ROW(map_by_id) { return by_id(s, a, BPF_MAP_GET_FD_BY_ID, id_of(s, a, s->array), 0); }
ROW(map_by_id_ro) { return by_id(s, a, BPF_MAP_GET_FD_BY_ID, id_of(s, a, s->array), BPF_F_RDONLY); }
ROW(map_by_id_wo) { return by_id(s, a, BPF_MAP_GET_FD_BY_ID, id_of(s, a, s->array), BPF_F_WRONLY); }
ROW(map_by_id_both) { return by_id(s, a, BPF_MAP_GET_FD_BY_ID, id_of(s, a, s->array), BPF_F_RDONLY | BPF_F_WRONLY); }
ROW(map_by_id_flag) { return by_id(s, a, BPF_MAP_GET_FD_BY_ID, id_of(s, a, s->array), 1); }
ROW(map_by_id_0) { return by_id(s, a, BPF_MAP_GET_FD_BY_ID, 0, 0); }
ROW(map_by_id_big) { return by_id(s, a, BPF_MAP_GET_FD_BY_ID, 0x7ffffff0, 0); }
ROW(prog_by_id) { return by_id(s, a, BPF_PROG_GET_FD_BY_ID, id_of(s, a, s->prog), 0); }
ROW(prog_by_id_flag) { return by_id(s, a, BPF_PROG_GET_FD_BY_ID, id_of(s, a, s->prog), BPF_F_RDONLY); }
ROW(prog_by_id_0) { return by_id(s, a, BPF_PROG_GET_FD_BY_ID, 0, 0); }
ROW(link_by_id) { return by_id(s, a, BPF_LINK_GET_FD_BY_ID, id_of(s, a, s->link), 0); }
ROW(link_by_id_0) { return by_id(s, a, BPF_LINK_GET_FD_BY_ID, 0, 0); }
ROW(btf_by_id_0) { return by_id(s, a, BPF_BTF_GET_FD_BY_ID, 0, 0); }

ROW(next_map)
{
	u32 id = id_of(s, a, s->array);

	memset(a, 0, sizeof(*a));
	a->start_id = id - 1;
	long r = s->bpf(BPF_MAP_GET_NEXT_ID, a, 16);

	u8 same = a->next_id == id;

	oracle_out(s, &same, 1);
	return r;
}

ROW(next_last) { a->start_id = 0x7ffffffe; return s->bpf(BPF_PROG_GET_NEXT_ID, a, 16); }
ROW(next_max) { a->start_id = 0x7fffffff; return s->bpf(BPF_PROG_GET_NEXT_ID, a, 16); }
ROW(next_neg) { a->start_id = ~0u; return s->bpf(BPF_LINK_GET_NEXT_ID, a, 16); }
ROW(next_flags) { a->open_flags = 1; return s->bpf(BPF_MAP_GET_NEXT_ID, a, 16); }
ROW(next_readonly) { return s->bpf(BPF_MAP_GET_NEXT_ID, (void *)readonly_page, 8); }

#define MODE(name_, fd_)                                                                           \
	ROW(name_)                                                                                 \
	{                                                                                          \
		int mode = fcntl(s->fd_, F_GETFL) & O_ACCMODE, cloexec = fcntl(s->fd_, F_GETFD);   \
		oracle_out(s, &mode, 4);                                                           \
		oracle_out(s, &cloexec, 4);                                                        \
		return 0;                                                                          \
	}
MODE(mode_map, array)
MODE(mode_readonly, readonly)
MODE(mode_writeonly, writeonly)
MODE(mode_prog, prog)
MODE(mode_link, link)
MODE(mode_btf, btf)
MODE(mode_event, event)

#define R(name_) {#name_, name_}
const struct row oracle_info_rows[] = {
	R(info_map), R(info_map_readonly), R(info_prog), R(info_prog_plain), R(info_prog_insns), R(info_insns_bad),
	R(info_tags_bad), R(info_rec_size), R(info_line_size), R(info_short), R(info_none), R(info_null), R(info_bad),
	R(info_readonly), R(info_tail), R(info_4097), R(info_closed), R(info_pipe), R(info_event), R(info_attr_tail),
	R(info_btf), R(info_btf_part), R(info_btf_name), R(info_btf_bad), R(info_link), R(info_link_cut),
	R(info_link_len), R(info_link_name), R(info_link_bad),
	R(map_by_id), R(map_by_id_ro), R(map_by_id_wo), R(map_by_id_both), R(map_by_id_flag), R(map_by_id_0),
	R(map_by_id_big), R(prog_by_id), R(prog_by_id_flag), R(prog_by_id_0), R(link_by_id), R(link_by_id_0),
	R(btf_by_id_0), R(next_map), R(next_last), R(next_max), R(next_neg), R(next_flags), R(next_readonly),
	R(mode_map), R(mode_readonly), R(mode_writeonly), R(mode_prog), R(mode_link), R(mode_btf), R(mode_event),
	{NULL, NULL},
};
