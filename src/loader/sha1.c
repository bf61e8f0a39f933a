/* SPDX-License-Identifier: MIT */
/* See sha1.h. */
#include "loader/sha1.h"

#include <string.h>

static u32 rotl(u32 x, int n)
{
	return x << n | x >> (32 - n);
}

static void block(u32 h[5], const u8 *p)
{
	u32 w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

	for (int i = 0; i < 16; i++, p += 4)
		w[i] = (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
	for (int i = 16; i < 80; i++)
		w[i] = rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (int i = 0; i < 80; i++) {
		u32 f, k, t;

		if (i < 20)
			f = (b & c) | (~b & d), k = 0x5a827999;
		else if (i < 40)
			f = b ^ c ^ d, k = 0x6ed9eba1;
		else if (i < 60)
			f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
		else
			f = b ^ c ^ d, k = 0xca62c1d6;
		t = rotl(a, 5) + f + e + k + w[i];
		e = d;
		d = c;
		c = rotl(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

void sha1(const void *data, u64 size, u8 ret_digest[20])
{
	u32 h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	const u64 whole = size & ~63ULL, left = size - whole;
	u8 tail[128] = {0};
	const u8 *p = data;

	for (u64 i = 0; i < whole; i += 64)
		block(h, p + i);
	memcpy(tail, p + whole, left);
	tail[left] = 0x80;
	const u64 end = left < 56 ? 64 : 128;

	for (int i = 0; i < 8; i++)
		tail[end - 1 - (u64)i] = (u8)(size * 8 >> (8 * i));
	for (u64 i = 0; i < end; i += 64)
		block(h, tail + i);
	for (int i = 0; i < 20; i++)
		ret_digest[i] = (u8)(h[i / 4] >> (24 - 8 * (i % 4)));
}
