/* SPDX-License-Identifier: MIT */
/* What the probes have counted, by attach cookie. */
#ifndef TESTS_PROGRAMS_COUNT_H
#define TESTS_PROGRAMS_COUNT_H

#define COUNTS 64

struct count {
	unsigned long long entries, again, returns; /* again: by a second program on the same probe */
};

#endif
