/* SPDX-License-Identifier: MIT */
/*
 * The part the queue monitor and the stack monitor share: options, attaching, rounds, summary.
 *
 * A round is one drain of the map: a status line, every event that waited, a line that counts them.
 */
#ifndef QUEUE_DEMO_MONITOR_H
#define QUEUE_DEMO_MONITOR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include "events.h"

struct bpf_object;

enum monitor_kind { MONITOR_QUEUE, MONITOR_STACK };

#define MONITOR_LINKS 8

struct monitor {
	enum monitor_kind kind;
	bool overwrite;
	bool json;
	int pid; /* -1: every process that runs the binary */
	long interval_ms;
	char binary[PATH_MAX];

	int events_fd;
	int counters_fd;
	struct bpf_link *links[MONITOR_LINKS];
	int link_count;

	uint64_t popped;
	uint64_t rejected_shown;
	uint64_t overwritten_shown;
	uint64_t calls_last_round;
	uint64_t rounds;
	bool said_empty;
};

/* Returns -1 when the monitor shall run, else the status to exit with. */
int monitor_parse(struct monitor *monitor, int argc, char **argv);

/* Says why the object could not be opened; returns the status to exit with. */
int monitor_fail_open(const struct monitor *monitor, int error);

/* What bpf_map_push_elem() gets as flags. */
uint64_t monitor_push_flags(const struct monitor *monitor);

/* Loads, attaches, shows events until SIGINT or SIGTERM. Returns the status to exit with. */
int monitor_run(struct monitor *monitor, struct bpf_object *object);

#endif
