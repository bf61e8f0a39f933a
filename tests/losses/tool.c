/* SPDX-License-Identifier: MIT */
/*
 * A libbpf tool that attaches losses.bpf.c and reads nothing of what it makes. Commands come by lines: "answer N" (a number
 * of the map answers), "give" (a record for the user ring), "call" (another program into the array), "read PERF" (the samples
 * and what was lost), "cut" (100,000 operations on the map cut).
 *
 * usage: tool OBJECT TARGET [own|blocked|kernel]
 *     own: it has a handler for SIGBUS, and gets a signal sent to itself; blocked: its threads block all signals;
 *     kernel: without the programs that write to the target
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct bpf_object *object;
static volatile sig_atomic_t handled;
static unsigned long long samples, lost;

static int map(const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
	if (info->si_code > 0) {
		static const char text[] = "a fault came to the tool's own handler\n";

		if (write(STDOUT_FILENO, text, sizeof(text) - 1) > 0)
			_exit(7);
	}
	handled++;
}

static enum bpf_perf_event_ret take(void *ctx, int cpu, struct perf_event_header *event)
{
	if (event->type == PERF_RECORD_LOST)
		lost += ((unsigned long long *)event)[2];
	else
		samples++;
	return LIBBPF_PERF_EVENT_CONT;
}

static int take_late(void *ctx, void *record, size_t size)
{
	return 0;
}

static void answer(unsigned int which)
{
	long long value = 77;
	int err = bpf_map_lookup_elem(map("answers"), &which, &value);

	printf("%d %lld\n", err, value);
}

static void give(void)
{
	struct user_ring_buffer *ring = user_ring_buffer__new(map("given"), NULL);
	unsigned int *sample = ring ? user_ring_buffer__reserve(ring, 8) : NULL;

	if (sample)
		user_ring_buffer__submit(ring, sample);
	printf("%d\n", sample != NULL);
	user_ring_buffer__free(ring);
}

static void set_call(void)
{
	struct bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K}, {.code = BPF_JMP | BPF_EXIT}};
	unsigned int zero = 0;
	int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "late", "GPL", insns, 2, NULL);

	printf("%d\n", fd < 0 ? fd : bpf_map_update_elem(map("calls"), &zero, &fd, BPF_ANY));
}

static void *operate(void *arg)
{
	unsigned long long value = 0, sum = 0;
	int fd = map("cut");

	for (unsigned int i = 0; i < 100000; i++) {
		unsigned int key = i % 1000;

		if (!bpf_map_lookup_elem(fd, &key, &value))
			sum++;
		bpf_map_update_elem(fd, &key, &value, BPF_ANY);
	}
	return sum ? arg : NULL;
}

static void cut(void)
{
	pthread_t thread;
	void *other = NULL, *here = operate(&object);

	if (pthread_create(&thread, NULL, operate, &object) || pthread_join(thread, &other))
		exit(1);
	printf("went on %d %d handled %d\n", here != NULL, other != NULL, (int)handled);
}

/* One event, for processor 0's programs; of one page. */
static struct perf_buffer *perf_new(void)
{
	return perf_buffer__new_raw(map("perf"), 1,
				    &(struct perf_event_attr){.size = sizeof(struct perf_event_attr),
							      .type = PERF_TYPE_SOFTWARE,
							      .config = PERF_COUNT_SW_BPF_OUTPUT,
							      .sample_type = PERF_SAMPLE_RAW,
							      .sample_period = 1,
							      .wakeup_events = 1},
				    take, NULL, NULL);
}

/* Those that write to the target, which kernels may have been told not to let programs do. */
static void leave_out(void)
{
	static const char *const names[] = {"on_slots", "on_given", "on_late"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		bpf_program__set_autoload(bpf_object__find_program_by_name(object, names[i]), false);
}

static int attach(const char *target)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, object)
	{
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = bpf_program__name(prog));

		if (strcmp(bpf_program__name(prog), "called") && bpf_program__autoload(prog) &&
		    !bpf_program__attach_uprobe_opts(prog, -1, target, 0, &opts))
			return 1;
	}
	return 0;
}

static void obey(const char *line, struct perf_buffer *perf)
{
	if (!strncmp(line, "answer ", 7))
		answer((unsigned int)atoi(line + 7));
	else if (!strcmp(line, "give\n"))
		give();
	else if (!strcmp(line, "call\n"))
		set_call();
	else if (!strcmp(line, "cut\n"))
		cut();
	else if (!strcmp(line, "read\n")) {
		perf_buffer__consume(perf);
		printf("%llu %llu\n", samples, lost);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO}, seen;
	const char *how = argc > 3 ? argv[3] : "";
	struct ring_buffer *late;
	struct perf_buffer *perf;
	char line[64];
	sigset_t all;

	sigfillset(&all);
	if (!strcmp(how, "blocked"))
		sigprocmask(SIG_SETMASK, &all, NULL);
	object = argc > 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	if (!object)
		return 1;
	if (!strcmp(how, "kernel"))
		leave_out();
	if (bpf_object__load(object) || attach(argv[2]))
		return 1;
	perf = perf_new();
	late = ring_buffer__new(map("late"), take_late, NULL, NULL); /* whose records are moved on, then */
	if (!strcmp(how, "blocked"))
		pthread_sigmask(SIG_SETMASK, &all, NULL);
	if (!strcmp(how, "own")) {
		if (sigaction(SIGBUS, &act, NULL) || sigaction(SIGBUS, NULL, &seen) || seen.sa_sigaction != on_bus)
			return 1;
		raise(SIGBUS);
	}
	puts("attached");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		obey(line, perf);
	ring_buffer__free(late);
	bpf_object__close(object);
	return 0;
}
