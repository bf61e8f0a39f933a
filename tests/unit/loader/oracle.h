/* SPDX-License-Identifier: MIT */
/*
 * Calls made both ways: to the kernel by plain system calls and to the emulator, with the same
 * fixture on either side. A row returns what the call returned (-errno for failures) and may leave
 * bytes in `out`; both must agree. What differs by nature (ids, times) a row blanks itself.
 */
#ifndef LIMPET_TESTS_ORACLE_H
#define LIMPET_TESTS_ORACLE_H

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include "base/types.h"

#define OUT_MAX 8192

struct side {
	const char *name;
	long (*bpf)(int cmd, void *attr, unsigned int size);
	long (*perf)(void *attr, int pid, int cpu, int group, unsigned long flags);
	long (*ioctl)(int fd, unsigned long request, unsigned long arg);
	void *(*mmap)(int fd, unsigned long size, int prot, int flags,
		      long off); /* -errno as a pointer */
	long (*munmap)(void *p, unsigned long size);
	u32 (*poll)(int fd);
	void (*drain)(void); /* what programs have sent is in the rings after it */
	void (*close)(int fd);
	void (*unlink)(const char *path); /* of a pin */
	void (*settle)(void);             /* the kernel frees a little later */
	u32 uprobe_type;
	u64 (*event_id)(const char *name); /* of a tracepoint, "system/name" */
	/* array: 4 x 8 bytes; mappable: 1 x 8192, MMAPABLE; frozen: like array; queue: 3 x 8 */
	int array, mappable, frozen, queue, readonly, writeonly;
	int prog, prog_plain, btf, event, link, taken; /* taken: event with a program */
	int pipe, closed;
	u8 out[OUT_MAX];
	u32 out_len;
};

struct row {
	const char *name;
	long (*run)(struct side *s, union bpf_attr *a, u8 *room);
};

extern const struct row oracle_map_rows[], oracle_prog_rows[], oracle_link_rows[],
	oracle_info_rows[], oracle_pin_rows[], oracle_mmap_rows[], oracle_run_rows[], oracle_ref_rows[], oracle_perf_rows[],
	oracle_output_rows[], oracle_syscall_rows[];

/* Places every pointer test wants. */
#define BAD_NULL  ((u64)0)
#define BAD_LOW   ((u64)8)
#define BAD_HIGH  ((u64)0xffff888000000000ULL)
#define BAD_CANON ((u64)0x0123456789abcdefULL)
extern u64 bad_page;      /* mapped PROT_NONE */
extern u64 readonly_page; /* mapped PROT_READ */
extern u64 edge;          /* the last 8 bytes before an inaccessible page start here */

#define ATTR(attr, field) ((unsigned int)(offsetof(union bpf_attr, field) + sizeof((attr)->field)))

/*
 * `count` random calls from number `first` on. 0, or the command (plus 1) that only ours accepted.
 */
int oracle_fuzz(struct side *ours, struct side *kernel, u64 first, u32 count, u64 *ret_seed);

/* Appends bytes to compare. */
void oracle_out(struct side *s, const void *p, u32 n);

extern struct bpf_insn oracle_insns[4]; /* r0 = 0; exit; and zeroes for who reads on */
extern const u8 oracle_btf[];
extern const u32 oracle_btf_size;

#endif
