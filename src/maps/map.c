/* SPDX-License-Identifier: MIT */
/*
 * What all map types share: finding the type, laying out and opening files, and the rules of
 * bpf(2) that come before the type's own (frozen maps, missing operations).
 */
#include "maps/map.h"
#include <linux/mman.h>
#include "base/mem.h"
#include "base/sys.h"
#include "maps/types.h"
#include "shm/slot.h"

static const struct map_ops *const map_types[] = {
	[BPF_MAP_TYPE_HASH] = &hash_ops,
	[BPF_MAP_TYPE_ARRAY] = &array_ops,
	[BPF_MAP_TYPE_PROG_ARRAY] = &prog_array_ops,
	[BPF_MAP_TYPE_CGROUP_ARRAY] = &cgroup_array_ops,
	[BPF_MAP_TYPE_ARRAY_OF_MAPS] = &array_of_maps_ops,
	[BPF_MAP_TYPE_HASH_OF_MAPS] = &hash_of_maps_ops,
	[BPF_MAP_TYPE_PERF_EVENT_ARRAY] = &perf_event_array_ops,
	[BPF_MAP_TYPE_PERCPU_ARRAY] = &percpu_array_ops,
	[BPF_MAP_TYPE_PERCPU_HASH] = &percpu_hash_ops,
	[BPF_MAP_TYPE_LRU_HASH] = &lru_hash_ops,
	[BPF_MAP_TYPE_LRU_PERCPU_HASH] = &lru_percpu_hash_ops,
	[BPF_MAP_TYPE_LPM_TRIE] = &lpm_ops,
	[BPF_MAP_TYPE_BLOOM_FILTER] = &bloom_ops,
	[BPF_MAP_TYPE_QUEUE] = &queue_ops,
	[BPF_MAP_TYPE_STACK] = &stack_ops,
	[BPF_MAP_TYPE_STACK_TRACE] = &stack_trace_ops,
	[BPF_MAP_TYPE_RINGBUF] = &ringbuf_ops,
	[BPF_MAP_TYPE_USER_RINGBUF] = &user_ringbuf_ops,
};

const struct map_ops *map_ops_find(u32 type)
{
	return type < ARRAY_SIZE(map_types) ? map_types[type] : NULL;
}

static bool both(u32 flags, u32 pair)
{
	return (flags & pair) == pair;
}

static bool lock_fits(const struct map_def *d)
{
	u32 at = d->lock - 1;

	return !d->lock || ((d->type == BPF_MAP_TYPE_HASH || d->type == BPF_MAP_TYPE_ARRAY) && at % 4 == 0 &&
			    d->value_size >= 4 && at <= d->value_size - 4);
}

int map_layout(struct map *m, const struct map_def *def)
{
	struct map fresh = {.def = *def, .ops = map_ops_find(def->type)};
	int err;

	if (!fresh.ops || both(def->flags, BPF_F_RDONLY | BPF_F_WRONLY) ||
	    both(def->flags, BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EINVAL;
	if (!lock_fits(def))
		return -EINVAL;
	fresh.value_stride = ALIGN_UP(def->value_size, 8u);
	err = fresh.ops->layout(&fresh);
	if (err)
		return err;
	fresh.sparse = fresh.sparse && fresh.file_size > MAP_WHOLE_MAX;
	if (fresh.sparse)
		fresh.extents.shift = extents_shift(fresh.file_size);
	*m = fresh;
	return 0;
}

static void map_bind(struct map *m, void *base, bool writable)
{
	m->base = base;
	m->meta = (struct map_meta *)(m->base + m->file_size - MAP_META_SIZE);
	m->extents.base = base;
	m->extents.size = m->file_size;
	m->extents.hints = m->meta->extents;
	m->extents.writable = writable;
}

/* The maps of a process are of one session; the last one decides. */
static void use_pid_ns(u64 ns)
{
	if (ns == pool_pid_ns)
		return;
	pool_pid_ns = ns;
	if (pool_pid_word)
		atomic_store_explicit(pool_pid_word, 0, memory_order_relaxed); /* to be asked again */
}

int map_create(struct map *m, void *base, u32 id)
{
	int err;

	map_bind(m, base, true);
	m->id = id;
	m->writable = true;
	m->meta->layout_version = MAP_LAYOUT_VERSION;
	m->meta->id = id;
	m->meta->def = m->def;
	m->meta->data_size = m->data_size;
	m->meta->file_size = m->file_size;
	m->meta->pid_ns = pool_own_pid_ns();
	use_pid_ns(m->meta->pid_ns);
	if (m->sparse && !extents_reserve(&m->extents, m->file_size - MAP_META_SIZE, MAP_META_SIZE))
		return -ENOMEM;
	err = m->ops->init(m);
	if (err)
		return err;
	if (m->ops->bind)
		m->ops->bind(m);
	m->meta->magic = MAP_MAGIC;
	return 0;
}

int map_open(struct map *m, void *base, u64 size, bool writable)
{
	const struct map_meta *meta;
	struct map_def def;
	struct map found;
	int err;

	if (size < MAP_META_SIZE || size % PAGE_SIZE)
		return -EINVAL;
	meta = (const struct map_meta *)((u8 *)base + size - MAP_META_SIZE);
	if (meta->magic != MAP_MAGIC || meta->layout_version != MAP_LAYOUT_VERSION)
		return -EINVAL;
	memcpy(&def, &meta->def, sizeof(def));
	def.name[MAP_NAME_LEN - 1] = 0;
	err = map_layout(&found, &def);
	if (err)
		return err;
	if (found.file_size != size)
		return -EINVAL;
	map_bind(&found, base, writable);
	use_pid_ns(meta->pid_ns);
	if (found.ops->bind)
		found.ops->bind(&found);
	found.id = meta->id;
	found.writable = writable;
	*m = found;
	return 0;
}

int map_take_pages(struct map *m, int fd)
{
	long p;

	if (m->def.type != BPF_MAP_TYPE_ARRAY || m->sparse || !m->base)
		return -EINVAL;
	p = sys_mmap(m->base, m->data_size, m->writable ? PROT_READ | PROT_WRITE : PROT_READ,
		     MAP_SHARED | MAP_FIXED, fd, 0);
	return sys_is_err(p) ? (int)p : 0;
}

int map_alias(struct map *m, int fd)
{
	for (u32 i = 0; i < m->bank_count; i++) {
		u64 off = m->bank_off + i * 2 * m->bank_size;
		long p = sys_mmap(m->base + off + m->bank_size, m->bank_size, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, off);

		if (sys_is_err(p))
			return (int)p;
	}
	m->aliased = m->bank_count;
	m->staging.size = m->bank_size;
	return 0;
}

/* Everything before the banks, the first of every STAGING_BANKS banks, the metadata. */
int map_backed(const struct map *m, u32 n, u64 *ret_off, u64 *ret_size)
{
	u32 rings = m->bank_count / STAGING_BANKS;

	if (n > (rings ? rings + 1 : 0))
		return -ENOENT;
	*ret_off = 0;
	if (m->sparse) { /* the rest when it is needed */
		*ret_off = m->file_size - MAP_META_SIZE;
		*ret_size = MAP_META_SIZE;
		return 0;
	}
	*ret_size = rings ? m->bank_off : m->file_size;
	if (n && n <= rings) {
		*ret_off = m->bank_off + (n - 1) * STAGING_BANKS * 2 * m->bank_size;
		*ret_size = m->bank_size;
	} else if (n) {
		*ret_off = m->file_size - MAP_META_SIZE;
		*ret_size = MAP_META_SIZE;
	}
	return 0;
}

void map_owner_at(_Atomic u32 *word)
{
	pool_pid_word = word;
}

void map_threads_known(bool by_fs)
{
	hand_tp_known = by_fs;
}

static bool (*map_may)(enum map_call call);

static bool may(enum pool_call call)
{
	static const enum map_call as[] = {[POOL_CALL_KILL] = MAP_CALL_KILL, [POOL_CALL_GETPID] = MAP_CALL_GETPID,
					   [POOL_CALL_YIELD] = MAP_CALL_YIELD, [POOL_CALL_STAT] = MAP_CALL_STAT,
					   [POOL_CALL_FUTEX] = MAP_CALL_FUTEX,
					   [POOL_CALL_CLOCK] = MAP_CALL_CLOCK,
					   [POOL_CALL_RESERVE] = MAP_CALL_RESERVE};

	return map_may(as[call]);
}

void map_calls_by(bool (*allowed)(enum map_call call))
{
	map_may = allowed;
	pool_may = allowed ? may : NULL;
}

void map_owner_make(void)
{
	long p;

	map_threads_known(true); /* a hosted program */
	if (pool_pid_word)
		return;
	p = sys_mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sys_is_err(p))
		return;
	if (sys_call3(__NR_madvise, p, PAGE_SIZE, MADV_WIPEONFORK) < 0)
		sys_munmap((void *)p, PAGE_SIZE);
	else
		pool_pid_word = (_Atomic u32 *)p;
}

void map_region(const struct map *m, u64 *ret_start, u64 *ret_end)
{
	if (m->holds) { /* ids are not for programs */
		*ret_start = *ret_end = 0;
		return;
	}
	*ret_start = (u64)m->base + m->elems_off;
	*ret_end = *ret_start + (m->region_size ? m->region_size : (u64)m->elem_count * m->elem_size);
}

void *map_direct_value(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_ARRAY ? m->base + m->elems_off : NULL;
}

u64 map_user_value_size(const struct map *m)
{
	return m->cpus ? (u64)m->cpus * m->value_stride : m->def.value_size;
}

void map_slot_release(_Atomic u32 *word)
{
	slot_release(word);
}

static bool map_is_frozen(const struct map *m)
{
	return atomic_load_explicit(&m->meta->frozen, memory_order_acquire);
}

int map_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	if (m->def.flags & BPF_F_WRONLY)
		return -EPERM;
	if (flags & ~(u64)BPF_F_LOCK || (flags && !m->def.lock))
		return -EINVAL;
	return m->ops->user_lookup ? m->ops->user_lookup(m, key, ret_value, flags) : -MAP_ENOTSUPP;
}

int map_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	if ((m->def.flags & BPF_F_RDONLY) || map_is_frozen(m))
		return -EPERM;
	if (flags & BPF_F_LOCK && !m->def.lock)
		return -EINVAL;
	return m->ops->user_update ? m->ops->user_update(m, key, value, flags) : -MAP_ENOTSUPP;
}

int map_user_delete(struct map *m, const void *key)
{
	if ((m->def.flags & BPF_F_RDONLY) || map_is_frozen(m))
		return -EPERM;
	return m->ops->user_delete ? m->ops->user_delete(m, key) : -EINVAL;
}

int map_user_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags)
{
	if (flags & ~(u64)BPF_F_LOCK || (flags && !m->def.lock))
		return -EINVAL;
	if ((m->def.flags & (BPF_F_RDONLY | BPF_F_WRONLY)) || map_is_frozen(m))
		return -EPERM;
	if (!key && m->def.key_size)
		return -EFAULT;
	if (key && !m->def.key_size)
		return -EINVAL;
	return m->ops->user_lookup_and_delete ?
		       m->ops->user_lookup_and_delete(m, key, ret_value, flags) :
		       -MAP_ENOTSUPP;
}

int map_user_next_key(struct map *m, const void *key, void *ret_key)
{
	if (m->def.flags & BPF_F_WRONLY)
		return -EPERM;
	return m->ops->user_next_key ? m->ops->user_next_key(m, key, ret_key) : -EINVAL;
}
