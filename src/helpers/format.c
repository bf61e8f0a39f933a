/* SPDX-License-Identifier: MIT */
/*
 * The format language of trace_printk, trace_vprintk and snprintf, as the kernel's
 * bpf_bprintf_prepare() admits it and its vsnprintf() prints it:
 *
 *     %[0+- ]*[width]  d i u x X, with l or ll    c    s    p
 *     p: plain, or px pK pks pus ps pS pB pI4 pI6 pi4 pi6; letters and digits after it are swallowed
 *
 * Everything else, more conversions than arguments and characters that cannot be printed are
 * -EINVAL before anything is written. Arguments share 512 bytes in the kernel, strings included:
 * -ENOSPC when they do not fit, and strings are cut there. Where a kernel hides what a pointer is
 * (p, pK) limpet prints it: it is the process's own. Symbols of the kernel (ps, pS, pB) are numbers
 * here.
 */
#include "helpers/internal.h"
#include "base/mem.h"

#define ARGS_MAX 512 /* bytes the kernel keeps arguments in */

struct spec {
	bool left, zero, plus, space;
	u32 width;
	u32 size;    /* bytes of the argument: 4 or 8 */
	char conv;   /* d i u x X c s p */
	char kind;   /* p: 0 or the letter after it; k and u mean strings */
	char family; /* pI, pi: '4' or '6' */
};

/* Letters, digits and punctuation as the kernel's ctype has them: Latin-1. */
static bool is_space(u8 c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0;
}

static bool is_digit(u8 c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(u8 c)
{
	return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
	       (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}

static bool is_punct(u8 c)
{
	return (c > ' ' && c <= '~' && !is_alnum(c)) || (c > 0xa0 && c < 0xc0) || c == 0xd7 ||
	       c == 0xf7;
}

/* After these a conversion is known to be over. */
static bool ends(u8 c)
{
	return !c || is_space(c) || is_punct(c);
}

/* What must not be in a format; bytes above are left to be UTF-8. */
static bool is_control(u8 c)
{
	return (c < ' ' && !is_space(c)) || c == 0x7f;
}

/*
 * What follows "%p", which is at f. Returns the place after it, NULL for what the kernel refuses.
 */
static const char *parse_pointer(const char *f, struct spec *s)
{
	s->size = 8;
	if (ends((u8)f[0]))
		return f;
	s->kind = *f++;
	switch (s->kind) {
	case 'k':
	case 'u':
		return f[0] == 's' && ends((u8)f[1]) ? f + 1 : NULL;
	case 'K':
	case 'x':
	case 's':
	case 'S':
	case 'B':
		break;
	case 'i':
	case 'I':
		if (*f != '4' && *f != '6')
			return NULL;
		s->family = *f++;
		break;
	default:
		return NULL;
	}
	while (is_alnum((u8)*f)) /* printed as if they were part of it */
		f++;
	return f;
}

/*
 * What follows a '%', as the kernel reads it; the place after it, or NULL. The string ends by NUL.
 */
static const char *parse_spec(const char *f, struct spec *s)
{
	*s = (struct spec){.size = 4};
	for (; *f == '0' || *f == '+' || *f == '-' || *f == ' '; f++) {
		s->zero |= *f == '0';
		s->plus |= *f == '+';
		s->left |= *f == '-';
		s->space |= *f == ' ';
	}
	for (; is_digit((u8)*f); f++)
		if (s->width < 1 << 24)
			s->width = s->width * 10 + (u32)(*f - '0');
	s->zero &= !s->left;
	s->conv = *f++;
	if (s->conv == 'p')
		return parse_pointer(f, s);
	if (s->conv == 's')
		return ends((u8)*f) ? f : NULL;
	if (s->conv == 'c')
		return f;
	for (u32 i = 0; i < 2 && s->conv == 'l'; i++) {
		s->size = 8;
		s->conv = *f++;
	}
	switch (s->conv) {
	case 'd':
	case 'i':
	case 'u':
	case 'x':
	case 'X':
		return f;
	default:
		return NULL;
	}
}

/* Looks the whole format over: -EINVAL where the kernel says so. */
static int check_format(const char *f, u32 count)
{
	u32 used = 0;
	struct spec s;

	while (*f) {
		if (is_control((u8)*f))
			return -EINVAL;
		if (*f != '%') {
			f++;
			continue;
		}
		if (f[1] == '%') {
			f += 2;
			continue;
		}
		if (used++ >= count)
			return -EINVAL;
		f = parse_spec(f + 1, &s);
		if (!f)
			return -EINVAL;
	}
	return 0;
}

static void put(struct help_text *t, char c)
{
	if (t->len < t->cap)
		t->buf[t->len] = c;
	t->len++;
}

static void put_many(struct help_text *t, char c, u32 n)
{
	u64 room = t->len < t->cap ? t->cap - t->len : 0;

	memset(t->buf + t->len, c, room < n ? room : n);
	t->len += n;
}

/* A field of `len` characters after `prefix`, in its width. Zeroes go between the two. */
static void put_field(struct help_text *t, const struct spec *s, char prefix, const char *body,
		      u32 len)
{
	u32 total = len + (prefix != 0), pad = s->width > total ? s->width - total : 0;

	if (!s->left && !s->zero)
		put_many(t, ' ', pad);
	if (prefix)
		put(t, prefix);
	if (s->zero)
		put_many(t, '0', pad);
	while (len--)
		put(t, *body++);
	if (s->left)
		put_many(t, ' ', pad);
}

static u32 digits_of(u64 v, u32 base, bool upper, char digits[24])
{
	const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	u32 n = 0;

	do
		digits[24 - ++n] = set[v % base];
	while (v /= base);
	return n;
}

static void put_number(struct help_text *t, const struct spec *s, u64 v)
{
	bool is_signed = s->conv == 'd' || s->conv == 'i';
	char digits[24], sign = 0;
	u32 n;

	if (s->size == 4)
		v = is_signed ? (u64)(s64)(s32)v : (u32)v;
	if (is_signed) {
		sign = s->plus ? '+' : s->space ? ' ' : 0;
		if ((s64)v < 0) {
			sign = '-';
			v = 0 - v;
		}
	}
	n = digits_of(v, s->conv == 'x' || s->conv == 'X' ? 16 : 10, s->conv == 'X', digits);
	put_field(t, s, sign, digits + 24 - n, n);
}

static void put_pointer(struct help_text *t, struct spec s, u64 v)
{
	char digits[24];
	u32 n = digits_of(v, 16, false, digits);

	if (s.kind == 's' || s.kind == 'S' || s.kind == 'B') { /* a symbol nobody knows */
		digits[24 - ++n] = 'x';
		digits[24 - ++n] = '0';
		s.zero = false;
		if (s.kind == 'B')
			s.width = 0;
	} else if (!s.width) {
		s.width = 16;
		s.zero = true;
	}
	put_field(t, &s, 0, digits + 24 - n, n);
}

/* An address of bytes in network order: 4 of them in decimal, or 16 in hexadecimal, by twos. */
static u32 address_text(const struct spec *s, const u8 *a, char *out)
{
	bool padded = s->kind == 'i';
	char digits[24], *p = out;

	for (u32 i = 0; i < (s->family == '4' ? 4u : 16u); i++) {
		u32 n = digits_of(a[i], s->family == '4' ? 10 : 16, false, digits);
		u32 want = s->family == '6' ? 2 : padded ? 3 : n;

		if (i && s->family == '4')
			*p++ = '.';
		else if (i && !(i % 2) && !padded)
			*p++ = ':';
		for (; want > n; want--)
			*p++ = '0';
		memcpy(p, digits + 24 - n, n);
		p += n;
	}
	return (u32)(p - out);
}

/* Takes one argument; *kept grows by what the kernel would keep of it. */
static int put_argument(struct help_text *t, struct spec *s, u64 v, u32 *kept, struct vm_run *run)
{
	bool string = s->conv == 's' || (s->conv == 'p' && (s->kind == 'k' || s->kind == 'u'));
	u32 room = ARGS_MAX - *kept;
	char str[ARGS_MAX];
	u8 addr[16];
	long n;

	if (string) {
		if (!room)
			return -ENOSPC;
		n = help_copy_str(run, str, v, room);
		if (n < 1)
			n = 1;
		*kept += (u32)n;
		s->zero = false;
		if (s->conv == 'p')
			s->width =
				0; /* the kernel has put it into the arguments already, as it is */
		put_field(t, s, 0, str, (u32)n - 1);
	} else if (s->conv == 'p' && s->family) {
		if (room < (s->family == '4' ? 4 : 16))
			return -ENOSPC;
		if (help_copy(run, addr, v, s->family == '4' ? 4 : 16))
			memset(addr, 0, sizeof(addr));
		n = address_text(s, addr, str);
		*kept += (u32)n + 1 < room ? (u32)n + 1 : room;
		*s = (struct spec){.conv = 's'}; /* likewise */
		put_field(t, s, 0, str, (u32)n);
	} else if (s->conv == 'c') {
		if (!room)
			return -ENOSPC;
		*kept += 1;
		str[0] = (char)v;
		s->zero = false;
		put_field(t, s, 0, str, 1);
	} else {
		*kept = ALIGN_UP(*kept, 4U);
		if (ARGS_MAX - *kept < s->size)
			return -ENOSPC;
		*kept += s->size;
		if (s->conv == 'p')
			put_pointer(t, *s, v);
		else
			put_number(t, s, v);
	}
	return 0;
}

int help_format(struct help_text *t, const char *fmt, const u64 *args, u32 count,
		struct vm_run *run)
{
	int err = check_format(fmt, count);
	u32 used = 0, kept = 0;
	struct spec s;

	if (err)
		return err;
	while (*fmt) {
		if (*fmt != '%' || fmt[1] == '%') {
			put(t, *fmt);
			fmt += 1 + (*fmt == '%');
			continue;
		}
		fmt = parse_spec(fmt + 1, &s);
		err = put_argument(t, &s, args[used++], &kept, run);
		if (err)
			return err;
	}
	return 0;
}
