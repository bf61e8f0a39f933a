/* SPDX-License-Identifier: MIT */
/* bpf(2) on maps: creation, elements the slow way, freezing. */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "loader/attr.h"
#include "loader/btf.h"
#include "loader/kernel.h"
#include "loader/perf_array.h"
#include "loader/refs.h"
#include "loader/say.h"
#include "loader/tool_map.h"

static bool node_exists(u32 node)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", node);
	return !node || !access(path, F_OK);
}

/* No device keeps maps for us; one that is not there would not in any case. */
static int refuse_device(const union bpf_attr *a)
{
	char name[IF_NAMESIZE];

	if (a->map_type != BPF_MAP_TYPE_ARRAY && a->map_type != BPF_MAP_TYPE_HASH)
		return -EINVAL;
	return if_indextoname(a->map_ifindex, name) ? -EOPNOTSUPP : -EINVAL;
}

/* The checks that come before the map type's own. */
static int check_attr(const union bpf_attr *a)
{
	/* inner maps, device maps and values of kernel types are not there */
	if (a->btf_vmlinux_value_type_id || (a->btf_key_type_id && !a->btf_value_type_id))
		return -EINVAL;
	if ((a->map_type != BPF_MAP_TYPE_BLOOM_FILTER && a->map_extra) ||
	    (a->map_flags & MAP_F_TOKEN_FD))
		return -EINVAL;
	if ((a->map_flags & BPF_F_RDONLY) && (a->map_flags & BPF_F_WRONLY))
		return -EINVAL;
	if ((a->map_flags & BPF_F_NUMA_NODE) && a->numa_node != UINT32_MAX &&
	    !node_exists(a->numa_node))
		return -EINVAL;
	return 0;
}

static int name_and_btf(struct store *s, struct map_def *d, const union bpf_attr *a)
{
	int err = loader_copy_name(d->name, a->map_name);

	if (err || !(a->btf_key_type_id || a->btf_value_type_id))
		return err;
	err = loader_fd_object((int)a->btf_fd, OBJ_BTF, &d->btf_id);
	return err ? err : btf_check_map(s, d);
}

static int fill_map(struct map *m, int fd, u32 id)
{
	int err = 0;
	u64 size;
	/* This mapping goes before the lock comes: it would keep the lock for ever. */
	void *p = store_map_fd(fd, true, &size, &err);

	if (!p)
		return err;
	err = map_create(m, p, id);
	munmap(p, size);
	return err;
}

long loader_map_create(const struct loader_call *c, union bpf_attr *a)
{
	struct map_def def = {
		.type = a->map_type,
		.key_size = a->key_size,
		.value_size = a->value_size,
		.max_entries = a->max_entries,
		.flags = a->map_flags,
		.map_extra = a->map_extra,
		.btf_key_type_id = a->btf_key_type_id,
		.btf_value_type_id = a->btf_value_type_id,
	};
	int mode = a->map_flags & BPF_F_RDONLY   ? O_RDONLY
		   : a->map_flags & BPF_F_WRONLY ? O_WRONLY
						 : O_RDWR;
	struct map_shape inner;
	struct map m;
	int fd, err = check_attr(a);
	u32 id;

	if (!err && !map_ops_find(def.type)) {
		/* what probes for map types has no name */
		if (!loader_copy_name(def.name, a->map_name) && *def.name)
			loader_say("limpet: map %.15s is of type %u, which limpet does not have\n",
				   def.name, def.type);
		err = -EINVAL;
	}
	if (!err)
		err = map_layout(&m, &def);
	if (!err)
		err = loader_take_template(&m, (int)a->inner_map_fd);
	if (!err && a->map_ifindex)
		err = refuse_device(a);
	if (!err)
		err = name_and_btf(c->store, &def, a);
	if (err)
		return err;
	def.flags &= ~(u32)(BPF_F_RDONLY | BPF_F_WRONLY); /* the descriptor's, not the map's */
	inner = m.inner;
	err = map_layout(&m, &def);
	if (err)
		return err;
	m.inner = inner;
	fd = store_new_map(c->store, &m, &id);
	if (fd < 0)
		return fd;
	err = fill_map(&m, fd, id);
	if (err) {
		close(fd);
		return err;
	}
	if (map_holds_objects(&m))
		atomic_store(&c->store->file->has_refs, 1);
	fd = store_publish_as(c->store, OBJ_MAP, id, fd, mode);
	if (fd >= 0 && def.btf_id)
		err = store_ref(c->store, OBJ_MAP, id, OBJ_BTF, def.btf_id);
	if (err) {
		close(fd);
		store_release(c->store, OBJ_MAP, id);
		return err;
	}
	if (kernel_on())
		kernel_map_created(id);
	return loader_fd_add(fd, OBJ_MAP, id);
}

static bool is_fifo(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_QUEUE || m->def.type == BPF_MAP_TYPE_STACK;
}

/* May the descriptor do this at all? In the kernel's order, before any memory is looked at. */
static int check_access(const struct map *m, unsigned int cmd, int mode, u64 flags)
{
	const bool frozen = atomic_load(&m->meta->frozen);
	const bool can_read = mode != O_WRONLY, can_write = mode != O_RDONLY && !frozen;
	bool need_read = cmd != BPF_MAP_UPDATE_ELEM && cmd != BPF_MAP_DELETE_ELEM;
	bool need_write = cmd != BPF_MAP_LOOKUP_ELEM && cmd != BPF_MAP_GET_NEXT_KEY;

	if ((need_read && !can_read) || (need_write && !can_write))
		return -EPERM;
	if (cmd == BPF_MAP_LOOKUP_AND_DELETE_ELEM && flags && is_fifo(m))
		return -EINVAL;
	return flags & BPF_F_LOCK && !m->def.lock ? -EINVAL : 0;
}

/* A private copy of the key: NULL stays NULL, which the map types judge. */
static int take_key(const struct map *m, unsigned int cmd, u64 key, u8 *copy)
{
	if (!key)
		return m->def.key_size && cmd != BPF_MAP_GET_NEXT_KEY ? -EFAULT : 0;
	if (!m->def.key_size)
		return -EINVAL;
	return user_read(copy, key, m->def.key_size);
}

static long run_elem(struct store *s, struct map *m, unsigned int cmd, const union bpf_attr *a, u8 *key, u8 *value)
{
	const u64 size = cmd == BPF_MAP_GET_NEXT_KEY ? m->def.key_size : tool_map_value_size(m);
	const void *k = a->key ? key : NULL;
	long ret;

	switch (cmd) {
	case BPF_MAP_UPDATE_ELEM:
		if (user_read(value, a->value, size))
			return -EFAULT;
		return m->holds ? loader_ref_update(s, m, k, value, a->flags) : tool_map_update(m, k, value, a->flags);
	case BPF_MAP_DELETE_ELEM:
		if (m->holds)
			return loader_ref_delete(s, m, k);
		return tool_map_delete(m, k);
	case BPF_MAP_GET_NEXT_KEY:
		ret = tool_map_next_key(m, k, value);
		break;
	case BPF_MAP_LOOKUP_ELEM:
		if (m->def.type == BPF_MAP_TYPE_BLOOM_FILTER && user_read(value, a->value, size))
			return -EFAULT; /* the value is what is looked for */
		ret = tool_map_lookup(m, k, value, a->flags);
		break;
	default:
		ret = tool_map_lookup_and_delete(m, k, value, a->flags);
	}
	return ret ? ret : user_write(a->value, value, size);
}

/* One element: on a descriptor not seen before or restricted, or with memory not seen before. */
long loader_map_elem(const struct loader_call *c, union bpf_attr *a)
{
	int mode, err = 0;
	struct map *m;
	u8 *buf;
	long ret;

	if (c->cmd == BPF_MAP_LOOKUP_ELEM || c->cmd == BPF_MAP_LOOKUP_AND_DELETE_ELEM)
		if (a->flags & ~(u64)BPF_F_LOCK)
			return -EINVAL;
	m = loader_map_by_fd((int)a->map_fd, &mode, &err);
	if (!m)
		return err;
	err = check_access(
		m, c->cmd, mode,
		c->cmd == BPF_MAP_DELETE_ELEM || c->cmd == BPF_MAP_GET_NEXT_KEY ? 0 : a->flags);
	if (err)
		return err;
	if (m->def.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY)
		return perf_array_elem(c, m, a);
	buf = malloc(2 * ALIGN_UP((size_t)m->def.key_size, 16) + tool_map_value_size(m) + 16);
	if (!buf)
		return -ENOMEM;
	ret = take_key(m, c->cmd, a->key, buf);
	if (!ret)
		ret = run_elem(c->store, m, c->cmd, a, buf, buf + ALIGN_UP((size_t)m->def.key_size, 16));
	free(buf);
	return ret;
}

/*
 * Freezing excludes writable mappings of the map: those hold a read lock on OBJ_LOCK_MAPPED for as
 * long as they exist, and this takes the write lock.
 */
long loader_map_freeze(const struct loader_call *c, union bpf_attr *a)
{
	struct flock fl = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = OBJ_LOCK_MAPPED, .l_len = 1};
	int mode, fd, err = 0;
	struct map *m = loader_map_by_fd((int)a->map_fd, &mode, &err);

	if (!m)
		return err;
	if (mode == O_RDONLY || atomic_load(&m->meta->frozen))
		return -EPERM;
	fd = store_peek(c->store, OBJ_MAP, m->id);
	if (fd < 0)
		return fd;
	if (fcntl(fd, F_OFD_SETLK, &fl))
		err = -EBUSY;
	else
		atomic_store(&m->meta->frozen, 1);
	close(fd);
	return err;
}
