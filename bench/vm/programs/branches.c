/* SPDX-License-Identifier: MIT */
/*
 * A branchy switch: a small machine that runs 256 pseudo-random operations on two registers, which
 * are kept in memory so that the kernel's verifier need not tell their values apart.
 */
#include "program.h"

#define STEPS 256

volatile u32 branches_a, branches_b;
u8 branches_ops[STEPS];
u32 branches_seed;

PROGRAM(branches)
{
	u32 x = branches_seed + 2463534242u;

	branches_a = 1;
	branches_b = 2;
	for (u32 i = 0; i < STEPS; i++) {
		x = x * 1664525u + 1013904223u;
		branches_ops[i] = (u8)(x >> 28);
	}
	for (u32 i = 0; i < STEPS; i++) {
		u32 a = branches_a, b = branches_b;

		switch (branches_ops[i]) {
		case 0:
			a += b;
			break;
		case 1:
			a ^= b;
			break;
		case 2:
			a -= i;
			break;
		case 3:
			b += a << 1;
			break;
		case 4:
			b ^= a >> 3;
			break;
		case 5:
			a = a * 3;
			break;
		case 6:
			b = b * 5 + 1;
			break;
		case 7:
			a = ~a;
			break;
		case 8:
			b -= a;
			break;
		case 9:
			a |= 1;
			break;
		case 10:
			b &= 0xffffff;
			break;
		case 11:
			a += i * b;
			break;
		case 12:
			if (a > b)
				a = b;
			break;
		case 13:
			if (b & 1)
				b = a;
			break;
		case 14:
			a = (a << 7) | (a >> 25);
			break;
		default:
			b = a ^ i;
			break;
		}
		branches_a = a;
		branches_b = b;
	}
	return (int)(branches_a ^ branches_b);
}
