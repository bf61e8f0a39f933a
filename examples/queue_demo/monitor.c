// SPDX-License-Identifier: MIT
/*
 * The monitor: attaches one eBPF program per function of the table below, then drains the map of
 * events in rounds.
 *
 * What a full map loses. A rejected event is counted by the eBPF program that saw the push fail. An
 * overwritten one is reported by nobody, so it follows from
 *
 *     calls = popped + rejected + overwritten + still in the map
 *
 * While probes are active a call may be counted and not pushed yet; rounds therefore use the number
 * of calls read in the round before. The summary is made with the probes gone, and is exact.
 */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "monitor.h"
#include "text.h"

#define NSEC_PER_SEC 1000000000ll
#define DEFAULT_INTERVAL_MS 100

/* The functions that are watched: a row here, a program NAME_entry in probes.bpf.h. */
static const struct {
	enum function_id id;
	const char *name;
	bool has_input;
} functions[] = {
	{ FUNCTION_TARGET, "target_function", true },
	{ FUNCTION_SECONDARY, "secondary_function", false },
};

#define FUNCTION_COUNT (sizeof(functions) / sizeof(functions[0]))

static const char *program_name = "monitor";
static volatile sig_atomic_t stopping;

static void on_signal(int signal)
{
	stopping = 1;
}

static int quiet_print(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static int usage(const struct monitor *monitor)
{
	printf(text->usage[monitor->kind], program_name);
	fputs(text->options, stdout);
	return 0;
}

/* One line on stderr; the status to exit with. */
static int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	return 1;
}

static int default_binary(struct monitor *monitor)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (length < 0)
		return -errno;
	path[length] = 0;
	if (snprintf(monitor->binary, sizeof(monitor->binary), "%s/target", dirname(path)) >=
	    (int)sizeof(monitor->binary))
		return -ENAMETOOLONG;
	return 0;
}

static bool positive(const char *value, long *ret_number)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno || end == value || *end || number < 1 || number > INT_MAX)
		return false;
	*ret_number = number;
	return true;
}

/* --lang counts for every message, also for those about options before it. */
static int choose_language(int argc, char **argv)
{
	text_from_environment();
	for (int i = 1; i < argc; i++) {
		const char *value = NULL;

		if (!strncmp(argv[i], "--lang=", 7))
			value = argv[i] + 7;
		else if (!strcmp(argv[i], "--lang") && i + 1 < argc)
			value = argv[i + 1];
		if (value && !text_choose(value))
			return fail(text->bad_language, program_name, value);
	}
	return 0;
}

enum { OPTION_BINARY = 256, OPTION_OVERWRITE, OPTION_INTERVAL, OPTION_JSON, OPTION_LANG };

static const struct option options[] = {
	{ "pid", required_argument, NULL, 'p' },
	{ "binary", required_argument, NULL, OPTION_BINARY },
	{ "overwrite", no_argument, NULL, OPTION_OVERWRITE },
	{ "interval", required_argument, NULL, OPTION_INTERVAL },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "lang", required_argument, NULL, OPTION_LANG },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int parse_option(struct monitor *monitor, int option, char **argv)
{
	long number;

	switch (option) {
	case 'p':
		if (!positive(optarg, &number))
			return fail(text->bad_number, program_name, "--pid", optarg);
		monitor->pid = (int)number;
		return -1;
	case OPTION_BINARY:
		if (!realpath(optarg, monitor->binary))
			return fail(text->no_binary, program_name, optarg, strerror(errno));
		return -1;
	case OPTION_OVERWRITE:
		monitor->overwrite = true;
		return -1;
	case OPTION_INTERVAL:
		if (!positive(optarg, &monitor->interval_ms))
			return fail(text->bad_number, program_name, "--interval", optarg);
		return -1;
	case OPTION_JSON:
		monitor->json = true;
		return -1;
	case OPTION_LANG:
		return -1;
	case 'h':
		return usage(monitor);
	case ':':
		return fail(text->missing_value, program_name, argv[optind - 1]);
	default:
		return fail(text->extra_argument, program_name, argv[optind - 1]);
	}
}

int monitor_parse(struct monitor *monitor, int argc, char **argv)
{
	int option, status, error;

	program_name = basename(argv[0]);
	monitor->pid = -1;
	monitor->interval_ms = DEFAULT_INTERVAL_MS;
	if (choose_language(argc, argv))
		return 2;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":p:h", options, NULL)) != -1) {
		status = parse_option(monitor, option, argv);
		if (status >= 0)
			return status ? 2 : 0;
	}
	if (optind < argc) {
		fail(text->extra_argument, program_name, argv[optind]);
		return 2;
	}
	error = monitor->binary[0] ? 0 : default_binary(monitor);
	if (!error && access(monitor->binary, R_OK))
		error = -errno;
	if (error)
		return fail(text->no_binary, program_name, monitor->binary, strerror(-error));
	if (monitor->pid > 0 && kill(monitor->pid, 0) && errno == ESRCH)
		return fail(text->no_process, program_name, monitor->pid);
	libbpf_set_print(quiet_print);
	return -1;
}

int monitor_fail_open(const struct monitor *monitor, int error)
{
	return fail(text->open_failed, program_name, strerror(error));
}

uint64_t monitor_push_flags(const struct monitor *monitor)
{
	return monitor->overwrite ? BPF_EXIST : BPF_ANY;
}

static int attach_function(struct monitor *monitor, struct bpf_object *object, const char *function)
{
	DECLARE_LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function);
	struct bpf_program *program;
	struct bpf_link *link;
	char name[128], why[128];

	snprintf(name, sizeof(name), "%s_entry", function);
	program = bpf_object__find_program_by_name(object, name);
	if (!program)
		return fail(text->program_missing, program_name, name);
	link = bpf_program__attach_uprobe_opts(program, monitor->pid, monitor->binary, 0, &opts);
	if (!link && errno == ENOENT)
		return fail(text->no_symbol, program_name, monitor->binary, function);
	if (!link) {
		libbpf_strerror(errno, why, sizeof(why)); /* has words for libbpf's own, as for no ELF file */
		return fail(text->attach_failed, program_name, function, monitor->binary, why);
	}
	monitor->links[monitor->link_count++] = link;
	return 0;
}

static void detach(struct monitor *monitor)
{
	while (monitor->link_count)
		bpf_link__destroy(monitor->links[--monitor->link_count]);
}

static int load(struct monitor *monitor, struct bpf_object *object)
{
	int error = bpf_object__load(object);

	if (error == -EPERM || error == -EACCES)
		return fail(text->load_denied, program_name, strerror(-error));
	if (error)
		return fail(text->load_failed, program_name, strerror(-error));
	monitor->events_fd = bpf_object__find_map_fd_by_name(object, "events");
	monitor->counters_fd = bpf_object__find_map_fd_by_name(object, "counters");
	if (monitor->events_fd < 0 || monitor->counters_fd < 0)
		return fail(text->program_missing, program_name, "events/counters");
	for (size_t i = 0; i < FUNCTION_COUNT; i++)
		if (attach_function(monitor, object, functions[i].name))
			return 1;
	return 0;
}

/* The stamp is monotonic; the distance between the clocks is taken anew, as wall time can be set. */
static int64_t wall_clock_ns(uint64_t monotonic)
{
	struct timespec mono, wall;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_REALTIME, &wall);
	return (int64_t)monotonic + (wall.tv_sec - mono.tv_sec) * NSEC_PER_SEC +
	       (wall.tv_nsec - mono.tv_nsec);
}

static void format_time(int64_t ns, char *buffer, size_t size)
{
	time_t seconds = ns / NSEC_PER_SEC;
	struct tm tm;
	size_t length;

	localtime_r(&seconds, &tm);
	length = strftime(buffer, size, "%H:%M:%S", &tm);
	snprintf(buffer + length, size - length, ".%03d", (int)(ns % NSEC_PER_SEC / 1000000));
}

/* A process name may hold any byte: for JSON quotes and backslashes are escaped, the rest is shown as '?'. */
static void json_name(const char *name, char *out)
{
	for (; *name; name++) {
		if (*name == '"' || *name == '\\')
			*out++ = '\\';
		*out++ = (unsigned char)*name < 0x20 || (unsigned char)*name > 0x7e ? '?' : *name;
	}
	*out = 0;
}

static void show_json_event(const struct event_data *event, const char *function)
{
	char comm[2 * EVENT_COMM_LEN];
	int64_t wall = wall_clock_ns(event->timestamp);

	json_name(event->comm, comm);
	printf("{\"type\":\"event\",\"time_ns\":%lld,\"timestamp\":%llu,\"pid\":%u,\"tid\":%u,"
	       "\"counter\":%u,\"function_id\":%u,\"function\":\"%s\",\"input_value\":%d,\"comm\":\"%s\"}\n",
	       (long long)wall, (unsigned long long)event->timestamp, event->pid, event->tid,
	       event->counter, event->function_id, function, event->input_value, comm);
}

static void show_event(const struct monitor *monitor, struct event_data *event)
{
	const char *name = NULL;
	bool has_input = false;
	char time[32];

	event->comm[EVENT_COMM_LEN - 1] = 0;
	for (size_t i = 0; i < FUNCTION_COUNT; i++) {
		if (functions[i].id == event->function_id) {
			name = functions[i].name;
			has_input = functions[i].has_input;
		}
	}
	if (monitor->json) {
		show_json_event(event, name ? name : "");
		return;
	}
	format_time(wall_clock_ns(event->timestamp), time, sizeof(time));
	if (!name)
		printf(text->unknown_event, time, event->function_id, event->pid, event->tid,
		       event->counter, event->comm);
	else if (has_input)
		printf(text->event_input, time, name, event->pid, event->tid, event->input_value,
		       event->counter, event->comm);
	else
		printf(text->event, time, name, event->pid, event->tid, event->counter, event->comm);
}

static uint64_t counter(const struct monitor *monitor, __u32 index)
{
	__u64 value = 0;

	bpf_map_lookup_elem(monitor->counters_fd, &index, &value);
	return value;
}

/*
 * `calls` may be old, so that the count lags while calls go on; it never says too much. What is neither
 * popped nor rejected has been overwritten, where that was asked for; else its push is still under way.
 */
static void show_losses(struct monitor *monitor, uint64_t calls)
{
	uint64_t rejected = counter(monitor, COUNTER_REJECTED);
	uint64_t gone = monitor->popped + rejected + monitor->overwritten_shown;

	if (rejected > monitor->rejected_shown && !monitor->json)
		printf(text->rejected[monitor->kind],
		       (unsigned long long)(rejected - monitor->rejected_shown));
	monitor->rejected_shown = rejected;
	if (!monitor->overwrite)
		return;
	if (calls > gone && !monitor->json)
		printf(text->overwritten[monitor->kind], (unsigned long long)(calls - gone));
	if (calls > gone)
		monitor->overwritten_shown += calls - gone;
}

/*
 * The map operations are plain bpf(2) calls. A queue or stack has no keys: looking up gives its next
 * element, and looking up with deletion takes it.
 */
static int map_elem_syscall(enum bpf_cmd command, int fd, void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.value = (uintptr_t)value;
	return (int)syscall(SYS_bpf, command, &attr, offsetof(union bpf_attr, flags) + sizeof(attr.flags));
}

static int map_peek_elem_syscall(int fd, void *value)
{
	return map_elem_syscall(BPF_MAP_LOOKUP_ELEM, fd, value);
}

static int map_pop_elem_syscall(int fd, void *value)
{
	return map_elem_syscall(BPF_MAP_LOOKUP_AND_DELETE_ELEM, fd, value);
}

/*
 * Drains the map once. A map that is filled faster than it is read would make a round without end,
 * so a round stops after as many events as the map holds.
 */
static int drain(struct monitor *monitor, uint64_t *ret_count)
{
	struct event_data event;
	uint64_t count = 0;

	if (map_peek_elem_syscall(monitor->events_fd, &event)) {
		if (errno != ENOENT)
			return -errno;
		if (!monitor->said_empty && !monitor->json && !stopping)
			printf("%s", text->empty[monitor->kind]);
		monitor->said_empty = true;
		*ret_count = 0;
		return 0;
	}
	if (!monitor->json)
		printf(text->not_empty[monitor->kind], event.function_id, event.counter);
	while (count < EVENT_CAPACITY) {
		if (map_pop_elem_syscall(monitor->events_fd, &event)) {
			if (errno == ENOENT)
				break;
			return -errno;
		}
		show_event(monitor, &event);
		count++;
	}
	monitor->popped += count;
	monitor->rounds++;
	if (!monitor->json)
		printf(text->round_done, (unsigned long long)count);
	*ret_count = count;
	return 0;
}

static int play_round(struct monitor *monitor, uint64_t *ret_count)
{
	uint64_t calls = counter(monitor, COUNTER_CALLS);
	int error = drain(monitor, ret_count);

	if (error)
		return fail(text->read_failed, program_name, strerror(-error));
	/* A round cut short leaves events in the map, and nobody knows how many. */
	if (*ret_count < EVENT_CAPACITY)
		show_losses(monitor, monitor->calls_last_round);
	monitor->calls_last_round = calls;
	fflush(stdout);
	return 0;
}

/* Calls whose event is not accounted for. */
static uint64_t left(const struct monitor *monitor, uint64_t calls)
{
	uint64_t gone = monitor->popped + monitor->rejected_shown + monitor->overwritten_shown;

	return calls > gone ? calls - gone : 0;
}

/*
 * With the probes gone: everything that is left, then the exact sums. A program that was running when
 * its probe went has counted its call, and pushes a moment later: looked at again until nothing moves.
 */
static int finish(struct monitor *monitor)
{
	const struct timespec moment = { .tv_nsec = 2000000 };
	uint64_t calls, before, count;

	detach(monitor);
	calls = counter(monitor, COUNTER_CALLS);
	for (int quiet = 0, tries = 0; quiet < 2 && tries < 100; tries++) {
		do {
			if (play_round(monitor, &count))
				return 1;
		} while (count);
		before = calls;
		calls = counter(monitor, COUNTER_CALLS);
		quiet = calls == before && (monitor->overwrite || !left(monitor, calls)) ? quiet + 1 : 0;
		nanosleep(&moment, NULL);
	}
	show_losses(monitor, calls);
	printf(monitor->json ? "{\"type\":\"summary\",\"calls\":%llu,\"popped\":%llu,\"rejected\":%llu,"
			       "\"overwritten\":%llu,\"left\":%llu}\n"
			     : text->summary,
	       (unsigned long long)calls, (unsigned long long)monitor->popped,
	       (unsigned long long)monitor->rejected_shown,
	       (unsigned long long)monitor->overwritten_shown,
	       (unsigned long long)left(monitor, calls));
	return fflush(stdout) ? 1 : 0;
}

int monitor_run(struct monitor *monitor, struct bpf_object *object)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct timespec interval = { monitor->interval_ms / 1000,
				     monitor->interval_ms % 1000 * 1000000 };
	uint64_t count;

	if (load(monitor, object)) {
		detach(monitor);
		return 1;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (monitor->json) {
		printf("{\"type\":\"start\",\"map_fd\":%d}\n", monitor->events_fd);
	} else {
		printf(text->map_fd[monitor->kind], monitor->events_fd);
		printf("%s%s", text->started[monitor->kind], text->stop_hint);
	}
	fflush(stdout);
	while (!stopping) {
		if (play_round(monitor, &count)) {
			detach(monitor);
			return 1;
		}
		if (!stopping && count < EVENT_CAPACITY)
			nanosleep(&interval, NULL);
	}
	return finish(monitor);
}
