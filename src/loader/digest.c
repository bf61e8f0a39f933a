/* SPDX-License-Identifier: MIT */
/*
 * See digest.h. Both work on blocks of 64 bytes, padded with 0x80, zeroes and the length in bits.
 */
#include "loader/digest.h"

#include <string.h>

static u32 rotl(u32 x, int n)
{
	return x << n | x >> (32 - n);
}

static u32 rotr(u32 x, int n)
{
	return x >> n | x << (32 - n);
}

static void sha1_block(u32 *h, const u32 in[16])
{
	u32 w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

	memcpy(w, in, 64);
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

static void sha256_block(u32 *h, const u32 in[16])
{
	static const u32 k[64] = {
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
		0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
		0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
		0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
		0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
		0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
		0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
		0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
		0xc67178f2,
	};
	u32 w[64], v[8];

	memcpy(w, in, 64);
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + (rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       w[i - 7] + (rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(v, h, sizeof(v));
	for (int i = 0; i < 64; i++) {
		const u32 t1 = v[7] + (rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25)) +
			       ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
		const u32 t2 = (rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22)) +
			       ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

		memmove(v + 1, v, 7 * sizeof(*v));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		h[i] += v[i];
}

static void feed(void (*block)(u32 *h, const u32 in[16]), u32 *h, const u8 *p)
{
	u32 w[16];

	for (int i = 0; i < 16; i++, p += 4)
		w[i] = (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
	block(h, w);
}

static void digest(void (*block)(u32 *h, const u32 in[16]), u32 *h, int words, const u8 *p,
		   u64 size, u8 *ret)
{
	const u64 left = size % 64, end = left < 56 ? 64 : 128;
	u8 tail[128] = {0};

	for (u64 i = 0; i < size - left; i += 64)
		feed(block, h, p + i);
	memcpy(tail, p + size - left, left);
	tail[left] = 0x80;
	for (u64 i = 0; i < 8; i++)
		tail[end - 1 - i] = (u8)(size * 8 >> 8 * i);
	for (u64 i = 0; i < end; i += 64)
		feed(block, h, tail + i);
	for (int i = 0; i < 4 * words; i++)
		ret[i] = (u8)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void sha1(const void *data, u64 size, u8 ret_digest[20])
{
	u32 h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

	digest(sha1_block, h, 5, data, size, ret_digest);
}

void sha256(const void *data, u64 size, u8 ret_digest[32])
{
	u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

	digest(sha256_block, h, 8, data, size, ret_digest);
}
