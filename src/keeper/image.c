/* SPDX-License-Identifier: MIT */
/*
 * Maps the agent into a stopped target, without help from the target's loader. The image is built
 * here (segments, before the target is stopped; then relative relocations), then copied into anonymous memory
 * over there: nothing depends on paths, mount options or namespaces of the target.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "keeper/internal.h"

struct image {
	const char *path;
	int err; /* why there is none */
	const u8 *file;
	size_t file_size;
	const Elf64_Ehdr *eh;
	const Elf64_Phdr *ph;
	u8 *mem; /* as it will lie in the target */
	u64 span, symbol;
};

static int map_file(struct image *im)
{
	struct stat st;
	int fd = open(im->path, O_RDONLY | O_CLOEXEC);
	void *p;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || st.st_size < (off_t)sizeof(Elf64_Ehdr)) {
		close(fd);
		return -ENOEXEC;
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return -errno;
	im->file = p;
	im->file_size = (size_t)st.st_size;
	im->eh = p;
	if (memcmp(im->eh->e_ident, ELFMAG, SELFMAG) || im->eh->e_machine != EM_X86_64 ||
	    im->eh->e_phoff + im->eh->e_phnum * sizeof(Elf64_Phdr) > im->file_size)
		return -ENOEXEC;
	im->ph = (const Elf64_Phdr *)(im->file + im->eh->e_phoff);
	return 0;
}

void image_close(struct image *im)
{
	if (im && im->file)
		munmap((void *)im->file, im->file_size);
	if (im)
		free(im->mem);
	free(im);
}

static int image_load(struct image *im)
{
	for (int i = 0; i < im->eh->e_phnum; i++)
		if (im->ph[i].p_type == PT_LOAD && im->ph[i].p_vaddr + im->ph[i].p_memsz > im->span)
			im->span = im->ph[i].p_vaddr + im->ph[i].p_memsz;
	im->span = ALIGN_UP(im->span, PAGE_SIZE);
	if (!im->span || im->span > 64 << 20)
		return -ENOEXEC;
	im->mem = calloc(1, im->span);
	if (!im->mem)
		return -ENOMEM;
	for (int i = 0; i < im->eh->e_phnum; i++) {
		const Elf64_Phdr *p = &im->ph[i];

		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_offset + p->p_filesz > im->file_size)
			return -ENOEXEC;
		memcpy(im->mem + p->p_vaddr, im->file + p->p_offset, p->p_filesz);
	}
	return 0;
}

static const Elf64_Dyn *dynamic(const struct image *im, s64 tag)
{
	for (int i = 0; i < im->eh->e_phnum; i++) {
		const Elf64_Dyn *d = (const void *)(im->mem + im->ph[i].p_vaddr);

		if (im->ph[i].p_type != PT_DYNAMIC)
			continue;
		for (; d->d_tag != DT_NULL; d++)
			if (d->d_tag == tag)
				return d;
	}
	return NULL;
}

static int image_relocate(struct image *im, u64 base)
{
	const Elf64_Dyn *rela = dynamic(im, DT_RELA), *size = dynamic(im, DT_RELASZ);

	if (!rela || !size)
		return 0;
	for (u64 i = 0; i < size->d_un.d_val / sizeof(Elf64_Rela); i++) {
		const Elf64_Rela *r = (const Elf64_Rela *)(im->mem + rela->d_un.d_ptr) + i;
		u64 value = base + (u64)r->r_addend;

		if (ELF64_R_TYPE(r->r_info) != R_X86_64_RELATIVE || r->r_offset + 8 > im->span)
			return -ENOEXEC;
		memcpy(im->mem + r->r_offset, &value, sizeof(value));
	}
	return 0;
}

/* Offset of the exported header, 0: not found. */
static u64 image_symbol(const struct image *im, const char *name)
{
	const Elf64_Shdr *sh = (const Elf64_Shdr *)(im->file + im->eh->e_shoff);

	if (!im->eh->e_shoff ||
	    im->eh->e_shoff + im->eh->e_shnum * sizeof(Elf64_Shdr) > im->file_size)
		return 0;
	for (int i = 0; i < im->eh->e_shnum; i++) {
		const Elf64_Sym *sym = (const void *)(im->file + sh[i].sh_offset);
		const char *str;

		if (sh[i].sh_type != SHT_DYNSYM)
			continue;
		str = (const char *)(im->file + sh[sh[i].sh_link].sh_offset);
		for (u64 k = 0; k < sh[i].sh_size / sizeof(*sym); k++)
			if (!strcmp(str + sym[k].st_name, name))
				return sym[k].st_value;
	}
	return 0;
}

/*
 * One mapping, read-execute, takes the whole image; what is to be writable is made so by the
 * agent's own code when it is there. So the thread has a way home at every step (borrow.c).
 */
static int image_copy(struct target *t, struct image *im, u64 base)
{
	int err = image_relocate(im, base);

	for (int i = 0; i < im->eh->e_phnum && !err; i++) {
		const Elf64_Phdr *p = &im->ph[i];

		if (p->p_type == PT_LOAD && p->p_filesz)
			err = target_write(t, base + p->p_vaddr, im->mem + p->p_vaddr, p->p_filesz);
	}
	return err;
}

int image_protections(const struct target *t, const struct image *im, struct agent_request *r)
{
	u64 base = t->header_at - im->symbol;
	u32 n = 0;

	for (int i = 0; i < im->eh->e_phnum; i++) {
		const Elf64_Phdr *p = &im->ph[i];
		u64 start = p->p_vaddr & ~(PAGE_SIZE - 1);
		u64 end = ALIGN_UP(p->p_vaddr + p->p_memsz, PAGE_SIZE);

		if (p->p_type != PT_LOAD || p->p_flags & PF_X || start == end)
			continue;
		if (n == AGENT_PROTECT_MAX - 1)
			return -ENOEXEC;
		r->protect[n].start = base + start;
		r->protect[n].size = end - start;
		r->protect[n++].prot = PROT_READ | (p->p_flags & PF_W ? PROT_WRITE : 0);
	}
	return 0;
}

struct image *image_open(const char *path)
{
	struct image *im = calloc(1, sizeof(*im));

	if (!im)
		return NULL;
	im->path = path;
	im->err = map_file(im);
	if (!im->err)
		im->err = image_load(im);
	im->symbol = im->err ? 0 : image_symbol(im, AGENT_SYMBOL);
	if (!im->err && !im->symbol)
		im->err = -ENOEXEC;
	return im;
}

static int image_map(struct target *t, struct image *im)
{
	long base = target_syscall(t, SYS_mmap, 0, im->span, PROT_READ | PROT_EXEC,
				   MAP_PRIVATE | MAP_ANONYMOUS, (u64)-1, 0);
	int err;

	if (base < 0 && base > -4096)
		return (int)base;
	err = image_copy(t, im, (u64)base);
	if (!err)
		err = target_read(t, (u64)base + im->symbol, &t->header, sizeof(t->header));
	if (!err && (t->header.magic != AGENT_MAGIC || t->header.version != AGENT_VERSION ||
		     t->header.size != sizeof(t->header)))
		err = -ENOEXEC;
	if (err) {
		target_syscall(t, SYS_munmap, (u64)base, im->span, 0, 0, 0, 0);
		return err;
	}
	t->header_at = (u64)base + im->symbol;
	return target_move_in(t);
}

int image_inject(struct target *t, struct image *im)
{
	int err;

	if (!im)
		return -ENOMEM;
	if (im->err)
		return keeper_fail(t->e, KEEPER_NO_AGENT, im->err, "%s: %s", im->path, strerror(-im->err));
	err = image_map(t, im);
	if (err == -ENOEXEC)
		return keeper_fail(t->e, KEEPER_NO_AGENT, err, "%s: another version", im->path);
	return err ? keeper_fail(t->e, KEEPER_SYSTEM, err, "mapping the agent: %s", strerror(-err))
		   : 0;
}
