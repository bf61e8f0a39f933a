/* SPDX-License-Identifier: MIT */
/*
 * Ring buffer helpers. Records that a run has reserved are listed in it (vm_run.record): only those can be
 * submitted, and what is left when the run ends is discarded and counted.
 */
#include "maps/ringbuf.h"
#include "base/mem.h"
#include "helpers/dynptr.h"

#define WAKEUP_FLAGS (BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP)
#define DRAIN_MAX    (128u * 1024) /* BPF_MAX_USER_RINGBUF_SAMPLES */

static bool is_ringbuf(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_RINGBUF;
}

u64 help_ringbuf_output(u64 map, u64 data, u64 size, u64 flags, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;
	u8 *payload;

	if (unlikely(flags & ~(u64)WAKEUP_FLAGS || !is_ringbuf(m)))
		return (u64)-EINVAL;
	payload = ringbuf_reserve(m, size);
	if (unlikely(!payload))
		return (u64)-EAGAIN;
	if (likely(size <= 64 && size % 8 == 0)) {
		for (u64 i = 0; i < size; i += 8)
			__builtin_memcpy(payload + i, (const u8 *)data + i, 8);
	} else {
		memcpy(payload, (const void *)data, size);
	}
	ringbuf_finish(m, payload, false, flags);
	return 0;
}

static u64 reserve(struct map *m, u64 size, struct vm_run *run)
{
	struct vm_record *r = &run->record[run->record_count];
	u8 *payload;

	if (unlikely(!is_ringbuf(m)))
		return 0;
	if (unlikely(run->record_count >= VM_RECORDS)) {
		map_count(m, MAP_STAT_BUSY);
		return 0;
	}
	payload = ringbuf_reserve(m, size);
	if (unlikely(!payload))
		return 0;
	*r = (struct vm_record){(u64)payload, (u64)payload + size, m};
	run->record_count++;
	return (u64)payload;
}

/* Takes the record out of the run; NULL when it is none of its. */
static struct map *take(struct vm_run *run, u64 payload)
{
	for (u32 i = 0; i < run->record_count; i++) {
		struct map *m = run->record[i].owner;

		if (run->record[i].start != payload)
			continue;
		run->record[i] = run->record[--run->record_count];
		return m;
	}
	return NULL;
}

static void finish(struct vm_run *run, u64 payload, bool discard, u64 flags)
{
	struct map *m = take(run, payload);

	if (likely(m))
		ringbuf_finish(m, (u8 *)payload, discard, flags);
}

u64 help_ringbuf_reserve(u64 map, u64 size, u64 flags, u64 r4, u64 r5, struct vm_run *run)
{
	return unlikely(flags) ? 0 : reserve((struct map *)map, size, run);
}

u64 help_ringbuf_submit(u64 payload, u64 flags, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	finish(run, payload, false, flags);
	return 0;
}

u64 help_ringbuf_discard(u64 payload, u64 flags, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	finish(run, payload, true, flags);
	return 0;
}

u64 help_ringbuf_query(u64 map, u64 what, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	return is_ringbuf((struct map *)map) ? ringbuf_query((struct map *)map, what) : 0;
}

void helper_abandon_records(struct vm_run *run)
{
	while (run->record_count) {
		const struct vm_record *r = &run->record[--run->record_count];

		ringbuf_abandon(r->owner, (u8 *)r->start);
	}
}

u64 help_ringbuf_reserve_dynptr(u64 map, u64 size, u64 flags, u64 ptr, u64 r5, struct vm_run *run)
{
	long err = flags ? -EINVAL : (u32)size > DYNPTR_SIZE_MAX ? -E2BIG : 0;
	u64 payload = err ? 0 : reserve((struct map *)map, (u32)size, run);

	if (!err && !payload)
		err = -EINVAL;
	dynptr_set(ptr, payload, payload ? DYNPTR_RINGBUF | (u32)size : 0);
	return (u64)err;
}

static void finish_dynptr(u64 ptr, bool discard, u64 flags, struct vm_run *run)
{
	u64 payload = ((const struct dynptr *)ptr)->data;

	if (!payload)
		return;
	finish(run, payload, discard, flags);
	dynptr_set(ptr, 0, 0);
}

u64 help_ringbuf_submit_dynptr(u64 ptr, u64 flags, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	finish_dynptr(ptr, false, flags, run);
	return 0;
}

u64 help_ringbuf_discard_dynptr(u64 ptr, u64 flags, u64 r3, u64 r4, u64 r5, struct vm_run *run)
{
	finish_dynptr(ptr, true, flags, run);
	return 0;
}

/* Samples consumed, or an error that ends the draining. */
static long drain(struct map *m, u64 fn, u64 ctx, struct vm_run *run, bool *ret_any)
{
	long samples = 0, discarded = 0, stop = 0;
	struct dynptr d;

	for (; samples < DRAIN_MAX && !stop; samples++) {
		const u8 *sample;
		u32 len;
		int err = user_ringbuf_peek(m, &sample, &len);

		*ret_any = samples > 0;
		if (err == -ENODATA)
			break;
		if (err && err != -EAGAIN)
			return err;
		if (err) {
			discarded++;
			continue;
		}
		d = (struct dynptr){(u64)sample, DYNPTR_LOCAL | len, 0};
		run->dynptr = (u64)&d;
		stop = (long)vm_callback(run, fn, (u64)&d, ctx, 0, 0);
		user_ringbuf_release(m, len);
		if (run->status)
			break;
	}
	*ret_any = samples > 0;
	return samples - discarded;
}

u64 help_user_ringbuf_drain(u64 map, u64 fn, u64 ctx, u64 flags, u64 r5, struct vm_run *run)
{
	struct map *m = (struct map *)map;
	const u64 outer = run->dynptr;
	bool any = false;
	long ret;

	if (flags & ~(u64)WAKEUP_FLAGS || m->def.type != BPF_MAP_TYPE_USER_RINGBUF)
		return (u64)-EINVAL;
	if (user_ringbuf_begin(m)) {
		map_count(m, MAP_STAT_BUSY);
		return (u64)-EBUSY;
	}
	ret = drain(m, fn, ctx, run, &any);
	if (ret < 0)
		map_count(m, MAP_STAT_CORRUPT);
	run->dynptr = outer;
	user_ringbuf_end(m, flags & BPF_RB_FORCE_WAKEUP || (any && !(flags & BPF_RB_NO_WAKEUP)));
	return (u64)ret;
}
