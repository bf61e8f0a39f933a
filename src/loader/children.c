/* SPDX-License-Identifier: MIT */
/*
 * What a tool starts (bpftrace -c, system()) is observed like any other process: from the moment a
 * process is a tool, the agent is preloaded into its children besides the shim. Not into whatever starts
 * the tool, a shell say, nor into the tool itself, which is a target only when it probes itself (own_probes.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "loader/loader.h"

#define PRELOAD "LD_PRELOAD"

void loader_adopt_children(void)
{
	const char *agent = getenv("LIMPET_CHILD_PRELOAD"), *now = getenv(PRELOAD);
	char *both;

	unsetenv("LIMPET_AS_ROOT"); /* that was for the tool alone */
	if (!agent || !*agent || !now || strstr(now, agent))
		return;
	/* the variable is there: its value is replaced by one store, under the eyes of other threads */
	if (asprintf(&both, "%s:%s", agent, now) < 0)
		return;
	setenv(PRELOAD, both, 1);
	free(both);
}
