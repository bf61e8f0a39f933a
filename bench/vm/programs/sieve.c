/* SPDX-License-Identifier: MIT */
/* The primes below 4096. */
#include "program.h"

#define LIMIT 4096

u8 sieve_composite[LIMIT];
u32 sieve_less;

PROGRAM(sieve)
{
	u32 i, j, count = 0, limit = LIMIT - (sieve_less & 1);

	for (i = 0; i < limit && i < LIMIT; i++)
		sieve_composite[i] = (u8)(i < 2);
	for (i = 2; i < 64; i++) {
		if (sieve_composite[i])
			continue;
		for (j = i * i; j < LIMIT; j += i)
			sieve_composite[j] = 1;
	}
	for (i = 0; i < limit && i < LIMIT; i++)
		if (!sieve_composite[i])
			count++;
	return (int)count;
}
