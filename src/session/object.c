/* SPDX-License-Identifier: MIT */
/* See object.h: the checks of program and link files. */
#include <asm/errno.h>
#include "session/object.h"

/* True when [off, off + count * elem) lies in a file of `size` bytes and is aligned for use. */
static bool range_ok(u64 off, u64 count, u64 elem, u64 size)
{
	return off <= size && off % 4 == 0 && count <= (size - off) / elem;
}

int object_check_head(const struct object_header *head, u32 kind, u64 size)
{
	if (head->magic != OBJECT_MAGIC || head->layout_version != SESSION_LAYOUT_VERSION)
		return -EINVAL;
	if (head->kind != kind || !head->id || head->file_size != size)
		return -EINVAL;
	return 0;
}

int object_check_prog(const struct prog_file *prog, u64 size)
{
	if (object_check_head(&prog->head, OBJ_PROG, size))
		return -EINVAL;
	if (!prog->insn_count || prog->insn_count > BPF_MAX_INSNS ||
	    prog->map_count > OBJECT_MAX_MAPS || prog->budget > OBJECT_MAX_BUDGET)
		return -EINVAL;
	if (prog->insns_off < sizeof(*prog) ||
	    !range_ok(prog->insns_off, prog->insn_count, sizeof(struct bpf_insn), size))
		return -EINVAL;
	if (prog->map_shape_count > prog->map_count ||
	    !range_ok(prog->map_shapes_off, prog->map_shape_count, sizeof(struct prog_map), size))
		return -EINVAL;
	if (!range_ok(prog->map_ids_off, prog->map_count, sizeof(u32), size))
		return -EINVAL;
	return 0;
}

#define NO_USER 65534 /* what an owner from outside a user namespace looks like there */

/* `size`: a multiple of 4. */
static u64 mix(u64 sum, const void *p, size_t size)
{
	u32 word;

	for (size_t i = 0; i < size; i += sizeof(word)) {
		__builtin_memcpy(&word, (const u8 *)p + i, sizeof(word));
		sum = (sum ^ word) * 0x9e3779b97f4a7c15ULL;
		sum ^= sum >> 29;
	}
	return sum;
}

u64 object_prog_sum(const struct prog_file *prog, const struct bpf_insn *insns, const u32 *map_ids,
		    const struct prog_map *shapes)
{
	const u32 head[] = {prog->type,    prog->insn_count, prog->map_shape_count, prog->verified,
			    prog->ctx_end, prog->budget,     prog->flags};
	u64 sum = mix(prog->head.id, head, sizeof(head));

	sum = mix(sum, insns, prog->insn_count * sizeof(*insns));
	sum = mix(sum, map_ids, prog->map_shape_count * sizeof(*map_ids));
	return mix(sum, shapes, prog->map_shape_count * sizeof(*shapes));
}

u32 object_prog_proofs(const struct prog_file *prog, u64 sum, u32 owner, u32 mode, u32 uid)
{
	const bool counts = sum == prog->sum && !(mode & 022) && (!owner || (owner == uid && uid != NO_USER));

	return counts ? prog->verified : 0;
}

bool object_map_as_verified(const struct prog_map *was, const struct map *m)
{
	return was->type == m->def.type && was->key_size == m->def.key_size &&
	       was->value_size == m->def.value_size && was->max_entries == m->def.max_entries &&
	       was->flags == m->def.flags && !m->sparse && m->holds != MAP_HOLDS_MAPS &&
	       (m->writable || m->def.flags & BPF_F_RDONLY_PROG);
}

int object_check_link(const struct link_file *link, u64 size)
{
	if (object_check_head(&link->head, OBJ_LINK, size))
		return -EINVAL;
	if (size % PAGE_SIZE || size < 2 * PAGE_SIZE)
		return -EINVAL;
	if (!link->probe_count || link->probe_count > OBJECT_MAX_PROBES || !link->prog_id)
		return -EINVAL;
	if (link->place > LINK_AT_SYSCALL || link->syscall_ctx > SYSCALL_CTX_RAW)
		return -EINVAL;
	if (link->probes_off < sizeof(*link) ||
	    !range_ok(link->probes_off, link->probe_count, sizeof(struct link_probe),
		      size - PAGE_SIZE))
		return -EINVAL;
	return 0;
}
