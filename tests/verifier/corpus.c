/* SPDX-License-Identifier: MIT */
/*
 * Asks limpet's verifier and, where it may be asked, the kernel's about the programs of corpus.h: verdict and errno must
 * be the same, and the reason, the last line of the log before the statistics.
 *
 *     verifier-corpus [NAME]     NAME: shows both logs of one
 *     verifier-corpus -l         limpet's verdicts: a line "NAME ERRNO REASON" each
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bpf/check.h"
#include "corpus.h"
#include "reason.h"
#include "verifier/verifier.h"

#define LOG 65536

static bool any_helper(u32 id)
{
	return bpf_helper_desc(id) != NULL;
}

/* What is not reached may be anything. */
static bool anything(u32 id)
{
	return true;
}

static u32 length(const struct row *r)
{
	u32 n = MAX;

	while (n && !r->p[n - 1].code)
		n--;
	return n;
}

#define MAPS 6

static int map_fd[MAPS];

/* Functions that are callbacks need types. */
static struct btf *types;
static int types_fd = -1, func_type;
static struct bpf_func_info funcs[MAX / 2];

static void make_types(void)
{
	const void *raw;
	u32 n;

	types = btf__new_empty();
	func_type = btf__add_func(types, "function", BTF_FUNC_STATIC,
				  btf__add_func_proto(types, btf__add_int(types, "long", 8, BTF_INT_SIGNED)));
	raw = btf__raw_data(types, &n);
	types_fd = bpf_btf_load(raw, n, NULL);
}

static const struct verifier_map maps[MAPS] = {
	{.name = "value",
	 .type = BPF_MAP_TYPE_ARRAY,
	 .key_size = 4,
	 .value_size = VALUE,
	 .max_entries = 1,
	 .lock_off = -1},
	{.name = "hash",
	 .type = BPF_MAP_TYPE_HASH,
	 .key_size = 4,
	 .value_size = VALUE,
	 .max_entries = 4,
	 .lock_off = -1},
	{.name = "ring", .type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096, .lock_off = -1},
	{.name = "progs",
	 .type = BPF_MAP_TYPE_PROG_ARRAY,
	 .key_size = 4,
	 .value_size = 4,
	 .max_entries = 4,
	 .lock_off = -1},
	{.name = "readonly",
	 .type = BPF_MAP_TYPE_ARRAY,
	 .key_size = 4,
	 .value_size = VALUE,
	 .max_entries = 1,
	 .flags = BPF_F_RDONLY_PROG,
	 .lock_off = -1},
	{.name = "queue", .type = BPF_MAP_TYPE_QUEUE, .value_size = VALUE, .max_entries = 4, .lock_off = -1},
};

static u32 type_of(const struct row *r)
{
	return r->type ? r->type : BPF_PROG_TYPE_KPROBE;
}

/* How many of `funcs` are filled in: 0 when nothing needs them, callbacks and functions with tail calls. */
static u32 find_funcs(const struct row *r)
{
	u32 n = 1;
	bool callback = false, tail_call = false;

	funcs[0] = (struct bpf_func_info){0, (u32)func_type};
	for (u32 i = 0; i < length(r); i++) {
		const bool is_callback = r->p[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
					 r->p[i].src_reg == BPF_PSEUDO_FUNC;

		callback |= is_callback;
		tail_call |= r->p[i].code == (BPF_JMP | BPF_CALL) && !r->p[i].src_reg && r->p[i].imm == BPF_FUNC_tail_call;
		if (is_callback || (r->p[i].code == (BPF_JMP | BPF_CALL) &&
				    r->p[i].src_reg == BPF_PSEUDO_CALL))
			funcs[n++] = (struct bpf_func_info){i + 1 + (u32)r->p[i].imm, (u32)func_type};
	}
	return callback || (tail_call && n > 1) ? n : 0;
}

static struct btf *vmlinux;

static int kernel_btf(void *arg, const void **ret, u32 *ret_size)
{
	*ret = vmlinux ? btf__raw_data(vmlinux, ret_size) : NULL;
	return *ret ? 0 : -ENOENT;
}
static bool ends_late; /* what was verified last */

static int by_limpet(const struct row *r, char *text, u32 level)
{
	u32 size;
	const void *raw = btf__raw_data(types, &size);
	const struct verifier_prog prog = {.insns = r->p,
					   .insn_count = length(r),
					   .type = type_of(r),
					   .gpl = !r->not_gpl,
					   .strict_alignment = r->flags & BPF_F_STRICT_ALIGNMENT,
					   .sleepable = r->sleepable,
					   .cpus = (u32)libbpf_num_possible_cpus(),
					   .maps = maps,
					   .map_count = MAPS,
					   .btf = raw,
					   .btf_size = size,
					   .funcs = funcs,
					   .func_count = find_funcs(r),
					   .helper_known = any_helper,
					   .kernel_btf = kernel_btf};
	struct bpf_log check_log = {.buf = text, .size = LOG};
	const struct bpf_check_env env = {.map_count = MAPS, .helper_known = anything, .log = &check_log};
	struct verifier_sink log = {.keep = LOG - 1};
	struct verifier_result result;
	int err = bpf_check(r->p, length(r), &env);

	if (!err) {
		err = verifier_check(&prog, &log, level, NULL, &result);
		sink_copy(&log, text, LOG);
		ends_late = result.loops;
	}
	sink_free(&log);
	return err;
}

/* Calls of limpet's own helpers are calls of kernel functions there. False: this kernel has not got it. */
static bool for_kernel(const struct row *r, struct bpf_insn *p, const struct btf *btf)
{
	for (u32 i = 0; i < length(r); i++) {
		const struct bpf_kfunc *k;
		int id;

		if (p[i].code == (BPF_LD | BPF_IMM | BPF_DW) && p[i].src_reg &&
		    p[i].src_reg != BPF_PSEUDO_FUNC)
			p[i].imm = map_fd[p[i].imm];
		k = p[i].code == (BPF_JMP | BPF_CALL) && !p[i].src_reg
			    ? bpf_kfunc_by_helper((u32)p[i].imm)
			    : NULL;
		if (!k)
			continue;
		id = btf ? btf__find_by_name_kind(btf, k->name, BTF_KIND_FUNC) : -1;
		if (id < 0)
			return false;
		p[i].src_reg = BPF_PSEUDO_KFUNC_CALL;
		p[i].imm = id;
	}
	return true;
}

/* Level 4, statistics: the reason alone. */
static int by_kernel(const struct row *r, const struct btf *btf, char *text, u32 level)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .log_buf = text, .log_size = LOG, .log_level = level,
		    .prog_btf_fd = (u32)types_fd, .func_info = funcs, .func_info_cnt = find_funcs(r),
		    .func_info_rec_size = sizeof(funcs[0]), .prog_flags = r->flags | (r->sleepable ? BPF_F_SLEEPABLE : 0));
	struct bpf_insn p[MAX];
	int fd;

	memcpy(p, r->p, sizeof(p));
	if (!for_kernel(r, p, btf))
		return 1;
	fd = bpf_prog_load(type_of(r), NULL, r->not_gpl ? "Proprietary" : "GPL", p, length(r), &opts);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static bool check_row(const struct row *r, bool kernel, const struct btf *btf)
{
	static char text[LOG], theirs[LOG];
	int err = by_limpet(r, text, 4), other = kernel ? by_kernel(r, btf, theirs, 4) : 1;
	const bool skip = other == 1;
	bool ok = err == r->err && (!r->says || strstr(text, r->says));

	if (ok && r->ends && ends_late != (r->ends == LATE)) {
		printf("# %s: it is %s to be over soon\n", r->name, ends_late ? "not shown" : "shown");
		return false;
	}

	if (ok && !skip && !r->differ)
		ok = err == other && (!err || !strcmp(log_reason(text), log_reason(theirs)));
	if (ok && !skip && r->differ)
		ok = err != other || strcmp(log_reason(text), log_reason(theirs));
	if (ok)
		return true;
	printf("# %s: %d, expected %d \"%s\"\n#   %s\n", r->name, err, r->err, r->says ? r->says : "",
	       err ? log_reason(text) : "accepted");
	if (!skip)
		printf("# the kernel: %d\n#   %s\n", other, other ? log_reason(theirs) : "accepted");
	return false;
}

static void show_row(const struct row *r, const struct btf *btf)
{
	static char text[LOG];
	int err = by_limpet(r, text, 1);

	printf("%s\nlimpet: %d\n", text, err);
	err = by_kernel(r, btf, text, 1);
	printf("%s\nthe kernel: %d\n", text, err);
}

/* The reason may have lines, which become one. */
static void list_row(const struct row *r)
{
	static char text[LOG];
	int err = by_limpet(r, text, 4);

	*log_statistics(text) = 0;
	for (char *at = text; (at = strchr(at, '\n'));)
		*at = ' ';
	printf("%s %d %s\n", r->name, -err, err ? text : "");
}

int main(int argc, char **argv)
{
	static const struct row *const themes[] = {rows_basic, rows_holes, rows_record, rows_kfunc, rows_dynptr,
						   rows_branch, rows_flow, rows_rules, rows_object};
	struct btf *btf = vmlinux = btf__load_vmlinux_btf();
	bool kernel;
	int bad = 0;

	make_types();
	kernel = types_fd >= 0;
	for (u32 i = 0; i < MAPS; i++) {
		const struct verifier_map *m = &maps[i];

		LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = m->flags);

		map_fd[i] = bpf_map_create(m->type, m->name, m->key_size, m->value_size,
					   m->max_entries, &opts);
		kernel &= map_fd[i] >= 0;
	}
	for (u32 t = 0; t < ARRAY_SIZE(themes); t++)
		for (const struct row *r = themes[t]; r->name; r++) {
			bool ok;

			if (argc > 1) {
				if (!strcmp(argv[1], "-l"))
					list_row(r);
				else if (!strcmp(r->name, argv[1]))
					show_row(r, btf);
				continue;
			}
			ok = check_row(r, kernel, btf);
			printf("%s %s\n", ok ? "ok" : "not ok", r->name);
			bad += !ok;
		}
	if (!kernel && argc == 1)
		puts("skip the kernel's verdict on them: bpf(2) is not allowed here");
	btf__free(btf);
	return bad != 0;
}
