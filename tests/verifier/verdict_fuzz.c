/* SPDX-License-Identifier: MIT */
/*
 * Generated programs (edge_gen.h), by limpet's verifier and by the kernel's. What limpet accepts and the kernel does
 * not is a failure; what the kernel alone accepts is counted and may be 2 %.
 *
 * Of those with loops, which may be followed a million instructions by both, only one in eight is taken.
 *
 * usage: verdict_fuzz [SEEDS [FIRST-SEED [show|reasons]]]; LIMPET_LONG=1: a hundred thousand programs. show: both logs of that
 * seed; reasons: of programs that both refuse, how often the two give which reasons.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bpf/check.h"
#include "bpf/kfunc.h"
#include "edge_gen.h"
#include "reason.h"
#include "verifier/verifier.h"

#define LOG_SIZE (16u << 20)

static int map_fd[EDGE_MAPS];
static char *text;
static struct btf *btf;
static int btf_fd = -1, func_type[2]; /* of the main function, and of the others */
static struct bpf_func_info funcs[16];
static int kfunc_id[HELPER_COPY_FROM_USER_STR - HELPER_OWN_FIRST + 1];

static bool make_maps(void)
{
	bool all = true;

	for (u32 i = 0; i < EDGE_MAPS; i++) {
		const struct verifier_map *m = &edge_maps[i];

		map_fd[i] = bpf_map_create(m->type, m->name, m->key_size, m->value_size, m->max_entries, NULL);
		all &= map_fd[i] >= 0;
	}
	return all;
}

/* Callbacks need a type. */
static bool make_types(void)
{
	const void *raw;
	int number, proto;
	u32 n;

	btf = btf__new_empty();
	number = btf__add_int(btf, "long", 8, BTF_INT_SIGNED);
	proto = btf__add_func_proto(btf, number);
	func_type[0] = btf__add_func(btf, "probe", BTF_FUNC_STATIC, proto);
	func_type[1] = btf__add_func(btf, "called", BTF_FUNC_STATIC, proto);
	raw = btf__raw_data(btf, &n);
	btf_fd = bpf_btf_load(raw, n, NULL);
	return btf_fd >= 0;
}

/* The ids of kernel functions by limpet's numbers. False: it has not got them all. */
static bool find_kfuncs(void)
{
	struct btf *vmlinux = btf__load_vmlinux_btf();
	bool all = vmlinux;

	for (u32 i = HELPER_ITER_NUM_NEW; i <= HELPER_COPY_FROM_USER_STR && all; i++) {
		kfunc_id[i - HELPER_OWN_FIRST] =
			btf__find_by_name_kind(vmlinux, bpf_kfunc_by_helper(i)->name, BTF_KIND_FUNC);
		all = kfunc_id[i - HELPER_OWN_FIRST] > 0;
	}
	btf__free(vmlinux);
	return all;
}

static u32 take_funcs(const struct edge_gen *g)
{
	u32 n = 1;

	funcs[0] = (struct bpf_func_info){0, (u32)func_type[0]};
	for (u32 i = 0; i < g->sub_calls; i++)
		funcs[n++] = (struct bpf_func_info){
			(u32)((s32)g->sub_call[i] + 1 + g->insns[g->sub_call[i]].imm),
			(u32)func_type[1]};
	return n;
}

static int by_kernel(const struct edge_gen *g, u32 log_level)
{
	static struct bpf_insn insns[EDGE_INSNS];
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .log_level = log_level, .log_buf = text,
		    .log_size = LOG_SIZE, .prog_btf_fd = (u32)btf_fd, .func_info = funcs,
		    .func_info_cnt = take_funcs(g), .func_info_rec_size = sizeof(funcs[0]));
	int fd;

	if (!log_level)
		opts.log_buf = NULL, opts.log_size = 0;
	memcpy(insns, g->insns, g->count * sizeof(*insns));
	for (u32 i = 0; i < g->count; i++)
		if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    insns[i].src_reg != BPF_PSEUDO_FUNC && insns[i].src_reg)
			insns[i].imm = map_fd[insns[i].imm];
	for (u32 i = 0; i < g->count; i++)
		if (insns[i].code == (BPF_JMP | BPF_CALL) && !insns[i].src_reg &&
		    insns[i].imm >= HELPER_OWN_FIRST) {
			insns[i].src_reg = BPF_PSEUDO_KFUNC_CALL;
			insns[i].imm = kfunc_id[insns[i].imm - HELPER_OWN_FIRST];
		}
	fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", insns, g->count, &opts);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int by_limpet(const struct edge_gen *g, u32 log_level)
{
	struct verifier_prog prog = {.insns = g->insns,
				     .insn_count = g->count,
				     .type = BPF_PROG_TYPE_KPROBE,
				     .gpl = true,
				     .maps = edge_maps,
				     .map_count = EDGE_MAPS,
				     .funcs = funcs,
				     .func_count = take_funcs(g)};
	const struct bpf_check_env env = {.map_count = EDGE_MAPS};
	struct verifier_sink log = {.keep = log_level ? LOG_SIZE : 0};
	struct verifier_result result;
	u32 size;
	int err = bpf_check(g->insns, g->count, &env);

	prog.btf = btf__raw_data(btf, &size);
	prog.btf_size = size;
	if (!err)
		err = verifier_check(&prog, &log, log_level, NULL, &result);
	if (log_level)
		sink_copy(&log, text, LOG_SIZE);
	sink_free(&log);
	return err;
}

static bool calls_kfuncs(const struct edge_gen *g)
{
	for (u32 i = 0; i < g->count; i++)
		if (g->insns[i].code == (BPF_JMP | BPF_CALL) && !g->insns[i].src_reg &&
		    g->insns[i].imm >= HELPER_OWN_FIRST)
			return true;
	return false;
}

static void show(u64 seed)
{
	static struct edge_gen g;

	edge_generate(&g, seed);
	printf("kernel %d\n", by_kernel(&g, 2));
	puts(text);
	puts("=====");
	printf("limpet %d\n", by_limpet(&g, 2));
	puts(text);
}

/* Both have refused it: with the same errno, for the same reason? `show`: how, for sort, uniq and a look. */
static bool same_reason(const struct edge_gen *g, u64 seed, bool show)
{
	const int theirs = by_kernel(g, 4);
	char *b = strdup(log_reason(text));
	const int ours = by_limpet(g, 4);
	char *a = strdup(log_reason(text));
	const bool same = ours == theirs && !strcmp(a, b);

	if (show)
		printf("%s %llu %d %d | %s | %s\n", same ? "same" : "differ", (unsigned long long)seed, ours, theirs, a, b);
	free(a);
	free(b);
	return same;
}

int main(int argc, char **argv)
{
	u64 seeds = argc > 1 ? strtoull(argv[1], NULL, 0) : getenv("LIMPET_LONG") ? 180000 : 900;
	u64 first = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, bad = 0, stricter = 0, accepted = 0;
	u64 programs = 0, given_up = 0, both = 0, other_words = 0;
	bool kfuncs;
	static struct edge_gen g;

	setvbuf(stdout, NULL, _IOLBF, 0);
	text = calloc(1, LOG_SIZE);
	if (!text || !make_maps() || !make_types())
		return puts("skip the kernel's verdict: bpf(2) is not allowed here"), 0;
	kfuncs = find_kfuncs();
	if (argc > 3 && strcmp(argv[3], "reasons"))
		return show(first), 0;
	for (u64 seed = first; seed < first + seeds; seed++) {
		int ours, theirs;

		edge_generate(&g, seed);
		if ((g.loops && seed % 8) || (!kfuncs && calls_kfuncs(&g)))
			continue;
		ours = by_limpet(&g, 0);
		theirs = by_kernel(&g, 0);
		if (theirs == -EFAULT || theirs == -E2BIG ||
		    theirs == -ENOMEM) { /* "verifier bug", and given up: no verdict */
			given_up++;
			continue;
		}
		programs++;
		accepted += !theirs;
		if (!ours && theirs && bad++ < 20)
			printf("# seed %llu: limpet accepts, the kernel answers %d\n",
			       (unsigned long long)seed, theirs);
		if (ours && theirs && !g.loops) {
			both++;
			other_words += !same_reason(&g, seed, argc > 3);
		}
		if (ours && !theirs && stricter++ < 20)
			printf("# seed %llu: limpet answers %d, the kernel accepts\n",
			       (unsigned long long)seed, ours);
	}
	printf("# %llu programs, the kernel accepted %llu and gave %llu more up; limpet alone "
	       "accepted %llu, "
	       "refused %llu\n",
	       (unsigned long long)programs, (unsigned long long)accepted,
	       (unsigned long long)given_up, (unsigned long long)bad, (unsigned long long)stricter);
	printf("# of %llu that both refuse and that have no loop, %llu with another errno or for another reason\n",
	       (unsigned long long)both, (unsigned long long)other_words);
	puts(!bad ? "ok nothing is accepted that the kernel refuses"
		  : "not ok nothing is accepted that the kernel refuses");
	puts(stricter * 50 <= programs ? "ok nearly all is accepted that the kernel accepts"
				       : "not ok nearly all is accepted that the kernel accepts");
	puts(other_words * 100 <= both ? "ok errno and reason are the kernel's" : "not ok errno and reason are the kernel's");
	return bad || stricter * 50 > programs || other_words * 100 > both;
}
