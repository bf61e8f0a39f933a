/* SPDX-License-Identifier: MIT */
/*
 * The agent's view of code (agent/place.c) in a test program: of what is mapped here and not patched.
 */
#ifndef LIMPET_TESTS_ATTACH_SELF_H
#define LIMPET_TESTS_ATTACH_SELF_H

#include "agent/state.h"

/* Reads /proc/self/maps into agent.regions. */
void self_read_maps(void);

/* An anonymous, writable and executable page within reach of `near`. */
u8 *self_page_near(u64 near);

/* Plans a probe as the agent does, with its trampoline at `tramp`, where it is written. */
enum attach_error self_plan(u64 addr, u8 *tramp, const struct attach_call *call,
			    struct attach_plan *ret, struct attach_refusal *ret_why);

/* Where it is refused: is there room for a punned jump? */
bool self_pun(u64 addr, const struct attach_call *call);

#endif
