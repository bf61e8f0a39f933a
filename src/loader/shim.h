/* SPDX-License-Identifier: MIT */
/*
 * The preloaded object (shim.c, shim_fd.c, shim_file.c): libc functions an eBPF tool calls. Each
 * looks whether the call is limpet's; all others go to the next definition of the function
 * (libc's), so that what it does besides the system call (cancellation, checks, other preloaded
 * objects) stays as it was. Only calls through the PLT are seen; what libc does inside itself is
 * not ours.
 */
#ifndef LIMPET_LOADER_SHIM_H
#define LIMPET_LOADER_SHIM_H

/*
 * Both names of a function (open, open64) are defined here: keep headers from renaming one to the
 * other.
 */
#undef _FILE_OFFSET_BITS

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include "base/sys.h"
#include "base/types.h"

#define EXPORT __attribute__((visibility("default")))

/*
 * While the constructors ask for definitions, by calls with arguments that do nothing: these shall not reach the
 * kernel, since the process may be a target whose system calls are observed.
 */
extern HIDDEN bool shim_finding;
HIDDEN long shim_nothing(void); /* -1 */

/* The definition of `name` after ours, in the order the dynamic linker searches. */
#define NEXT(name)                                                                                 \
	({                                                                                         \
		static void *_Atomic next_;                                                        \
		void *p_ = atomic_load_explicit(&next_, memory_order_relaxed);                     \
		if (unlikely(!p_)) {                                                               \
			p_ = dlsym(RTLD_NEXT, #name);                                              \
			atomic_store_explicit(&next_, p_, memory_order_relaxed);                   \
		}                                                                                  \
		(__typeof__(&name))(unlikely(shim_finding) ? (void *)shim_nothing : p_);           \
	})

/* A system call's result as libc returns it. */
static inline long shim_result(long ret)
{
	if (!sys_is_err(ret))
		return ret;
	errno = (int)-ret;
	return -1;
}

#endif
