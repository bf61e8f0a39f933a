/* SPDX-License-Identifier: MIT */
/* A program in this process: its maps bound, checked again, compiled (or left to the interpreter). */
#include <asm/errno.h>
#include <linux/mman.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"
#include "bpf/check.h"
#include "session/object.h"

static bool helper_known(u32 id)
{
	const struct bpf_helper_desc *d = bpf_helper_desc(id);

	return d && !d->why_not && id < helper_table_size() && helper_table[id];
}

static bool calls(const struct bpf_insn *insns, u32 count, s32 helper)
{
	for (u32 i = 0; i < count; i++)
		if (insns[i].code == (BPF_JMP | BPF_CALL) && !insns[i].src_reg && insns[i].imm == helper)
			return true;
	return false;
}

static void unbind_maps(struct agent_prog *p)
{
	for (u32 i = 0; p->map_refs && i < p->map_count; i++)
		if (p->map_refs[i])
			p->map_refs[i]->refs--;
	heap_free(p->map_refs, p->map_count * sizeof(*p->map_refs) + 8);
	heap_free(p->vm_maps, p->map_count * sizeof(*p->vm_maps) + 8);
	heap_free(p->regions, (p->map_count + 1) * sizeof(*p->regions));
	p->map_refs = NULL;
	p->vm_maps = NULL;
	p->regions = NULL;
}

static int bind_maps(struct agent_prog *p)
{
	u32 n = p->map_count;

	p->map_refs = heap_alloc(n * sizeof(*p->map_refs) + 8);
	p->vm_maps = heap_alloc(n * sizeof(*p->vm_maps) + 8);
	p->regions = heap_alloc((n + 1) * sizeof(*p->regions));
	if (!p->map_refs || !p->vm_maps || !p->regions)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++) {
		struct agent_map *m = object_map(p->map_ids[i]);

		if (!m)
			return pages_awaited(p->map_ids[i]) ? -EAGAIN : -ENOENT;
		m->refs++;
		p->map_refs[i] = m;
		p->refs_maps |= map_holds_objects(&m->map);
		p->vm.outers |= m->map.holds == MAP_HOLDS_MAPS;
		helper_bind_map(&m->map, &p->vm_maps[i], &p->regions[i]);
	}
	p->vm.maps = p->vm_maps;
	p->vm.map_count = n;
	p->vm.regions = p->regions;
	p->vm.region_count = n;
	if (calls(p->insns, p->vm.insn_count, HELPER_SESSION_COOKIE)) {
		if (!sessions_ready(&p->regions[n]))
			return -ENOMEM;
		p->vm.region_count++;
	}
	return 0;
}

/* Bytes of the context of programs of that type in targets; 0: they run elsewhere. */
static u32 ctx_size(u32 type)
{
	switch (type) {
	case BPF_PROG_TYPE_KPROBE:
		return sizeof(struct attach_regs);
	case BPF_PROG_TYPE_TRACEPOINT:
		return SYSCALL_RECORD_SIZE;
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
		return SYSCALL_RAW_SIZE;
	default:
		return 0;
	}
}

/* What the verifier has shown, where its maps are here what they were to it. */
static void believe(struct agent_prog *p)
{
	bool same = p->ctx_end <= p->vm.ctx_size;

	for (u32 i = 0; i < p->shape_count; i++)
		same &= object_map_as_verified(&p->shapes[i], &p->map_refs[i]->map);
	p->vm.trusted = same && p->proofs & PROG_IS_PROVEN;
	p->vm.bounded = p->proofs & PROG_IS_SHORT || (same && p->proofs & PROG_IS_ENDING);
}

static int check(struct agent_prog *p)
{
	struct bpf_check_env env = {.map_count = p->map_count, .helper_known = helper_known, .probes = true};
	u32 *sizes = heap_alloc(p->map_count * sizeof(u32) + 8);
	int err;

	if (!sizes)
		return -ENOMEM;
	for (u32 i = 0; i < p->map_count; i++)
		sizes[i] = (u32)p->vm_maps[i].direct_size;
	env.map_value_size = sizes;
	err = bpf_check(p->insns, p->vm.insn_count, &env);
	heap_free(sizes, p->map_count * sizeof(u32) + 8);
	return err;
}

/* Room for the code: near the agent's own, so that calls of helpers reach; else anywhere. */
static u64 room(size_t size, struct tramp_area **ret)
{
	u64 at = code_room_of(limpet_agent.header.text_start, size, ret);

	return at ? at : code_room_of(0, size, ret);
}

/* Without a compiler for this CPU the program is interpreted. */
static int compile(struct agent_prog *p)
{
	size_t scratch_size = vm_jit_scratch(&p->vm), size;
	void *scratch = heap_alloc(scratch_size + 8);
	struct tramp_area *area = NULL;
	u8 *buf = NULL;
	u64 at = 0;
	long len;

	if (!scratch)
		return -ENOMEM;
	len = vm_jit(&p->vm, NULL, 0, 0, scratch);
	if (len > 0) {
		size = (size_t)len + 64; /* distances may differ where it will lie */
		at = room(size, &area);
		buf = heap_alloc(size);
		memset(scratch, 0, scratch_size);
		len = at && buf ? vm_jit(&p->vm, buf, size, at, scratch) : -ENOMEM;
		if (len > 0)
			len = code_write(at, buf, (u32)len) ? -ENOMEM : len;
		heap_free(buf, size);
	}
	heap_free(scratch, scratch_size + 8);
	if (len > 0) {
		code_room_taken(area, (u32)len);
		p->area = area;
		p->entry = (vm_entry *)at;
		return 0;
	}
	code_room_unused(area);
	return len == -EOPNOTSUPP ? 0 : len ? (int)len : -EINVAL;
}

/* Makes the program runnable, once; later calls give the same answer. */
int prog_prepare(struct agent_prog *p)
{
	if (p->ready || (p->error && p->error != -EAGAIN))
		return p->error;
	p->vm.insns = p->insns;
	p->overrides = calls(p->insns, p->vm.insn_count, BPF_FUNC_override_return);
	p->uses_stacks = mappings_used(p->insns, p->vm.insn_count);
	p->uses_memory = memory_used(p->insns, p->vm.insn_count);
	p->vm.ctx_size = ctx_size(p->type);
	if (!p->vm.ctx_size) /* a link, or an array of programs, that somebody has spoilt */
		return p->error = -EINVAL;
	p->vm.helpers = helper_table;
	p->vm.helper_count = helper_table_size();
	p->vm.helper_desc = bpf_helper_desc;
	p->vm.probe = helper_probe;
	p->vm.known = &agent.known;
	if (agent.env.process) {
		agent.identity = (struct vm_identity){&agent.env.process->ident, &agent.env.tid_off};
		p->vm.identity = &agent.identity;
	}
	unbind_maps(p); /* of a time when one was still waited for */
	p->error = bind_maps(p);
	if (!p->error) {
		believe(p);
		p->error = check(p);
	}
	if (!p->error)
		p->error = compile(p);
	p->ready = !p->error;
	p->target = (struct vm_target){p->id, p->entry ? p->entry : vm_interpret, &p->vm};
	return p->error;
}

void prog_free(struct agent_prog *p)
{
	unbind_maps(p);
	if (p->area)
		code_room_free(p->area);
	heap_free(p->shapes, p->shape_count * sizeof(*p->shapes) + 8);
	heap_free(p->map_ids, p->map_count * sizeof(u32) + 8);
	heap_free(p->insns, p->insns_size);
	heap_free(p, sizeof(*p));
}
