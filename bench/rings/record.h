/* SPDX-License-Identifier: MIT */
/* What the programs of the ring buffer benchmark hand over. */
#ifndef LIMPET_BENCH_RECORD_H
#define LIMPET_BENCH_RECORD_H

#include <linux/types.h>

#define RING_BYTES (4 << 20)

struct record {
	__u64 number; /* of the call, from 1 */
	__u64 ns;     /* CLOCK_MONOTONIC */
	__u64 pid_tgid;
	__u64 more[3];
};

#endif
