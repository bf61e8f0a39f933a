/* SPDX-License-Identifier: MIT */
/*
 * Keys and values of maps as text: read from arguments, shown as bytes, and, where the map's creator
 * gave BTF, by its types.
 */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "cli/maps.h"

static bool append_hex(const char *digits, u8 *buf, size_t max, size_t *n)
{
	size_t count = strlen(digits);

	if (!count || count % 2 || strspn(digits, "0123456789abcdefABCDEF") != count)
		return false;
	for (; *digits; digits += 2, (*n)++) {
		char two[3] = {digits[0], digits[1], 0};

		if (*n < max)
			buf[*n] = (u8)strtoul(two, NULL, 16);
	}
	return true;
}

/* A number of `len` bytes, 0 or 0x or negative; little-endian, as the machine. */
static bool append_number(const char *text, size_t len, u8 *buf, size_t max, size_t *n)
{
	bool negative = *text == '-';
	char *end;
	u64 v, limit = len < 8 ? 1ULL << (8 * len) : 0;

	errno = 0;
	v = strtoull(text + negative, &end, 0);
	if (!isdigit((unsigned char)text[negative]) || *end || errno)
		return false;
	if (negative ? v > (limit ? limit / 2 : 1ULL << 63) : limit && v >= limit)
		return false;
	v = negative ? -v : v;
	if (*n + len <= max)
		memcpy(buf + *n, &v, len);
	*n += len;
	return true;
}

static bool append(const char *arg, size_t plain, u8 *buf, size_t max, size_t *n)
{
	size_t len = plain;
	char *end;

	if (!strncmp(arg, "str:", 4)) {
		len = strlen(arg + 4);
		if (*n + len <= max)
			memcpy(buf + *n, arg + 4, len);
		*n += len;
		return true;
	}
	if (!strncmp(arg, "hex:", 4))
		return append_hex(arg + 4, buf, max, n);
	if (arg[0] == 'u' && strchr(arg, ':')) {
		len = strtoul(arg + 1, &end, 10) / 8;
		if (*end != ':' || (len != 1 && len != 2 && len != 4 && len != 8))
			return false;
		arg = end + 1;
	}
	return append_number(arg, len, buf, max, n);
}

int value_parse(const char *what, const char *map, char **args, int *count, u8 *buf, u32 size)
{
	bool whole = *count == 1 && (size == 1 || size == 2 || size == 4 || size == 8);
	size_t n = 0;
	int i;

	for (i = 0; i < *count && (n < size || (!size && !n)); i++)
		if (!append(args[i], whole ? size : 1, buf, size, &n))
			return fail(EXIT_USAGE, T("map: '%s' is not a value, or too large; write a number, bytes (1 0x2), u32:5, u64:9, hex:00ff or str:text",
						  "map：“%s”不是值，或超出范围；请写一个数、若干字节（1 0x2）、u32:5、u64:9、hex:00ff 或 str:文本"), args[i]);
	if (n != size)
		return fail(EXIT_USAGE, T("map: a %s of %s has %u bytes, %zu were given; see `limpet map --help`",
					  "map：%2$s 的%1$s有 %3$u 字节，给出了 %4$zu 字节；见 `limpet map --help`"),
			    what, map, size, n);
	*count = i;
	return 0;
}

void print_bytes(const char *what, const u8 *p, size_t n)
{
	printf("%s:", what);
	for (size_t i = 0; i < n; i++)
		printf(" %02x", p[i]);
	printf("  |");
	for (size_t i = 0; i < n; i++)
		putchar(isprint(p[i]) ? p[i] : '.');
	putchar('|');
}

void add_hex(struct json_object *o, const char *key, const u8 *p, size_t n)
{
	char *text = malloc(2 * n + 1);

	if (!text)
		return;
	for (size_t i = 0; i < n; i++)
		sprintf(text + 2 * i, "%02x", p[i]);
	text[2 * n] = 0;
	json_object_object_add(o, key, json_object_new_string(text));
	free(text);
}

struct typed {
	const struct btf *btf;
	struct btf *own; /* the same, where it is ours to free */
	struct btf_dump *dump;
	u32 key, value; /* types; 0: none */
	FILE *out;      /* where the dump being made goes */
};

static void dump_text(void *arg, const char *fmt, va_list ap)
{
	struct typed *t = arg;

	vfprintf(t->out, fmt, ap);
}

static int be_quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0;
}

struct typed *typed_new(const struct btf *btf, u32 key, u32 value)
{
	struct typed *t = calloc(1, sizeof(*t));

	if (t && btf) {
		t->btf = btf;
		t->dump = btf_dump__new(btf, dump_text, t, NULL);
		t->key = key;
		t->value = value;
	}
	return t;
}

struct typed *typed_open(struct store *s, const struct map_def *def)
{
	struct btf_file *f = NULL;
	struct btf *btf = NULL;
	struct typed *t;
	u64 size = 0;
	int err;

	libbpf_set_print(be_quiet);
	if (def->btf_id)
		f = store_map_object(s, OBJ_BTF, def->btf_id, &size, &err);
	if (f && f->data_off <= size && f->data_size <= size - f->data_off)
		btf = btf__new((u8 *)f + f->data_off, f->data_size);
	if (f)
		munmap(f, size);
	t = typed_new(btf, def->btf_key_type_id, def->btf_value_type_id);
	if (t)
		t->own = btf;
	return t;
}

void typed_close(struct typed *t)
{
	if (!t)
		return;
	btf_dump__free(t->dump);
	btf__free(t->own);
	free(t);
}

char *typed_text(struct typed *t, bool is_key, const u8 *data, size_t size)
{
	LIBBPF_OPTS(btf_dump_type_data_opts, opts, .compact = true, .skip_names = true, .emit_zeroes = true);
	u32 type = !t ? 0 : is_key ? t->key : t->value;
	char *text = NULL;
	size_t n;
	bool good;

	if (!type || !t->dump || btf__resolve_size(t->btf, type) != (s64)size)
		return NULL;
	t->out = open_memstream(&text, &n);
	if (!t->out)
		return NULL;
	good = btf_dump__dump_type_data(t->dump, type, data, size, &opts) > 0;
	fclose(t->out);
	if (good)
		return text;
	free(text);
	return NULL;
}
