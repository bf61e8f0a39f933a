/* SPDX-License-Identifier: MIT */
/*
 * BPF_PROG_LOAD, the verifier: the program, its maps and its types as the verifier wants them described, and what
 * its answer changes. Instructions that no path reaches become exits, so that what stands there (helpers that
 * do not exist, as libbpf writes for what this system lacks) is neither looked at nor ever run; loads of constants
 * become those constants. `--no-verify` of whoever started the session leaves it out.
 */
#include "loader/prog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include "loader/btf.h"
#include "loader/say.h"
#include "loader/task.h"
#include "verifier/verifier.h"

struct verification {
	struct verifier_prog prog;
	struct verifier_map maps[2 * PROG_MAX_MAPS];
	struct verifier_fact *facts;
	struct btf btf, kernel;
	bool layout_read, asks_unknown;
	u16 layout[TASK_FIELDS];
	char type[64], member[64]; /* what it asks for that limpet does not know, first */
};

static bool any_helper(u32 id)
{
	return true; /* what is reached must exist: the verifier looks */
}

/* Nobody writes to it any more: not user space, not programs. */
static const void *constant_of(const struct map *m)
{
	if (!map_direct_value(m) || m->def.max_entries != 1 ||
	    !(m->def.flags & BPF_F_RDONLY_PROG) || !atomic_load(&m->meta->frozen))
		return NULL;
	return map_direct_value(m);
}

static struct verifier_map describe_map(const struct map *m)
{
	return (struct verifier_map){.name = m->def.name,
				     .type = m->def.type,
				     .key_size = m->def.key_size,
				     .value_size = m->def.value_size,
				     .max_entries = m->def.max_entries,
				     .flags = m->def.flags,
				     .constant = constant_of(m),
				     .has_timer = m->def.fields & MAP_FIELD_TIMER,
				     .has_wq = m->def.fields & MAP_FIELD_WQ,
				     .lock_off = (s32)m->def.lock - 1};
}

static const char *kfunc_name(void *arg, s32 imm)
{
	const struct prog_load *l = arg;

	return (u32)imm < l->kfunc_count ? l->kfunc[imm] : "";
}

static int kernel_btf(void *arg, const void **ret, u32 *ret_size)
{
	struct verification *f = arg;
	int err = f->kernel.types ? 0 : btf_open_kernel(&f->kernel);

	*ret = f->kernel.map;
	*ret_size = (u32)f->kernel.map_size;
	return err;
}

static void object_read(void *arg, const char *type, u32 off, u32 size, const char *member)
{
	struct verification *f = arg;

	if (!f->layout_read)
		task_layout_read(&f->kernel, f->layout);
	f->layout_read = true;
	if (f->asks_unknown || task_is_known(f->layout, type, off, size))
		return;
	f->asks_unknown = true;
	snprintf(f->type, sizeof(f->type), "%s", type);
	snprintf(f->member, sizeof(f->member), "%s", member);
}

/* What maps of maps hold stands behind the program's own. */
static int describe_maps(struct verification *f, struct prog_load *l)
{
	int err = 0;

	for (u32 i = 0; i < l->map_count; i++) {
		const struct map *m = loader_map_by_id(l->map_id[i], &err);

		if (!m)
			return err;
		f->maps[i] = describe_map(m);
		l->shape[l->shape_count++] =
			(struct prog_map){m->def.type,        m->def.key_size, m->def.value_size,
					  m->def.max_entries, m->def.flags,    0};
		if (m->holds != MAP_HOLDS_MAPS)
			continue;
		f->maps[PROG_MAX_MAPS + i] =
			(struct verifier_map){.name = "",
					      .type = m->inner.type,
					      .key_size = m->inner.key_size,
					      .value_size = m->inner.value_size,
					      .max_entries = 0 /* each has its own */,
					      .flags = m->inner.flags,
					      .lock_off = -1};
		f->maps[i].inner = &f->maps[PROG_MAX_MAPS + i];
	}
	return 0;
}

static int describe(struct verification *f, struct prog_load *l, const struct loader_call *c,
		    const union bpf_attr *a)
{
	int err = describe_maps(f, l);

	f->facts = calloc(l->count + 1, sizeof(*f->facts));
	if (!err && !f->facts)
		err = -ENOMEM;
	if (!err && (l->funcs || l->lines))
		err = btf_open(&f->btf, c->store, l->btf_id);
	if (err)
		return err;
	f->prog = (struct verifier_prog){.insns = l->insns,
					 .insn_count = l->count,
					 .type = a->prog_type,
					 .attach_type = a->expected_attach_type,
					 .gpl = l->gpl,
					 .sleepable = a->prog_flags & BPF_F_SLEEPABLE,
					 .strict_alignment = a->prog_flags & BPF_F_STRICT_ALIGNMENT,
					 .cpus = (u32)get_nprocs_conf(),
					 .maps = f->maps,
					 .map_count = l->map_count,
					 .kfunc_name = kfunc_name,
					 .kfunc_arg = l,
					 .kernel_btf = kernel_btf,
					 .object_read = object_read,
					 .kernel_btf_arg = f,
					 .facts = f->facts};
	if (f->btf.types) {
		f->prog.btf = f->btf.types - f->btf.head.hdr_len;
		f->prog.btf_size = f->btf.head.hdr_len + f->btf.head.str_off + f->btf.head.str_len;
		f->prog.funcs = l->funcs;
		f->prog.func_count = l->funcs ? a->func_info_cnt : 0;
		f->prog.lines = l->lines;
		f->prog.line_count = l->lines ? a->line_info_cnt : 0;
	}
	return 0;
}

/* A constant instead of its load: of 32 bits, extended as it says. */
static struct bpf_insn constant(const struct bpf_insn *load, u64 value)
{
	const bool sign = (u64)(s64)(s32)value == value;

	return (struct bpf_insn){.code = (sign ? BPF_ALU64 : BPF_ALU) | BPF_MOV | BPF_K,
				 .dst_reg = load->dst_reg,
				 .imm = (s32)value};
}

static u8 probe_load(u8 code)
{
	return (u8)((code & 0x1f) | ((code & 0xe0) == BPF_MEMSX ? BPF_PROBE_MEMSX : BPF_PROBE_MEM));
}

static void apply(struct prog_load *l, const struct verifier_fact *facts)
{
	for (u32 i = 0; i < l->count; i++) {
		const bool wide = l->insns[i].code == (BPF_LD | BPF_IMM | BPF_DW);

		if (facts[i].reached && facts[i].fold)
			l->insns[i] = constant(&l->insns[i], facts[i].value);
		else if (facts[i].reached && facts[i].probe)
			l->insns[i].code = probe_load(l->insns[i].code);
		if (!facts[i].reached) {
			l->insns[i] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
			if (wide)
				l->insns[i + 1] = l->insns[i];
		}
		i += wide;
	}
}

/* Values of maps in maps are as their own descriptions say: nobody compares those when they are looked up. */
static u32 proofs(const struct prog_load *l, const struct verifier_result *r)
{
	u32 ret = PROG_IS_SAFE | (r->counts_cpus ? 0 : PROG_IS_PROVEN);

	for (u32 i = 0; i < l->shape_count; i++)
		if (l->shape[i].type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
		    l->shape[i].type == BPF_MAP_TYPE_HASH_OF_MAPS)
			ret &= ~(u32)PROG_IS_PROVEN;
	if (!r->loops)
		ret |= PROG_IS_ENDING | (r->assumes ? 0 : PROG_IS_SHORT);
	return ret;
}

static int verify(struct prog_load *l, const struct loader_call *c, const union bpf_attr *a)
{
	struct verification *f = calloc(1, sizeof(*f));
	struct verifier_result result;
	int err = f ? describe(f, l, c, a) : -ENOMEM;

	if (!err)
		err = verifier_check(&f->prog, &l->log.sink, l->log.level, NULL, &result);
	if (!err) {
		apply(l, f->facts);
		if (f->asks_unknown)
			loader_say("limpet: program %.15s reads %s of struct %s, which limpet does not know: it gets 0 (docs/helpers.md)\n",
				   a->prog_name, *f->member ? f->member : "a member without a name", f->type);
		l->verified = proofs(l, &result);
		l->ctx_end = result.ctx_end;
		l->processed = result.insns;
	}
	if (f) {
		btf_close(&f->btf);
		if (f->kernel.types)
			btf_close(&f->kernel);
		free(f->facts);
	}
	free(f);
	return err;
}

int prog_shape(struct prog_load *l, const struct loader_call *c)
{
	const struct bpf_check_env env = {.map_count = l->map_count,
					  .map_value_size = l->value_size,
					  .helper_known = any_helper,
					  .kfuncs = true,
					  .log = &l->log.text};

	return atomic_load(&c->store->file->no_verify) ? 0 : bpf_check(l->insns, l->count, &env);
}

int prog_verify(struct prog_load *l, const struct loader_call *c, const union bpf_attr *a)
{
	if (atomic_load(&c->store->file->no_verify))
		return 0;
	log_take(&l->log);
	return verify(l, c, a);
}
