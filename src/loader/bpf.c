/* SPDX-License-Identifier: MIT */
/* bpf(2): the rules all commands share, and the table of commands. */
#include "loader/loader.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define END(field) (offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))

/* `last`: bytes of attr the command knows; anything set behind them is EINVAL. */
static const struct {
	loader_cmd *run;
	size_t last;
} commands[] = {
	[BPF_MAP_CREATE] = {loader_map_create, END(map_extra)},
	[BPF_MAP_LOOKUP_ELEM] = {loader_map_elem_lookup, END(flags)},
	[BPF_MAP_UPDATE_ELEM] = {loader_map_elem_update, END(flags)},
	[BPF_MAP_DELETE_ELEM] = {loader_map_elem_delete, END(key)},
	[BPF_MAP_GET_NEXT_KEY] = {loader_map_next_key, END(next_key)},
	[BPF_MAP_LOOKUP_AND_DELETE_ELEM] = {loader_map_lookup_delete, END(flags)},
	[BPF_MAP_FREEZE] = {loader_map_freeze, END(map_fd)},
	[BPF_PROG_LOAD] = {loader_prog_load, END(core_relo_rec_size)},
	[BPF_PROG_TEST_RUN] = {loader_prog_test_run, END(test.batch_size)},
	[BPF_BTF_LOAD] = {loader_btf_load, END(btf_log_level)},
	[BPF_LINK_CREATE] = {loader_link_create, END(link_create.kprobe_multi.cookies)},
	[BPF_LINK_UPDATE] = {loader_link_update, END(link_update.old_prog_fd)},
	[BPF_LINK_DETACH] = {loader_link_detach, END(link_detach.link_fd)},
	[BPF_OBJ_GET_INFO_BY_FD] = {loader_obj_info, END(info.info)},
	[BPF_MAP_GET_FD_BY_ID] = {loader_map_fd_by_id, END(open_flags)},
	[BPF_PROG_GET_FD_BY_ID] = {loader_prog_fd_by_id, END(prog_id)},
	[BPF_BTF_GET_FD_BY_ID] = {loader_btf_fd_by_id, END(btf_id)},
	[BPF_LINK_GET_FD_BY_ID] = {loader_link_fd_by_id, END(link_id)},
	[BPF_MAP_GET_NEXT_ID] = {loader_map_next_id, END(next_id)},
	[BPF_PROG_GET_NEXT_ID] = {loader_prog_next_id, END(next_id)},
	[BPF_BTF_GET_NEXT_ID] = {loader_btf_next_id, END(next_id)},
	[BPF_LINK_GET_NEXT_ID] = {loader_link_next_id, END(next_id)},
	[BPF_OBJ_PIN] = {loader_obj_pin, END(file_flags)},
	[BPF_OBJ_GET] = {loader_obj_pin, END(file_flags)},
};

static bool all_zero(const void *p, size_t from, size_t to)
{
	for (const u8 *b = p; from < to; from++)
		if (b[from])
			return false;
	return true;
}

/* Map operations on a descriptor seen before: no copy, no system call. */
static inline bool fast_map_op(int cmd, const union bpf_attr *a, long *ret)
{
	struct map *m;

	if (a->map_fd >= LOADER_FDS)
		return false;
	m = atomic_load_explicit(&loader_fd_map[a->map_fd], memory_order_acquire);
	if (!m)
		return false;
	switch (cmd) {
	case BPF_MAP_LOOKUP_ELEM:
		*ret = map_user_lookup(m, (void *)a->key, (void *)a->value, a->flags);
		return true;
	case BPF_MAP_UPDATE_ELEM:
		*ret = map_user_update(m, (void *)a->key, (void *)a->value, a->flags);
		return true;
	case BPF_MAP_LOOKUP_AND_DELETE_ELEM:
		*ret = map_user_lookup_and_delete(m, (void *)a->key, (void *)a->value, a->flags);
		return true;
	default:
		return false;
	}
}

long loader_bpf(int cmd, union bpf_attr *uattr, unsigned int size)
{
	union bpf_attr attr;
	struct store *s;
	int err = 0;
	long ret;

	if (uattr && size == END(flags) && fast_map_op(cmd, uattr, &ret))
		return ret;
	if (size > PAGE_SIZE)
		return -E2BIG;
	if (!uattr)
		return -EFAULT;
	if (size > sizeof(attr) && !all_zero(uattr, sizeof(attr), size))
		return -E2BIG;
	memset(&attr, 0, sizeof(attr));
	memcpy(&attr, uattr, size < sizeof(attr) ? size : sizeof(attr));
	if (cmd < 0 || (size_t)cmd >= ARRAY_SIZE(commands) || !commands[cmd].run)
		return -EINVAL;
	if (!all_zero(&attr, commands[cmd].last, sizeof(attr)))
		return -EINVAL;
	s = loader_store(&err);
	return s ? commands[cmd].run(s, &attr, uattr) : err;
}

/* Names are up to 15 of [A-Za-z0-9_.], as the kernel wants them. */
int loader_copy_name(char dst[16], const char src[16])
{
	size_t n = 0;

	memset(dst, 0, 16);
	while (n < 16 && src[n]) {
		if (!isalnum((unsigned char)src[n]) && src[n] != '_' && src[n] != '.')
			return -EINVAL;
		n++;
	}
	if (n == 16)
		return -EINVAL;
	memcpy(dst, src, n);
	return 0;
}
