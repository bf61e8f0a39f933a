/* SPDX-License-Identifier: MIT */
/* BPF_OBJ_PIN and BPF_OBJ_GET. */
#include "loader/loader.h"

#include <errno.h>

/* No file system of pins yet: as a kernel would where no bpffs is allowed. */
long loader_obj_pin(const struct loader_call *c, union bpf_attr *a)
{
	return -EPERM;
}

long loader_obj_get(const struct loader_call *c, union bpf_attr *a)
{
	return -EPERM;
}
