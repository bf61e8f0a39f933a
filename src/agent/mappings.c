/* SPDX-License-Identifier: MIT */
/*
 * What call stacks with build ids need (helpers/stack.c): the executable mappings and their files' build
 * ids, written down at each SYNC at which a program that unwinds stacks is there and the mappings have
 * changed. So nothing is opened or looked up in a hit; what was mapped since, or over it, is not known.
 *
 * The ids come from the files' mapped beginnings, read by the kernel, so that a file cut short meanwhile
 * does no harm. Hits may be looking at the table before: it waits in `old` until no thread is in
 * limpet's code.
 */
#include <linux/elf.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"

#define NT_GNU_BUILD_ID_ 3
#define HEADERS_MAX      4096 /* of a file: what is looked at */
#define NOTES_MAX        4096

struct old_table {
	struct old_table *next;
	struct helper_mappings *table;
};

static struct helper_mappings *current;
static struct old_table *old;
static u64 seen; /* fingerprint of the mappings that `current` is of */

bool mappings_used(const struct bpf_insn *insns, u32 count)
{
	for (u32 i = 0; i < count; i++)
		if (insns[i].code == (BPF_JMP | BPF_CALL) && !insns[i].src_reg &&
		    (insns[i].imm == BPF_FUNC_get_stack || insns[i].imm == BPF_FUNC_get_task_stack || insns[i].imm == BPF_FUNC_get_stackid))
			return true;
	return false;
}

static bool wanted(void)
{
	for (struct agent_prog *p = agent.progs; p; p = p->next)
		if (p->reached && p->uses_stacks)
			return true;
	return false;
}

static u64 fingerprint(void)
{
	u64 sum = 1;

	for (u32 i = 0; i < agent.region_count; i++) {
		const struct agent_region *r = &agent.regions[i];

		if (r->exec && r->ino)
			sum = ((sum ^ r->start) * 0x100000001b3ULL ^ r->end ^ r->ino << 20) *
			      0x100000001b3ULL;
	}
	return sum;
}

/* At most `size` bytes from addr: how many there were. */
static u64 fetch(u64 addr, void *ret, u64 size)
{
	struct {
		u64 base, len;
	} local = {(u64)ret, size}, remote = {addr, size};
	long n;

	if (!helper_may(&agent.env, HELPER_CALL_READ))
		return 0;
	n = sys_call6(__NR_process_vm_readv, sys_getpid(), (long)&local, 1, (long)&remote, 1, 0);
	return n > 0 ? (u64)n : 0;
}

/* The mapping of the file's beginning that belongs to region `i`; NULL: there is none. */
static const struct agent_region *beginning(u32 i)
{
	const struct agent_region *r = &agent.regions[i];

	for (u32 k = i + 1; k-- > 0;) {
		const struct agent_region *b = &agent.regions[k];

		if (b->ino == r->ino && b->dev_major == r->dev_major &&
		    b->dev_minor == r->dev_minor && !b->file_off)
			return b->read ? b : NULL;
	}
	return NULL;
}

static bool id_in_notes(const u8 *notes, u64 len, u8 ret_id[20])
{
	for (u64 at = 0; at + sizeof(Elf64_Nhdr) <= len;) {
		Elf64_Nhdr n;
		u64 name = at + sizeof(n), desc;

		memcpy(&n, notes + at, sizeof(n));
		desc = name + ALIGN_UP((u64)n.n_namesz, 4);
		at = desc + ALIGN_UP((u64)n.n_descsz, 4);
		if (at > len)
			return false;
		if (n.n_type != NT_GNU_BUILD_ID_ || n.n_namesz != 4 ||
		    memcmp(notes + name, "GNU", 4) || !n.n_descsz || n.n_descsz > 20)
			continue;
		memcpy(ret_id, notes + desc, n.n_descsz);
		return true;
	}
	return false;
}

static void find_build_id(const struct agent_region *file, u8 ret_id[20])
{
	static u8 head[HEADERS_MAX], notes[NOTES_MAX];
	u64 room = file->end - file->start,
	    len = fetch(file->start, head, room < sizeof(head) ? room : sizeof(head));
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	if (len < sizeof(eh))
		return;
	memcpy(&eh, head, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG "\2", 5) || eh.e_phentsize != sizeof(ph) || eh.e_phoff > len)
		return;
	for (u64 i = 0, at = eh.e_phoff; i < eh.e_phnum && at + sizeof(ph) <= len;
	     i++, at += sizeof(ph)) {
		u64 size;

		memcpy(&ph, head + at, sizeof(ph));
		size = ph.p_filesz < sizeof(notes) ? ph.p_filesz : sizeof(notes);
		if (ph.p_type != PT_NOTE || ph.p_offset > room || size > room - ph.p_offset ||
		    fetch(file->start + ph.p_offset, notes, size) != size)
			continue;
		if (id_in_notes(notes, size, ret_id))
			return;
	}
}

static struct helper_mappings *make(void)
{
	struct helper_mappings *t;
	u32 n = 0;

	for (u32 i = 0; i < agent.region_count; i++)
		n += agent.regions[i].exec && agent.regions[i].ino;
	t = heap_alloc(sizeof(*t) + n * sizeof(t->at[0]));
	if (!t)
		return NULL;
	t->count = n;
	n = 0;
	for (u32 i = 0; i < agent.region_count; i++) {
		const struct agent_region *r = &agent.regions[i], *file;
		struct helper_mapping *m = &t->at[n];

		if (!r->exec || !r->ino)
			continue;
		*m = (struct helper_mapping){
			.start = r->start, .end = r->end, .file_off = r->file_off};
		file = beginning(i);
		if (file)
			find_build_id(file, m->build_id);
		n++;
	}
	return t;
}

static void free_table(struct helper_mappings *t)
{
	if (t)
		heap_free(t, sizeof(*t) + t->count * sizeof(t->at[0]));
}

static bool set_aside(struct helper_mappings *t)
{
	struct old_table *o = t ? heap_alloc(sizeof(*o)) : NULL;

	if (t && !o)
		return false;
	if (t) {
		o->table = t;
		o->next = old;
		old = o;
	}
	return true;
}

void mappings_sync(bool none)
{
	u64 now = !none && wanted() ? fingerprint() : 0;
	struct helper_mappings *t;

	if (now == seen || !set_aside(current))
		return;
	t = now ? make() : NULL;
	atomic_store_explicit(&agent.env.mappings, t, memory_order_release);
	current = t;
	seen = now;
}

bool mappings_retire(bool idle)
{
	while (idle && old) {
		struct old_table *o = old;

		old = o->next;
		free_table(o->table);
		heap_free(o, sizeof(*o));
	}
	return old;
}

void mappings_release(void)
{
	atomic_store_explicit(&agent.env.mappings, NULL, memory_order_relaxed);
	current = NULL; /* the heap goes as a whole */
	old = NULL;
	seen = 0;
}
