/* SPDX-License-Identifier: MIT */
/*
 * Where a punned jump leads (attach/attach.h). The bytes behind it say where that is, mostly within a few places, and
 * sometimes at one. So no trampoline lies there, but a jump on to the one that the probe has now: the next one, with
 * another tool's programs, need not wait until no thread is in the old.
 *
 *     probe:  jmp hop        hop:  jmp *to        to: the trampoline
 *
 * A hop stays as long as there are sites that came by it, retired ones included.
 */
#include <asm/errno.h>
#include "agent/state.h"
#include "base/mem.h"

#define JMP_LEN 6 /* jmp *(%rip), in front of `to` */
_Static_assert(HOP_LEN == JMP_LEN + sizeof(u64), "as it is written");

struct hop {
	struct hop *next;
	u64 addr; /* of the probe */
	u64 at;
	u64 to; /* as it will be when all that is listed has been written; 0: there is no code yet */
	struct tramp_area *area;
	u32 refs;
};
static struct hop *hops;

struct hop *hop_in(u64 addr, u64 first, u64 last)
{
	struct hop *h = hops;

	while (h && (h->addr != addr || h->at < first || h->at > last))
		h = h->next;
	if (h)
		return h;
	h = heap_alloc(sizeof(*h));
	if (!h)
		return NULL;
	h->addr = addr;
	h->at = code_room_in(first, last, HOP_LEN, &h->area);
	if (!h->at) {
		heap_free(h, sizeof(*h));
		return NULL;
	}
	code_room_taken(h->area, HOP_LEN);
	h->next = hops;
	hops = h;
	return h;
}

u64 hop_at(const struct hop *h)
{
	return h->at;
}

int hop_lead(struct hop *h, u64 to)
{
	u8 code[HOP_LEN] = {0xff, 0x25};
	int err;

	memcpy(code + JMP_LEN, &to, sizeof(to));
	err = h->to ? code_patch(h->at + JMP_LEN, (const u8 *)&h->to, code + JMP_LEN, sizeof(to))
		    : code_write(h->at, code, sizeof(code));
	if (!err)
		h->to = to;
	return err;
}

void hop_take(struct hop *h)
{
	if (h)
		h->refs++;
}

void hop_unused(struct hop *h)
{
	struct hop **p = &hops;

	if (!h || h->refs)
		return;
	while (*p != h)
		p = &(*p)->next;
	*p = h->next;
	code_room_free(h->area);
	heap_free(h, sizeof(*h));
}

void hop_drop(struct hop *h)
{
	if (!h)
		return;
	h->refs--;
	hop_unused(h);
}
