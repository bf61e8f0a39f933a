/* SPDX-License-Identifier: MIT */
/* What engines may know of a map that this process has open. */
#include "helpers/helpers.h"
#include "maps/refs.h"

void helper_bind_map(struct map *m, struct vm_map *ret, struct vm_region *ret_region)
{
	void *direct = map_direct_value(m);

	*ret = (struct vm_map){.handle = m,
			       .key_size = m->def.key_size,
			       .value_size = m->def.value_size,
			       .writable = m->writable && !(m->def.flags & BPF_F_RDONLY_PROG),
			       .max_entries = m->def.max_entries,
			       .value_stride = m->value_stride,
			       .array = m->def.type == BPF_MAP_TYPE_ARRAY && !m->sparse};
	if (direct) {
		ret->direct_value = ret->elems = (u64)direct;
		ret->direct_size = m->def.value_size;
	}
	if (m->def.type == BPF_MAP_TYPE_PERCPU_ARRAY && !m->sparse) {
		ret->elems = (u64)m->base + m->elems_off;
		ret->plane = m->extra[0];
	}
	ret->outer = m->holds == MAP_HOLDS_MAPS;
	if (m->holds == MAP_HOLDS_PROGS)
		ret->progs = map_ref_words(m);
	map_region(m, &ret_region->start, &ret_region->end);
	ret_region->writable = ret->writable;
}
