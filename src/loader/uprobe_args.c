/* SPDX-License-Identifier: MIT */
/* See uprobe_args.h. */
#include "loader/uprobe_args.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <asm/ptrace.h>

#define ARRAY_MAX    64
#define SIZE_MAX_ALL 4096 /* of a record */

static const struct uprobe_type types[] = {
	{"x64", "u64", "0x%Lx", 8, false, false},
	{"u8", "u8", "%u", 1, false, false},
	{"u16", "u16", "%u", 2, false, false},
	{"u32", "u32", "%u", 4, false, false},
	{"u64", "u64", "%Lu", 8, false, false},
	{"s8", "s8", "%d", 1, true, false},
	{"s16", "s16", "%d", 2, true, false},
	{"s32", "s32", "%d", 4, true, false},
	{"s64", "s64", "%Ld", 8, true, false},
	{"x8", "u8", "0x%x", 1, false, false},
	{"x16", "u16", "0x%x", 2, false, false},
	{"x32", "u32", "0x%x", 4, false, false},
	{"char", "u8", "'%c'", 1, false, false},
	{"string", "__data_loc char[]", "\\\"%s\\\"", 4, true, true},
	{"ustring", "__data_loc char[]", "\\\"%s\\\"", 4, true, true},
};

static const struct {
	const char *name;
	u32 offset;
} registers[] = {
#define REG(n, field)                                                                              \
	{                                                                                          \
		n, offsetof(struct pt_regs, field)                                                 \
	}
	REG("r15", r15), REG("r14", r14), REG("r13", r13),      REG("r12", r12),
	REG("bp", rbp),  REG("bx", rbx),  REG("r11", r11),      REG("r10", r10),
	REG("r9", r9),   REG("r8", r8),   REG("ax", rax),       REG("cx", rcx),
	REG("dx", rdx),  REG("si", rsi),  REG("di", rdi),       REG("orig_ax", orig_rax),
	REG("ip", rip),  REG("cs", cs),   REG("flags", eflags), REG("sp", rsp),
	REG("ss", ss),
#undef REG
};

/* Names that records have for themselves. */
static const char *const reserved[] = {"common_type",  "common_flags",  "common_preempt_count",
				       "common_pid",   "common_tgid",   "__probe_ip",
				       "__probe_func", "__probe_ret_ip"};

static const struct uprobe_type *find_type(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

/* A whole number as the kernel's kstrtoull() reads it. */
static int number(const char *text, int base, u64 *ret)
{
	char *end;

	text += *text == '+';
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, base);
	return *end ? -EINVAL : -errno;
}

static int signed_number(const char *text, u64 *ret)
{
	const bool minus = *text == '-';
	int err;

	if (minus && text[1] == '+')
		return -EINVAL;
	err = number(text + minus, 0, ret);
	if (err)
		return err;
	if (*ret > (u64)INT64_MAX + minus)
		return -ERANGE;
	*ret = minus ? -*ret : *ret;
	return 0;
}

static int take_variable(const char *text, bool ret, struct uprobe_arg *a)
{
	if (!strcmp(text, "comm") || !strcmp(text, "COMM")) {
		a->base = BASE_COMM;
	} else if (!strcmp(text, "retval")) {
		a->base = BASE_RETVAL;
		return ret ? 0 : -EINVAL;
	} else if (!strcmp(text, "stack")) {
		a->base = BASE_SP;
	} else if (!strncmp(text, "stack", 5) && isdigit((unsigned char)text[5])) {
		a->base = BASE_STACK;
		return number(text + 5, 10, &a->number) ? -EINVAL : 0;
	} else {
		return -EINVAL;
	}
	return 0;
}

static int take_register(const char *name, struct uprobe_arg *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		if (!strcmp(name, registers[i].name)) {
			a->base = BASE_REG;
			a->number = registers[i].offset;
			return 0;
		}
	return -EINVAL;
}

static int add_deref(struct uprobe_arg *a, s64 offset)
{
	if (a->derefs == UPROBE_DEREFS_MAX)
		return -E2BIG;
	a->offset[a->derefs++] = offset;
	return 0;
}

static int take_address(const char *text, struct uprobe_arg *a)
{
	int err = -EINVAL;

	a->base = *text == '+' ? BASE_FILE : BASE_NUMBER;
	if (*text == '+')
		err = signed_number(text + 1, &a->number);
	else if (isdigit((unsigned char)*text))
		err = number(text, 0, &a->number);
	return err ? err : add_deref(a, 0);
}

static int take_constant(const char *text, struct uprobe_arg *a)
{
	const size_t n = strlen(text);

	if (*text != '"') {
		a->base = BASE_NUMBER;
		return *text == '-' ? signed_number(text, &a->number) : number(text, 0, &a->number);
	}
	if (n < 2 || text[n - 1] != '"')
		return -EINVAL;
	a->base = BASE_TEXT;
	memcpy(a->chars, text + 1, n - 2);
	return 0;
}

static int take_fetch(char *text, bool ret, struct uprobe_arg *a);

static int take_deref(char *text, bool ret, struct uprobe_arg *a)
{
	char *open, *close;
	u64 offset;
	int err;

	if (text[1] == 'u') {
		text[1] = *text;
		text++;
	}
	text += *text == '+';
	open = strchr(text, '(');
	if (!open)
		return -EINVAL;
	*open = 0;
	close = strrchr(open + 1, ')');
	err = signed_number(text, &offset);
	if (err || !close)
		return err ? err : -EINVAL;
	*close = 0;
	err = take_fetch(open + 1, ret, a);
	if (!err && (a->base == BASE_COMM || a->base == BASE_TEXT))
		err = -EINVAL;
	return err ? err : add_deref(a, (s64)offset);
}

static int take_fetch(char *text, bool ret, struct uprobe_arg *a)
{
	switch (*text) {
	case '$':
		return take_variable(text + 1, ret, a);
	case '%':
		return take_register(text + 1, a);
	case '@':
		return take_address(text + 1, a);
	case '\\':
		return take_constant(text + 1, a);
	case '+':
	case '-':
		return take_deref(text, ret, a);
	case '(':
		return -EOPNOTSUPP; /* names of variables, of functions of the kernel */
	default:
		return -EINVAL;
	}
}

/* "bWIDTH@OFFSET/SIZE" */
static int take_bits(const char *text, struct uprobe_arg *a)
{
	char *end;
	u64 width, offset, size;

	width = strtoull(text + 1, &end, 0);
	if (!isdigit((unsigned char)text[1]) || !width || *end != '@')
		return -EINVAL;
	text = end + 1;
	offset = strtoull(text, &end, 0);
	if (!isdigit((unsigned char)*text) || *end != '/' || number(end + 1, 0, &size))
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(types) && !a->type; i++)
		if (*types[i].name == 'u' && !types[i].string && types[i].size * 8u == size)
			a->type = &types[i];
	if (!a->type || width > size || offset > size - width)
		return -EINVAL;
	a->bit_width = (u32)width;
	a->bit_offset = (u32)offset;
	return 0;
}

/* What is behind the colon; NULL: nothing. */
static int take_type(char *text, struct uprobe_arg *a)
{
	char *open = text ? strchr(text, '[') : NULL, *close;
	const bool is_text = a->base == BASE_COMM || a->base == BASE_TEXT;
	u64 count;

	if (open) {
		*open = 0;
		close = strchr(open + 1, ']');
		if (!close || close[1])
			return -EINVAL;
		*close = 0;
		if (number(open + 1, 0, &count) || !count || count > ARRAY_MAX)
			return -EINVAL;
		a->count = (u32)count;
	}
	if (is_text && (a->count || (text && strcmp(text, "string"))))
		return -EINVAL;
	if (text && *text == 'b')
		return take_bits(text, a);
	a->type = find_type(text ? text : is_text ? "string" : "x64");
	return a->type ? 0 : -EINVAL;
}

/* What goes with what. Steps: the kernel has room for so many. */
static int check_whole(const struct uprobe_arg *a)
{
	const bool is_text = a->base == BASE_COMM || a->base == BASE_TEXT;
	const u32 steps = a->derefs + (a->bit_width != 0) + (a->count != 0) + a->type->string;

	if (a->type->string && !is_text && !a->derefs && (a->base != BASE_NUMBER || a->count))
		return -EINVAL;
	if ((a->count && !a->derefs) || a->derefs == UPROBE_DEREFS_MAX)
		return -EINVAL;
	return steps >= UPROBE_DEREFS_MAX ? -E2BIG : 0;
}

static bool is_name(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	while (isalnum((unsigned char)*name) || *name == '_')
		name++;
	return !*name;
}

/* "[NAME=]", or a name by number; what is behind it, NULL: bad. */
static const char *take_name(const char *word, u32 i, struct uprobe_arg *a)
{
	const char *is = strchr(word, '=');

	if (is && is - word > UPROBE_ARG_NAME)
		return NULL;
	if (is)
		snprintf(a->name, sizeof(a->name), "%.*s", (int)(is - word), word);
	else
		snprintf(a->name, sizeof(a->name), "arg%u", i + 1);
	for (size_t k = 0; k < ARRAY_SIZE(reserved); k++)
		if (!strcmp(a->name, reserved[k]))
			return NULL;
	return is_name(a->name) ? is ? is + 1 : word : NULL;
}

static int parse(const char *word, u32 i, bool ret, struct uprobe_arg *a)
{
	const char *text = take_name(word, i, a);
	char copy[UPROBE_ARG_TEXT + 1], *type;
	int err;

	if (!text || !*text || strlen(text) > UPROBE_ARG_TEXT)
		return -EINVAL;
	strcpy(a->text, text);
	strcpy(copy, text);
	type = strchr(copy, ':');
	if (type)
		*type++ = 0;
	err = take_fetch(copy, ret, a);
	if (!err)
		err = take_type(type, a);
	return err ? err : check_whole(a);
}

int uprobe_arg_at(const char *args, u32 i, bool ret, struct uprobe_arg *arg)
{
	char word[UPROBE_ARG_NAME + UPROBE_ARG_TEXT + 4];
	size_t n;

	for (u32 k = 0;; k++) {
		args += strspn(args, " \t");
		n = strcspn(args, " \t");
		if (!n)
			return -ENOENT;
		if (k == i)
			break;
		args += n;
	}
	if (n >= sizeof(word))
		return -EINVAL;
	memcpy(word, args, n);
	word[n] = 0;
	memset(arg, 0, sizeof(*arg));
	return parse(word, i, ret, arg);
}

static bool is_used(const char *args, u32 before, bool ret, const char *name)
{
	struct uprobe_arg a;

	for (u32 i = 0; i < before; i++)
		if (!uprobe_arg_at(args, i, ret, &a) && !strcmp(a.name, name))
			return true;
	return false;
}

static u32 arg_size(const struct uprobe_arg *a)
{
	return a->type->size * (a->count ? a->count : 1);
}

int uprobe_args_check(const char *args, bool ret)
{
	struct uprobe_arg a;
	u32 i, size = ret ? 24 : 16;
	int err;

	for (i = 0; !(err = uprobe_arg_at(args, i, ret, &a)); i++) {
		if (i == UPROBE_ARGS_MAX)
			return -E2BIG;
		if (is_used(args, i, ret, a.name))
			return -EINVAL;
		size += arg_size(&a);
	}
	return err != -ENOENT ? err : size > SIZE_MAX_ALL ? -E2BIG : 0;
}

void uprobe_args_print(FILE *f, const char *args, bool ret)
{
	struct uprobe_arg a;

	for (u32 i = 0; !uprobe_arg_at(args, i, ret, &a); i++)
		fprintf(f, " %s=%s", a.name, a.text);
}

void uprobe_args_fields(FILE *f, const char *args, bool ret)
{
	u32 offset = ret ? 24 : 16;
	struct uprobe_arg a;

	for (u32 i = 0; !uprobe_arg_at(args, i, ret, &a); i++) {
		if (a.count && a.type->string)
			fprintf(f, "\tfield:__data_loc char[][%u] %s;", a.count, a.name);
		else
			fprintf(f, "\tfield:%s %s%s;", a.type->field, a.name, a.count ? "[]" : "");
		fprintf(f, "\toffset:%u;\tsize:%u;\tsigned:%d;\n", offset, arg_size(&a),
			a.type->sign);
		offset += arg_size(&a);
	}
}

/* One value, or all of an array: of the text, or of what it is filled from. */
static void print_values(FILE *f, const struct uprobe_arg *a, bool text)
{
	const u32 n = a->count ? a->count : 1;
	const char *get = a->type->string ? "__get_str(" : "REC->",
		   *end = a->type->string ? ")" : "";

	for (u32 k = 0; k < n; k++) {
		if (text)
			fprintf(f, "%s%s", k ? "," : "", a->type->print);
		else if (a->count)
			fprintf(f, ", %s%s[%u]%s", get, a->name, k, end);
		else
			fprintf(f, ", %s%s%s", get, a->name, end);
	}
}

void uprobe_args_format(FILE *f, const char *args, bool ret)
{
	struct uprobe_arg a;

	fputs(ret ? "\nprint fmt: \"(%lx <- %lx)" : "\nprint fmt: \"(%lx)", f);
	for (u32 i = 0; !uprobe_arg_at(args, i, ret, &a); i++) {
		fprintf(f, " %s=%s", a.name, a.count ? "{" : "");
		print_values(f, &a, true);
		fputs(a.count ? "}" : "", f);
	}
	fputs(ret ? "\", REC->__probe_func, REC->__probe_ret_ip" : "\", REC->__probe_ip", f);
	for (u32 i = 0; !uprobe_arg_at(args, i, ret, &a); i++)
		print_values(f, &a, false);
	fputc('\n', f);
}
