/* SPDX-License-Identifier: MIT */
/*
 * Hostile neighbours: two processes work on a map whose file a third one spoils, arbitrary bytes at any
 * time, and then cuts short, and makes longer again, while they are at it. They may get wrong answers; they
 * come to their end, without a signal, having written nothing outside of the map. For every type.
 *
 *     | canary page | page nobody may touch | the map | page nobody may touch | canary page |
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "maps/perf_event_array.h"
#include "maps/refs.h"
#include "maps/ringbuf.h"
#include "store/store.h"
#include "../unit/maps/common.h"

#define CANARY     0x5a
#define VALUE_MAX  4096u
#define STACK_DEEP 6
#define WALK_MAX   2000000

struct victim {
	struct map m;
	u64 seed;
	u32 n;
	struct ringbuf_pump ring;
	struct staging_pump samples;
	u8 key[64];
	_Alignas(8) u8 value[VALUE_MAX];
	_Alignas(8) u8 out[VALUE_MAX];
};

static char dir[SESSION_PATH_MAX];

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

/* As a program uses what a lookup gave: it must lie in the map, whatever the map says. */
static void use_value(struct victim *v, u8 *p)
{
	const u64 size = v->m.def.value_size;
	u64 start, end;

	if (!p || v->m.holds)
		return;
	map_region(&v->m, &start, &end);
	if ((u64)p < start || (u64)p > end || size > end - (u64)p)
		_exit(80);
	memcpy(v->out, p, size);
	memcpy(p, v->value, size);
}

static void walk(struct victim *v)
{
	struct map_each e = {0};

	/* who spoils may make it longer, as long as the type's bound of steps, not endless */
	for (u32 i = 0; v->m.ops->each && v->m.ops->each(&v->m, &e); i++) {
		use_value(v, e.value);
		if (i > 64 * v->m.def.max_entries + WALK_MAX)
			_exit(81);
	}
}

static void by_program(struct victim *v)
{
	const struct map_ops *ops = v->m.ops;
	struct map *m = &v->m;
	const u64 flags = test_random(&v->seed) % 3;

	switch (test_random(&v->seed) % 8) {
	case 0:
	case 1:
		if (ops->lookup)
			use_value(v, ops->lookup(m, v->key));
		break;
	case 2:
	case 3:
		if (ops->update)
			ops->update(m, v->key, v->value, flags);
		break;
	case 4:
		if (ops->remove)
			ops->remove(m, v->key);
		break;
	case 5:
		if (ops->push)
			ops->push(m, v->value, flags == 1 ? 0 : flags);
		break;
	case 6:
		if (ops->pop)
			ops->pop(m, v->out);
		if (ops->peek)
			ops->peek(m, v->out);
		break;
	default:
		if (v->n % 16 == 0)
			walk(v);
	}
}

static void on_a_cpu(struct victim *v)
{
	struct map *m = &v->m;
	_Atomic u32 *word;
	u32 cpu = test_random(&v->seed) % m->cpus;
	int slot;

	if (v->n % 8 == 0) { /* words with a pid nobody has cost all the yields */
		slot = m->ops->lease(m, cpu, false, &word);
		if (slot >= 0) {
			use_value(v, m->ops->lookup_cpu(m, v->key, (u32)slot));
			map_slot_release(word);
		}
	}
	use_value(v, m->ops->lookup_cpu(m, v->key, test_random(&v->seed) % (m->cpus + 2)));
	m->ops->update_cpu(m, v->key, v->value, test_random(&v->seed) % 3, cpu);
}

static void by_user(struct victim *v)
{
	struct map *m = &v->m;
	void *key = m->def.key_size ? v->key : NULL;

	switch (test_random(&v->seed) % 6) {
	case 0:
		map_user_lookup(m, key, v->out, 0);
		break;
	case 1:
	case 2:
		map_user_update(m, key, v->value, test_random(&v->seed) % 3);
		break;
	case 3:
		map_user_delete(m, key);
		break;
	case 4:
		map_user_lookup_and_delete(m, key, v->out, 0);
		break;
	default:
		map_user_next_key(m, test_random(&v->seed) % 2 ? key : NULL, v->out);
	}
	if (m->ops->collect && v->n % 64 == 0)
		m->ops->collect(m, NULL);
}

static void with_lock(struct victim *v)
{
	u8 *p = v->m.ops->lookup(&v->m, v->key);
	u32 held;

	if (!p || v->n % 64)
		return;
	if (!map_lock((u32 *)p, map_lock_thread((u32)getpid()), &held))
		map_unlock((u32 *)p, held);
}

static void stack_id(struct victim *v)
{
	u64 ips[STACK_DEEP];
	struct map_stack s = {.ips = ips, .count = 1 + test_random(&v->seed) % STACK_DEEP};

	for (u32 i = 0; i < s.count; i++)
		ips[i] = 0x1000 + test_random(&v->seed) % 8;
	v->m.ops->stackid(&v->m, &s, test_random(&v->seed) % 3 ? 0 : BPF_F_REUSE_STACKID);
}

static void ring(struct victim *v)
{
	struct map *m = &v->m;
	u32 len = test_random(&v->seed) % 200;
	bool notify;
	u8 *p = ringbuf_reserve(m, len);

	if (p) {
		if (p < m->base || p + len > m->base + m->file_size)
			_exit(82);
		memcpy(p, v->value, len);
		ringbuf_finish(m, p, v->n % 7 == 0, 0);
	}
	ringbuf_pump(&v->ring, now_ns() + v->n * 1000000ULL, &notify);
	ringbuf_query(m, v->n % 4);
	if (v->n % 3)
		atomic_store((_Atomic u64 *)m->base, *(_Atomic u64 *)(m->base + PAGE_SIZE));
}

static void user_ring(struct victim *v)
{
	const u8 *sample;
	u32 len;
	int err;

	if (user_ringbuf_begin(&v->m))
		return;
	for (u32 i = 0;
	     i < 1000 && (!(err = user_ringbuf_peek(&v->m, &sample, &len)) || err == -EAGAIN);
	     i++) {
		if (err)
			continue;
		if (sample < v->m.base || sample + len > v->m.base + v->m.data_size)
			_exit(83);
		for (u32 k = 0; k < len; k += 512)
			v->out[0] ^= sample[k];
		user_ringbuf_release(&v->m, len);
	}
	user_ringbuf_end(&v->m, v->n % 2);
}

/* What a tool's pump does up to the rings, which are no memory of the map's. */
static void sample(struct victim *v)
{
	struct perf_staged head = {.event = v->n};
	struct perf_note note = {.time = v->n};
	struct staging_record r;
	u64 pos, now = now_ns() + v->n * 1000000ULL;

	struct perf_entry *e = perf_array_entry(&v->m, v->n % v->m.def.max_entries);
	u8 *staged = perf_array_stage(&v->m, e, &head, v->n % 2 ? &note : NULL, v->value, test_random(&v->seed) % 300);

	if (staged)
		perf_array_finish(&v->m, staged, !perf_array_fits(&v->m, e, staged, 300));
	if (!staging_lock(&v->samples))
		return;
	pos = atomic_load(&v->m.staging.ctl->taken);
	for (u32 i = 0; i < 50 && staging_next(&v->samples, &pos, now, &r) > 0; i++) {
		if (r.payload < v->m.base || r.payload + r.len > v->m.base + v->m.file_size)
			_exit(84);
		memcpy(v->out, r.payload, r.len < VALUE_MAX ? r.len : VALUE_MAX);
	}
	staging_take(&v->samples, pos);
	staging_unlock(&v->samples);
}

static void references(struct victim *v)
{
	struct map_each e = {0};
	u32 id, n = 0;

	while (map_next_ref(&v->m, &e, &id))
		if (n++ > 64 * v->m.def.max_entries + WALK_MAX)
			_exit(85);
	map_has_ref(&v->m, test_random(&v->seed) % 8);
	if (v->m.def.type != BPF_MAP_TYPE_HASH_OF_MAPS)
		atomic_store(&map_ref_words(&v->m)[test_random(&v->seed) % v->m.def.max_entries],
			     v->n % 9);
}

static void operate(struct victim *v)
{
	struct map *m = &v->m;
	u32 number =
		test_random(&v->seed) % (m->def.max_entries < 20 ? m->def.max_entries + 2 : 20);

	v->n++;
	memset(v->key, 0, sizeof(v->key));
	memcpy(v->key, &number, 4);
	if (m->def.type == BPF_MAP_TYPE_LPM_TRIE) {
		number = number * 3 % 34;
		memcpy(v->key, &number, 4);
		memset(v->key + 4, (int)(test_random(&v->seed) % 4), 4);
	}
	for (u32 i = 0; i < 16; i++)
		v->value[i] = (u8)(number * 7 + i);
	if (m->bank_count && m->def.type == BPF_MAP_TYPE_RINGBUF)
		ring(v);
	else if (m->bank_count)
		sample(v);
	else if (m->def.type == BPF_MAP_TYPE_USER_RINGBUF)
		user_ring(v);
	else if (map_holds_objects(m))
		references(v);
	else
		by_program(v);
	if (m->ops->stackid)
		stack_id(v);
	if (m->ops->lease)
		on_a_cpu(v);
	if (m->def.lock)
		with_lock(v);
	by_user(v);
}

/* The map's file, mapped between pages that tell. */
static u8 *map_file(int fd, u64 size)
{
	u8 *p = mmap(NULL, size + 4 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	memset(p, CANARY, PAGE_SIZE);
	memset(p + size + 3 * PAGE_SIZE, CANARY, PAGE_SIZE);
	mprotect(p + PAGE_SIZE, size + 2 * PAGE_SIZE, PROT_NONE);
	p = mmap(p + 2 * PAGE_SIZE, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static bool canaries_live(const u8 *base, u64 size)
{
	for (u32 i = 0; i < PAGE_SIZE; i++)
		if (base[i - 2 * (s64)PAGE_SIZE] != CANARY || base[size + PAGE_SIZE + i] != CANARY)
			return false;
	return true;
}

static int be_victim(const struct map *m, int fd, u64 seed, _Atomic u32 *stop)
{
	const struct rlimit cpu = {20, 20};
	static struct victim v;
	u8 *base = map_file(fd, m->file_size);

	setrlimit(RLIMIT_CPU, &cpu); /* who hangs dies of it */
	alarm(getenv("LIMPET_LONG") ? 3000 : 300); /* or sleeps; by the clock, so a busy machine counts */
	if (!base || map_open(&v.m, base, m->file_size, true) || map_alias(&v.m, fd))
		return 77;
	v.m.inner = m->inner;
	v.seed = seed;
	if (v.m.def.type == BPF_MAP_TYPE_RINGBUF)
		ringbuf_pump_init(&v.ring, &v.m);
	v.samples.s = &v.m.staging;
	stop[1]++;
	while (!atomic_load(stop))
		operate(&v);
	for (u32 i = 0; i < 200; i++)
		operate(&v);
	return canaries_live(base, m->file_size) ? 0 : 86;
}

/* Mostly where much is decided: the beginning, the elements' heads, the metadata. */
static u64 spot_in(const struct map *m, u64 *seed)
{
	const u64 any = (u64)test_random(seed) << 16 ^ test_random(seed);

	switch (test_random(seed) % 4) {
	case 0:
		return any % m->file_size;
	case 1:
		return any % (m->file_size < 2048 ? m->file_size : 2048);
	case 2:
		return m->file_size - MAP_META_SIZE + any % 2600;
	default:
		return (m->elems_off + any % ((u64)m->elem_size * 16 + 64)) % m->file_size;
	}
}

static void spoil(const struct map *m, int fd, u64 *seed, bool truncate)
{
	const struct timespec nap = {.tv_nsec = 20000};

	for (u32 i = 0; i < 300; i++) {
		u8 byte = (u8)test_random(seed);

		if (pwrite(fd, &byte, 1, (off_t)spot_in(m, seed)) != 1)
			abort();
		if (i % 16 == 0)
			nanosleep(&nap, NULL);
	}
	for (u32 i = 0; truncate && i < 4; i++) {
		u64 at = test_random(seed) % 2 ? 0
					       : (u64)test_random(seed) * PAGE_SIZE % m->file_size;

		if (ftruncate(fd, (off_t)at))
			abort();
		nanosleep(&nap, NULL);
		if (i % 2 && ftruncate(fd, (off_t)m->file_size))
			abort();
	}
}

/* A round: fresh file, two victims, and this process as the one who spoils. */
static void round_of(const struct map_def *def, u64 seed, bool truncate)
{
	char path[SESSION_PATH_MAX + 32];
	_Atomic u32 *stop =
		mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct map m;
	pid_t pid[2];
	const u64 first = seed;
	u8 *base;
	int fd;

	REQUIRE(!map_layout(&m, def));
	snprintf(path, sizeof(path), "%s/bpf-map.1", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0 && !ftruncate(fd, (off_t)m.file_size));
	base = mmap(NULL, m.file_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	m.inner = (struct map_shape){BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0};
	REQUIRE(base != MAP_FAILED && !map_create(&m, base, 1));
	fflush(stdout);
	for (u32 i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i])
			_exit(be_victim(&m, fd, seed + i, stop));
	}
	while (stop[1] < 2 && waitpid(-1, NULL, WNOHANG) <= 0)
		sched_yield();
	munmap(base, m.file_size);
	spoil(&m, fd, &seed, truncate);
	atomic_store(stop, 1);
	for (u32 i = 0; i < 2; i++) {
		int status = -1;

		waitpid(pid[i], &status, 0);
		if (status)
			printf("# %s, seed %llu%s: status 0x%x\n", m.ops->name,
			       (unsigned long long)first, truncate ? ", truncated" : "", status);
		CHECK_EQ(status, 0);
	}
	munmap((void *)stop, PAGE_SIZE);
	close(fd);
	unlink(path);
}

static void hostile(struct map_def def)
{
	const u32 rounds = getenv("LIMPET_LONG") ? 500 : 6;

	if (!dir[0]) {
		strcpy(dir, "/dev/shm/limpet-hostile-XXXXXX");
		REQUIRE(mkdtemp(dir));
		store_catch_faults(dir);
		map_owner_make();
	}
	for (u32 i = 0; i < rounds && !check_failed; i++)
		round_of(&def, def.type * 100000ULL + i * 10, i % 2);
}

__attribute__((destructor)) static void tidy(void)
{
	if (dir[0])
		rmdir(dir);
}

#define HOSTILE(name, ...)                                                                         \
	TEST(name)                                                                                 \
	{                                                                                          \
		hostile((struct map_def){__VA_ARGS__});                                            \
	}

HOSTILE(array, .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 24, .max_entries = 50)
HOSTILE(array_with_locks, .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 16,
	.max_entries = 8, .lock = 1)
HOSTILE(hash, .type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 24, .max_entries = 16)
HOSTILE(hash_with_locks, .type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 16,
	.max_entries = 16, .lock = 1)
HOSTILE(percpu_array, .type = BPF_MAP_TYPE_PERCPU_ARRAY, .key_size = 4, .value_size = 12,
	.max_entries = 8, .cpus = 2)
HOSTILE(percpu_hash, .type = BPF_MAP_TYPE_PERCPU_HASH, .key_size = 4, .value_size = 12,
	.max_entries = 16, .cpus = 2)
HOSTILE(lru_hash, .type = BPF_MAP_TYPE_LRU_HASH, .key_size = 4, .value_size = 24, .max_entries = 12)
HOSTILE(lru_percpu_hash, .type = BPF_MAP_TYPE_LRU_PERCPU_HASH, .key_size = 4, .value_size = 8,
	.max_entries = 12, .cpus = 2)
HOSTILE(lpm_trie, .type = BPF_MAP_TYPE_LPM_TRIE, .key_size = 8, .value_size = 12, .max_entries = 20,
	.flags = BPF_F_NO_PREALLOC)
HOSTILE(queue, .type = BPF_MAP_TYPE_QUEUE, .value_size = 24, .max_entries = 10)
HOSTILE(stack, .type = BPF_MAP_TYPE_STACK, .value_size = 24, .max_entries = 10)
HOSTILE(bloom_filter, .type = BPF_MAP_TYPE_BLOOM_FILTER, .value_size = 12, .max_entries = 100)
HOSTILE(ringbuf, .type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096)
HOSTILE(user_ringbuf, .type = BPF_MAP_TYPE_USER_RINGBUF, .max_entries = 4096)
HOSTILE(perf_event_array, .type = BPF_MAP_TYPE_PERF_EVENT_ARRAY, .key_size = 4, .value_size = 4,
	.max_entries = 4)
HOSTILE(stack_trace, .type = BPF_MAP_TYPE_STACK_TRACE, .key_size = 4, .value_size = STACK_DEEP * 8,
	.max_entries = 8)
HOSTILE(prog_array, .type = BPF_MAP_TYPE_PROG_ARRAY, .key_size = 4, .value_size = 4,
	.max_entries = 8)
HOSTILE(array_of_maps, .type = BPF_MAP_TYPE_ARRAY_OF_MAPS, .key_size = 4, .value_size = 4,
	.max_entries = 8)
HOSTILE(hash_of_maps, .type = BPF_MAP_TYPE_HASH_OF_MAPS, .key_size = 4, .value_size = 4,
	.max_entries = 8)
HOSTILE(cgroup_array, .type = BPF_MAP_TYPE_CGROUP_ARRAY, .key_size = 4, .value_size = 4,
	.max_entries = 8)

TEST_MAIN()
