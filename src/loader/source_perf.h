/* SPDX-License-Identifier: MIT */
/* Perf events as sources (source.h), and the pumps of perf event arrays. */
#ifndef LIMPET_LOADER_SOURCE_PERF_H
#define LIMPET_LOADER_SOURCE_PERF_H

#include "loader/source.h"

HIDDEN bool perf_source(struct source *s);
/* Sees to it that the map is pumped here, if an event of this process takes its samples. */
HIDDEN void perf_source_start(struct map *m);

/* Wakes whoever waits for events that have got samples. */
HIDDEN void perf_source_notify(void);

#endif
