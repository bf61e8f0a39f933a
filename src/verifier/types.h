/* SPDX-License-Identifier: MIT */
/* BTF, as far as the verifier reads it: names, lines, and the prototypes of functions. Hostile until read. */
#ifndef LIMPET_VERIFIER_TYPES_H
#define LIMPET_VERIFIER_TYPES_H

#include <linux/btf.h>
#include "base/types.h"

struct types {
	const u8 *types;
	const char *strings;
	u32 type_len, string_len;
	u32 *at; /* offset of each type, from 1 */
	u32 count;
};

int types_read(struct types *ret, const void *blob, u32 size); /* 0, -EINVAL, -ENOMEM */
void types_free(struct types *t);
const struct btf_type *types_get(const struct types *t, u32 id); /* NULL: void, or none */
const struct btf_type *types_strip(const struct types *t, u32 id,
				   u32 *ret_id); /* without typedefs and qualifiers */
const char *types_string(const struct types *t, u32 off);
/* Bytes a value of this type takes; false where it has no size. */
bool types_size(const struct types *t, u32 id, u32 *ret);

#endif
