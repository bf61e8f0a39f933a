/* SPDX-License-Identifier: MIT */
/* Fletcher-32 and the Internet checksum of a 1500-byte packet. */
#include "program.h"

#define WORDS 750

u16 sum_packet[WORDS];
u32 sum_words;

PROGRAM(checksum)
{
	u32 a = 1, b = 0, ones = 0, n = WORDS - (sum_words & 1);

	for (u32 i = 0; i < n && i < WORDS; i++) {
		u32 w = sum_packet[i];

		ones += w;
		a += w ^ i;
		b += a;
		a = (a & 0xffff) + (a >> 16);
		b = (b & 0xffff) + (b >> 16);
	}
	ones = (ones & 0xffff) + (ones >> 16);
	return (int)((b << 16 | (a & 0xffff)) ^ ones);
}
