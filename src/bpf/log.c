/* SPDX-License-Identifier: MIT */
/* The bounded text sink of bpf/check.h: %s, %d, %+d, %u, %x, %02x, %lx, %c and %% are all that is needed. */
#include <stdarg.h>
#include "bpf/check.h"

static void put(struct bpf_log *log, char c)
{
	if (log->len + 1 < log->size) {
		log->buf[log->len] = c;
		log->buf[log->len + 1] = 0;
	}
	log->len++;
}

static void put_number(struct bpf_log *log, u64 v, u32 base)
{
	char digits[24];
	int n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	while (n)
		put(log, digits[--n]);
}

static void put_signed(struct bpf_log *log, int v, bool plus)
{
	if (v < 0)
		put(log, '-');
	else if (plus)
		put(log, '+');
	put_number(log, v < 0 ? 0 - (u64)v : (u64)v, 10);
}

void bpf_log(struct bpf_log *log, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	for (; *fmt; fmt++) {
		bool plus = false, two = false;
		unsigned int v;

		if (*fmt != '%') {
			put(log, *fmt);
			continue;
		}
		fmt++;
		if (*fmt == '+') {
			plus = true;
			fmt++;
		} else if (*fmt == '0') { /* %02x */
			two = true;
			fmt += 2;
		}
		switch (*fmt) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(log, *s);
			break;
		case 'd':
			put_signed(log, va_arg(args, int), plus);
			break;
		case 'u':
			put_number(log, va_arg(args, unsigned int), 10);
			break;
		case 'x':
			v = va_arg(args, unsigned int);
			if (two && v < 16)
				put(log, '0');
			put_number(log, v, 16);
			break;
		case 'l': /* %lx */
			fmt++;
			put_number(log, va_arg(args, unsigned long), 16);
			break;
		case 'c':
			put(log, (char)va_arg(args, int));
			break;
		default:
			put(log, '%');
		}
	}
	va_end(args);
}
