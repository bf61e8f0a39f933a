// SPDX-License-Identifier: MIT
/* The programs of the stack monitor: see probes.bpf.h. */
#define EVENT_MAP_TYPE BPF_MAP_TYPE_STACK
#include "probes.bpf.h"
