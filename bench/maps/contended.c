/* SPDX-License-Identifier: MIT */
/*
 * bench_maps --contended: the same operations by one thread and by two, each on a processor of its
 * own, for a while; limpet and the kernel, interleaved. What counts is operations a second of all
 * threads together: more with two than with one where they have nothing in common, and never less
 * than the kernel's.
 */
#include <json-c/json.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include "bench_maps.h"

#define THREADS	   2
#define SLICE_NS   10000000ULL
#define MAX_ROUNDS 101

static _Thread_local struct item it = {{1}}, got;

/* One chunk of LOOP operations by thread number t. */
#define CHUNK(name, body)                                  \
	static void name(u32 t)                            \
	{                                                  \
		u64 v = 1, *p;                             \
		(void)v, (void)p;                          \
		for (u32 i = 0; i < LOOP; i++) {           \
			u32 key = 512 + (i & 7);           \
			(void)key;                         \
			body;                              \
			__asm__ volatile("" ::: "memory"); \
		}                                          \
	}

CHUNK(atomic_add, { key &= 7; p = (u64 *)help(1, BPF_MAP_TYPE_ARRAY, &key, NULL, 0); if (p) __atomic_fetch_add(p, 1, __ATOMIC_RELAXED); })
CHUNK(percpu_add, { key &= 7; p = (u64 *)help(1, BPF_MAP_TYPE_PERCPU_ARRAY, &key, NULL, 0); if (p) *p += 1; helper_run_end(&bench_run); })
CHUNK(lookup, { p = (u64 *)help(1, BPF_MAP_TYPE_HASH, &key, NULL, 0); if (p) v += *p; })
CHUNK(update_same, help(2, BPF_MAP_TYPE_HASH, &key, &v, BPF_ANY))
CHUNK(update_own, { key += 8 * t; help(2, BPF_MAP_TYPE_HASH, &key, &v, BPF_ANY); })
CHUNK(insert_delete_own, { key += 10000 + 8 * t; help(2, BPF_MAP_TYPE_HASH, &key, &v, BPF_ANY); help(3, BPF_MAP_TYPE_HASH, &key, NULL, 0); })
CHUNK(lru_own, { key += 8 * t; help(2, BPF_MAP_TYPE_LRU_HASH, &key, &v, BPF_ANY); })
CHUNK(queue_push_pop, { help(87, BPF_MAP_TYPE_QUEUE, &it, NULL, 0); help(88, BPF_MAP_TYPE_QUEUE, &got, NULL, 0); })
CHUNK(stack_push_pop, { help(87, BPF_MAP_TYPE_STACK, &it, NULL, 0); help(88, BPF_MAP_TYPE_STACK, &got, NULL, 0); })

static const struct row {
	const char *name;
	u32 type;
	void (*chunk)(u32 t);
	const char *program;
} rows[] = {
	{"array lookup, atomic add, same elements", BPF_MAP_TYPE_ARRAY, atomic_add, "array_atomic"},
	{"per-CPU array lookup + add", BPF_MAP_TYPE_PERCPU_ARRAY, percpu_add, "percpu_array_add"},
	{"hash lookup", BPF_MAP_TYPE_HASH, lookup, "hash_lookup"},
	{"hash update, same keys", BPF_MAP_TYPE_HASH, update_same, "hash_update"},
	{"hash update, own keys", BPF_MAP_TYPE_HASH, update_own, "hash_update_own"},
	{"hash insert + delete, own keys", BPF_MAP_TYPE_HASH, insert_delete_own, "hash_insert_own"},
	{"LRU hash update, own keys", BPF_MAP_TYPE_LRU_HASH, lru_own, "lru_own"},
	{"queue push + pop", BPF_MAP_TYPE_QUEUE, queue_push_pop, "queue_push_pop"},
	{"stack push + pop", BPF_MAP_TYPE_STACK, stack_push_pop, "stack_push_pop"},
};

enum { LIMPET_1, LIMPET_2, KERNEL_1, KERNEL_2, COLUMNS };
static const char *const columns[COLUMNS] = {"limpet, 1", "limpet, 2", "kernel, 1", "kernel, 2"};
static double samples[ARRAY_SIZE(rows)][COLUMNS][MAX_ROUNDS];

struct worker {
	const struct row *row;
	int program; /* fd; < 0: limpet */
	u32 t;
	u64 from, ops;
	double seconds;
};

static void pin(u32 t)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(t, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void kernel_chunk(int program)
{
	u8 packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet), .repeat = 50);

	bpf_prog_test_run_opts(program, &opts);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	u64 now;

	pin(w->t);
	while (now_ns() < w->from)
		;
	do {
		if (w->program >= 0) {
			kernel_chunk(w->program);
			w->ops += 50 * LOOP;
		} else {
			for (int i = 0; i < 50; i++)
				w->row->chunk(w->t);
			w->ops += 50 * LOOP;
		}
		now = now_ns();
	} while (now - w->from < SLICE_NS);
	w->seconds = (double)(now - w->from) / 1e9;
	return NULL;
}

/* Million operations a second by all threads. */
static double measure(const struct row *row, u32 threads, int program)
{
	struct worker w[THREADS] = {0};
	pthread_t id[THREADS];
	double all = 0;

	for (u32 t = 0; t < threads; t++) {
		w[t] = (struct worker){.row = row, .program = program, .t = t, .from = now_ns() + 500000};
		w[t].from = w[0].from;
		if (pthread_create(&id[t], NULL, work, &w[t]))
			abort();
	}
	for (u32 t = 0; t < threads; t++) {
		pthread_join(id[t], NULL);
		all += (double)w[t].ops / w[t].seconds / 1e6;
	}
	return all;
}

static void show(u32 rounds, bool json)
{
	struct json_object *list = json_object_new_array();

	if (!json)
		printf("%-40s %10s %10s %10s %10s %10s %12s\n", "million operations a second", columns[0], columns[1],
		       columns[2], columns[3], "2 / 1", "to kernel");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct json_object *o = json_object_new_object();
		double v[COLUMNS];

		json_object_object_add(o, "operation", json_object_new_string(rows[i].name));
		for (int c = 0; c < COLUMNS; c++) {
			v[c] = median(samples[i][c], rounds);
			if (v[c] > 0)
				json_object_object_add(o, columns[c], json_object_new_double(v[c]));
		}
		json_object_array_add(list, o);
		if (json)
			continue;
		printf("%-40s", rows[i].name);
		for (int c = 0; c < COLUMNS; c++)
			v[c] > 0 ? printf(" %10.1f", v[c]) : printf(" %10s", "-");
		printf(" %10.2f", v[LIMPET_2] / v[LIMPET_1]);
		v[KERNEL_2] > 0 ? printf(" %12.1f\n", v[LIMPET_2] / v[KERNEL_2]) : printf(" %12s\n", "-");
	}
	if (json)
		puts(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY));
	json_object_put(list);
}

int contended(struct bpf_object *obj, u32 rounds, bool json)
{
	cpu_set_t can;

	if (sched_getaffinity(0, sizeof(can), &can) || !CPU_ISSET(0, &can) || !CPU_ISSET(1, &can)) {
		fprintf(stderr, "bench_maps: --contended needs processors 0 and 1\n");
		return 1;
	}
	for (u32 r = 0; r < rounds; r++)
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct bpf_program *p = obj ? bpf_object__find_program_by_name(obj, rows[i].program) : NULL;
			int fd = p ? bpf_program__fd(p) : -1;

			for (u32 t = 1; t <= THREADS; t++) {
				empty_all();
				samples[i][LIMPET_1 + t - 1][r] = measure(&rows[i], t, -1);
				empty_all();
				samples[i][KERNEL_1 + t - 1][r] = fd < 0 ? -1 : measure(&rows[i], t, fd);
			}
		}
	show(rounds, json);
	return 0;
}
