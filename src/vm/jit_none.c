/* SPDX-License-Identifier: MIT */
/* No JIT for this processor yet: callers interpret. */
#include <asm/errno.h>
#include "vm/vm.h"

long vm_jit(const struct vm_program *prog, u8 *buf, size_t cap, u64 at, void *scratch)
{
	return -EOPNOTSUPP;
}

size_t vm_jit_scratch(const struct vm_program *prog)
{
	return 0;
}
