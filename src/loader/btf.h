/* SPDX-License-Identifier: MIT */
/*
 * BTF as far as the emulator looks into it: is a blob well formed, by the rules of the kernel's
 * Documentation/bpf/btf.rst, and how large is a type.
 */
#ifndef LIMPET_LOADER_BTF_H
#define LIMPET_LOADER_BTF_H

#include <linux/btf.h>
#include "maps/map.h"
#include "store/store.h"

#define BTF_ENOTSUPP 524
#define BTF_DECL_TAG 17
#define BTF_TYPE_TAG 18
#define BTF_ENUM64   19
#define BTF_KINDS    20

struct btf {
	struct btf_header head;
	const u8 *types;
	const char *strings;
	u32 *at;   /* offset of each type, from 1 */
	u32 count; /* types, void not counted */
	void *map; /* what btf_open() mapped, else NULL */
	u64 map_size;
};

/* What follows a type's struct btf_type, and what its fields mean. */
enum {
	BTF_SIZED = 1,
	BTF_REFERS = 2,
	BTF_NAMED = 4,
	BTF_NAMELESS = 8,
	BTF_NO_VLEN = 16,
	BTF_KFLAG = 32
};
struct btf_kind {
	u8 fixed, each, flags; /* bytes, and bytes a member */
};
extern HIDDEN const struct btf_kind btf_kinds[BTF_KINDS];

/*
 * Reads the header and finds the types of `size` bytes at `blob`, which must stay. 0, -EINVAL,
 * -E2BIG, -ENOMEM, or -524 for a version or flags nobody knows. btf_close() ends it.
 */
HIDDEN int btf_read(struct btf *ret, const void *blob, u32 size);
HIDDEN int btf_check(const struct btf *b); /* every type of it: 0, -EINVAL, -EEXIST (a loop), -ENOMEM, -524 */
HIDDEN int btf_open(struct btf *ret, struct store *s, u32 id); /* a BTF object of the session */
/* The first bytes of the kernel's, at most `most`, to be unmapped by the caller. 0 or -errno. */
HIDDEN int btf_map_kernel(size_t most, const void **ret, size_t *ret_size);
HIDDEN int btf_open_kernel(struct btf *ret); /* the kernel's, as tools see it */
HIDDEN void btf_close(struct btf *b);

HIDDEN const struct btf_type *btf_type(const struct btf *b, u32 id); /* NULL: void, or none */
HIDDEN const struct btf_type *btf_strip(const struct btf *b,
					u32 id);  /* without typedefs, const, ... */
HIDDEN u32 btf_kind(const struct btf *b, u32 id); /* BTF_KIND_*, 0: void or none */
/* Bytes a value of type `id` takes. False: no such type, or one without a size. */
HIDDEN bool btf_size(const struct btf *b, u32 id, u32 *ret);

/* Do the key and value types that `def` names (btf_id's) have its sizes? Finds the value's lock. */
HIDDEN int btf_check_map(struct store *s, struct map_def *def);

#endif
