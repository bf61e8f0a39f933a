/* SPDX-License-Identifier: MIT */
/*
 * What trace_printk, trace_vprintk and snprintf write: the format language of bpf/format.h as the kernel's vsnprintf()
 * prints it. What that refuses is -EINVAL before anything is written. Arguments share 512 bytes in the kernel, strings included:
 * -ENOSPC when they do not fit, and strings are cut there. Where a kernel hides what a pointer is
 * (p, pK) limpet prints it: it is the process's own. Symbols of the kernel (ps, pS, pB) are numbers
 * here.
 */
#include "helpers/internal.h"
#include "base/mem.h"
#include "bpf/format.h"

#define ARGS_MAX 512 /* bytes the kernel keeps arguments in */

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
static void put_field(struct help_text *t, const struct bpf_format_spec *s, char prefix,
		      const char *body, u32 len)
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

static void put_number(struct help_text *t, const struct bpf_format_spec *s, u64 v)
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

/* An address of bytes in network order: 4 of them in decimal, or 16 in hexadecimal, by twos. */
static u32 address_text(const struct bpf_format_spec *s, const u8 *a, char *out)
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

/*
 * The arguments as the kernel keeps them before it prints anything: numbers aligned to 4, strings and addresses as
 * text with its NUL.
 */
struct kept {
	char buf[ARGS_MAX];
	u32 at;
};

static bool is_made_text(const struct bpf_format_spec *s)
{
	return s->conv == 'p' && (s->kind == 'k' || s->kind == 'u' || s->kind == 'B' || s->family);
}

static int keep_string(struct kept *k, u64 v, struct vm_run *run)
{
	const u32 room = ARGS_MAX - k->at;
	long n;

	if (!room)
		return -ENOSPC;
	n = help_copy_str(run, k->buf + k->at, v, room);
	if (n < 1)
		k->buf[k->at] = 0;
	k->at += n < 1 ? 1 : (u32)n;
	return 0;
}

/* Text that is cut where it does not fit, as by the kernel's snprintf(). */
static int keep_text(struct kept *k, const char *text, u32 len)
{
	const u32 room = ARGS_MAX - k->at, n = len < room ? len : room ? room - 1 : 0;

	memcpy(k->buf + k->at, text, n);
	if (room)
		k->buf[k->at + n] = 0;
	k->at += n + (room != 0);
	return 0;
}

static int keep_address(struct kept *k, const struct bpf_format_spec *s, u64 v, struct vm_run *run)
{
	const u32 size = s->family == '4' ? 4 : 16;
	char text[64];
	u8 addr[16];

	if (ARGS_MAX - k->at < size)
		return -ENOSPC;
	if (help_copy(run, addr, v, size))
		memset(addr, 0, sizeof(addr));
	return keep_text(k, text, address_text(s, addr, text));
}

/* A symbol nobody knows; digits end at `digits` + 24. */
static u32 symbol_text(u64 v, char digits[24])
{
	u32 n = digits_of(v, 16, false, digits);

	digits[24 - ++n] = 'x';
	digits[24 - ++n] = '0';
	return n;
}

static int keep(struct kept *k, const struct bpf_format_spec *s, u64 v, struct vm_run *run)
{
	char digits[24];
	u32 n;

	if (s->family)
		return keep_address(k, s, v, run);
	if (s->kind == 'B') {
		n = symbol_text(v, digits);
		return keep_text(k, digits + 24 - n, n);
	}
	if (s->conv == 's' || is_made_text(s))
		return keep_string(k, v, run);
	if (s->conv == 'c') {
		if (k->at == ARGS_MAX)
			return -ENOSPC;
		k->buf[k->at++] = (char)v;
		return 0;
	}
	k->at = ALIGN_UP(k->at, 4U);
	if (ARGS_MAX - k->at < s->size)
		return -ENOSPC;
	memcpy(k->buf + k->at, &v, s->size);
	k->at += s->size;
	return 0;
}

static void put_pointer(struct help_text *t, struct bpf_format_spec s, u64 v)
{
	const bool symbol = s.kind == 's' || s.kind == 'S';
	char digits[24];
	u32 n = symbol ? symbol_text(v, digits) : digits_of(v, 16, false, digits);

	if (symbol) {
		s.zero = false;
	} else if (!s.width) {
		s.width = 16;
		s.zero = !s.left;
	}
	put_field(t, &s, 0, digits + 24 - n, n);
}

/* A string among the kept arguments. */
static const char *take_text(struct kept *k, u32 *ret_len)
{
	const char *text = k->buf + k->at;
	u32 len = 0;

	while (k->at + len < ARGS_MAX && text[len])
		len++;
	k->at += k->at + len < ARGS_MAX ? len + 1 : len;
	*ret_len = len;
	return text;
}

static u64 take_number(struct kept *k, u32 size)
{
	u64 v = 0;

	k->at = ALIGN_UP(k->at, size < 4 ? size : 4U);
	if (ARGS_MAX - k->at < size)
		return 0;
	memcpy(&v, k->buf + k->at, size);
	k->at += size;
	return v;
}

/* Prints one argument. */
static void put_argument(struct help_text *t, struct bpf_format_spec *s, struct kept *k)
{
	const char *text;
	char c;
	u32 len;

	if (is_made_text(
		    s)) { /* as it is; and passed over, without being taken, where the room has come to its end */
		if (t->len >= t->cap)
			return;
		text = take_text(k, &len);
		*s = (struct bpf_format_spec){.conv = 's'};
		put_field(t, s, 0, text, len);
	} else if (s->conv == 's') {
		text = take_text(k, &len);
		s->zero = false;
		put_field(t, s, 0, text, len);
	} else if (s->conv == 'c') {
		c = (char)take_number(k, 1);
		s->zero = false;
		put_field(t, s, 0, &c, 1);
	} else if (s->conv == 'p') {
		put_pointer(t, *s, take_number(k, s->size));
	} else {
		put_number(t, s, take_number(k, s->size));
	}
}

/* Keeps the arguments of a format that was looked over. */
static int keep_all(struct kept *k, const char *f, const char *end, const u64 *args, u32 count,
		    struct vm_run *run)
{
	struct bpf_format_spec s;
	u32 used = 0;
	int err = 0;
	u8 c;

	k->at = 0;
	while (!err && (c = bpf_format_at(f, end)) != 0) {
		if (c != '%' || bpf_format_at(f + 1, end) == '%') {
			f += 1 + (c == '%');
			continue;
		}
		f = bpf_format_parse(f + 1, end, &s);
		err = !f || used >= count ? -EINVAL /* it has changed */
					  : keep(k, &s, args[used++], run);
	}
	return err;
}

int help_format(struct help_text *t, const char *fmt, u64 size, const u64 *args, u32 count,
		struct vm_run *run)
{
	const char *f = fmt, *end = fmt + size;
	struct bpf_format_spec s;
	struct kept kept;
	int err;
	u8 c;

	err = bpf_format_check(fmt, end, count);
	if (!err)
		err = keep_all(&kept, fmt, end, args, count, run);
	if (err)
		return err;
	kept.at = 0;
	while (f && (c = bpf_format_at(f, end)) != 0) {
		if (c != '%' || bpf_format_at(f + 1, end) == '%') {
			put(t, (char)c);
			f += 1 + (c == '%');
			continue;
		}
		f = bpf_format_parse(f + 1, end, &s);
		if (f)
			put_argument(t, &s, &kept);
	}
	if (t->cap)
		t->buf[t->len < t->cap ? t->len : t->cap - 1] = 0;
	return 0;
}
