/* SPDX-License-Identifier: MIT */
/*
 * limpet-conformance: runs one program as the bpf_conformance suite's plugins do. The program comes
 * on standard input as hex bytes, memory as the first argument; r0 is printed in hex.
 * Options: --jit (the default where this processor has a JIT), --interpret, --trusted (no run-time
 * tests).
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/check.h"
#include "../engine.h"

static u64 gather_bytes(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return (a & 0xff) << 32 | (b & 0xff) << 24 | (c & 0xff) << 16 | (d & 0xff) << 8 |
	       (e & 0xff);
}

static u64 frob(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	for (u64 i = 0; i < b; i++)
		((u8 *)a)[i] ^= 42;
	return 0;
}

static u64 no_op(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return 0;
}

static u64 sqrti(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	u64 root = 0;

	while ((root + 1) * (root + 1) <= a)
		root++;
	return root;
}

static u64 strcmp_ext(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return (u64)(s64)strcmp((const char *)a, (const char *)b);
}

static u64 unwind(u64 a, u64 b, u64 c, u64 d, u64 e, struct vm_run *run)
{
	return a;
}

static vm_helper_fn *const helpers[] = {gather_bytes, frob, no_op, sqrti, strcmp_ext, unwind};

static bool known(u32 id)
{
	return id < ARRAY_SIZE(helpers);
}

static const struct bpf_helper_desc *any_arguments(u32 id)
{
	static const struct bpf_helper_desc desc = {
		.name = "test", .arg = {ARG_SCALAR, ARG_SCALAR, ARG_SCALAR, ARG_SCALAR, ARG_SCALAR}};

	return &desc;
}

/* Hex digits, blanks between; the number of bytes, or -1. */
static long parse_hex(const char *s, u8 *out, size_t max)
{
	size_t n = 0;

	while (*s) {
		char two[3] = {0};

		if (isspace((unsigned char)*s)) {
			s++;
			continue;
		}
		if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]) || n == max)
			return -1;
		memcpy(two, s, 2);
		out[n++] = (u8)strtoul(two, NULL, 16);
		s += 2;
	}
	return (long)n;
}

static int give_up(const char *why)
{
	fprintf(stderr, "limpet-conformance: %s\n", why);
	return 1;
}

enum engine { ANY, JIT, INTERPRETER };

static int execute(struct vm_program *prog, u8 *memory, enum engine engine)
{
	struct vm_run run = {.prog = prog, .ctx = memory};
	struct engine_code code = {0};
	int err = engine == INTERPRETER ? 0 : engine_compile(prog, &code);
	u64 r0;

	if (err && (err != -EOPNOTSUPP || engine == JIT))
		return give_up(err == -EOPNOTSUPP ? "no JIT for this processor" : strerror(-err));
	r0 = engine_run(&code, &run, prog->ctx_size ? (u64)memory : 0, prog->ctx_size);
	engine_free(&code);
	if (run.status) {
		fprintf(stderr,
			"limpet-conformance: run ended at instruction %u, status %u, address "
			"0x%llx\n",
			run.fault_insn, run.status, (unsigned long long)run.fault_addr);
		return 1;
	}
	printf("%llx\n", (unsigned long long)r0);
	return 0;
}

int main(int argc, char **argv)
{
	static char text[1 << 20];
	static u8 code[1 << 18], memory[1 << 16];
	static char log_text[256];
	struct bpf_log log = {log_text, sizeof(log_text), 0};
	struct bpf_check_env env = {.helper_known = known, .log = &log, .rfc_only = true};
	struct vm_program prog = {.insns = (struct bpf_insn *)code,
				  .helper_count = ARRAY_SIZE(helpers),
				  .helpers = helpers,
				  .helper_desc = any_arguments};
	long memory_len = 0, len;
	enum engine engine = ANY;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--interpret") || !strcmp(argv[i], "--jit"))
			engine = argv[i][2] == 'i' ? INTERPRETER : JIT;
		else if (!strcmp(argv[i], "--trusted"))
			prog.trusted = prog.bounded = true;
		else if (i == 1 && argv[i][0] != '-')
			memory_len = parse_hex(argv[i], memory, sizeof(memory));
		else
			return give_up("unknown option");
	}
	text[fread(text, 1, sizeof(text) - 1, stdin)] = 0;
	len = parse_hex(text, code, sizeof(code));
	if (len <= 0 || len % 8 || memory_len < 0)
		return give_up("program or memory is not hex");
	prog.insn_count = (u32)(len / 8);
	prog.ctx_size = prog.ctx_writable = (u32)memory_len;
	if (bpf_check(prog.insns, prog.insn_count, &env)) {
		log_text[strcspn(log_text, "\n")] = 0;
		return give_up(log_text);
	}
	return execute(&prog, memory, engine);
}
