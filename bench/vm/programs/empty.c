/* SPDX-License-Identifier: MIT */
/* Entering and leaving. */
#include "program.h"

PROGRAM(empty)
{
	return 0;
}
