/* SPDX-License-Identifier: MIT */
/*
 * Runs the data tests (cases.py says what a line has) by one engine:
 *
 *   data_test CASES interpreter|jit|kernel
 *
 * interpreter and jit run every case twice: with run-time tests, and trusted (unless it is to
 * fault). Both also hold the structural check against the flags: what kernels refuse must be
 * refused unless rfc_only is set. The kernel runs a case as a subprogram of a socket filter, which
 * gets a map value's address as r1 and stores r0 in that map, since a filter's own result has 32
 * bits.
 */
#include <bpf/bpf.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../engine.h"
#include "bpf/check.h"

#define MAX_INSNS  70000
#define MAX_MEMORY 256
#define MAX_GROUPS 64

struct test {
	char *name, *flags, *want;
	u8 memory[MAX_MEMORY];
	u32 memory_len, insn_count;
	struct bpf_insn insns[MAX_INSNS];
};

static struct group {
	char name[32];
	u32 passed, failed, skipped;
} groups[MAX_GROUPS];
static int kernel_map = -1;

static struct group *group_of(const char *name)
{
	size_t n = strcspn(name, "/");

	for (u32 i = 0; i < MAX_GROUPS; i++) {
		if (!groups[i].name[0])
			snprintf(groups[i].name, sizeof(groups[i].name), "%.*s", (int)n, name);
		if (strlen(groups[i].name) == n && !strncmp(groups[i].name, name, n))
			return &groups[i];
	}
	return &groups[MAX_GROUPS - 1];
}

static long parse_hex(const char *s, void *out, size_t max)
{
	size_t n = 0;

	if (*s == '-')
		return 0;
	for (; n < max && isxdigit((unsigned char)s[0]) && isxdigit((unsigned char)s[1]); s += 2) {
		char two[] = {s[0], s[1], 0};

		((u8 *)out)[n++] = (u8)strtoul(two, NULL, 16);
	}
	return *s ? -1 : (long)n;
}

static void verdict(const struct test *t, const char *how, bool faulted, u64 got)
{
	struct group *g = group_of(t->name);
	bool fault = !strcmp(t->want, "fault");

	if (faulted == fault && (fault || got == strtoull(t->want, NULL, 0))) {
		g->passed++;
		return;
	}
	if (g->failed++ < 10)
		printf("# %s %s: wanted %s, got %s0x%llx\n", t->name, how, t->want,
		       faulted ? "a fault, " : "", (unsigned long long)got);
}

static void complain(const struct test *t, const char *how, const char *what)
{
	if (group_of(t->name)->failed++ < 10)
		printf("# %s %s: %s\n", t->name, how, what);
}

static void run_once(const struct test *t, bool jit, bool trusted)
{
	_Alignas(16) u8 memory[MAX_MEMORY];
	struct vm_program prog = {.insns = t->insns,
				  .insn_count = t->insn_count,
				  .ctx_size = t->memory_len,
				  .ctx_writable = t->memory_len,
				  .trusted = trusted,
				  .bounded = trusted,
				  .budget = 100000};
	struct vm_run run = {.prog = &prog, .ctx = memory};
	const char *how = trusted ? "trusted" : "held";
	struct engine_code code = {0};
	int err = jit ? engine_compile(&prog, &code) : 0;
	u64 r0;

	if (err) {
		complain(t, how, strerror(-err));
		return;
	}
	memcpy(memory, t->memory, t->memory_len);
	r0 = engine_run(&code, &run, (u64)memory, t->memory_len);
	verdict(t, how, run.status != VM_OK, r0);
	engine_free(&code);
}

static void run_limpet(const struct test *t, bool jit)
{
	struct bpf_check_env env = {.rfc_only = true}, strict = {0};
	int err = bpf_check(t->insns, t->insn_count, &env);

	if (err)
		return complain(t, "check", strerror(-err));
	if (!bpf_check(t->insns, t->insn_count, &strict) == !!strstr(t->flags, "rfc"))
		complain(t, "check",
			 strstr(t->flags, "rfc") ? "should be refused" : "should be accepted");
	run_once(t, jit, false);
	if (!strstr(t->flags, "held"))
		run_once(t, jit, true);
}

static void run_interpreter(const struct test *t)
{
	run_limpet(t, false);
}

static void run_jit(const struct test *t)
{
	run_limpet(t, true);
}

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})

/* A map value's layout: r0, then the memory. */
static u32 kernel_frame(struct bpf_insn *out, const struct test *t)
{
	const struct bpf_insn head[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_VALUE, 0, kernel_map),
		INSN(0, 0, 0, 0, 8),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, (s32)t->memory_len),
		INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 5),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 6, BPF_PSEUDO_MAP_VALUE, 0, kernel_map),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 6, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	memcpy(out, head, sizeof(head));
	memcpy(out + ARRAY_SIZE(head), t->insns, t->insn_count * sizeof(*out));
	return (u32)ARRAY_SIZE(head) + t->insn_count;
}

static void run_kernel(const struct test *t)
{
	static struct bpf_insn insns[MAX_INSNS + 16];
	static char log[65536];
	u8 value[8 + MAX_MEMORY] = {0}, packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	LIBBPF_OPTS(bpf_prog_load_opts, load, .log_buf = log, .log_size = sizeof(log),
		    .log_level = 0);
	u32 zero = 0;
	u64 r0;
	int fd;

	if (strcmp(t->flags, "-")) {
		group_of(t->name)->skipped++;
		return;
	}
	fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, NULL, "GPL", insns, kernel_frame(insns, t),
			   &load);
	memcpy(value + 8, t->memory, t->memory_len);
	if (fd < 0 || bpf_map_update_elem(kernel_map, &zero, value, 0) ||
	    bpf_prog_test_run_opts(fd, &opts) || bpf_map_lookup_elem(kernel_map, &zero, value)) {
		load.log_level = 1;
		log[0] = 0;
		if (fd < 0)
			bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, NULL, "GPL", insns,
				      kernel_frame(insns, t), &load);
		complain(t, "kernel", log[0] ? log : strerror(errno));
	} else {
		memcpy(&r0, value, sizeof(r0));
		verdict(t, "kernel", false, r0);
	}
	if (fd >= 0)
		close(fd);
}

static bool kernel_there(const char **ret_why)
{
	kernel_map = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8 + MAX_MEMORY, 1, NULL);
	*ret_why = "bpf(2) is not allowed here";
	return kernel_map >= 0;
}

static bool jit_there(const char **ret_why)
{
	struct bpf_insn insns[] = {INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
				   INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)};
	struct vm_program prog = {.insns = insns, .insn_count = 2};
	struct engine_code code = {0};
	bool there = engine_compile(&prog, &code) != -EOPNOTSUPP;

	engine_free(&code);
	*ret_why = "no JIT for this processor";
	return there;
}

static bool always(const char **ret_why)
{
	return true;
}

static const struct engine {
	const char *name;
	bool (*there)(const char **ret_why);
	void (*run)(const struct test *t);
} engines[] = {
	{"interpreter", always, run_interpreter},
	{"jit", jit_there, run_jit},
	{"kernel", kernel_there, run_kernel},
};

static int run_file(FILE *f, const struct engine *e)
{
	static struct test t;
	char *line = NULL;
	size_t cap = 0;

	while (getline(&line, &cap, f) > 0) {
		char *memory, *code, *rest = line;
		long len, code_len;

		t.name = strsep(&rest, "\t");
		t.flags = strsep(&rest, "\t");
		memory = strsep(&rest, "\t");
		code = strsep(&rest, "\t");
		t.want = strsep(&rest, "\n");
		len = t.want ? parse_hex(memory, t.memory, sizeof(t.memory)) : -1;
		code_len = t.want ? parse_hex(code, t.insns, sizeof(t.insns)) : -1;
		if (len < 0 || code_len < 0) {
			printf("not ok malformed line: %s\n", line);
			return 1;
		}
		t.memory_len = (u32)len;
		t.insn_count = (u32)code_len / 8;
		e->run(&t);
	}
	free(line);
	return 0;
}

int main(int argc, char **argv)
{
	const struct engine *e = engines;
	FILE *f = argc == 3 ? fopen(argv[1], "r") : NULL;
	const char *why;
	u32 failed = 0;

	while (f && e < engines + ARRAY_SIZE(engines) && strcmp(e->name, argv[2]))
		e++;
	if (!f || e == engines + ARRAY_SIZE(engines))
		return fprintf(stderr, "usage: data_test CASES interpreter|jit|kernel\n"), 2;
	if (!e->there(&why))
		return printf("skip data on %s: %s\n", e->name, why), 0;
	if (run_file(f, e))
		return 1;
	fclose(f);
	for (u32 i = 0; i < MAX_GROUPS && groups[i].name[0]; i++) {
		if (groups[i].failed)
			printf("not ok %s: %u of %u runs failed\n", groups[i].name,
			       groups[i].failed, groups[i].failed + groups[i].passed);
		else if (groups[i].passed)
			printf("ok %s (%u runs)\n", groups[i].name, groups[i].passed);
		failed += groups[i].failed;
	}
	return failed ? 1 : 0;
}
