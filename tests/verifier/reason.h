/* SPDX-License-Identifier: MIT */
/* Where in a verifier's log, the kernel's or limpet's, the reason stands: the line before the statistics. */
#ifndef LIMPET_TESTS_VERIFIER_REASON_H
#define LIMPET_TESTS_VERIFIER_REASON_H

#include <string.h>

/* Where they begin, or the end. */
static inline char *log_statistics(char *log)
{
	char *end = strstr(log, "verification time ");

	if (!end)
		end = strstr(log, "processed ");
	return end ? end : log + strlen(log);
}

/* Cuts the log off behind it. */
static inline const char *log_reason(char *log)
{
	char *end = log_statistics(log), *start;

	while (end > log && end[-1] == '\n')
		end--;
	*end = 0;
	start = strrchr(log, '\n');
	return start ? start + 1 : log;
}

#endif
