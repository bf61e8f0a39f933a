/* SPDX-License-Identifier: MIT */
/*
 * Calls of kernel functions, which programs name by their BTF id in the kernel's BTF. Those that limpet has
 * are helpers with numbers above the kernel's (bpf/kfunc.h); as such they are stored, and nobody can call
 * them by number. Others stay calls, with their name kept, for the verifier to refuse where they are reached: a
 * program may ask what there is (bpf_ksym_exists) and go another way.
 */
#include "loader/prog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/kfunc.h"
#include "loader/btf.h"

#define MAX_UNKNOWN 256 /* as the kernel's MAX_KFUNC_DESCS */

static const char *function_name(const struct btf *b, u32 id)
{
	const struct btf_type *t = btf_type(b, id);

	if (!t || BTF_INFO_KIND(t->info) != BTF_KIND_FUNC || t->name_off >= b->head.str_len)
		return NULL;
	return b->strings + t->name_off;
}

/* One that it may not call. A call without an id is libbpf's mark for what this system lacks. */
static int keep_unknown(struct prog_load *l, struct bpf_insn *in, const char *name)
{
	char(*more)[KFUNC_NAME];

	if (l->kfunc_count == MAX_UNKNOWN) {
		bpf_log(&l->log.text, "too many different kernel function calls\n");
		return -E2BIG;
	}
	more = realloc(l->kfunc, (l->kfunc_count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->kfunc = more;
	snprintf(more[l->kfunc_count], sizeof(*more), "%s", name);
	in->imm = (s32)l->kfunc_count++;
	return 0;
}

static int resolve_one(struct prog_load *l, const struct btf *b, struct bpf_insn *in,
		       u32 attach_type)
{
	const bool none = !in->imm && !in->off;
	const char *name = none ? "" : in->off ? NULL : function_name(b, (u32)in->imm);
	const struct bpf_kfunc *k;

	if (!name) {
		bpf_log(&l->log.text, "kernel btf_id %d is not a function\n", in->imm);
		return -EINVAL;
	}
	k = bpf_kfunc_by_name(name);
	if (!k || (k->attach_type && k->attach_type != attach_type))
		return keep_unknown(l, in, name);
	in->src_reg = 0;
	in->imm = (s32)k->helper;
	return 0;
}

int prog_resolve_kfuncs(struct prog_load *l, const union attr_more *a)
{
	struct btf b = {0};
	int err = 0;

	for (u32 i = 0; !err && i < l->count; i++) {
		struct bpf_insn *in = &l->insns[i];

		if (in->code != (BPF_JMP | BPF_CALL))
			continue;
		/* other numbers that no helper has may stand where nothing goes: libbpf writes such for
		 * what a system lacks, and the verifier looks at what is reached */
		if (!in->src_reg && in->imm >= HELPER_OWN_FIRST && bpf_helper_desc((u32)in->imm)) {
			bpf_log(&l->log.text, "invalid func unknown#%d\n", in->imm);
			err = -EINVAL;
		}
		if (in->src_reg != BPF_PSEUDO_KFUNC_CALL)
			continue;
		if (!l->gpl) {
			bpf_log(&l->log.text,
				"cannot call kernel function from non-GPL compatible program\n");
			err = -EINVAL;
		}
		if (!err && !b.types)
			err = btf_open_kernel(&b);
		if (!err)
			err = resolve_one(l, &b, in, a->attr.expected_attach_type);
	}
	if (b.types)
		btf_close(&b);
	return err;
}
