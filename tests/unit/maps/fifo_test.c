/* SPDX-License-Identifier: MIT */
/*
 * Queue and stack: semantics, storms of processes that push and pop, deaths at random and at every
 * instruction, spoilt shared memory.
 */
#include <sched.h>
#include <time.h>
#include "steps.h"

struct item {
	u32 producer, serial;
	u64 check[5];
};

static struct item item_make(u32 producer, u32 serial)
{
	struct item it = {producer, serial, {0}};

	for (u32 i = 0; i < 5; i++)
		it.check[i] = ((u64)producer << 32 | serial) * (i + 3);
	return it;
}

static bool item_whole(const struct item *it)
{
	struct item want = item_make(it->producer, it->serial);

	return !memcmp(&want, it, sizeof(want));
}

static void order(u32 type, bool fifo)
{
	struct map m;
	u32 v;

	REQUIRE(!test_map_make(&m, type, 0, 4, 3, 0));
	CHECK_EQ(m.ops->pop(&m, &v), -ENOENT);
	CHECK_EQ(m.ops->peek(&m, &v), -ENOENT);
	for (u32 i = 1; i <= 3; i++)
		CHECK_EQ(m.ops->push(&m, &i, 0), 0);
	v = 4;
	CHECK_EQ(m.ops->push(&m, &v, 0), -E2BIG);
	CHECK_EQ(m.meta->stat[MAP_STAT_FULL], 1);
	CHECK_EQ(m.ops->push(&m, &v, BPF_EXIST), 0);
	CHECK_EQ(map_stat(m.meta, MAP_STAT_OVERWRITTEN), 1);
	CHECK_EQ(m.ops->peek(&m, &v), 0);
	CHECK_EQ(v, fifo ? 2 : 4);
	for (u32 i = 0; i < 3; i++) {
		static const u32 want[2][3] = {{4, 3, 2}, {2, 3, 4}};

		CHECK_EQ(m.ops->pop(&m, &v), 0);
		CHECK_EQ(v, want[fifo][i]);
	}
	CHECK_EQ(m.ops->pop(&m, &v), -ENOENT);
	test_map_free(&m);
}

TEST(queue_is_first_in_first_out)
{
	order(BPF_MAP_TYPE_QUEUE, true);
}

TEST(stack_is_last_in_first_out)
{
	order(BPF_MAP_TYPE_STACK, false);
}

TEST(frozen_maps_refuse_push_and_pop_from_user_space)
{
	struct map m;
	u32 v = 7;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_QUEUE, 0, 4, 3, 0));
	CHECK_EQ(map_user_update(&m, NULL, &v, 0), 0);
	m.meta->frozen = 1;
	CHECK_EQ(map_user_update(&m, NULL, &v, 0), -EPERM);
	CHECK_EQ(map_user_lookup_and_delete(&m, NULL, &v, 0), -EPERM);
	v = 0;
	CHECK_EQ(map_user_lookup(&m, NULL, &v, 0), 0);
	CHECK_EQ(v, 7);
	test_map_free(&m);
}

/* What a storm shares besides the map. */
struct storm {
	_Atomic u32 pushed[16], popped, stop, bad;
	_Atomic u8 seen[16][200000];
};

static void producer(struct map *m, struct storm *s, u32 id, u32 count)
{
	for (u32 n = 0; n < count; n++) {
		struct item it = item_make(id, n);

		while (m->ops->push(m, &it, 0))
			sched_yield();
		s->pushed[id]++;
	}
	_exit(0);
}

static void consumer(struct map *m, struct storm *s, bool fifo)
{
	u32 last[16];

	memset(last, 0xff, sizeof(last));
	for (;;) {
		bool over = s->stop;
		struct item it;

		if (m->ops->pop(m, &it)) {
			if (over)
				_exit(0);
			sched_yield();
			continue;
		}
		if (!item_whole(&it) || it.producer >= 16 || s->seen[it.producer][it.serial]++)
			s->bad++;
		else if (fifo && last[it.producer] != 0xffffffff && it.serial < last[it.producer])
			s->bad++;
		else
			last[it.producer] = it.serial;
		s->popped++;
	}
}

static void storm(u32 type, u32 capacity, u32 producers, u32 consumers, bool stops)
{
	u32 each = getenv("LIMPET_LONG") ? 200000 : 10000, total = 0, left;
	struct storm *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[32];
	struct map m;
	u64 seed = capacity;

	REQUIRE(s != MAP_FAILED);
	REQUIRE(!test_map_make(&m, type, 0, sizeof(struct item), capacity, 0));
	for (u32 i = 0; i < producers + consumers; i++) {
		pids[i] = fork();
		if (!pids[i] && i < producers)
			producer(&m, s, i, each);
		else if (!pids[i])
			consumer(&m, s, type == BPF_MAP_TYPE_QUEUE);
	}
	left = producers;
	while (left) {
		pid_t any = pids[test_random(&seed) % (producers + consumers)], done;

		if (stops) {
			kill(any, SIGSTOP);
			usleep(test_random(&seed) % 500);
			kill(any, SIGCONT);
		} else {
			usleep(1000);
		}
		while ((done = waitpid(-1, NULL, WNOHANG)) > 0)
			left--;
	}
	s->stop = 1;
	for (u32 i = producers; i < producers + consumers; i++)
		waitpid(pids[i], NULL, 0);
	for (u32 i = 0; i < producers; i++)
		total += s->pushed[i];
	CHECK_EQ(s->bad, 0);
	CHECK_EQ(total, producers * each);
	CHECK_EQ(s->popped, total);
	test_map_free(&m);
	munmap(s, sizeof(*s));
}

TEST(queue_storm_loses_and_doubles_nothing)
{
	storm(BPF_MAP_TYPE_QUEUE, 1, 4, 2, false);
	storm(BPF_MAP_TYPE_QUEUE, 3, 4, 3, true);
	storm(BPF_MAP_TYPE_QUEUE, 64, 8, 3, true);
}

TEST(stack_storm_loses_and_doubles_nothing)
{
	storm(BPF_MAP_TYPE_STACK, 1, 4, 2, false);
	storm(BPF_MAP_TYPE_STACK, 64, 8, 3, true);
}

/*
 * A child pushes (and pops) forever and is killed at random; the parent drains. Every item comes
 * whole, in order, at most once; and the elements that died with the children come back.
 */
static void deaths(u32 type)
{
	int rounds = getenv("LIMPET_LONG") ? 5000 : 300;
	struct map m;
	struct item it;
	u64 seed = 3;

	REQUIRE(!test_map_make(&m, type, 0, sizeof(struct item), 8, 0));
	for (int r = 0; r < rounds && !check_failed; r++) {
		pid_t pid = fork();

		if (!pid) {
			for (u32 n = 0;; n++) {
				it = item_make((u32)r, n);
				m.ops->push(&m, &it, n % 3 ? 0 : BPF_EXIST);
				if (n % 4 == 0)
					m.ops->pop(&m, &it);
			}
		}
		usleep(100 + test_random(&seed) % 400);
		kill(pid, SIGKILL);
		for (u32 n = 0; n < 20 && !m.ops->pop(&m, &it); n++)
			CHECK(item_whole(&it));
		waitpid(pid, NULL, 0);
		while (!m.ops->pop(&m, &it))
			CHECK(item_whole(&it));
		it = item_make(1000, 1);
		for (u32 n = 0; n < 8; n++)
			CHECK_EQ(m.ops->push(&m, &it, 0), 0);
		CHECK_EQ(m.ops->push(&m, &it, 0), -E2BIG);
		for (u32 n = 0; n < 8; n++)
			CHECK_EQ(m.ops->pop(&m, &it), 0);
	}
	m.ops->collect(&m, NULL);
	test_map_free(&m);
}

TEST(queue_survives_killed_processes)
{
	deaths(BPF_MAP_TYPE_QUEUE);
}

TEST(stack_survives_killed_processes)
{
	deaths(BPF_MAP_TYPE_STACK);
}

static void push_and_pop(struct map *m)
{
	struct item it = item_make(2, 2);

	m->ops->push(m, &it, BPF_EXIST);
	m->ops->pop(m, &it);
}

static u32 drain(struct map *m)
{
	struct item it;
	u32 n = 0;

	for (; n < 10 && !m->ops->pop(m, &it); n++)
		CHECK(item_whole(&it));
	return n;
}

static _Atomic u64 *free_list(struct map *m)
{
	return (_Atomic u64 *)(m->meta->type_area + (m->def.type == BPF_MAP_TYPE_QUEUE ? 128 : 64));
}

/* On the list or never used; with the cells of an empty queue, or in this process's hands. */
static u32 free_elements(struct map *m)
{
	u32 n = steps_free(m, free_list(m)) + m->elem_count - (u32)free_list(m)[1];

	for (u32 i = 0; m->def.type == BPF_MAP_TYPE_QUEUE && i <= m->mask; i++)
		n += ((u64 *)(m->base + m->index_off))[i] % (1 << 25) != 0;
	for (u32 i = 0; i < HANDS; i++)
		n += m->hands.of[i].word != 0;
	return n;
}

/* What a child left must be whole; the map works; and once it is gone, all elements come back. */
static void is_whole(struct map *m, int n)
{
	struct item it;

	CHECK(drain(m) <= 2);
	for (u32 i = 0; i < 2; i++) {
		it = item_make(3, i);
		CHECK_EQ(m->ops->push(m, &it, 0), 0);
	}
	CHECK_EQ(m->ops->push(m, &it, 0), -E2BIG);
	CHECK_EQ(drain(m), 2);
	m->ops->collect(m, steps_alive);
	CHECK(steps_end == STEPS_STOP || free_elements(m) == m->elem_count);
}

static void make_with_one(struct map *m, u32 type)
{
	struct item it = item_make(1, 1);

	REQUIRE(!test_map_make(m, type, 0, sizeof(struct item), 2, 0));
	m->ops->push(m, &it, 0);
}

static bool at_instruction(u32 type, int n, enum steps_end end)
{
	struct map m;
	bool more;

	make_with_one(&m, type);
	more = steps_start(&m, push_and_pop, n, end, &steps_pid);
	if (more) {
		steps_interrupt(steps_pid, end);
		is_whole(&m, n);
		steps_finish(steps_pid, end);
		CHECK(drain(&m) <= 2);
		m.ops->collect(&m, NULL);
		CHECK_EQ(free_elements(&m), m.elem_count);
	}
	test_map_free(&m);
	return more && !check_failed;
}

static void at_every_instruction(u32 type)
{
	struct map m;

	make_with_one(&m, type);
	steps_kill_each(&m, push_and_pop, is_whole);
	test_map_free(&m);
	for (enum steps_end end = STEPS_STOP; end < STEPS_ENDS && !check_failed && !check_skipped; end++) {
		int n = 0;

		while (at_instruction(type, n, end))
			n += steps_stride(end);
		if (check_failed)
			printf("# %s at instruction %d\n", steps_end_names[end], n);
	}
}

TEST(queue_interrupted_at_every_instruction)
{
	at_every_instruction(BPF_MAP_TYPE_QUEUE);
}

TEST(stack_interrupted_at_every_instruction)
{
	at_every_instruction(BPF_MAP_TYPE_STACK);
}

/* One overwrite in max_entries collects; a million of them must not cost a walk each. */
TEST(full_stack_forgets_in_linear_time)
{
	const u32 entries = 200000;
	struct map m;
	u64 v = 0;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_STACK, 0, 8, entries, 0));
	for (; v < 10 * entries && !check_failed; v++)
		CHECK_EQ(m.ops->push(&m, &v, BPF_EXIST), 0);
	CHECK_EQ(map_stat(m.meta, MAP_STAT_OVERWRITTEN), 9 * entries);
	for (u64 want = v, got; want > 9 * entries && !check_failed; want--) {
		CHECK_EQ(m.ops->pop(&m, &got), 0);
		CHECK_EQ(got, want - 1);
	}
	CHECK_EQ(m.ops->pop(&m, &v), -ENOENT);
	test_map_free(&m);
}

/* Random bytes over the shared file: answers may be wrong, but come, and nothing is touched outside. */
TEST(spoilt_memory_neither_crashes_nor_hangs)
{
	u64 seed = 99;

	for (int r = 0; r < (getenv("LIMPET_LONG") ? 2000 : 40); r++) {
		u32 type = r & 1 ? BPF_MAP_TYPE_QUEUE : BPF_MAP_TYPE_STACK;
		struct map m;
		struct item it = item_make(1, 1);

		REQUIRE(!test_map_make(&m, type, 0, sizeof(it), 8, 0));
		for (int i = 0; i < 40; i++) {
			u64 spot = test_random(&seed) % (m.file_size - 1);

			if (i % 2)
				spot = m.file_size - MAP_META_SIZE + offsetof(struct map_meta, type_area) +
				       test_random(&seed) % 192;
			m.base[spot] ^= (u8)(1 + test_random(&seed) % 255);
			m.ops->push(&m, &it, i % 3 ? 0 : BPF_EXIST);
			m.ops->pop(&m, &it);
			m.ops->peek(&m, &it);
		}
		test_map_free(&m);
	}
}

TEST(opening_believes_nothing)
{
	struct map m, again;
	u64 size;

	REQUIRE(!test_map_make(&m, BPF_MAP_TYPE_QUEUE, 0, 8, 8, 0));
	size = m.file_size;
	CHECK_EQ(map_open(&again, m.base, size, true), 0);
	CHECK_EQ(map_open(&again, m.base, size - PAGE_SIZE, true), -EINVAL);
	m.meta->def.max_entries = 1u << 30;
	CHECK(map_open(&again, m.base, size, true) < 0);
	m.meta->def.max_entries = 9000;
	CHECK_EQ(map_open(&again, m.base, size, true), -EINVAL);
	m.meta->def.type = 4711;
	CHECK_EQ(map_open(&again, m.base, size, true), -EINVAL);
	test_map_free(&m);
}

TEST_MAIN()
