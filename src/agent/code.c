/* SPDX-License-Identifier: MIT */
/*
 * Room for code, and the list of bytes somebody else will write into it. Trampolines and programs share
 * areas within reach of what they serve; an area goes when the last code in it goes.
 */
#include <asm/errno.h>
#include <linux/mman.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"

#define AREA_SIZE   (64 * 1024UL) /* of the first ones */
#define AREA_GROWTH 4             /* areas of one size */
#define REACH       (0x7ff00000UL) /* of a rel32, less what areas and windows add */
#define STAGE_CHUNK (64 * 1024UL)
#define GAP_TRIES   64 /* places looked at in one gap */
#define PUN_TRIES   16 /* places tried for a punned jump's trampoline */
#define HEAP_ROOM   (16UL << 20)  /* left to the heap; malloc() goes elsewhere when it ends there */
#define STACK_ROOM  (256UL << 20) /* left to the main thread's stack, which cannot */
#define LOWEST      0x10000UL
#define HIGHEST     0x7ffffffff000UL

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

struct stage {
	struct stage *next;
	u64 size;
	u8 bytes[];
};
static struct stage *stages;

/* Notes that `len` bytes are to go to dst. The bytes are copied. */
static struct agent_write *note_write(u64 dst, const void *bytes, u32 len)
{
	struct stage *s = stages;
	struct agent_write *w;

	if (!s || agent.stage_used + len > s->size) {
		u64 size = len > STAGE_CHUNK / 2 ? len : STAGE_CHUNK - sizeof(*s);

		s = heap_alloc(sizeof(*s) + size);
		if (!s)
			return NULL;
		s->next = stages;
		s->size = size;
		stages = s;
		agent.stage_used = 0;
	}
	w = vec_push(&agent.writes, sizeof(*w));
	if (!w)
		return NULL;
	memcpy(s->bytes + agent.stage_used, bytes, len);
	*w = (struct agent_write){
		.dst = dst, .src = (u64)(s->bytes + agent.stage_used), .len = len};
	agent.stage_used += len;
	return w;
}

/* Fresh code, in a mapping of limpet's. */
int code_write(u64 dst, const void *bytes, u32 len)
{
	return note_write(dst, bytes, len) ? 0 : -ENOMEM;
}

/* Code of the target's, where `old` is expected. */
int code_patch(u64 dst, const u8 *old, const u8 *bytes, u32 len)
{
	struct agent_write *w = note_write(dst, bytes, len);

	if (!w)
		return -ENOMEM;
	w->patch = 1;
	memcpy(w->old, old, len);
	return 0;
}

/* For keepers: what is to be written. */
void code_list_writes(void)
{
	struct agent_header *h = &limpet_agent.header;

	h->writes = (u64)agent.writes.data;
	h->write_count = agent.writes.count;
	h->moves = (u64)agent.moves.data;
	h->move_count = agent.moves.count;
}

/* The list has been written (or given up). */
void code_written(void)
{
	while (stages) {
		struct stage *next = stages->next;

		heap_free(stages, sizeof(*stages) + stages->size);
		stages = next;
	}
	agent.stage_used = 0;
	agent.writes.count = 0;
	agent.moves.count = 0;
	code_list_writes();
}

static u64 map_code_at(u64 hint, size_t size)
{
	long p = sys_mmap((void *)hint, size, PROT_READ | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | (hint ? MAP_FIXED_NOREPLACE : 0), -1, 0);

	if (sys_is_err(p))
		return 0;
	if (hint && (u64)p != hint) { /* kernels before 4.17 take it as a hint */
		sys_munmap((void *)p, size);
		return 0;
	}
	return (u64)p;
}

static bool reaches(u64 a, u64 b)
{
	return (a > b ? a - b : b - a) < REACH;
}

/*
 * Room in a gap between known mappings, from its lower or upper end on. The list is as old as the
 * command: what the agent has mapped since may lie there, too.
 */
static u64 map_code_in(u64 start, u64 end, size_t size, bool from_below)
{
	u64 step = ALIGN_UP(size, 16 * PAGE_SIZE);

	if (end <= start || end - start < size + PAGE_SIZE)
		return 0;
	if (from_below && end - start >= size + 16 * PAGE_SIZE)
		start += 15 * PAGE_SIZE; /* what is below may grow */
	for (u32 i = 0; i < GAP_TRIES && i * step + size <= end - start; i++) {
		u64 p = map_code_at(from_below ? start + i * step : end - size - i * step, size);

		if (p)
			return p;
	}
	return 0;
}

/* Tries the gaps between the known mappings, nearest first in each direction. */
static u64 map_code_near(u64 near, size_t size)
{
	const struct agent_region *r = agent.regions;
	u32 n = agent.region_count, at = 0;
	u64 p;

	while (at < n && r[at].end <= near)
		at++;
	for (u32 i = at; i < n && reaches(r[i].end, near); i++) { /* upwards */
		p = map_code_in(r[i].end, i + 1 < n ? r[i + 1].start : HIGHEST, size, true);
		if (p)
			return p;
	}
	for (u32 i = at < n ? at + 1 : n; i-- > 0 && reaches(r[i].start, near);) { /* downwards */
		p = map_code_in(i ? r[i - 1].end : LOWEST, r[i].start, size, false);
		if (p)
			return p;
	}
	return 0;
}

/* Larger ones when there are many: each costs a search for a gap. */
static size_t area_size(size_t wanted)
{
	u32 n = 0;

	for (struct tramp_area *a = agent.areas; a; a = a->next)
		n += a->size >= AREA_SIZE;
	n = n / AREA_GROWTH < 5 ? n / AREA_GROWTH : 5;
	return wanted > AREA_SIZE << n ? ALIGN_UP(wanted, PAGE_SIZE) : AREA_SIZE << n;
}

static struct tramp_area *area_near(u64 near, size_t wanted)
{
	struct tramp_area *a = heap_alloc(sizeof(*a));

	if (!a)
		return NULL;
	a->size = area_size(wanted);
	a->start = near ? map_code_near(near, a->size) : map_code_at(0, a->size);
	if (!a->start && near) { /* perhaps in a smaller gap */
		a->size = ALIGN_UP(wanted, PAGE_SIZE);
		a->start = map_code_near(near, a->size);
	}
	if (!a->start) {
		heap_free(a, sizeof(*a));
		return NULL;
	}
	a->next = agent.areas;
	agent.areas = a;
	return a;
}

u64 code_room_of(u64 near, size_t size, struct tramp_area **ret)
{
	struct tramp_area *a = agent.areas;

	while (a && (a->size - a->used < size || (near && !reaches(a->start, near))))
		a = a->next;
	if (!a)
		a = area_near(near, size);
	*ret = a;
	return a ? a->start + a->used : 0;
}

u64 code_room(u64 near, struct tramp_area **ret)
{
	return code_room_of(near, ATTACH_TRAMP_MAX, ret);
}

/* The heap grows upwards from the program's break, the main thread's stack downwards. */
static bool may_grow_into(u64 addr)
{
	u64 brk = (u64)sys_call1(__NR_brk, 0);

	if (addr >= brk && addr - brk < HEAP_ROOM)
		return true;
	for (u32 i = 0; i < agent.region_count; i++)
		if (agent.regions[i].stack && addr < agent.regions[i].end && agent.regions[i].end - addr < STACK_ROOM)
			return true;
	return false;
}

/* Room in an area of its own. */
u64 code_room_in(u64 first, u64 last, u32 len, struct tramp_area **ret)
{
	u64 step = (last - first) / PUN_TRIES + 1;
	struct tramp_area *a = heap_alloc(sizeof(*a));

	for (u64 at = first, i = 0; a && i < PUN_TRIES && at <= last; at += step, i++) {
		u64 start = at & ~(PAGE_SIZE - 1), end = ALIGN_UP(at + len, PAGE_SIZE);

		if (at < LOWEST || at > HIGHEST - 2 * PAGE_SIZE || may_grow_into(at) || !map_code_at(start, end - start))
			continue;
		*a = (struct tramp_area){.next = agent.areas, .start = start, .size = end - start, .used = end - start};
		agent.areas = a;
		*ret = a;
		return at;
	}
	heap_free(a, sizeof(*a));
	return 0;
}

void code_room_unused(struct tramp_area *a)
{
	if (a && !a->live) {
		a->live = 1;
		code_room_free(a);
	}
}

void code_room_taken(struct tramp_area *a, u32 len)
{
	if (a->used < a->size) /* else it is one's own */
		a->used += ALIGN_UP(len, 64U);
	a->live++;
}

void code_room_free(struct tramp_area *a)
{
	struct tramp_area **p = &agent.areas;

	if (--a->live)
		return;
	while (*p && *p != a)
		p = &(*p)->next;
	if (*p)
		*p = a->next;
	sys_munmap((void *)a->start, a->size);
	heap_free(a, sizeof(*a));
}

static void list_area(u64 start, u64 end)
{
	struct agent_region *r = vec_push(&agent.code_areas, sizeof(*r));

	if (r)
		*r = (struct agent_region){.start = start, .end = end, .exec = 1};
}

/* For keepers: where limpet's code lies. */
void code_list_areas(void)
{
	struct agent_header *h = &limpet_agent.header;

	agent.code_areas.count = 0;
	list_area(h->text_start, h->text_end);
	for (struct tramp_area *a = agent.areas; a; a = a->next)
		list_area(a->start, a->start + a->size);
	stubs_list_area(list_area);
	h->areas = (u64)agent.code_areas.data;
	h->area_count = agent.code_areas.count;
}
