/* SPDX-License-Identifier: MIT */
/*
 * Calls of kernel functions, which programs name by their BTF id in the kernel's BTF. The few that limpet has
 * are helpers with numbers above the kernel's (bpf/helper_desc.h); as such they are stored, and nobody
 * can call them by number.
 */
#include "loader/prog.h"

#include <errno.h>
#include <string.h>
#include "bpf/helper_desc.h"
#include "loader/btf.h"

static const struct {
	const char *name;
	u32 helper;
	u32 attach_type; /* of the programs that may call it */
} known[] = {
	{"bpf_session_is_return", HELPER_SESSION_IS_RETURN, ATTACH_UPROBE_SESSION},
	{"bpf_session_cookie", HELPER_SESSION_COOKIE, ATTACH_UPROBE_SESSION},
};

static const char *function_name(const struct btf *b, u32 id)
{
	const struct btf_type *t = btf_type(b, id);

	if (!t || BTF_INFO_KIND(t->info) != BTF_KIND_FUNC || t->name_off >= b->head.str_len)
		return NULL;
	return b->strings + t->name_off;
}

static int resolve_one(struct prog_load *l, const struct btf *b, struct bpf_insn *in,
		       u32 attach_type)
{
	const char *name = in->off ? NULL : function_name(b, (u32)in->imm);

	if (!name) {
		bpf_log(&l->log.text, "kernel btf_id %d is not a function\n", in->imm);
		return -EINVAL;
	}
	for (u32 i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(name, known[i].name) && attach_type == known[i].attach_type) {
			in->src_reg = 0;
			in->imm = (s32)known[i].helper;
			return 0;
		}
	bpf_log(&l->log.text, "calling kernel function %s is not allowed\n", name);
	return -EACCES;
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
