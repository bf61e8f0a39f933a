/* SPDX-License-Identifier: MIT */
/* See tool_map.h. */
#include "loader/tool_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "loader/kernel.h"

int kernel_elem(unsigned int cmd, int twin, const void *key, const void *value, u64 flags)
{
	union attr_more a = {
		.attr = {.map_fd = (u32)twin, .key = (u64)key, .value = (u64)value, .flags = flags}};

	return (int)kernel_bpf(cmd, &a);
}

static u64 half(const struct map *m)
{
	return map_user_value_size(m);
}

u64 tool_map_value_size(const struct map *m)
{
	int twin;

	return kernel_map_at(m, &twin) == AT_HALVES ? 2 * half(m) : map_user_value_size(m);
}

/* ---- both halves of a per-CPU map ---- */

static int halves_lookup(struct map *m, int twin, const void *key, u8 *value, u64 flags)
{
	int ours = map_user_lookup(m, key, value + half(m), flags), theirs = -ENOENT;

	if (ours && ours != -ENOENT)
		return ours;
	if (twin >= 0)
		theirs = kernel_elem(BPF_MAP_LOOKUP_ELEM, twin, key, value, flags);
	if (theirs && theirs != -ENOENT)
		return theirs;
	if (ours && theirs)
		return -ENOENT;
	if (ours)
		memset(value + half(m), 0, half(m));
	if (theirs)
		memset(value, 0, half(m));
	return 0;
}

static bool halves_have(struct map *m, int twin, const void *key, bool *ret_ours)
{
	u8 *value = malloc(2 * half(m));
	bool theirs = false;

	*ret_ours = value && !map_user_lookup(m, key, value, 0);
	if (value && !*ret_ours && twin >= 0)
		theirs = !kernel_elem(BPF_MAP_LOOKUP_ELEM, twin, key, value, 0);
	free(value);
	return *ret_ours || theirs;
}

static bool is_zero(const u8 *p, u64 n)
{
	while (n && !p[n - 1])
		n--;
	return !n;
}

static int halves_update(struct map *m, int twin, const void *key, const u8 *value, u64 flags)
{
	const bool array = m->def.type == BPF_MAP_TYPE_PERCPU_ARRAY;
	bool ours;
	int err;

	if (twin < 0 && !is_zero(value, half(m))) {
		twin = kernel_map_make(m);
		if (twin < 0)
			return twin;
	}
	/* whether it exists is one question to both */
	if (key && twin >= 0 && !array && (flags == BPF_NOEXIST || flags == BPF_EXIST)) {
		const bool have = halves_have(m, twin, key, &ours);

		if (have != (flags == BPF_EXIST))
			return have ? -EEXIST : -ENOENT;
		flags = BPF_ANY;
	}
	err = map_user_update(m, key, value + half(m), flags);
	return err || twin < 0 ? err : kernel_elem(BPF_MAP_UPDATE_ELEM, twin, key, value, flags);
}

static int halves_delete(struct map *m, int twin, const void *key)
{
	int ours = map_user_delete(m, key), theirs;

	if (twin < 0 || (ours && ours != -ENOENT))
		return ours;
	theirs = kernel_elem(BPF_MAP_DELETE_ELEM, twin, key, NULL, 0);
	return !ours && theirs == -ENOENT ? 0 : theirs;
}

/* The next key of the kernel's half that is not in ours. */
static int next_of_theirs(struct map *m, int twin, const void *key, void *ret_key)
{
	u8 *at = malloc(2 * (size_t)m->def.key_size), *next = at ? at + m->def.key_size : NULL;
	int err = at ? 0 : -ENOMEM;
	bool ours = true;

	if (at && key)
		memcpy(at, key, m->def.key_size);
	while (!err && ours) {
		err = kernel_elem(BPF_MAP_GET_NEXT_KEY, twin, key ? at : NULL, next, 0);
		if (err)
			break;
		halves_have(m, -1, next, &ours);
		memcpy(at, next, m->def.key_size);
		key = at;
	}
	if (!err)
		memcpy(ret_key, at, m->def.key_size);
	free(at);
	return err;
}

/* Ours first, then what only the kernel's half has. */
static int halves_next_key(struct map *m, int twin, const void *key, void *ret_key)
{
	bool ours = true;
	int err;

	if (twin < 0 || m->def.type == BPF_MAP_TYPE_PERCPU_ARRAY)
		return map_user_next_key(m, key, ret_key);
	if (key && halves_have(m, twin, key, &ours) && !ours)
		return next_of_theirs(m, twin, key, ret_key);
	err = map_user_next_key(m, key, ret_key);
	return err == -ENOENT ? next_of_theirs(m, twin, NULL, ret_key) : err;
}

/* ---- wherever it is ---- */

int tool_map_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	int twin;

	switch (kernel_map_at(m, &twin)) {
	case AT_KERNEL:
		return kernel_elem(BPF_MAP_LOOKUP_ELEM, twin, key, ret_value, flags);
	case AT_HALVES:
		return halves_lookup(m, twin, key, ret_value, flags);
	default:
		return map_user_lookup(m, key, ret_value, flags);
	}
}

int tool_map_update(struct map *m, const void *key, const void *value, u64 flags)
{
	int twin, err;

	switch (kernel_map_at(m, &twin)) {
	case AT_KERNEL:
		return kernel_elem(BPF_MAP_UPDATE_ELEM, twin, key, value, flags);
	case AT_HALVES:
		return halves_update(m, twin, key, value, flags);
	case AT_BOTH:
		err = map_user_update(m, key, value, flags);
		return err ? err : kernel_elem(BPF_MAP_UPDATE_ELEM, twin, key, value, BPF_ANY);
	default:
		return map_user_update(m, key, value, flags);
	}
}

int tool_map_delete(struct map *m, const void *key)
{
	int twin, err;

	switch (kernel_map_at(m, &twin)) {
	case AT_KERNEL:
		return kernel_elem(BPF_MAP_DELETE_ELEM, twin, key, NULL, 0);
	case AT_HALVES:
		return halves_delete(m, twin, key);
	case AT_BOTH:
		err = map_user_delete(m, key);
		return err ? err : kernel_elem(BPF_MAP_DELETE_ELEM, twin, key, NULL, 0);
	default:
		return map_user_delete(m, key);
	}
}

int tool_map_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags)
{
	int twin, err;

	switch (kernel_map_at(m, &twin)) {
	case AT_KERNEL:
		return kernel_elem(BPF_MAP_LOOKUP_AND_DELETE_ELEM, twin, key, ret_value, flags);
	case AT_HALVES:
		err = tool_map_lookup(m, key, ret_value, flags);
		return err ? err : halves_delete(m, twin, key);
	case AT_BOTH:
		err = map_user_lookup_and_delete(m, key, ret_value, flags);
		return err ? err : kernel_elem(BPF_MAP_DELETE_ELEM, twin, key, NULL, 0);
	default:
		return map_user_lookup_and_delete(m, key, ret_value, flags);
	}
}

int tool_map_next_key(struct map *m, const void *key, void *ret_key)
{
	int twin;

	switch (kernel_map_at(m, &twin)) {
	case AT_KERNEL:
		return kernel_elem(BPF_MAP_GET_NEXT_KEY, twin, key, ret_key, 0);
	case AT_HALVES:
		return halves_next_key(m, twin, key, ret_key);
	default:
		return map_user_next_key(m, key, ret_key);
	}
}
