/* SPDX-License-Identifier: MIT */
/*
 * The VM's maps: limpet's own types, each in shared anonymous memory instead of a session's file.
 */
#include "lib/internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "maps/refs.h"

static pthread_once_t owner_once = PTHREAD_ONCE_INIT;

/*
 * What a slot's word does not find in `target`, because another program of this process has its place, lies in
 * the map's own slots.
 */
static const struct vm_target *find_target(const struct vm_known *known, void *handle, u64 word)
{
	struct limpet_map *m = CONTAINER_OF((struct map *)handle, struct limpet_map, map);

	for (u32 i = 0; i < m->map.def.max_entries; i++) {
		const struct vm_target *t = atomic_load_explicit(&m->slots[i], memory_order_acquire);

		if (t && t->id == (u32)word)
			return t;
	}
	return NULL;
}

static struct vm_known known = {.find_target = find_target};
static _Atomic u32 last_id;

void lib_know(struct limpet_vm *vm)
{
	const struct vm_target *none = NULL;

	vm->prog.known = &known;
	vm->target.id = atomic_fetch_add(&last_id, 1) + 1;
	vm->target.entry = vm->entry ? vm->entry : vm_interpret;
	vm->target.prog = &vm->prog;
	__atomic_compare_exchange_n(&known.target[vm->target.id % VM_KNOWN], &none, &vm->target, false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
}

void lib_forget(struct limpet_vm *vm)
{
	const struct vm_target *own = &vm->target;

	if (vm->target.id)
		__atomic_compare_exchange_n(&known.target[vm->target.id % VM_KNOWN], &own, NULL, false, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED);
}

LIMPET_API int limpet_map_set_program(struct limpet_map *m, uint32_t index, const struct limpet_vm *vm)
{
	u64 kind = vm ? (u64)vm->prog.ctx_writable << 32 | vm->prog.ctx_size | BIT(63) : 0, none = 0;
	u32 id = vm ? vm->target.id : 0;

	if (m->map.holds != MAP_HOLDS_PROGS || (vm && !vm->loaded))
		return -EINVAL;
	if (index >= m->map.def.max_entries)
		return -E2BIG;
	if (!vm) {
		map_user_delete(&m->map, &index);
		atomic_store(&m->slots[index], NULL);
		return 0;
	}
	if (!atomic_compare_exchange_strong(&map_ref_area(&m->map)->owner, &none, kind) && none != kind)
		return -EINVAL;
	atomic_store(&m->slots[index], &vm->target);
	return map_user_update(&m->map, &index, &id, BPF_ANY);
}

int lib_create_map(struct limpet_vm *vm, const struct map_def *def, const char *name)
{
	u32 index = vm->map_count;
	struct limpet_map *m;
	int err;

	if (index == ELF_MAX_MAPS)
		return lib_fail(vm, -E2BIG, "more than %d maps", ELF_MAX_MAPS);
	m = calloc(1, sizeof(*m));
	if (!m)
		return lib_fail(vm, -ENOMEM, "no memory for map %s", name);
	pthread_once(&owner_once, map_owner_make);
	err = map_layout(&m->map, def);
	if (!err) {
		m->base = mmap(NULL, m->map.file_size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		err = m->base == MAP_FAILED ? -ENOMEM : map_create(&m->map, m->base, index + 1);
		if (err && m->base != MAP_FAILED)
			munmap(m->base, m->map.file_size);
	}
	if (err) {
		free(m);
		return lib_fail(vm, err,
				"map %s: %s (type %u, key %u, value %u, entries %u, flags %#x)",
				name, strerror(-err), def->type, def->key_size, def->value_size,
				def->max_entries, def->flags);
	}
	if (m->map.holds == MAP_HOLDS_PROGS)
		m->slots = calloc(def->max_entries, sizeof(*m->slots));
	if (m->map.holds && !m->slots) {
		munmap(m->base, m->map.file_size);
		err = m->map.holds == MAP_HOLDS_PROGS ? -ENOMEM : -EOPNOTSUPP;
		free(m);
		return lib_fail(vm, err, "map %s: %s", name, strerror(-err));
	}
	map_order_make(&m->map);
	strncpy(m->name, name, sizeof(m->name) - 1);
	helper_bind_map(&m->map, &vm->vm_maps[index], &vm->regions[index]);
	vm->maps[index] = m;
	return (int)vm->map_count++;
}

void lib_free_maps(struct limpet_vm *vm)
{
	for (u32 i = 0; i < vm->map_count; i++) {
		map_order_free(&vm->maps[i]->map);
		munmap(vm->maps[i]->base, vm->maps[i]->map.file_size);
		free((void *)vm->maps[i]->slots);
		free(vm->maps[i]);
	}
}

LIMPET_API int limpet_vm_add_map(struct limpet_vm *vm, const struct limpet_map_definition *d)
{
	struct map_def def = {0};
	const char *name = d->name ? d->name : "";

	if (vm->loaded)
		return lib_fail(vm, -EBUSY, "maps cannot be added after the load");
	if (strlen(name) >= sizeof(vm->maps[0]->name))
		return lib_fail(vm, -EINVAL, "the map's name is too long");
	def.type = d->type;
	def.key_size = d->key_size;
	def.value_size = d->value_size;
	def.max_entries = d->max_entries;
	def.flags = d->flags;
	strncpy(def.name, name, sizeof(def.name) - 1);
	return lib_create_map(vm, &def, name);
}

LIMPET_API struct limpet_map *limpet_map_find(const struct limpet_vm *vm, const char *name)
{
	for (u32 i = 0; i < vm->map_count; i++)
		if (!strcmp(vm->maps[i]->name, name))
			return vm->maps[i];
	return NULL;
}

LIMPET_API void limpet_map_describe(const struct limpet_map *m, struct limpet_map_definition *ret)
{
	*ret = (struct limpet_map_definition){.name = m->name,
					      .type = m->map.def.type,
					      .key_size = m->map.def.key_size,
					      .value_size = m->map.def.value_size,
					      .max_entries = m->map.def.max_entries,
					      .flags = m->map.def.flags};
}

LIMPET_API int limpet_map_lookup(struct limpet_map *m, const void *key, void *ret_value)
{
	return map_user_lookup(&m->map, key, ret_value, 0);
}

LIMPET_API int limpet_map_update(struct limpet_map *m, const void *key, const void *value,
				 uint64_t flags)
{
	return m->map.holds ? -EINVAL : map_user_update(&m->map, key, value, flags);
}

LIMPET_API int limpet_map_delete(struct limpet_map *m, const void *key)
{
	return m->map.holds ? -EINVAL : map_user_delete(&m->map, key);
}

LIMPET_API int limpet_map_lookup_and_delete(struct limpet_map *m, const void *key, void *ret_value)
{
	return map_user_lookup_and_delete(&m->map, key, ret_value, 0);
}

LIMPET_API int limpet_map_next_key(struct limpet_map *m, const void *key, void *ret_key)
{
	return map_user_next_key(&m->map, key, ret_key);
}

LIMPET_API void *limpet_map_memory(struct limpet_map *m)
{
	return map_direct_value(&m->map);
}
