/* SPDX-License-Identifier: MIT */
/* Reads the vDSO's dynamic symbol table (vdso(7), System V gABI chapters 4 and 5). */
#include <linux/elf.h>
#include "base/vdso.h"
#include "base/mem.h"

struct tables {
	const Elf64_Sym *symbols;
	const char *names;
	u32 count;
};

/* The image is the kernel's own, but a wrong address must not send us far: sizes are held small. */
static bool find_tables(u64 image, struct tables *ret)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)image;
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(image + eh->e_phoff);
	const Elf64_Dyn *dyn = NULL;
	u64 base = image;

	for (u32 i = 0; i < eh->e_phnum && i < 16; i++) {
		if (ph[i].p_type == PT_LOAD && ph[i].p_offset == 0)
			base = image - ph[i].p_vaddr;
		if (ph[i].p_type == PT_DYNAMIC)
			dyn = (const Elf64_Dyn *)(image + ph[i].p_offset);
	}
	if (!dyn)
		return false;
	for (; dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == DT_SYMTAB)
			ret->symbols = (const Elf64_Sym *)(base + dyn->d_un.d_ptr);
		else if (dyn->d_tag == DT_STRTAB)
			ret->names = (const char *)(base + dyn->d_un.d_ptr);
	}
	if (!ret->symbols || !ret->names || (u64)ret->names <= (u64)ret->symbols)
		return false;
	/* The string table follows the symbol table in the vDSO. */
	ret->count = (u32)(((u64)ret->names - (u64)ret->symbols) / sizeof(Elf64_Sym));
	return ret->count && ret->count < 256;
}

u64 vdso_symbol(u64 image, const char *name)
{
	struct tables t = {0};

	if (!image || memcmp((const void *)image, "\177ELF", 4) || !find_tables(image, &t))
		return 0;
	for (u32 i = 1; i < t.count; i++)
		if (t.symbols[i].st_shndx && !strcmp(t.names + t.symbols[i].st_name, name))
			return image + t.symbols[i].st_value;
	return 0;
}
