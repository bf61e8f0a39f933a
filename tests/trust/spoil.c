/* SPDX-License-Identifier: MIT */
/*
 * Spoils one thing in a file of a session. A number N may be 0x..., "+N" adds to what is there.
 *
 *     map FILE FIELD N     what the description says, and the file is laid out anew as that, empty: nothing contradicts it
 *     meta FILE FIELD N    the description only
 *     word FILE OFFSET N   8 bytes
 *     noise FILE SEED      bytes all over the file
 *     prog FILE FIELD N    type, verified, ctx_end, map (the id of the first), shape (value_size of the first),
 *                          imm:I, off:I (of instruction I)
 *     link FILE FIELD N    prog_id, place, syscall_ctx
 *
 * prog with a last argument "forged": the sum is made right again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "maps/map.h"
#include "session/object.h"

static u8 *file;
static size_t size;
static int fd;

static int usage(const char *what)
{
	fprintf(stderr, "spoil: %s\n", what);
	return 2;
}

static void map_file(void)
{
	size = (size_t)lseek(fd, 0, SEEK_END);
	file = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file == MAP_FAILED)
		exit(usage("cannot be mapped"));
}

static void set(u32 *word, const char *n)
{
	*word = (u32)strtoul(n, NULL, 0) + (*n == '+' ? *word : 0);
}

static u32 *def_field(struct map_def *d, const char *field)
{
	return !strcmp(field, "type")          ? &d->type
	       : !strcmp(field, "key_size")    ? &d->key_size
	       : !strcmp(field, "value_size")  ? &d->value_size
	       : !strcmp(field, "max_entries") ? &d->max_entries
	       : !strcmp(field, "flags")       ? &d->flags
	       : !strcmp(field, "lock")        ? &d->lock
	       : !strcmp(field, "cpus")        ? &d->cpus
					       : NULL;
}

/* As if the tool had made that map. */
static int lay_out(const struct map_def *def, u32 id)
{
	struct map m;
	int err = map_layout(&m, def);

	if (err || ftruncate(fd, 0) || ftruncate(fd, (off_t)m.file_size))
		return err ? err : -1;
	munmap(file, size);
	map_file();
	return map_create(&m, file, id);
}

static int spoil_map(const char *how, const char *field, const char *n)
{
	struct map_meta *meta = (void *)(file + size - MAP_META_SIZE);
	struct map_def def = meta->def;
	u32 *word = def_field(!strcmp(how, "meta") ? &meta->def : &def, field);

	if (!word)
		return usage("no such field");
	set(word, n);
	return strcmp(how, "map") ? 0 : -lay_out(&def, meta->id);
}

static int spoil_prog(const char *field, const char *n, bool forged)
{
	struct prog_file *p = (void *)file;
	struct bpf_insn *insns = (void *)(file + p->insns_off);
	u32 *ids = (void *)(file + p->map_ids_off), at = (u32)atoi(field + 4);
	struct prog_map *shapes = (void *)(file + p->map_shapes_off);
	u32 word = at < p->insn_count ? (u32)insns[at].off : 0;

	if (!strncmp(field, "off:", 4) && at < p->insn_count) {
		set(&word, n);
		insns[at].off = (s16)word;
	} else if (!strncmp(field, "imm:", 4) && at < p->insn_count) {
		set((u32 *)&insns[at].imm, n);
	} else {
		u32 *words = !strcmp(field, "type")       ? &p->type
			     : !strcmp(field, "verified") ? &p->verified
			     : !strcmp(field, "ctx_end")  ? &p->ctx_end
			     : !strcmp(field, "map")      ? &ids[0]
			     : !strcmp(field, "shape")    ? &shapes[0].value_size
							  : NULL;

		if (!words)
			return usage("no such field");
		set(words, n);
	}
	if (forged)
		p->sum = object_prog_sum(p, insns, ids, shapes);
	return 0;
}

static int spoil_link(const char *field, const char *n)
{
	struct link_file *l = (void *)file;
	u32 *word = !strcmp(field, "prog_id")       ? &l->prog_id
		    : !strcmp(field, "place")       ? &l->place
		    : !strcmp(field, "syscall_ctx") ? &l->syscall_ctx
						    : NULL;

	if (!word)
		return usage("no such field");
	set(word, n);
	return 0;
}

/* Every tenth byte or so; the metadata most of all. */
static int noise(u32 seed)
{
	srand(seed);
	for (size_t i = 0; i < 4096; i++) {
		const size_t where = i % 2 ? size - 1 - (size_t)rand() % 512 : (size_t)rand() % size;

		file[where] = (u8)rand();
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *how = argc > 3 ? argv[1] : "", *field = argc > 3 ? argv[3] : "", *n = argc > 4 ? argv[4] : "0";

	fd = open(argc > 3 ? argv[2] : "", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return usage("no file, or too few arguments");
	map_file();
	if (!strcmp(how, "map") || !strcmp(how, "meta"))
		return spoil_map(how, field, n);
	if (!strcmp(how, "prog"))
		return spoil_prog(field, n, argc > 5 && !strcmp(argv[5], "forged"));
	if (!strcmp(how, "link"))
		return spoil_link(field, n);
	if (!strcmp(how, "noise"))
		return noise((u32)atoi(field));
	if (strcmp(how, "word"))
		return usage("no such way");
	*(u64 *)(file + strtoul(field, NULL, 0)) = strtoull(n, NULL, 0);
	return 0;
}
