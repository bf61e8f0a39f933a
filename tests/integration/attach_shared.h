/* SPDX-License-Identifier: MIT */
/* What targets tell the tests, in a shared page. */
#include <stdatomic.h>

struct attach_shared {
	_Atomic long ready, stop, errors, interrupted, epolls;
	_Atomic long where, what; /* of the last error: state and detail */
	_Atomic long calls[64];   /* of probed(), by thread; or rounds of a state */
};
