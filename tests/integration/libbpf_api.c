/* SPDX-License-Identifier: MIT */
/*
 * libbpf's interface as a user of skeletons calls it: externs, sizes and types changed before loading, one set of two ring
 * buffers, probes attached by section and by name, pins by name and used again, BTF made and loaded. Every line of its output
 * is the same on the kernel and with limpet (tool_libbpf_api.py). argv[1]: a directory for pins.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "libbpf_api.skel.h"

/* What a call gives, and errno where it is an error. */
#define SAY(call)                                                                                  \
	({                                                                                         \
		long ret_ = (errno = 0, (long)(call));                                             \
		printf("%s: %ld %d\n", #call, ret_, ret_ < 0 ? errno : 0);                         \
		ret_;                                                                              \
	})

__attribute__((noinline)) long traced(long n)
{
	__asm__ volatile("nop; nop; nop; nop; nop" ::: "memory");
	return n * 2;
}

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vprintf(format, args) : 0;
}

static int record(void *name, void *data, size_t size)
{
	long value = 0;

	memcpy(&value, data, size < sizeof(value) ? size : sizeof(value));
	printf("%s: %zu bytes, %ld\n", (const char *)name, size, value);
	return 0;
}

static char pins[128], path[192];

static const char *pin(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", pins, name);
	return path;
}

static struct libbpf_api_bpf *open_it(void)
{
	LIBBPF_OPTS(bpf_object_open_opts, o, .pin_root_path = pins, .kconfig = "CONFIG_HZ=123\n");

	return libbpf_api_bpf__open_opts(&o);
}

static void run_once(struct libbpf_api_bpf *s)
{
	struct ring_buffer *rings = ring_buffer__new(bpf_map__fd(s->maps.first), record, "first", NULL);
	LIBBPF_OPTS(bpf_test_run_opts, o);

	SAY(ring_buffer__add(rings, bpf_map__fd(s->maps.second), record, "second"));
	SAY(bpf_prog_test_run_opts(bpf_program__fd(s->progs.once), &o));
	SAY(ring_buffer__consume(rings)); /* at once: what it wrote is there */
	printf("answer %u, version %d, hz %d, none %d, configured %d, host %d, symbol %lu, kfunc %d, hidden %d\n", o.retval,
	       s->bss->version > 0, s->bss->hz, s->data->none, s->bss->configured, s->bss->host[0] != 0, s->data->symbol,
	       s->data->kfunc, s->data_custom->hidden);
	SAY(libbpf_api_bpf__attach(s));
	printf("links %d %d %d\n", !!s->links.entry, !!s->links.leave, !!s->links.manual);
	for (long i = 10; i < 13; i++)
		traced(i);
	for (int i = 0; i < 20 && ring_buffer__poll(rings, 50) >= 0; i++)
		;
	ring_buffer__free(rings);
}

static void attach_by_name(struct libbpf_api_bpf *s)
{
	LIBBPF_OPTS(bpf_uprobe_opts, o, .func_name = "traced");
	struct bpf_link *link = bpf_program__attach_uprobe_opts(s->progs.manual, 0, "/proc/self/exe", 0, &o);
	long value = 0;
	int key = 2;

	printf("by name %d\n", !!link);
	traced(70);
	SAY(bpf_map__lookup_elem(s->maps.hash, &key, sizeof(key), &value, sizeof(value), 0));
	printf("value %ld\n", value);
	SAY(bpf_map__lookup_elem(s->maps.hash, &key, 8, &value, sizeof(value), 0));
	bpf_link__destroy(link);
	o.func_name = "no_such_function";
	link = bpf_program__attach_uprobe_opts(s->progs.manual, 0, "/proc/self/exe", 0, &o);
	printf("no such name %d %d\n", !!link, errno);
	o.func_name = "malloc";
	link = bpf_program__attach_uprobe_opts(s->progs.manual, getpid(), "libc.so.6", 0, &o);
	printf("in a library %d\n", !!link);
	bpf_link__destroy(link);
}

static void pin_things(struct libbpf_api_bpf *s)
{
	const int fd = bpf_map__fd(s->maps.inner2), key = 1;
	unsigned int id = 0;

	SAY(bpf_map__pin(s->maps.inner1, pin("inner")));
	SAY(bpf_map__pin(s->maps.inner1, pin("inner")));
	SAY(bpf_map__pin(s->maps.inner1, pin("another")));
	SAY(bpf_map__unpin(s->maps.inner1, NULL));
	SAY(bpf_program__pin(s->progs.manual, pin("program")));
	SAY(bpf_program__unpin(s->progs.manual, pin("program")));
	SAY(bpf_link__pin(s->links.entry, pin("link")));
	SAY(bpf_link__unpin(s->links.entry));
	SAY(bpf_map_update_elem(bpf_map__fd(s->maps.outer), &key, &fd, 0));
	SAY(bpf_map__lookup_elem(s->maps.outer, &key, sizeof(key), &id, sizeof(id), 0));
	printf("an inner map's id %d\n", id != 0);
}

/* Loaded again: the pinned map is that of before; in other shapes; and with a program that cannot be. */
static void load_again(void)
{
	struct libbpf_api_bpf *s = open_it();
	long value = 0;
	int key = 9;

	SAY(libbpf_api_bpf__load(s));
	SAY(bpf_map__lookup_elem(s->maps.pinned, &key, sizeof(key), &value, sizeof(value), 0));
	printf("of before %ld\n", value);
	libbpf_api_bpf__destroy(s);

	s = open_it();
	SAY(bpf_map__set_value_size(s->maps.pinned, 16));
	SAY(libbpf_api_bpf__load(s));
	libbpf_api_bpf__destroy(s);

	s = open_it();
	SAY(bpf_map__set_type(s->maps.hash, BPF_MAP_TYPE_LRU_HASH));
	SAY(bpf_map__set_max_entries(s->maps.inner2, 0));
	SAY(libbpf_api_bpf__load(s));
	libbpf_api_bpf__destroy(s);

	s = open_it();
	SAY(libbpf_api_bpf__load(s));
	SAY(libbpf_api_bpf__attach(s)); /* no such tracepoint */
	SAY(bpf_map__unpin(s->maps.pinned, NULL));
	libbpf_api_bpf__destroy(s);
}

static void types(void)
{
	struct btf *b = btf__new_empty();
	const int a = btf__add_int(b, "int", 4, BTF_INT_SIGNED), c = btf__add_int(b, "int", 4, BTF_INT_SIGNED);

	btf__add_typedef(b, "number", a);
	btf__add_typedef(b, "number", c);
	SAY(btf__dedup(b, NULL));
	printf("%u types\n", btf__type_cnt(b));
	SAY(btf__load_into_kernel(b));
	printf("loaded %d\n", btf__fd(b) >= 0);
	btf__free(b);
	b = btf__load_vmlinux_btf();
	printf("registers %d\n", b && btf__find_by_name_kind(b, "pt_regs", BTF_KIND_STRUCT) > 0);
	btf__free(b);
	SAY(libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_KPROBE, NULL));
	SAY(libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL));
	SAY(libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_get_attach_cookie, NULL));
}

int main(int argc, char **argv)
{
	struct libbpf_api_bpf *s;

	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(pins, sizeof(pins), "%s", argv[1]);
	mkdir(pins, 0700);
	libbpf_set_print(print);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	s = open_it();
	s->rodata->tune = 9;
	SAY(bpf_map__set_max_entries(s->maps.hash, 16));
	SAY(bpf_program__autoload(s->progs.off));
	bpf_program__set_autoattach(s->progs.once, false);
	if (SAY(libbpf_api_bpf__load(s)))
		return 1;
	printf("entries %u, pinned %d\n", bpf_map__max_entries(s->maps.hash), bpf_map__is_pinned(s->maps.pinned));
	run_once(s);
	attach_by_name(s);
	pin_things(s);
	libbpf_api_bpf__destroy(s);
	load_again();
	types();
	return rmdir(pins);
}
