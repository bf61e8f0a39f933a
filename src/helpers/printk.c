/* SPDX-License-Identifier: MIT */
/*
 * trace_printk and trace_vprintk: formats into the session's trace log. The part of the kernel's
 * format language that programs use most: %d %i %u %x %X %c %s %p, with l, ll, h, hh, a width, `-`,
 * `0` and `#`; anything else is -EINVAL, as the kernel answers what it does not know.
 */
#include "helpers/internal.h"
#include "session/trace.h"
#include "base/mem.h"

struct text {
	char buf[TRACE_TEXT];
	u32 len;
};

struct spec {
	bool left, zero, alt;
	u32 width;
	int length; /* 0: int, 1: long or long long, -1: short, -2: char */
	char conv;
};

static void put(struct text *t, char c)
{
	if (t->len < sizeof(t->buf))
		t->buf[t->len++] = c;
}

static void put_padded(struct text *t, const struct spec *s, const char *prefix, const char *body, u32 len)
{
	u32 total = len + (u32)strlen(prefix), pad = s->width > total ? s->width - total : 0;

	if (!s->left && !s->zero)
		for (u32 i = 0; i < pad; i++)
			put(t, ' ');
	while (*prefix)
		put(t, *prefix++);
	if (!s->left && s->zero)
		for (u32 i = 0; i < pad; i++)
			put(t, '0');
	while (len--)
		put(t, *body++);
	if (s->left)
		for (u32 i = 0; i < pad; i++)
			put(t, ' ');
}

static void put_number(struct text *t, const struct spec *s, u64 v)
{
	bool is_signed = s->conv == 'd' || s->conv == 'i', upper = s->conv == 'X';
	u32 base = s->conv == 'x' || upper || s->conv == 'p' ? 16 : 10, n = 0;
	const char *prefix = base == 16 && s->alt ? (upper ? "0X" : "0x") : "";
	char digits[24];

	if (s->length == 0)
		v = is_signed ? (u64)(s64)(s32)v : (u32)v;
	else if (s->length == -1)
		v = is_signed ? (u64)(s64)(s16)v : (u16)v;
	else if (s->length == -2)
		v = is_signed ? (u64)(s64)(s8)v : (u8)v;
	if (is_signed && (s64)v < 0) {
		prefix = "-";
		v = 0 - v;
	}
	do
		digits[sizeof(digits) - ++n] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
	while (v /= base);
	put_padded(t, s, prefix, digits + sizeof(digits) - n, n);
}

/* Parses what follows a '%'; the place after it, or NULL. */
static const char *parse_spec(const char *f, const char *end, struct spec *s)
{
	*s = (struct spec){0};
	for (; f < end && (*f == '-' || *f == '0' || *f == '#'); f++) {
		s->left |= *f == '-';
		s->zero |= *f == '0';
		s->alt |= *f == '#';
	}
	for (; f < end && *f >= '0' && *f <= '9' && s->width < TRACE_TEXT; f++)
		s->width = s->width * 10 + (u32)(*f - '0');
	for (; f < end && (*f == 'l' || *f == 'h'); f++)
		s->length = *f == 'l' ? 1 : s->length - 1;
	if (f >= end || s->length < -2)
		return NULL;
	s->conv = *f;
	return f + 1;
}

static bool put_argument(struct text *t, struct spec *s, u64 v)
{
	char str[TRACE_TEXT];
	long n;

	switch (s->conv) {
	case 'd':
	case 'i':
	case 'u':
	case 'x':
	case 'X':
		put_number(t, s, v);
		return true;
	case 'p':
		s->length = 1;
		s->width = s->width ? s->width : 16;
		s->zero = !s->left;
		put_number(t, s, v);
		return true;
	case 'c':
		str[0] = (char)v;
		put_padded(t, s, "", str, 1);
		return true;
	case 's':
		n = help_copy_str(str, v, sizeof(str));
		s->zero = false;
		if (n < 0)
			put_padded(t, s, "", "", 0);
		else
			put_padded(t, s, "", str, (u32)n - 1);
		return true;
	default:
		return false;
	}
}

static long format_text(struct text *t, const char *fmt, u64 size, const u64 *args, u32 count)
{
	const char *end = fmt + size, *f = fmt;
	u32 used = 0;
	struct spec s;

	if (!size || fmt[size - 1])
		return -HELPER_EINVAL;
	while (f < end && *f) {
		if (*f != '%') {
			put(t, *f++);
			continue;
		}
		if (f[1] == '%') {
			put(t, '%');
			f += 2;
			continue;
		}
		f = parse_spec(f + 1, end, &s);
		if (!f || used >= count || !put_argument(t, &s, args[used++]))
			return -HELPER_EINVAL;
	}
	return t->len;
}

static u64 trace_text(struct vm_run *run, const char *fmt, u64 size, const u64 *args, u32 count)
{
	const struct helper_env *env = run->env;
	struct trace_slot head;
	struct text t;
	long n;
	u64 id, name[2];

	t.len = 0;
	n = format_text(&t, fmt, size, args, count);
	if (n < 0 || !env->trace)
		return (u64)n;
	id = help_identity(env);
	help_thread_name(env, name);
	head.time_ns = help_clock(env, 1);
	head.pid = (u32)(id >> 32);
	head.tid = (u32)id;
	head.cpu = (u32)help_cpu(0, 0, 0, 0, 0, run);
	memcpy(head.comm, name, sizeof(head.comm));
	trace_write(env->trace, &head, t.buf, t.len);
	return (u64)n;
}

u64 help_trace_printk(u64 fmt, u64 size, u64 a, u64 b, u64 c, struct vm_run *run)
{
	u64 args[3] = {a, b, c};

	return trace_text(run, (const char *)fmt, size, args, 3);
}

u64 help_trace_vprintk(u64 fmt, u64 size, u64 data, u64 len, u64 r5, struct vm_run *run)
{
	if (len % 8 || len > 12 * 8)
		return (u64)-HELPER_EINVAL;
	return trace_text(run, (const char *)fmt, size, (const u64 *)data, (u32)(len / 8));
}
