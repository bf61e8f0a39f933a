/* SPDX-License-Identifier: MIT */
/*
 * The name of the function at a file offset, for people: links know paths and offsets only. A file's
 * functions are read once, when first asked for, and kept sorted by address: there may be ten thousand probes.
 */
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bpf/syscall_desc.h"
#include "cli/cli.h"

#define LOOK_BACK 64 /* functions that may lie inside another one */

struct function {
	u64 start, size;
	size_t order; /* in the symbol tables: the first name of an address wins */
	char *name;
};

struct image {
	char *path;
	struct { u64 offset, size, address; } segments[64];
	size_t segment_count;
	struct function *functions; /* by start, then order */
	size_t count, room;
	struct image *next;
};

static int by_start(const void *x, const void *y)
{
	const struct function *a = x, *b = y;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static bool add_function(struct image *im, const GElf_Sym *sym, const char *name)
{
	struct function *more;
	char *copy;

	if (im->count == im->room) {
		im->room = im->room ? 2 * im->room : 1024;
		more = realloc(im->functions, im->room * sizeof(*more));
		if (!more)
			return false;
		im->functions = more;
	}
	copy = strdup(name);
	if (!copy)
		return false;
	im->functions[im->count] = (struct function){sym->st_value, sym->st_size ? sym->st_size : 1, im->count, copy};
	im->count++;
	return true;
}

static void read_symbols(struct image *im, Elf *elf, Elf_Scn *section, const GElf_Shdr *sh)
{
	Elf_Data *data = elf_getdata(section, NULL);
	size_t n = data && sh->sh_entsize ? sh->sh_size / sh->sh_entsize : 0;

	for (size_t i = 0; i < n; i++) {
		const char *name;
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym) || GELF_ST_TYPE(sym.st_info) != STT_FUNC || sym.st_shndx == SHN_UNDEF)
			continue;
		name = elf_strptr(elf, sh->sh_link, sym.st_name);
		if (name && !add_function(im, &sym, name))
			return;
	}
}

static void read_segments(struct image *im, Elf *elf)
{
	size_t n;
	GElf_Phdr ph;

	if (elf_getphdrnum(elf, &n))
		return;
	for (size_t i = 0; i < n && im->segment_count < sizeof(im->segments) / sizeof(im->segments[0]); i++) {
		if (!gelf_getphdr(elf, (int)i, &ph) || ph.p_type != PT_LOAD)
			continue;
		im->segments[im->segment_count].offset = ph.p_offset;
		im->segments[im->segment_count].size = ph.p_filesz;
		im->segments[im->segment_count++].address = ph.p_vaddr;
	}
}

static void read_image(struct image *im)
{
	int fd = open(im->path, O_RDONLY | O_CLOEXEC);
	Elf_Scn *section = NULL;
	GElf_Shdr sh;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_READ, NULL);
	if (elf)
		read_segments(im, elf);
	while (elf && (section = elf_nextscn(elf, section)))
		if (gelf_getshdr(section, &sh) && (sh.sh_type == SHT_SYMTAB || sh.sh_type == SHT_DYNSYM))
			read_symbols(im, elf, section, &sh);
	if (im->count)
		qsort(im->functions, im->count, sizeof(*im->functions), by_start);
	elf_end(elf);
	if (fd >= 0)
		close(fd);
}

/* NULL: no memory. A command looks at few files and does not live long: they are kept to its end. */
static const struct image *image_of(const char *path)
{
	static struct image *images;
	struct image *im;

	for (im = images; im; im = im->next)
		if (!strcmp(im->path, path))
			return im;
	im = calloc(1, sizeof(*im));
	if (!im || !(im->path = strdup(path))) {
		free(im);
		return NULL;
	}
	read_image(im);
	im->next = images;
	images = im;
	return im;
}

static bool to_address(const struct image *im, u64 offset, u64 *ret)
{
	for (size_t i = 0; i < im->segment_count; i++) {
		if (offset < im->segments[i].offset || offset - im->segments[i].offset >= im->segments[i].size)
			continue;
		*ret = offset - im->segments[i].offset + im->segments[i].address;
		return true;
	}
	return false;
}

static const struct function *function_at(const struct image *im, u64 address)
{
	size_t low = 0, high = im->count; /* all before low start at or before the address, none from high on */
	const struct function *found = NULL;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (im->functions[mid].start <= address)
			low = mid + 1;
		else
			high = mid;
	}
	for (size_t i = 0; i < LOOK_BACK && low; i++) {
		const struct function *f = &im->functions[--low];

		if (found && f->start != found->start)
			break;
		if (address - f->start < f->size)
			found = f;
	}
	return found;
}

static void symbol_text(const char *path, u64 offset, char *ret, size_t size)
{
	const struct image *im = image_of(path);
	const struct function *f = NULL;
	u64 address;

	if (im && to_address(im, offset, &address))
		f = function_at(im, address);
	if (!f)
		snprintf(ret, size, "%s+%#llx", path, (unsigned long long)offset);
	else if (f->start == address)
		snprintf(ret, size, "%s", f->name);
	else
		snprintf(ret, size, "%s+%#llx", f->name, (unsigned long long)(address - f->start));
}

static void tracepoint_text(const struct link_file *l, char *ret, size_t size)
{
	const struct syscall_event e = {.nr = l->syscall_nr, .exit = l->flags & PROBE_F_RETURN};
	char name[SYSCALL_NAME_MAX];

	syscall_event_name(e, name);
	snprintf(ret, size, "%s:%s",
		 l->syscall_ctx == SYSCALL_CTX_RAW ? "raw_tracepoint"
		 : e.nr == SYSCALL_ALL             ? "raw_syscalls"
						   : "syscalls",
		 name);
}

void place_text(const struct link_file *l, u64 offset, char *ret, size_t size)
{
	char path[sizeof(l->path) + 1];

	if (l->place == LINK_AT_SYSCALL) {
		tracepoint_text(l, ret, size);
		return;
	}
	memcpy(path, l->path, sizeof(l->path));
	path[sizeof(l->path)] = 0;
	symbol_text(path, offset, ret, size);
}
