/* SPDX-License-Identifier: MIT */
/*
 * Dynptrs as they lie on a program's stack, in the kernel's form. The program may have written anything
 * there: whatever is read from one is held against what the run may touch before it is used.
 */
#ifndef LIMPET_HELPERS_DYNPTR_H
#define LIMPET_HELPERS_DYNPTR_H

#include "helpers/internal.h"

#define DYNPTR_RDONLY   0x80000000u
#define DYNPTR_LOCAL    (1u << 28) /* types */
#define DYNPTR_RINGBUF  (2u << 28)
#define DYNPTR_TYPE     (7u << 28)
#define DYNPTR_SIZE     0xffffffu
#define DYNPTR_SIZE_MAX 0xffffffu

struct dynptr {
	u64 data; /* 0: a null dynptr */
	u32 size; /* type and DYNPTR_RDONLY in the upper bits */
	u32 offset;
};
_Static_assert(sizeof(struct dynptr) == VM_DYNPTR_SIZE, "as in uapi/linux/bpf.h");

static inline void dynptr_set(u64 at, u64 data, u32 size)
{
	*(struct dynptr *)at = (struct dynptr){data, size, 0};
}

/* Where [offset, offset + len) of it is: 0 and the address, or -E2BIG; -EINVAL: no helper has made it. */
long dynptr_locate(const struct vm_run *run, const struct dynptr *d, u64 offset, u64 len,
		   bool write, u64 *ret);

/* The same, NULL for errors, for a dynptr that is null, and where `write` is not allowed. */
u64 dynptr_slice(const struct vm_run *run, const struct dynptr *d, u32 offset, u32 len, bool write);

#endif
