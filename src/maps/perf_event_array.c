/* SPDX-License-Identifier: MIT */
/* See perf_event_array.h. Entries are set by the emulator, which knows descriptors. */
#include "maps/perf_event_array.h"
#include "maps/types.h"

#define FLAGS (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_PRESERVE_ELEMS)
#define BANK_SIZE                                                                                  \
	(1u                                                                                        \
	 << 20) /* what a burst may need while the pump is on its way: several rings of the usual size */

struct output_area {
	struct staging_ctl ctl;
	_Alignas(64) struct staging_wake wake;
};
_Static_assert(sizeof(struct output_area) <= sizeof(((struct map_meta *)0)->type_area),
	       "output_area must fit");

static int layout(struct map *m)
{
	const struct map_def *def = &m->def;

	if (!def->max_entries || def->key_size != 4 || def->value_size != 4 ||
	    (def->flags & ~FLAGS))
		return -EINVAL;
	m->index_off = 0;
	m->bank_off = ALIGN_UP((u64)def->max_entries * sizeof(struct perf_entry), PAGE_SIZE);
	m->bank_size = BANK_SIZE;
	m->bank_count = STAGING_BANKS;
	m->file_size = m->bank_off + STAGING_BANKS * 2 * (u64)BANK_SIZE + MAP_META_SIZE;
	return 0;
}

static int init(struct map *m)
{
	staging_init(&((struct output_area *)m->meta->type_area)->ctl);
	return 0;
}

static void bind(struct map *m)
{
	struct output_area *a = (struct output_area *)m->meta->type_area;

	m->staging =
		(struct staging){.ctl = &a->ctl, .wake = &a->wake, .banks = m->base + m->bank_off};
}

u8 *perf_array_stage(struct map *m, struct perf_entry *entry, const struct perf_staged *head,
		     const struct perf_note *note, const void *data, u32 size)
{
	const struct staging *s = &m->staging;
	const u32 before = (u32)(sizeof(*head) + (note ? sizeof(*note) : 0));
	enum staging_why why = STAGING_FULL;
	u8 *to = NULL;

	if (likely(size <= PERF_DATA_MAX))
		to = staging_claim(s, before + size,
				   atomic_load_explicit(&s->ctl->clean, memory_order_acquire),
				   &why);
	if (unlikely(!to)) {
		map_count(m, why == STAGING_FULL ? MAP_STAT_FULL : MAP_STAT_BUSY);
		atomic_fetch_add_explicit(&entry->lost, 1, memory_order_relaxed);
		return NULL;
	}
	memcpy(to, head, sizeof(*head));
	if (note)
		memcpy(to + sizeof(*head), note, sizeof(*note));
	map_copy(to + before, data, size);
	return to;
}

void perf_array_finish(struct map *m, u8 *staged, bool refused)
{
	if (unlikely(refused))
		map_count(m, MAP_STAT_FULL);
	staging_finish(&m->staging, staged, refused ? STAGING_DISCARD | PERF_REFUSED : 0);
}

const struct map_ops perf_event_array_ops = {
	.name = "perf_event_array",
	.fd_values = true,
	.layout = layout,
	.init = init,
	.bind = bind,
	.user_next_key = array_next_key,
};
