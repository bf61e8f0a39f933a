/* SPDX-License-Identifier: MIT */
/* What the parts of bench_maps share. */
#ifndef LIMPET_BENCH_MAPS_H
#define LIMPET_BENCH_MAPS_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "helpers/helpers.h"
#include "maps/map.h"

#define ENTRIES 1024
#define LOOP    100 /* operations a kernel program performs */

struct item {
	u64 word[6];
};

extern struct map maps[32]; /* by map type; no ops: not to be had */
extern int fds[32];	    /* the kernel's */
extern _Thread_local struct vm_run bench_run;

u64 now_ns(void);

/* Of v[0] to v[n - 1], which it sorts. */
double median(double *v, u32 n);

/* Between two measurements: everything that was pushed or written is consumed, on both sides. */
void empty_all(void);

static inline u64 help(u32 id, u32 type, const void *key, const void *value, u64 flags)
{
	return helper_table[id]((u64)&maps[type], (u64)key, (u64)value, flags, 0, &bench_run);
}

/* Operations a second by one thread and by two at once, on two processors. obj: NULL where bpf(2) is not allowed. */
int contended(struct bpf_object *obj, u32 rounds, bool json);

#endif
