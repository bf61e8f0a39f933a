/* SPDX-License-Identifier: MIT */
/*
 * Ring buffers that kernel programs write to: a thread reads the kernel's ring and puts each record into the
 * session's, as a program in user space would. So the tool has one ring, whatever it does with it, and records of
 * both sides come in the order in which they got there. Where the session's ring is full the record waits in the
 * kernel's; when that is full too, kernel programs are told so, as ever.
 */
#include "loader/kernel.h"
#include "loader/quiet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/sys.h"
#include <sys/mman.h>
#include "loader/source_ring.h"
#include "maps/ringbuf.h"

#define LOOK_MS 500     /* how often a ring without records is looked at: is its map still there? */
#define FULL_NS 1000000 /* until a full session's ring is tried again */

struct ring {
	struct map *map;
	int fd;
	_Atomic u64 *consumer;
	const _Atomic u64 *producer;
	const u8 *data;
	u64 mask;
};

/* Passes on what there is. False: the session's ring has no room. */
static bool move_records(struct ring *r)
{
	u64 at = atomic_load_explicit(r->consumer, memory_order_relaxed);

	while (at != atomic_load_explicit(r->producer, memory_order_acquire)) {
		const u8 *record = r->data + (at & r->mask);
		const u32 head = atomic_load_explicit((const _Atomic u32 *)record, memory_order_acquire);
		const u32 len = head & ~(u32)(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		if (head & BPF_RINGBUF_BUSY_BIT)
			return true; /* its end wakes us */
		if (!(head & BPF_RINGBUF_DISCARD_BIT)) {
			u8 *to = ringbuf_reserve(r->map, len);

			if (!to)
				return false;
			memcpy(to, record + BPF_RINGBUF_HDR_SZ, len);
			ringbuf_finish(r->map, to, false, 0);
		}
		at += ALIGN_UP((u64)len + BPF_RINGBUF_HDR_SZ, 8);
		atomic_store_explicit(r->consumer, at, memory_order_release);
	}
	return true;
}

static void *serve(void *arg)
{
	const struct timespec full = {.tv_nsec = FULL_NS};
	struct ring *r = arg;
	struct pollfd p = {.fd = r->fd, .events = POLLIN};

	loader_inside++;
	ring_source_start(r->map->id);
	do {
		while (!move_records(r) && kernel_map_fd(r->map->id) >= 0)
			nanosleep(&full, NULL);
		sys_call3(__NR_poll, (long)&p, 1, LOOK_MS);
	} while (kernel_map_fd(r->map->id) >= 0);
	sys_munmap((void *)r->consumer, PAGE_SIZE);
	sys_munmap((void *)r->producer, PAGE_SIZE + 2 * (r->mask + 1));
	sys_close(r->fd);
	free(r);
	loader_inside--;
	return NULL;
}

int kernel_ring_start(struct map *m, int twin)
{
	struct ring *r = calloc(1, sizeof(*r));
	long own, written;

	if (!r)
		return -ENOMEM;
	r->map = m;
	r->mask = m->def.max_entries - 1;
	r->fd = fcntl(twin, F_DUPFD_CLOEXEC, twin);
	own = sys_mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, twin, 0);
	written = sys_mmap(NULL, PAGE_SIZE + 2 * (r->mask + 1), PROT_READ, MAP_SHARED, twin, PAGE_SIZE);
	if (r->fd < 0 || sys_is_err(own) || sys_is_err(written)) {
		free(r);
		return -ENOMEM;
	}
	r->consumer = (void *)own;
	r->producer = (void *)written;
	r->data = (const u8 *)written + PAGE_SIZE;
	return quiet_thread(serve, r, 0);
}
