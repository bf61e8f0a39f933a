/* SPDX-License-Identifier: MIT */
/* The trace log (session/trace.h). */
#include "session/trace.h"
#include "base/mem.h"

#define PATIENCE 64 /* newer slots there must be before an unfinished one is given up */

static void write_slot(struct trace_log *log, u64 ticket, const struct trace_slot *head,
		       const char *text, u32 len)
{
	struct trace_slot *s = &log->slot[ticket & (TRACE_SLOTS - 1)];

	atomic_store_explicit(&s->seq, 2 * ticket + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	s->time_ns = head->time_ns;
	s->pid = head->pid;
	s->tid = head->tid;
	s->cpu = head->cpu;
	s->len = len;
	s->part = head->part;
	s->parts = head->parts;
	memcpy(s->comm, head->comm, sizeof(s->comm));
	memcpy(s->text, text, len);
	atomic_store_explicit(&s->seq, 2 * ticket + 2, memory_order_release);
}

void trace_write(struct trace_log *log, const struct trace_slot *head, const char *text, u32 len)
{
	struct trace_slot h = *head;
	u64 ticket;

	if (len > TRACE_MESSAGE)
		len = TRACE_MESSAGE;
	h.parts = len ? (len + TRACE_TEXT - 1) / TRACE_TEXT : 1;
	ticket = atomic_fetch_add_explicit(&log->next, h.parts, memory_order_relaxed);
	for (h.part = 0; h.part < h.parts; h.part++) {
		u32 off = h.part * TRACE_TEXT;

		write_slot(log, ticket + h.part, &h, text + off,
			   len - off < TRACE_TEXT ? len - off : TRACE_TEXT);
	}
}

/* Copies a finished slot; what it says is held to its bounds. */
static bool read_slot(struct trace_log *log, u64 ticket, struct trace_slot *ret)
{
	struct trace_slot *s = &log->slot[ticket & (TRACE_SLOTS - 1)];
	u64 want = 2 * ticket + 2;

	if (atomic_load_explicit(&s->seq, memory_order_acquire) != want)
		return false;
	memcpy(ret, s, sizeof(*ret));
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&s->seq, memory_order_relaxed) != want)
		return false;
	if (ret->len > TRACE_TEXT)
		ret->len = TRACE_TEXT;
	if (!ret->parts || ret->parts > TRACE_PARTS || ret->part >= ret->parts)
		ret->part = 0, ret->parts = 1;
	return true;
}

/* The message that begins at `ticket`: tickets it took, 0 when something of it is missing. */
static u32 read_message(struct trace_log *log, u64 ticket, struct trace_message *ret)
{
	struct trace_slot s;
	u32 parts;

	if (!read_slot(log, ticket, &s) || s.part)
		return 0;
	parts = s.parts;
	ret->time_ns = s.time_ns;
	ret->pid = s.pid;
	ret->tid = s.tid;
	ret->cpu = s.cpu;
	memcpy(ret->comm, s.comm, sizeof(ret->comm));
	ret->len = 0;
	for (u32 i = 0; i < parts; i++) {
		if (i && (!read_slot(log, ticket + i, &s) || s.part != i || s.parts != parts))
			return 0;
		memcpy(ret->text + ret->len, s.text, s.len);
		ret->len += s.len;
	}
	return parts;
}

int trace_read(struct trace_log *log, u64 *cursor, struct trace_message *ret, u64 *ret_lost)
{
	for (;;) {
		u64 next = atomic_load_explicit(&log->next, memory_order_acquire);
		u32 parts;

		if (*cursor >= next)
			return 0;
		if (next - *cursor > TRACE_SLOTS) {
			*ret_lost += next - *cursor - TRACE_SLOTS;
			*cursor = next - TRACE_SLOTS;
			continue;
		}
		parts = read_message(log, *cursor, ret);
		if (parts) {
			*cursor += parts;
			return 1;
		}
		/*
		 * Being written, or its writer is gone: give up on it once newer ones are complete.
		 */
		if (next - *cursor < PATIENCE)
			return 0;
		++*ret_lost;
		++*cursor;
	}
}

/* The word of map `id`, which it takes where there is none yet (`take`); word 0 when all are others'. */
static _Atomic u64 *cut_word(struct trace_log *log, u32 id, bool take)
{
	for (u32 i = 1; id && i < TRACE_CUTS; i++) {
		u64 seen = atomic_load_explicit(&log->cut[i], memory_order_relaxed);

		if (!seen && take)
			atomic_compare_exchange_strong_explicit(&log->cut[i], &seen, (u64)id << 32, memory_order_relaxed,
								memory_order_relaxed);
		seen = atomic_load_explicit(&log->cut[i], memory_order_relaxed);
		if (seen >> 32 == id)
			return &log->cut[i];
	}
	return &log->cut[0];
}

void trace_note_cut(struct trace_log *log, u32 id)
{
	atomic_fetch_add_explicit(cut_word(log, id, true), 1, memory_order_relaxed);
}

u32 trace_cuts(struct trace_log *log, u32 id)
{
	_Atomic u64 *word = cut_word(log, id, false);

	return id && word == &log->cut[0] ? 0 : (u32)atomic_load_explicit(word, memory_order_relaxed);
}
