/* SPDX-License-Identifier: MIT */
/*
 * Whose frames can be unwound by anybody. A return stub stands in the frame of the caller, and who unwinds the
 * stack by the tables of the loaded objects gets past it (unwinders.c). Code without such tables, made at run time
 * (JavaScript, Java, .NET) or put together by such an engine's own assembler, is walked by that engine itself, which
 * takes the return address for its own and ends the process when it is not. Its calls are left alone.
 *
 * An object that has no tables at all, or next to none (musl, -fno-asynchronous-unwind-tables), cannot say; nor can a
 * process of which no objects are known. There every caller will do.
 *
 * The objects are those of the dynamic linker's list. Written by the thread in the linker's hook and by SYNCs, for
 * which that may be stopped anywhere; read in any hit:
 *
 *     tables[generation % 2]   what holds; the other is written, then the generation goes up, by compare-and-swap:
 *                              who finds that it has moved meanwhile writes once more
 *
 * A reader copies what it needs and looks at the generation again: when it has moved, the copy is worth nothing. What
 * it then reads belongs to the object that called, and stays there as long as that runs. A writer that is stopped or
 * dies leaves what held.
 */
#include <linux/elf.h>
#include "agent/state.h"
#include "attach/function.h"
#include "base/mem.h"

#define OBJECTS        512
#define TRIES          4
#define HEADERS        64
#define DYNAMIC_MAX    512
#define CODE_A_TABLE   4096 /* bytes of code for each entry: with more, most functions have none */
#define PT_GNU_EH      0x6474e550
#define DT_GNU_HASH_   0x6ffffef5

struct object {
	_Atomic u64 code, code_end;
	_Atomic u64 low, high;    /* the mapping that the tables lie in */
	_Atomic u64 eh_frame_hdr; /* 0: no tables */
};

/* attach_view of one object */
struct object_view {
	struct attach_view v;
	u64 low, high;
};

static struct {
	struct table {
		_Atomic u32 count;
		struct object all[OBJECTS];
	} tables[2];
	_Atomic u32 generation;
} frames;

static u64 get(const _Atomic u64 *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static void set(_Atomic u64 *p, u64 v)
{
	atomic_store_explicit(p, v, memory_order_relaxed);
}

static struct table *spare(void)
{
	return &frames.tables[(atomic_load_explicit(&frames.generation, memory_order_relaxed) + 1) % 2];
}

u32 frames_begin(void)
{
	return atomic_load_explicit(&frames.generation, memory_order_relaxed);
}

bool frames_end(u32 begun, u32 count)
{
	atomic_store_explicit(&spare()->count, count, memory_order_relaxed);
	return atomic_compare_exchange_strong_explicit(&frames.generation, &begun, begun + 1, memory_order_release,
						       memory_order_relaxed);
}

/*
 * The page of the ELF header: linkers put what the dynamic linker reads first right behind the headers, and where that
 * is it has just read. 0: elsewhere.
 */
static u64 header_of(u64 bias, const Elf64_Dyn *d)
{
	u64 first = ~0ULL;

	for (u32 i = 0; i < DYNAMIC_MAX && d[i].d_tag != DT_NULL; i++) {
		u64 at = d[i].d_un.d_ptr;

		if (d[i].d_tag != DT_HASH && d[i].d_tag != DT_GNU_HASH_ && d[i].d_tag != DT_SYMTAB && d[i].d_tag != DT_STRTAB)
			continue;
		at = at < bias ? at + bias : at; /* glibc has made them addresses, musl has not */
		first = at < first ? at : first;
	}
	first &= ~(PAGE_SIZE - 1UL);
	return ~first && !memcmp((const void *)first, ELFMAG, SELFMAG) ? first : 0;
}

static u32 entries_of(u64 hdr)
{
	u32 n;

	memcpy(&n, (const void *)(hdr + 8), sizeof(n));
	return n;
}

/* The tables, where they are as attach_function_at() reads them. */
static void find_tables(struct object *o, const Elf64_Phdr *ph, u32 n, u64 bias)
{
	u64 hdr = 0, code = get(&o->code_end) - get(&o->code);

	set(&o->eh_frame_hdr, 0);
	for (u32 i = 0; i < n; i++)
		if (ph[i].p_type == PT_GNU_EH && ph[i].p_memsz >= 12)
			hdr = bias + ph[i].p_vaddr;
	for (u32 i = 0; hdr && i < n; i++) {
		u64 low = bias + ph[i].p_vaddr, high = low + ph[i].p_filesz;

		if (ph[i].p_type != PT_LOAD || !(ph[i].p_flags & PF_R) || hdr < low || hdr + 12 > high)
			continue;
		set(&o->low, low);
		set(&o->high, high);
		if (!memcmp((const void *)hdr, "\x01\x1b\x03\x3b", 4) && entries_of(hdr) * (u64)CODE_A_TABLE >= code)
			set(&o->eh_frame_hdr, hdr);
	}
}

void frames_add(u64 bias, u64 dynamic, u32 *count)
{
	u64 header = dynamic ? header_of(bias, (const Elf64_Dyn *)dynamic) : 0, code = ~0ULL, end = 0;
	const Elf64_Ehdr *eh = (const void *)header;
	const Elf64_Phdr *ph;
	struct object *o;

	if (!header || eh->e_phentsize != sizeof(*ph) || eh->e_phnum > HEADERS || eh->e_phoff > PAGE_SIZE ||
	    eh->e_phnum * sizeof(*ph) > PAGE_SIZE - eh->e_phoff || *count == OBJECTS)
		return;
	ph = (const void *)(header + eh->e_phoff);
	for (u32 i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_flags & PF_X) {
			u64 start = bias + ph[i].p_vaddr;

			code = start < code ? start : code;
			end = start + ph[i].p_memsz > end ? start + ph[i].p_memsz : end;
		}
	if (code >= end)
		return;
	o = &spare()->all[(*count)++];
	set(&o->code, code);
	set(&o->code_end, end);
	find_tables(o, ph, eh->e_phnum, bias);
}

static bool in_tables(const struct attach_view *v, u64 addr, u64 len)
{
	const struct object_view *o = (const void *)v;

	return addr >= o->low && addr <= o->high && len <= o->high - addr;
}

static bool described(const struct object_view *o, u64 pc)
{
	struct attach_function f;

	attach_function_at(&o->v, pc, &f);
	return f.end;
}

/* Whose code pc is. False: nobody's that is known; `ret_none`: nothing is known of anybody. */
static bool find(const struct table *t, u64 pc, struct object_view *ret, bool *ret_none)
{
	u32 n = atomic_load_explicit(&t->count, memory_order_relaxed);

	*ret_none = !n;
	for (u32 i = 0; i < n && i < OBJECTS; i++) {
		const struct object *o = &t->all[i];

		if (pc < get(&o->code) || pc >= get(&o->code_end))
			continue;
		*ret = (struct object_view){.v = {.readable = in_tables,
						  .text_start = get(&o->code),
						  .text_end = get(&o->code_end),
						  .eh_frame_hdr = get(&o->eh_frame_hdr)},
					    .low = get(&o->low),
					    .high = get(&o->high)};
		return true;
	}
	return false;
}

bool frames_unwindable(u64 ra)
{
	struct object_view o;
	bool found, none;

	for (u32 i = 0; i < TRIES; i++) {
		u32 now = atomic_load_explicit(&frames.generation, memory_order_acquire);

		found = find(&frames.tables[now % 2], ra - 1, &o, &none);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&frames.generation, memory_order_relaxed) != now)
			continue;
		if (!found)
			return none;
		/* signal handlers return to where a frame description only begins */
		return !o.v.eh_frame_hdr || described(&o, ra - 1) || described(&o, ra);
	}
	return false;
}

void frames_release(void)
{
	memset(&frames, 0, sizeof(frames));
}
