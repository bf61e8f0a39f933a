/* SPDX-License-Identifier: MIT */
/* What attach_target tells attach_test, in a shared page. */
#include <stdatomic.h>

struct attach_shared {
	_Atomic long ready, stop, errors, interrupted, epolls;
	_Atomic long calls[64];
};
