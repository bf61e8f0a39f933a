/* SPDX-License-Identifier: MIT */
/* Which language to speak: LIMPET_LANG wins, then LC_ALL, LC_MESSAGES, LANG; English otherwise. */
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"

bool cli_chinese;

void lang_init(void)
{
	static const char *const names[] = {"LIMPET_LANG", "LC_ALL", "LC_MESSAGES", "LANG"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *v = getenv(names[i]);

		if (!v || !*v)
			continue;
		cli_chinese = !strncmp(v, "zh", 2);
		return;
	}
}
