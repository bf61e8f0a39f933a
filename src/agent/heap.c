/* SPDX-License-Identifier: MIT */
/*
 * The agent's own memory: power-of-two classes cut from 64 KiB chunks, larger blocks mapped by
 * themselves. Used only while no other thread runs, so there is no lock. All of it goes back at
 * heap_release().
 */
#include <linux/mman.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"

#define CHUNK      (64 * 1024UL)
#define CLASS_MIN  6  /* 64 bytes */
#define CLASS_MAX  14 /* 16 KiB */

struct chunk {
	struct chunk *next;
	u64 pad;
};

static struct {
	struct chunk *chunks;
	size_t used; /* of the first chunk */
	void *free[CLASS_MAX + 1];
} heap;

void *map_anon(size_t size, int prot)
{
	long p = sys_mmap(NULL, ALIGN_UP(size, PAGE_SIZE), prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return sys_is_err(p) ? NULL : (void *)p;
}

static u32 size_class(size_t size)
{
	u32 c = CLASS_MIN;

	while ((1UL << c) < size)
		c++;
	return c;
}

static void *from_chunk(size_t size)
{
	struct chunk *c = heap.chunks;
	void *p;

	if (!c || heap.used + size > CHUNK) {
		c = map_anon(CHUNK, PROT_READ | PROT_WRITE);
		if (!c)
			return NULL;
		c->next = heap.chunks;
		heap.chunks = c;
		heap.used = 64;
	}
	p = (u8 *)c + heap.used;
	heap.used += size;
	return p;
}

/* Zeroed memory. */
void *heap_alloc(size_t size)
{
	u32 c;
	void *p;

	if (size > 1UL << CLASS_MAX)
		return map_anon(size, PROT_READ | PROT_WRITE);
	c = size_class(size);
	p = heap.free[c];
	if (!p)
		return from_chunk(1UL << c);
	heap.free[c] = *(void **)p;
	memset(p, 0, 1UL << c);
	return p;
}

void heap_free(void *p, size_t size)
{
	u32 c;

	if (!p)
		return;
	if (size > 1UL << CLASS_MAX) {
		sys_munmap(p, ALIGN_UP(size, PAGE_SIZE));
		return;
	}
	c = size_class(size);
	*(void **)p = heap.free[c];
	heap.free[c] = p;
}

void heap_release(void)
{
	while (heap.chunks) {
		struct chunk *next = heap.chunks->next;

		sys_munmap(heap.chunks, CHUNK);
		heap.chunks = next;
	}
	memset(&heap, 0, sizeof(heap));
}

/* Room for one more element at the end, zeroed; earlier elements may move. */
void *vec_push(struct vec *v, size_t elem)
{
	if (v->count == v->cap) {
		u32 cap = v->cap ? v->cap * 2 : 16;
		void *data = heap_alloc(cap * elem);

		if (!data)
			return NULL;
		memcpy(data, v->data, v->count * elem);
		heap_free(v->data, v->cap * elem);
		v->data = data;
		v->cap = cap;
	}
	memset((u8 *)v->data + v->count * elem, 0, elem);
	return (u8 *)v->data + v->count++ * elem;
}

void vec_free(struct vec *v, size_t elem)
{
	heap_free(v->data, v->cap * elem);
	*v = (struct vec){0};
}
