/* SPDX-License-Identifier: MIT */
#include "cli/object.h"
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/maps.h"
#include "session/trace.h"

#define MANY_ELEMENTS 64 /* of a map, that are shown */
#define PERF_PAGES    64

/* A buffer of the object, and how the records last seen in it are shown. */
struct buffer {
	struct shown_object *shown;
	const char *name;
	size_t size;
	u32 type;
};

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

/* The type to show records of `size` bytes by; 0: none. Perf rings pad: what is shorter by less than 8 fits too. */
static u32 record_type(const struct shown_object *o, size_t size)
{
	const struct btf *btf = bpf_object__btf(o->object);
	u32 n = btf ? btf__type_cnt(btf) : 0, found = 0;

	for (u32 id = 1; id < n; id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);
		const char *name = btf__name_by_offset(btf, t->name_off);
		s64 bytes = btf__resolve_size(btf, id);

		if (!name || bytes <= 0 || (size_t)bytes > size || size - (size_t)bytes >= 8)
			continue;
		if (o->type ? strcmp(name, o->type) : !btf_is_struct(t) || !(ends_in(name, "event") || ends_in(name, "event_t")))
			continue;
		if (found && !o->type) /* two that fit: bytes are no lie */
			return 0;
		found = id;
	}
	return found;
}

static const struct btf_type *stripped(const struct btf *btf, u32 id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t)))
		t = btf__type_by_id(btf, t->type);
	return t;
}

/* An array of single bytes that begins with something to read: text. */
static bool is_text(const struct btf *btf, u32 id, const u8 *data)
{
	const struct btf_type *t = stripped(btf, id);
	const struct btf_type *element = t && btf_is_array(t) ? stripped(btf, btf_array(t)->type) : NULL;

	return element && btf_is_int(element) && element->size == 1 && (!data[0] || isprint(data[0]));
}

/* name=value of each member; false, with nothing shown: no struct, or with bit fields. */
static bool show_members(const struct btf *btf, u32 id, const u8 *data)
{
	const struct btf_type *t = stripped(btf, id);
	const struct btf_member *m = t && btf_is_struct(t) ? btf_members(t) : NULL;

	if (!m || btf_kflag(t))
		return false;
	for (int i = 0; i < btf_vlen(t); i++) {
		const u8 *at = data + m[i].offset / 8;
		s64 size = btf__resolve_size(btf, m[i].type);
		struct typed *typed;
		char *text;

		printf("%s%s=", i ? " " : "", btf__name_by_offset(btf, m[i].name_off));
		if (size > 0 && is_text(btf, m[i].type, at)) {
			for (s64 k = 0; k < size && at[k]; k++)
				putchar(isprint(at[k]) ? at[k] : '.');
			continue;
		}
		typed = typed_new(btf, 0, m[i].type);
		text = typed_text(typed, false, at, size > 0 ? (size_t)size : 0);
		fputs(text ? text : "?", stdout);
		free(text);
		typed_close(typed);
	}
	return true;
}

static void show_record(struct buffer *b, const void *data, size_t size)
{
	const struct btf *btf = bpf_object__btf(b->shown->object);

	if (b->size != size) {
		b->type = record_type(b->shown, size);
		b->size = size;
	}
	if (b->type)
		printf("%s: ", b->name);
	if (!b->type || !show_members(btf, b->type, data))
		print_bytes(b->type ? "" : b->name, data, size);
	putchar('\n');
	b->shown->records++;
}

static int ring_record(void *ctx, void *data, size_t size)
{
	show_record(ctx, data, size);
	return 0;
}

static void perf_record(void *ctx, int cpu, void *data, u32 size)
{
	show_record(ctx, data, size);
}

static void perf_lost(void *ctx, int cpu, __u64 count)
{
	struct buffer *b = ctx;

	b->shown->lost += count;
	note(T("run: %s: %llu records were lost, as the buffer was full", "run：%s：缓冲区已满，丢失了 %llu 条记录"), b->name,
	     (unsigned long long)count);
}

static bool buffer_add(struct shown_object *o, struct bpf_map *map)
{
	struct buffer *b = calloc(1, sizeof(*b));
	int fd = bpf_map__fd(map);

	if (!b)
		return false;
	*b = (struct buffer){.shown = o, .name = bpf_map__name(map)};
	if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF) {
		if (o->rings)
			return !ring_buffer__add(o->rings, fd, ring_record, b);
		o->rings = ring_buffer__new(fd, ring_record, b, NULL);
		return o->rings;
	}
	if (o->perf_count == (int)ARRAY_SIZE(o->perf))
		return false;
	o->perf[o->perf_count] = perf_buffer__new(fd, PERF_PAGES, perf_record, perf_lost, b, NULL);
	return o->perf[o->perf_count] && ++o->perf_count;
}

int object_show_begin(struct shown_object *o)
{
	const struct btf *btf = bpf_object__btf(o->object);
	struct bpf_map *map;

	if (o->type && (!btf || btf__find_by_name(btf, o->type) < 0))
		return fail(EXIT_FAILED, T("run: the object's BTF has no type %s; compile it with -g, and use the type somewhere",
					   "run：目标文件的 BTF 中没有类型 %s；请用 -g 编译，并在程序中用到该类型"), o->type);
	bpf_object__for_each_map(map, o->object) {
		u32 type = bpf_map__type(map);

		if ((type == BPF_MAP_TYPE_RINGBUF || type == BPF_MAP_TYPE_PERF_EVENT_ARRAY) && !buffer_add(o, map))
			return fail(EXIT_FAILED, T("run: the buffer %s cannot be read: %s; try a smaller one", "run：无法读取缓冲区 %s：%s；请试用较小的"),
				    bpf_map__name(map), error_text(errno));
	}
	return 0;
}

/* What programs print from now on; what was there before is passed over. */
static void show_trace(struct shown_object *o, struct store *s)
{
	struct trace_message t;
	bool first = !o->trace;
	u64 lost = o->trace_lost;

	if (first)
		o->trace = trace_open(s);
	if (!o->trace)
		return;
	while (trace_read(o->trace, &o->cursor, &t, &lost) > 0)
		if (!first)
			trace_print_message(&t);
	if (lost != o->trace_lost && !first)
		note(T("run: %llu printed messages were lost", "run：丢失了 %llu 条打印消息"), (unsigned long long)(lost - o->trace_lost));
	o->trace_lost = lost;
}

void object_show_events(struct shown_object *o, struct store *s, int ms)
{
	int waiting = o->perf_count + (o->rings != NULL);

	show_trace(o, s);
	if (o->rings)
		ring_buffer__poll(o->rings, ms / waiting);
	for (int i = 0; i < o->perf_count; i++)
		perf_buffer__poll(o->perf[i], ms / waiting);
	fflush(stdout);
	if (!waiting && ms)
		poll(NULL, 0, ms);
}

static bool has_per_cpu_values(u32 type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool is_keyed(u32 type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_LRU_HASH ||
	       type == BPF_MAP_TYPE_LPM_TRIE || has_per_cpu_values(type);
}

static void show_bytes_or_text(struct typed *t, bool is_key, const u8 *data, size_t size)
{
	char *text = typed_text(t, is_key, data, size);

	if (text)
		fputs(text, stdout);
	else
		print_bytes("", data, size);
	free(text);
}

static bool all_zero(const u8 *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

/* Numbers of all processors are added up; anything else is shown for each that has something. */
static void show_per_cpu(struct typed *t, const u8 *value, size_t size, int cpus)
{
	size_t stride = ALIGN_UP(size, 8);
	u64 sum = 0;

	if (size == 4 || size == 8) {
		for (int cpu = 0; cpu < cpus; cpu++)
			sum += size == 8 ? *(const u64 *)(value + cpu * stride) : *(const u32 *)(value + cpu * stride);
		printf("%llu", (unsigned long long)sum);
		return;
	}
	for (int cpu = 0; cpu < cpus; cpu++)
		if (!all_zero(value + cpu * stride, size)) {
			printf(" [%d] ", cpu);
			show_bytes_or_text(t, false, value + cpu * stride, size);
		}
}

static void show_elements(struct bpf_map *map, struct typed *t, u8 *key, u8 *value, int cpus)
{
	int fd = bpf_map__fd(map), n = 0;
	u32 type = bpf_map__type(map), key_size = bpf_map__key_size(map), size = bpf_map__value_size(map);
	bool per_cpu = has_per_cpu_values(type), is_array = type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
	size_t whole = per_cpu ? ALIGN_UP(size, 8) * (size_t)cpus : size;

	for (void *before = NULL; !bpf_map_get_next_key(fd, before, key); before = key) {
		memset(value, 0, whole);
		if (bpf_map_lookup_elem(fd, key, value) || (is_array && all_zero(value, whole)) || ++n > MANY_ELEMENTS)
			continue;
		printf("%s[", bpf_map__name(map));
		show_bytes_or_text(t, true, key, key_size);
		printf("] = ");
		if (per_cpu)
			show_per_cpu(t, value, size, cpus);
		else
			show_bytes_or_text(t, false, value, size);
		putchar('\n');
	}
	if (n > MANY_ELEMENTS)
		printf(T("%s: %d more; `limpet map dump` shows all while a tool runs\n", "%s：另有 %d 项；工具运行时可用 `limpet map dump` 查看全部\n"),
		       bpf_map__name(map), n - MANY_ELEMENTS);
}

/* Global variables, .bss and .data: one element, whose type lists them. */
static bool is_variables(struct bpf_map *map)
{
	const char *name = bpf_map__name(map);

	return bpf_map__is_internal(map) && (ends_in(name, ".bss") || ends_in(name, ".data"));
}

static void show_variables(const struct btf *btf, struct bpf_map *map, u8 *value)
{
	const struct btf_type *section = btf ? btf__type_by_id(btf, bpf_map__btf_value_type_id(map)) : NULL;
	const struct btf_var_secinfo *v = section && btf_is_datasec(section) ? btf_var_secinfos(section) : NULL;
	u32 zero = 0, size = bpf_map__value_size(map);

	if (!v || bpf_map_lookup_elem(bpf_map__fd(map), &zero, value))
		return;
	for (int i = 0; i < btf_vlen(section); i++) {
		const struct btf_type *var = btf__type_by_id(btf, v[i].type);
		struct typed *t;

		if (v[i].offset > size || v[i].size > size - v[i].offset || all_zero(value + v[i].offset, v[i].size))
			continue;
		t = typed_new(btf, 0, var->type);
		printf("%s = ", btf__name_by_offset(btf, var->name_off));
		show_bytes_or_text(t, false, value + v[i].offset, v[i].size);
		putchar('\n');
		typed_close(t);
	}
}

void object_show_maps(struct shown_object *o)
{
	const struct btf *btf = bpf_object__btf(o->object);
	int cpus = libbpf_num_possible_cpus();
	struct bpf_map *map;

	bpf_object__for_each_map(map, o->object) {
		size_t size = ALIGN_UP((size_t)bpf_map__value_size(map), 8) * (size_t)(cpus > 0 ? cpus : 1);
		struct typed *t = typed_new(btf, bpf_map__btf_key_type_id(map), bpf_map__btf_value_type_id(map));
		u8 *key = malloc(bpf_map__key_size(map) + 8), *value = malloc(size + 8);

		if (key && value && is_variables(map))
			show_variables(btf, map, value);
		else if (cpus > 0 && key && value && is_keyed(bpf_map__type(map)) && !bpf_map__is_internal(map))
			show_elements(map, t, key, value, cpus);
		free(key);
		free(value);
		typed_close(t);
	}
}
