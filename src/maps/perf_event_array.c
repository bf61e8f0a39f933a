/* SPDX-License-Identifier: MIT */
/* See perf_event_array.h. Entries are set by the emulator, which knows descriptors. */
#include "maps/perf_event_array.h"
#include "maps/types.h"

#define FLAGS (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_PRESERVE_ELEMS)

static int layout(struct map *m)
{
	const struct map_def *def = &m->def;

	if (!def->max_entries || def->key_size != 4 || def->value_size != 4 ||
	    (def->flags & ~FLAGS))
		return -EINVAL;
	m->index_off = 0;
	m->elem_size = sizeof(struct perf_entry);
	m->file_size = ALIGN_UP((u64)def->max_entries * sizeof(struct perf_entry), PAGE_SIZE) +
		       MAP_META_SIZE;
	return 0;
}

static int init(struct map *m)
{
	return 0;
}

const struct map_ops perf_event_array_ops = {
	.name = "perf_event_array",
	.fd_values = true,
	.layout = layout,
	.init = init,
	.user_next_key = array_next_key,
};
