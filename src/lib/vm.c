/* SPDX-License-Identifier: MIT */
/* The public VM (include/limpet/vm.h): building one, loading, running. */
#include "lib/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define MAX_HELPERS 65536u
#define MAX_FILE    (64L << 20)

/* The public enumeration in order, as the descriptors have it. */
static const u8 arg_kinds[] = {
	[LIMPET_ARG_NONE] = ARG_NONE,
	[LIMPET_ARG_SCALAR] = ARG_SCALAR,
	[LIMPET_ARG_MAP] = ARG_MAP,
	[LIMPET_ARG_MAP_KEY] = ARG_MAP_KEY,
	[LIMPET_ARG_MAP_VALUE] = ARG_MAP_VALUE,
	[LIMPET_ARG_MAP_VALUE_OUT] = ARG_MAP_VALUE_OUT,
	[LIMPET_ARG_MEM] = ARG_MEM,
	[LIMPET_ARG_MEM_OUT] = ARG_MEM_OUT,
	[LIMPET_ARG_MEM_OR_NULL] = ARG_MEM_OR_NULL,
	[LIMPET_ARG_MEM_OUT_OR_NULL] = ARG_MEM_OUT_OR_NULL,
	[LIMPET_ARG_SIZE] = ARG_SIZE,
	[LIMPET_ARG_SIZE_OR_ZERO] = ARG_SIZE_OR_ZERO,
	[LIMPET_ARG_CONTEXT] = ARG_CTX,
	[LIMPET_ARG_CALLBACK] = ARG_CALLBACK,
};

int lib_fail(struct limpet_vm *vm, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(vm->message, sizeof(vm->message), fmt, ap);
	va_end(ap);
	return err;
}

LIMPET_API const char *limpet_vm_message(const struct limpet_vm *vm)
{
	return vm->message;
}

/* Room for helpers below `count`. */
static int grow_helpers(struct limpet_vm *vm, u32 count)
{
	vm_helper_fn **helpers;
	const struct bpf_helper_desc **descs;

	if (count <= vm->helper_count)
		return 0;
	helpers = realloc(vm->helpers, count * sizeof(*helpers));
	if (helpers)
		vm->helpers = helpers;
	descs = helpers ? realloc(vm->descs, count * sizeof(*descs)) : NULL;
	if (!descs)
		return lib_fail(vm, -ENOMEM, "no memory for helpers");
	vm->descs = descs;
	for (u32 i = vm->helper_count; i < count; i++) {
		const struct bpf_helper_desc *d =
			i < helper_table_size() ? bpf_helper_desc(i) : NULL;

		helpers[i] = d && !d->why_not ? helper_table[i] : NULL;
		descs[i] = NULL;
	}
	vm->helper_count = count;
	return 0;
}

LIMPET_API int limpet_vm_create(const struct limpet_vm_options *options, struct limpet_vm **ret_vm)
{
	const struct limpet_vm_options none = {0}, *o = options ? options : &none;
	struct limpet_vm *vm;

	if (o->engine > LIMPET_ENGINE_JIT ||
	    o->flags & ~(LIMPET_VM_TRUSTED | LIMPET_VM_BOUNDED | LIMPET_VM_RFC) ||
	    o->context_writable > o->context_size ||
	    memcmp(o->reserved, none.reserved, sizeof(none.reserved)))
		return -EINVAL;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->options = *o;
	if (grow_helpers(vm, helper_table_size())) {
		limpet_vm_free(vm);
		return -ENOMEM;
	}
	helper_env_init(&vm->env, getauxval(AT_SYSINFO_EHDR), NULL);
	*ret_vm = vm;
	return 0;
}

static void free_desc(const struct bpf_helper_desc *d)
{
	if (d)
		free((char *)d->name);
	free((void *)d);
}

LIMPET_API void limpet_vm_free(struct limpet_vm *vm)
{
	if (!vm)
		return;
	lib_forget(vm);
	lib_free_code(vm);
	lib_free_maps(vm);
	for (u32 i = 0; i < vm->helper_count; i++)
		free_desc(vm->descs[i]);
	free(vm->helpers);
	free(vm->descs);
	free(vm->insns);
	free(vm);
}

static bool arguments_known(const struct limpet_helper *h)
{
	for (u32 i = 0; i < 5; i++)
		if ((u32)h->arg[i] >= ARRAY_SIZE(arg_kinds))
			return false;
	return true;
}

/* A size must follow its pointer, a key or value its map. */
static bool prototype_ok(const struct limpet_helper *h)
{
	for (u32 i = 0; i < 5; i++) {
		bool memory =
			h->arg[i] >= LIMPET_ARG_MEM && h->arg[i] <= LIMPET_ARG_MEM_OUT_OR_NULL;
		bool of_map =
			h->arg[i] >= LIMPET_ARG_MAP_KEY && h->arg[i] <= LIMPET_ARG_MAP_VALUE_OUT;

		if (memory && (i == 4 || (h->arg[i + 1] != LIMPET_ARG_SIZE &&
					  h->arg[i + 1] != LIMPET_ARG_SIZE_OR_ZERO)))
			return false;
		if (of_map && h->arg[0] != LIMPET_ARG_MAP)
			return false;
	}
	return true;
}

LIMPET_API int limpet_vm_add_helper(struct limpet_vm *vm, uint32_t number,
				    const struct limpet_helper *h)
{
	struct bpf_helper_desc *d;
	int err;

	if (vm->loaded)
		return lib_fail(vm, -EBUSY, "helpers cannot be added after the load");
	if (number >= MAX_HELPERS || !h->call || !h->name || !arguments_known(h) ||
	    !prototype_ok(h))
		return lib_fail(vm, -EINVAL, "helper %u: bad number or prototype", number);
	err = grow_helpers(vm, number + 1);
	if (err)
		return err;
	d = calloc(1, sizeof(*d));
	if (d)
		d->name = strdup(h->name);
	if (!d || !d->name) {
		free(d);
		return lib_fail(vm, -ENOMEM, "no memory for helper %u", number);
	}
	for (u32 i = 0; i < 5; i++)
		d->arg[i] = arg_kinds[h->arg[i]];
	free_desc(vm->descs[number]);
	vm->descs[number] = d;
	vm->helpers[number] = (vm_helper_fn *)h->call;
	return 0;
}

static bool any_helper(u32 id)
{
	return true;
}

/* The structural check's own list of helpers is not this VM's. */
static int check_helpers(struct limpet_vm *vm)
{
	for (u32 i = 0; i < vm->prog.insn_count; i++) {
		const struct bpf_insn *in = &vm->insns[i];

		if (in->code == (BPF_JMP | BPF_CALL) && !in->src_reg &&
		    ((u32)in->imm >= vm->helper_count || !vm->helpers[in->imm]))
			return lib_fail(vm, -EINVAL, "insn %u: there is no helper %d", i, in->imm);
	}
	return 0;
}

static int check(struct limpet_vm *vm)
{
	u32 sizes[ELF_MAX_MAPS];
	struct bpf_log log = {vm->message, sizeof(vm->message), 0};
	struct bpf_check_env env = {.map_count = vm->map_count,
				    .map_value_size = sizes,
				    .helper_known = any_helper,
				    .log = &log,
				    .rfc_only = vm->options.flags & LIMPET_VM_RFC};
	int err;

	for (u32 i = 0; i < vm->map_count; i++)
		sizes[i] = (u32)vm->vm_maps[i].direct_size;
	vm->message[0] = 0;
	err = bpf_check(vm->insns, vm->prog.insn_count, &env);
	vm->message[strcspn(vm->message, "\n")] = 0;
	return err ? err : check_helpers(vm);
}

/* Takes vm->insns, `count` of them, and makes the VM ready to run. */
static int finish_load(struct limpet_vm *vm, u32 count)
{
	const struct limpet_vm_options *o = &vm->options;
	int err;

	vm->prog = (struct vm_program){
		.insns = vm->insns,
		.insn_count = count,
		.maps = vm->vm_maps,
		.map_count = vm->map_count,
		.regions = vm->regions,
		.region_count = vm->map_count,
		.ctx_size = o->context_size,
		.ctx_writable = o->context_writable,
		.helpers = vm->helpers,
		.helper_count = vm->helper_count,
		.helper_descs = vm->descs,
		.helper_desc = bpf_helper_desc,
		.budget = o->budget,
		.trusted = o->flags & LIMPET_VM_TRUSTED,
		.bounded = o->flags & LIMPET_VM_BOUNDED,
	};
	err = check(vm);
	if (!err && o->engine != LIMPET_ENGINE_INTERPRETER) {
		err = lib_compile(vm);
		if ((err == -EOPNOTSUPP || err == -EACCES) && o->engine == LIMPET_ENGINE_BEST)
			err = 0; /* no compiler, or no memory that may be executed */
		else if (err)
			lib_fail(vm, err, "cannot compile: %s", strerror(-err));
	}
	vm->loaded = !err;
	if (!err) {
		lib_know(vm);
	} else {
		free(vm->insns);
		vm->insns = NULL;
	}
	return err;
}

LIMPET_API int limpet_vm_load(struct limpet_vm *vm, const struct bpf_insn *insns, size_t count)
{
	if (vm->loaded)
		return lib_fail(vm, -EBUSY, "a program is loaded already");
	if (!count || count > BPF_MAX_INSNS)
		return lib_fail(vm, -E2BIG, "a program has 1 to %d instructions", BPF_MAX_INSNS);
	vm->insns = malloc(count * sizeof(*insns));
	if (!vm->insns)
		return lib_fail(vm, -ENOMEM, "no memory for the program");
	memcpy(vm->insns, insns, count * sizeof(*insns));
	return finish_load(vm, (u32)count);
}

/* The VM's map for one of the object's: one that was added under that name, else a new one. */
static int take_map(struct limpet_vm *vm, const struct elf_map *m)
{
	int index;

	for (u32 i = 0; i < vm->map_count; i++) {
		const struct map_def *d = &vm->maps[i]->map.def;

		if (strcmp(vm->maps[i]->name, m->name))
			continue;
		if (d->type != m->def.type || d->key_size != m->def.key_size ||
		    d->value_size != m->def.value_size)
			return lib_fail(vm, -EINVAL, "map %s was added with another type or size",
					m->name);
		return (int)i;
	}
	index = lib_create_map(vm, &m->def, m->name);
	if (index >= 0 && m->data)
		memcpy(map_direct_value(&vm->maps[index]->map), m->data, m->data_size);
	return index;
}

static int take_maps(struct limpet_vm *vm, struct elf_program *elf)
{
	int index[ELF_MAX_MAPS];

	for (u32 i = 0; i < elf->map_count; i++) {
		index[i] = take_map(vm, &elf->maps[i]);
		if (index[i] < 0)
			return index[i];
	}
	for (u32 i = 0; i < elf->insn_count; i++) {
		struct bpf_insn *in = &elf->insns[i];

		if (in->code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (in->src_reg == BPF_PSEUDO_MAP_FD || in->src_reg == BPF_PSEUDO_MAP_VALUE)
			in->imm = index[in->imm];
		i++;
	}
	return 0;
}

LIMPET_API int limpet_vm_load_elf(struct limpet_vm *vm, const void *image, size_t size,
				  const char *program)
{
	struct bpf_log log = {vm->message, sizeof(vm->message), 0};
	struct elf_program elf;
	int err;

	if (vm->loaded)
		return lib_fail(vm, -EBUSY, "a program is loaded already");
	vm->message[0] = 0;
	err = elf_program_load(image, size, program, &elf, &log);
	if (err) {
		vm->message[strcspn(vm->message, "\n")] = 0;
		return vm->message[0] ? err : lib_fail(vm, err, "the object file is damaged");
	}
	err = take_maps(vm, &elf);
	if (!err) {
		vm->insns = elf.insns;
		elf.insns = NULL;
		err = finish_load(vm, elf.insn_count);
	}
	elf_program_free(&elf);
	return err;
}

LIMPET_API int limpet_vm_load_file(struct limpet_vm *vm, const char *path, const char *program)
{
	FILE *f = fopen(path, "rbe");
	void *image = NULL;
	long size = -1;
	int err;

	if (!f)
		return lib_fail(vm, -errno, "%s: %s", path, strerror(errno));
	if (!fseek(f, 0, SEEK_END))
		size = ftell(f);
	rewind(f);
	if (size >= 0 && size <= MAX_FILE)
		image = malloc((size_t)size + 1);
	if (image && fread(image, 1, (size_t)size, f) == (size_t)size)
		err = limpet_vm_load_elf(vm, image, (size_t)size, program);
	else
		err = lib_fail(vm, -EIO, "%s cannot be read", path);
	free(image);
	fclose(f);
	return err;
}

LIMPET_API enum limpet_engine limpet_vm_engine(const struct limpet_vm *vm)
{
	return vm->entry ? LIMPET_ENGINE_JIT : LIMPET_ENGINE_INTERPRETER;
}

LIMPET_API int limpet_vm_run(const struct limpet_vm *vm, void *context, void *user,
			     struct limpet_result *ret)
{
	static const struct {
		enum limpet_status status;
		int err;
	} ends[] = {
		[VM_OK] = {LIMPET_OK, 0},
		[VM_FAULT] = {LIMPET_FAULT, -EFAULT},
		[VM_BUDGET] = {LIMPET_BUDGET, -ETIME},
		[VM_BAD_ARG] = {LIMPET_ARGUMENT, -EINVAL},
		[VM_BAD_PROG] = {LIMPET_INVALID, -EINVAL},
	};
	struct lib_hit hit = {.user = user};
	struct vm_run run = {
		.prog = &vm->prog, .ctx = context, .env = (void *)&vm->env, .hit = &hit};
	u64 value;

	if (!vm->loaded || (!context && vm->options.context_size))
		return -EINVAL;
	value = vm->entry ? vm->entry(&run, (u64)context, vm->options.context_size)
			  : vm_interpret(&run, (u64)context, vm->options.context_size);
	helper_run_end(&run);
	if (ret)
		*ret = (struct limpet_result){run.status ? 0 : value, ends[run.status].status,
					      run.status ? run.fault_insn : 0,
					      run.status ? run.fault_addr : 0};
	return ends[run.status].err;
}

static struct vm_run *inner(const struct limpet_run *run)
{
	return (struct vm_run *)run;
}

LIMPET_API void *limpet_run_user(const struct limpet_run *run)
{
	return ((struct lib_hit *)inner(run)->hit)->user;
}

LIMPET_API void *limpet_run_context(const struct limpet_run *run)
{
	return inner(run)->ctx;
}

LIMPET_API struct limpet_map *limpet_run_map(const struct limpet_run *run, uint64_t argument)
{
	return CONTAINER_OF((struct map *)argument, struct limpet_map, map);
}

LIMPET_API int limpet_run_call(struct limpet_run *run, uint64_t callback, uint64_t r1, uint64_t r2,
			       uint64_t r3, uint64_t *ret_value)
{
	u64 value = vm_callback(inner(run), callback, r1, r2, r3, 0);

	if (inner(run)->status)
		return -ECANCELED;
	if (ret_value)
		*ret_value = value;
	return 0;
}
