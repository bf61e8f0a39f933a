/* SPDX-License-Identifier: MIT */
/* bpf(2): the rules all commands share, the table of commands, and the fast way to a map. */
#include "loader/loader.h"

#include <errno.h>
#include <string.h>
#include "loader/attr.h"
#include "loader/kernel.h"

/* `last`: bytes of attr the command knows; anything set behind them is EINVAL. */
static const struct {
	loader_cmd *run;
	size_t last;
} commands[] = {
	[BPF_MAP_CREATE] = {loader_map_create, MORE_END(map_create.token_fd)},
	[BPF_MAP_FREEZE] = {loader_map_freeze, ATTR_END(map_fd)},
	[BPF_MAP_LOOKUP_BATCH] = {loader_map_batch, ATTR_END(batch.flags)},
	[BPF_MAP_LOOKUP_AND_DELETE_BATCH] = {loader_map_batch, ATTR_END(batch.flags)},
	[BPF_MAP_UPDATE_BATCH] = {loader_map_batch, ATTR_END(batch.flags)},
	[BPF_MAP_DELETE_BATCH] = {loader_map_batch, ATTR_END(batch.flags)},
	[BPF_PROG_LOAD] = {loader_prog_load, MORE_END(prog_load.keyring_id)},
	[BPF_PROG_TEST_RUN] = {loader_prog_test_run, ATTR_END(test.batch_size)},
	[BPF_BTF_LOAD] = {loader_btf_load, MORE_END(btf_load.token_fd)},
	[BPF_LINK_CREATE] = {loader_link_create, MORE_END(uprobe_multi.pid)},
	[BPF_LINK_UPDATE] = {loader_link_update, ATTR_END(link_update.old_prog_fd)},
	[BPF_LINK_DETACH] = {loader_link_detach, ATTR_END(link_detach.link_fd)},
	[BPF_OBJ_GET_INFO_BY_FD] = {loader_obj_info, ATTR_END(info.info)},
	[BPF_MAP_GET_FD_BY_ID] = {loader_map_fd_by_id, ATTR_END(open_flags)},
	[BPF_PROG_GET_FD_BY_ID] = {loader_fd_by_id, ATTR_END(prog_id)},
	[BPF_BTF_GET_FD_BY_ID] = {loader_fd_by_id, ATTR_END(btf_id)},
	[BPF_LINK_GET_FD_BY_ID] = {loader_fd_by_id, ATTR_END(link_id)},
	[BPF_MAP_GET_NEXT_ID] = {loader_next_id, ATTR_END(next_id)},
	[BPF_PROG_GET_NEXT_ID] = {loader_next_id, ATTR_END(next_id)},
	[BPF_BTF_GET_NEXT_ID] = {loader_next_id, ATTR_END(next_id)},
	[BPF_LINK_GET_NEXT_ID] = {loader_next_id, ATTR_END(next_id)},
	[BPF_OBJ_PIN] = {loader_obj_pin, MORE_END(pin.path_fd)},
	[BPF_OBJ_GET] = {loader_obj_get, MORE_END(pin.path_fd)},
	[BPF_PROG_BIND_MAP] = {loader_prog_bind_map, ATTR_END(prog_bind_map.flags)},
	[BPF_TASK_FD_QUERY] = {loader_task_fd_query, ATTR_END(task_fd_query.probe_addr)},
	[BPF_ENABLE_STATS] = {loader_enable_stats, ATTR_END(enable_stats.type)},
	[BPF_RAW_TRACEPOINT_OPEN] = {loader_raw_tracepoint_open, MORE_END(raw_tracepoint.cookie)},
	[BPF_ITER_CREATE] = {loader_iter_create, ATTR_END(iter_create.flags)},
	[BPF_PROG_ATTACH] = {loader_refuse, ATTR_SIZE},
	[BPF_PROG_DETACH] = {loader_refuse, ATTR_SIZE},
	[BPF_PROG_QUERY] = {loader_refuse, ATTR_SIZE},
};

/* Where an attr of a map operation ends, 0 for other commands. */
static const u8 elem_last[] = {
	[BPF_MAP_LOOKUP_ELEM] = ATTR_END(flags),
	[BPF_MAP_UPDATE_ELEM] = ATTR_END(flags),
	[BPF_MAP_DELETE_ELEM] = ATTR_END(key),
	[BPF_MAP_GET_NEXT_KEY] = ATTR_END(next_key),
	[BPF_MAP_LOOKUP_AND_DELETE_ELEM] = ATTR_END(flags),
};

static ALWAYS_INLINE bool all_zero(const u8 *p, size_t from, size_t to)
{
	u64 word, any = 0;

	/* libraries pass the whole attr for every map operation: a word at a time */
	for (; from + sizeof(word) <= to; from += sizeof(word)) {
		memcpy(&word, p + from, sizeof(word));
		any |= word;
	}
	if (any)
		return false;
	while (from < to)
		if (p[from++])
			return false;
	return true;
}

/*
 * A map operation on a descriptor seen before, with memory seen before: no copy, no system call.
 * False: not this time, the slow way answers.
 */
static bool fast_map_op(unsigned int cmd, const union bpf_attr *a, unsigned int size, long *ret)
{
	const u8 *bytes = (const u8 *)a;
	void *key, *value;
	struct map *m;

	if (size < elem_last[cmd] || size > ATTR_SIZE || !user_seen_ok(a, size, false) ||
	    a->map_fd >= LOADER_FDS || !all_zero(bytes, elem_last[cmd], size))
		return false;
	m = atomic_load_explicit(&loader_fd_map[a->map_fd], memory_order_acquire);
	key = (void *)a->key;
	value = (void *)a->value;
	if (!m || (key && !user_seen_ok(key, m->def.key_size, false)))
		return false;
	switch (cmd) {
	case BPF_MAP_UPDATE_ELEM:
		if (!user_seen_ok(value, map_user_value_size(m), false))
			return false;
		*ret = map_user_update(m, key, value, a->flags);
		return true;
	case BPF_MAP_DELETE_ELEM:
		*ret = map_user_delete(m, key);
		return true;
	case BPF_MAP_GET_NEXT_KEY:
		if (!user_seen_ok(value, m->def.key_size, true))
			return false;
		*ret = map_user_next_key(m, key, value);
		return true;
	case BPF_MAP_LOOKUP_ELEM:
		if (!user_seen_ok(value, map_user_value_size(m), true))
			return false;
		*ret = map_user_lookup(m, key, value, a->flags);
		return true;
	default:
		if (a->flags || !user_seen_ok(value, map_user_value_size(m), true))
			return false;
		*ret = map_user_lookup_and_delete(m, key, value, 0);
		return true;
	}
}

static bool is_elem_op(unsigned int cmd)
{
	return cmd < ARRAY_SIZE(elem_last) && elem_last[cmd];
}

long loader_bpf(int cmd, union bpf_attr *uattr, unsigned int size)
{
	struct loader_call call = {.u = uattr, .size = size};
	const unsigned int n = (unsigned int)cmd;
	union attr_more attr;
	size_t last;
	int err = 0;
	long ret;

	if (is_elem_op(n) && !user_space && fast_map_op(n, uattr, size, &ret))
		return ret;
	if (size > PAGE_SIZE)
		return -E2BIG;
	if (size > sizeof(attr)) {
		err = user_zero((u64)uattr + sizeof(attr), size - sizeof(attr));
		if (err)
			return err;
	}
	memset(&attr, 0, sizeof(attr));
	err = user_read(&attr, (u64)uattr, size < sizeof(attr) ? size : sizeof(attr));
	if (err)
		return err;
	if (!is_elem_op(n) && (n >= ARRAY_SIZE(commands) || !commands[n].run))
		return -EINVAL;
	last = is_elem_op(n) ? elem_last[n] : commands[n].last;
	if (!all_zero(attr.bytes, last, sizeof(attr)))
		return -EINVAL;
	call.store = loader_store(&err);
	call.cmd = n;
	if (!call.store)
		return err;
	loader_inside++;
	ret = kernel_on() ? kernel_command(&call, &attr.attr) : -LOADER_PASS;
	if (ret == -LOADER_PASS)
		ret = is_elem_op(n) ? loader_map_elem(&call, &attr.attr) : commands[n].run(&call, &attr.attr);
	loader_inside--;
	return ret;
}

/* What the kernel's isalnum() takes for letters and digits: Latin-1. */
static bool is_name_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       c == '_' || c == '.' || (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}

int loader_copy_name(char dst[16], const char src[16])
{
	size_t n = 0;

	memset(dst, 0, 16);
	while (n < 16 && src[n]) {
		if (!is_name_char((unsigned char)src[n]))
			return -EINVAL;
		n++;
	}
	if (n == 16)
		return -EINVAL;
	memcpy(dst, src, n);
	return 0;
}
