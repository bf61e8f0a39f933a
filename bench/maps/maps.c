/* SPDX-License-Identifier: MIT */
/*
 * What map operations cost, per operation: inside a program (limpet's helper functions, the kernel's
 * by BPF_PROG_TEST_RUN less its empty loop, and a plain C limit without sharing) and from the tool
 * (limpet's by the shim's way into the map, the kernel's by bpf(2)). One run, variants interleaved in
 * rounds, medians; ratios to limpet. Run under `limpet load` the column "tool kernel" is the shim.
 *
 *     bench_maps [--rounds N] [--json]
 *     bench_maps --contended [--rounds N] [--json]
 *     bench_maps --large        a hash of up to 10 million entries, random keys; takes 1.3 GB
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "bench_maps.h"
#include "maps/ringbuf.h"

struct map maps[32];
int fds[32];
static struct item out;
static struct helper_env env;
_Thread_local struct vm_run bench_run = {.env = &env};
static u64 sink;

u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

/* One function per row and side; each performs n operations. */
#define OPS(name, body)                                 \
	static NOINLINE void name(u32 n)                \
	{                                               \
		struct item it = {{1}};                 \
		u64 v = 1, *p;                          \
		(void)it, (void)v, (void)p;             \
		for (u32 i = 0; i < n; i++) {           \
			u32 key = 512 + (i & 7);        \
			(void)key;                      \
			body;                           \
			__asm__ volatile("" ::: "memory"); \
		}                                       \
		sink += v;                              \
	}

OPS(array_add, { key &= 7; p = (u64 *)help(1, BPF_MAP_TYPE_ARRAY, &key, NULL, 0); if (p) *p += 1; })
OPS(percpu_array_add, { key &= 7; p = (u64 *)help(1, BPF_MAP_TYPE_PERCPU_ARRAY, &key, NULL, 0); if (p) *p += 1; helper_run_end(&bench_run); })
OPS(hash_lookup, { p = (u64 *)help(1, BPF_MAP_TYPE_HASH, &key, NULL, 0); if (p) v += *p; })
OPS(hash_update, help(2, BPF_MAP_TYPE_HASH, &key, &v, BPF_ANY))
OPS(hash_insert_delete, { key += 10000; help(2, BPF_MAP_TYPE_HASH, &key, &v, BPF_ANY); help(3, BPF_MAP_TYPE_HASH, &key, NULL, 0); })
OPS(percpu_hash_add, { p = (u64 *)help(1, BPF_MAP_TYPE_PERCPU_HASH, &key, NULL, 0); if (p) *p += 1; helper_run_end(&bench_run); })
OPS(lru_update, help(2, BPF_MAP_TYPE_LRU_HASH, &key, &v, BPF_ANY))
OPS(queue_overwrite, help(87, BPF_MAP_TYPE_QUEUE, &it, (void *)BPF_EXIST, 0))
OPS(queue_push_pop, { help(87, BPF_MAP_TYPE_QUEUE, &it, NULL, 0); help(88, BPF_MAP_TYPE_QUEUE, &out, NULL, 0); })
OPS(stack_push_pop, { help(87, BPF_MAP_TYPE_STACK, &it, NULL, 0); help(88, BPF_MAP_TYPE_STACK, &out, NULL, 0); })

/* A record of a known size: what the JIT leaves of reserve, stores and submit is these calls. */
OPS(ring_reserve_submit, {
	p = (u64 *)helper_table[131]((u64)&maps[BPF_MAP_TYPE_RINGBUF], sizeof(it), 0, 0, 0, &bench_run);
	if (p) {
		memcpy(p, &it, sizeof(it));
		helper_table[132]((u64)p, BPF_RB_NO_WAKEUP, 0, 0, 0, &bench_run);
	}
})
OPS(ring_output, help(130, BPF_MAP_TYPE_RINGBUF, &it, (void *)sizeof(it), BPF_RB_NO_WAKEUP))

/* Limits: the least that the operation could be, in one thread's private memory. */
static u64 plain_array[16];
static struct { u32 key, used; u64 value; } plain_hash[2 * ENTRIES];
static struct item plain_ring[128];
static u32 plain_head, plain_tail;

static inline u64 *plain_find(u32 key)
{
	u32 i = key * 0x9e3779b1u >> 21;

	while (plain_hash[i].used && plain_hash[i].key != key)
		i = (i + 1) % (2 * ENTRIES);
	return plain_hash[i].used ? &plain_hash[i].value : NULL;
}

OPS(plain_array_add, plain_array[key & 7] += 1)
OPS(plain_hash_lookup, { p = plain_find(key); if (p) v += *p; })
OPS(plain_hash_update, { p = plain_find(key); if (p) *p = v; })
OPS(plain_push, { plain_ring[plain_tail++ & 127] = it; plain_head += plain_tail - plain_head > 128; })
static struct { u64 header; struct item item; } plain_records[1 << 16];
static _Atomic u64 plain_position;

/* The kernel's way with one lock less: an atomic claim, the record, its header. */
OPS(plain_ring_push, {
	u64 at = atomic_fetch_add(&plain_position, 1) % ARRAY_SIZE(plain_records);
	plain_records[at].item = it;
	atomic_store_explicit((_Atomic u64 *)&plain_records[at].header, sizeof(it), memory_order_release);
})
OPS(plain_push_pop, { plain_ring[plain_tail++ & 127] = it; out = plain_ring[plain_head++ & 127]; })

/* From the tool. */
OPS(tool_array_lookup, { key &= 7; map_user_lookup(&maps[BPF_MAP_TYPE_ARRAY], &key, &v, 0); })
OPS(tool_array_update, { key &= 7; map_user_update(&maps[BPF_MAP_TYPE_ARRAY], &key, &v, 0); })
OPS(tool_hash_lookup, map_user_lookup(&maps[BPF_MAP_TYPE_HASH], &key, &v, 0))
OPS(tool_hash_update, map_user_update(&maps[BPF_MAP_TYPE_HASH], &key, &v, 0))
OPS(tool_hash_next, map_user_next_key(&maps[BPF_MAP_TYPE_HASH], &key, &v))
OPS(tool_push_pop, { map_user_update(&maps[BPF_MAP_TYPE_QUEUE], NULL, &it, 0); map_user_lookup_and_delete(&maps[BPF_MAP_TYPE_QUEUE], NULL, &out, 0); })

OPS(bpf_array_lookup, { key &= 7; bpf_map_lookup_elem(fds[BPF_MAP_TYPE_ARRAY], &key, &v); })
OPS(bpf_array_update, { key &= 7; bpf_map_update_elem(fds[BPF_MAP_TYPE_ARRAY], &key, &v, 0); })
OPS(bpf_hash_lookup, bpf_map_lookup_elem(fds[BPF_MAP_TYPE_HASH], &key, &v))
OPS(bpf_hash_update, bpf_map_update_elem(fds[BPF_MAP_TYPE_HASH], &key, &v, 0))
OPS(bpf_hash_next, bpf_map_get_next_key(fds[BPF_MAP_TYPE_HASH], &key, &v))
OPS(bpf_push_pop, { bpf_map_update_elem(fds[BPF_MAP_TYPE_QUEUE], NULL, &it, 0); bpf_map_lookup_and_delete_elem(fds[BPF_MAP_TYPE_QUEUE], NULL, &out); })

/* Pushes alone: what they push is taken out again off the clock. */
static double time_push(u32 n)
{
	struct item it = {{1}};
	u64 spent = 0;

	for (u32 i = 0; i < n / LOOP; i++) {
		u64 start = now_ns();

		for (u32 k = 0; k < LOOP; k++)
			help(87, BPF_MAP_TYPE_QUEUE, &it, NULL, 0);
		spent += now_ns() - start;
		while (!help(88, BPF_MAP_TYPE_QUEUE, &out, NULL, 0))
			;
	}
	return (double)spent / (n / LOOP * LOOP);
}

static const struct row {
	const char *name;
	u32 type;
	void (*limpet)(u32 n); /* NULL: time_push() */
	void (*limit)(u32 n);
	const char *program; /* the kernel's, or: */
	void (*kernel)(u32 n);
} rows[] = {
	{"array lookup + add", BPF_MAP_TYPE_ARRAY, array_add, plain_array_add, "array_add", NULL},
	{"per-CPU array lookup + add", BPF_MAP_TYPE_PERCPU_ARRAY, percpu_array_add, plain_array_add, "percpu_array_add", NULL},
	{"hash lookup", BPF_MAP_TYPE_HASH, hash_lookup, plain_hash_lookup, "hash_lookup", NULL},
	{"hash update", BPF_MAP_TYPE_HASH, hash_update, plain_hash_update, "hash_update", NULL},
	{"hash insert + delete", BPF_MAP_TYPE_HASH, hash_insert_delete, NULL, "hash_insert_delete", NULL},
	{"per-CPU hash lookup + add", BPF_MAP_TYPE_PERCPU_HASH, percpu_hash_add, plain_hash_lookup, "percpu_hash_add", NULL},
	{"LRU hash update", BPF_MAP_TYPE_LRU_HASH, lru_update, plain_hash_update, "lru_update", NULL},
	{"queue push", BPF_MAP_TYPE_QUEUE, NULL, plain_push, "queue_push", NULL},
	{"queue push + pop", BPF_MAP_TYPE_QUEUE, queue_push_pop, plain_push_pop, "queue_push_pop", NULL},
	{"stack push + pop", BPF_MAP_TYPE_STACK, stack_push_pop, plain_push_pop, "stack_push_pop", NULL},
	{"ring buffer reserve + submit", BPF_MAP_TYPE_RINGBUF, ring_reserve_submit, plain_ring_push, "ring_reserve_submit", NULL},
	{"ring buffer output", BPF_MAP_TYPE_RINGBUF, ring_output, plain_ring_push, "ring_output", NULL},
	{"tool: array lookup", BPF_MAP_TYPE_ARRAY, tool_array_lookup, NULL, NULL, bpf_array_lookup},
	{"tool: array update", BPF_MAP_TYPE_ARRAY, tool_array_update, NULL, NULL, bpf_array_update},
	{"tool: hash lookup", BPF_MAP_TYPE_HASH, tool_hash_lookup, NULL, NULL, bpf_hash_lookup},
	{"tool: hash update", BPF_MAP_TYPE_HASH, tool_hash_update, NULL, NULL, bpf_hash_update},
	{"tool: hash next key", BPF_MAP_TYPE_HASH, tool_hash_next, NULL, NULL, bpf_hash_next},
	{"tool: queue push + pop", BPF_MAP_TYPE_QUEUE, tool_push_pop, NULL, NULL, bpf_push_pop},
	{"queue push, full, overwriting", BPF_MAP_TYPE_QUEUE, queue_overwrite, plain_push, "queue_overwrite", NULL},
};

static const struct {
	u32 type, key, value, entries;
	const char *name;
} wanted[] = {
	{BPF_MAP_TYPE_ARRAY, 4, 8, 16, "array"},
	{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 16, "percpu_array"},
	{BPF_MAP_TYPE_HASH, 4, 8, ENTRIES, "hash"},
	{BPF_MAP_TYPE_PERCPU_HASH, 4, 8, ENTRIES, "percpu_hash"},
	{BPF_MAP_TYPE_LRU_HASH, 4, 8, ENTRIES, "lru"},
	{BPF_MAP_TYPE_QUEUE, 0, sizeof(struct item), 128, "queue"},
	{BPF_MAP_TYPE_STACK, 0, sizeof(struct item), 128, "stack"},
	{BPF_MAP_TYPE_RINGBUF, 0, 0, 4 << 20, "ring"},
};

/* A ring's banks are mapped twice, which needs a file. */
static void *map_memory(const struct map *m, int *ret_fd)
{
	*ret_fd = m->bank_count ? memfd_create("ring", MFD_CLOEXEC) : -1;
	if (*ret_fd >= 0 && ftruncate(*ret_fd, (off_t)m->file_size))
		return MAP_FAILED;
	return mmap(NULL, m->file_size, PROT_READ | PROT_WRITE, MAP_SHARED | (*ret_fd < 0 ? MAP_ANONYMOUS : 0), *ret_fd, 0);
}

/* Between two measurements: everything is consumed. */
static void empty_rings(void)
{
	static struct ringbuf_pump pump;
	static _Atomic u64 *consumer, *producer;
	struct map *m = &maps[BPF_MAP_TYPE_RINGBUF];
	int fd = fds[BPF_MAP_TYPE_RINGBUF];
	bool notify;

	if (!pump.map)
		ringbuf_pump_init(&pump, m);
	while (ringbuf_pump(&pump, now_ns(), &notify) > 0)
		;
	atomic_store((_Atomic u64 *)m->base, *(_Atomic u64 *)(m->base + PAGE_SIZE));
	if (!consumer && fd >= 0) {
		consumer = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		producer = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, PAGE_SIZE);
	}
	if (fd >= 0 && consumer != MAP_FAILED && producer != MAP_FAILED)
		atomic_store(consumer, *producer);
}

static void drain_kernel(void)
{
	while (!bpf_map_lookup_and_delete_elem(fds[BPF_MAP_TYPE_QUEUE], NULL, &out))
		;
}

void empty_all(void)
{
	struct map *const fifos[] = {&maps[BPF_MAP_TYPE_QUEUE], &maps[BPF_MAP_TYPE_STACK]};

	empty_rings();
	for (size_t i = 0; i < ARRAY_SIZE(fifos); i++)
		while (fifos[i]->ops && !map_user_lookup_and_delete(fifos[i], NULL, &out, 0))
			;
	drain_kernel();
}

/* 600 entries in the hashes, keys 0 to 599, on both sides. */
static void make_maps(struct bpf_object *obj)
{
	map_owner_make();
	helper_env_init(&env, getauxval(AT_SYSINFO_EHDR), NULL);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct map_def def = {.type = wanted[i].type, .key_size = wanted[i].key,
				      .value_size = wanted[i].value, .max_entries = wanted[i].entries};
		struct map *m = &maps[wanted[i].type];
		u64 v[64] = {0};
		int fd;

		if (map_layout(m, &def) || map_create(m, map_memory(m, &fd), 1) || map_alias(m, fd))
			m->ops = NULL;
		fds[wanted[i].type] = obj ? bpf_object__find_map_fd_by_name(obj, wanted[i].name) : -1;
		for (u32 key = 0; key < 600 && wanted[i].entries == ENTRIES; key++) {
			if (m->ops)
				map_user_update(m, &key, v, 0);
			if (obj)
				bpf_map_update_elem(fds[wanted[i].type], &key, v, 0);
		}
	}
	for (u32 key = 0; key < 600; key++) {
		u32 k = key * 0x9e3779b1u >> 21;

		while (plain_hash[k].used)
			k = (k + 1) % (2 * ENTRIES);
		plain_hash[k].key = key;
		plain_hash[k].used = 1;
	}
}

static struct bpf_object *load_kernel(void)
{
	struct bpf_object *obj;

	libbpf_set_print(NULL);
	obj = bpf_object__open_file(BENCH_OBJECT, NULL);
	if (libbpf_get_error(obj))
		return NULL;
	if (bpf_object__load(obj)) {
		bpf_object__close(obj);
		return NULL;
	}
	return obj;
}

/* ns per operation; < 0: not to be had. */
static double time_program(struct bpf_object *obj, const char *name, bool alone)
{
	struct bpf_program *p = obj ? bpf_object__find_program_by_name(obj, name) : NULL;
	u8 packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet), .repeat = 600);

	if (alone) {
		drain_kernel();
		opts.repeat = 1;
	}
	if (!p || bpf_prog_test_run_opts(bpf_program__fd(p), &opts))
		return -1;
	if (alone)
		drain_kernel();
	return (double)opts.duration / LOOP;
}

static double time_ops(void (*ops)(u32 n), u32 n)
{
	u64 start = now_ns();

	ops(n);
	return (double)(now_ns() - start) / n;
}

static int by_value(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

double median(double *v, u32 n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

#define MAX_ROUNDS 101
static double samples[ARRAY_SIZE(rows)][3][MAX_ROUNDS];

static void measure(struct bpf_object *obj, u32 round)
{
	double empty = time_program(obj, "empty", false);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		double kernel = -1;

		empty_rings();

		if (r->program)
			kernel = time_program(obj, r->program, !r->limpet) - empty;
		else if (obj && fds[r->type] >= 0)
			kernel = time_ops(r->kernel, 2000);
		samples[i][0][round] = !maps[r->type].ops ? -1 :
					!r->limpet	   ? time_push(20000) :
							     time_ops(r->limpet, 20000);
		samples[i][1][round] = obj ? kernel : -1;
		samples[i][2][round] = r->limit ? time_ops(r->limit, 20000) : -1;
	}
}

static void show(u32 rounds, bool json)
{
	struct json_object *all = json_object_new_array();

	if (!json)
		printf("%-32s %9s %9s %9s %15s %14s\n", "ns per operation", "limpet", "kernel", "limit",
		       "kernel / limpet", "limpet - limit");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		static const char *const names[3] = {"limpet", "kernel", "limit"};
		struct json_object *o = json_object_new_object();
		double v[3];

		json_object_object_add(o, "operation", json_object_new_string(rows[i].name));
		for (int k = 0; k < 3; k++) {
			v[k] = median(samples[i][k], rounds);
			if (v[k] >= 0)
				json_object_object_add(o, names[k], json_object_new_double(v[k]));
		}
		json_object_array_add(all, o);
		if (json)
			continue;
		printf("%-32s", rows[i].name);
		for (int k = 0; k < 3; k++)
			v[k] >= 0 ? printf(" %9.2f", v[k]) : printf(" %9s", "-");
		v[0] > 0 && v[1] >= 0 ? printf(" %15.1f", v[1] / v[0]) : printf(" %15s", "-");
		v[0] > 0 && v[2] >= 0 ? printf(" %14.2f\n", v[0] - v[2]) : printf(" %14s\n", "-");
	}
	if (json)
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY));
	json_object_put(all);
}

/* Random lookups and updates in large hashes: what is added to the small ones' cost are cache misses. */
static void large(void)
{
	static const u32 sizes[] = {1000, 100000, 1000000, 10000000};

	printf("%-12s %12s %12s %12s %12s\n", "entries", "create, us", "insert, ns", "lookup, ns", "update, ns");
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct map_def def = {.type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = sizes[s]};
		double found[41], updated[41];
		u64 seed = 1, start = now_ns(), created, v = 1;
		struct map *m = &maps[BPF_MAP_TYPE_HASH];

		if (map_layout(m, &def) ||
		    map_create(m, mmap(NULL, m->file_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 1))
			return;
		created = now_ns();
		for (u32 key = 0; key < sizes[s]; key++)
			map_user_update(m, &key, &v, 0);
		printf("%-12u %12.0f %12.1f", sizes[s], (double)(created - start) / 1000,
		       (double)(now_ns() - created) / sizes[s]);
		for (int r = 0; r < 2 * 41; r++) {
			u64 begin = now_ns();

			for (int i = 0; i < 10000; i++) {
				u32 key;

				seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
				key = (u32)(seed >> 33) % sizes[s];
				if (r % 2)
					help(2, BPF_MAP_TYPE_HASH, &key, &v, BPF_ANY);
				else
					sink += help(1, BPF_MAP_TYPE_HASH, &key, NULL, 0);
			}
			(r % 2 ? updated : found)[r / 2] = (double)(now_ns() - begin) / 10000;
		}
		printf(" %12.1f %12.1f\n", median(found, 41), median(updated, 41));
		munmap(m->base, m->file_size);
	}
}

int main(int argc, char **argv)
{
	struct bpf_object *obj;
	u32 rounds = 21;
	bool json = false, two = false;
	int status = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--large")) {
			map_owner_make();
			large();
			return 0;
		}
		if (!strcmp(argv[i], "--json"))
			json = true;
		else if (!strcmp(argv[i], "--contended"))
			two = true;
		else if (!strcmp(argv[i], "--rounds") && i + 1 < argc)
			rounds = (u32)atoi(argv[++i]);
	}
	if (!rounds || rounds > MAX_ROUNDS) {
		fprintf(stderr, "bench_maps: --rounds takes 1 to %d\n", MAX_ROUNDS);
		return 2;
	}
	obj = load_kernel();
	if (!obj)
		fprintf(stderr, "bench_maps: bpf(2) is not allowed here: limpet and limits only\n");
	make_maps(obj);
	if (two) {
		status = contended(obj, rounds, json);
	} else {
		measure(obj, 0); /* warm up */
		for (u32 r = 0; r < rounds; r++)
			measure(obj, r);
		show(rounds, json);
	}
	bpf_object__close(obj);
	return status;
}
