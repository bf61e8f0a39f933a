/* SPDX-License-Identifier: MIT */
/* The name of the function at a file offset, for people: links know paths and offsets only. */
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"

static bool to_address(Elf *elf, u64 offset, u64 *ret)
{
	size_t n;
	GElf_Phdr ph;

	if (elf_getphdrnum(elf, &n))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!gelf_getphdr(elf, (int)i, &ph) || ph.p_type != PT_LOAD || offset < ph.p_offset ||
		    offset - ph.p_offset >= ph.p_filesz)
			continue;
		*ret = offset - ph.p_offset + ph.p_vaddr;
		return true;
	}
	return false;
}

static bool look_up(Elf *elf, Elf_Scn *section, const GElf_Shdr *sh, u64 address, char *ret, size_t size)
{
	Elf_Data *data = elf_getdata(section, NULL);
	size_t n = data && sh->sh_entsize ? sh->sh_size / sh->sh_entsize : 0;

	for (size_t i = 0; i < n; i++) {
		const char *name;
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym) || GELF_ST_TYPE(sym.st_info) != STT_FUNC ||
		    sym.st_shndx == SHN_UNDEF || address < sym.st_value ||
		    address - sym.st_value >= (sym.st_size ? sym.st_size : 1))
			continue;
		name = elf_strptr(elf, sh->sh_link, sym.st_name);
		if (!name)
			continue;
		if (address == sym.st_value)
			snprintf(ret, size, "%s", name);
		else
			snprintf(ret, size, "%s+%#llx", name, (unsigned long long)(address - sym.st_value));
		return true;
	}
	return false;
}

void symbol_text(const char *path, u64 offset, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf_Scn *section = NULL;
	bool found = false;
	GElf_Shdr sh;
	u64 address;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_READ, NULL);
	if (elf && to_address(elf, offset, &address))
		while (!found && (section = elf_nextscn(elf, section)))
			if (gelf_getshdr(section, &sh) && (sh.sh_type == SHT_SYMTAB || sh.sh_type == SHT_DYNSYM))
				found = look_up(elf, section, &sh, address, ret, size);
	if (!found)
		snprintf(ret, size, "%s+%#llx", path, (unsigned long long)offset);
	elf_end(elf);
	if (fd >= 0)
		close(fd);
}
