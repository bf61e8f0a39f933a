/* SPDX-License-Identifier: MIT */
/*
 * A plain libbpf tool: attaches each program of an object to the target's function of the same name
 * (those that there are), and when its standard input ends prints the object's map `results`, and what
 * bpf(2) says about its maps of call stacks.
 *
 * usage: tool OBJECT.bpf.o TARGET
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "result.h"

static void print(const char *bytes, int len)
{
	for (int k = 0; k < len; k++)
		printf(bytes[k] >= ' ' && bytes[k] <= '~' && bytes[k] != '\\' ? "%c" : "\\%02x", (unsigned char)bytes[k]);
	putchar('\n');
}

/* Everything that can be done to a map of stacks. */
static void print_stacks(const struct bpf_map *map)
{
	int fd = bpf_map__fd(map);
	unsigned int size = bpf_map__value_size(map), key = 0, next = 77, first = ~0U;
	char value[256];

	for (void *at = NULL; !bpf_map_get_next_key(fd, at, &next); at = &key) {
		memset(value, 'y', sizeof(value));
		printf("%s.%u %d ", bpf_map__name(map), next, bpf_map_lookup_elem(fd, &next, value));
		print(value, (int)size);
		key = next;
		if (first == ~0U)
			first = next;
	}
	printf("%s.end %d\n", bpf_map__name(map), bpf_map_get_next_key(fd, &key, &next));
	printf("%s.update %d %d\n", bpf_map__name(map), bpf_map_update_elem(fd, &first, value, BPF_ANY),
	       bpf_map_update_elem(fd, &first, value, BPF_EXIST));
	for (unsigned int i = 0; i < 1030; i += i < 8 ? 1 : 1021)
		printf("%s.next.%u %d %u\n", bpf_map__name(map), i, bpf_map_get_next_key(fd, &i, &next), next);
	key = ~0U;
	printf("%s.large %d %d", bpf_map__name(map), bpf_map_lookup_elem(fd, &key, value), bpf_map_delete_elem(fd, &key));
	printf(" %d %u\n", bpf_map_get_next_key(fd, &key, &next), next);
	printf("%s.delete %d %d %d\n", bpf_map__name(map), bpf_map_delete_elem(fd, &first),
	       bpf_map_delete_elem(fd, &first), bpf_map_lookup_elem(fd, &first, value));
	if (!bpf_map_get_next_key(fd, NULL, &next)) {
		memset(value, 'z', sizeof(value));
		printf("%s.take %u %d ", bpf_map__name(map), next, bpf_map_lookup_and_delete_elem(fd, &next, value));
		print(value, (int)size);
		printf("%s.left %d\n", bpf_map__name(map), bpf_map_lookup_elem(fd, &next, value));
	}
}

/* Operations under the lock of a value, and what is seen of it. */
static void print_locked(const struct bpf_map *map)
{
	static const unsigned long long flags[] = {0, BPF_F_LOCK, BPF_F_LOCK | BPF_NOEXIST, BPF_F_LOCK | BPF_EXIST, BPF_F_LOCK | 8};
	const char *name = bpf_map__name(map);
	int fd = bpf_map__fd(map), size = (int)bpf_map__value_size(map);
	char value[256], values[256 * 4];
	unsigned int keys[4], count;

	for (unsigned int key = 0; key < 4; key++)
		for (unsigned int i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
			LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = flags[i]);

			memset(value, 'y', sizeof(value));
			printf("%s.%u.%u %d ", name, key, i, bpf_map_lookup_elem_flags(fd, &key, value, flags[i]));
			print(value, size);
			memset(value, 'a' + (int)i, sizeof(value));
			printf("%s.%u.%u.update %d %d ", name, key, i, bpf_map_update_elem(fd, &key, value, flags[i]),
			       bpf_map_lookup_elem(fd, &key, value));
			print(value, size);
			count = 1;
			memset(value, 'A' + (int)i, sizeof(value));
			printf("%s.%u.%u.batch %d %u\n", name, key, i, bpf_map_update_batch(fd, &key, value, &count, &opts), count);
			count = 4;
			memset(values, 'z', sizeof(values));
			printf("%s.%u.%u.all %d", name, key, i, bpf_map_lookup_batch(fd, NULL, keys, keys, values, &count, &opts));
			printf(" %u\n", count);
		}
	for (unsigned int key = 0; key < 3; key++) {
		memset(value, 'y', sizeof(value));
		printf("%s.%u.take %d ", name, key, bpf_map_lookup_and_delete_elem_flags(fd, &key, value, key ? BPF_F_LOCK : 0));
		print(value, size);
	}
}

/* The directories in CGROUPS, by index, into the object's map of control groups. */
static void set_groups(struct bpf_object *obj)
{
	const char *names = getenv("CGROUPS");
	char *copy = names ? strdup(names) : NULL, *save, *name;
	int map = bpf_object__find_map_fd_by_name(obj, "groups");
	unsigned int i = 0;

	for (name = copy ? strtok_r(copy, ":", &save) : NULL; name && map >= 0; name = strtok_r(NULL, ":", &save), i++) {
		int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 || bpf_map_update_elem(map, &i, &fd, BPF_ANY))
			fprintf(stderr, "control group %s: %m\n", name);
		close(fd);
	}
	free(copy);
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc == 3 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct bpf_program *prog;
	struct bpf_map *map;
	char line[64];
	int fd;

	if (!obj || bpf_object__load(obj))
		return 2;
	bpf_object__for_each_program(prog, obj)
	{
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = bpf_program__name(prog),
			    .bpf_cookie = 0x1234567890);

		if (!bpf_program__attach_uprobe_opts(prog, -1, argv[2], 0, &opts))
			return 3;
	}
	set_groups(obj);
	puts("attached");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		;
	fd = bpf_object__find_map_fd_by_name(obj, "results");
	for (unsigned int i = 0; i < RESULTS; i++) {
		struct result r;
		int last = OUT_LEN;

		if (bpf_map_lookup_elem(fd, &i, &r))
			return 4;
		while (last && !r.out[last - 1])
			last--;
		if (!r.ret && !last)
			continue;
		printf("%u %lld ", i, r.ret);
		print(r.out, last);
	}
	bpf_object__for_each_map(map, obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STACK_TRACE)
			print_stacks(map);
		else if (!strncmp(bpf_map__name(map), "locked", 6))
			print_locked(map);
	return 0;
}
