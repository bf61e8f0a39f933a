/* SPDX-License-Identifier: MIT */
/* Bitonic sort of 256 pseudo-random ints: a sort whose loops the kernel's verifier can follow. */
#include "program.h"

#define COUNT 256

u32 sort_values[COUNT], sort_seed;

PROGRAM(sort)
{
	u32 x = sort_seed + 12345, sum = 0;

	for (u32 i = 0; i < COUNT; i++) {
		x = x * 1664525u + 1013904223u;
		sort_values[i] = x >> 8;
	}
	for (u32 size = 2; size <= COUNT; size *= 2)
		for (u32 gap = size / 2; gap; gap /= 2)
			for (u32 i = 0; i < COUNT; i++) {
				u32 j = (i ^ gap) & (COUNT - 1), a, b;

				if (j <= i)
					continue;
				a = sort_values[i];
				b = sort_values[j];
				if ((a > b) == !(i & size)) {
					sort_values[i] = b;
					sort_values[j] = a;
				}
			}
	for (u32 i = 0; i < COUNT; i++)
		sum = sum * 31 + sort_values[i];
	return (int)sum;
}
