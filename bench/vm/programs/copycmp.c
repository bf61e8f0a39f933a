/* SPDX-License-Identifier: MIT */
/* strcpy and strcmp over a buffer, byte by byte. */
#include "program.h"

#define SIZE 512

u8 copy_from[SIZE], copy_to[SIZE];

PROGRAM(copycmp)
{
	u32 i, equal = 0;

	for (i = 0; i < SIZE - 1; i++)
		copy_from[i] = (u8)(i | 1);
	for (i = 0; i < SIZE; i++) {
		u8 c = copy_from[i];

		copy_to[i] = c;
		if (!c)
			break;
	}
	for (i = 0; i < SIZE; i++) {
		if (copy_from[i] != copy_to[i])
			break;
		equal++;
		if (!copy_from[i])
			break;
	}
	return (int)equal;
}
