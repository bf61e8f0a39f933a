/* SPDX-License-Identifier: MIT */
/* See btf.h. */
#include "loader/btf.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_NAME_OFF 0xffffffu
#define MAX_TYPE     0x1000000u
#define MAX_DEPTH    32
#define NO_SUPPORT   524
#define KIND_DECL_TAG 17
#define KIND_TYPE_TAG 18
#define KIND_ENUM64  19
#define KINDS        20

struct blob {
	const struct btf_header *h;
	const u8 *types;
	const char *strings;
	u32 count; /* types, void not counted */
};

/* What follows struct btf_type, in bytes a member, and what its fields mean. */
enum { SIZED = 1, REFERS = 2, NAMED = 4, NAMELESS = 8, NO_VLEN = 16, KFLAG = 32 };
static const struct {
	u8 fixed, each, flags;
} kinds[KINDS] = {
	[BTF_KIND_INT] = {4, 0, SIZED | NO_VLEN},
	[BTF_KIND_PTR] = {0, 0, REFERS | NAMELESS | NO_VLEN},
	[BTF_KIND_ARRAY] = {sizeof(struct btf_array), 0, NAMELESS | NO_VLEN},
	[BTF_KIND_STRUCT] = {0, sizeof(struct btf_member), SIZED | KFLAG},
	[BTF_KIND_UNION] = {0, sizeof(struct btf_member), SIZED | KFLAG},
	[BTF_KIND_ENUM] = {0, sizeof(struct btf_enum), SIZED | KFLAG},
	[BTF_KIND_FWD] = {0, 0, NAMED | NO_VLEN | KFLAG},
	[BTF_KIND_TYPEDEF] = {0, 0, REFERS | NAMED | NO_VLEN},
	[BTF_KIND_VOLATILE] = {0, 0, REFERS | NAMELESS | NO_VLEN},
	[BTF_KIND_CONST] = {0, 0, REFERS | NAMELESS | NO_VLEN},
	[BTF_KIND_RESTRICT] = {0, 0, REFERS | NAMELESS | NO_VLEN},
	[BTF_KIND_FUNC] = {0, 0, REFERS | NAMED}, /* vlen: linkage */
	[BTF_KIND_FUNC_PROTO] = {0, sizeof(struct btf_param), REFERS | NAMELESS},
	[BTF_KIND_VAR] = {sizeof(struct btf_var), 0, REFERS | NAMED | NO_VLEN},
	[BTF_KIND_DATASEC] = {0, sizeof(struct btf_var_secinfo), SIZED | NAMED},
	[BTF_KIND_FLOAT] = {0, 0, SIZED | NO_VLEN},
	[KIND_DECL_TAG] = {4, 0, REFERS | NAMED | NO_VLEN},
	[KIND_TYPE_TAG] = {0, 0, REFERS | NAMED | NO_VLEN},
	[KIND_ENUM64] = {0, 12, SIZED | KFLAG},
};

static u32 record_size(const struct btf_type *t)
{
	const u32 kind = BTF_INFO_KIND(t->info), vlen = kind == BTF_KIND_FUNC ? 0 : BTF_INFO_VLEN(t->info);

	return (u32)sizeof(*t) + kinds[kind].fixed + vlen * kinds[kind].each;
}

/* The sections must fill the blob behind the header without gap or overlap. */
static int check_header(struct blob *b, const void *data, u32 size)
{
	const struct btf_header *h = data;

	if (size < 8 || h->hdr_len < sizeof(*h) || h->hdr_len > size)
		return -EINVAL;
	for (u32 i = sizeof(*h); i < h->hdr_len; i++)
		if (((const u8 *)data)[i])
			return -E2BIG;
	if (h->magic != BTF_MAGIC)
		return -EINVAL;
	if (h->version != BTF_VERSION || h->flags)
		return -NO_SUPPORT;
	if (!h->type_len || h->type_off % 4 || h->type_off || h->str_off != h->type_len ||
	    (u64)h->hdr_len + h->str_off + h->str_len != size || !h->str_len ||
	    h->str_len - 1 > MAX_NAME_OFF)
		return -EINVAL;
	b->h = h;
	b->types = (const u8 *)data + h->hdr_len;
	b->strings = (const char *)b->types + h->str_off;
	return b->strings[0] || b->strings[h->str_len - 1] ? -EINVAL : 0;
}

static bool name_ok(const struct blob *b, u32 off)
{
	return off < b->h->str_len;
}

static bool is_identifier(const char *s)
{
	if (!*s || (*s >= '0' && *s <= '9'))
		return false;
	for (; *s; s++)
		if (!(*s == '_' || (*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z')))
			return false;
	return true;
}

static bool names_ok(const struct blob *b, const struct btf_type *t)
{
	const u32 kind = BTF_INFO_KIND(t->info);
	const char *name = b->strings + t->name_off;

	if (!name_ok(b, t->name_off) || ((kinds[kind].flags & NAMELESS) && t->name_off))
		return false;
	if (kind == BTF_KIND_DATASEC || kind == KIND_DECL_TAG || kind == KIND_TYPE_TAG || kind == BTF_KIND_VAR)
		return *name;
	if (*name && kind != BTF_KIND_INT && kind != BTF_KIND_FLOAT)
		return is_identifier(name);
	return *name || !(kinds[kind].flags & NAMED);
}

static bool int_ok(const struct btf_type *t)
{
	const u32 v = *(const u32 *)(t + 1), bits = BTF_INT_BITS(v), enc = BTF_INT_ENCODING(v);

	if (v & ~0x0fff00ffu)
		return false;
	return bits && bits + BTF_INT_OFFSET(v) <= t->size * 8 && bits <= 128 && t->size <= 16 &&
	       (!enc || enc == BTF_INT_SIGNED || enc == BTF_INT_CHAR || enc == BTF_INT_BOOL);
}

static bool members_ok(const struct blob *b, const struct btf_type *t)
{
	const struct btf_member *m = (const struct btf_member *)(t + 1);
	const bool kflag = t->info >> 31;

	for (u32 i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		const u64 off = kflag ? BTF_MEMBER_BIT_OFFSET(m[i].offset) : m[i].offset;

		if (!name_ok(b, m[i].name_off) || !m[i].type || m[i].type > b->count || off > (u64)t->size * 8)
			return false;
		if (BTF_INFO_KIND(t->info) == BTF_KIND_UNION && off)
			return false;
		if (m[i].name_off && !is_identifier(b->strings + m[i].name_off))
			return false;
	}
	return true;
}

static bool rest_ok(const struct blob *b, const struct btf_type *t)
{
	const u32 vlen = BTF_INFO_VLEN(t->info), *word = (const u32 *)(t + 1);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
		return int_ok(t);
	case BTF_KIND_FLOAT:
		return t->size == 2 || t->size == 4 || t->size == 8 || t->size == 12 || t->size == 16;
	case BTF_KIND_ARRAY:
		return !t->size && word[0] && word[0] <= b->count && word[1] && word[1] <= b->count;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return members_ok(b, t);
	case BTF_KIND_FWD:
		return !t->type;
	case BTF_KIND_FUNC:
		return vlen <= BTF_FUNC_EXTERN;
	case BTF_KIND_VAR:
		return word[0] <= 1 && t->type;
	case BTF_KIND_FUNC_PROTO:
		for (u32 i = 0; i < vlen; i++)
			if (!name_ok(b, word[2 * i]) || word[2 * i + 1] > b->count)
				return false;
		return true;
	case BTF_KIND_ENUM:
	case KIND_ENUM64:
		if (t->size > 8 || !t->size || (t->size & (t->size - 1)))
			return false;
		for (u32 i = 0; i < vlen; i++, word += kinds[BTF_INFO_KIND(t->info)].each / 4)
			if (!name_ok(b, *word) || !is_identifier(b->strings + *word))
				return false;
		return true;
	case BTF_KIND_DATASEC:
		for (u32 i = 0; i < vlen; i++)
			if (!word[3 * i] || word[3 * i] > b->count || !word[3 * i + 2] ||
			    (u64)word[3 * i + 1] + word[3 * i + 2] > t->size)
				return false;
		return t->size;
	default:
		return true;
	}
}

static int check_types(struct blob *b)
{
	const u8 *end = b->types + b->h->type_len, *p;

	/* all of them are counted before any number is looked up */
	for (p = b->types; p < end;) {
		const struct btf_type *t = (const struct btf_type *)p;

		if (end - p < (s64)sizeof(*t) || (t->info & 0x60ff0000u) || !BTF_INFO_KIND(t->info) ||
		    BTF_INFO_KIND(t->info) >= KINDS || end - p < (s64)record_size(t) || ++b->count > MAX_TYPE)
			return -EINVAL;
		p += record_size(t);
	}
	for (p = b->types; p < end; p += record_size((const struct btf_type *)p)) {
		const struct btf_type *t = (const struct btf_type *)p;
		const u8 flags = kinds[BTF_INFO_KIND(t->info)].flags;

		if (((flags & REFERS) && t->type > b->count) || ((flags & NO_VLEN) && BTF_INFO_VLEN(t->info)) ||
		    (!(flags & KFLAG) && t->info >> 31) || !names_ok(b, t) || !rest_ok(b, t))
			return -EINVAL;
	}
	return 0;
}

int btf_check(const void *data, u32 size)
{
	struct blob b = {0};
	int err = check_header(&b, data, size);

	return err ? err : check_types(&b);
}

static const struct btf_type *find_type(const void *data, u32 size, u32 id)
{
	struct blob b = {0};
	const u8 *end, *p;

	if (!id || check_header(&b, data, size))
		return NULL;
	end = b.types + b.h->type_len;
	for (p = b.types; p < end && --id; p += record_size((const struct btf_type *)p))
		;
	return p < end ? (const struct btf_type *)p : NULL;
}

u32 btf_type_size(const void *data, u32 size, u32 id)
{
	u64 times = 1;

	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		const struct btf_type *t = find_type(data, size, id);
		const struct btf_array *a = (const struct btf_array *)(t + 1);

		if (!t)
			return 0;
		switch (BTF_INFO_KIND(t->info)) {
		case BTF_KIND_PTR:
			return (u32)(times * 8 > UINT32_MAX ? 0 : times * 8);
		case BTF_KIND_ARRAY:
			times *= a->nelems;
			if (times > UINT32_MAX)
				return 0;
			id = a->type;
			break;
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_CONST:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_VAR:
		case KIND_TYPE_TAG:
			id = t->type;
			break;
		default:
			if (!(kinds[BTF_INFO_KIND(t->info)].flags & SIZED) || times * t->size > UINT32_MAX)
				return 0;
			return (u32)times * t->size;
		}
	}
	return 0;
}

u32 btf_type_kind(const void *data, u32 size, u32 id)
{
	const struct btf_type *t = find_type(data, size, id);

	return t ? BTF_INFO_KIND(t->info) : 0;
}

bool btf_has_string(const void *data, u32 off)
{
	return off < ((const struct btf_header *)data)->str_len;
}

const void *btf_open(struct store *s, u32 id, u32 *ret_size, void **ret_map, u64 *ret_map_size, int *ret_err)
{
	struct btf_file *f = store_map_object(s, OBJ_BTF, id, ret_map_size, ret_err);

	if (!f)
		return NULL;
	if (f->data_off > *ret_map_size || f->data_size > *ret_map_size - f->data_off) {
		munmap(f, *ret_map_size);
		*ret_err = -EINVAL;
		return NULL;
	}
	*ret_map = f;
	*ret_size = f->data_size;
	return (const u8 *)f + f->data_off;
}

static bool is_array(u32 type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static bool holds_no_values(u32 type)
{
	return type == BPF_MAP_TYPE_PROG_ARRAY || type == BPF_MAP_TYPE_PERF_EVENT_ARRAY ||
	       type == BPF_MAP_TYPE_CGROUP_ARRAY || type == BPF_MAP_TYPE_STACK_TRACE ||
	       type == BPF_MAP_TYPE_ARRAY_OF_MAPS;
}

/* The map type's own rule, the sizes being right. A key type may be missing for global data only. */
static int check_key_kind(const void *blob, u32 size, const struct map_def *d)
{
	if (holds_no_values(d->type))
		return -NO_SUPPORT;
	if (!d->btf_key_type_id)
		return d->type == BPF_MAP_TYPE_ARRAY && d->max_entries == 1 &&
				       btf_type_kind(blob, size, d->btf_value_type_id) == BTF_KIND_DATASEC ?
			       0 : -EINVAL;
	if (is_array(d->type) && btf_type_kind(blob, size, d->btf_key_type_id) != BTF_KIND_INT)
		return -EINVAL;
	if (d->type == BPF_MAP_TYPE_LPM_TRIE && btf_type_kind(blob, size, d->btf_key_type_id) != BTF_KIND_STRUCT)
		return -EINVAL;
	return 0;
}

int btf_check_map(struct store *s, const struct map_def *d)
{
	int err = 0;
	u64 map_size;
	u32 size;
	void *map;
	const void *blob = btf_open(s, d->btf_id, &size, &map, &map_size, &err);

	if (!blob)
		return err;
	if ((d->btf_key_type_id && btf_type_size(blob, size, d->btf_key_type_id) != d->key_size) ||
	    btf_type_size(blob, size, d->btf_value_type_id) != d->value_size)
		err = -EINVAL;
	if (!err)
		err = check_key_kind(blob, size, d);
	munmap(map, map_size);
	return err;
}
