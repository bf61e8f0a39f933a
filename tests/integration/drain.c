// SPDX-License-Identifier: MIT
/*
 * A tool for tests: loads one of the demo's objects with another capacity, attaches it to PROGRAM,
 * drains the map without pause and checks every event. usage: drain OBJECT.bpf.o PROGRAM CAPACITY
 * any|exist "ready" is printed when the probes are there; SIGINT ends it, with one line of JSON.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "../../examples/queue_demo/events.h"

#define CALLS_MAX   (1u << 28)
#define THREADS_MAX 8192

static unsigned char seen[CALLS_MAX / 8];
static struct thread {
	__u32 tid;
	__s32 last;
} threads[THREADS_MAX];
static long popped, twice, corrupt, disorder, gaps, left;
static int lifo;
static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	stopping = 1;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static struct thread *thread_of(__u32 tid)
{
	struct thread *t = &threads[tid % THREADS_MAX];

	while (t->tid && t->tid != tid)
		t = t == threads + THREADS_MAX - 1 ? threads : t + 1;
	t->tid = tid;
	return t;
}

/* target_function gets 1, 2, 3, ... in every thread. */
static void check_order(const struct event_data *e)
{
	struct thread *t = thread_of(e->tid);

	if (e->input_value == 1)
		t->last = 0; /* a thread id again */
	if (e->input_value <= t->last)
		disorder++;
	else
		gaps += e->input_value - t->last - 1;
	t->last = e->input_value;
}

static void take(const struct event_data *e)
{
	popped++;
	if ((e->function_id != FUNCTION_TARGET && e->function_id != FUNCTION_SECONDARY) ||
	    !e->timestamp || !e->pid || !e->tid || !e->counter || e->counter >= CALLS_MAX ||
	    strncmp(e->comm, "target", 7)) {
		corrupt++;
		return;
	}
	if (seen[e->counter / 8] & 1 << e->counter % 8)
		twice++;
	seen[e->counter / 8] |= (unsigned char)(1 << e->counter % 8);
	if (e->function_id == FUNCTION_TARGET && !lifo)
		check_order(e);
}

static void drain(int events)
{
	struct event_data e;

	while (!bpf_map_lookup_and_delete_elem(events, NULL, &e))
		take(&e);
}

static struct bpf_object *load(char **argv)
{
	struct bpf_object *o = bpf_object__open_file(argv[1], NULL);
	struct bpf_map *map, *rodata = NULL;
	size_t size;
	void *flags;
	__u64 value = strcmp(argv[4], "exist") ? BPF_ANY : BPF_EXIST;

	if (!o)
		return NULL;
	bpf_object__for_each_map(map, o) if (strstr(bpf_map__name(map), ".rodata")) rodata = map;
	flags = rodata ? (void *)bpf_map__initial_value(rodata, &size) : NULL;
	map = bpf_object__find_map_by_name(o, "events");
	if (!flags || !map)
		return NULL;
	memcpy(flags, &value, sizeof(value));
	lifo = bpf_map__type(map) == BPF_MAP_TYPE_STACK;
	bpf_map__set_max_entries(map, (__u32)atol(argv[3]));
	return bpf_object__load(o) ? NULL : o;
}

static struct bpf_link *attach(struct bpf_object *o, const char *program, const char *function)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function);
	char name[64];

	snprintf(name, sizeof(name), "%s_entry", function);
	return bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(o, name), -1,
					       program, 0, &opts);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct timespec us = {.tv_nsec = 100000};
	struct bpf_object *o;
	struct bpf_link *links[2];
	__u64 counts[COUNTER_MAX] = {0};
	int events, counters;

	if (argc != 5)
		return 2;
	libbpf_set_print(quiet);
	sigaction(SIGINT, &sa, NULL);
	o = load(argv);
	if (!o)
		return 1;
	links[0] = attach(o, argv[2], "target_function");
	links[1] = attach(o, argv[2], "secondary_function");
	if (!links[0] || !links[1])
		return 1;
	events = bpf_object__find_map_fd_by_name(o, "events");
	counters = bpf_object__find_map_fd_by_name(o, "counters");
	puts("ready");
	fflush(stdout);
	for (int rest = atol(argv[3]) > 1000; !stopping; nanosleep(&us, NULL))
		if (rest) /* a small map is left to overflow */
			drain(events);
	bpf_link__destroy(links[0]);
	bpf_link__destroy(links[1]);
	usleep(50000); /* hits that were under way when the links went */
	drain(events);
	for (__u32 i = 0; i < COUNTER_MAX; i++)
		bpf_map_lookup_elem(counters, &i, &counts[i]);
	printf("{\"popped\": %ld, \"calls\": %llu, \"rejected\": %llu, \"twice\": %ld, "
	       "\"corrupt\": %ld, "
	       "\"disorder\": %ld, \"gaps\": %ld, \"left\": %ld}\n",
	       popped, counts[COUNTER_CALLS], counts[COUNTER_REJECTED], twice, corrupt, disorder,
	       gaps, left);
	bpf_object__close(o);
	return 0;
}
