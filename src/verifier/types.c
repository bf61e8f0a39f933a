/* SPDX-License-Identifier: MIT */
/* See types.h. */
#include "verifier/types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 32
#define KINDS     20

static const struct {
	u8 fixed, each;
	bool known;
} kinds[KINDS] = {
	[BTF_KIND_INT] = {4, 0, true},
	[BTF_KIND_PTR] = {0, 0, true},
	[BTF_KIND_ARRAY] = {12, 0, true},
	[BTF_KIND_STRUCT] = {0, 12, true},
	[BTF_KIND_UNION] = {0, 12, true},
	[BTF_KIND_ENUM] = {0, 8, true},
	[BTF_KIND_FWD] = {0, 0, true},
	[BTF_KIND_TYPEDEF] = {0, 0, true},
	[BTF_KIND_VOLATILE] = {0, 0, true},
	[BTF_KIND_CONST] = {0, 0, true},
	[BTF_KIND_RESTRICT] = {0, 0, true},
	[BTF_KIND_FUNC] = {0, 0, true},
	[BTF_KIND_FUNC_PROTO] = {0, 8, true},
	[BTF_KIND_VAR] = {4, 0, true},
	[BTF_KIND_DATASEC] = {0, 12, true},
	[BTF_KIND_FLOAT] = {0, 0, true},
	[17] = {4, 0, true},
	/* decl tag */[18] = {0, 0, true}, /* type tag */
	[19] = {0, 12, true},              /* enum64 */
};

static u32 record_size(const struct btf_type *t)
{
	const u32 kind = BTF_INFO_KIND(t->info),
		  each = kind == BTF_KIND_FUNC ? 0 : kinds[kind].each * BTF_INFO_VLEN(t->info);

	return (u32)sizeof(*t) + kinds[kind].fixed + each;
}

static int find_types(struct types *t)
{
	t->at = malloc((t->type_len / sizeof(struct btf_type) + 2) * sizeof(*t->at));
	if (!t->at)
		return -ENOMEM;
	for (u32 off = 0; off < t->type_len;) {
		const struct btf_type *type = (const void *)(t->types + off);

		if (t->type_len - off < sizeof(*type) || BTF_INFO_KIND(type->info) >= KINDS ||
		    !kinds[BTF_INFO_KIND(type->info)].known ||
		    t->type_len - off < record_size(type)) {
			free(t->at);
			return -EINVAL;
		}
		t->at[++t->count] = off;
		off += record_size(type);
	}
	return 0;
}

int types_read(struct types *ret, const void *blob, u32 size)
{
	struct types t = {0};
	struct btf_header h;
	int err;

	if (size < sizeof(h))
		return -EINVAL;
	memcpy(&h, blob, sizeof(h));
	if (h.magic != BTF_MAGIC || h.version != BTF_VERSION || h.hdr_len < sizeof(h) ||
	    h.hdr_len > size || h.hdr_len % 4 || h.type_off % 4)
		return -EINVAL;
	size -= h.hdr_len;
	if (h.type_off > size || h.type_len > size - h.type_off || h.str_off > size ||
	    h.str_len > size - h.str_off || !h.str_len)
		return -EINVAL;
	t.types = (const u8 *)blob + h.hdr_len + h.type_off;
	t.strings = (const char *)blob + h.hdr_len + h.str_off;
	t.type_len = h.type_len;
	t.string_len = h.str_len;
	if (t.strings[h.str_len - 1] || (u64)t.types % 4)
		return -EINVAL;
	err = find_types(&t);
	if (!err)
		*ret = t;
	return err;
}

void types_free(struct types *t)
{
	free(t->at);
	t->at = NULL;
}

const struct btf_type *types_get(const struct types *t, u32 id)
{
	return id && id <= t->count ? (const void *)(t->types + t->at[id]) : NULL;
}

static bool is_wrapper(u32 kind)
{
	return kind == BTF_KIND_TYPEDEF || kind == BTF_KIND_CONST || kind == BTF_KIND_VOLATILE ||
	       kind == BTF_KIND_RESTRICT || kind == 18;
}

const struct btf_type *types_strip(const struct types *t, u32 id, u32 *ret_id)
{
	const struct btf_type *type = types_get(t, id);

	for (int depth = 0; type && is_wrapper(BTF_INFO_KIND(type->info)); depth++) {
		id = type->type;
		type = depth < MAX_DEPTH ? types_get(t, id) : NULL;
	}
	if (ret_id)
		*ret_id = id;
	return type;
}

const char *types_string(const struct types *t, u32 off)
{
	return off < t->string_len ? t->strings + off : "";
}

bool types_size(const struct types *t, u32 id, u32 *ret)
{
	u64 times = 1;

	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		const struct btf_type *type = types_strip(t, id, NULL);
		const struct btf_array *a = (const void *)(type + 1);

		if (!type)
			return false;
		switch (BTF_INFO_KIND(type->info)) {
		case BTF_KIND_ARRAY:
			times *= a->nelems;
			id = a->type;
			break;
		case BTF_KIND_PTR:
			times *= 8;
			*ret = (u32)times;
			return times <= UINT32_MAX;
		case BTF_KIND_INT:
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
		case BTF_KIND_ENUM:
		case BTF_KIND_FLOAT:
		case 19:
			times *= type->size;
			*ret = (u32)times;
			return times <= UINT32_MAX;
		default:
			return false;
		}
		if (times > UINT32_MAX)
			return false;
	}
	return false;
}
