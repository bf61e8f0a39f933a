/* SPDX-License-Identifier: MIT */
/*
 * Is every type of a blob well formed? First each record by itself (names, counts, ranges), then
 * what it says about other types: sizes fit, integers are whole, functions have prototypes.
 */
#include "loader/btf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAME  512
#define MAX_CHAIN 32 /* nested types, as deep as the kernel follows */

static bool name_char(unsigned char c, bool first)
{
	if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '.')
		return true;
	if (c >= '0' && c <= '9')
		return !first;
	return c >= 0xc0 && c != 0xd7 && c != 0xf7; /* the kernel's idea of letters is Latin-1 */
}

static bool string_at(const struct btf *b, u32 off)
{
	return off < b->head.str_len;
}

static bool identifier_at(const struct btf *b, u32 off)
{
	const char *s = b->strings + off;

	if (!string_at(b, off) || !*s || strnlen(s, MAX_NAME) == MAX_NAME)
		return false;
	for (const char *c = s; *c; c++)
		if (!name_char((unsigned char)*c, c == s))
			return false;
	return true;
}

static bool printable_at(const struct btf *b, u32 off)
{
	for (const char *s = b->strings + off; *s; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

static bool name_ok(const struct btf *b, const struct btf_type *t)
{
	const u32 kind = BTF_INFO_KIND(t->info);

	if (!string_at(b, t->name_off) || ((btf_kinds[kind].flags & BTF_NAMELESS) && t->name_off))
		return false;
	if (kind == BTF_KIND_INT || kind == BTF_KIND_FLOAT)
		return true;
	if (kind == BTF_KIND_DATASEC)
		return b->strings[t->name_off] && printable_at(b, t->name_off);
	if (kind == BTF_DECL_TAG || kind == BTF_TYPE_TAG)
		return b->strings[t->name_off];
	return t->name_off ? identifier_at(b, t->name_off) : !(btf_kinds[kind].flags & BTF_NAMED);
}

static int int_ok(const struct btf_type *t)
{
	const u32 v = *(const u32 *)(t + 1), bits = BTF_INT_BITS(v) + BTF_INT_OFFSET(v),
		  enc = BTF_INT_ENCODING(v);

	if (v >> 28 || bits > 128 || (bits + 7) / 8 > t->size)
		return -EINVAL;
	return enc && enc != BTF_INT_SIGNED && enc != BTF_INT_CHAR && enc != BTF_INT_BOOL
		       ? -BTF_ENOTSUPP
		       : 0;
}

/* A whole number of bytes that is a power of two; more than 128 bits were refused before. */
static bool regular_int(const struct btf_type *t)
{
	const u32 v = *(const u32 *)(t + 1), bits = BTF_INT_BITS(v);

	return !BTF_INT_OFFSET(v) && bits >= 8 && !(bits & (bits - 1));
}

static bool members_ok(const struct btf *b, const struct btf_type *t)
{
	const struct btf_member *m = (const struct btf_member *)(t + 1);
	const bool kflag = t->info >> 31;
	u64 last = 0;

	for (u32 i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		const u64 off = kflag ? BTF_MEMBER_BIT_OFFSET(m[i].offset) : m[i].offset;

		if (!string_at(b, m[i].name_off) ||
		    (m[i].name_off && !identifier_at(b, m[i].name_off)) || !m[i].type ||
		    m[i].type > b->count || off < last || (off + 7) / 8 > t->size)
			return false;
		if (BTF_INFO_KIND(t->info) == BTF_KIND_UNION && off)
			return false;
		last = off;
	}
	return true;
}

static bool enums_ok(const struct btf *b, const struct btf_type *t)
{
	const u32 step = btf_kinds[BTF_INFO_KIND(t->info)].each / 4, *word = (const u32 *)(t + 1);

	if (t->size > 8 || !t->size || (t->size & (t->size - 1)))
		return false;
	for (u32 i = 0; i < BTF_INFO_VLEN(t->info); i++, word += step)
		if (!identifier_at(b, *word))
			return false;
	return true;
}

static bool section_ok(const struct btf *b, const struct btf_type *t)
{
	const struct btf_var_secinfo *v = (const struct btf_var_secinfo *)(t + 1);
	u64 last = 0, sum = 0;

	for (u32 i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		if (!v[i].type || v[i].type > b->count || v[i].offset < last ||
		    v[i].offset >= t->size || !v[i].size || v[i].size > t->size)
			return false;
		last = (u64)v[i].offset + v[i].size;
		if (last > t->size)
			return false;
		sum += v[i].size;
	}
	return t->size && sum <= t->size;
}

/* A record by itself. */
static int check_record(const struct btf *b, const struct btf_type *t)
{
	const u32 kind = BTF_INFO_KIND(t->info), vlen = BTF_INFO_VLEN(t->info),
		  *word = (const u32 *)(t + 1);
	const u8 flags = btf_kinds[kind].flags;
	bool ok = true;

	if (((flags & BTF_REFERS) && t->type > b->count) || ((flags & BTF_NO_VLEN) && vlen) ||
	    (!(flags & BTF_KFLAG) && t->info >> 31) || !name_ok(b, t))
		return -EINVAL;
	switch (kind) {
	case BTF_KIND_INT:
		return int_ok(t);
	case BTF_KIND_FLOAT:
		ok = t->size == 2 || t->size == 4 || t->size == 8 || t->size == 12 || t->size == 16;
		break;
	case BTF_KIND_ARRAY:
		ok = !t->size && word[0] && word[0] <= b->count && word[1] && word[1] <= b->count;
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		ok = members_ok(b, t);
		break;
	case BTF_KIND_FWD:
		ok = !t->type;
		break;
	case BTF_KIND_FUNC:
		ok = vlen <= BTF_FUNC_GLOBAL;
		break;
	case BTF_KIND_VAR:
		ok = word[0] <= 1 && t->type && identifier_at(b, t->name_off);
		break;
	case BTF_KIND_ENUM:
	case BTF_ENUM64:
		ok = enums_ok(b, t);
		break;
	case BTF_KIND_DATASEC:
		ok = section_ok(b, t);
		break;
	case BTF_DECL_TAG:
		ok = (s32)word[0] >= -1;
		break;
	}
	return ok ? 0 : -EINVAL;
}

static bool array_fits(const struct btf *b, const struct btf_array *a)
{
	const struct btf_type *index = btf_strip(b, a->index_type), *elem = btf_strip(b, a->type);
	u32 size;

	if (!index || BTF_INFO_KIND(index->info) != BTF_KIND_INT || !regular_int(index))
		return false;
	if (!elem || !btf_size(b, a->type, &size) || (u64)size * a->nelems > UINT32_MAX)
		return false;
	return BTF_INFO_KIND(elem->info) != BTF_KIND_INT || regular_int(elem);
}

/* Where a member's bits end, or UINT64_MAX when it cannot lie there. */
static u64 member_end(const struct btf *b, const struct btf_member *m, bool kflag)
{
	const struct btf_type *t = btf_strip(b, m->type);
	const u64 off = kflag ? BTF_MEMBER_BIT_OFFSET(m->offset) : m->offset;
	const u32 bits = kflag ? BTF_MEMBER_BITFIELD_SIZE(m->offset) : 0;
	u32 size, v;

	if (!t || BTF_INFO_KIND(t->info) == BTF_KIND_VAR ||
	    BTF_INFO_KIND(t->info) == BTF_KIND_DATASEC || !btf_size(b, m->type, &size))
		return UINT64_MAX;
	if (BTF_INFO_KIND(t->info) == BTF_KIND_INT) {
		v = *(const u32 *)(t + 1);
		if (kflag && !regular_int(t))
			return UINT64_MAX;
		if (bits)
			return bits > size * 8 || bits > 128 ? UINT64_MAX : off + bits;
		if (kflag && off % 8)
			return UINT64_MAX;
		return off + BTF_INT_OFFSET(v) + (kflag ? size * 8 : BTF_INT_BITS(v));
	}
	if (bits && BTF_INFO_KIND(t->info) != BTF_KIND_ENUM)
		return UINT64_MAX;
	if (bits)
		return bits > 32 ? UINT64_MAX : off + bits;
	return off % 8 ? UINT64_MAX : off + (u64)size * 8;
}

static bool prototype_fits(const struct btf *b, const struct btf_type *t)
{
	const struct btf_param *p = (const struct btf_param *)(t + 1);
	const u32 n = BTF_INFO_VLEN(t->info);
	u32 size;

	if (t->type && !btf_size(b, t->type, &size))
		return false;
	for (u32 i = 0; i < n; i++) {
		if (!p[i].type && i == n - 1)
			return !p[i].name_off; /* ... */
		if (!string_at(b, p[i].name_off) ||
		    (p[i].name_off && !identifier_at(b, p[i].name_off)) ||
		    !btf_size(b, p[i].type, &size))
			return false;
	}
	return true;
}

static bool is_modifier(const struct btf_type *t)
{
	const u32 kind = BTF_INFO_KIND(t->info);

	return kind == BTF_KIND_TYPEDEF || kind == BTF_KIND_CONST || kind == BTF_KIND_VOLATILE ||
	       kind == BTF_KIND_RESTRICT || kind == BTF_TYPE_TAG;
}

/* A chain of wrappers and pointers ends somewhere, and not at a variable, section or tag; a pointer not at a function that comes later. */
static bool refers_well(const struct btf *b, const struct btf_type *t)
{
	u32 id = t->type;
	u32 kind;

	for (int depth = 0; depth < MAX_CHAIN; depth++) {
		kind = btf_kind(b, id);
		if (!btf_type(b, id) || !is_modifier(btf_type(b, id)))
			return kind != BTF_KIND_VAR && kind != BTF_KIND_DATASEC && kind != BTF_DECL_TAG &&
			       (kind != BTF_KIND_FUNC || BTF_INFO_KIND(t->info) != BTF_KIND_PTR || btf_type(b, id) < t);
		id = btf_type(b, id)->type;
	}
	return false;
}

/* Type tags come before all other modifiers of a chain. */
static bool tags_first(const struct btf *b, const struct btf_type *t)
{
	const struct btf_type *to = btf_type(b, t->type);

	return BTF_INFO_KIND(t->info) == BTF_TYPE_TAG || !to || BTF_INFO_KIND(to->info) != BTF_TYPE_TAG;
}

/* What a declaration tag is on: a type, a variable, a function, or a part of one of these. */
static bool tag_fits(const struct btf *b, const struct btf_type *t)
{
	const struct btf_type *on = btf_type(b, t->type);
	const s32 part = *(const s32 *)(t + 1);

	if (!on)
		return false;
	switch (BTF_INFO_KIND(on->info)) {
	case BTF_KIND_VAR:
	case BTF_KIND_TYPEDEF:
		return part == -1;
	case BTF_KIND_FUNC:
		on = btf_type(b, on->type);
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		break;
	default:
		return false;
	}
	return part == -1 || (on && (u32)part < BTF_INFO_VLEN(on->info));
}

/* What a record says about others. */
static bool fits_others(const struct btf *b, const struct btf_type *t)
{
	const bool kflag = t->info >> 31;
	u32 size;

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_ARRAY:
		return array_fits(b, (const struct btf_array *)(t + 1));
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		for (u32 i = 0; i < BTF_INFO_VLEN(t->info); i++)
			if (member_end(b, (const struct btf_member *)(t + 1) + i, kflag) >
			    (u64)t->size * 8)
				return false;
		return true;
	case BTF_KIND_FUNC:
		return btf_kind(b, t->type) == BTF_KIND_FUNC_PROTO;
	case BTF_KIND_FUNC_PROTO:
		return prototype_fits(b, t);
	case BTF_KIND_VAR:
		return btf_size(b, t->type, &size) && refers_well(b, t);
	case BTF_KIND_PTR:
		return refers_well(b, t);
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_CONST:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_RESTRICT:
	case BTF_TYPE_TAG:
		return refers_well(b, t) && tags_first(b, t);
	case BTF_DECL_TAG:
		return tag_fits(b, t);
	case BTF_KIND_DATASEC:
		for (u32 i = 0; i < BTF_INFO_VLEN(t->info); i++) {
			const struct btf_var_secinfo *v =
				(const struct btf_var_secinfo *)(t + 1) + i;

			if (btf_kind(b, v->type) != BTF_KIND_VAR || !btf_size(b, v->type, &size) ||
			    v->size < size)
				return false;
		}
		return true;
	default:
		return true;
	}
}

/*
 * Whether following modifiers and pointers from `id` comes back to where it was. `walked`: which walk was at each type,
 * so that each is passed once.
 */
static bool loops(const struct btf *b, u32 id, u32 *walked)
{
	const struct btf_type *t;

	for (u32 at = id; (t = btf_type(b, at)) && (is_modifier(t) || BTF_INFO_KIND(t->info) == BTF_KIND_PTR); at = t->type) {
		if (walked[at])
			return walked[at] == id;
		walked[at] = id;
	}
	return false;
}

/*
 * A type that contains itself has no size; following one stops at a depth the kernel would not
 * reach.
 */
int btf_check(const struct btf *b)
{
	u32 *walked = calloc(b->count + 1, sizeof(*walked));
	int err = walked ? 0 : -ENOMEM;

	for (u32 id = 1; !err && id <= b->count; id++)
		err = check_record(b, btf_type(b, id));
	for (u32 id = 1; !err && id <= b->count; id++)
		if (loops(b, id, walked))
			err = -EEXIST;
		else if (!fits_others(b, btf_type(b, id)))
			err = -EINVAL;
	free(walked);
	return err;
}
