/* SPDX-License-Identifier: MIT */
/* An arithmetic loop: a chain of multiplications, shifts and additions. */
#include "program.h"

u64 arith_seed;

PROGRAM(arith)
{
	u64 x = arith_seed + 88172645463325252ULL, sum = 0;

	for (u32 i = 0; i < 500; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		sum += x * 0x9e3779b97f4a7c15ULL + i;
	}
	return (int)(sum >> 32);
}
