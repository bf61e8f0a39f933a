/* SPDX-License-Identifier: MIT */
/*
 * Attaches every program of an object to the function of its name and takes what they send to `events`, if that is there. A plain libbpf tool: runs
 * on the kernel and on limpet alike.
 *
 * usage: bench_helpers_tool OBJECT.bpf.o BINARY
 */
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <unistd.h>

/* Lost samples are said: their calls would have cost less. */
static enum bpf_perf_event_ret take(void *ctx, int cpu, struct perf_event_header *event)
{
	static unsigned long long lost;

	if (event->type == PERF_RECORD_LOST) {
		lost += ((unsigned long long *)event)[2];
		fprintf(stderr, "%llu samples lost so far\n", lost);
	}
	return LIBBPF_PERF_EVENT_CONT;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc == 3 ? bpf_object__open_file(argv[1], NULL) : NULL;
	/* no wake-up for each sample: that is another row's cost */
	struct perf_event_attr attr = {.size = sizeof(attr),
				       .type = PERF_TYPE_SOFTWARE,
				       .config = PERF_COUNT_SW_BPF_OUTPUT,
				       .sample_type = PERF_SAMPLE_RAW,
				       .sample_period = 1};
	struct perf_buffer *buffer = NULL;
	struct bpf_program *prog;
	int events;

	if (!obj || bpf_object__load(obj))
		return 1;
	events = bpf_object__find_map_fd_by_name(obj, "events");
	if (events >= 0)
		buffer = perf_buffer__new_raw(events, 512, &attr, take, NULL, NULL);
	if (events >= 0 && !buffer)
		return 1;
	bpf_object__for_each_program(prog, obj)
	{
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = bpf_program__name(prog));

		if (!bpf_program__attach_uprobe_opts(prog, -1, argv[2], 0, &opts))
			return 1;
	}
	puts("attached");
	fflush(stdout);
	while (buffer ? perf_buffer__poll(buffer, 100) >= 0 : !pause())
		;
	return 1;
}
