/* SPDX-License-Identifier: MIT */
/*
 * syscall-links SESSION-DIR [NR]: a session with links on all system calls (or one), before and behind, made
 * without a tool. Says "ready"; when its input ends, prints a line "NR ENTERED LEFT" for every number that was
 * seen, and "skipped N". Its programs count by what their contexts say: records, and likewise raw ones,
 * which must come to the same.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "maps/map.h"
#include "store/store.h"

#define NUMBERS 512

static struct store s;

struct counts {
	struct map map;
	u32 id;
	int fd;
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "syscall-links: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void make_counts(struct counts *c)
{
	struct map_def def = {.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8 * NUMBERS, .max_entries = 1};
	void *base;
	int fd;

	must(!map_layout(&c->map, &def), "map");
	fd = store_new(&s, OBJ_MAP, c->map.file_size, &c->id);
	must(fd >= 0, "map");
	base = mmap(NULL, c->map.file_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(base != MAP_FAILED && !map_create(&c->map, base, c->id), "map");
	c->fd = store_publish(&s, OBJ_MAP, c->id, fd);
	must(c->fd >= 0, "map");
}

/* counts[number]++, the number from ctx + off, for raw programs behind a call from their registers. */
static int make_prog(u32 type, u32 off, bool in_regs, u32 map, u32 *ret_id)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 6, .src_reg = 1, .off = (s16)(in_regs ? 0 : off)},
		{.code = BPF_JMP | BPF_JA, .off = in_regs ? 0 : 7},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 1, .imm = -8},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 8},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 3, .src_reg = 6},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 3, .imm = 120}, /* orig_ax */
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_probe_read_kernel},
		{.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 6, .src_reg = 10, .off = -8},
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_VALUE},
		{0},
		{.code = BPF_JMP | BPF_JGE | BPF_K, .dst_reg = 6, .off = 4, .imm = NUMBERS},
		{.code = BPF_ALU64 | BPF_LSH | BPF_K, .dst_reg = 6, .imm = 3},
		{.code = BPF_ALU64 | BPF_ADD | BPF_X, .dst_reg = 1, .src_reg = 6},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 1},
		{.code = BPF_STX | BPF_DW | BPF_ATOMIC, .dst_reg = 1, .src_reg = 2, .imm = BPF_ADD},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	u64 size = PAGE_SIZE;
	int err, fd = store_new(&s, OBJ_PROG, size, ret_id);
	struct prog_file *p;

	must(fd >= 0, "program");
	p = store_map_fd(fd, true, &size, &err);
	must(p, "program");
	store_head(&p->head, OBJ_PROG, *ret_id, size);
	p->type = type;
	p->insn_count = ARRAY_SIZE(insns);
	p->insns_off = sizeof(*p);
	memcpy((u8 *)p + p->insns_off, insns, sizeof(insns));
	p->map_count = 1;
	p->map_ids_off = p->insns_off + sizeof(insns);
	*(u32 *)((u8 *)p + p->map_ids_off) = map;
	munmap(p, size);
	return store_publish(&s, OBJ_PROG, *ret_id, fd);
}

static struct link_stats *make_link(u32 prog, u32 flags, u32 ctx, s32 nr)
{
	u64 size = 2 * PAGE_SIZE;
	struct link_file *l;
	u32 id;
	int err, fd = store_new(&s, OBJ_LINK, size, &id);

	must(fd >= 0, "link");
	l = store_map_fd(fd, true, &size, &err);
	must(l, "link");
	store_head(&l->head, OBJ_LINK, id, size);
	l->type = ctx == SYSCALL_CTX_RAW ? LINK_RAW_TRACEPOINT : LINK_PERF_EVENT;
	l->place = LINK_AT_SYSCALL;
	l->syscall_nr = nr;
	l->syscall_ctx = ctx;
	l->prog_id = prog;
	l->pid = -1;
	l->flags = flags;
	l->probe_count = 1;
	l->probes_off = sizeof(*l);
	l->live = 1;
	must(store_publish(&s, OBJ_LINK, id, fd) >= 0, "link");
	store_changed(&s);
	return (void *)((u8 *)l + PAGE_SIZE);
}

int main(int argc, char **argv)
{
	static struct counts counts[4];
	static struct link_stats *stats[4];
	const s32 nr = argc > 2 ? atoi(argv[2]) : SYSCALL_ALL;
	u64 skipped = 0, *n[4];

	must(argc > 1 && !store_open_path(&s, argv[1], STORE_CREATE), "session");
	for (u32 i = 0; i < 4; i++) {
		const bool raw = i & 2, leave = i & 1;
		u32 prog;

		make_counts(&counts[i]);
		must(make_prog(raw ? BPF_PROG_TYPE_RAW_TRACEPOINT : BPF_PROG_TYPE_TRACEPOINT, 8, raw && leave,
			       counts[i].id, &prog) >= 0, "program");
		stats[i] = make_link(prog, leave ? PROBE_F_RETURN : 0, raw ? SYSCALL_CTX_RAW : SYSCALL_CTX_RECORD, nr);
		n[i] = map_direct_value(&counts[i].map);
	}
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	for (u32 k = 0; k < NUMBERS; k++) {
		if (n[0][k] || n[1][k] || n[2][k] || n[3][k])
			printf("%u %llu %llu\n", k, (unsigned long long)n[0][k], (unsigned long long)n[1][k]);
		if (n[0][k] != n[2][k] || n[1][k] != n[3][k])
			printf("%u differs: raw %llu %llu\n", k, (unsigned long long)n[2][k], (unsigned long long)n[3][k]);
	}
	for (u32 i = 0; i < 4; i++)
		skipped += atomic_load(&stats[i]->skipped) + atomic_load(&stats[i]->faults);
	printf("skipped %llu\n", (unsigned long long)skipped);
	return 0;
}
