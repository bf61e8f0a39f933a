/* SPDX-License-Identifier: MIT */
/*
 * BLOOM_FILTER: a power of two of bits; a value sets (push) or is looked for at (peek) as many of them
 * as map_extra says, 5 if it says nothing. Values have no key and never go away.
 *
 *     file:  | 64-bit words | metadata page |
 *
 * Bits are set by atomic or, so nothing can be lost: a death in the middle leaves some of a value's
 * bits, which is as if it had not been pushed.
 */
#include "base/sys.h"
#include "maps/hash.h"

#define BLOOM_HASHES     5 /* the kernel's default */
#define BLOOM_FLAGS                                                                                \
	(BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG |     \
	 BPF_F_WRONLY_PROG)
#define BLOOM_VALUE_MAX  (1u << 22)

struct bloom_area {
	u64 seed[2];
};

/* The kernel's size: entries * hashes / ln 2 bits, rounded up to a power of two, at most 2^32. */
static int layout(struct map *m)
{
	const struct map_def *def = &m->def;
	u64 wanted, bits = 64;

	if (def->key_size || !def->value_size || !def->max_entries || (def->flags & ~BLOOM_FLAGS) ||
	    def->map_extra > 15)
		return -EINVAL;
	if (def->value_size > BLOOM_VALUE_MAX)
		return -E2BIG;
	m->extra[2] = def->map_extra ? def->map_extra : BLOOM_HASHES;
	wanted = def->max_entries * m->extra[2] / 5 * 7;
	while (bits < wanted && bits < 1ULL << 32)
		bits <<= 1;
	m->mask = (u32)(bits - 1);
	m->sparse = true;
	m->elems_off = 0;
	m->region_size = bits / 8;
	m->file_size = ALIGN_UP(bits / 8, PAGE_SIZE) + MAP_META_SIZE;
	return 0;
}

static int init(struct map *m)
{
	struct bloom_area *a = (struct bloom_area *)m->meta->type_area;

	if (!(m->def.flags & BPF_F_ZERO_SEED))
		sys_call3(__NR_getrandom, (long)a->seed, sizeof(a->seed), 0);
	return 0;
}

static void bind(struct map *m)
{
	const struct bloom_area *a = (const struct bloom_area *)m->meta->type_area;

	m->extra[0] = a->seed[0];
	m->extra[1] = a->seed[1] ^ 0x9e3779b97f4a7c15ULL;
}

/* The two halves of one hash give all positions. */
static u64 hash_value64(const struct map *m, const u8 *value)
{
	u64 h = m->extra[0], word;
	u32 left = m->def.value_size;

	for (; left >= 8; left -= 8, value += 8) {
		memcpy(&word, value, 8);
		h = hash_fold(h ^ word, 0xd6e8feb86659fd93ULL);
	}
	word = 0;
	memcpy(&word, value, left);
	return hash_fold(h ^ word ^ left, m->extra[1]);
}

static _Atomic u64 *word_of(const struct map *m, u64 h, u32 n, u64 *ret_bit)
{
	u32 at = ((u32)h + n * ((u32)(h >> 32) | 1)) & m->mask;

	*ret_bit = BIT(at % 64);
	return (_Atomic u64 *)m->base + at / 64;
}

static long push(struct map *m, const void *value, u64 flags)
{
	u64 h, bit;

	if (flags != BPF_ANY)
		return -EINVAL;
	if (!m->writable)
		return -EPERM;
	h = hash_value64(m, value);
	for (u32 n = 0; n < m->extra[2]; n++) {
		_Atomic u64 *word = word_of(m, h, n, &bit);

		if (!map_reserve(m, (u64)((u8 *)word - m->base), sizeof(*word))) {
			map_count(m, MAP_STAT_NO_MEM);
			return -ENOMEM;
		}
		if (!(atomic_load_explicit(word, memory_order_relaxed) & bit))
			atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
	}
	return 0;
}

static long peek(struct map *m, void *value)
{
	u64 h = hash_value64(m, value), bit;

	for (u32 n = 0; n < m->extra[2]; n++) {
		_Atomic u64 *word = word_of(m, h, n, &bit);

		if (!map_reserved(m, (u64)((u8 *)word - m->base), sizeof(*word)) ||
		    !(atomic_load_explicit(word, memory_order_relaxed) & bit))
			return -ENOENT;
	}
	return 0;
}

static long pop(struct map *m, void *value)
{
	return -EOPNOTSUPP;
}

/* The value to look for comes in ret_value. */
static int user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	return key || flags ? -EINVAL : (int)peek(m, ret_value);
}

static int user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return key ? -EINVAL : (int)push(m, value, flags);
}

static int user_delete(struct map *m, const void *key)
{
	return key ? -EINVAL : -EOPNOTSUPP;
}

static int user_next_key(struct map *m, const void *key, void *ret_key)
{
	return key ? -EINVAL : -EOPNOTSUPP;
}

const struct map_ops bloom_ops = {
	.name = "bloom_filter",
	.layout = layout,
	.init = init,
	.bind = bind,
	.push = push,
	.pop = pop,
	.peek = peek,
	.user_lookup = user_lookup,
	.user_update = user_update,
	.user_delete = user_delete,
	.user_next_key = user_next_key,
};
