/* SPDX-License-Identifier: MIT */
/*
 * Libraries that come and go while the program runs (dlopen, dlmopen, dlclose).
 *
 * The dynamic linker calls an empty function for debuggers (r_debug.r_brk) when it has mapped new
 * objects, before it relocates them and runs their constructors, and when it has unmapped some. The
 * agent puts a hook there while there are links for this process. A hit walks the list of loaded
 * objects; when a file that a link is on has come (or any, while there are breakpoints: trap.c), it asks the keepers to bring this process in line
 * and waits for their answer, KEEPERS_WAIT_MS at most, TRAPS_WAIT_MS while there are breakpoints; when one has gone, it asks and does not wait.
 *
 *     trace_log.calls     a ticket a request, a futex; keepers sleep on it
 *     trace_log.answers   the last ticket that a keeper has worked off; the asking thread sleeps on it
 *     header.view         0 from then on until the next SYNC: for keepers this process is not in line, whatever
 *                         its mappings are (a file may come back where it was)
 *
 * Hits may ask, too, and do not wait (keepers_ask). The thread in the hook holds the linker's lock, so there is one at a time. A keeper may stop it at
 * any instruction and run a SYNC meanwhile: what both use are the values in `files`, no pointers.
 */
#include <linux/futex.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"
#include "session/trace.h"

#define TRAPS_WAIT_MS  5000 /* while there are breakpoints: code that is not looked through may end the process */
#define OBJECTS_MAX     1024
#define NAMESPACES_MAX  32
#define PT_DYNAMIC_     2
#define PT_PHDR_        6
#define DT_DEBUG_       21

struct phdr {
	u32 type, flags;
	u64 offset, vaddr, paddr, filesz, memsz, align;
};

struct dyn {
	s64 tag;
	u64 value;
};

/* As <link.h> has them. */
struct loaded {
	u64 addr; /* bias of its addresses */
	const char *name;
	u64 dynamic;
	const struct loaded *next, *prev;
};

struct debug {
	s32 version, pad;
	const struct loaded *objects;
	u64 brk;
	u32 state, pad2;
	u64 base;
	const struct debug *next; /* version 2 and later: the next namespace */
};

static struct {
	u64 phdr; /* the program's headers */
	u32 phdr_count;
	const struct debug *debug; /* NULL: not found */
	struct agent_file files[AGENT_FILES_MAX];
	_Atomic u32 count; /* more than AGENT_FILES_MAX: any file may be meant */
	u64 seen[OBJECTS_MAX]; /* dynamic sections of the objects found at the last hit; bit 0: a link's file */
	u32 seen_count;
	bool left_alone; /* the last wait was for nobody: the next is short, lest each dlopen stand still where there is no keeper */
} loading;

void loading_files(const struct agent_file *files, u32 count)
{
	memcpy(loading.files, files, (count < AGENT_FILES_MAX ? count : AGENT_FILES_MAX) * sizeof(*files));
	atomic_store_explicit(&loading.count, count, memory_order_relaxed);
}

static bool wanted_file(const char *name)
{
	u32 n = atomic_load_explicit(&loading.count, memory_order_relaxed);
	u64 st[18]; /* struct stat: st_dev, st_ino, ... */

	if (trap_in_place()) /* what may be in its code matters */
		return true;
	if (!n || !name || !*name || !helper_may(&agent.env, HELPER_CALL_STAT) || sys_call2(__NR_stat, name, st))
		return false;
	if (n > AGENT_FILES_MAX)
		return true;
	for (u32 i = 0; i < n; i++)
		if (loading.files[i].ino == st[1] && loading.files[i].dev_major == (st[0] >> 8 & 0xfff) &&
		    loading.files[i].dev_minor == ((st[0] & 0xff) | (st[0] >> 12 & 0xfff00)))
			return true;
	return false;
}

/* What was known of an object, its bit included; 0: it is new. */
static u64 seen_before(u64 dynamic)
{
	for (u32 i = 0; i < loading.seen_count; i++)
		if ((loading.seen[i] & ~1ULL) == dynamic)
			return loading.seen[i];
	return 0;
}

/* Fills ret with the objects of all namespaces. How many. */
static u32 list_loaded(const struct loaded *ret[OBJECTS_MAX])
{
	const struct debug *d = loading.debug;
	u32 n = 0;

	for (u32 space = 0; d && space < NAMESPACES_MAX; space++, d = d->version >= 2 ? d->next : NULL)
		for (const struct loaded *o = d->objects; o && n < OBJECTS_MAX; o = o->next)
			ret[n++] = o;
	return n;
}

static void tell_frames(const struct loaded *const all[], u32 n)
{
	u32 begun, count;

	do {
		begun = frames_begin();
		count = 0;
		for (u32 i = 0; i < n; i++)
			frames_add(all[i]->addr, all[i]->dynamic, &count);
	} while (!frames_end(begun, count));
}

/* Looks at what is loaded now. Has a link's file come; has one gone? */
static void look(bool *ret_come, bool *ret_gone)
{
	static const struct loaded *all[OBJECTS_MAX];
	static u64 now[OBJECTS_MAX];
	u32 n = list_loaded(all), links_files = 0, had = 0;

	*ret_come = false;
	for (u32 i = 0; i < n; i++) {
		u64 known = seen_before(all[i]->dynamic & ~1ULL);

		now[i] = known ? known : (all[i]->dynamic & ~1ULL) | wanted_file(all[i]->name);
		*ret_come |= !known && now[i] & 1;
		links_files += (u32)(now[i] & 1 && known);
	}
	tell_frames(all, n);
	for (u32 i = 0; i < loading.seen_count; i++)
		had += loading.seen[i] & 1;
	*ret_gone = links_files < had;
	memcpy(loading.seen, now, n * sizeof(now[0]));
	loading.seen_count = n;
}

static bool answered(struct trace_log *log, u32 ticket, u32 *ret_now)
{
	*ret_now = atomic_load_explicit(&log->answers, memory_order_acquire);
	return (s32)(*ret_now - ticket) >= 0;
}

bool keepers_ask(u32 wait_ms)
{
	struct trace_log *log = agent.trace;
	u32 ticket, now;

	if (!log)
		return false;
	atomic_store_explicit(&limpet_agent.header.view, 0, memory_order_release);
	ticket = atomic_fetch_add_explicit(&log->calls, 1, memory_order_acq_rel) + 1;
	if (!helper_may(&agent.env, HELPER_CALL_FUTEX))
		return false;
	sys_call3(__NR_futex, (long)&log->calls, FUTEX_WAKE, 0x7fffffff);
	for (u32 ms = 0; ms < wait_ms && !answered(log, ticket, &now); ms += 10) {
		struct {
			s64 sec, nsec;
		} ts = {0, 10000000};

		sys_call4(__NR_futex, (long)&log->answers, FUTEX_WAIT, now, (long)&ts);
	}
	return answered(log, ticket, &now);
}

static u64 loading_hit(void *arg, struct attach_regs *regs)
{
	bool come, gone;

	if (!agent.trace || !atomic_load_explicit(&loading.count, memory_order_relaxed))
		return 0;
	look(&come, &gone);
	if (come)
		loading.left_alone = !keepers_ask(trap_in_place() && !loading.left_alone ? TRAPS_WAIT_MS : KEEPERS_WAIT_MS);
	else if (gone)
		keepers_ask(0);
	return 0;
}

void loading_begin(u64 phdr, u32 count)
{
	loading.phdr = phdr;
	loading.phdr_count = count;
	loading.debug = NULL;
}

static bool readable(u64 addr, u64 len)
{
	for (u32 i = 0; i < agent.region_count; i++) {
		const struct agent_region *r = &agent.regions[i];

		if (addr >= r->start && addr < r->end)
			return r->read && len <= r->end - addr;
	}
	return false;
}

static const struct debug *debug_of(const struct dyn *d, u64 size)
{
	for (u64 i = 0; i < size / sizeof(*d) && readable((u64)&d[i], sizeof(*d)) && d[i].tag; i++)
		if (d[i].tag == DT_DEBUG_)
			return readable(d[i].value, sizeof(struct debug)) ? (const void *)d[i].value : NULL;
	return NULL;
}

/* Where the program's headers say that the dynamic linker keeps its list; NULL: it has none, or not yet. */
static const struct debug *find_debug(void)
{
	const struct phdr *p = (const void *)loading.phdr;
	u64 bias = 0;

	if (!loading.phdr || !readable(loading.phdr, loading.phdr_count * sizeof(*p)))
		return NULL;
	for (u32 i = 0; i < loading.phdr_count; i++) {
		if (p[i].type == PT_PHDR_)
			bias = loading.phdr - p[i].vaddr; /* it comes before those that are loaded */
		if (p[i].type == PT_DYNAMIC_)
			return debug_of((const void *)(bias + p[i].vaddr), p[i].memsz);
	}
	return NULL;
}

/* For frames.c, unless the linker is at its list: then a hit of the hook follows. */
static void loaded_at_sync(void)
{
	static const struct loaded *all[OBJECTS_MAX];

	if (!loading.debug->state)
		tell_frames(all, list_loaded(all));
}

/* The last part of a path begins with it. */
static bool is_named(const char *path, const char *begins)
{
	const char *last = path;

	for (; path && *path; path++)
		if (*path == '/')
			last = path + 1;
	while (last && *begins && *last == *begins)
		last++, begins++;
	return last && !*begins;
}

bool loading_has_collector(void)
{
	static const char *const names[] = {"libgc.so", "libmonosgen-", "libmonoboehm-"};
	static const struct loaded *all[OBJECTS_MAX];
	u32 n;

	if (!loading.debug)
		loading.debug = find_debug();
	n = loading.debug && !loading.debug->state ? list_loaded(all) : 0;
	for (u32 i = 0; i < n; i++)
		for (u32 k = 0; k < ARRAY_SIZE(names); k++)
			if (is_named(all[i]->name, names[k]))
				return true;
	return false;
}

bool loading_watched(void)
{
	return loading.count && agent.trace && loading.debug;
}

/*
 * Lists the hook among the wants while there are links for this process. Where somebody probes that very
 * function, the probe goes first. False: no memory.
 */
bool loading_want(void)
{
	const struct want *all = agent.wants.data;
	struct want *w;

	if (!loading.count || !agent.trace)
		return true;
	if (!loading.debug)
		loading.debug = find_debug();
	if (!loading.debug)
		return true;
	loaded_at_sync();
	for (u32 i = 0; i < agent.wants.count; i++)
		if (all[i].addr == loading.debug->brk)
			return true;
	w = vec_push(&agent.wants, sizeof(*w));
	if (!w)
		return false;
	w->addr = loading.debug->brk;
	w->own = loading_hit;
	return true;
}
