/* SPDX-License-Identifier: MIT */
/* What the test's programs note, by attach cookie. */
#ifndef TESTS_RETURNS_SEEN_H
#define TESTS_RETURNS_SEEN_H

#define SEEN 64

struct seen {
	unsigned long long entries, returns; /* runs at either end */
	unsigned long long sum;              /* of the return values */
	unsigned long long func_ip;          /* of the last return: what the helper says, */
	unsigned long long ip, sp;           /* and where the caller goes on */
	unsigned long long entry_sp;
	unsigned long long
		bad; /* returns that had another stack pointer than their entry, if nothing else ran */
};

#endif
