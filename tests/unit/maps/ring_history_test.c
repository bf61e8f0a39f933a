/* SPDX-License-Identifier: MIT */
/*
 * Histories of ring buffers: 4 processes of 4 threads, which are killed at random and replaced, or 64 threads of one, reserve,
 * submit and discard several records at a time in any order, each reservation between two tickets of one counter. What a reader
 * sees then must be one order of all reservations:
 *
 *   - a record that was reserved after another one was had comes out after it: of one writer, and of all
 *   - every record that was submitted comes out, once and whole, unless it was counted as dropped; no other one does
 *   - what was refused was counted; and while there is room nothing is
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include "maps/ringbuf.h"
#include "common.h"

#define WRITERS 256 /* with those that came for killed ones */
#define EACH    20000
#define OPEN    3 /* at a time, of one writer */

enum fate { NONE, RESERVED, SUBMITTING, SUBMITTED, DISCARDED };

struct reservation {
	u32 begin, end; /* tickets */
	_Atomic u32 fate;
	u32 seen;
};

struct history {
	_Atomic u32 ticket, refused, writers;
	_Atomic u32 count[WRITERS]; /* reservations */
	struct reservation of[WRITERS][EACH];
};

struct writer {
	struct map *m;
	struct history *h;
	u32 number, each;
	u64 seed;
	u8 *open[OPEN];
	u32 id[OPEN];
};

/* A record: who, which, how many words there are, and these. */
static void fill(u32 *words, u32 n, u32 writer, u32 id)
{
	words[0] = writer;
	words[1] = id;
	words[2] = n;
	for (u32 i = 3; i < n; i++)
		words[i] = writer * 1000003 + id * 31 + i;
}

static bool is_whole(const u32 *words, u32 len)
{
	const u32 n = len / 4;

	if (len < 12 || len % 4 || words[2] != n)
		return false;
	for (u32 i = 3; i < n; i++)
		if (words[i] != words[0] * 1000003 + words[1] * 31 + i)
			return false;
	return true;
}

static void reserve(struct writer *w, u32 slot)
{
	const u32 n = 3 + test_random(&w->seed) % 24, id = w->h->count[w->number];
	struct reservation *r = &w->h->of[w->number][id];

	r->begin = w->h->ticket++;
	w->open[slot] = ringbuf_reserve(w->m, n * 4);
	r->end = w->h->ticket++;
	if (!w->open[slot]) {
		w->h->refused++;
		sched_yield();
		return;
	}
	w->id[slot] = id;
	r->fate = RESERVED;
	w->h->count[w->number] = id + 1;
	fill((u32 *)w->open[slot], n, w->number, id);
}

static void finish(struct writer *w, u32 slot)
{
	struct reservation *r = &w->h->of[w->number][w->id[slot]];
	const bool discard = test_random(&w->seed) % 8 == 0;

	r->fate = discard ? DISCARDED : SUBMITTING;
	ringbuf_finish(w->m, w->open[slot], discard, 0);
	if (!discard)
		r->fate = SUBMITTED;
	w->open[slot] = NULL;
}

static void *write_all(void *arg)
{
	struct writer *w = arg;

	w->seed = w->number * 77 + 5;
	while (w->h->count[w->number] < w->each) {
		const u32 slot = test_random(&w->seed) % OPEN;

		if (w->open[slot])
			finish(w, slot);
		else
			reserve(w, slot);
	}
	for (u32 slot = 0; slot < OPEN; slot++)
		if (w->open[slot])
			finish(w, slot);
	return NULL;
}

static pid_t start_process(struct map *m, struct history *h, u32 threads, u32 each)
{
	const u32 first = h->writers;
	struct writer w[64];
	pthread_t id[64];
	pid_t pid;

	h->writers += threads;
	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	for (u32 i = 0; i < threads; i++) {
		w[i] = (struct writer){.m = m, .h = h, .number = first + i, .each = each};
		pthread_create(&id[i], NULL, write_all, &w[i]);
	}
	for (u32 i = 0; i < threads; i++)
		pthread_join(id[i], NULL);
	_exit(0);
}

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

struct reader {
	struct map *m;
	struct history *h;
	struct ringbuf_pump pump;
	u32 next[WRITERS]; /* of each writer */
	u32 latest;        /* ticket at which some record that came was not yet asked for */
	u64 records, torn, out_of_order, not_submitted, doubled;
};

static void look_at(struct reader *rd, const u32 *words, u32 len)
{
	struct reservation *r;

	rd->records++;
	if (!is_whole(words, len) || words[0] >= WRITERS || words[1] >= EACH) {
		rd->torn++;
		return;
	}
	r = &rd->h->of[words[0]][words[1]];
	rd->doubled += r->seen++ != 0;
	rd->not_submitted += r->fate != SUBMITTING && r->fate != SUBMITTED;
	rd->out_of_order += words[1] < rd->next[words[0]] || r->end < rd->latest;
	rd->next[words[0]] = words[1] + 1;
	if (r->begin > rd->latest)
		rd->latest = r->begin;
}

/* As libbpf's reader does. */
static void read_all(struct reader *rd)
{
	_Atomic u64 *consumer = (_Atomic u64 *)rd->m->base, *producer = (_Atomic u64 *)(rd->m->base + PAGE_SIZE);
	u64 at = *consumer;

	while (at < *producer) {
		u8 *header = rd->m->base + 2 * PAGE_SIZE + (at & rd->m->mask);
		const u32 word = *(_Atomic u32 *)header, len = word & 0x3fffffff;

		if (word & BPF_RINGBUF_BUSY_BIT)
			return;
		if (!(word & BPF_RINGBUF_DISCARD_BIT))
			look_at(rd, (const u32 *)(header + 8), len);
		at += staging_total(len);
		*consumer = at;
	}
}

static bool pump(struct reader *rd)
{
	bool notify;
	const long moved = ringbuf_pump(&rd->pump, now_ns(), &notify);

	read_all(rd);
	return moved > 0;
}

/* All that was submitted has come, but for what was counted. */
static void check_history(struct reader *rd, u32 killed)
{
	const struct map_meta *meta = rd->m->meta;
	u64 lost = 0;

	for (u32 w = 0; w < rd->h->writers; w++)
		for (u32 i = 0; i < rd->h->count[w]; i++)
			lost += rd->h->of[w][i].fate == SUBMITTED && !rd->h->of[w][i].seen;
	printf("# %lu records, %u refused, %u killed, %lu dropped\n", rd->records, rd->h->refused, killed,
	       map_stat(meta, MAP_STAT_DROPPED));
	CHECK_EQ(rd->torn, 0);
	CHECK_EQ(rd->doubled, 0);
	CHECK_EQ(rd->out_of_order, 0);
	CHECK_EQ(rd->not_submitted, 0);
	CHECK(lost <= map_stat(meta, MAP_STAT_DROPPED)); /* of writers that were kept from going on for 200 ms */
	CHECK(map_stat(meta, MAP_STAT_FULL) + map_stat(meta, MAP_STAT_BUSY) >= rd->h->refused);
	CHECK(map_stat(meta, MAP_STAT_FULL) + map_stat(meta, MAP_STAT_BUSY) <= rd->h->refused + 64 * killed);
	CHECK_EQ(map_stat(meta, MAP_STAT_CORRUPT), 0);
	CHECK_EQ(*(u64 *)rd->m->base, *(u64 *)(rd->m->base + PAGE_SIZE));
	CHECK_EQ(ringbuf_query(rd->m, BPF_RB_AVAIL_DATA), 0);
}

static struct reader *open_history(struct map *m, u32 size)
{
	struct reader *rd = calloc(1, sizeof(*rd));

	if (!rd || test_map_make(m, BPF_MAP_TYPE_RINGBUF, 0, 0, size, 0))
		abort();
	rd->m = m;
	rd->h = mmap(NULL, sizeof(*rd->h), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (rd->h == MAP_FAILED)
		abort();
	ringbuf_pump_init(&rd->pump, m);
	return rd;
}

static void close_history(struct reader *rd)
{
	munmap(rd->h, sizeof(*rd->h));
	test_map_free(rd->m);
	free(rd);
}

/* Until all processes have ended; of which `kills` are killed somewhere, and replaced. */
static void run(u32 procs, u32 threads, u32 each, u32 kills)
{
	u32 running = procs, killed = 0;
	pid_t pid[64];
	struct map m;
	struct reader *rd = open_history(&m, 16384);
	u64 seed = 3, due = now_ns() + 5000000;

	for (u32 i = 0; i < procs; i++)
		pid[i] = start_process(&m, rd->h, threads, each);
	while (running) {
		const u32 i = test_random(&seed) % procs;

		if (!pump(rd))
			sched_yield();
		if (pid[i] && waitpid(pid[i], NULL, WNOHANG) == pid[i]) {
			pid[i] = 0;
			running--;
		} else if (pid[i] && killed < kills && now_ns() > due) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
			pid[i] = start_process(&m, rd->h, threads, each);
			killed++;
			due = now_ns() + 1000000 + test_random(&seed) % 8000000;
		}
	}
	for (u64 end = now_ns() + 20 * STAGING_PATIENCE_NS; ringbuf_query(&m, BPF_RB_AVAIL_DATA) && now_ns() < end;)
		pump(rd);
	check_history(rd, killed);
	CHECK(killed || !kills);
	CHECK(rd->h->refused > 0); /* it is a test of that, too */
	close_history(rd);
}

static u32 each(u32 writers)
{
	return (getenv("LIMPET_LONG") ? 320000 : 64000) / writers;
}

TEST(sixteen_writers_in_four_processes)
{
	run(4, 4, each(16), 0);
}

TEST(sixteen_writers_in_four_processes_that_are_killed)
{
	run(4, 4, each(16), getenv("LIMPET_LONG") ? 48 : 12);
}

TEST(sixty_four_writers_in_one_process)
{
	run(1, 64, each(64), 0);
}

/* No operation fails for others' sake: with room for everything, and nobody who takes anything out, all are had. */
TEST(nothing_is_refused_while_there_is_room)
{
	struct map m;
	struct reader *rd = open_history(&m, 16 << 20);

	start_process(&m, rd->h, 64, 1000); /* 64 bytes each, on average */
	while (wait(NULL) > 0)
		;
	CHECK_EQ(rd->h->refused, 0);
	for (u64 end = now_ns() + 20 * STAGING_PATIENCE_NS; ringbuf_query(&m, BPF_RB_AVAIL_DATA) && now_ns() < end;)
		pump(rd);
	check_history(rd, 0);
	close_history(rd);
}

TEST_MAIN()
