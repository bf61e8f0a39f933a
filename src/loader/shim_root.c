/* SPDX-License-Identifier: MIT */
/*
 * `limpet load --as-root`: a tool that asks whether it is root is told so. What it opens, signals and
 * changes is still its real user's, as the kernel decides.
 */
#include "loader/shim.h"

#include <linux/capability.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool as_root;

/* Before any constructor of the tool asks. */
__attribute__((constructor(101))) static void look(void)
{
	const char *set = getenv("LIMPET_AS_ROOT");

	as_root = set && *set == '1';
}

EXPORT uid_t getuid(void)
{
	return as_root ? 0 : (uid_t)sys_call0(__NR_getuid);
}

EXPORT uid_t geteuid(void)
{
	return as_root ? 0 : (uid_t)sys_call0(__NR_geteuid);
}

EXPORT gid_t getgid(void)
{
	return as_root ? 0 : (gid_t)sys_call0(__NR_getgid);
}

EXPORT gid_t getegid(void)
{
	return as_root ? 0 : (gid_t)sys_call0(__NR_getegid);
}

EXPORT int getresuid(uid_t *real, uid_t *effective, uid_t *saved)
{
	long ret = sys_call3(__NR_getresuid, (long)real, (long)effective, (long)saved);

	if (!ret && as_root)
		*real = *effective = *saved = 0;
	return (int)shim_result(ret);
}

EXPORT int getresgid(gid_t *real, gid_t *effective, gid_t *saved)
{
	long ret = sys_call3(__NR_getresgid, (long)real, (long)effective, (long)saved);

	if (!ret && as_root)
		*real = *effective = *saved = 0;
	return (int)shim_result(ret);
}

/* Its own capabilities only: all there are. */
EXPORT int capget(cap_user_header_t head, cap_user_data_t data)
{
	long ret = sys_call2(__NR_capget, head, data);
	const int words = !ret && head->version != _LINUX_CAPABILITY_VERSION_1 ? 2 : 1;

	if (!ret && as_root && data && (!head->pid || head->pid == getpid()))
		for (int i = 0; i < words; i++)
			data[i].effective = data[i].permitted =
				i ? (1u << (CAP_LAST_CAP - 31)) - 1 : ~0u;
	return (int)shim_result(ret);
}
