/* SPDX-License-Identifier: MIT */
/* bpf(2) on maps. */
#include "loader/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int read_def(struct map_def *d, const union bpf_attr *a)
{
	int err;

	/* access-restricted descriptors, NUMA nodes and inner maps are not there yet */
	if (a->map_flags & (BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_NUMA_NODE) || a->inner_map_fd ||
	    a->map_ifindex || a->btf_vmlinux_value_type_id)
		return -EINVAL;
	*d = (struct map_def){
		.type = a->map_type,
		.key_size = a->key_size,
		.value_size = a->value_size,
		.max_entries = a->max_entries,
		.flags = a->map_flags,
		.map_extra = a->map_extra,
		.btf_key_type_id = a->btf_key_type_id,
		.btf_value_type_id = a->btf_value_type_id,
	};
	err = loader_copy_name(d->name, a->map_name);
	if (!err && (a->btf_key_type_id || a->btf_value_type_id))
		err = loader_fd_object((int)a->btf_fd, OBJ_BTF, &d->btf_id);
	return err;
}

long loader_map_create(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	struct map_def def;
	struct map m;
	u64 size;
	void *p;
	u32 id;
	int fd, err;

	err = read_def(&def, a);
	if (!err)
		err = map_layout(&m, &def);
	if (err)
		return err;
	fd = store_new(s, OBJ_MAP, m.file_size, &id);
	if (fd < 0)
		return fd;
	/* The mapping must go before the lock comes: it would keep the lock for ever. */
	p = store_map_fd(fd, true, &size, &err);
	if (p) {
		err = map_create(&m, p, id);
		munmap(p, size);
	}
	if (err) {
		close(fd);
		return err;
	}
	return loader_fd_add(store_publish(s, OBJ_MAP, id, fd), OBJ_MAP);
}

long loader_map_elem_lookup(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	int err = 0;
	struct map *m = loader_map_by_fd((int)a->map_fd, &err);

	return m ? map_user_lookup(m, (void *)a->key, (void *)a->value, a->flags) : err;
}

long loader_map_elem_update(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	int err = 0;
	struct map *m = loader_map_by_fd((int)a->map_fd, &err);

	return m ? map_user_update(m, (void *)a->key, (void *)a->value, a->flags) : err;
}

long loader_map_elem_delete(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	int err = 0;
	struct map *m = loader_map_by_fd((int)a->map_fd, &err);

	return m ? map_user_delete(m, (void *)a->key) : err;
}

long loader_map_next_key(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	int err = 0;
	struct map *m = loader_map_by_fd((int)a->map_fd, &err);

	return m ? map_user_next_key(m, (void *)a->key, (void *)a->next_key) : err;
}

long loader_map_lookup_delete(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	int err = 0;
	struct map *m = loader_map_by_fd((int)a->map_fd, &err);

	return m ? map_user_lookup_and_delete(m, (void *)a->key, (void *)a->value, a->flags) : err;
}

long loader_map_freeze(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	u32 thawed = 0;
	int err = 0;
	struct map *m = loader_map_by_fd((int)a->map_fd, &err);

	if (!m)
		return err;
	return atomic_compare_exchange_strong(&m->meta->frozen, &thawed, 1) ? 0 : -EBUSY;
}
