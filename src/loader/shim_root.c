/* SPDX-License-Identifier: MIT */
/*
 * `limpet load --as-root`: a tool that asks whether it is root is told so. What it opens, signals and
 * changes is still its real user's, as the kernel decides.
 */
#include "loader/shim.h"

#include <linux/capability.h>
#include <stdlib.h>
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
	return as_root ? 0 : NEXT(getuid)();
}

EXPORT uid_t geteuid(void)
{
	return as_root ? 0 : NEXT(geteuid)();
}

EXPORT gid_t getgid(void)
{
	return as_root ? 0 : NEXT(getgid)();
}

EXPORT gid_t getegid(void)
{
	return as_root ? 0 : NEXT(getegid)();
}

EXPORT int getresuid(uid_t *real, uid_t *effective, uid_t *saved)
{
	int ret = NEXT(getresuid)(real, effective, saved);

	if (!ret && as_root)
		*real = *effective = *saved = 0;
	return ret;
}

EXPORT int getresgid(gid_t *real, gid_t *effective, gid_t *saved)
{
	int ret = NEXT(getresgid)(real, effective, saved);

	if (!ret && as_root)
		*real = *effective = *saved = 0;
	return ret;
}

/* Its own capabilities only: all there are. */
EXPORT int capget(cap_user_header_t head, cap_user_data_t data)
{
	int ret = NEXT(capget)(head, data);
	const int words = !ret && head->version != _LINUX_CAPABILITY_VERSION_1 ? 2 : 1;

	if (!ret && as_root && data && (!head->pid || head->pid == getpid()))
		for (int i = 0; i < words; i++)
			data[i].effective = data[i].permitted =
				i ? (1u << (CAP_LAST_CAP - 31)) - 1 : ~0u;
	return ret;
}

/* As find_next() of shim_fd.c. */
__attribute__((constructor)) static void find_next(void)
{
	uid_t user;
	gid_t group;

	shim_finding = true;
	(void)NEXT(getuid)();
	(void)NEXT(geteuid)();
	(void)NEXT(getgid)();
	(void)NEXT(getegid)();
	getresuid(&user, &user, &user);
	getresgid(&group, &group, &group);
	shim_finding = false;
}
