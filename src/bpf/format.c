/* SPDX-License-Identifier: MIT */
/* The format language (bpf/format.h). */
#include <asm/errno.h>
#include "bpf/format.h"

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
static const char *parse_pointer(const char *f, const char *end, struct bpf_format_spec *s)
{
	s->size = 8;
	if (ends(bpf_format_at(f, end)))
		return f;
	s->kind = (char)bpf_format_at(f++, end);
	switch (s->kind) {
	case 'k':
	case 'u':
		return bpf_format_at(f, end) == 's' && ends(bpf_format_at(f + 1, end)) ? f + 1
										       : NULL;
	case 'K':
	case 'x':
	case 's':
	case 'S':
	case 'B':
		break;
	case 'i':
	case 'I':
		s->family = (char)bpf_format_at(f++, end);
		if (s->family != '4' && s->family != '6')
			return NULL;
		break;
	default:
		return NULL;
	}
	while (is_alnum(bpf_format_at(f, end))) /* printed as if they were part of it */
		f++;
	return f;
}

static const char *parse_flags(const char *f, const char *end, struct bpf_format_spec *s)
{
	for (;; f++) {
		switch (bpf_format_at(f, end)) {
		case '0':
			s->zero = true;
			break;
		case '+':
			s->plus = true;
			break;
		case '-':
			s->left = true;
			break;
		case ' ':
			s->space = true;
			break;
		default:
			s->zero &= !s->left;
			return f;
		}
	}
}

const char *bpf_format_parse(const char *f, const char *end, struct bpf_format_spec *s)
{
	*s = (struct bpf_format_spec){.size = 4};
	f = parse_flags(f, end, s);
	for (u8 c; is_digit(c = bpf_format_at(f, end)); f++)
		if (s->width < 1 << 24)
			s->width = s->width * 10 + c - '0';
	s->conv = (char)bpf_format_at(f++, end);
	if (s->conv == 'p')
		return parse_pointer(f, end, s);
	if (s->conv == 's')
		return ends(bpf_format_at(f, end)) ? f : NULL;
	if (s->conv == 'c')
		return f;
	for (u32 i = 0; i < 2 && s->conv == 'l'; i++) {
		s->size = 8;
		s->conv = (char)bpf_format_at(f++, end);
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

int bpf_format_check(const char *f, const char *end, u32 count)
{
	u32 used = 0;
	struct bpf_format_spec s;
	u8 c;

	while ((c = bpf_format_at(f, end)) != 0) {
		if (is_control(c))
			return -EINVAL;
		if (c != '%') {
			f++;
			continue;
		}
		if (bpf_format_at(f + 1, end) == '%') {
			f += 2;
			continue;
		}
		if (used++ >= count)
			return -EINVAL;
		f = bpf_format_parse(f + 1, end, &s);
		if (!f)
			return -EINVAL;
	}
	return 0;
}
