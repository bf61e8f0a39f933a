/* SPDX-License-Identifier: MIT */
/* SipHash-2-4 over 1 KiB (Aumasson and Bernstein, 2012). */
#include "program.h"

#define WORDS 128

u64 sip_data[WORDS], sip_key[2];

#define ROTL(x, n) (((x) << (n)) | ((x) >> (64 - (n))))
#define ROUND                                                                                      \
	do {                                                                                       \
		v0 += v1, v1 = ROTL(v1, 13), v1 ^= v0, v0 = ROTL(v0, 32);                          \
		v2 += v3, v3 = ROTL(v3, 16), v3 ^= v2;                                             \
		v0 += v3, v3 = ROTL(v3, 21), v3 ^= v0;                                             \
		v2 += v1, v1 = ROTL(v1, 17), v1 ^= v2, v2 = ROTL(v2, 32);                          \
	} while (0)

PROGRAM(siphash)
{
	u64 v0 = sip_key[0] ^ 0x736f6d6570736575ULL, v1 = sip_key[1] ^ 0x646f72616e646f6dULL;
	u64 v2 = sip_key[0] ^ 0x6c7967656e657261ULL, v3 = sip_key[1] ^ 0x7465646279746573ULL;
	u64 last = (u64)(WORDS * 8) << 56;

	for (u32 i = 0; i < WORDS; i++) {
		u64 m = sip_data[i];

		v3 ^= m;
		ROUND;
		ROUND;
		v0 ^= m;
	}
	v3 ^= last;
	ROUND;
	ROUND;
	v0 ^= last;
	v2 ^= 0xff;
	ROUND;
	ROUND;
	ROUND;
	ROUND;
	v0 ^= v1 ^ v2 ^ v3;
	return (int)(v0 ^ v0 >> 32);
}
