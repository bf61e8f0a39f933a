/* SPDX-License-Identifier: MIT */
/*
 * Ways through the kernel's objects, by limpet's verifier and by the kernel's: programs that begin at the current task and load
 * again and again through what they have loaded, at places and of sizes that are mostly a member's, sleepable or not, in an RCU
 * section or not, tested for NULL or not, cast to others, and at last hand it to a helper. Verdict and reason must be the same.
 *
 * usage: object_fuzz [PROGRAMS [FIRST]]; LIMPET_LONG=1: two hundred thousand
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bpf/kfunc.h"
#include "corpus.h"
#include "verifier/verifier.h"

#define LOG 65536

static struct btf *vmlinux;
static struct bpf_insn p[MAX];
static u32 count;
static u64 seed;
static bool sleepable;

static u32 any(u32 n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(seed >> 33) % n;
}

static void emit(struct bpf_insn in)
{
	p[count++] = in;
}

static const struct btf_type *strip(u32 id, u32 *ret_id)
{
	const struct btf_type *t = btf__type_by_id(vmlinux, id);

	while (btf_is_mod(t) || btf_is_typedef(t) || btf_is_type_tag(t)) {
		id = t->type;
		t = btf__type_by_id(vmlinux, id);
	}
	*ret_id = id;
	return t;
}

/* A member of the structure, or of one within it: its place, its size; where it is a pointer to one, that one, else 0. */
static u32 pick(u32 id, bool pointers, u32 *off, u32 *size)
{
	const struct btf_type *t = btf__type_by_id(vmlinux, id), *m;
	u32 i, type, at;

	for (*off = 0, *size = 8; btf_is_composite(t) && btf_vlen(t);) {
		for (u32 tries = 0; tries < 40; tries++) {
			i = any(btf_vlen(t));
			m = strip(btf_members(t)[i].type, &type);
			if (!pointers || btf_is_ptr(m) || btf_is_composite(m))
				break;
		}
		at = btf_member_bit_offset(t, i) / 8;
		*off += at;
		while (btf_is_array(m)) {
			const s64 whole = btf__resolve_size(vmlinux, type), each = btf__resolve_size(vmlinux, btf_array(m)->type);

			if (whole > 0 && each > 0)
				*off += any((u32)(whole / each)) * (u32)each;
			m = strip(btf_array(m)->type, &type);
		}
		*size = (u32)btf__resolve_size(vmlinux, type);
		if (btf_is_ptr(m)) {
			u32 to;

			*size = 8;
			return btf_is_composite(strip(m->type, &to)) ? to : 0;
		}
		t = m;
	}
	return 0;
}

static void load(u32 off, u32 size)
{
	static const u8 codes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	const u32 log2 = size >= 8 ? 3 : size >= 4 ? 2 : size >= 2 ? 1 : 0, n = any(10) ? log2 : any(4);
	const u8 mode = n < 3 && !any(6) ? BPF_MEMSX : BPF_MEM;

	if (!any(12))
		off += any(17) - 8;
	if (any(4) && (s32)off == (s16)off) {
		emit((struct bpf_insn)I(BPF_LDX | mode | codes[n], 6, 6, (s16)off, 0));
		return;
	}
	emit((struct bpf_insn)ALU(BPF_ADD, 6, (s32)off));
	emit((struct bpf_insn)I(BPF_LDX | mode | codes[n], 6, 6, 0, 0));
}

static void generate(s32 task)
{
	const bool section = !any(3);
	u32 type = (u32)task, off, size;
	bool open = section;

	count = 0;
	sleepable = !any(3);
	if (section)
		emit((struct bpf_insn)CALL(HELPER_RCU_READ_LOCK));
	emit((struct bpf_insn)CALL(BPF_FUNC_get_current_task_btf));
	emit((struct bpf_insn)MOVX(6, 0));
	if (!any(8)) {
		emit((struct bpf_insn)MOVX(1, 6));
		emit((struct bpf_insn)CALL(BPF_FUNC_task_pt_regs));
		emit((struct bpf_insn)MOVX(6, 0));
		type = (u32)btf__find_by_name_kind(vmlinux, "pt_regs", BTF_KIND_STRUCT);
	}
	for (u32 steps = 1 + any(5); steps && type; steps--) {
		if (!any(6)) { /* whatever it is, as something else: mostly a task */
			type = any(3) ? (u32)task : any(any(2) ? 100 : btf__type_cnt(vmlinux));
			emit((struct bpf_insn)MOVX(1, 6));
			emit((struct bpf_insn)MOV(2, (s32)type));
			emit((struct bpf_insn)CALL(HELPER_RDONLY_CAST));
			emit((struct bpf_insn)MOVX(6, 0));
		}
		type = pick(type, steps > 1, &off, &size);
		load(off, size);
		if (!any(3)) {
			emit((struct bpf_insn)J(BPF_JNE, 6, 0, 2));
			emit((struct bpf_insn)MOV(0, 0));
			if (open) { /* section or none: the exit would be refused for that */
				p[count - 2].off = 3;
				emit((struct bpf_insn)CALL(HELPER_RCU_READ_UNLOCK));
				emit((struct bpf_insn)MOV(0, 0));
			}
			if (open)
				p[count - 4].off = 4;
			emit((struct bpf_insn)EXIT);
		}
		if (open && !any(8)) {
			emit((struct bpf_insn)CALL(HELPER_RCU_READ_UNLOCK));
			open = false;
		}
	}
	if (!any(3)) {
		emit((struct bpf_insn)MOVX(1, 6));
		emit((struct bpf_insn)CALL(BPF_FUNC_task_pt_regs));
	}
	if (open)
		emit((struct bpf_insn)CALL(HELPER_RCU_READ_UNLOCK));
	emit((struct bpf_insn)MOV(0, 0));
	emit((struct bpf_insn)EXIT);
}

static int types(void *arg, const void **ret, u32 *ret_size)
{
	*ret = btf__raw_data(vmlinux, ret_size);
	return *ret ? 0 : -ENOMEM;
}

static int by_limpet(char *text)
{
	struct verifier_prog prog = {.insns = p, .insn_count = count, .type = BPF_PROG_TYPE_KPROBE, .gpl = true,
				     .sleepable = sleepable, .kernel_btf = types};
	struct verifier_sink log = {.keep = LOG - 1};
	struct verifier_result result;
	int err = verifier_check(&prog, &log, 4, NULL, &result);

	sink_copy(&log, text, LOG);
	sink_free(&log);
	return err;
}

static int by_kernel(char *text)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .log_buf = text, .log_size = LOG, .log_level = 4,
		    .prog_flags = sleepable ? BPF_F_SLEEPABLE : 0);
	struct bpf_insn theirs[MAX];
	int fd;

	memcpy(theirs, p, sizeof(theirs));
	for (u32 i = 0; i < count; i++)
		if (p[i].code == (BPF_JMP | BPF_CALL) && p[i].imm >= HELPER_OWN_FIRST) {
			theirs[i].src_reg = BPF_PSEUDO_KFUNC_CALL;
			theirs[i].imm = btf__find_by_name_kind(vmlinux, bpf_kfunc_by_helper((u32)p[i].imm)->name, BTF_KIND_FUNC);
		}
	fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", theirs, count, &opts);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static const char *reason(char *text)
{
	char *end = strstr(text, "verification time "), *start;

	if (!end)
		end = strstr(text, "processed ");
	if (!end)
		end = text + strlen(text);
	while (end > text && end[-1] == '\n')
		end--;
	*end = 0;
	start = strrchr(text, '\n');
	return start ? start + 1 : text;
}

int main(int argc, char **argv)
{
	const u64 programs = argc > 1 ? strtoull(argv[1], NULL, 0) : getenv("LIMPET_LONG") ? 200000 : 1500,
		  first = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	static char mine[LOG], theirs[LOG];
	u64 bad = 0, accepted = 0;
	s32 task;

	vmlinux = btf__load_vmlinux_btf();
	task = vmlinux ? btf__find_by_name_kind(vmlinux, "task_struct", BTF_KIND_STRUCT) : -1;
	p[0] = (struct bpf_insn)MOV(0, 0);
	p[1] = (struct bpf_insn)EXIT;
	count = 2;
	if (task < 0 || by_kernel(theirs)) {
		puts("skip objects: the kernel's bpf(2) is not to be had here, or it has no types");
		return 0;
	}
	for (u64 n = first; n < first + programs && bad < 10; n++) {
		int a, b;

		seed = n * 2654435761u;
		generate(task);
		a = by_limpet(mine);
		b = by_kernel(theirs);
		accepted += !b;
		if (a == b && (!a || !strcmp(reason(mine), reason(theirs))))
			continue;
		bad++;
		printf("# program %llu (%s): %d %s\n#   the kernel: %d %s\n", (unsigned long long)n,
		       sleepable ? "sleepable" : "not sleepable", a, a ? reason(mine) : "", b, b ? reason(theirs) : "");
	}
	printf("# %llu programs, %llu of them accepted by the kernel\n", (unsigned long long)programs, (unsigned long long)accepted);
	if (accepted * 10 < programs && programs >= 100)
		bad++;
	printf("%s objects\n", bad ? "not ok" : "ok");
	return bad != 0;
}
