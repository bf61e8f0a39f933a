/* SPDX-License-Identifier: MIT */
/*
 * Ring buffers: positions and capacity, storms of processes, deaths and stops at every instruction,
 * spoilt memory; user ring buffers with hostile tools.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>
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

TEST_MAIN()
