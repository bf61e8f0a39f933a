/* SPDX-License-Identifier: MIT */
/* See sink.h. */
#include "verifier/sink.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 4096
#define MAX_LINE   2048

/* Room for position `end`: doubled until it is all there may be. Grows only while nothing has wrapped. */
static bool make_room(struct verifier_sink *s, u64 end)
{
	size_t room = s->room ? s->room : FIRST_ROOM;
	char *buf;

	if (s->room == s->keep || end <= s->room)
		return true;
	while (room < end && room < s->keep)
		room *= 2;
	room = room < s->keep ? room : s->keep;
	buf = realloc(s->buf, room);
	if (!buf) {
		s->failed = true;
		return false;
	}
	s->buf = buf;
	s->room = room;
	return true;
}

void sink_write(struct verifier_sink *s, const char *text, size_t n)
{
	u64 at = s->end;

	s->end += n;
	s->most = s->end > s->most ? s->end : s->most;
	if (!s->keep || !make_room(s, s->end < s->keep ? s->end : s->keep))
		return;
	for (size_t i = 0; i < n; i++, at++)
		if (!s->fixed || at < s->keep)
			s->buf[at % s->keep] = text[i];
	if (!s->fixed && s->end - s->start > s->keep)
		s->start = s->end - s->keep;
}

void sink_printf(struct verifier_sink *s, const char *fmt, ...)
{
	char line[MAX_LINE];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n > 0)
		sink_write(s, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

void sink_rewind(struct verifier_sink *s, u64 end)
{
	if (end >= s->end)
		return;
	s->end = end;
	if (s->start > end)
		s->start = end;
}

size_t sink_copy(const struct verifier_sink *s, char *to, size_t size)
{
	u64 end = s->fixed && s->end > s->keep ? s->keep : s->end;
	size_t n = 0;

	if (!size)
		return 0;
	for (u64 at = s->start; s->buf && at < end && n + 1 < size; at++)
		to[n++] = s->buf[at % s->keep];
	to[n] = 0;
	return n;
}

void sink_free(struct verifier_sink *s)
{
	free(s->buf);
	s->buf = NULL;
	s->room = 0;
}
