/* SPDX-License-Identifier: MIT */
/*
 * Seccomp filters that the target installs after us: the stubs of identity.c, and probes that are there instead, see seccomp(2) and
 * prctl(PR_SET_SECCOMP) before the kernel does. What the filter does not simply allow no helper
 * calls any more (helpers/filter.c), in no thread, whether the call succeeds or not. (A thread in
 * the middle of a helper's call may still make that one.)
 */
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include "agent/state.h"
#include "base/sys.h"

struct io_vec {
	u64 base, len;
};

static bool copy(void *dst, u64 src, u64 size)
{
	struct io_vec to = {(u64)dst, size}, from = {src, size};

	return helper_may(&agent.env, HELPER_CALL_READ) &&
	       sys_call6(__NR_process_vm_readv, sys_getpid(), (long)&to, 1, (long)&from, 1, 0) ==
		       (long)size;
}

static void begins(bool filter, u64 fprog)
{
	struct sock_fprog prog;
	u64 denied = ~0ULL, size;
	void *insns;

	if (filter && !copy(&prog, fprog, sizeof(prog)))
		return; /* the kernel cannot read it either */
	size = filter ? prog.len * sizeof(struct sock_filter) : 0;
	insns = size ? map_anon(size, PROT_READ | PROT_WRITE) : NULL;
	if (insns && copy(insns, (u64)prog.filter, size))
		denied = helper_filter_denies(insns, prog.len);
	if (insns)
		sys_munmap(insns, ALIGN_UP(size, PAGE_SIZE));
	atomic_fetch_or_explicit(&agent.env.denied, denied, memory_order_relaxed);
	catch_denied();
	trap_filtered();
	leases_filtered();
}

void seccomp_call(u32 nr, const u64 args[3])
{
	if (nr == __NR_seccomp && args[0] <= SECCOMP_SET_MODE_FILTER)
		begins(args[0] == SECCOMP_SET_MODE_FILTER, args[2]);
	else if (nr == __NR_prctl && args[0] == PR_SET_SECCOMP)
		begins(args[1] == SECCOMP_MODE_FILTER, args[2]);
	else if (nr == __NR_prctl && args[0] == PR_SET_NAME)
		helper_name_changes(&agent.env);
}
