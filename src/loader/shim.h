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

/*
 * shim_outside.c: programs that nothing can be preloaded into are executed by `limpet exec` in their place, which gets them a
 * supervisor (cli/exec.c). Callable in a vfork child: no memory but the caller's.
 */
struct outside_call {
	const char *command; /* limpet's path */
	int fd;              /* a duplicate of the directory for it, or -1; -errno: there is none */
	char dir[16], flags[16];
	char *argv[]; /* for the command */
};

/* Is the program of this kind? One that gains rights is not, but the user is told where its bpf(2) goes. */
HIDDEN bool outside_needed(int dir, const char *path, int flags);
/* Where execvp(3) would find it, in PATH_MAX bytes; false: nowhere. */
HIDDEN bool outside_search(const char *file, char *ret_path);
HIDDEN size_t outside_size(char *const argv[]);
/* In outside_size() bytes; the arguments are the caller's. */
HIDDEN struct outside_call *outside_make(void *room, int dir, const char *path, char *const argv[], int flags);
HIDDEN bool outside_failed(const struct outside_call *c);
/* The command could not be executed: says so. errno is as it was. */
HIDDEN void outside_undo(const struct outside_call *c, const char *path);

/* A system call's result as libc returns it. */
static inline long shim_result(long ret)
{
	if (!sys_is_err(ret))
		return ret;
	errno = (int)-ret;
	return -1;
}

#endif
