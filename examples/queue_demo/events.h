/* SPDX-License-Identifier: MIT */
/*
 * What the eBPF programs and the monitor share: the event that travels through the map, and the
 * names of the numbers in it. Included by both sides, so it uses only types both know.
 */
#ifndef QUEUE_DEMO_EVENTS_H
#define QUEUE_DEMO_EVENTS_H

#include <linux/types.h>

#define EVENT_CAPACITY 64
#define EVENT_COMM_LEN 16

enum function_id {
	FUNCTION_TARGET = 1,
	FUNCTION_SECONDARY = 2,
};

/* Entries of the array map `counters`. */
enum counter_index {
	COUNTER_CALLS = 0,    /* every call seen, which is also the number of the latest event */
	COUNTER_REJECTED = 1, /* events the full map did not take */
	COUNTER_MAX,
};

struct event_data {
	__u64 timestamp; /* CLOCK_MONOTONIC, ns */
	__u32 pid;
	__u32 tid;
	__u32 counter; /* number of the call, over all functions, threads and processes */
	__u32 function_id;
	__s32 input_value; /* of target_function; 0 for the others */
	char comm[EVENT_COMM_LEN];
};

#endif
