/* SPDX-License-Identifier: MIT */
/*
 * A small tool: counts the hits of probes. `counter FILE:OFFSET[r] ...` (r: at the return); every line on
 * standard input is answered by the counts so far; it ends with standard input.
 */
#include <bpf/bpf.h>
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
	int event, prog = count_prog(map, index);

	if (!colon || prog < 0)
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
