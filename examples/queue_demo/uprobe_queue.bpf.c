// SPDX-License-Identifier: MIT
/* The programs of the queue monitor: see probes.bpf.h. */
#define EVENT_MAP_TYPE BPF_MAP_TYPE_QUEUE
#include "probes.bpf.h"
