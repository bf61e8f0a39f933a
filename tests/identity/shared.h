/* SPDX-License-Identifier: MIT */
/* What target.c logs about each call of seen(), and what the program of who.bpf.c saw of it. */
#ifndef TESTS_IDENTITY_SHARED_H
#define TESTS_IDENTITY_SHARED_H

#define SLOTS 16384
#define EXECS 256
#define BEHIND 20 /* calls just after a rename that no call of the thread's own made, to: */
#define BEHIND_ODD  "uneven"
#define BEHIND_EVEN "iseven"

struct who {
	unsigned long long id; /* pid << 32 | tid */
	char name[16];         /* in the log: empty when it may just have changed */
	unsigned long long hits;
};

/* The target's log file. */
struct told {
	unsigned int next, execs;
	struct who who[SLOTS];
	int exec_pid[EXECS];
	unsigned int behind[BEHIND]; /* slots */
};

#endif
