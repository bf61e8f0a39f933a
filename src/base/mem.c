/* SPDX-License-Identifier: MIT */
/*
 * memcpy and friends for the agent. General registers only; `rep movsb` is fast on processors with
 * FSRM/ERMS from a few dozen bytes on, short copies go by overlapping words.
 */
#define LIMPET_MEM_DEFINES
#include "base/mem.h"

typedef u64 __attribute__((may_alias, aligned(1))) u64u;
typedef u32 __attribute__((may_alias, aligned(1))) u32u;
typedef u16 __attribute__((may_alias, aligned(1))) u16u;

HIDDEN void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	return memmove(dst, src, n);
}

static void copy_short(u8 *d, const u8 *s, size_t n)
{
	if (n >= 8) {
		u64 a = *(const u64u *)s, b = *(const u64u *)(s + n - 8);

		*(u64u *)d = a;
		*(u64u *)(d + n - 8) = b;
	} else if (n >= 4) {
		u32 a = *(const u32u *)s, b = *(const u32u *)(s + n - 4);

		*(u32u *)d = a;
		*(u32u *)(d + n - 4) = b;
	} else if (n >= 2) {
		u16 a = *(const u16u *)s, b = *(const u16u *)(s + n - 2);

		*(u16u *)d = a;
		*(u16u *)(d + n - 2) = b;
	} else if (n) {
		*d = *s;
	}
}

HIDDEN void *memmove(void *dst, const void *src, size_t n)
{
	u8 *d = dst;
	const u8 *s = src;

	if (n <= 16) {
		copy_short(d, s, n);
	} else if ((uintptr_t)d - (uintptr_t)s >= n) {
		if (n > 256) {
			__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
			return dst;
		}
		for (; n > 16; n -= 8, d += 8, s += 8)
			*(u64u *)d = *(const u64u *)s;
		copy_short(d, s, n);
	} else {
		for (; n > 16; n -= 8)
			*(u64u *)(d + n - 8) = *(const u64u *)(s + n - 8);
		copy_short(d, s, n);
	}
	return dst;
}

HIDDEN void *memset(void *dst, int c, size_t n)
{
	u8 *d = dst;
	u64 v = (u8)c * 0x0101010101010101ULL;

	if (n > 256) {
		__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
		return dst;
	}
	for (; n >= 8; n -= 8, d += 8)
		*(u64u *)d = v;
	while (n--)
		*d++ = (u8)c;
	return dst;
}

HIDDEN int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n >= 8 && *(const u64u *)x == *(const u64u *)y; n -= 8, x += 8, y += 8)
		;
	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

HIDDEN size_t strlen(const char *s)
{
	const char *p = s;

	while (*p)
		p++;
	return (size_t)(p - s);
}

HIDDEN int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (u8)*a - (u8)*b;
}

HIDDEN int strncmp(const char *a, const char *b, size_t n)
{
	for (; n && *a && *a == *b; a++, b++, n--)
		;
	return n ? (u8)*a - (u8)*b : 0;
}
