/* SPDX-License-Identifier: MIT */
/* Landing pads of a function: what function.c asks of unwind.c. */
#ifndef LIMPET_ATTACH_UNWIND_H
#define LIMPET_ATTACH_UNWIND_H

#include "attach/function.h"

/*
 * Calls pad() for the landing pad of every call site of the function, until it returns false. False
 * when it did, or when the table cannot be read.
 */
bool unwind_landing_pads(const struct attach_view *v, const struct attach_function *f,
			 bool (*pad)(void *arg, u64 addr), void *arg);

#endif
