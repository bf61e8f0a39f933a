/* SPDX-License-Identifier: MIT */
/*
 * Random operations on one map of each side, step by step: after every step what both have answered and
 * left in memory must be the same. Descriptors and ids, which differ by nature, are told by their place in
 * a table of objects.
 */
#ifndef LIMPET_TESTS_ORACLE_RANDOM_H
#define LIMPET_TESTS_ORACLE_RANDOM_H

#include "oracle_asm.h"

#define DUO_OBJECTS 8
#define DUO_PROGS   5
#define DUO_OUT     16384

struct duo;

struct duo_type {
	const char *name;
	u32 type, key_size, value_size;
	u32 entries[3]; /* one of these */
	bool own_order; /* iteration goes another way than the kernel's */
	bool held;      /* values are ids of objects */
	int (*object)(struct duo *d, int w, u32 k); /* makes object k of side w, < 4 */
	void (*begin)(struct duo *d, int w);        /* map w is fresh: programs, mappings */
	void (*end)(struct duo *d, int w);
	void (*act)(struct duo *d);                 /* a step through programs and mappings; NULL: none */
};

struct duo {
	struct side *s[2]; /* ours, the kernel's */
	const struct duo_type *t;
	u64 seed;
	u32 entries;
	int map[2];
	int objects[2][DUO_OBJECTS];
	u32 ids[2][DUO_OBJECTS];
	int progs[2][DUO_PROGS];
	u8 *ring[2], *control[2]; /* the type's own mappings */
	u8 out[2][DUO_OUT];
	u32 len[2];
};

u32 duo_draw(struct duo *d, u32 n);
void duo_note(struct duo *d, int w, const void *p, u32 n);
void duo_note_long(struct duo *d, int w, long r);

/* Runs program p on raw tracepoint arguments; its result or -errno, which it notes. */
long duo_run(struct duo *d, int w, int p, u64 a, u64 b, u64 c);

#define DUO_LOAD(d, w, p, ...)                                                                                \
	({                                                                                                    \
		struct bpf_insn i_[] = {__VA_ARGS__};                                                         \
		(d)->progs[w][p] = oracle_load((d)->s[w], BPF_PROG_TYPE_RAW_TRACEPOINT, 0, i_, ARRAY_SIZE(i_)); \
		duo_note_long(d, w, (d)->progs[w][p] < 0 ? (d)->progs[w][p] : 1);                             \
	})

extern const struct duo_type duo_ringbuf, duo_user_ringbuf, duo_perf_event_array;

/* 0, or the number of the step (from 1) that differed, which has been printed. */
u32 oracle_random(struct side *ours, struct side *kernel, const char *type, u32 count);

#endif
