/* SPDX-License-Identifier: MIT */
/*
 * Session objects as the agent holds them. What decides anything is read from the file once, with
 * pread(2), into private memory and checked there; mapped are only the word and the numbers that
 * stay shared (link_file.live, link_stats) and map contents.
 */
#include <linux/mman.h>
#include <linux/stat.h>
#include <asm/errno.h>
#include <asm/stat.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"
#include "maps/refs.h"
#include "session/object.h"
#include "session/trace.h"

static s64 file_size(int fd)
{
	struct stat st;
	long r = sys_call2(__NR_fstat, fd, &st);

	return r < 0 ? r : st.st_size;
}

static int read_all(int fd, void *buf, size_t n, u64 off)
{
	while (n) {
		long r = sys_pread(fd, buf, n, (s64)off);

		if (r == -EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? (int)r : -EINVAL;
		buf = (u8 *)buf + r;
		n -= (size_t)r;
		off += (u64)r;
	}
	return 0;
}

/* Maps the session file into the window behind the header, where keepers look for it. */
int object_take_session(int fd)
{
	struct statx stx;
	struct session_file head;
	size_t size = ALIGN_UP(sizeof(struct session_file), PAGE_SIZE);
	s64 len = file_size(fd);
	long p;
	int err;

	_Static_assert(sizeof(struct session_file) <= AGENT_WINDOW, "session file fits its window");
	if (len < (s64)sizeof(struct session_file))
		return len < 0 ? (int)len : -EINVAL;
	err = read_all(fd, &head, 16, 0);
	if (err)
		return err;
	if (head.magic != SESSION_MAGIC || head.layout_version != SESSION_LAYOUT_VERSION)
		return -EINVAL;
	err = (int)sys_call6(__NR_statx, fd, (long)"", 0x1000 /* AT_EMPTY_PATH */, STATX_INO,
			     (long)&stx, 0);
	if (err)
		return err;
	p = sys_mmap(limpet_agent.session, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	if (sys_is_err(p))
		return (int)p;
	agent.session = (void *)p;
	limpet_agent.header.session_dev = (u64)stx.stx_dev_major << 32 | stx.stx_dev_minor;
	limpet_agent.header.session_ino = stx.stx_ino;
	return 0;
}

int object_take_trace(int fd)
{
	s64 len = file_size(fd);
	struct trace_log *log;
	long p;

	if (agent.trace)
		return 0;
	if (len < (s64)sizeof(struct trace_log))
		return len < 0 ? (int)len : -EINVAL;
	p = sys_mmap(NULL, sizeof(struct trace_log), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sys_is_err(p))
		return (int)p;
	log = (void *)p;
	if (log->magic != TRACE_MAGIC || log->slot_count != TRACE_SLOTS) {
		sys_munmap(log, sizeof(*log));
		return -EINVAL;
	}
	agent.trace = log;
	atomic_store(&limpet_agent.header.has_trace, 1);
	agent.trace_size = sizeof(*log);
	agent.env.trace = log;
	return 0;
}

struct agent_link *object_link(u32 id)
{
	struct agent_link *l = agent.links;

	while (l && l->id != id)
		l = l->next;
	return l;
}

struct agent_prog *object_prog(u32 id)
{
	struct agent_prog *p = agent.progs;

	while (p && p->id != id)
		p = p->next;
	return p;
}

struct agent_map *object_map(u32 id)
{
	struct agent_map *m = agent.maps;

	while (m && m->id != id)
		m = m->next;
	return m;
}

static int take_map(u32 id, int fd)
{
	s64 size = file_size(fd);
	struct map_meta *meta;
	struct agent_map *m;
	bool writable;
	long p;
	int err;

	if (size < (s64)MAP_META_SIZE || size & (PAGE_SIZE - 1))
		return size < 0 ? (int)size : -EINVAL;
	meta = heap_alloc(sizeof(*meta));
	m = heap_alloc(sizeof(*m));
	err = -ENOMEM;
	if (!meta || !m)
		goto out;
	err = read_all(fd, meta, sizeof(*meta), (u64)size - MAP_META_SIZE);
	if (err)
		goto out;
	writable = !(meta->def.flags & BPF_F_RDONLY_PROG);
	p = sys_mmap(NULL, (size_t)size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
		     fd, 0);
	err = (int)p;
	if (sys_is_err(p))
		goto out;
	err = map_open(&m->map, (void *)p, (u64)size, writable);
	if (!err && m->map.id != id)
		err = -EINVAL;
	if (!err)
		err = map_alias(&m->map, fd);
	if (!err)
		err = pages_take(&m->map, meta, fd);
	if (err) {
		sys_munmap((void *)p, (size_t)size);
		goto out;
	}
	m->id = m->inner.id = id;
	helper_bind_map(&m->map, &m->inner.map, &m->inner.region);
	m->next = agent.maps;
	agent.maps = m;
	m = NULL;
out:
	heap_free(meta, sizeof(*meta));
	heap_free(m, sizeof(*m));
	return err;
}

/* The parts of a program's file that it runs by, into private memory. */
static int read_prog(struct agent_prog *p, const struct prog_file *head, int fd)
{
	int err;

	p->insns_size = head->insn_count * sizeof(struct bpf_insn);
	p->map_count = head->map_count;
	p->shape_count = head->map_shape_count;
	p->insns = heap_alloc(p->insns_size);
	p->map_ids = heap_alloc(p->map_count * sizeof(u32) + 8);
	p->shapes = heap_alloc(p->shape_count * sizeof(*p->shapes) + 8);
	if (!p->insns || !p->map_ids || !p->shapes)
		return -ENOMEM;
	err = read_all(fd, p->insns, p->insns_size, head->insns_off);
	if (!err && p->shape_count)
		err = read_all(fd, p->shapes, p->shape_count * sizeof(*p->shapes), head->map_shapes_off);
	if (!err && p->map_count)
		err = read_all(fd, p->map_ids, p->map_count * sizeof(u32), head->map_ids_off);
	return err;
}

static u32 believed(const struct agent_prog *p, const struct prog_file *head, const struct stat *st)
{
	if (!helper_may(&agent.env, HELPER_CALL_GETUID))
		return 0;
	return object_prog_proofs(head, object_prog_sum(head, p->insns, p->map_ids, p->shapes), st->st_uid, st->st_mode,
				  (u32)sys_call0(__NR_getuid));
}

static int take_prog(u32 id, int fd)
{
	struct stat st;
	struct prog_file head;
	struct agent_prog *p;
	int err = (int)sys_call2(__NR_fstat, fd, &st);

	if (!err)
		err = read_all(fd, &head, sizeof(head), 0);
	if (!err)
		err = object_check_prog(&head, (u64)st.st_size);
	if (err || head.head.id != id)
		return err ? err : -EINVAL;
	p = heap_alloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->id = id;
	p->type = head.type;
	p->ctx_end = head.ctx_end;
	p->vm.insn_count = head.insn_count;
	p->vm.budget = head.budget;
	err = read_prog(p, &head, fd);
	if (err) {
		prog_free(p);
		return err;
	}
	p->proofs = believed(p, &head, &st);
	p->next = agent.progs;
	agent.progs = p;
	return 0;
}

/* The head and the probes read-only, the last page (link_stats) writable, side by side. */
static int map_link(struct agent_link *l, int fd, u64 size)
{
	long p, s;

	l->map_size = size;
	p = sys_mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (sys_is_err(p))
		return (int)p;
	s = sys_mmap((u8 *)p + size - PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED, fd, size - PAGE_SIZE);
	if (sys_is_err(s)) {
		sys_munmap((void *)p, size);
		return (int)s;
	}
	l->map = (u8 *)p;
	l->live = &((const struct link_file *)p)->live;
	l->stats = (void *)s;
	return 0;
}

static void link_free(struct agent_link *l)
{
	if (l->map)
		sys_munmap(l->map, l->map_size);
	heap_free(l->probes, l->probe_count * sizeof(struct link_probe));
	heap_free(l, sizeof(*l));
}

static int take_link(u32 id, int fd)
{
	s64 size = file_size(fd);
	struct link_file head;
	struct agent_link *l;
	int err;

	if (size < 0)
		return (int)size;
	err = read_all(fd, &head, sizeof(head), 0);
	if (!err)
		err = object_check_link(&head, (u64)size);
	if (err || head.head.id != id)
		return err ? err : -EINVAL;
	l = heap_alloc(sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->id = id;
	l->prog_id = head.prog_id;
	l->pid = head.pid;
	l->dev_major = head.dev_major;
	l->dev_minor = head.dev_minor;
	l->ino = head.ino;
	l->flags = head.flags;
	l->place = head.place;
	l->syscall_nr = head.syscall_nr;
	l->syscall_ctx = head.syscall_ctx;
	l->probe_count = head.probe_count;
	l->probes = heap_alloc(head.probe_count * sizeof(struct link_probe));
	err = l->probes ? 0 : -ENOMEM;
	if (!err)
		err = read_all(fd, l->probes, head.probe_count * sizeof(struct link_probe),
			       head.probes_off);
	if (!err)
		err = map_link(l, fd, (u64)size);
	if (err) {
		link_free(l);
		return err;
	}
	l->next = agent.links;
	agent.links = l;
	return 0;
}

int object_take(u32 kind, u32 id, int fd)
{
	switch (kind) {
	case AGENT_FD_SESSION:
		return object_take_session(fd);
	case AGENT_FD_TRACE:
		return object_take_trace(fd);
	case AGENT_FD_PAGES:
		return pages_keep(id, fd);
	case OBJ_MAP:
		return object_map(id) ? 0 : take_map(id, fd);
	case OBJ_PROG:
		return object_prog(id) ? 0 : take_prog(id, fd);
	case OBJ_LINK:
		return object_link(id) ? 0 : take_link(id, fd);
	default:
		return -EINVAL;
	}
}

/*
 * For engines: the program that a slot names, or else the one that was there before. On a thread of the
 * target: the list changes only while that is stopped, and keeps what a thread may have seen.
 */
static const struct vm_target *find_target(const struct vm_known *known, void *handle, u64 word)
{
	const u32 ids[] = {(u32)word, (u32)(word >> 32)};

	for (u32 i = 0; i < ARRAY_SIZE(ids) && ids[i]; i++)
		for (const struct agent_prog *p = agent.progs; p; p = p->next)
			if (p->id == ids[i] && p->live)
				return &p->target;
	map_count(handle, MAP_STAT_ABSENT);
	return NULL;
}

static const struct vm_inner *find_inner(const struct vm_known *known, void *handle, u64 word)
{
	const u32 ids[] = {(u32)word, (u32)(word >> 32)};

	for (u32 i = 0; i < ARRAY_SIZE(ids) && ids[i]; i++)
		for (const struct agent_map *m = agent.maps; m; m = m->next)
			if (m->id == ids[i] && m->live)
				return &m->inner;
	map_count(handle, MAP_STAT_ABSENT);
	return NULL;
}

static const struct vm_inner *inner_at(const struct vm_known *known, u64 handle, u64 addr)
{
	for (const struct agent_map *m = agent.maps; m; m = m->next)
		if (m->live &&
		    (handle ? (u64)&m->map == handle
			    : addr >= m->inner.region.start && addr < m->inner.region.end))
			return &m->inner;
	return NULL;
}

static void reach_held(struct map *m)
{
	struct map_each e = {0};
	struct agent_prog *p;
	struct agent_map *inner;
	u32 id;

	while (map_holds_objects(m) && map_next_ref(m, &e, &id)) {
		inner = m->holds == MAP_HOLDS_MAPS ? object_map(id) : NULL;
		if (inner)
			inner->reached = true;
		if (m->holds == MAP_HOLDS_MAPS)
			continue;
		p = object_prog(id);
		if (!p || p->reached)
			continue;
		p->reached = true;
		prog_prepare(p);
	}
}

static void list_object(u32 kind, u32 id, bool ready)
{
	u64 *o = ready ? vec_push(&agent.objects, sizeof(*o)) : NULL;

	if (o)
		*o = (u64)kind << 32 | id;
}

/* A mapping of a session's file: where an access was to. `map`: id of the map, 0 for others. */
struct mapped {
	u64 end;
	u32 map;
	bool writable;
};

static bool is_in(u64 address, const void *start, u64 size)
{
	return start && address >= (u64)start && address - (u64)start < size;
}

/* (The lists change only while no thread is in a run.) */
static bool mapped_at(u64 address, struct mapped *ret)
{
	const u64 session = ALIGN_UP(sizeof(struct session_file), PAGE_SIZE);

	for (const struct agent_map *m = agent.maps; m; m = m->next)
		if (is_in(address, m->map.base, m->map.file_size)) {
			*ret = (struct mapped){(u64)m->map.base + m->map.file_size, m->id, m->map.writable};
			return true;
		}
	for (const struct agent_link *l = agent.links; l; l = l->next)
		if (is_in(address, l->map, l->map_size)) {
			const u64 stats = (u64)l->map + l->map_size - PAGE_SIZE; /* as map_link() has it */
			const bool writable = address >= stats;

			*ret = (struct mapped){writable ? stats + PAGE_SIZE : stats, 0, writable};
			return true;
		}
	*ret = (struct mapped){(u64)agent.trace + ALIGN_UP(agent.trace_size, PAGE_SIZE), 0, true};
	if (is_in(address, agent.trace, agent.trace_size))
		return true;
	*ret = (struct mapped){(u64)agent.session + session, 0, false};
	return is_in(address, agent.session, session);
}

/*
 * An access to a file of the session was behind its end: somebody has truncated it. Memory of the process's own takes the
 * place of the rest of the mapping, so that the run goes on, with zeros (a link's: it is not live any more). `count`: in
 * the trace log, which may be cut short as well: that fault must reach us.
 */
bool object_mend(u64 address, bool count)
{
	const u64 page = address & ~(u64)(PAGE_SIZE - 1);
	struct mapped in;

	if (!mapped_at(address, &in) ||
	    sys_is_err(sys_mmap((void *)page, in.end - page, in.writable ? PROT_READ | PROT_WRITE : PROT_READ,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0)))
		return false;
	if (count && agent.trace && !is_in(address, agent.trace, agent.trace_size))
		trace_note_cut(agent.trace, in.map);
	return true;
}

static void map_free(struct agent_map *m)
{
	if (m->map.ops->leave && m->map.writable)
		m->map.ops->leave(&m->map);
	sys_munmap(m->map.base, m->map.file_size);
	heap_free(m, sizeof(*m));
}

/* Everything that arrays of programs in use name, and what that leads to. */
void object_reach(void)
{
	bool more = true;

	for (struct agent_prog *p = agent.progs; p; p = p->next)
		p->reached = p->scanned = false;
	for (struct agent_map *m = agent.maps; m; m = m->next)
		m->reached = false;
	for (struct agent_link *l = agent.links; l; l = l->next)
		if (l->wanted && l->prog)
			l->prog->reached = true;
	while (more) {
		more = false;
		for (struct agent_prog *p = agent.progs; p; p = p->next) {
			if (!p->reached || !p->ready || p->scanned || !p->refs_maps)
				continue;
			p->scanned = more = true;
			for (u32 i = 0; i < p->map_count; i++)
				reach_held(&p->map_refs[i]->map);
		}
	}
}

static void list_objects(void)
{
	agent.objects.count = 0;
	for (struct agent_prog *p = agent.progs; p; p = p->next)
		list_object(OBJ_PROG, p->id, p->live || (p->error && p->error != -EAGAIN));
	for (struct agent_map *m = agent.maps; m; m = m->next)
		list_object(OBJ_MAP, m->id, m->refs || m->live);
	limpet_agent.header.objects = (u64)agent.objects.data;
	limpet_agent.header.object_count = agent.objects.count;
}

/* All code is written: tail calls may go to what is reached, and to nothing else. */
void object_publish(void)
{
	memset(agent.known.target, 0, sizeof(agent.known.target));
	agent.known.find_target = find_target;
	memset(agent.known.inner, 0, sizeof(agent.known.inner));
	agent.known.find_inner = find_inner;
	agent.known.inner_at = inner_at;
	for (struct agent_map *m = agent.maps; m; m = m->next) {
		m->live = m->reached;
		if (m->live && !agent.known.inner[m->id % VM_KNOWN])
			agent.known.inner[m->id % VM_KNOWN] = &m->inner;
	}
	for (struct agent_prog *p = agent.progs; p; p = p->next) {
		p->live = p->reached && p->ready;
		if (p->live && !agent.known.target[p->id % VM_KNOWN])
			agent.known.target[p->id % VM_KNOWN] = &p->target;
	}
}

/*
 * Frees links that no site uses, then programs without links that nobody can be on the way to, then
 * maps without programs.
 */
bool object_drop_unused(bool keep_progs)
{
	bool kept = false;

	for (struct agent_link **l = &agent.links; *l;) {
		struct agent_link *gone = *l;

		if (gone->refs || gone->wanted) {
			l = &gone->next;
			continue;
		}
		*l = gone->next;
		if (gone->prog)
			gone->prog->refs--;
		link_free(gone);
	}
	for (struct agent_prog **p = &agent.progs; *p;) {
		struct agent_prog *gone = *p;

		if (gone->refs || gone->reached || (keep_progs && gone->ready)) {
			kept |= !gone->refs && !gone->reached;
			p = &gone->next;
			continue;
		}
		*p = gone->next;
		prog_free(gone);
	}
	for (struct agent_map **m = &agent.maps; *m;) {
		struct agent_map *gone = *m;

		if (gone->refs || gone->reached || keep_progs) {
			kept |= !gone->refs && !gone->reached;
			m = &gone->next;
			continue;
		}
		*m = gone->next;
		map_free(gone);
	}
	list_objects();
	return kept;
}

/* Everything that object_take() made; sites must be gone. */
void object_release(bool keep_session)
{
	for (struct agent_link *l = agent.links; l; l = l->next)
		l->refs = l->wanted = 0;
	for (struct agent_prog *p = agent.progs; p; p = p->next)
		p->reached = false;
	for (struct agent_map *m = agent.maps; m; m = m->next)
		m->reached = false;
	object_drop_unused(false);
	if (agent.trace)
		sys_munmap(agent.trace, agent.trace_size);
	agent.trace = NULL;
	agent.env.trace = NULL;
	if (keep_session)
		return;
	if (agent.session)
		sys_mmap(limpet_agent.session, ALIGN_UP(sizeof(struct session_file), PAGE_SIZE),
			 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	agent.session = NULL;
	limpet_agent.header.session_ino = 0;
	limpet_agent.header.session_dev = 0;
}
