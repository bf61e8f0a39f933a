/* SPDX-License-Identifier: MIT */
/*
 * Messages to the user: one line on the standard error the tool was started with (a duplicate of
 * it, since tools put /dev/null there around BPF_PROG_LOAD). Only for what a tool would otherwise
 * misreport.
 */
#ifndef LIMPET_LOADER_SAY_H
#define LIMPET_LOADER_SAY_H

#include "base/types.h"

HIDDEN void loader_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
HIDDEN void loader_say_open(void); /* takes the duplicate, once */

#endif
