/* SPDX-License-Identifier: MIT */
/* 16 x 16 matrices of 64-bit numbers. */
#include "program.h"

#define N 16

u64 mat_a[N][N], mat_b[N][N], mat_c[N][N], mat_seed;

PROGRAM(matmul)
{
	u64 sum = 0, x = mat_seed + 1;

	for (u32 i = 0; i < N; i++)
		for (u32 j = 0; j < N; j++) {
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
			mat_a[i][j] = x;
			mat_b[i][j] = x >> 7;
		}
	for (u32 i = 0; i < N; i++)
		for (u32 j = 0; j < N; j++) {
			u64 dot = 0;

			for (u32 k = 0; k < N; k++)
				dot += mat_a[i][k] * mat_b[k][j];
			mat_c[i][j] = dot;
			sum = sum * 3 + dot;
		}
	return (int)(sum ^ sum >> 32);
}
