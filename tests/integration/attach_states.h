/* SPDX-License-Identifier: MIT */
/* A target with a thread in each of some states (attach_states.c), and whether they go on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "attach_session.h"

#define STATES_MAX 24

static pid_t start_states(const char *const *names, bool preload)
{
	char *argv[STATES_MAX + 4] = {target_path, shared_path};
	pid_t pid;
	int n = 0;

	memset(shared, 0, sizeof(*shared));
	*(u64 *)map_direct_value(&counter) = 0;
	for (; names[n]; n++)
		argv[n + 2] = (char *)names[n];
	pid = fork();
	if (!pid) {
		if (preload) {
			setenv("LD_PRELOAD", agent_path, 1);
			setenv(AGENT_ENV, s.path, 1);
		}
		execv(target_path, argv);
		_exit(127);
	}
	if (!EVENTUALLY(shared->ready))
		printf("# the target is not ready\n");
	return pid;
}

/* Every state comes round at least `n` times more, within two seconds. */
static bool all_go_on(const char *const *names, long n)
{
	for (int i = 0; names[i]; i++) {
		long before = shared->calls[i];

		if (!strcmp(names[i], "gone") || !strcmp(names[i], "compat"))
			continue;
		if (!EVENTUALLY(shared->calls[i] >= before + n)) {
			printf("# state %s stands still\n", names[i]);
			return false;
		}
	}
	return true;
}

static void check_states(const char *const *names)
{
	if (shared->errors)
		printf("# wrong in state %s, attach_states.c:%ld\n", names[shared->where],
		       (long)shared->what);
	CHECK_EQ(shared->errors, 0);
}

static void report(int err, const struct keeper_error *e)
{
	if (err)
		printf("# %d: %s\n", err, e->detail);
	CHECK_EQ(err, 0);
}
