/* SPDX-License-Identifier: MIT */
/* Per-CPU types: exact without atomic operations, whoever is moved, killed, stopped or spoils the memory. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include "steps.h"

#define CPUS 2

static int make(struct map *m, u32 type, u32 entries)
{
	struct map_def def = {.type = type, .key_size = 4, .value_size = 8, .max_entries = entries, .cpus = CPUS};

	return test_map_define(m, &def);
}

/* What a run does: leases, adds to its own value of key 1, and gives back. False: no slot to be had. */
static bool add_once(struct map *m, u32 cpu, bool linger)
{
	const u32 key = 1;
	_Atomic u32 *word;
	int slot = m->ops->lease(m, cpu, false, &word);
	volatile u64 *p = slot < 0 ? NULL : m->ops->lookup_cpu(m, &key, (u32)slot);
	u64 v;

	if (!p)
		return false;
	v = *p;
	if (linger)
		sched_yield();
	*p = v + 1;
	map_slot_release(word);
	return true;
}

static u64 sum(struct map *m)
{
	const u32 key = 1;
	u64 v[CPUS] = {0}, total = 0;

	CHECK_EQ(map_user_lookup(m, &key, v, 0), 0);
	for (u32 i = 0; i < CPUS; i++)
		total += v[i];
	return total;
}

static void zero(struct map *m)
{
	const u32 key = 1;
	u64 v[CPUS] = {0};

	CHECK_EQ(map_user_update(m, &key, v, 0), 0);
}

struct adder {
	struct map *m;
	u32 number, each;
	_Atomic u32 *refused;
};

static void *adder(void *arg)
{
	struct adder *a = arg;

	for (u32 i = 0; i < a->each; i++)
		if (!add_once(a->m, (a->number + i / 7) % CPUS, i % 64 == a->number))
			(*a->refused)++;
	return NULL;
}

static void exact(u32 type)
{
	u32 each = getenv("LIMPET_LONG") ? 1000000 : 20000;
	_Atomic u32 *refused = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct map m;

	REQUIRE(!make(&m, type, 8));
	zero(&m);
	for (u32 p = 0; p < 4; p++) {
		struct adder a[4];
		pthread_t id[4];

		if (fork())
			continue;
		for (u32 i = 0; i < 4; i++) {
			a[i] = (struct adder){&m, p * 4 + i, each, refused};
			pthread_create(&id[i], NULL, adder, &a[i]);
		}
		for (u32 i = 0; i < 4; i++)
			pthread_join(id[i], NULL);
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
	/* who has a slot runs again soon, however many wait; but others may keep it from a processor for longer */
	CHECK(*refused < each);
	CHECK_EQ(sum(&m), 16 * each - *refused);
	munmap(refused, PAGE_SIZE);
	test_map_free(&m);
}

TEST(additions_are_exact)
{
	exact(BPF_MAP_TYPE_PERCPU_ARRAY);
	exact(BPF_MAP_TYPE_PERCPU_HASH);
}

/* Children that hold all slots: stopped, nobody gets one, and nobody waits for ever; killed, all do. */
TEST(slots_of_the_dead_are_taken_over)
{
	struct map m;
	pid_t pid[CPUS];
	int status;

	REQUIRE(!make(&m, BPF_MAP_TYPE_PERCPU_ARRAY, 8));
	for (u32 i = 0; i < CPUS; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			_Atomic u32 *word;

			raise(m.ops->lease(&m, i, false, &word) == (int)i ? SIGSTOP : SIGKILL);
		}
		waitpid(pid[i], &status, WUNTRACED);
		CHECK(WIFSTOPPED(status));
	}
	for (u32 i = 0; i < 1000; i++) /* the first one waits long */
		CHECK(!add_once(&m, 0, false));
	for (u32 i = 0; i < CPUS; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], &status, 0);
	}
	for (u32 i = 0; i < CPUS; i++)
		CHECK(add_once(&m, i, false));
	CHECK_EQ(sum(&m), CPUS);
	test_map_free(&m);
}

/* Naps of whoever waits for a slot. */
static _Atomic u32 *naps;

static bool count_naps(enum map_call call)
{
	*naps += call == MAP_CALL_FUTEX;
	return true;
}

/* A run that has all slots until somebody has waited for some time. */
static void linger(struct map *m, int ready)
{
	_Atomic u32 *word[CPUS];

	for (u32 i = 0; i < CPUS; i++)
		if (m->ops->lease(m, i, false, &word[i]) != (int)i)
			_exit(1);
	if (write(ready, "", 1) != 1)
		_exit(1);
	while (*naps < 3)
		usleep(100);
	for (u32 i = 0; i < CPUS; i++)
		map_slot_release(word[i]);
	_exit(0);
}

static pid_t lingering(struct map *m, int ready[2])
{
	pid_t pid;
	char byte;

	*naps = 0;
	pid = fork();
	if (!pid)
		linger(m, ready[1]);
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	return pid;
}

/*
 * Also after one that was refused, and after one that was brief. Who lets go may come to it too late, when it is
 * kept from a processor: then again.
 */
TEST(holders_are_waited_for)
{
	_Atomic u32 *word;
	struct map m;
	int ready[2];

	naps = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(!make(&m, BPF_MAP_TYPE_PERCPU_ARRAY, 8) && !pipe(ready));
	map_calls_by(count_naps);
	for (u32 round = 0; round < 3; round++) {
		bool had = false;

		for (u32 i = 0; i < 100 && !had; i++) {
			pid_t pid = lingering(&m, ready);
			int status;

			if (round) {
				kill(pid, SIGSTOP);
				waitpid(pid, &status, WUNTRACED);
				CHECK(m.ops->lease(&m, 0, round == 2, &word) < 0);
				CHECK(round != 2 || *naps <= 25); /* of 50 microseconds or more, in one millisecond */
				if (round == 1) {
					*naps = 3;
					kill(pid, SIGCONT);
					waitpid(pid, &status, 0);
					CHECK_EQ(status, 0);
					pid = lingering(&m, ready);
				}
				*naps = 0;
				kill(pid, SIGCONT);
			}
			had = add_once(&m, round % CPUS, false);
			CHECK(had || *naps);
			*naps = 3;
			waitpid(pid, &status, 0);
			CHECK_EQ(status, 0);
		}
		CHECK(had);
	}
	map_calls_by(NULL);
	close(ready[0]);
	close(ready[1]);
	munmap((void *)naps, PAGE_SIZE);
	test_map_free(&m);
}

/* Two that have all slots of a map each, and want one of the other's. */
TEST(who_has_slots_does_not_wait_long)
{
	_Atomic u32 *word[CPUS], *other, own = 0; /* each process's */
	int there[2], back[2], status;
	struct map m[2];
	char byte = 0;
	pid_t pid;

	REQUIRE(!make(&m[0], BPF_MAP_TYPE_PERCPU_ARRAY, 8) && !make(&m[1], BPF_MAP_TYPE_PERCPU_HASH, 8));
	REQUIRE(!pipe(there) && !pipe(back));
	naps = &own;
	map_calls_by(count_naps);
	pid = fork();
	for (u32 round = 0; round < 20; round++) {
		const u32 mine = !pid;

		for (u32 i = 0; i < CPUS; i++)
			CHECK_EQ(m[mine].ops->lease(&m[mine], i, false, &word[i]), (int)i);
		if (write(pid ? there[1] : back[1], &byte, 1) != 1 || read(pid ? back[0] : there[0], &byte, 1) != 1)
			_exit(1);
		CHECK(m[!mine].ops->lease(&m[!mine], 0, true, &other) < 0);
		if (write(pid ? there[1] : back[1], &byte, 1) != 1 || read(pid ? back[0] : there[0], &byte, 1) != 1)
			_exit(1);
		for (u32 i = 0; i < CPUS; i++)
			map_slot_release(word[i]);
	}
	CHECK(own <= 20 * 25); /* of 50 microseconds or more, in one millisecond each */
	if (!pid)
		_exit(check_failed);
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	map_calls_by(NULL);
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
	test_map_free(&m[0]);
	test_map_free(&m[1]);
}

/* A run that has interrupted those that have all slots would wait for itself. */
TEST(who_has_all_slots_itself_does_not_wait)
{
	_Atomic u32 *word[CPUS];
	struct map m;

	REQUIRE(!make(&m, BPF_MAP_TYPE_PERCPU_ARRAY, 8));
	naps = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	map_calls_by(count_naps);
	for (u32 round = 0; round < 5; round++) {
		for (u32 i = 0; i < CPUS; i++)
			CHECK_EQ(m.ops->lease(&m, i, false, &word[i]), (int)i);
		CHECK(!add_once(&m, 0, false));
		for (u32 i = 0; i < CPUS; i++)
			map_slot_release(word[i]);
	}
	CHECK_EQ(*naps, 0);
	map_calls_by(NULL);
	munmap((void *)naps, PAGE_SIZE);
	test_map_free(&m);
}

static void operations(struct map *m)
{
	const u32 other = 5;
	u64 v = 3;

	add_once(m, 0, false);
	m->ops->update_cpu(m, &other, &v, BPF_NOEXIST, 1);
	m->ops->remove(m, &other);
	add_once(m, 1, false);
}

static void is_usable(struct map *m, int n)
{
	const u32 key = 5;
	u64 v[CPUS] = {7, 8}, before = sum(m);

	CHECK(before <= 2);
	if (m->ops->collect)
		m->ops->collect(m, steps_alive);
	for (u32 i = 0; i < 4 && steps_end != STEPS_KILL; i++)
		CHECK(add_once(m, i % CPUS, false));
	if (steps_end != STEPS_KILL)
		CHECK_EQ(sum(m), before + 4);
	CHECK_EQ(map_user_update(m, &key, v, 0), 0);
	CHECK_EQ(map_user_lookup(m, &key, v, 0), 0);
	CHECK(v[0] == 7 && v[1] == 8);
}

static bool at_instruction(u32 type, int n, enum steps_end end)
{
	struct map m;
	bool more;

	if (make(&m, type, 8))
		return false;
	zero(&m);
	more = steps_start(&m, operations, n, end, &steps_pid);
	if (more) {
		steps_interrupt(steps_pid, end);
		if (end == STEPS_FORK)
			CHECK(sum(&m) <= 4);
		else
			is_usable(&m, n);
		steps_finish(steps_pid, end);
		for (u32 i = 0; i < CPUS; i++)
			CHECK(add_once(&m, i, false));
	}
	test_map_free(&m);
	return more && !check_failed;
}

static void at_every_instruction(u32 type)
{
	struct map m;

	REQUIRE(!make(&m, type, 8));
	zero(&m);
	steps_kill_each(&m, operations, is_usable);
	test_map_free(&m);
	for (enum steps_end end = STEPS_STOP; end <= STEPS_FORK && !check_failed && !check_skipped; end++) {
		int n = 0;

		while (at_instruction(type, n, end))
			n += 2 * steps_stride(end);
		if (check_failed)
			printf("# %s at instruction %d\n", steps_end_names[end], n);
	}
}

TEST(interrupted_at_every_instruction)
{
	at_every_instruction(BPF_MAP_TYPE_PERCPU_ARRAY);
	at_every_instruction(BPF_MAP_TYPE_PERCPU_HASH);
}

/* ---- an update of an entry that is deleted at that moment ---- */

static const u32 key_a = 1, key_b = 2;

static void update_all(struct map *m)
{
	u64 v[CPUS] = {100, 101};
	int err = map_user_update(m, &key_a, v, 0);

	if (err && err != -E2BIG) /* others have filled the map meanwhile */
		_exit(1);
}

static void update_own(struct map *m)
{
	_Atomic u32 *word;
	int slot = m->ops->lease(m, 1, false, &word);
	u64 v = 101;
	long err = m->ops->update_cpu(m, &key_a, &v, BPF_ANY, 1);

	if (slot != 1 || (err && err != -E2BIG))
		_exit(1);
	map_slot_release(word);
}

/* Those of other keys: as they were inserted. */
static void are_whole(struct map *m)
{
	u64 v[CPUS];
	u32 key;

	for (void *k = NULL; !map_user_next_key(m, k, &key); k = &key)
		CHECK(key == key_a || (!map_user_lookup(m, &key, v, 0) && v[0] == 7 && v[1] == 8));
}

/* Key a's, written whole or not yet. */
static void is_a(struct map *m, bool all)
{
	u64 v[CPUS] = {0};

	if (!map_user_lookup(m, &key_a, v, 0))
		CHECK(v[0] == (all ? 100 : 0) && v[1] == 101);
}

/* The entry is deleted, and each element given to key b, while somebody is at instruction n of an update. */
static bool deleted_during(u32 type, int n, void (*update)(struct map *m), enum steps_end end)
{
	u64 v[CPUS] = {7, 8};
	u32 entries, spare;
	struct map m;
	bool more;

	if (make(&m, type, 4))
		return false;
	zero(&m);
	more = steps_start(&m, update, n, end, &steps_pid);
	if (more) {
		CHECK_EQ(map_user_delete(&m, &key_a), 0);
		for (u32 i = 0; i < 2; i++) {
			CHECK_EQ(map_user_update(&m, &key_b, v, BPF_NOEXIST), 0);
			CHECK(i || !map_user_delete(&m, &key_b));
			m.ops->collect(&m, steps_alive);
		}
		for (u32 other = 10; other < 13; other++) /* whatever is free comes into use */
			map_user_update(&m, &other, v, BPF_NOEXIST);
		steps_interrupt(steps_pid, end);
		steps_finish(steps_pid, end);
		are_whole(&m);
		is_a(&m, update == update_all);
		for (u32 other = 10; other < 13; other++)
			map_user_delete(&m, &other);
		map_user_delete(&m, &key_a);
		map_user_delete(&m, &key_b);
		if (end == STEPS_KILL)
			m.ops->collect(&m, NULL);
		entries = steps_hash_free(&m, &spare);
		CHECK(entries == 4 && spare == 64);
	}
	test_map_free(&m);
	return more && !check_failed;
}

TEST(updates_do_not_write_to_who_gets_the_place)
{
	void (*const updates[])(struct map *m) = {update_all, update_own};

	for (u32 i = 0; i < 4 && !check_failed && !check_skipped; i++) {
		const u32 type = i % 2 ? BPF_MAP_TYPE_LRU_PERCPU_HASH : BPF_MAP_TYPE_PERCPU_HASH;

		for (enum steps_end end = STEPS_KILL; end <= STEPS_STOP && !check_failed && !check_skipped; end++) {
			int n = 0;

			while (deleted_during(type, n, updates[i / 2], end))
				n += getenv("LIMPET_LONG") ? 1 : 3;
			if (steps_pid == -1)
				check_skipped = "ptrace is not allowed here";
			CHECK(n > 50 || check_skipped);
			if (check_failed)
				printf("# type %u, update %u, %s at instruction %d\n", type, i / 2, steps_end_names[end], n);
		}
	}
}

static bool nothing(enum map_call call)
{
	return false;
}

/* A process whose seccomp filter kills for kill, getpid and sched_yield meets the dead, and forks. */
static void sandboxed(struct map *m)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_kill, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getpid, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_sched_yield, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = {ARRAY_SIZE(code), code};
	const u32 key = 5;
	u64 v[CPUS] = {1, 2};
	int status = 0;

	map_calls_by(nothing);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(77);
	if (syscall(__NR_fork)) {
		wait(&status);
		_exit(!!status);
	}
	map_user_update(m, &key, v, 0); /* without a pid of its own */
	m->ops->collect(m, NULL);
	_exit(add_once(m, 0, false)); /* the slots are the dead's: no */
}

TEST(forbidden_system_calls_are_not_made)
{
	struct map m;
	int status;

	REQUIRE(!make(&m, BPF_MAP_TYPE_PERCPU_HASH, 8));
	zero(&m);
	if (!fork()) {
		_Atomic u32 *word;

		for (u32 i = 0; i < CPUS; i++)
			m.ops->lease(&m, i, false, &word);
		_exit(0);
	}
	wait(NULL);
	if (!fork())
		sandboxed(&m);
	wait(&status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("seccomp is not allowed here");
	CHECK_EQ(status, 0);
	CHECK_EQ(m.meta->stat[MAP_STAT_COLLECTED], 0);
	CHECK(add_once(&m, 0, false));
	test_map_free(&m);
}

/* In another pid namespace pids say nothing: who is there takes nothing from anybody. */
TEST(another_pid_namespace_takes_everybody_for_living)
{
	struct map m, again;
	int status;

	REQUIRE(!make(&m, BPF_MAP_TYPE_PERCPU_HASH, 8));
	zero(&m);
	if (!fork()) {
		_Atomic u32 *word;

		for (u32 i = 0; i < CPUS; i++)
			m.ops->lease(&m, i, false, &word);
		_exit(0);
	}
	wait(NULL);
	if (!fork()) {
		if (unshare(CLONE_NEWPID))
			_exit(77);
		if (!fork())
			_exit(map_open(&again, m.base, m.file_size, true) || add_once(&again, 0, false));
		wait(&status);
		_exit(!!status);
	}
	wait(&status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("no pid namespace may be made here");
	CHECK_EQ(status, 0);
	CHECK(add_once(&m, 0, false)); /* the dead's slot, to one who knows that */
	test_map_free(&m);
}

TEST(spoilt_memory_neither_crashes_nor_hangs)
{
	u64 seed = 31;

	for (int r = 0; r < (getenv("LIMPET_LONG") ? 3000 : 60) && !check_failed; r++) {
		struct map m;

		REQUIRE(!make(&m, r % 2 ? BPF_MAP_TYPE_PERCPU_HASH : BPF_MAP_TYPE_PERCPU_ARRAY, 8));
		for (int i = 0; i < 50; i++) {
			u32 key = test_random(&seed) % 10, next;
			u64 v[CPUS] = {1, 2};
			u8 *p;

			m.base[i % 2 ? test_random(&seed) % m.file_size : m.elems_off + test_random(&seed) % 900] ^=
				(u8)(1 + test_random(&seed) % 255);
			memset(m.base, 0, CPUS * 64); /* the words: a pid nobody has costs all the yields */
			map_user_update(&m, &key, v, 0);
			m.ops->update_cpu(&m, &key, v, 0, test_random(&seed) % CPUS);
			p = m.ops->lookup_cpu(&m, &key, test_random(&seed) % (CPUS + 1));
			CHECK(!p || (p >= m.base && p + 8 <= m.base + m.file_size));
			map_user_lookup(&m, &key, v, 0);
			map_user_next_key(&m, &key, &next);
			if (i % 3 == 0)
				m.ops->remove(&m, &key);
		}
		test_map_free(&m);
	}
}

TEST_MAIN()
