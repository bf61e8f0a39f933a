/* SPDX-License-Identifier: MIT */
/*
 * Consumes the records of history.bpf.c, by libbpf's ring_buffer__poll() or by an epoll set of its own in which the ring's stands
 * (and then consumes). At SIGTERM, when nothing comes any more: how many were torn, how many came twice or out of their writer's
 * order, then for each writer how many came and how many were refused.
 *
 * usage: history_tool OBJECT TARGET poll|epoll
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include "history.h"

static volatile sig_atomic_t stop;
static unsigned int torn, disorder, came[WRITERS];
static long next[WRITERS];

static void on_signal(int n)
{
	stop = n;
}

static int on_record(void *ctx, void *data, size_t size)
{
	const struct record *r = data;
	unsigned int sum = 0, wrong = size != sizeof(*r) || r->writer >= WRITERS || r->part > 1;

	for (unsigned int i = 0; i < WORDS && !wrong; i++) {
		sum += r->word[i];
		wrong |= r->word[i] != word_of(r->writer, r->seq, r->part, i);
	}
	if (wrong || sum != r->sum) {
		torn++;
		return 0;
	}
	came[r->writer]++;
	disorder += (long)r->seq * 2 + r->part < next[r->writer];
	next[r->writer] = (long)r->seq * 2 + r->part + 1;
	return 0;
}

/* Records that came; in `set` stands the ring's own. */
static int wait_and_consume(struct ring_buffer *rb, int set, int timeout)
{
	struct epoll_event e;

	if (set < 0)
		return ring_buffer__poll(rb, timeout);
	return epoll_wait(set, &e, 1, timeout) > 0 ? ring_buffer__consume(rb) : 0;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "produce");
	struct bpf_object *obj = argc > 3 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct epoll_event e = {.events = EPOLLIN};
	struct ring_buffer *rb;
	int refused, set = -1;

	signal(SIGTERM, on_signal);
	if (!obj || bpf_object__load(obj))
		return 1;
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "ring"), on_record, NULL, NULL);
	if (!rb || !bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, "produce"), -1, argv[2], 0, &opts))
		return 1;
	if (!strcmp(argv[3], "epoll")) {
		set = epoll_create1(EPOLL_CLOEXEC);
		if (epoll_ctl(set, EPOLL_CTL_ADD, ring_buffer__epoll_fd(rb), &e))
			return 1;
	}
	puts("attached");
	fflush(stdout);
	while (!stop)
		wait_and_consume(rb, set, 100);
	while (wait_and_consume(rb, set, 500) > 0)
		;
	printf("torn %u disorder %u\n", torn, disorder);
	refused = bpf_object__find_map_fd_by_name(obj, "refused");
	for (unsigned int w = 0; w < WRITERS; w++) {
		unsigned long long n = 0;

		bpf_map_lookup_elem(refused, &w, &n);
		printf("%u %u %llu\n", w, came[w], n);
	}
	return 0;
}
