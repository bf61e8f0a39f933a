/* SPDX-License-Identifier: MIT */
/* Files of the kernel's that a tool with --with-kernel sees otherwise (files.h): the processors, and tracefs. */
#include "loader/kernel.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "loader/files.h"
#include "loader/tracefs.h"
#include "maps/types.h"

u32 kernel_tool_cpus(void)
{
	return 2 * map_possible_cpus();
}

/* In tracefs limpet's own are these; what else is there is as it is. */
bool kernel_has_file(const char *rest)
{
	static const char *const ours[] = {"", "/", "/events", "/events/", "/available_events", "/uprobe_events", "/trace_pipe"};
	char group[64];

	if (!kernel_on())
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (!strcmp(rest, ours[i]))
			return false;
	return sscanf(rest, "/events/%63[^/]", group) != 1 || !tracefs_is_ours(group);
}

const char *kernel_file(const char *path, const char *rest, char *buf)
{
	static const char *const places[] = {TRACEFS_DIR, TRACEFS_DEBUG};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (snprintf(buf, FILES_PATHMAX, "%s%s", places[i], rest) < FILES_PATHMAX && !access(buf, F_OK))
			return buf;
	return path;
}

void kernel_print_events(FILE *to)
{
	char path[FILES_PATHMAX], line[256], system[128];
	FILE *f = fopen(kernel_file("", "/available_events", path), "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%127[^:]", system) == 1 && !tracefs_is_ours(system))
			fputs(line, to);
	if (f)
		fclose(f);
}
