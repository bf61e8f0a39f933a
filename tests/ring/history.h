/* SPDX-License-Identifier: MIT */
/* What writers and the consumer of history.py agree on. */
#ifndef TESTS_RING_HISTORY_H
#define TESTS_RING_HISTORY_H

#define WRITERS 256
#define WORDS   8

enum kind {
	SUBMIT,
	DISCARD,
	OUTPUT,
	TWO_ACROSS, /* two records at once, the second one submitted first */
	ONE_OF_TWO, /* the first one discarded when the second one is out */
	KINDS
};

struct record {
	unsigned int writer, seq, part, sum;
	unsigned int word[WORDS];
};

/* Records that a call of that kind makes. */
static inline unsigned int records_of(unsigned int kind)
{
	return kind == DISCARD ? 0 : kind == TWO_ACROSS ? 2 : 1;
}

static inline unsigned int word_of(unsigned int writer, unsigned int seq, unsigned int part, unsigned int i)
{
	return writer * 1000003u + seq * 31u + part * 7u + i;
}

#endif
