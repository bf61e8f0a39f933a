/* SPDX-License-Identifier: MIT */
/*
 * A small tool: counts the hits of probes. `counter FILE:OFFSET[r|d] ...` (r: at the return; d: the
 * program tail-calls itself out of a subprogram as often as it may, and counts each time); every line on
 * standard input is answered by the counts so far; it ends with standard input.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROBES_MAX 64

static int count_prog(int map, int index)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_LD | BPF_DW | BPF_IMM,
		 .dst_reg = 1,
		 .src_reg = BPF_PSEUDO_MAP_VALUE,
		 .imm = map},
		{.imm = index * 8},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 1},
		{.code = BPF_STX | BPF_DW | BPF_ATOMIC, .dst_reg = 1, .src_reg = 2, .imm = BPF_ADD},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_KPROBE, "count", "GPL", insns,
			     sizeof(insns) / sizeof(insns[0]), NULL);
}

/* BTF of two functions that return int; *ret_id: the first one's type. A subprogram that makes tail calls needs that. */
static int two_functions(int *ret_id)
{
	struct btf *btf = btf__new_empty();
	int number = btf__add_int(btf, "int", 4, BTF_INT_SIGNED), proto = btf__add_func_proto(btf, number);

	*ret_id = btf__add_func(btf, "deep", BTF_FUNC_STATIC, proto);
	btf__add_func(btf, "deeper", BTF_FUNC_STATIC, proto);
	return btf__load_into_kernel(btf) ? -1 : btf__fd(btf);
}

/* One that counts, calls a subprogram, and that itself by way of a program array. */
static int deep_prog(int map, int index)
{
	int zero = 0, type, btf = two_functions(&type), progs = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "progs", 4, 4, 1, NULL), prog;
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1},
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = map},
		{.imm = index * 8},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 1},
		{.code = BPF_STX | BPF_DW | BPF_ATOMIC, .dst_reg = 1, .src_reg = 2, .imm = BPF_ADD},
		{.code = BPF_ST | BPF_DW | BPF_MEM, .dst_reg = 10, .off = -200},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 6},
		{.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = 2},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
		{.code = BPF_JMP | BPF_EXIT},
		{.code = BPF_ST | BPF_DW | BPF_MEM, .dst_reg = 10, .off = -200},
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 2, .src_reg = BPF_PSEUDO_MAP_FD, .imm = progs},
		{0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_tail_call},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};

	const struct bpf_func_info functions[] = {{0, (__u32)type}, {10, (__u32)type + 1}};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_btf_fd = (__u32)btf, .func_info = functions, .func_info_cnt = 2,
		    .func_info_rec_size = sizeof(functions[0]));

	prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "deep", "GPL", insns, sizeof(insns) / sizeof(insns[0]), &opts);
	return prog < 0 || bpf_map_update_elem(progs, &zero, &prog, BPF_ANY) ? -1 : prog;
}

static unsigned pmu_type(void)
{
	FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	unsigned type = 0;

	if (!f || fscanf(f, "%u", &type) != 1)
		return 0;
	fclose(f);
	return type;
}

static int probe(int map, int index, char *what)
{
	char *colon = strrchr(what, ':'), *end;
	struct perf_event_attr attr = {
		.size = sizeof(attr), .type = pmu_type(), .sample_period = 1};
	int event, prog;

	if (!colon)
		return -1;
	prog = colon[strlen(colon) - 1] == 'd' ? deep_prog(map, index) : count_prog(map, index);
	if (prog < 0)
		return -1;
	*colon = 0;
	attr.uprobe_path = (unsigned long)what;
	attr.probe_offset = strtoul(colon + 1, &end, 0);
	attr.config = *end == 'r';
	event = (int)syscall(__NR_perf_event_open, &attr, -1, 0, -1, 0);
	if (event < 0 || ioctl(event, PERF_EVENT_IOC_SET_BPF, prog))
		return -1;
	return ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
}

int main(int argc, char **argv)
{
	unsigned long long counts[PROBES_MAX];
	char line[64];
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "counts", 4, sizeof(counts), 1, &opts),
	    zero = 0;

	for (int i = 1; i < argc && i <= PROBES_MAX; i++)
		if (probe(map, i - 1, argv[i]) < 0) {
			perror(argv[i]);
			return 1;
		}
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (bpf_map_lookup_elem(map, &zero, counts))
			return 1;
		for (int i = 1; i < argc && i <= PROBES_MAX; i++)
			printf("%llu%c", counts[i - 1], i + 1 < argc ? ' ' : '\n');
		fflush(stdout);
	}
	return 0;
}
