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
	log->text.buf = calloc(1, LOG_ROOM);
	log->text.size = LOG_ROOM;
	return log->text.buf ? 0 : -ENOMEM;
}

long log_finish(struct loader_log *log, const struct loader_call *c, size_t true_size_off,
		long result)
{
	const char *text = log->text.buf;
	u32 len = (u32)(log->text.len < LOG_ROOM ? log->text.len : LOG_ROOM - 1), room = log->size;
	u32 true_size = log->level ? len + 1 : 0;
	long err = 0;

	if (log->level && room) {
		const char nul = 0;
		u32 n = len < room ? len : room - 1;

		if (!(log->level & LOG_FIXED))
			text += len - n;
		err = user_write(log->user, text, n);
		if (!err)
			err = user_write(log->user + n, &nul, 1);
		if (!err && true_size > room)
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
}
