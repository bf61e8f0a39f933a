/* SPDX-License-Identifier: MIT */
/*
 * See elf_program.h. Functions are copied one after another into the result: the program first,
 * then, in the order of first reference, what it calls or takes the address of. A relocation
 * belongs to an instruction of a section; it is looked up while that instruction is copied.
 */
#include "lib/elf_program.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <gelf.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifndef R_BPF_64_64
#define R_BPF_64_64 1
#define R_BPF_64_32 10
#endif

struct func {
	size_t section;
	u64 start, size; /* bytes in the section */
	u32 at;          /* its first instruction in the result */
};

struct loader {
	Elf *elf;
	Elf_Data *symbols;
	size_t strings; /* section of the symbols' names */
	size_t symbol_count, shstrndx, maps_section;
	struct btf *btf;
	struct func *funcs;
	u32 func_count;
	u32 room; /* instructions allocated */
	struct elf_program *out;
	struct bpf_log *log;
};

#define SAY(l, ...)                                                                                \
	do {                                                                                       \
		if ((l)->log)                                                                      \
			bpf_log((l)->log, __VA_ARGS__);                                            \
	} while (0)

static const char *section_name(struct loader *l, size_t index, GElf_Shdr *ret_header)
{
	Elf_Scn *scn = elf_getscn(l->elf, index);
	const char *name;

	if (!scn || !gelf_getshdr(scn, ret_header))
		return "";
	name = elf_strptr(l->elf, l->shstrndx, ret_header->sh_name);
	return name ? name : "";
}

static Elf_Data *section_data(struct loader *l, size_t index)
{
	Elf_Scn *scn = elf_getscn(l->elf, index);

	return scn ? elf_getdata(scn, NULL) : NULL;
}

static const char *symbol_name(struct loader *l, const GElf_Sym *sym)
{
	const char *name = elf_strptr(l->elf, l->strings, sym->st_name);

	return name ? name : "";
}

static bool starts(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return !strncmp(s, prefix, n) && (!s[n] || s[n] == '.');
}

static bool is_data(const char *section)
{
	return starts(section, ".data") || starts(section, ".bss") || starts(section, ".rodata");
}

/* libbpf tells the host's stderr what it finds wrong; a library must not. */
static struct btf *quiet_btf(const Elf_Data *data)
{
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	libbpf_print_fn_t hosts;
	struct btf *btf;

	pthread_mutex_lock(&one_at_a_time);
	hosts = libbpf_set_print(NULL);
	btf = btf__new(data->d_buf, (u32)data->d_size);
	libbpf_set_print(hosts);
	pthread_mutex_unlock(&one_at_a_time);
	return btf;
}

static int find_sections(struct loader *l)
{
	Elf_Scn *scn = NULL;

	if (elf_getshdrstrndx(l->elf, &l->shstrndx))
		return -EINVAL;
	while ((scn = elf_nextscn(l->elf, scn))) {
		Elf_Data *data;
		GElf_Shdr h;
		size_t index = elf_ndxscn(scn);
		const char *name = section_name(l, index, &h);

		if (h.sh_type == SHT_SYMTAB) {
			l->symbols = elf_getdata(scn, NULL);
			l->strings = h.sh_link;
			l->symbol_count = h.sh_entsize ? h.sh_size / h.sh_entsize : 0;
		} else if (!strcmp(name, ".maps")) {
			l->maps_section = index;
		} else if (!strcmp(name, "maps")) {
			SAY(l, "maps without BTF (section \"maps\") are not supported\n");
			return -EOPNOTSUPP;
		} else if (!strcmp(name, ".BTF") && (data = elf_getdata(scn, NULL)) &&
			   data->d_buf) {
			l->btf = quiet_btf(data);
			if (!l->btf)
				return -EINVAL;
		} else if (!strcmp(name, ".BTF.ext") && (data = elf_getdata(scn, NULL)) &&
			   data->d_size >= 32) {
			u32 head[8]; /* length is the second word, core_relo_len the last */

			memcpy(head, data->d_buf, sizeof(head));
			if (head[1] >= sizeof(head) && head[7]) {
				SAY(l, "CO-RE relocations are not supported; load the object with "
				       "`limpet load`\n");
				return -EOPNOTSUPP;
			}
		}
	}
	return l->symbols ? 0 : -EINVAL;
}

/* `__uint(name, value)`: a pointer to an array of `value` elements. */
static bool btf_uint(const struct btf *btf, u32 type, u32 *ret)
{
	const struct btf_type *t = btf__type_by_id(btf, type);

	t = t && btf_is_ptr(t) ? btf__type_by_id(btf, t->type) : NULL;
	if (!t || !btf_is_array(t))
		return false;
	*ret = btf_array(t)->nelems;
	return true;
}

/* `__type(name, type)`: a pointer to the type. */
static bool btf_size(const struct btf *btf, u32 type, u32 *ret)
{
	const struct btf_type *t = btf__type_by_id(btf, type);
	s64 size = t && btf_is_ptr(t) ? btf__resolve_size(btf, t->type) : -1;

	if (size < 0)
		return false;
	*ret = (u32)size;
	return true;
}

static int map_member(struct loader *l, const struct btf_member *m, struct map_def *def)
{
	const char *name = btf__name_by_offset(l->btf, m->name_off);
	u32 ignored;
	const struct {
		const char *name;
		bool (*read)(const struct btf *btf, u32 type, u32 *ret);
		u32 *to;
	} rows[] = {
		{"type", btf_uint, &def->type},
		{"max_entries", btf_uint, &def->max_entries},
		{"map_flags", btf_uint, &def->flags},
		{"key_size", btf_uint, &def->key_size},
		{"value_size", btf_uint, &def->value_size},
		{"key", btf_size, &def->key_size},
		{"value", btf_size, &def->value_size},
		{"numa_node", btf_uint, &def->numa_node},
		{"pinning", btf_uint, &ignored}, /* a VM's maps are its own */
	};

	for (size_t i = 0; name && i < ARRAY_SIZE(rows); i++)
		if (!strcmp(name, rows[i].name))
			return rows[i].read(l->btf, m->type, rows[i].to) ? 0 : -EINVAL;
	SAY(l, "map attribute \"%s\" is not supported\n", name ? name : "?");
	return -EOPNOTSUPP;
}

/*
 * The definition of map variable `name`: a struct in BTF whose members' types are the attributes.
 */
static int map_definition(struct loader *l, const char *name, struct map_def *def)
{
	int id = l->btf ? btf__find_by_name_kind(l->btf, name, BTF_KIND_VAR) : -ENOENT, err;
	const struct btf_type *t = id > 0 ? btf__type_by_id(l->btf, (u32)id) : NULL;
	const struct btf_member *m;

	for (t = t ? btf__type_by_id(l->btf, t->type) : NULL;
	     t && (btf_is_typedef(t) || btf_is_mod(t));)
		t = btf__type_by_id(l->btf, t->type);
	if (!t || !btf_is_struct(t)) {
		SAY(l, "map %s has no definition in BTF\n", name);
		return -EINVAL;
	}
	m = btf_members(t);
	for (u32 i = 0; i < btf_vlen(t); i++) {
		err = map_member(l, &m[i], def);
		if (err)
			return err;
	}
	return 0;
}

static int data_definition(struct loader *l, size_t section, const char *name, struct elf_map *m)
{
	Elf_Data *data = section_data(l, section);
	GElf_Shdr h, rel;
	Elf_Scn *scn = NULL;

	section_name(l, section, &h);
	while ((scn = elf_nextscn(l->elf, scn)))
		if (gelf_getshdr(scn, &rel) && rel.sh_type == SHT_REL && rel.sh_info == section) {
			SAY(l, "pointers in initialised data (%s) are not supported\n", name);
			return -EOPNOTSUPP;
		}
	m->def = (struct map_def){.type = BPF_MAP_TYPE_ARRAY,
				  .key_size = 4,
				  .value_size = (u32)h.sh_size,
				  .max_entries = 1};
	if (starts(name, ".rodata"))
		m->def.flags = BPF_F_RDONLY_PROG;
	if (h.sh_type == SHT_NOBITS)
		return 0;
	if (!data || !data->d_buf || data->d_size != h.sh_size)
		return -EINVAL;
	m->data = malloc(data->d_size + 1);
	if (!m->data)
		return -ENOMEM;
	memcpy(m->data, data->d_buf, data->d_size);
	m->data_size = data->d_size;
	return 0;
}

/* Index of a map in the result's table, added when it is new; section 0: a map variable. */
static int map_index(struct loader *l, const char *name, size_t section)
{
	struct elf_program *p = l->out;
	struct elf_map *m = &p->maps[p->map_count];
	int err;

	for (u32 i = 0; i < p->map_count; i++)
		if (!strcmp(p->maps[i].name, name))
			return (int)i;
	if (p->map_count == ELF_MAX_MAPS || strlen(name) >= sizeof(m->name))
		return -E2BIG;
	memset(m, 0, sizeof(*m));
	err = section ? data_definition(l, section, name, m) : map_definition(l, name, &m->def);
	if (err)
		return err;
	strcpy(m->name, name);
	strncpy(m->def.name, name, sizeof(m->def.name) - 1);
	return (int)p->map_count++;
}

/* The function that starts at `start` of `section`, put on the list when it is new. */
static int func_index(struct loader *l, size_t section, u64 start)
{
	struct func *more;
	GElf_Sym sym;

	for (u32 i = 0; i < l->func_count; i++)
		if (l->funcs[i].section == section && l->funcs[i].start == start)
			return (int)i;
	for (size_t i = 0; i < l->symbol_count; i++) {
		if (!gelf_getsym(l->symbols, (int)i, &sym) || sym.st_shndx != section ||
		    sym.st_value != start || GELF_ST_TYPE(sym.st_info) != STT_FUNC ||
		    !sym.st_size || sym.st_size % 8)
			continue;
		more = realloc(l->funcs, (l->func_count + 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		l->funcs = more;
		l->funcs[l->func_count] = (struct func){section, start, sym.st_size, 0};
		return (int)l->func_count++;
	}
	SAY(l, "no function at offset %u of section %u\n", (u32)start, (u32)section);
	return -EINVAL;
}

/* The symbol an instruction refers to: 1, 0 when it has no relocation, -EINVAL. */
static int relocation_at(struct loader *l, size_t section, u64 offset, GElf_Sym *ret_sym)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr h;
	GElf_Rel rel;

	while ((scn = elf_nextscn(l->elf, scn))) {
		Elf_Data *data;

		if (!gelf_getshdr(scn, &h) || h.sh_type != SHT_REL || h.sh_info != section ||
		    !h.sh_entsize)
			continue;
		data = elf_getdata(scn, NULL);
		for (size_t i = 0; data && i < h.sh_size / h.sh_entsize; i++) {
			if (!gelf_getrel(data, (int)i, &rel) || rel.r_offset != offset)
				continue;
			if (GELF_R_TYPE(rel.r_info) != R_BPF_64_64 &&
			    GELF_R_TYPE(rel.r_info) != R_BPF_64_32)
				return -EINVAL;
			return gelf_getsym(l->symbols, (int)GELF_R_SYM(rel.r_info), ret_sym)
				       ? 1
				       : -EINVAL;
		}
	}
	return 0;
}

/* A wide load of an address: a map, a place in global data, or a function. */
static int resolve_wide(struct loader *l, struct bpf_insn *in, const GElf_Sym *sym)
{
	const char *name = symbol_name(l, sym), *section;
	GElf_Shdr h;
	int index;

	if (!sym->st_shndx || sym->st_shndx >= SHN_LORESERVE) {
		SAY(l, "extern %s is not supported\n", name);
		return -EOPNOTSUPP;
	}
	section = section_name(l, sym->st_shndx, &h);
	if (sym->st_shndx == l->maps_section) {
		in->src_reg = BPF_PSEUDO_MAP_FD;
		index = map_index(l, name, 0);
		in[1].imm = 0;
	} else if (is_data(section)) {
		in->src_reg = BPF_PSEUDO_MAP_VALUE;
		in[1].imm = (s32)(sym->st_value + (u32)in->imm);
		index = map_index(l, section, sym->st_shndx);
	} else if (h.sh_flags & SHF_EXECINSTR) {
		in->src_reg = BPF_PSEUDO_FUNC;
		in[1].imm = 0;
		index = func_index(l, sym->st_shndx, sym->st_value + (u32)in->imm);
	} else {
		SAY(l, "%s lies in section %s, which is not supported\n", name, section);
		return -EOPNOTSUPP;
	}
	in->imm = index;
	return index < 0 ? index : 0;
}

/*
 * One instruction of `f`: function references become indexes of the list, made relative at the end.
 */
static int resolve(struct loader *l, const struct func *f, u32 nth, struct bpf_insn *in)
{
	bool wide = in->code == (BPF_LD | BPF_IMM | BPF_DW);
	bool call = in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL;
	u64 offset = f->start + nth * 8ULL, target;
	GElf_Sym sym;
	int found;

	if (!wide && !call)
		return 0;
	found = relocation_at(l, f->section, offset, &sym);
	if (found < 0)
		return found;
	if (wide)
		return found && nth + 1 < f->size / 8 ? resolve_wide(l, in, &sym) : 0;
	if (found && !sym.st_shndx) {
		SAY(l, "extern function %s is not supported\n", symbol_name(l, &sym));
		return -EOPNOTSUPP;
	}
	target = (found ? sym.st_value : offset) + ((u64)(s64)in->imm + 1) * 8;
	found = func_index(l, found ? sym.st_shndx : f->section, target);
	in->imm = found;
	return found < 0 ? found : 0;
}

static int copy_func(struct loader *l, u32 index)
{
	struct elf_program *p = l->out;
	struct func f = l->funcs[index];
	Elf_Data *data = section_data(l, f.section);
	struct bpf_insn *more;
	u32 count = (u32)(f.size / 8);
	int err;

	if (!data || !data->d_buf || f.start > data->d_size || f.size > data->d_size - f.start ||
	    p->insn_count + count > BPF_MAX_INSNS)
		return -EINVAL;
	more = realloc(p->insns, (p->insn_count + count) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	p->insns = more;
	l->funcs[index].at = p->insn_count;
	memcpy(more + p->insn_count, (u8 *)data->d_buf + f.start, f.size);
	p->insn_count += count;
	for (u32 i = 0; i < count; i++) {
		struct bpf_insn *in = &p->insns[p->insn_count - count + i];

		err = resolve(l, &f, i, in);
		if (err)
			return err;
		i += in->code == (BPF_LD | BPF_IMM | BPF_DW);
	}
	return 0;
}

/* Now that all functions have their place. */
static void link_funcs(struct loader *l)
{
	struct elf_program *p = l->out;

	for (u32 i = 0; i < p->insn_count; i++) {
		struct bpf_insn *in = &p->insns[i];

		if ((in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL) ||
		    (in->code == (BPF_LD | BPF_IMM | BPF_DW) && in->src_reg == BPF_PSEUDO_FUNC))
			in->imm = (s32)l->funcs[in->imm].at - (s32)i - 1;
		i += in->code == (BPF_LD | BPF_IMM | BPF_DW);
	}
}

static int find_program(struct loader *l, const char *name)
{
	GElf_Sym sym;
	GElf_Shdr h;

	for (size_t i = 0; i < l->symbol_count; i++) {
		const char *section;

		if (!gelf_getsym(l->symbols, (int)i, &sym) ||
		    GELF_ST_TYPE(sym.st_info) != STT_FUNC || !sym.st_shndx ||
		    sym.st_shndx >= SHN_LORESERVE)
			continue;
		section = section_name(l, sym.st_shndx, &h);
		if (name ? strcmp(symbol_name(l, &sym), name) : !strcmp(section, ".text"))
			continue;
		return func_index(l, sym.st_shndx, sym.st_value) < 0 ? -EINVAL : 0;
	}
	SAY(l, name ? "no function %s\n" : "no program outside .text\n", name);
	return -ENOENT;
}

static int load(struct loader *l, const char *name)
{
	GElf_Ehdr head;
	int err;

	if (!l->elf || !gelf_getehdr(l->elf, &head) || head.e_machine != EM_BPF ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB) {
		SAY(l, "not a BPF object file\n");
		return -EINVAL;
	}
	err = find_sections(l);
	if (!err)
		err = find_program(l, name);
	for (u32 i = 0; !err && i < l->func_count; i++)
		err = copy_func(l, i);
	if (!err)
		link_funcs(l);
	return err;
}

int elf_program_load(const void *image, size_t size, const char *name, struct elf_program *ret,
		     struct bpf_log *log)
{
	struct elf_program out = {0};
	struct loader l = {.out = &out, .log = log};
	int err;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return -EINVAL;
	l.elf = elf_memory((char *)(u64)image, size); /* libelf only reads it: no ELF_C_RDWR */
	err = load(&l, name);
	btf__free(l.btf);
	free(l.funcs);
	elf_end(l.elf);
	if (err)
		elf_program_free(&out);
	else
		*ret = out;
	return err;
}

void elf_program_free(struct elf_program *p)
{
	free(p->insns);
	for (u32 i = 0; i < p->map_count; i++)
		free(p->maps[i].data);
	memset(p, 0, sizeof(*p));
}
