/* SPDX-License-Identifier: MIT */
/*
 * Ring buffers: positions and capacity, storms of processes, deaths and stops at every instruction,
 * spoilt memory; user ring buffers with hostile tools.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include "maps/perf_event_array.h"
#include "maps/ringbuf.h"
#include "steps.h"

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

static _Atomic u64 *consumer_of(const struct map *m)
{
	return (_Atomic u64 *)m->base;
}

static _Atomic u64 *producer_of(const struct map *m)
{
	return (_Atomic u64 *)(m->base + PAGE_SIZE);
}

/* A reader as libbpf's: true and the record, or false when there is none. Discarded ones are skipped. */
static bool read_record(const struct map *m, void *ret, u32 cap, u32 *ret_len)
{
	u64 at = *consumer_of(m);

	while (at < *producer_of(m)) {
		u8 *header = m->base + 2 * PAGE_SIZE + (at & m->mask);
		u32 word = atomic_load((_Atomic u32 *)header), len = word & 0x3fffffff;

		if (word & BPF_RINGBUF_BUSY_BIT)
			return false;
		if (!(word & BPF_RINGBUF_DISCARD_BIT)) {
			memcpy(ret, header + 8, len < cap ? len : cap);
			*ret_len = len;
		}
		at += staging_total(len);
		atomic_store(consumer_of(m), at);
		if (!(word & BPF_RINGBUF_DISCARD_BIT))
			return true;
	}
	return false;
}

static int put(struct map *m, const void *data, u32 len)
{
	u8 *p = ringbuf_reserve(m, len);

	if (!p)
		return -EAGAIN;
	memcpy(p, data, len);
	ringbuf_finish(m, p, false, 0);
	return 0;
}

static long pump(struct ringbuf_pump *p)
{
	bool notify;

	return ringbuf_pump(p, now_ns(), &notify);
}

TEST(records_come_out_in_order)
{
	struct ringbuf_pump p;
	struct map m;
	u32 len, got;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
	ringbuf_pump_init(&p, &m);
	for (u32 round = 0; round < 5000; round++) {
		u8 data[300], out[300];
		u32 n = round * 7 % 300;

		memset(data, (int)round, sizeof(data));
		REQUIRE(!put(&m, data, n));
		CHECK_EQ(pump(&p), staging_total(n));
		REQUIRE(read_record(&m, out, sizeof(out), &got));
		CHECK_EQ(got, n);
		CHECK(!memcmp(out, data, n));
	}
	CHECK(!read_record(&m, &len, 4, &got));
	CHECK_EQ(m.meta->stat[MAP_STAT_FULL], 0);
	test_map_free(&m);
}

/* Any arithmetic of a reader finds the same bytes: on into the second half, or from the start again. */
TEST(a_record_across_the_end_is_there_twice)
{
	struct ringbuf_pump p;
	struct map m;
	u8 data[100], out[100];
	u32 got;
	u64 at;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
	ringbuf_pump_init(&p, &m);
	while (*producer_of(&m) + 8 != 4096) {
		u32 left = 4096 - 8 - (u32)*producer_of(&m);

		REQUIRE(!put(&m, data, left < 200 ? left - 8 : 88));
		REQUIRE(pump(&p) > 0);
		REQUIRE(read_record(&m, out, sizeof(out), &got));
	}
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)i;
	REQUIRE(!put(&m, data, sizeof(data)));
	REQUIRE(pump(&p) > 0);
	at = *consumer_of(&m) & m.mask;
	CHECK_EQ(at, 4088);
	CHECK(!memcmp(m.base + 2 * PAGE_SIZE + at + 8, data, sizeof(data)));
	CHECK(!memcmp(m.base + 2 * PAGE_SIZE + ((at + 8) & m.mask), data, sizeof(data)));
	test_map_free(&m);
}

TEST(it_is_full_where_the_kernel_is)
{
	struct ringbuf_pump p;
	struct map m;
	u8 data[4096] = {0}, out[4096];
	u32 got, n = 0;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
	ringbuf_pump_init(&p, &m);
	while (!put(&m, data, 48))
		n++;
	CHECK_EQ(n, 4088 / 56);
	CHECK_EQ(m.meta->stat[MAP_STAT_FULL], 1);
	CHECK_EQ(ringbuf_query(&m, BPF_RB_AVAIL_DATA), n * 56);
	CHECK_EQ(pump(&p), n * 56);
	CHECK_EQ(put(&m, data, 48), -EAGAIN);
	for (; n; n--)
		REQUIRE(read_record(&m, out, sizeof(out), &got));
	CHECK_EQ(put(&m, data, 4088), -EAGAIN);
	CHECK_EQ(put(&m, data, 4080), 0); /* all there can be */
	CHECK(pump(&p) > 0);
	CHECK(read_record(&m, out, sizeof(out), &got));
	CHECK_EQ(got, 4080);
	test_map_free(&m);
}

TEST(an_unfinished_record_holds_the_later_ones_until_it_is_finished)
{
	struct ringbuf_pump p;
	struct map m;
	u8 *a, *b, out[64];
	u32 got;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
	ringbuf_pump_init(&p, &m);
	a = ringbuf_reserve(&m, 16);
	b = ringbuf_reserve(&m, 8);
	REQUIRE(a && b);
	memset(b, 2, 8);
	ringbuf_finish(&m, b, false, 0);
	CHECK_EQ(pump(&p), -EAGAIN);
	CHECK(!read_record(&m, out, sizeof(out), &got));
	memset(a, 1, 16);
	ringbuf_finish(&m, a, true, 0);
	CHECK_EQ(pump(&p), 24 + 16);
	CHECK(read_record(&m, out, sizeof(out), &got));
	CHECK_EQ(got, 8);
	CHECK_EQ(out[0], 2);
	test_map_free(&m);
}

/* A writer that lives and does not go on is passed by, and what it writes later goes nowhere. */
TEST(a_stopped_writer_is_passed_by)
{
	struct ringbuf_pump p;
	struct map m;
	u8 *late[6], out[64], data[16] = {7};
	u32 got;
	u64 now = now_ns();
	bool notify;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
	ringbuf_pump_init(&p, &m);
	for (u32 round = 0; round < 6; round++) {
		late[round] = ringbuf_reserve(&m, 16);
		REQUIRE(late[round]);
		REQUIRE(!put(&m, data, 16));
		CHECK_EQ(ringbuf_pump(&p, now, &notify), -EAGAIN);
		for (u32 i = 0; i < 100 && !read_record(&m, out, sizeof(out), &got); i++) {
			/* banks that rest come back after the quarantine only, as long as the writers live */
			now += round < 3 ? STAGING_PATIENCE_NS / 4 : STAGING_QUARANTINE_NS / 4;
			ringbuf_pump(&p, now, &notify);
		}
		CHECK_EQ(got, 16);
		CHECK_EQ(out[0], 7);
		CHECK_EQ(m.meta->stat[MAP_STAT_DROPPED], round + 1);
		if (round >= 2) {
			memset(late[round - 2], 0x55, 16);
			ringbuf_finish(&m, late[round - 2], false, 0);
		}
		CHECK_EQ(put(&m, data, 16), 0);
		CHECK(ringbuf_pump(&p, now, &notify) > 0);
		CHECK(read_record(&m, out, sizeof(out), &got));
		CHECK_EQ(out[0], 7);
	}
	CHECK_EQ(m.meta->stat[MAP_STAT_CORRUPT], 0);
	test_map_free(&m);
}

static void put_ones(struct map *m)
{
	u64 words[6];

	for (u32 i = 0; i < 6; i++)
		words[i] = 0x1111111111111111;
	put(m, words, sizeof(words));
}

/* A record of our own gets through, whatever lies before it. */
static void get_through(struct map *m, struct ringbuf_pump *p, u64 *now)
{
	u64 mine[6] = {2, 2, 2, 2, 2, 2}, out[6];
	bool found = false, notify;
	u32 got;

	CHECK_EQ(put(m, mine, sizeof(mine)), 0);
	for (u32 i = 0; i < 400 && !found; i++) {
		*now += STAGING_PATIENCE_NS / 50;
		ringbuf_pump(p, *now, &notify);
		while (read_record(m, out, sizeof(out), &got)) {
			CHECK_EQ(got, sizeof(out));
			for (u32 k = 1; k < 6; k++)
				CHECK_EQ(out[k], out[0]);
			found |= out[0] == 2;
		}
	}
	CHECK(found);
}

static void interrupted(enum steps_end end)
{
	const int stride = getenv("LIMPET_LONG") ? 1 : end <= STEPS_STOP ? 5 : 23; /* stepping takes long */
	struct ringbuf_pump p;
	u64 now = now_ns();
	struct map m;
	pid_t pid = 0;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
	ringbuf_pump_init(&p, &m);
	for (int n = 0; !check_failed && steps_start(&m, put_ones, n, end, &pid); n += stride) {
		steps_interrupt(pid, end);
		get_through(&m, &p, &now);
		steps_finish(pid, end);
		for (u32 i = 0; i < 3; i++)
			get_through(&m, &p, &now);
		if (check_failed)
			printf("# %s at instruction %d\n", steps_end_names[end], n);
	}
	CHECK_EQ(m.meta->stat[MAP_STAT_CORRUPT], 0);
	CHECK_EQ(m.meta->stat[MAP_STAT_BUSY], 0);
	if (pid < 0)
		check_skipped = "ptrace is not allowed here";
	test_map_free(&m);
}

TEST(a_writer_killed_at_any_instruction)
{
	interrupted(STEPS_KILL);
}

TEST(a_writer_stopped_at_any_instruction_and_continued)
{
	interrupted(STEPS_STOP);
}

TEST(a_writer_that_forks_in_a_signal_handler_at_any_instruction)
{
	for (int end = STEPS_FORK; end < STEPS_ENDS && !check_failed && !check_skipped; end++)
		interrupted(end);
}

#define WRITERS 64

struct writer {
	struct map *m;
	u32 number, count;
};

static void *write_all(void *arg)
{
	const struct writer *w = arg;

	for (u32 i = 0; i < w->count; i++) {
		u32 words[12] = {w->number, i};

		for (u32 k = 2; k < 12; k++)
			words[k] = w->number * 1000003 + i;
		while (put(w->m, words, 8 + (w->number + i) % 11 * 4))
			sched_yield();
	}
	return NULL;
}

static void start_writers(struct map *m, u32 procs, u32 threads, u32 count)
{
	for (u32 process = 0; process < procs; process++) {
		struct writer w[WRITERS];
		pthread_t id[WRITERS];

		if (fork())
			continue;
		for (u32 i = 0; i < threads; i++) {
			w[i] = (struct writer){m, process * threads + i, count};
			pthread_create(&id[i], NULL, write_all, &w[i]);
		}
		for (u32 i = 0; i < threads; i++)
			pthread_join(id[i], NULL);
		_exit(0);
	}
}

/* Every record once, each writer's in its order. */
static void lose_nothing(u32 procs, u32 threads)
{
	u32 count = (getenv("LIMPET_LONG") ? 8000000 : 80000) / (procs * threads), next[WRITERS] = {0};
	u32 left = procs * threads * count, words[12], got;
	struct ringbuf_pump p;
	struct map m;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_RINGBUF, 0, 0, 16384, 0));
	ringbuf_pump_init(&p, &m);
	fflush(stdout);
	start_writers(&m, procs, threads, count);
	while (left && !check_failed) {
		if (pump(&p) <= 0)
			sched_yield();
		while (left && !check_failed && read_record(&m, words, sizeof(words), &got)) {
			REQUIRE(words[0] < WRITERS);
			CHECK_EQ(words[1], next[words[0]]);
			next[words[0]]++;
			CHECK_EQ(got, 8 + (words[0] + words[1]) % 11 * 4);
			for (u32 k = 2; k < got / 4; k++)
				CHECK_EQ(words[k], words[0] * 1000003 + words[1]);
			left--;
		}
	}
	while (wait(NULL) > 0)
		;
	CHECK_EQ(left, 0);
	CHECK_EQ(m.meta->stat[MAP_STAT_CORRUPT], 0);
	CHECK_EQ(m.meta->stat[MAP_STAT_DROPPED], 0);
	CHECK_EQ(m.meta->stat[MAP_STAT_ABANDONED], 0);
	test_map_free(&m);
}

TEST(sixteen_writers_in_four_processes_lose_nothing)
{
	lose_nothing(4, 4);
}

TEST(sixty_four_writers_in_one_process_lose_nothing)
{
	lose_nothing(1, 64);
}

/* What the tool does: a record of 8 bytes for programs to drain. */
static void offer(struct map *m, u64 word)
{
	u64 at = *producer_of(m);
	u8 *header = m->base + 2 * PAGE_SIZE + (at & m->mask);

	*(u64 *)header = 8;
	memcpy(header + 8, &word, 8);
	atomic_store(producer_of(m), at + 16);
}

/* Records drained, each of which is `word`; or -EBUSY. */
static int drain(struct map *m, u64 word)
{
	const u8 *sample;
	u32 len;
	int n, err = user_ringbuf_begin(m);

	if (err)
		return err;
	for (n = 0; !(err = user_ringbuf_peek(m, &sample, &len)); n++) {
		CHECK_EQ(len, 8);
		CHECK(!memcmp(sample, &word, 8));
		user_ringbuf_release(m, len);
	}
	CHECK_EQ(err, -ENODATA);
	user_ringbuf_end(m, true);
	return n;
}

TEST(of_two_that_drain_at_once_one_is_told_so)
{
	struct map m;
	int status;
	pid_t pid;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0));
	offer(&m, 5);
	CHECK_EQ(user_ringbuf_begin(&m), 0);
	CHECK_EQ(user_ringbuf_begin(&m), -EBUSY); /* from a handler that interrupted it, or another thread */
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(drain(&m, 5) != -EBUSY);
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(*consumer_of(&m), 0);
	user_ringbuf_end(&m, false);
	CHECK_EQ(drain(&m, 5), 1);
	test_map_free(&m);
}

static void drain_ones(struct map *m)
{
	drain(m, 1);
}

/* Whoever comes next drains at once; only while a living one is in the middle it is told -EBUSY. */
static void drain_interrupted(enum steps_end end)
{
	const int stride = getenv("LIMPET_LONG") ? 1 : end <= STEPS_STOP ? 3 : 11;
	u32 drained = 0, last = 0;
	struct map m;
	pid_t pid = 0;
	u64 at = 0;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0));
	for (int n = 0; !check_failed; n += stride) {
		int got;

		for (u32 i = 0; i < 3; i++)
			offer(&m, 1);
		if (!steps_start(&m, drain_ones, n, end, &pid))
			break;
		steps_interrupt(pid, end);
		got = drain(&m, 1);
		last = (u32)((*producer_of(&m) - *consumer_of(&m)) / 16);
		if (end == STEPS_FORK_LATE) { /* there is more by the time the late one goes on */
			for (u32 i = 0; i < 3; i++)
				offer(&m, 1);
			CHECK_EQ(drain(&m, 1), 3);
			for (u32 i = 0; i < 3; i++)
				offer(&m, 1);
			at = *consumer_of(&m);
			last = 0;
		}
		CHECK(got >= 0 || (got == -EBUSY && end == STEPS_STOP));
		CHECK(last == 0 || got == -EBUSY);
		steps_finish(pid, end);
		/* forked before it began, it drains them itself */
		CHECK(end != STEPS_FORK_LATE || *consumer_of(&m) == at || *consumer_of(&m) == *producer_of(&m));
		CHECK(drain(&m, 1) >= 0);
		CHECK_EQ(*producer_of(&m), *consumer_of(&m));
		drained++;
		if (check_failed)
			printf("# %s at instruction %d\n", steps_end_names[end], n);
	}
	if (pid < 0)
		check_skipped = "ptrace is not allowed here";
	else
		CHECK(drained > 5);
	test_map_free(&m);
}

TEST(a_drain_interrupted_at_any_instruction)
{
	for (int end = 0; end <= STEPS_FORK_LATE && !check_failed && !check_skipped; end++)
		drain_interrupted(end);
}

static bool stage(struct map *m, const struct perf_staged *head, const u64 *words, u32 size)
{
	u8 *staged = perf_array_stage(m, perf_array_entry(m, 0), head, NULL, words, size);

	if (staged)
		perf_array_finish(m, staged, false);
	return staged;
}

static void stage_ones(struct map *m)
{
	const struct perf_staged head = {.event = 1};
	const u64 words[6] = {1, 1, 1, 1, 1, 1};

	stage(m, &head, words, sizeof(words));
}

/* Where the pump has said what the ring takes: a record fits behind others, or is not there. */
TEST(perf_room_is_used_up_by_what_is_staged)
{
	const struct perf_staged head = {.event = 1};
	const u64 words[6] = {1};
	const u32 need = perf_ring_need(0, sizeof(words));
	struct map m;
	struct perf_entry *e;
	u8 *staged[3];

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 1, 0));
	e = perf_array_entry(&m, 0);
	CHECK_EQ(need, 64); /* header, size and data to a multiple of 8 */
	for (u32 i = 0; i < 3; i++) {
		staged[i] = perf_array_stage(&m, e, &head, NULL, words, sizeof(words));
		REQUIRE(staged[i]);
	}
	CHECK(!perf_array_fits(&m, e, staged[0], need)); /* nobody has looked yet */
	atomic_store(&e->grant, perf_grant(need, 0));
	CHECK(perf_array_fits(&m, e, staged[0], need));
	CHECK(!perf_array_fits(&m, e, staged[0], need + 8));
	CHECK(!perf_array_fits(&m, e, staged[1], need));
	atomic_store(&e->grant, perf_grant(2 * (need + PERF_LOST_MAX), 0));
	CHECK(perf_array_fits(&m, e, staged[1], need));
	CHECK(!perf_array_fits(&m, e, staged[2], 2 * need));
	for (u32 i = 0; i < 3; i++)
		perf_array_finish(&m, staged[i], i == 2);
	CHECK_EQ(map_stat(m.meta, MAP_STAT_FULL), 1);
	test_map_free(&m);
}

/* A sample of our own comes out, whatever lies before it, and none that is half written. */
static void sample_gets_through(struct map *m, struct staging_pump *p, u64 *now)
{
	const struct perf_staged head = {.event = 2};
	const u64 mine[6] = {2, 2, 2, 2, 2, 2};
	bool found = false;

	CHECK(stage(m, &head, mine, sizeof(mine)));
	for (u32 i = 0; i < 400 && !found; i++) {
		struct staging_record r;
		u64 pos;

		*now += STAGING_PATIENCE_NS / 50;
		REQUIRE(staging_lock(p));
		pos = atomic_load(&m->staging.ctl->taken);
		while (staging_next(p, &pos, *now, &r) > 0) {
			const u64 *w = (const u64 *)r.payload;

			if (r.flags & STAGING_DISCARD)
				continue;
			CHECK_EQ(r.len, sizeof(head) + sizeof(mine));
			for (u32 k = 1; k < 7; k++)
				CHECK_EQ(w[k], (u32)w[0]);
			found |= (u32)w[0] == 2;
		}
		staging_take(p, pos);
		staging_unlock(p);
	}
	CHECK(found);
}

static void sample_interrupted(enum steps_end end)
{
	const int stride = getenv("LIMPET_LONG") ? 1 : end <= STEPS_STOP ? 7 : 29;
	struct staging_pump p = {0};
	u64 now = now_ns();
	struct map m;
	pid_t pid = 0;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0));
	p.s = &m.staging;
	for (int n = 0; !check_failed && steps_start(&m, stage_ones, n, end, &pid); n += stride) {
		steps_interrupt(pid, end);
		sample_gets_through(&m, &p, &now);
		steps_finish(pid, end);
		for (u32 i = 0; i < 3; i++)
			sample_gets_through(&m, &p, &now);
		if (check_failed)
			printf("# %s at instruction %d\n", steps_end_names[end], n);
	}
	CHECK_EQ(p.corrupt, 0);
	if (pid < 0)
		check_skipped = "ptrace is not allowed here";
	test_map_free(&m);
}

TEST(a_sample_for_a_perf_ring_interrupted_at_any_instruction)
{
	for (int end = 0; end < STEPS_ENDS && !check_failed && !check_skipped; end++)
		sample_interrupted(end);
}

/* Spoils anything but what the kernel would not let be spoilt (the definition); everybody goes on. */
static int use_spoilt(struct map *m, u64 seed)
{
	struct ringbuf_pump p;
	u64 now = now_ns();
	bool notify;

	alarm(60);
	ringbuf_pump_init(&p, m);
	for (u32 round = 0; round < 4000; round++) {
		u8 *area = test_random(&seed) % 2 ? m->meta->type_area : m->base;
		u64 size = area == m->base ? m->file_size - MAP_META_SIZE : sizeof(m->meta->type_area);

		for (u32 i = 0; i < 4; i++)
			put_ones(m);
		area[((u64)test_random(&seed) << 16 ^ test_random(&seed)) % size] ^= (u8)(1 << test_random(&seed) % 8);
		now += STAGING_PATIENCE_NS / 8;
		ringbuf_pump(&p, now, &notify);
		if (test_random(&seed) % 4)
			atomic_store(consumer_of(m), *producer_of(m));
		ringbuf_query(m, BPF_RB_AVAIL_DATA);
	}
	return 0;
}

TEST(spoilt_memory_harms_nobody)
{
	for (u64 seed = 1; seed <= (getenv("LIMPET_LONG") ? 200 : 10); seed++) {
		struct map m;
		int status;
		pid_t pid;

		REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
		fflush(stdout);
		pid = fork();
		if (!pid)
			_exit(use_spoilt(&m, seed));
		waitpid(pid, &status, 0);
		if (status)
			printf("# seed %d: status 0x%x\n", (int)seed, status);
		CHECK_EQ(status, 0);
		test_map_free(&m);
	}
}

TEST_MAIN()
