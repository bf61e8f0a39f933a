/* SPDX-License-Identifier: MIT */
/* Numbers out of text, and comparing it, as the kernel's helpers do it (kernel/bpf/helpers.c). */
#include "helpers/internal.h"
#include "base/mem.h"

#define BASE_MASK 0x1fULL
#define WORK_MAX  63 /* characters the kernel looks at after blanks and sign */

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == (char)0xa0;
}

static u32 digit_of(char c)
{
	char low = (char)(c | 0x20);

	return c >= '0' && c <= '9'       ? (u32)c - '0'
	       : low >= 'a' && low <= 'z' ? (u32)low - 'a' + 10
					  : 99;
}

/* Digits of `base` at s; how many, or -ERANGE. */
static long digits(const char *s, u64 len, u32 base, u64 *ret)
{
	bool over = false;
	u64 v = 0, i;

	for (i = 0; i < len && digit_of(s[i]) < base; i++) {
		u64 next;

		over |= __builtin_mul_overflow(v, base, &next) ||
			__builtin_add_overflow(next, digit_of(s[i]), &v);
	}
	*ret = v;
	return over ? -ERANGE : (long)i;
}

/* Characters used, or -EINVAL, -ERANGE. */
static long parse(const char *s, u64 len, u64 flags, u64 *ret, bool *ret_negative)
{
	u32 base = flags & BASE_MASK;
	u64 at = 0, end;
	long n;

	if (!len || (base != 0 && base != 8 && base != 10 && base != 16) || flags & ~BASE_MASK)
		return -EINVAL;
	while (at < len && is_space(s[at]))
		at++;
	*ret_negative = at < len && s[at] == '-';
	at += *ret_negative;
	if (at == len)
		return -EINVAL;
	end = len - at < WORK_MAX ? len : at + WORK_MAX;
	if (!base) {
		bool hex = end - at > 2 && (s[at + 1] | 0x20) == 'x' && digit_of(s[at + 2]) < 16;

		base = s[at] != '0' ? 10 : hex ? 16 : 8;
	}
	if (base == 16 && end - at > 1 && s[at] == '0' && (s[at + 1] | 0x20) == 'x')
		at += 2;
	n = digits(s + at, end - at, base, ret);
	if (!n)
		return -EINVAL;
	return n < 0 ? n : (long)at + n;
}

u64 help_strtol(u64 buf, u64 len, u64 flags, u64 res, u64 r5, struct vm_run *run)
{
	bool negative = false;
	u64 v = 0;
	long n = parse((const char *)buf, len, flags, &v, &negative);

	*(u64 *)res = 0;
	if (n < 0)
		return (u64)n;
	if (negative ? (s64)(0 - v) > 0 : (s64)v < 0)
		return (u64)-ERANGE;
	*(u64 *)res = negative ? 0 - v : v;
	return (u64)n;
}

u64 help_strtoul(u64 buf, u64 len, u64 flags, u64 res, u64 r5, struct vm_run *run)
{
	bool negative = false;
	u64 v = 0;
	long n = parse((const char *)buf, len, flags, &v, &negative);

	*(u64 *)res = 0;
	if (n < 0)
		return (u64)n;
	if (negative)
		return (u64)-EINVAL;
	*(u64 *)res = v;
	return (u64)n;
}

u64 help_strncmp(u64 s1, u64 size, u64 s2, u64 r4, u64 r5, struct vm_run *run)
{
	const u8 *a = (const u8 *)s1, *b = (const u8 *)s2;

	if (help_const_str(run, s2) < 0)
		return (u64)-EFAULT;
	for (u64 i = 0; i < size; i++) {
		if (a[i] != b[i])
			return a[i] < b[i] ? (u64)-1 : 1;
		if (!a[i])
			break;
	}
	return 0;
}
