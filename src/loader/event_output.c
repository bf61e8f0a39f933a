/* SPDX-License-Identifier: MIT */
/*
 * Perf events of PERF_COUNT_SW_BPF_OUTPUT, and the rings the tool maps of them.
 *
 *     event -----> ring <----- other events, by IOC_SET_OUTPUT
 *       ^            ^
 *       |            +--- the writer's mapping; lives while an event refers to it
 *     mappings in the tool: hold the event as the kernel's do, and go whole or not at all
 *
 * A ring is memory of this process: a child does not inherit the mapping of one (nor with the kernel),
 * so nothing is shared with it. `ring_pid` in the event's file says which process has the ring;
 * another one's mmap is refused until that one is gone. What fills rings runs under `lock` too: one file, since
 * everything here is about what that lock guards.
 */
#include "loader/event_output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/sys.h"
#include "loader/event.h"
#include "loader/perf_array.h"
#include "loader/say.h"

struct output {
	u32 id;
	u32 maps;             /* mappings of the tool's */
	struct event_file *e; /* mapped; holds the event while there are mappings */
	struct perf_ring *ring;
	struct output *next;
};

struct mapping {
	u64 start, len;
	struct output *of;
	struct mapping *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct output *outputs;
static struct mapping *mappings;
static pid_t owner;                                 /* the process the lists are of */
static _Atomic u64 mapped_low = ~0ULL, mapped_high; /* every mapping lies between */

/* In a forked child none of the mappings is there. */
static void take_lock(void)
{
	const pid_t pid = getpid();

	if (owner && owner != pid) {
		pthread_mutex_init(&lock, NULL); /* its holder may have stayed behind */
		outputs = NULL;
		mappings = NULL;
	}
	pthread_mutex_lock(&lock);
	owner = pid;
}

static void drop_lock(void)
{
	pthread_mutex_unlock(&lock);
}

static struct output *find(u32 id)
{
	struct output *o = outputs;

	while (o && o->id != id)
		o = o->next;
	return o;
}

static struct event_file *map_event(struct store *s, u32 id, bool hold, int *ret_err)
{
	struct event_file *e = NULL;
	int fd = hold ? store_hold(s, OBJ_EVENT, id) : store_peek(s, OBJ_EVENT, id);
	u64 size;

	if (fd < 0) {
		*ret_err = fd;
		return NULL;
	}
	e = store_map_fd(fd, true, &size, ret_err);
	sys_close(fd); /* the mapping keeps the description, and so the lock */
	if (!e)
		return NULL;
	sys_call3(__NR_madvise, (long)e, PAGE_SIZE, MADV_DONTFORK);
	return e;
}

static struct output *need(struct store *s, u32 id, int *ret_err)
{
	struct output *o = find(id);

	if (o)
		return o;
	o = calloc(1, sizeof(*o));
	if (!o) {
		*ret_err = -ENOMEM;
		return NULL;
	}
	o->id = id;
	o->e = map_event(s, id, false, ret_err);
	if (!o->e) {
		free(o);
		return NULL;
	}
	o->next = outputs;
	outputs = o;
	return o;
}

static void unref_ring(struct perf_ring *r)
{
	if (!r || --r->refs)
		return;
	munmap(r->page, PAGE_SIZE + r->size);
	free(r);
}

/* Forgets events that are gone and have nothing left here. */
static void sweep(void)
{
	for (struct output **at = &outputs, *o; (o = *at);) {
		if (o->maps || !atomic_load(&o->e->gone)) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		unref_ring(o->ring);
		munmap(o->e, PAGE_SIZE);
		free(o);
	}
}

static int fill(struct event_file *e, const struct perf_event_attr *a)
{
	const u64 unserved = a->sample_type & ~(u64)PERF_RING_FIELDS;

	if (!unserved)
		return 0;
	loader_say("limpet: sample fields %#llx of a BPF output event are not served\n",
		   (unsigned long long)unserved);
	return -EOPNOTSUPP;
}

/* The kernel runs such a program when the event overflows, which it never does. */
static long set_bpf(struct store *s, u32 event, u32 prog)
{
	return loader_event_prog(s, event, prog);
}

static void switched(struct store *s, u32 event, struct event_file *e)
{
	perf_array_event_changed(event);
}

/* Is the ring of this event some other, living process's? Else it is ours from now on. */
static int claim_ring(struct output *o)
{
	u32 none = 0, pid = (u32)getpid();

	for (;;) {
		none = 0;
		if (atomic_compare_exchange_strong(&o->e->ring_pid, &none, pid) || none == pid)
			return 0;
		if (!kill((pid_t)none, 0) || errno == EPERM) {
			loader_say("limpet: the ring of perf event %u is mapped by process %u "
				   "already\n",
				   o->id, none);
			return -EINVAL;
		}
		atomic_compare_exchange_strong(&o->e->ring_pid, &none, 0);
	}
}

/* The ring's memory: of this process alone, or (fd >= 0) a file that the tool's process maps. */
static long ring_memory(int fd, u64 size)
{
	if (fd >= 0 && posix_fallocate(fd, 0, (off_t)size))
		return -ENOMEM;
	/* a file that shrinks would be a signal here */
	if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -EINVAL;
	return sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
}

static int make_ring(struct output *o, u64 data_size, bool writable, int fd)
{
	struct perf_ring *r;
	void *mem;
	int err = claim_ring(o);

	if (err)
		return err;
	r = calloc(1, sizeof(*r));
	mem = (void *)ring_memory(fd, PAGE_SIZE + data_size);
	if (!r || sys_is_err((long)mem)) {
		free(r);
		atomic_store(&o->e->ring_pid, 0);
		return -ENOMEM;
	}
	sys_call3(__NR_madvise, (long)mem, (long)(PAGE_SIZE + data_size), MADV_DONTFORK);
	perf_ring_init(r, mem, data_size, o->e, writable);
	r->refs = 1;
	o->ring = r;
	return 0;
}

/* A second mapping of the ring's memory, where the tool wants it. */
static long map_again(const struct perf_ring *r, void *addr, size_t len, int prot, int flags)
{
	long at = sys_mmap(addr, len, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS |
				   (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT)),
			   -1, 0);
	long ret;

	if (sys_is_err(at))
		return at;
	/* of length 0: a shared mapping is mapped once more */
	ret = sys_call6(__NR_mremap, (long)r->page, 0, (long)len, MREMAP_MAYMOVE | MREMAP_FIXED, at,
			0);
	if (sys_is_err(ret)) {
		sys_munmap((void *)at, len);
		return ret;
	}
	sys_call3(__NR_madvise, ret, (long)len, MADV_DONTFORK);
	if (prot != (PROT_READ | PROT_WRITE))
		sys_call3(__NR_mprotect, ret, (long)len, prot);
	return ret;
}

/* From the first mapping on the event stays, whatever is closed. */
static int add_map(struct store *s, struct output *o)
{
	struct event_file *e;
	int err = 0;

	if (!o->maps) {
		e = map_event(s, o->id, true, &err);
		if (!e)
			return err;
		munmap(o->e, PAGE_SIZE);
		o->e = e;
	}
	o->maps++;
	return 0;
}

static int note_mapping(struct store *s, struct output *o, u64 start, u64 len)
{
	struct mapping *m = calloc(1, sizeof(*m));
	int err = m ? add_map(s, o) : -ENOMEM;

	if (err) {
		free(m);
		return err;
	}
	*m = (struct mapping){.start = start, .len = len, .of = o, .next = mappings};
	mappings = m;
	if (start < atomic_load(&mapped_low))
		atomic_store(&mapped_low, start);
	if (start + len > atomic_load(&mapped_high))
		atomic_store(&mapped_high, start + len);
	return 0;
}

static int check_map(const struct event_file *e, size_t len, int prot, int flags, off_t off,
		     u64 *ret_data)
{
	const u64 pages = ALIGN_UP((u64)len, PAGE_SIZE) / PAGE_SIZE;

	if (prot & PROT_EXEC)
		return -EPERM;
	if ((flags & MAP_TYPE) != MAP_SHARED && (flags & MAP_TYPE) != MAP_SHARED_VALIDATE)
		return -EINVAL;
	if (e->cpu == -1 && (e->attr_flags & EVENT_ATTR_INHERIT))
		return -EINVAL;
	if (!pages || off || (pages > 1 && ((pages - 1) & (pages - 2))))
		return -EINVAL; /* other offsets are AUX areas: there are none */
	*ret_data = (pages - 1) * PAGE_SIZE;
	return 0;
}

/* The event, when such a mapping of it may be made (*ret_err 0); its ring, if it has one, fits. */
static struct output *mappable(struct store *s, u32 event, size_t len, int prot, int flags, off_t off, u64 *ret_data,
			       int *ret_err)
{
	struct output *o;

	sweep();
	*ret_err = 0;
	o = need(s, event, ret_err);
	if (!o)
		return NULL;
	*ret_err = check_map(o->e, len, prot, flags, off, ret_data);
	if (!*ret_err && o->ring && o->ring->size != *ret_data)
		*ret_err = -EINVAL;
	if (!*ret_err && o->ring && !o->maps)
		*ret_err = -EBUSY; /* another event's */
	return o;
}

/* The ring was made for a mapping that did not come about. */
static void drop_ring(struct output *o)
{
	unref_ring(o->ring);
	o->ring = NULL;
	atomic_store(&o->e->ring_pid, 0);
}

static long map_locked(struct store *s, u32 event, void *addr, size_t len, int prot, int flags,
		       off_t off)
{
	struct output *o;
	bool fresh;
	long ret;
	u64 data;
	int err;

	o = mappable(s, event, len, prot, flags, off, &data, &err);
	fresh = !err && !o->ring;
	if (fresh)
		err = make_ring(o, data, prot & PROT_WRITE, -1);
	if (err)
		return err;
	len = PAGE_SIZE + data;
	ret = map_again(o->ring, addr, len, prot, flags);
	if (!sys_is_err(ret)) {
		err = note_mapping(s, o, (u64)ret, len);
		if (!err)
			return ret;
		sys_munmap((void *)ret, len);
		ret = err;
	}
	if (fresh)
		drop_ring(o);
	return ret;
}

static long map_output(struct store *s, u32 event, void *addr, size_t len, int prot, int flags,
		       off_t off)
{
	long ret;

	take_lock();
	ret = map_locked(s, event, addr, len, prot, flags, off);
	drop_lock();
	if (!sys_is_err(ret))
		perf_array_event_changed(event);
	return ret;
}

/* The last mapping of an event takes the ring with it, also from events that write into it. */
static void unmapped(struct store *s, struct output *o)
{
	struct perf_ring *r = o->ring;
	int err = 0;

	if (--o->maps)
		return;
	for (struct output *other = outputs; other; other = other->next) {
		if (other->ring != r)
			continue;
		other->ring = NULL;
		if (other != o)
			unref_ring(r);
	}
	unref_ring(r);
	atomic_store(&o->e->ring_pid, 0);
	munmap(o->e, PAGE_SIZE); /* and with it the hold */
	o->e = map_event(s, o->id, false, &err);
	store_release(s, OBJ_EVENT, o->id);
	if (o->e)
		return;
	for (struct output **at = &outputs; *at; at = &(*at)->next)
		if (*at == o) {
			*at = o->next;
			free(o);
			return;
		}
}

static int unmap_locked(u64 start, u64 end, u32 *ret_changed, u32 *ret_count)
{
	struct mapping *m;
	int err = 0;

	for (m = mappings; m; m = m->next)
		if (m->start < end && start < m->start + m->len &&
		    (start > m->start || end < m->start + m->len))
			return -EINVAL; /* a part of one */
	if (sys_is_err(sys_munmap((void *)start, end - start)))
		return -EINVAL;
	for (struct mapping **at = &mappings; (m = *at);) {
		if (m->start < start || m->start >= end) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		if (*ret_count < 64)
			ret_changed[(*ret_count)++] = m->of->id;
		unmapped(loader_session(&err), m->of);
		free(m);
	}
	return 0;
}

long loader_munmap(void *addr, size_t len)
{
	const u64 start = (u64)addr, end = start + ALIGN_UP((u64)len, PAGE_SIZE);
	u32 changed[64], count = 0;
	int err;

	if (likely(start >= atomic_load_explicit(&mapped_high, memory_order_relaxed) ||
		   end <= atomic_load_explicit(&mapped_low, memory_order_relaxed)) ||
	    loader_inside || start % PAGE_SIZE || end <= start)
		return -LOADER_PASS;
	loader_inside++;
	take_lock();
	err = unmap_locked(start, end, changed, &count);
	drop_lock();
	for (u32 i = 0; i < count; i++)
		perf_array_event_changed(changed[i]);
	loader_inside--;
	return err;
}

static int share_locked(struct store *s, u32 event, int fd, size_t len, int prot, int flags, off_t off)
{
	struct output *o;
	u64 data;
	int err;

	o = mappable(s, event, len, prot, flags, off, &data, &err);
	if (err || o->ring)
		return err;
	err = make_ring(o, data, prot & PROT_WRITE, fd);
	if (err)
		return err;
	err = add_map(s, o);
	if (err)
		drop_ring(o);
	return err;
}

int output_share(u32 event, int fd, size_t len, int prot, int flags, off_t off)
{
	int err = 0;
	struct store *s = loader_store(&err);

	if (!s)
		return err;
	take_lock();
	err = share_locked(s, event, fd, len, prot, flags, off);
	drop_lock();
	if (!err)
		perf_array_event_changed(event);
	return err;
}

void output_unshare(u32 event)
{
	struct output *o;
	int err = 0;

	take_lock();
	o = find(event);
	if (o && o->maps)
		unmapped(loader_session(&err), o);
	drop_lock();
	perf_array_event_changed(event);
}

bool output_drained(u32 event)
{
	struct output *o;
	bool ret = true;

	take_lock();
	o = find(event);
	if (o && o->ring && !o->ring->overwrite)
		ret = __atomic_load_n(&o->ring->page->data_tail, __ATOMIC_ACQUIRE) == o->ring->head;
	drop_lock();
	return ret;
}

/* May `o` write into the ring of `to`? */
static int can_share(const struct output *o, const struct output *to)
{
	const u64 backward = EVENT_ATTR_WRITE_BACKWARD;

	if (o == to || o->e->cpu != to->e->cpu || (o->e->cpu == -1 && o->e->pid != to->e->pid) ||
	    o->e->clockid != to->e->clockid || ((o->e->attr_flags ^ to->e->attr_flags) & backward))
		return -EINVAL;
	return o->maps || !to->ring ? -EINVAL : 0;
}

static int set_output(struct store *s, u32 event, int fd)
{
	struct output *o, *to = NULL;
	u32 id;
	int err = 0;

	if (fd != -1 && loader_fd_object(fd, OBJ_EVENT, &id))
		return -EBADF;
	take_lock();
	o = need(s, event, &err);
	if (o && fd != -1)
		to = need(s, id, &err);
	if (!err && to)
		err = can_share(o, to);
	else if (!err && o->maps)
		err = -EINVAL;
	if (!err && o->ring != (to ? to->ring : NULL)) {
		unref_ring(o->ring);
		o->ring = to ? to->ring : NULL;
		if (to)
			to->ring->refs++;
	}
	drop_lock();
	return err;
}

static int pause_output(u32 event, bool pause)
{
	struct output *o;
	int err = -EINVAL;

	take_lock();
	o = find(event);
	if (o && o->ring) {
		o->ring->paused = pause || !o->ring->size;
		err = 0;
	}
	drop_lock();
	return err;
}

static long control(struct store *s, u32 event, struct event_file *e, unsigned long request,
		    unsigned long arg)
{
	long ret = -ENOTTY;

	if (request == PERF_EVENT_IOC_SET_OUTPUT)
		ret = set_output(s, event, arg == ~0UL ? -1 : (int)arg == -1 ? -2 : (int)arg);
	else if (request == PERF_EVENT_IOC_PAUSE_OUTPUT)
		ret = pause_output(event, arg);
	if (!ret)
		perf_array_event_changed(event);
	return ret;
}

void output_begin(void)
{
	take_lock();
}

void output_end(void)
{
	drop_lock();
}

int output_sample(u32 id, const struct perf_sample *s, bool *ret_wake)
{
	struct output *o = find(id);
	u64 woken;
	int ret;

	if (!o || !o->ring)
		return -ENOENT;
	woken = o->ring->wakeup;
	ret = perf_ring_sample(o->ring, o->e, s);
	*ret_wake |= o->ring->wakeup != woken;
	return ret;
}

bool output_lost(u32 id, u64 n)
{
	struct output *o = find(id);

	if (o && o->ring)
		perf_ring_lost(o->ring, n);
	return o && o->ring;
}

u32 output_poll(u32 id, bool taken)
{
	struct output *o;
	u32 ret = POLLHUP;

	take_lock();
	o = find(id);
	if (o && o->ring)
		ret = taken ? atomic_exchange(&o->ring->poll, 0) : atomic_load(&o->ring->poll);
	drop_lock();
	return ret;
}

u32 output_woken(u32 *ret_ids, u32 max)
{
	u32 n = 0;

	take_lock();
	for (struct output *o = outputs; o && n < max; o = o->next) {
		struct perf_ring *r = o->ring;

		if (!r || r->woken == r->wakeup)
			continue;
		for (struct output *other = outputs; other && n < max; other = other->next)
			if (other->ring == r)
				ret_ids[n++] = other->id;
		r->woken = r->wakeup;
	}
	drop_lock();
	return n;
}

bool output_has_ring(u32 id)
{
	struct output *o;
	bool ret;

	take_lock();
	o = find(id);
	ret = o && o->ring;
	drop_lock();
	return ret;
}

u64 output_room(u32 id)
{
	struct output *o = find(id);

	return o && o->ring ? perf_ring_room(o->ring, o->e) : 0;
}

bool output_fills(u32 id)
{
	struct output *o;
	bool ret;

	take_lock();
	o = find(id);
	ret = o && o->ring && o->ring->size && !o->ring->overwrite && !(o->e->attr_flags & EVENT_ATTR_WRITE_BACKWARD);
	drop_lock();
	return ret;
}

const struct event_kind event_output = {.fill = fill,
					.set_bpf = set_bpf,
					.switched = switched,
					.ioctl = control,
					.map = map_output};
