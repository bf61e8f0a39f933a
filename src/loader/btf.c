/* SPDX-License-Identifier: MIT */
/* See btf.h: reading a blob, sizes, and a map's types. */
#include "loader/btf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_NAME_OFF 0xffffffu
#define MAX_TYPES    0xfffffu
#define MAX_DEPTH    32

const struct btf_kind btf_kinds[BTF_KINDS] = {
	[BTF_KIND_INT] = {4, 0, BTF_SIZED | BTF_NO_VLEN},
	[BTF_KIND_PTR] = {0, 0, BTF_REFERS | BTF_NAMELESS | BTF_NO_VLEN},
	[BTF_KIND_ARRAY] = {sizeof(struct btf_array), 0, BTF_NAMELESS | BTF_NO_VLEN},
	[BTF_KIND_STRUCT] = {0, sizeof(struct btf_member), BTF_SIZED | BTF_KFLAG},
	[BTF_KIND_UNION] = {0, sizeof(struct btf_member), BTF_SIZED | BTF_KFLAG},
	[BTF_KIND_ENUM] = {0, sizeof(struct btf_enum), BTF_SIZED | BTF_KFLAG},
	[BTF_KIND_FWD] = {0, 0, BTF_NAMED | BTF_NO_VLEN | BTF_KFLAG},
	[BTF_KIND_TYPEDEF] = {0, 0, BTF_REFERS | BTF_NAMED | BTF_NO_VLEN},
	[BTF_KIND_VOLATILE] = {0, 0, BTF_REFERS | BTF_NAMELESS | BTF_NO_VLEN},
	[BTF_KIND_CONST] = {0, 0, BTF_REFERS | BTF_NAMELESS | BTF_NO_VLEN},
	[BTF_KIND_RESTRICT] = {0, 0, BTF_REFERS | BTF_NAMELESS | BTF_NO_VLEN},
	[BTF_KIND_FUNC] = {0, 0, BTF_REFERS | BTF_NAMED}, /* vlen: linkage */
	[BTF_KIND_FUNC_PROTO] = {0, sizeof(struct btf_param), BTF_REFERS | BTF_NAMELESS},
	[BTF_KIND_VAR] = {sizeof(struct btf_var), 0, BTF_REFERS | BTF_NAMED | BTF_NO_VLEN},
	[BTF_KIND_DATASEC] = {0, sizeof(struct btf_var_secinfo), BTF_SIZED | BTF_NAMED},
	[BTF_KIND_FLOAT] = {0, 0, BTF_SIZED | BTF_NO_VLEN},
	[BTF_DECL_TAG] = {4, 0, BTF_REFERS | BTF_NAMED | BTF_NO_VLEN | BTF_KFLAG},
	[BTF_TYPE_TAG] = {0, 0, BTF_REFERS | BTF_NAMED | BTF_NO_VLEN | BTF_KFLAG},
	[BTF_ENUM64] = {0, 12, BTF_SIZED | BTF_KFLAG},
};

static u32 record_size(const struct btf_type *t)
{
	const u32 kind = BTF_INFO_KIND(t->info),
		  vlen = kind == BTF_KIND_FUNC ? 0 : BTF_INFO_VLEN(t->info);

	return (u32)sizeof(*t) + btf_kinds[kind].fixed + vlen * btf_kinds[kind].each;
}

/* The sections must fill the blob behind the header without gap or overlap. */
static int read_header(struct btf *b, const u8 *blob, u32 size)
{
	struct btf_header *h = &b->head;
	u32 len;

	if (size < offsetof(struct btf_header, hdr_len) + sizeof(len))
		return -EINVAL;
	len = ((const struct btf_header *)blob)->hdr_len;
	if (len > size)
		return -EINVAL;
	for (u32 i = sizeof(*h); i < len; i++)
		if (blob[i])
			return -E2BIG;
	memcpy(h, blob, len < sizeof(*h) ? len : sizeof(*h));
	if (h->magic != BTF_MAGIC)
		return -EINVAL;
	if (h->version != BTF_VERSION || h->flags)
		return -BTF_ENOTSUPP;
	if (len < sizeof(*h) || !h->type_len || h->type_off || h->str_off != h->type_len ||
	    (u64)len + h->str_off + h->str_len != size || !h->str_len ||
	    h->str_len - 1 > MAX_NAME_OFF)
		return -EINVAL;
	b->types = blob + len;
	b->strings = (const char *)b->types + h->str_off;
	return b->strings[0] || b->strings[h->str_len - 1] ? -EINVAL : 0;
}

static int find_types(struct btf *b)
{
	const u32 end = b->head.type_len, most = end / (u32)sizeof(struct btf_type);

	b->at = malloc((most + 2) * sizeof(*b->at));
	if (!b->at)
		return -ENOMEM;
	for (u32 off = 0; off < end;) {
		const struct btf_type *t = (const struct btf_type *)(b->types + off);

		if (end - off < sizeof(*t) || (t->info & 0x60ff0000u) || !BTF_INFO_KIND(t->info) ||
		    BTF_INFO_KIND(t->info) >= BTF_KINDS || end - off < record_size(t) ||
		    b->count >= MAX_TYPES)
			return -EINVAL;
		b->at[++b->count] = off;
		off += record_size(t);
	}
	return 0;
}

int btf_read(struct btf *ret, const void *blob, u32 size)
{
	struct btf b = {0};
	int err = read_header(&b, blob, size);

	if (!err)
		err = find_types(&b);
	if (err)
		free(b.at);
	else
		*ret = b;
	return err;
}

int btf_open(struct btf *ret, struct store *s, u32 id)
{
	int err = 0;
	u64 size;
	struct btf_file *f = store_map_object(s, OBJ_BTF, id, &size, &err);

	if (!f)
		return err;
	if (f->data_off > size || f->data_size > size - f->data_off)
		err = -EINVAL;
	else
		err = btf_read(ret, (const u8 *)f + f->data_off, f->data_size);
	if (err) {
		munmap(f, size);
		return err;
	}
	ret->map = f;
	ret->map_size = size;
	return 0;
}

void btf_close(struct btf *b)
{
	free(b->at);
	if (b->map)
		munmap(b->map, b->map_size);
}

const struct btf_type *btf_type(const struct btf *b, u32 id)
{
	return id && id <= b->count ? (const struct btf_type *)(b->types + b->at[id]) : NULL;
}

u32 btf_kind(const struct btf *b, u32 id)
{
	const struct btf_type *t = btf_type(b, id);

	return t ? BTF_INFO_KIND(t->info) : 0;
}

static bool is_wrapper(u32 kind)
{
	return kind == BTF_KIND_TYPEDEF || kind == BTF_KIND_CONST || kind == BTF_KIND_VOLATILE ||
	       kind == BTF_KIND_RESTRICT || kind == BTF_TYPE_TAG;
}

const struct btf_type *btf_strip(const struct btf *b, u32 id)
{
	const struct btf_type *t = btf_type(b, id);

	for (int depth = 0; t && is_wrapper(BTF_INFO_KIND(t->info)); depth++)
		t = depth < MAX_DEPTH ? btf_type(b, t->type) : NULL;
	return t;
}

bool btf_size(const struct btf *b, u32 id, u32 *ret)
{
	u64 times = 1;

	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		const struct btf_type *t = btf_strip(b, id);
		const struct btf_array *a = (const struct btf_array *)(t + 1);

		if (!t)
			return false;
		switch (BTF_INFO_KIND(t->info)) {
		case BTF_KIND_ARRAY:
			times *= a->nelems;
			if (times > UINT32_MAX)
				return false;
			id = a->type;
			break;
		case BTF_KIND_VAR:
			id = t->type;
			break;
		case BTF_KIND_PTR:
			times *= sizeof(u64);
			*ret = (u32)times;
			return times <= UINT32_MAX;
		default:
			if (!(btf_kinds[BTF_INFO_KIND(t->info)].flags & BTF_SIZED))
				return false;
			times *= t->size;
			*ret = (u32)times;
			return times <= UINT32_MAX;
		}
	}
	return false;
}

static bool is_array(u32 type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static bool holds_no_values(u32 type)
{
	return type == BPF_MAP_TYPE_PERF_EVENT_ARRAY || type == BPF_MAP_TYPE_CGROUP_ARRAY ||
	       type == BPF_MAP_TYPE_STACK_TRACE ||
	       type == BPF_MAP_TYPE_ARRAY_OF_MAPS;
}

/* The map type's own rule, the sizes being right. A key type may be missing for global data and where there are no keys. */
static int check_key_kind(const struct btf *b, const struct map_def *d)
{
	const struct btf_type *key = btf_strip(b, d->btf_key_type_id); /* __u32 is a typedef */
	u32 kind = key ? BTF_INFO_KIND(key->info) : 0;

	if (holds_no_values(d->type))
		return -BTF_ENOTSUPP;
	if (d->type == BPF_MAP_TYPE_BLOOM_FILTER)
		return d->btf_key_type_id ? -EINVAL : 0;
	if (!d->btf_key_type_id)
		return d->type == BPF_MAP_TYPE_ARRAY && d->max_entries == 1 &&
				       btf_kind(b, d->btf_value_type_id) == BTF_KIND_DATASEC
			       ? 0
			       : -EINVAL;
	if (is_array(d->type) && kind != BTF_KIND_INT)
		return -EINVAL;
	if (d->type == BPF_MAP_TYPE_LPM_TRIE && kind != BTF_KIND_STRUCT)
		return -EINVAL;
	return 0;
}

/* What only helpers may touch in a value. */
static const struct special {
	const char *name;
	u32 size, field; /* MAP_FIELD_*, 0: the lock */
} specials[] = {
	{"bpf_spin_lock", 4, 0},
	{"bpf_timer", 16, MAP_FIELD_TIMER},
	{"bpf_wq", 16, MAP_FIELD_WQ},
};

static bool is_special(const struct btf *b, u32 id, const struct special *s)
{
	const struct btf_type *t = btf_strip(b, id);

	return t && BTF_INFO_KIND(t->info) == BTF_KIND_STRUCT && t->size == s->size && t->name_off < b->head.str_len &&
	       !strcmp(b->strings + t->name_off, s->name);
}

/* Where the one member is among the value's, or the variables of a section, plus 1. */
static u32 find_special(const struct btf *b, u32 value_type, const struct special *s)
{
	const struct btf_type *t = btf_strip(b, value_type);
	u32 kind = t ? BTF_INFO_KIND(t->info) : 0, found = 0, n = 0;

	for (u32 i = 0; t && i < BTF_INFO_VLEN(t->info); i++) {
		const struct btf_member *m = (const struct btf_member *)(t + 1) + i;
		const struct btf_var_secinfo *v = (const struct btf_var_secinfo *)(t + 1) + i;
		const struct btf_type *var;
		u32 at, type;

		if (kind == BTF_KIND_STRUCT) {
			at = BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m->offset) / 8 : m->offset / 8;
			type = m->type;
		} else if (kind == BTF_KIND_DATASEC) {
			var = btf_type(b, v->type);
			at = v->offset;
			type = var ? var->type : 0;
		} else {
			return 0;
		}
		if (is_special(b, type, s)) {
			found = at + 1;
			n++;
		}
	}
	return n == 1 && (found - 1) % 4 == 0 ? found : 0;
}

static void find_specials(const struct btf *b, struct map_def *d)
{
	for (u32 i = 0; i < ARRAY_SIZE(specials); i++) {
		const u32 at = find_special(b, d->btf_value_type_id, &specials[i]);

		if (specials[i].field)
			d->fields |= at ? specials[i].field : 0;
		else
			d->lock = at;
	}
}

/* As the kernel: only these types' values may have them, and programs must be able to write to them. */
static int check_specials(const struct map_def *d)
{
	if (!d->lock && !d->fields)
		return 0;
	if (d->flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EACCES;
	if (d->type == BPF_MAP_TYPE_LRU_HASH && !d->lock)
		return 0;
	return d->type == BPF_MAP_TYPE_HASH || d->type == BPF_MAP_TYPE_ARRAY ? 0 : -EOPNOTSUPP;
}

int btf_check_map(struct store *s, struct map_def *d)
{
	u32 key = 0, value = 0;
	struct btf b;
	int err = btf_open(&b, s, d->btf_id);

	if (err)
		return err;
	if ((d->btf_key_type_id &&
	     (!btf_size(&b, d->btf_key_type_id, &key) || key != d->key_size)) ||
	    !btf_size(&b, d->btf_value_type_id, &value) || value != d->value_size)
		err = -EINVAL;
	if (!err) {
		find_specials(&b, d);
		err = check_specials(d);
	}
	if (!err)
		err = check_key_kind(&b, d);
	btf_close(&b);
	return err;
}
