/* SPDX-License-Identifier: MIT */
/*
 * What is known about the code around a wanted address in this process: attach/function.h fed with
 * the mappings of the current SYNC, and the original bytes of all patches laid over what is there.
 * Wants come sorted by address, so what was found out about a function serves all of its probes.
 */
#include <linux/mman.h>
#include "agent/action.h"
#include "attach/decode.h"
#include "base/mem.h"
#include "base/sys.h"

struct rseq_range {
	u64 start, end;
};

/* One that a SYNC has asked about; several passes over a libc come to the same ones. */
struct piece {
	struct piece *next;
	u64 text_start; /* of the mapping that it was looked for in */
	struct attach_branches around;
};
#define PIECES_MAX 64 /* at a time: 1 MiB */

static struct {
	struct attach_view view;
	const struct agent_region *region; /* that view is of; NULL: none */
	struct attach_function fn;         /* that targets are of; end 0: none */
	struct vec targets;                /* u64[], sorted: in [low, high) */
	u64 low, high;
	struct vec rseq;               /* struct rseq_range[] */
	struct piece *pieces;          /* the one that was asked for last first; mapped */
	u32 piece_count;
	bool ours;             /* the image is limpet's, of tools: its own system calls are not observed */
	bool go;               /* the image is Go's */
	struct attach_go table; /* then */
	bool shadow_stack;     /* of this process */
	u64 insn;              /* an instruction of fn begins here */
	enum attach_error err; /* of fn */
	struct attach_refusal why;
} place;

void place_forget(void)
{
	place.region = NULL;
	place.fn.end = 0;
	place.targets.count = place.rseq.count = 0;
}

void place_end(void)
{
	for (struct piece *p = place.pieces, *next; p; p = next) {
		next = p->next;
		sys_munmap(p, sizeof(*p));
	}
	place.pieces = NULL;
	place.piece_count = 0;
}

void place_release(void)
{
	vec_free(&place.targets, sizeof(u64));
	vec_free(&place.rseq, sizeof(struct rseq_range));
	place_forget();
}

/* Index of the first region that ends behind addr. */
static u32 region_index(u64 addr)
{
	u32 lo = 0, hi = agent.region_count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (agent.regions[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool same_file(const struct agent_region *a, const struct agent_region *b)
{
	return a->ino == b->ino && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

static bool readable(const struct attach_view *v, u64 addr, u64 len)
{
	u32 i = region_index(addr);

	if (addr + len < addr)
		return false;
	for (u64 at = addr; i < agent.region_count; i++) {
		const struct agent_region *r = &agent.regions[i];

		if (r->start > at || !r->read || !same_file(r, place.region))
			return false;
		if (addr + len <= r->end)
			return true;
		at = r->end;
	}
	return false;
}

static size_t text(const struct attach_view *v, u64 addr, u8 *ret, size_t len)
{
	if (addr < v->text_start || addr >= v->text_end)
		return 0;
	if (len > v->text_end - addr)
		len = v->text_end - addr;
	memcpy(ret, (const void *)addr, len);
	sites_overlay(ret, addr, len);
	patches_overlay(ret, addr, len);
	return len;
}

/* The mapping of the file's beginning that belongs to this one: the nearest below. */
static u64 image_header(u32 i)
{
	const struct agent_region *r = &agent.regions[i];

	for (i++; i-- > 0;)
		if (same_file(&agent.regions[i], r) && !agent.regions[i].file_off)
			return agent.regions[i].start;
	return 0;
}

/* In the image that the code in region i is of. */
static void find_go_table(u32 i)
{
	const struct agent_region *code = &agent.regions[i], *r;
	u64 header = image_header(i);

	place.table.count = 0;
	for (r = agent.regions; r < agent.regions + agent.region_count; r++)
		if (same_file(r, code) && r->read && !r->exec && r->start >= header && !place.table.count)
			attach_go_find(&place.view, r->start, r->end, &place.table);
}

static bool enter_region(u64 addr)
{
	u32 i = region_index(addr);
	const struct agent_region *r = &agent.regions[i];

	if (i == agent.region_count || addr < r->start || !r->exec)
		return false;
	if (r == place.region)
		return true;
	place_forget();
	place.region = r;
	place.shadow_stack = actions_shadow_stack();
	place.view = (struct attach_view){
		.text = text, .readable = readable, .text_start = r->start, .text_end = r->end};
	place.view.eh_frame_hdr = attach_find_unwind(&place.view, image_header(i));
	place.ours = attach_has_note(&place.view, image_header(i), SESSION_NOTE, sizeof(SESSION_NOTE));
	place.go = attach_is_go(&place.view, image_header(i));
	if (place.go)
		find_go_table(i);
	return true;
}

static bool add(struct attach_sink *s, u64 addr, enum attach_place kind)
{
	struct rseq_range *r;
	u64 *t;

	if (kind == PLACE_TARGET && (addr < place.low || addr >= place.high)) {
		return true; /* no window is there */
	} else if (kind == PLACE_TARGET) {
		t = vec_push(&place.targets, sizeof(*t));
		if (t)
			*t = addr;
		return t;
	}
	if (kind == PLACE_RSEQ_END) {
		((struct rseq_range *)place.rseq.data)[place.rseq.count - 1].end = addr;
		return true;
	}
	r = vec_push(&place.rseq, sizeof(*r));
	if (r)
		r->start = addr;
	return r;
}

static void sort(u64 *a, u32 n)
{
	for (u32 gap = n / 2; gap; gap /= 2)
		for (u32 i = gap; i < n; i++) {
			u64 t = a[i];
			u32 j = i;

			for (; j >= gap && t < a[j - gap]; j -= gap)
				a[j] = a[j - gap];
			a[j] = t;
		}
}

static enum attach_error refuse(struct attach_refusal *why, enum attach_error err, u64 where)
{
	*why = (struct attach_refusal){.error = err, .where = where};
	return err;
}

/* Collects what is known about the code around addr, unless it is what was collected last. */
static void enter_function(u64 addr)
{
	struct attach_sink sink = {.add = add};

	if (place.fn.end && addr >= place.fn.start && addr < place.fn.end)
		return;
	place.targets.count = place.rseq.count = 0;
	place.err = ATTACH_OK;
	if (place.go)
		place.err = attach_go_function(&place.view, &place.table, addr, &place.fn);
	else
		attach_function_at(&place.view, addr, &place.fn);
	place.insn = place.fn.start;
	place.low = place.fn.end ? place.fn.start : addr;
	place.high = (place.fn.end ? place.fn.end : addr) + ATTACH_WINDOW_MAX;
	if (place.err) {
		refuse(&place.why, place.err, addr);
	} else if (place.fn.end) {
		place.err = attach_collect(&place.view, &place.fn, &sink, &place.why);
	} else {
		place.err = attach_collect_near(&place.view, addr, &sink);
		if (place.err)
			refuse(&place.why, place.err, addr);
	}
	sort(place.targets.data, place.targets.count);
}

/* In a function of known extent an address must be where an instruction begins. */
static enum attach_error check_insn(u64 addr, struct attach_refusal *ret_why)
{
	if (!place.fn.end)
		return ATTACH_OK;
	if (place.insn > addr)
		place.insn = place.fn.start;
	while (place.insn < addr) {
		u8 code[ATTACH_INSN_MAX];
		struct x86_insn in;

		if (x86_decode(code, text(&place.view, place.insn, code, sizeof(code)), &in) < 0)
			return refuse(ret_why, ATTACH_E_DECODE, place.insn);
		place.insn += in.len;
	}
	return place.insn == addr ? ATTACH_OK : refuse(ret_why, ATTACH_E_NOT_INSN, addr);
}

enum attach_error place_enter(u64 addr, u8 *bytes, struct attach_text *ret,
			      struct attach_refusal *ret_why)
{
	u64 limit;

	if (!enter_region(addr))
		return refuse(ret_why, ATTACH_E_NOT_CODE, addr);
	enter_function(addr);
	if (place.err) {
		*ret_why = place.why;
		return place.err;
	}
	limit = place.fn.next - addr;
	ret->bytes = bytes;
	ret->seen = text(&place.view, addr, bytes, ATTACH_TEXT_WANTED);
	ret->len = limit < ret->seen ? limit : ret->seen;
	ret->first_only = ret->trap = false;
	ret->hop = 0;
	ret->shadow_stack = place.shadow_stack;
	ret->own = place.fn.end ? place.fn.end - addr : ATTACH_OWN_UNKNOWN;
	return check_insn(addr, ret_why);
}

static bool is_target(u64 addr)
{
	const u64 *t = place.targets.data;
	u32 lo = 0, hi = place.targets.count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (t[mid] < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < place.targets.count && t[lo] == addr;
}

/* The piece that has addr; NULL: no memory. */
static struct piece *piece_at(u64 addr)
{
	u64 start = place.view.text_start;
	struct piece **from = &place.pieces, *p;

	while (*from && ((*from)->text_start != start || addr - (*from)->around.base >= ATTACH_PIECE))
		from = &(*from)->next;
	p = *from;
	if (p) {
		*from = p->next;
	} else {
		if (place.piece_count == PIECES_MAX)
			place_end();
		p = map_anon(sizeof(*p), PROT_READ | PROT_WRITE);
		if (!p)
			return NULL;
		p->text_start = start;
		attach_find_branches(&place.view, addr, &p->around);
		place.piece_count++;
	}
	p->next = place.pieces;
	place.pieces = p;
	return p;
}

/* The first address in (addr, addr + window) that a branch from further away leads to; 0: none. */
static u64 branch_into(u64 addr, u32 window)
{
	struct piece *p = piece_at(addr);

	/* without memory nothing is sure */
	return p ? attach_branch_into(&place.view, &p->around, addr, window) : addr + 1;
}

enum attach_error place_window(u64 addr, u32 window, struct attach_refusal *ret_why)
{
	const struct rseq_range *r = place.rseq.data;
	const u64 *t = place.targets.data;
	u32 lo = 0, hi = place.targets.count, off;
	u8 code[ATTACH_WINDOW_MAX];
	u64 other;

	if (place.go && attach_go_faults(code, (u32)text(&place.view, addr, code, window), &off))
		return refuse(ret_why, ATTACH_E_GO_FAULT, addr + off);
	for (u32 i = 0; i < place.rseq.count; i++)
		if (addr < r[i].end && r[i].start < addr + window)
			return refuse(ret_why, ATTACH_E_RSEQ, r[i].start);
	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (t[mid] <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < place.targets.count && t[lo] < addr + window)
		return refuse(ret_why, ATTACH_E_BRANCH_IN, t[lo]);
	other = branch_into(addr, window);
	return other ? refuse(ret_why, ATTACH_E_BRANCH_IN, other) : ATTACH_OK;
}

/* Of an address that place_enter() took: is it where its function begins, and a caller's address on top? */
enum attach_error place_is_entry(u64 addr, struct attach_refusal *ret_why)
{
	if (place.fn.end && addr != place.fn.start)
		return refuse(ret_why, ATTACH_E_NOT_ENTRY, place.fn.start);
	if (place.fn.end && !place.fn.called)
		return refuse(ret_why, ATTACH_E_NOT_CALLED, addr);
	return ATTACH_OK;
}

bool place_small_stack(void)
{
	return place.go;
}

/* Decodes from the function's first byte on; most pairs of bytes that look so are parts of others. */
s32 place_syscall(u64 addr)
{
	struct attach_function fn;
	s32 nr = -1;
	u64 at;

	if (!enter_region(addr))
		return -1;
	if (place.ours)
		return -2;
	attach_function_at(&place.view, addr, &fn);
	if (!fn.end)
		return -1;
	for (at = fn.start; at < addr;) {
		u8 code[ATTACH_INSN_MAX];
		struct x86_insn in;

		if (x86_decode(code, text(&place.view, at, code, sizeof(code)), &in) < 0)
			return -1;
		nr = -1;
		if (code[0] == 0xb8) /* mov $nr, %eax */
			memcpy(&nr, code + 1, sizeof(nr));
		at += in.len;
	}
	return at == addr ? (nr < 0 ? -1 : nr) : -2;
}

#define NUMBERS_MAX 1024
#define WAY_LONG 8 /* instructions before a system call that are remembered */

/* How control comes to an address: the last instructions of the only way there. */
struct way {
	u64 at[WAY_LONG]; /* the latest first */
	u32 count;
	s32 nr;    /* in %eax */
	u64 nr_at; /* by the instruction there */
};

static void way_lost(struct way *w)
{
	w->count = 0;
	w->nr = -1;
}

static void way_step(struct way *w, u64 at, const u8 *code, const struct x86_insn *in)
{
	s32 nr = attach_follow_number(code, in, w->nr);

	if (in->flow != X86_FLOW_NONE && in->flow != X86_FLOW_JCC) {
		way_lost(w);
		return;
	}
	for (u32 i = WAY_LONG - 1; i; i--)
		w->at[i] = w->at[i - 1];
	w->at[0] = at;
	w->count += w->count < WAY_LONG;
	if (nr != w->nr || (nr >= 0 && code[0] == 0xb8))
		w->nr_at = at;
	w->nr = nr;
}

/* False: no instruction begins at addr, or that is not known. */
static bool find_way(u64 addr, struct way *w)
{
	u64 at = place.fn.start;

	way_lost(w);
	while (at < addr) {
		u8 code[ATTACH_INSN_MAX];
		struct x86_insn in;

		if (x86_decode(code, text(&place.view, at, code, sizeof(code)), &in) < 0)
			return false;
		if (is_target(at))
			way_lost(w);
		way_step(w, at, code, &in);
		at += in.len;
	}
	return at == addr;
}

/* Where no unwind information says where functions begin: is there a move of a number before it? */
static bool find_move(u64 addr, struct way *w)
{
	u8 code[ATTACH_JMP_LEN];
	struct x86_insn in;

	way_lost(w);
	if (text(&place.view, addr - sizeof(code), code, sizeof(code)) != sizeof(code) || code[0] != 0xb8 ||
	    x86_decode(code, sizeof(code), &in) != sizeof(code))
		return false;
	way_step(w, addr - sizeof(code), code, &in);
	return w->nr >= 0 && w->nr < NUMBERS_MAX; /* data does not look like that */
}

/*
 * Does an instruction begin at addr, as far as can be told without knowing where any other does? Decoders
 * that begin anywhere soon agree.
 */
static bool looks_like_insn(u64 addr)
{
	u8 code[64];
	u32 agree = 0;
	struct x86_insn in;

	if (text(&place.view, addr - sizeof(code), code, sizeof(code)) != sizeof(code))
		return false;
	for (u32 from = 0; from < 16; from++) {
		u32 at = from;

		while (at < sizeof(code) && x86_decode(code + at, sizeof(code) - at, &in) > 0)
			at += in.len;
		agree += at == sizeof(code);
	}
	return agree >= 8;
}

bool place_is_led_to(u64 addr)
{
	return is_target(addr) || branch_into(addr - 1, 2);
}

/*
 * Where `before` has room for a short patch only, that reaches over the bytes behind the call, which must
 * stay as they are: then behind the comparison with the least error, if nothing else comes there.
 */
static void find_behind(struct syscall_site *s)
{
	u64 next = s->addr + 2;
	u8 code[ATTACH_INSN_MAX];
	struct x86_insn in;

	s->behind = next;
	s->led_behind = is_target(next);
	if (!s->before || s->addr - s->before >= ATTACH_JMP_LEN || s->led_behind ||
	    x86_decode(code, text(&place.view, next, code, sizeof(code)), &in) < 0 || in.map || in.opcode != 0x3d ||
	    place_is_led_to(next) || place_is_led_to(next + in.len))
		return;
	s->behind = next + in.len;
}

bool place_call(u64 addr, struct syscall_site *ret)
{
	u32 from = 0;
	struct way w;

	*ret = (struct syscall_site){.addr = addr, .nr = -1};
	if (!enter_region(addr) || place.ours)
		return false;
	enter_function(addr);
	ret->unwinds = place.fn.end;
	if (place.fn.end && !find_way(addr, &w))
		return false;
	if (!place.fn.end && !find_move(addr, &w)) {
		ret->why = (struct attach_refusal){.error = ATTACH_E_EXTENT, .where = addr};
		if (place.err)
			ret->why = place.why;
		return looks_like_insn(addr);
	}
	ret->why = (struct attach_refusal){.error = ATTACH_E_BRANCH_IN, .where = addr};
	if (place.err) {
		ret->why = place.why;
		return true;
	}
	if (!is_target(addr)) {
		while (from + 1 < w.count && addr - w.at[from] < ATTACH_JMP_LEN)
			from++;
		if (w.count && addr - w.at[from] < ATTACH_JMP_LEN)
			from = 0;
		if (w.count && addr - w.at[from] <= ATTACH_WINDOW_MAX)
			ret->before = w.at[from];
		/* Who plans a jump there sees to branches from further away, into what it displaces. */
		if (w.nr >= 0 && (w.nr_at >= ret->before || !branch_into(w.nr_at, (u32)(addr - w.nr_at))))
			ret->nr = w.nr;
	}
	find_behind(ret);
	return true;
}
