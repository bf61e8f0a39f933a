/* SPDX-License-Identifier: MIT */
/*
 * The log buffer of BPF_PROG_LOAD and BPF_BTF_LOAD. Text is gathered in memory of our own and
 * copied out once: what does not fit loses its beginning, or with LOG_FIXED its end, and the call
 * is ENOSPC.
 */
#ifndef LIMPET_LOADER_LOG_H
#define LIMPET_LOADER_LOG_H

#include "bpf/check.h"
#include "verifier/sink.h"
#include "loader/loader.h"

#define LOG_LEVEL1 1u /* what was looked at */
#define LOG_LEVEL2 2u
#define LOG_STATS  4u /* one line of totals */
#define LOG_FIXED  8u

struct loader_log {
	struct bpf_log text;
	struct verifier_sink sink; /* the verifier's part, which can be long */
	u32 level;
	u32 size;
	u64 user;
};

HIDDEN int log_init(struct loader_log *log, u32 level, u64 user,
		    u32 size); /* 0, -EINVAL, -ENOMEM */
/* What was written to `text` so far goes before what the sink gets next. */
HIDDEN void log_take(struct loader_log *log);
/*
 * Copies out and stores the true size in the caller's attr where it has the field. The call's
 * result.
 */
HIDDEN long log_finish(struct loader_log *log, const struct loader_call *c, size_t true_size_off,
		       long result);
HIDDEN void log_free(struct loader_log *log);

#endif
