/* SPDX-License-Identifier: MIT */
/*
 * The disassembler over the programs of the data tests (cases.py):
 *
 *   disasm_test print CASES    every program as text, "name" lines between, for roundtrip.py
 *   disasm_test kernel CASES   the text against the kernel's verifier log, line by line, for every
 *                              program that has a form of instruction not seen before
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <unistd.h>
#include "bpf/disasm.h"
#include "cases.h"

#define LOG_SIZE (4 << 20)

static struct data_case now;

static u32 text_of(const struct bpf_insn *in, u32 count, u32 at, char *ret, size_t size)
{
	struct bpf_log out = {ret, size, 0};

	return bpf_disasm(in, count, at, NULL, &out);
}

static void print_all(FILE *f)
{
	char text[128];

	while (case_next(f, &now)) {
		printf("%s\n", now.name);
		for (u32 i = 0; i < now.insn_count;) {
			i += text_of(now.insns, now.insn_count, i, text, sizeof(text));
			printf("\t%s\n", text);
		}
	}
}

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})

/* As data_test.c does it: the program is a subprogram that gets a map value. */
static u32 frame(struct bpf_insn *out, int map)
{
	const struct bpf_insn head[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_VALUE, 0, map),
		INSN(0, 0, 0, 0, 8),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 256),
		INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 3),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ktime_get_ns),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	memcpy(out, head, sizeof(head));
	memcpy(out + sizeof(head) / sizeof(*out), now.insns, now.insn_count * sizeof(*out));
	return (u32)(sizeof(head) / sizeof(*out)) + now.insn_count;
}

/* Compares one log line; false when it is an instruction and the text differs. */
static bool compare_line(char *line, const struct bpf_insn *in, u32 count, u32 *compared)
{
	char text[128], *end, *state;
	unsigned long at = strtoul(line, &end, 10);

	if (end == line || strncmp(end, ": (", 3) || at >= count)
		return true;
	if ((in[at].code == (BPF_LD | BPF_IMM | BPF_DW) && in[at].src_reg))
		return true; /* the kernel's addresses */
	end += 2;
	state = strstr(end, " ; ");
	if (state)
		*state = 0;
	for (char *p = end + strlen(end); p > end && p[-1] == ' ';)
		*--p = 0;
	text_of(in, count, (u32)at, text, sizeof(text));
	++*compared;
	if (!strcmp(text, end))
		return true;
	printf("# %s: insn %lu: limpet \"%s\", kernel \"%s\"\n", now.name, at, text, end);
	return false;
}

static int against_kernel(FILE *f)
{
	static struct bpf_insn program[CASE_MAX_INSNS + 16];
	char *log = malloc(LOG_SIZE), *rest, *line;
	LIBBPF_OPTS(bpf_prog_load_opts, load, .log_buf = log, .log_size = LOG_SIZE, .log_level = 2);
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8 + 256, 1, NULL), fd;
	u32 compared = 0, failed = 0, programs = 0, count;

	if (map < 0)
		return printf("skip disasm against the kernel: bpf(2) is not allowed here\n"), 0;
	while (case_next(f, &now)) {
		if (strcmp(now.flags, "-") || now.insn_count > 500 || !case_is_new(&now))
			continue;
		count = frame(program, map);
		fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, NULL, "GPL", program, count, &load);
		if (fd < 0) {
			printf("# %s is refused: %s\n", now.name, strerror(errno));
			failed++;
			continue;
		}
		close(fd);
		programs++;
		for (rest = log; (line = strsep(&rest, "\n"));)
			failed += !compare_line(line, program, count, &compared);
	}
	free(log);
	if (failed || compared < 1000)
		return printf("not ok disasm against the kernel: %u of %u lines differ\n", failed,
			      compared),
		       1;
	printf("ok disasm against the kernel (%u lines of %u programs)\n", compared, programs);
	return 0;
}

int main(int argc, char **argv)
{
	FILE *f = argc == 3 ? fopen(argv[2], "r") : NULL;

	if (!f)
		return fprintf(stderr, "usage: disasm_test print|kernel CASES\n"), 2;
	if (!strcmp(argv[1], "kernel"))
		return against_kernel(f);
	print_all(f);
	return 0;
}
