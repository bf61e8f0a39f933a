/* SPDX-License-Identifier: MIT */
/* limpet/verify.h: the public structures, looked at and handed to the verifier in its own. */
#include "limpet/verify.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include "bpf/check.h"
#include "verifier/verifier.h"

#define MAX_MAPS  64
#define ALL_FLAGS (LIMPET_VERIFY_GPL | LIMPET_VERIFY_SLEEPS | LIMPET_VERIFY_STRICT)

struct description {
	struct verifier_map maps[MAX_MAPS], inner[MAX_MAPS];
	u32 value_size[MAX_MAPS];
};

static bool is_zero(const u64 *reserved, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (reserved[i])
			return false;
	return true;
}

static bool describe_map(struct verifier_map *to, const struct limpet_verify_map *m)
{
	*to = (struct verifier_map){.name = m->name ? m->name : "",
				    .type = m->type,
				    .key_size = m->key_size,
				    .value_size = m->value_size,
				    .max_entries = m->max_entries,
				    .flags = m->flags,
				    .constant = m->constant,
				    .lock_off = m->lock_offset};
	if (m->constant && (m->type != BPF_MAP_TYPE_ARRAY || m->max_entries != 1))
		return false;
	if (m->lock_offset < -1 || (m->lock_offset >= 0 && (u64)m->lock_offset + 4 > m->value_size))
		return false;
	return is_zero(m->reserved, ARRAY_SIZE(m->reserved));
}

static bool holds_maps(u32 type)
{
	return type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

static bool describe_maps(struct description *d, const struct limpet_verify_program *p)
{
	for (size_t i = 0; i < p->map_count; i++) {
		const struct limpet_verify_map *m = &p->maps[i];

		if (!describe_map(&d->maps[i], m) || holds_maps(m->type) != !!m->inner)
			return false;
		/* BPF_PSEUDO_MAP_VALUE is for arrays of one element */
		if (m->type == BPF_MAP_TYPE_ARRAY && m->max_entries == 1)
			d->value_size[i] = m->value_size;
		if (!m->inner)
			continue;
		if (!describe_map(&d->inner[i], m->inner) || m->inner->inner)
			return false;
		d->maps[i].inner = &d->inner[i];
	}
	return true;
}

static bool is_sane(const struct limpet_verify_program *p)
{
	if (!p->insns || !p->insn_count || p->insn_count > BPF_MAX_INSNS || p->map_count > MAX_MAPS)
		return false;
	if ((p->map_count && !p->maps) || (p->func_count && !p->funcs) ||
	    (p->line_count && !p->lines))
		return false;
	if (p->btf_size > UINT32_MAX || p->func_count > p->insn_count ||
	    p->line_count > p->insn_count)
		return false;
	if ((p->func_count || p->line_count) && !p->btf)
		return false;
	return !(p->flags & ~ALL_FLAGS) && is_zero(p->reserved, ARRAY_SIZE(p->reserved));
}

static int verify(const struct limpet_verify_program *p, const struct description *d,
		  struct verifier_sink *log, u32 level, struct limpet_verify_result *ret)
{
	const struct verifier_prog prog = {.insns = p->insns,
					   .insn_count = (u32)p->insn_count,
					   .type = p->type,
					   .attach_type = p->attach_type,
					   .gpl = p->flags & LIMPET_VERIFY_GPL,
					   .sleepable = p->flags & LIMPET_VERIFY_SLEEPS,
					   .strict_alignment = p->flags & LIMPET_VERIFY_STRICT,
					   .cpus = p->cpus,
					   .maps = d->maps,
					   .map_count = (u32)p->map_count,
					   .btf = p->btf,
					   .btf_size = (u32)p->btf_size,
					   .funcs = p->funcs,
					   .func_count = (u32)p->func_count,
					   .lines = p->lines,
					   .line_count = (u32)p->line_count};
	struct verifier_result result;
	int err = verifier_check(&prog, log, level, NULL, &result);

	if (!err && ret)
		*ret = (struct limpet_verify_result){.followed = result.insns,
						     .stack_depth = result.stack_depth,
						     .memory = result.memory,
						     .bounded = !result.loops};
	return err;
}

static bool any_helper(u32 id)
{
	return true; /* what is reached must exist: the verifier looks */
}

LIMPET_API int limpet_verify(const struct limpet_verify_program *program,
			     struct limpet_verify_log *log, struct limpet_verify_result *ret)
{
	const u32 level = log ? log->level : 0;
	struct description d = {.maps = {{.name = NULL}}};
	char shape[256] = "";
	struct bpf_log shape_log = {.buf = shape, .size = sizeof(shape)};
	struct bpf_check_env env = {
		.helper_known = any_helper, .map_value_size = d.value_size, .log = &shape_log};
	struct verifier_sink sink = {.keep = log && log->size && level ? log->size - 1 : 0};
	int err = -EINVAL;

	if (log && log->size)
		log->text[0] = 0;
	if (log)
		log->needed = 0;
	if (!program || level > 7 || !is_sane(program) || !describe_maps(&d, program))
		return -EINVAL;
	env.map_count = (u32)program->map_count;
	err = bpf_check(program->insns, (u32)program->insn_count, &env);
	if (err && level)
		sink_write(&sink, shape, strlen(shape));
	if (!err)
		err = verify(program, &d, &sink, level, ret);
	if (log && level) {
		if (log->size)
			sink_copy(&sink, log->text, log->size);
		log->needed = (size_t)sink.most + 1;
	}
	sink_free(&sink);
	return err;
}
