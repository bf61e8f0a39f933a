/* SPDX-License-Identifier: MIT */
/*
 * Perf event arrays that kernel programs write to. For each of the tool's events in the array there is one of the
 * kernel's in the twin, with a ring of ours; a thread passes its records on to the tool's ring. So the tool has
 * one ring a processor. Where that is full records are lost and told by a LOST record, as are those that the
 * kernel lost.
 */
#include "loader/kernel.h"
#include "loader/quiet.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/sys.h"
#include "loader/event_output.h"
#include "loader/source_perf.h"
#include "loader/tool_map.h"
#include "maps/perf_event_array.h"
#include <sys/epoll.h>

#define RING_PAGES 64
#define RING_SIZE  ((u64)RING_PAGES * PAGE_SIZE)
#define LOOK_MS    500 /* how often an array without records is looked at: is it still there? */
#define SAMPLES    (PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU | PERF_SAMPLE_RAW)

/* A sample as SAMPLES makes it. */
struct sample {
	struct perf_event_header head;
	u64 ip;
	u32 pid, tid;
	u64 time;
	u32 cpu, pad;
	u32 raw_size;
	u8 raw[];
} __attribute__((packed));

struct lost {
	struct perf_event_header head;
	u64 id, lost;
};

struct entry {
	int fd; /* the kernel's event, -1: none */
	u32 event;
	struct perf_event_mmap_page *page;
};

struct array {
	struct array *next;
	struct map *map;
	int twin, set; /* set: epoll */
	u8 *record;    /* one, when it wraps */
	struct entry entries[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct array *arrays;

/* ---- records ---- */

static void pass_sample(const struct entry *e, const struct sample *s, u32 size, bool *ret_wake)
{
	const struct perf_sample to = {.raw = s->raw,
				       .raw_size = s->raw_size,
				       .pid = s->pid,
				       .tid = s->tid,
				       .cpu = s->cpu,
				       .time = s->time,
				       .ip = s->ip,
				       .misc = s->head.misc & PERF_RECORD_MISC_CPUMODE_MASK};

	if (size >= sizeof(*s) && s->raw_size <= size - sizeof(*s))
		output_sample(e->event, &to, ret_wake);
}

static void pass_record(const struct entry *e, const void *record, u32 size, bool *ret_wake)
{
	const struct perf_event_header *h = record;

	if (h->type == PERF_RECORD_SAMPLE)
		pass_sample(e, record, size, ret_wake);
	else if (h->type == PERF_RECORD_LOST && size >= sizeof(struct lost))
		output_lost(e->event, ((const struct lost *)record)->lost);
}

static void copy_out(const struct entry *e, u64 at, void *to, u64 n)
{
	const u8 *data = (const u8 *)e->page + PAGE_SIZE;
	const u64 off = at & (RING_SIZE - 1), first = n < RING_SIZE - off ? n : RING_SIZE - off;

	memcpy(to, data + off, first);
	memcpy((u8 *)to + first, data, n - first);
}

static void move_records(struct array *a, const struct entry *e, bool *ret_wake)
{
	const u64 head = __atomic_load_n(&e->page->data_head, __ATOMIC_ACQUIRE);
	u64 tail = e->page->data_tail;

	while (tail != head) {
		struct perf_event_header h;

		copy_out(e, tail, &h, sizeof(h));
		if (h.size < sizeof(h))
			break;
		copy_out(e, tail, a->record, h.size);
		pass_record(e, a->record, h.size, ret_wake);
		tail += h.size;
		__atomic_store_n(&e->page->data_tail, tail, __ATOMIC_RELEASE);
	}
}

static void move_all(struct array *a)
{
	bool wake = false;

	pthread_mutex_lock(&lock);
	output_begin();
	for (u32 i = 0; i < a->map->def.max_entries; i++)
		if (a->entries[i].fd >= 0)
			move_records(a, &a->entries[i], &wake);
	output_end();
	pthread_mutex_unlock(&lock);
	if (wake)
		perf_source_notify();
}

/* ---- events ---- */

static void drop(struct array *a, u32 index)
{
	struct entry *e = &a->entries[index];

	if (e->fd < 0)
		return;
	kernel_elem_u32(BPF_MAP_DELETE_ELEM, a->twin, index, 0);
	sys_munmap(e->page, PAGE_SIZE + RING_SIZE);
	sys_close(e->fd);
	e->fd = -1;
}

static int open_event(struct entry *e, int cpu)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .size = sizeof(attr),
				       .config = PERF_COUNT_SW_BPF_OUTPUT,
				       .sample_type = SAMPLES,
				       .sample_period = 1,
				       .wakeup_events = 1};
	const long fd = sys_call6(__NR_perf_event_open, (long)&attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC, 0);
	long far, p;

	if (fd < 0)
		return (int)fd;
	far = sys_call3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 600);
	if (far >= 0)
		sys_close((int)fd);
	e->fd = (int)(far < 0 ? fd : far);
	p = sys_mmap(NULL, PAGE_SIZE + RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, 0);
	if (sys_is_err(p)) {
		sys_close(e->fd);
		e->fd = -1;
		return (int)p;
	}
	e->page = (void *)p;
	return 0;
}

static void add(struct array *a, u32 index)
{
	const u64 word = atomic_load(&perf_array_entry(a->map, index)->word);
	const int cpu = (int)(u16)(word >> 32) - 1;
	struct epoll_event wanted = {.events = EPOLLIN};
	struct entry *e = &a->entries[index];

	if (!(word & PERF_ENTRY_SET) || (word & PERF_ENTRY_TASK) || cpu < 0 || open_event(e, cpu))
		return;
	e->event = perf_entry_event(word);
	kernel_elem_u32(BPF_MAP_UPDATE_ELEM, a->twin, index, (u32)e->fd);
	sys_call4(__NR_epoll_ctl, a->set, EPOLL_CTL_ADD, e->fd, (long)&wanted);
}

void kernel_perf_entry(struct map *m, u32 index)
{
	struct array *a;

	pthread_mutex_lock(&lock);
	for (a = arrays; a && a->map != m; a = a->next)
		;
	if (a && index < m->def.max_entries) {
		drop(a, index);
		add(a, index);
	}
	pthread_mutex_unlock(&lock);
}

/* ---- the thread ---- */

static void end(struct array *a)
{
	struct array **at = &arrays;

	pthread_mutex_lock(&lock);
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	for (u32 i = 0; i < a->map->def.max_entries; i++)
		drop(a, i);
	pthread_mutex_unlock(&lock);
	sys_close(a->set);
	sys_close(a->twin);
	free(a->record);
	free(a);
}

static void *serve(void *arg)
{
	struct array *a = arg;
	struct epoll_event some[16];

	loader_inside++;
	do {
		sys_call6(__NR_epoll_pwait, a->set, (long)some, ARRAY_SIZE(some), LOOK_MS, 0, 0);
		move_all(a);
	} while (kernel_map_fd(a->map->id) >= 0);
	end(a);
	loader_inside--;
	return NULL;
}

int kernel_perf_start(struct map *m, int twin)
{
	const u32 n = m->def.max_entries;
	struct array *a = calloc(1, sizeof(*a) + n * sizeof(a->entries[0]));

	if (!a || !(a->record = malloc(UINT16_MAX))) {
		free(a);
		return -ENOMEM;
	}
	a->map = m;
	a->twin = fcntl(twin, F_DUPFD_CLOEXEC, twin);
	a->set = (int)sys_call1(__NR_epoll_create1, EPOLL_CLOEXEC);
	for (u32 i = 0; i < n; i++)
		a->entries[i].fd = -1;
	pthread_mutex_lock(&lock);
	for (u32 i = 0; i < n; i++)
		add(a, i);
	a->next = arrays;
	arrays = a;
	pthread_mutex_unlock(&lock);
	return quiet_thread(serve, a, 0);
}
