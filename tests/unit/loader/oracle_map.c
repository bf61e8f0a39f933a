/* SPDX-License-Identifier: MIT */
/* Rows on maps: creation, elements, access, freezing. */
#include "oracle.h"

#include <stddef.h>
#include <string.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)
#define ELEM_SIZE 32

/* ---- creation ---- */

static long create(struct side *s, union bpf_attr *a)
{
	long fd = s->bpf(BPF_MAP_CREATE, a, sizeof(*a));

	if (fd < 0)
		return fd;
	s->close((int)fd);
	return 1;
}

static union bpf_attr *array_attr(union bpf_attr *a)
{
	a->map_type = BPF_MAP_TYPE_ARRAY;
	a->key_size = 4;
	a->value_size = 8;
	a->max_entries = 2;
	return a;
}

ROW(create_array) { return create(s, array_attr(a)); }
ROW(create_type_0) { a->max_entries = 1; return create(s, a); }
ROW(create_type_999) { array_attr(a)->map_type = 999; return create(s, a); }
ROW(create_type_neg) { array_attr(a)->map_type = ~0u; return create(s, a); }
ROW(create_no_entries) { array_attr(a)->max_entries = 0; return create(s, a); }
ROW(create_key_8) { array_attr(a)->key_size = 8; return create(s, a); }
ROW(create_value_0) { array_attr(a)->value_size = 0; return create(s, a); }
ROW(create_huge) { array_attr(a)->value_size = 0x80000000u; return create(s, a); }
ROW(create_flag_31) { array_attr(a)->map_flags = 1u << 31; return create(s, a); }
ROW(create_token) { array_attr(a)->map_flags = 1u << 16; return create(s, a); }
ROW(create_prealloc) { array_attr(a)->map_flags = BPF_F_NO_PREALLOC; return create(s, a); }
ROW(create_rdonly) { array_attr(a)->map_flags = BPF_F_RDONLY; return create(s, a); }
ROW(create_rdwr) { array_attr(a)->map_flags = BPF_F_RDONLY | BPF_F_WRONLY; return create(s, a); }
ROW(create_rdwr_prog) { array_attr(a)->map_flags = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG; return create(s, a); }
ROW(create_numa_0) { array_attr(a)->map_flags = BPF_F_NUMA_NODE; return create(s, a); }
ROW(create_numa_77) { array_attr(a)->map_flags = BPF_F_NUMA_NODE; a->numa_node = 77; return create(s, a); }
ROW(create_numa_none) { array_attr(a)->map_flags = BPF_F_NUMA_NODE; a->numa_node = ~0u; return create(s, a); }
ROW(create_numa_no_flag) { array_attr(a)->numa_node = 77; return create(s, a); }
ROW(create_extra) { array_attr(a)->map_extra = 1; return create(s, a); }
ROW(create_inner_fd) { array_attr(a)->inner_map_fd = 12345; return create(s, a); }
ROW(create_name) { strcpy(array_attr(a)->map_name, "a.name_0"); return create(s, a); }
ROW(create_name_bad) { strcpy(array_attr(a)->map_name, "a-name"); return create(s, a); }
ROW(create_name_space) { strcpy(array_attr(a)->map_name, "a name"); return create(s, a); }
ROW(create_name_latin) { strcpy(array_attr(a)->map_name, "n\xe4me"); return create(s, a); }
ROW(create_name_full) { memset(array_attr(a)->map_name, 'x', 16); return create(s, a); }
ROW(create_name_rest) { memcpy(array_attr(a)->map_name, "abc\0-!", 6); return create(s, a); }
ROW(create_btf) { array_attr(a)->btf_fd = (u32)s->btf; a->btf_key_type_id = 1; a->btf_value_type_id = 4; return create(s, a); }
ROW(create_btf_td) { array_attr(a)->btf_fd = (u32)s->btf; a->btf_key_type_id = 1; a->btf_value_type_id = 5; return create(s, a); }
ROW(create_btf_typedef_key) { array_attr(a)->value_size = 4; a->btf_fd = (u32)s->btf; a->btf_key_type_id = 9; a->btf_value_type_id = 1; return create(s, a); }
ROW(create_btf_key) { array_attr(a)->btf_fd = (u32)s->btf; a->btf_key_type_id = 2; a->btf_value_type_id = 4; return create(s, a); }
ROW(create_btf_val) { array_attr(a)->btf_fd = (u32)s->btf; a->btf_key_type_id = 1; a->btf_value_type_id = 1; return create(s, a); }
ROW(create_btf_99) { array_attr(a)->btf_fd = (u32)s->btf; a->btf_key_type_id = 1; a->btf_value_type_id = 99; return create(s, a); }
ROW(create_btf_fn) { array_attr(a)->btf_fd = (u32)s->btf; a->btf_key_type_id = 1; a->btf_value_type_id = 7; return create(s, a); }
ROW(create_btf_only_key) { array_attr(a)->btf_fd = (u32)s->btf; a->btf_key_type_id = 1; return create(s, a); }
ROW(create_btf_only_val) { array_attr(a)->btf_fd = (u32)s->btf; a->btf_value_type_id = 4; return create(s, a); }
ROW(create_btf_closed) { array_attr(a)->btf_fd = (u32)s->closed; a->btf_key_type_id = 1; a->btf_value_type_id = 4; return create(s, a); }
ROW(create_btf_pipe) { array_attr(a)->btf_fd = (u32)s->pipe; a->btf_key_type_id = 1; a->btf_value_type_id = 4; return create(s, a); }
ROW(create_btf_map) { array_attr(a)->btf_fd = (u32)s->array; a->btf_key_type_id = 1; a->btf_value_type_id = 4; return create(s, a); }
ROW(create_btf_queue) { a->map_type = BPF_MAP_TYPE_QUEUE; a->value_size = 8; a->max_entries = 1; a->btf_fd = (u32)s->btf; a->btf_value_type_id = 4; return create(s, a); }
/* A value type with and without a key type, for every type of map that both have. */
ROW(create_btf_types)
{
	static const u8 types[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 22, 23, 27, 30, 31};

	for (u32 i = 0; i < ARRAY_SIZE(types); i++)
		for (u32 key = 0; key < 2; key++)
			for (u32 flags = 0; flags < 2; flags++) {
				const bool keyless = types[i] == 22 || types[i] == 23 || types[i] >= 27;
				s16 ret;

				memset(a, 0, sizeof(*a));
				a->map_type = types[i];
				a->key_size = keyless ? 0 : 4;
				a->value_size = types[i] == 27 || types[i] == 31 ? 0 : 4;
				a->max_entries = a->value_size ? 1 : 4096;
				a->map_flags = flags ? BPF_F_NO_PREALLOC : 0;
				a->btf_fd = (u32)s->btf;
				a->btf_key_type_id = key;
				a->btf_value_type_id = 1;
				ret = (s16)create(s, a);
				oracle_out(s, &ret, sizeof(ret));
			}
	return 0;
}
ROW(create_token_unused)
{
	u8 bytes[168] = {0};
	long fd;

	memcpy(bytes, array_attr(a), sizeof(*a));
	bytes[72] = bytes[76] = 5; /* descriptors that no flag makes valid */
	fd = s->bpf(BPF_MAP_CREATE, bytes, sizeof(bytes));
	if (fd >= 0)
		s->close((int)fd);
	return fd < 0 ? fd : 1;
}
ROW(create_short)
{
	long fd = s->bpf(BPF_MAP_CREATE, array_attr(a), 15); /* the rest is zero: max_entries is cut to 2 all the same */

	if (fd >= 0)
		s->close((int)fd);
	return fd < 0 ? fd : 1;
}
ROW(create_size_0) { return s->bpf(BPF_MAP_CREATE, a, 0); }
ROW(create_null) { return s->bpf(BPF_MAP_CREATE, NULL, 20); }
ROW(create_bad_page) { return s->bpf(BPF_MAP_CREATE, (void *)bad_page, 20); }
ROW(create_edge) { return s->bpf(BPF_MAP_CREATE, (void *)edge, 20); }
ROW(create_big_zero) { array_attr(a); memcpy(room, a, sizeof(*a)); long r = s->bpf(BPF_MAP_CREATE, room, 4096); if (r >= 0) s->close((int)r); return r < 0 ? r : 1; }
ROW(create_big_set) { memcpy(room, array_attr(a), sizeof(*a)); room[4000] = 1; return s->bpf(BPF_MAP_CREATE, room, 4096); }
ROW(create_too_big) { return s->bpf(BPF_MAP_CREATE, room, 4097); }
ROW(create_ifindex) { array_attr(a)->map_ifindex = 1; return create(s, a); }
ROW(unknown_cmd) { return s->bpf(9999, a, sizeof(*a)); }
ROW(negative_cmd) { return s->bpf(-1, a, sizeof(*a)); }
ROW(unknown_cmd_null) { return s->bpf(9999, NULL, 8); }

/* ---- elements ---- */

struct elem {
	int fd;
	u64 key, value, flags;
};

static long elem(struct side *s, int cmd, const struct elem *e)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (u32)e->fd;
	a.key = e->key;
	a.value = e->value;
	a.flags = e->flags;
	return s->bpf(cmd, &a, cmd == BPF_MAP_DELETE_ELEM ? 16 : cmd == BPF_MAP_GET_NEXT_KEY ? 24 : ELEM_SIZE);
}

static const u64 some_values[] = {11, 22, 33, 44};

/* Every command with every kind of map, key, value and flags that tell something; results one after another. */
static long matrix(struct side *s, u8 *room, int cmd, const u64 *keys, u32 nkeys, const u64 *values, u32 nvalues)
{
	const int fds[] = {s->array, s->frozen, s->readonly, s->writeonly, s->queue, s->prog, s->btf, s->event, s->pipe,
			   s->closed, -1};
	const u64 flags[] = {0, BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK, 3, 8, 1ULL << 40};

	for (u32 f = 0; f < ARRAY_SIZE(fds); f++)
		for (u32 k = 0; k < nkeys; k++)
			for (u32 v = 0; v < nvalues; v++)
				for (u32 g = 0; g < ARRAY_SIZE(flags); g++) {
					struct elem e = {fds[f], keys[k], values[v], flags[g]};
					s16 ret;

					if ((cmd == BPF_MAP_DELETE_ELEM || cmd == BPF_MAP_GET_NEXT_KEY) && g)
						continue;
					memset(room, 0xaa, 16);
					ret = (s16)elem(s, cmd, &e);
					oracle_out(s, &ret, 2);
					oracle_out(s, room, 8);
				}
	return 0;
}

static const u32 key_1 = 1, key_3 = 3, key_4 = 4;

static long all_keys(struct side *s, u8 *room, int cmd)
{
	const u64 keys[] = {(u64)&key_1, (u64)&key_4, BAD_NULL, bad_page}, values[] = {(u64)room};

	return matrix(s, room, cmd, keys, 4, values, 1);
}

static long all_values(struct side *s, u8 *room, int cmd)
{
	const u64 keys[] = {(u64)&key_3, BAD_NULL};
	const u64 values[] = {BAD_NULL, BAD_LOW, BAD_HIGH, BAD_CANON, bad_page, readonly_page};

	return matrix(s, room, cmd, keys, 2, values, 6);
}

static long edges(struct side *s, u8 *room, int cmd)
{
	const u64 keys[] = {edge, edge + 4, edge + 6}, values[] = {edge, edge + 1, (u64)room};

	memset((void *)edge, 0, 8);
	return matrix(s, room, cmd, keys, 3, values, 3);
}

#define MATRIX(cmd_)                                                                               \
	ROW(cmd_##_keys) { return all_keys(s, room, BPF_MAP_##cmd_); }                             \
	ROW(cmd_##_values) { return all_values(s, room, BPF_MAP_##cmd_); }                         \
	ROW(cmd_##_edges) { return edges(s, room, BPF_MAP_##cmd_); }

MATRIX(LOOKUP_ELEM)
MATRIX(UPDATE_ELEM)
MATRIX(DELETE_ELEM)
MATRIX(GET_NEXT_KEY)
MATRIX(LOOKUP_AND_DELETE_ELEM)

ROW(fill)
{
	for (u32 i = 0; i < 4; i++)
		elem(s, BPF_MAP_UPDATE_ELEM, &(struct elem){s->array, (u64)&i, (u64)&some_values[i], 0});
	return elem(s, BPF_MAP_UPDATE_ELEM, &(struct elem){s->queue, 0, (u64)some_values, 0});
}

ROW(lookup_small_attr) { a->map_fd = (u32)s->array; a->key = (u64)&key_1; a->value = (u64)room; return s->bpf(BPF_MAP_LOOKUP_ELEM, a, 24); }
ROW(lookup_tiny_attr) { a->map_fd = (u32)s->array; a->key = (u64)&key_1; return s->bpf(BPF_MAP_LOOKUP_ELEM, a, 16); }
ROW(lookup_tail) { a->map_fd = (u32)s->array; a->key = (u64)&key_1; a->value = (u64)room; ((u8 *)a)[40] = 1; return s->bpf(BPF_MAP_LOOKUP_ELEM, a, 64); }
ROW(lookup_whole) { a->map_fd = (u32)s->array; a->key = (u64)&key_1; a->value = (u64)room; long r = s->bpf(BPF_MAP_LOOKUP_ELEM, a, sizeof(*a)); oracle_out(s, room, 8); return r; }
ROW(lookup_page) { a->map_fd = (u32)s->array; a->key = (u64)&key_1; a->value = (u64)room + 8192; memcpy(room, a, sizeof(*a)); return s->bpf(BPF_MAP_LOOKUP_ELEM, room, 4096); }
ROW(lookup_page_set) { a->map_fd = (u32)s->array; a->key = (u64)&key_1; a->value = (u64)room + 8192; memcpy(room, a, sizeof(*a)); room[4095] = 1; return s->bpf(BPF_MAP_LOOKUP_ELEM, room, 4096); }
ROW(delete_with_value) { a->map_fd = (u32)s->array; a->key = (u64)&key_1; a->value = (u64)room; return s->bpf(BPF_MAP_DELETE_ELEM, a, ELEM_SIZE); }
ROW(next_with_flags) { a->map_fd = (u32)s->array; a->key = (u64)&key_1; a->value = (u64)room; a->flags = 1; return s->bpf(BPF_MAP_GET_NEXT_KEY, a, ELEM_SIZE); }

/* ---- freezing ---- */

static long freeze_fd(struct side *s, union bpf_attr *a, int fd)
{
	a->map_fd = (u32)fd;
	return s->bpf(BPF_MAP_FREEZE, a, 4);
}

ROW(freeze_twice) { return freeze_fd(s, a, s->frozen); }
ROW(freeze_readonly) { return freeze_fd(s, a, s->readonly); }
ROW(freeze_closed) { return freeze_fd(s, a, s->closed); }
ROW(freeze_prog) { return freeze_fd(s, a, s->prog); }
ROW(freeze_pipe) { return freeze_fd(s, a, s->pipe); }
ROW(freeze_tail) { a->map_fd = (u32)s->array; a->key = 1; return s->bpf(BPF_MAP_FREEZE, a, ELEM_SIZE); }

#define R(name_) {#name_, name_}
const struct row oracle_map_rows[] = {
	R(create_array), R(create_type_0), R(create_type_999), R(create_type_neg), R(create_no_entries),
	R(create_key_8), R(create_value_0), R(create_huge), R(create_flag_31), R(create_token), R(create_prealloc),
	R(create_rdonly), R(create_rdwr), R(create_rdwr_prog), R(create_numa_0), R(create_numa_77),
	R(create_numa_none), R(create_numa_no_flag), R(create_extra), R(create_inner_fd), R(create_name),
	R(create_name_bad), R(create_name_space), R(create_name_latin), R(create_name_full), R(create_name_rest),
	R(create_btf), R(create_btf_td), R(create_btf_typedef_key), R(create_btf_key), R(create_btf_val), R(create_btf_99), R(create_btf_fn),
	R(create_btf_only_key), R(create_btf_only_val), R(create_btf_closed), R(create_btf_pipe), R(create_btf_map),
	R(create_btf_queue), R(create_btf_types), R(create_token_unused), R(create_short), R(create_size_0), R(create_null), R(create_bad_page), R(create_edge),
	R(create_big_zero), R(create_big_set), R(create_too_big), R(create_ifindex), R(unknown_cmd), R(negative_cmd),
	R(unknown_cmd_null),
	R(fill), R(LOOKUP_ELEM_keys), R(LOOKUP_ELEM_values), R(LOOKUP_ELEM_edges), R(UPDATE_ELEM_keys),
	R(UPDATE_ELEM_values), R(UPDATE_ELEM_edges), R(DELETE_ELEM_keys), R(DELETE_ELEM_values),
	R(DELETE_ELEM_edges), R(GET_NEXT_KEY_keys), R(GET_NEXT_KEY_values), R(GET_NEXT_KEY_edges), R(fill),
	R(LOOKUP_AND_DELETE_ELEM_keys), R(fill), R(LOOKUP_AND_DELETE_ELEM_values), R(LOOKUP_AND_DELETE_ELEM_edges),
	R(lookup_small_attr), R(lookup_tiny_attr), R(lookup_tail), R(lookup_whole), R(lookup_page),
	R(lookup_page_set), R(delete_with_value), R(next_with_flags),
	R(freeze_twice), R(freeze_readonly), R(freeze_closed), R(freeze_prog), R(freeze_pipe), R(freeze_tail),
	{NULL, NULL},
};
