/* SPDX-License-Identifier: MIT */
/* See log.h. */
#include "loader/log.h"

#include <errno.h>
#include <stdlib.h>

#define LOG_ROOM  (1u << 20) /* more than our messages ever fill */
#define LOG_KNOWN (LOG_LEVEL1 | LOG_LEVEL2 | LOG_STATS | LOG_FIXED)

int log_init(struct loader_log *log, u32 level, u64 user, u32 size)
{
	*log = (struct loader_log){.level = level, .size = size, .user = user};
	if (!user != !size || (user && !level) || (level & ~LOG_KNOWN) || size > UINT32_MAX >> 2)
		return -EINVAL;
	if (!level)
		return 0;
	log->sink.keep = size ? size - 1 : 0;
	log->sink.fixed = level & LOG_FIXED;
	log->text.buf = calloc(1, LOG_ROOM);
	log->text.size = LOG_ROOM;
	return log->text.buf ? 0 : -ENOMEM;
}

void log_take(struct loader_log *log)
{
	if (log->text.len)
		sink_write(&log->sink, log->text.buf, log->text.len < LOG_ROOM ? log->text.len : LOG_ROOM - 1);
	log->text.len = 0;
}

/* What is kept, and a NUL. */
static long copy_out(struct loader_log *log)
{
	char *text = malloc(log->size);
	long err;

	if (!text)
		return -ENOMEM;
	err = user_write(log->user, text, sink_copy(&log->sink, text, log->size) + 1);
	free(text);
	return err;
}

long log_finish(struct loader_log *log, const struct loader_call *c, size_t true_size_off,
		long result)
{
	u32 true_size = 0;
	long err = 0;

	log_take(log);
	if (log->level)
		true_size = log->sink.most < UINT32_MAX ? (u32)log->sink.most + 1 : UINT32_MAX;
	if (log->level && log->size) {
		err = copy_out(log);
		if (!err && true_size > log->size)
			err = -ENOSPC;
	}
	if (c->size >= true_size_off + sizeof(u32) &&
	    user_write((u64)c->u + true_size_off, &true_size, sizeof(u32)))
		err = -EFAULT;
	return err ? err : result;
}

void log_free(struct loader_log *log)
{
	free(log->text.buf);
	log->text.buf = NULL;
	sink_free(&log->sink);
}
