/* SPDX-License-Identifier: MIT */
/*
 * Steps through buffers (oracle_random.h): programs write records and a reader takes some out, or a writer
 * offers records, sound and unsound ones, and programs drain them. Positions, headers and bytes are compared.
 */
#include "oracle_random.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "shm/staging.h"

#define PAGE  4096ul
#define STACK 256

static _Atomic u64 *position(u8 *page)
{
	return (_Atomic u64 *)page;
}

static void map_both(struct duo *d, int w, int control_prot, int ring_prot)
{
	d->control[w] = d->s[w]->mmap(d->map[w], PAGE, control_prot, MAP_SHARED, 0);
	d->ring[w] = d->s[w]->mmap(d->map[w], PAGE + 2ul * d->entries, ring_prot, MAP_SHARED, PAGE);
	duo_note_long(d, w, (long)d->control[w] > 0 && (long)d->ring[w] > 0);
}

static void unmap_both(struct duo *d, int w)
{
	d->s[w]->munmap(d->control[w], PAGE);
	d->s[w]->munmap(d->ring[w], PAGE + 2ul * d->entries);
}

/* ---- RINGBUF ---- */

enum { OUTPUT, SMALL, LARGE, QUERY, PROGS };

#define RESERVE(d, w, p, n) \
	DUO_LOAD(d, w, p, MOVX(6, 1), MAP(1, (d)->map[w]), MOV(2, n), MOV(3, 0), CALL(BPF_FUNC_ringbuf_reserve), \
		 JNE(0, 0, 2), MOV(0, 1), EXIT, LDDW(1, 6, 0), STXDW(0, 0, 1), STXDW(0, (n) - 8, 1), LDDW(2, 6, 8), LDDW(3, 6, 16), \
		 MOVX(1, 0), JNE(3, 0, 3), CALL(BPF_FUNC_ringbuf_submit), MOV(0, 2), EXIT, CALL(BPF_FUNC_ringbuf_discard), MOV(0, 3), EXIT)

static void ring_begin(struct duo *d, int w)
{
	struct bpf_insn in[STACK / 8 + 16];
	u32 n = 0;

	for (int i = 0; i < STACK / 8; i++)
		in[n++] = STDW(10, (s16)(i * 8 - STACK), 0x01010101 * (i + 1));
	{
		const struct bpf_insn rest[] = {LDDW(3, 1, 0), AND(3, STACK - 1), LDDW(4, 1, 8), MAP(1, d->map[w]), MOVX(2, 10),
						ADD(2, -STACK), CALL(BPF_FUNC_ringbuf_output), EXIT};

		memcpy(in + n, rest, sizeof(rest));
		d->progs[w][OUTPUT] = oracle_load(d->s[w], BPF_PROG_TYPE_RAW_TRACEPOINT, 0, in, n + ARRAY_SIZE(rest));
	}
	RESERVE(d, w, SMALL, 48);
	RESERVE(d, w, LARGE, 1000);
	DUO_LOAD(d, w, QUERY, LDDW(2, 1, 0), MAP(1, d->map[w]), CALL(BPF_FUNC_ringbuf_query), EXIT);
	map_both(d, w, PROT_READ | PROT_WRITE, PROT_READ);
}

/* What programs have finished has arrived: at once on the kernel, by the pump on limpet. */
static void arrive(struct duo *d, int w)
{
	const u32 end = (u32)duo_run(d, w, QUERY, BPF_RB_PROD_POS, 0, 0);

	for (int i = 0; i < 100000 && (u32)*position(d->ring[w]) != end; i++)
		i < 100 ? (void)sched_yield() : (void)usleep(50);
	duo_note(d, w, d->ring[w], 8);
}

static void ring_read(struct duo *d, int w, u32 most)
{
	u64 at = *position(d->control[w]);

	for (; most && at < *position(d->ring[w]); most--) {
		const u8 *header = d->ring[w] + PAGE + (at & (d->entries - 1));
		u32 word;

		memcpy(&word, header, 4);
		/* a discarded record's bytes are whatever the program left */
		duo_note(d, w, header, word & BPF_RINGBUF_DISCARD_BIT ? 8 : 16);
		if (!(word & BPF_RINGBUF_DISCARD_BIT) && word > 16)
			duo_note(d, w, header + word, 8); /* the record's last */
		at += staging_total(word & 0x3fffffff);
	}
	*position(d->control[w]) = at;
	duo_note(d, w, &at, sizeof(at));
}

static void ring_act(struct duo *d)
{
	static const u64 flags[] = {0, 0, 0, BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP, 3, 4, 1ULL << 40};
	const u32 what = duo_draw(d, 8);
	const u64 a = duo_draw(d, 1u << 20), f = flags[duo_draw(d, 8)], drop = !duo_draw(d, 4);
	const u32 most = duo_draw(d, 12);

	for (int w = 0; w < 2; w++) {
		if (what < 2)
			duo_run(d, w, OUTPUT, 8 + a % (STACK - 8), f, 0);
		else if (what < 4)
			duo_run(d, w, SMALL, a, f & 3, drop);
		else if (what == 4)
			duo_run(d, w, LARGE, a, f & 3, drop);
		else if (what == 5)
			duo_run(d, w, QUERY, a % 7, 0, 0);
		arrive(d, w);
		if (what > 5)
			ring_read(d, w, most);
	}
}

const struct duo_type duo_ringbuf = {"ringbuf", BPF_MAP_TYPE_RINGBUF, 0, 0, {4096, 4096, 16384}, false, false, NULL, ring_begin, unmap_both, ring_act};

/* ---- USER_RINGBUF ---- */

/* Drains up to args[1] samples with flags args[0]: answer << 16 | sum of their first words. */
static void user_begin(struct duo *d, int w)
{
	DUO_LOAD(d, w, 0, LDDW(7, 1, 0), LDDW(8, 1, 8), STXDW(10, -16, 8), STDW(10, -8, 0), MAP(1, d->map[w]), FUNC(2, 9), MOVX(3, 10),
		 ADD(3, -16), MOVX(4, 7), CALL(BPF_FUNC_user_ringbuf_drain), LSH(0, 16), LDDW(1, 10, -8), ADDX(0, 1), EXIT,
		 /* callback: dynptr r1, ctx r2 */
		 MOVX(6, 2), STDW(10, -8, 0), MOVX(3, 1), MOVX(1, 10), ADD(1, -8), MOV(2, 8), MOV(4, 0), MOV(5, 0),
		 CALL(BPF_FUNC_dynptr_read), LDDW(1, 10, -8), LDDW(2, 6, 8), ADDX(2, 1), STXDW(6, 8, 2), LDDW(2, 6, 0), ADD(2, -1),
		 STXDW(6, 0, 2), MOV(0, 0), JNE(2, 0, 1), MOV(0, 1), EXIT);
	map_both(d, w, PROT_READ, PROT_READ | PROT_WRITE);
}

/* The kernel's tool sees each byte twice; limpet's has two halves (docs/compatibility.md). */
static void store(struct duo *d, int w, u64 at, u64 word)
{
	at &= (d->entries - 1) & ~7ul;
	memcpy(d->ring[w] + PAGE + at, &word, 8);
	memcpy(d->ring[w] + PAGE + d->entries + at, &word, 8);
}

/* A record as a tool writes it: `word` is its length and flags; how far the position goes with it. */
static void offer(struct duo *d, int w, u32 word, u64 sample, u64 total)
{
	const u64 at = *position(d->ring[w]);

	store(d, w, at, word);
	store(d, w, at + 8, sample);
	*position(d->ring[w]) = at + total;
}

static void user_act(struct duo *d)
{
	static const u64 flags[] = {0, 0, 0, BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP, 3, 4, 1ULL << 40};
	const u32 what = duo_draw(d, 16), length = duo_draw(d, 4) ? duo_draw(d, 200) : duo_draw(d, 6000), kind = duo_draw(d, 8);
	const u32 word = length | (kind == 0 ? BPF_RINGBUF_BUSY_BIT : kind < 3 ? BPF_RINGBUF_DISCARD_BIT : 0);
	const u64 sample = duo_draw(d, 1000), f = flags[duo_draw(d, 8)], most = 1 + duo_draw(d, 6), odd = duo_draw(d, 100000);

	for (int w = 0; w < 2; w++) {
		const u64 room = d->entries - (*position(d->ring[w]) - *position(d->control[w]));

		if (what < 8 && staging_total(length) <= room)
			offer(d, w, word, sample, staging_total(length));
		else if (what == 8)
			offer(d, w, word, sample, odd); /* any position, any length */
		else if (what == 9)
			*position(d->ring[w]) = *position(d->control[w]); /* the tool begins anew */
		else
			duo_run(d, w, 0, f, most, 0);
		duo_note(d, w, d->ring[w], 8);
		duo_note(d, w, d->control[w], 8);
	}
}

const struct duo_type duo_user_ringbuf = {"user_ringbuf", BPF_MAP_TYPE_USER_RINGBUF, 0, 0, {4096, 4096, 16384}, false, false, NULL, user_begin, unmap_both, user_act};

/* ---- PERF_EVENT_ARRAY: events 0 and 1 have rings ---- */

#define PERF_PAGES 2ul

static int event(struct duo *d, int w, u32 k)
{
	struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(a), .config = PERF_COUNT_SW_BPF_OUTPUT,
				    .sample_period = 1, .sample_type = PERF_SAMPLE_RAW, .wakeup_events = 1};

	if (k == 3) {
		a.config = PERF_COUNT_SW_CPU_CLOCK;
		a.disabled = 1;
	}
	return (int)d->s[w]->perf(&a, -1, k == 2, -1, PERF_FLAG_FD_CLOEXEC);
}

static void perf_begin(struct duo *d, int w)
{
	struct bpf_insn in[STACK / 8 + 16];
	u32 n = 0;

	in[n++] = MOVX(6, 1);
	for (int i = 0; i < STACK / 8; i++)
		in[n++] = STDW(10, (s16)(i * 8 - STACK), 0x01010101 * (i + 1));
	{
		const struct bpf_insn rest[] = {LDDW(5, 6, 0), AND(5, STACK - 1), LDDW(3, 6, 8), MOVX(1, 6), MAP(2, d->map[w]), MOVX(4, 10),
						ADD(4, -STACK), CALL(BPF_FUNC_perf_event_output), EXIT};

		memcpy(in + n, rest, sizeof(rest));
		d->progs[w][0] = oracle_load(d->s[w], BPF_PROG_TYPE_RAW_TRACEPOINT, 0, in, n + ARRAY_SIZE(rest));
	}
	d->ring[w] = d->s[w]->mmap(d->objects[w][0], (1 + PERF_PAGES) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	d->control[w] = d->s[w]->mmap(d->objects[w][1], (1 + PERF_PAGES) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	duo_note_long(d, w, (long)d->control[w] > 0 && (long)d->ring[w] > 0 && d->progs[w][0] > 0);
}

static void perf_end(struct duo *d, int w)
{
	d->s[w]->munmap(d->ring[w], (1 + PERF_PAGES) * PAGE);
	d->s[w]->munmap(d->control[w], (1 + PERF_PAGES) * PAGE);
}

static void perf_read(struct duo *d, int w, u8 *ring, u32 most)
{
	struct perf_event_mmap_page *c = (struct perf_event_mmap_page *)ring;
	const u64 head = __atomic_load_n(&c->data_head, __ATOMIC_ACQUIRE);
	u8 record[STACK + 64];

	duo_note(d, w, &head, 8);
	while (most-- && c->data_tail < head) {
		struct perf_event_header h;

		for (u32 i = 0; i < 8; i++)
			((u8 *)&h)[i] = ring[PAGE + (c->data_tail + i) % (PERF_PAGES * PAGE)];
		for (u32 i = 0; i < h.size && i < sizeof(record); i++)
			record[i] = ring[PAGE + (c->data_tail + i) % (PERF_PAGES * PAGE)];
		if (h.type == PERF_RECORD_LOST)
			memset(record + 8, 0, 8); /* the event's id */
		/* padding is what was there before */
		duo_note(d, w, record, h.type != PERF_RECORD_SAMPLE ? h.size : h.size < sizeof(record) ? h.size - 7u : 8);
		if (!h.size)
			break;
		__atomic_store_n(&c->data_tail, c->data_tail + h.size, __ATOMIC_RELEASE);
	}
}

static void perf_act(struct duo *d)
{
	static const u64 flags[] = {0xffffffff, 0xffffffff, 0, 0, 1, 2, 7, 1ULL << 32, 1ULL << 63};
	const u32 what = duo_draw(d, 4), most = duo_draw(d, 10);
	const u64 size = duo_draw(d, STACK), f = flags[duo_draw(d, ARRAY_SIZE(flags))];

	for (int w = 0; w < 2; w++) {
		if (what < 3) {
			duo_run(d, w, 0, size, f, 0);
			d->s[w]->drain();
		} else {
			duo_note_long(d, w, d->s[w]->poll(d->objects[w][0]));
			perf_read(d, w, d->ring[w], most);
			perf_read(d, w, d->control[w], most);
		}
	}
}

const struct duo_type duo_perf_event_array = {"perf_event_array", BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, {1, 2, 5}, false, false, event, perf_begin, perf_end, perf_act};
