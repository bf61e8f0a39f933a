/* SPDX-License-Identifier: MIT */
/*
 * What a program costs by each engine, as a multiple of the same C compiled by gcc -O2.
 *
 *   vm_bench [--json] [--rounds N] [--only PROGRAM] [--dir FOLDER]
 *
 * One run, rounds interleaved: every round measures each program by each engine once, net of the
 * empty program by that engine in that round (so the harness's own cost cancels). Ratios are taken
 * within a round, then their median; beside it the ratio of the minima over all rounds. Then what
 * compiling costs, and what entering and leaving does. Results of all engines must agree first.
 */
#include "subject.h"

#include <json-c/json.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include "compile.h"

#define MAX_ROUNDS 201
#define BATCH_NS   300000.0

#define X(program) extern int program(void *ctx);
#define PROGRAMS                                                                                   \
	X(empty) X(arith) X(copycmp) X(sieve) X(branches) X(siphash) X(sort) X(matmul) X(checksum)
PROGRAMS
#undef X
#define X(program) {.name = #program, .native = program},
static struct subject subjects[] = {PROGRAMS};
#undef X
#define SUBJECTS ARRAY_SIZE(subjects)

static double samples[SUBJECTS][ROWS][MAX_ROUNDS]; /* ns a run */
static u64 batch[SUBJECTS][ROWS];
static u32 rounds = 21;

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double median(const double *v, u32 n)
{
	double sorted[MAX_ROUNDS];

	memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*sorted), compare);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double minimum(const double *v, u32 n)
{
	double least = v[0];

	for (u32 i = 1; i < n; i++)
		least = v[i] < least ? v[i] : least;
	return least;
}

/* Finds a batch that takes long enough, and holds every engine's answer against native code's. */
static bool calibrate(u32 s)
{
	u32 want, got;

	subjects[s].native(NULL);
	for (u32 e = 0; e < ROWS; e++) {
		u64 n = 1;

		if (!engine_rows[e].there(&subjects[s]))
			continue;
		while (engine_rows[e].run(&subjects[s], n, &got) < BATCH_NS && n < 1 << 22)
			n *= 2;
		batch[s][e] = n;
		if (e == ROW_NATIVE)
			want = got;
		if (got != want) {
			fprintf(stderr, "vm_bench: %s by %s gives %u, native code %u\n",
				subjects[s].name, engine_rows[e].name, got, want);
			return false;
		}
	}
	return true;
}

static void measure(void)
{
	u32 ignored;

	for (u32 r = 0; r < rounds; r++)
		for (u32 s = 0; s < SUBJECTS; s++)
			for (u32 e = 0; e < ROWS; e++)
				if (batch[s][e])
					samples[s][e][r] =
						engine_rows[e].run(&subjects[s], batch[s][e],
								   &ignored) /
						(double)batch[s][e];
}

/* Net nanoseconds of one engine, by round. */
static void net(u32 s, u32 e, double *ret)
{
	for (u32 r = 0; r < rounds; r++)
		ret[r] = samples[s][e][r] - (s ? samples[0][e][r] : 0);
}

struct result {
	double ns, least, ratio, least_ratio; /* ratio: 0 where the engine is not there */
};

static struct result result_of(u32 s, u32 e)
{
	double native[MAX_ROUNDS], own[MAX_ROUNDS], ratio[MAX_ROUNDS];
	struct result r = {0};

	if (!batch[s][e])
		return r;
	net(s, ROW_NATIVE, native);
	net(s, e, own);
	for (u32 i = 0; i < rounds; i++)
		ratio[i] = own[i] / native[i];
	r.ns = median(own, rounds);
	r.least = minimum(own, rounds);
	r.ratio = median(ratio, rounds);
	r.least_ratio = r.least / minimum(native, rounds);
	return r;
}

static struct result geometric_mean(u32 e)
{
	double log_ratio = 0, log_least = 0;
	u32 n = 0;

	for (u32 s = 1; s < SUBJECTS; s++) {
		struct result r = result_of(s, e);

		if (!r.ratio)
			continue;
		log_ratio += log(r.ratio);
		log_least += log(r.least_ratio);
		n++;
	}
	return n ? (struct result){0, 0, exp(log_ratio / n), exp(log_least / n)}
		 : (struct result){0};
}

static void print_ratio(struct result r)
{
	if (r.ratio)
		printf(" %6.2f /%6.2f", r.ratio, r.least_ratio);
	else
		printf(" %15s", "-");
}

static void print_tables(void)
{
	printf("multiple of native (median of %u rounds / of the minima)\n%-10s %9s", rounds,
	       "program", "native ns");
	for (u32 e = 1; e < ROWS; e++)
		printf(" %15s", engine_rows[e].name);
	for (u32 s = 1; s < SUBJECTS; s++) {
		if (!batch[s][ROW_NATIVE]) /* --only */
			continue;
		printf("\n%-10s %9.0f", subjects[s].name, result_of(s, ROW_NATIVE).ns);
		for (u32 e = 1; e < ROWS; e++)
			print_ratio(result_of(s, e));
	}
	printf("\n%-10s %9s", "geo. mean", "");
	for (u32 e = 1; e < ROWS; e++)
		print_ratio(geometric_mean(e));
	printf("\n\nentering and leaving, ns (median / minimum)\n");
	for (u32 e = 0; e < ROWS; e++) {
		struct result r = result_of(0, e);

		if (r.ratio)
			printf("  %-12s %7.2f /%7.2f   %s\n", engine_rows[e].name, r.ns, r.least,
			       engine_rows[e].what);
	}
}

static void add(struct json_object *o, const char *key, double v)
{
	json_object_object_add(o, key, json_object_new_double(v));
}

static struct json_object *result_json(struct result r)
{
	struct json_object *o = json_object_new_object();

	if (r.ns) {
		add(o, "ns", r.ns);
		add(o, "ns_min", r.least);
	}
	add(o, "ratio", r.ratio);
	add(o, "ratio_min", r.least_ratio);
	return o;
}

static void print_json(const struct compile_result *compile, u32 n)
{
	struct json_object *all = json_object_new_object(), *programs = json_object_new_object();

	json_object_object_add(all, "rounds", json_object_new_int((int)rounds));
	for (u32 s = 0; s <= SUBJECTS; s++) {
		struct json_object *o = json_object_new_object();

		for (u32 e = 0; e < ROWS; e++) {
			struct result r = s < SUBJECTS ? result_of(s, e) : geometric_mean(e);

			if (r.ratio)
				json_object_object_add(o, engine_rows[e].name, result_json(r));
		}
		json_object_object_add(s < SUBJECTS ? programs : all,
				       s < SUBJECTS ? subjects[s].name : "geometric_mean", o);
	}
	json_object_object_add(all, "programs", programs);
	json_object_object_add(all, "compile", compile_json(compile, n));
	puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY));
	json_object_put(all);
}

#define NOISE 1.05 /* of one program's two ratios */

static void print_goal(const char *what, double got, double goal, const char *why)
{
	if (!got)
		return;
	printf("  %-44s %6.2f  at most %5.2f  ", what, got, goal);
	if (got <= goal)
		puts("held");
	else
		printf("missed by %.0f %%: %s\n", (got / goal - 1) * 100, why);
}

/* The goals, and of those that are missed why; docs/performance.md says more. */
static void print_goals(const struct compile_result *compile)
{
	const struct result empty = result_of(0, ROW_JIT), bare = result_of(0, ROW_NATIVE);

	puts("\ngoals (proven programs, by medians)");
	print_goal("geometric mean, times native", geometric_mean(ROW_JIT).ratio, 1.15, "see the programs");
	for (u32 s = 1; s < SUBJECTS; s++) {
		double kernel = result_of(s, ROW_KERNEL).ratio, jit = result_of(s, ROW_JIT).ratio;
		char what[64];

		snprintf(what, sizeof(what), "%s, times the kernel's JIT", subjects[s].name);
		if (kernel && jit > kernel * NOISE)
			print_goal(what, jit / kernel, NOISE, "where branches lie, and how they are predicted");
	}
	print_goal("entering and leaving, ns over a call", empty.ns - bare.ns, 1, "what a run is set up with");
	print_goal("interpreter, times native", geometric_mean(ROW_INTERP).ratio, 15,
		   "an indirect jump an instruction");
	for (u32 i = 0; i < COMPILE_SIZES; i++) {
		const double goal = 15 + 10000.0 / compile[i].insns;
		char what[64];

		snprintf(what, sizeof(what), "compiling %u insns, ns each", compile[i].insns);
		print_goal(what, compile[i].jit / compile[i].insns, goal, "see docs/performance.md");
		snprintf(what, sizeof(what), "compiling %u insns with run-time tests", compile[i].insns);
		print_goal(what, compile[i].held / compile[i].insns, goal,
			   "the dataflow looks for accesses that need no test");
	}
}

/* On one processor, so that moving between them does not count. */
static void pin(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int usage(void)
{
	fprintf(stderr, "usage: vm_bench [--json] [--rounds N] [--only PROGRAM] [--dir FOLDER]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct compile_result compile[COMPILE_SIZES];
	const char *only = NULL, *dir = BENCH_DIR;
	bool json = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = true;
		else if (!strcmp(argv[i], "--rounds") && i + 1 < argc)
			rounds = (u32)atoi(argv[++i]);
		else if (!strcmp(argv[i], "--only") && i + 1 < argc)
			only = argv[++i];
		else if (!strcmp(argv[i], "--dir") && i + 1 < argc)
			dir = argv[++i];
		else
			return usage();
	}
	if (!rounds || rounds > MAX_ROUNDS)
		return usage();
	pin();
	for (u32 s = 0; s < SUBJECTS; s++) {
		if (s && only && strcmp(only, subjects[s].name))
			continue;
		if (!subject_load(&subjects[s], dir) || !calibrate(s))
			return 1;
	}
	measure();
	compile_measure(compile, rounds);
	if (json) {
		print_json(compile, COMPILE_SIZES);
	} else {
		print_tables();
		compile_print(compile, COMPILE_SIZES);
		print_goals(compile);
	}
	for (u32 s = 0; s < SUBJECTS; s++)
		subject_free(&subjects[s]);
	return 0;
}
