/* SPDX-License-Identifier: MIT */
/* The trace log (session/trace.h). */
#include "session/trace.h"
#include "base/mem.h"

void trace_write(struct trace_log *log, const struct trace_slot *head, const char *text, u32 len)
{
	u64 ticket = atomic_fetch_add_explicit(&log->next, 1, memory_order_relaxed);
	struct trace_slot *s = &log->slot[ticket & (TRACE_SLOTS - 1)];

	if (len > TRACE_TEXT)
		len = TRACE_TEXT;
	atomic_store_explicit(&s->seq, 2 * ticket + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	s->time_ns = head->time_ns;
	s->pid = head->pid;
	s->tid = head->tid;
	s->cpu = head->cpu;
	s->len = len;
	memcpy(s->comm, head->comm, sizeof(s->comm));
	memcpy(s->text, text, len);
	atomic_store_explicit(&s->seq, 2 * ticket + 2, memory_order_release);
}

int trace_read(struct trace_log *log, u64 *cursor, struct trace_slot *ret, u64 *ret_lost)
{
	for (;;) {
		u64 next = atomic_load_explicit(&log->next, memory_order_acquire), want;
		struct trace_slot *s = &log->slot[*cursor & (TRACE_SLOTS - 1)];

		if (*cursor >= next)
			return 0;
		if (next - *cursor > TRACE_SLOTS) {
			*ret_lost += next - *cursor - TRACE_SLOTS;
			*cursor = next - TRACE_SLOTS;
			continue;
		}
		want = 2 * *cursor + 2;
		if (atomic_load_explicit(&s->seq, memory_order_acquire) == want) {
			memcpy(ret, s, sizeof(*ret));
			atomic_thread_fence(memory_order_acquire);
			if (atomic_load_explicit(&s->seq, memory_order_relaxed) == want) {
				if (ret->len > TRACE_TEXT)
					ret->len = TRACE_TEXT;
				++*cursor;
				return 1;
			}
		}
		/* Being written, or its writer is gone: give up on it once newer ones are complete. */
		if (next - *cursor < 64)
			return 0;
		++*ret_lost;
		++*cursor;
	}
}
