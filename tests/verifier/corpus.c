/* SPDX-License-Identifier: MIT */
/*
 * Small programs with the verdict that is expected and what the log says; the kernel, where it may be asked, must give
 * the same verdict. Among them one program for each class of holes that verifiers were known for.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bpf/check.h"
#include "verifier/verifier.h"

#define VALUE 16
#define MAX   40
#define LOG   65536

/* clang-format off */
#define I(c, d, s, o, i) {.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)}
#define MOV(d, i)     I(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define MOVX(d, s)    I(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOVW(d, s)    I(BPF_ALU | BPF_MOV | BPF_X, d, s, 0, 0)
#define ALU(op, d, i) I(BPF_ALU64 | op | BPF_K, d, 0, 0, i)
#define ALUX(op, d, s) I(BPF_ALU64 | op | BPF_X, d, s, 0, 0)
#define ALUW(op, d, i) I(BPF_ALU | op | BPF_K, d, 0, 0, i)
#define LD(w, d, s, o) I(BPF_LDX | BPF_MEM | w, d, s, o, 0)
#define ST(w, d, o, i) I(BPF_ST | BPF_MEM | w, d, 0, o, i)
#define STX(w, d, o, s) I(BPF_STX | BPF_MEM | w, d, s, o, 0)
#define J(op, d, i, o)  I(BPF_JMP | op | BPF_K, d, 0, o, i)
#define JX(op, d, s, o) I(BPF_JMP | op | BPF_X, d, s, o, 0)
#define JW(op, d, i, o) I(BPF_JMP32 | op | BPF_K, d, 0, o, i)
#define GO(o)         I(BPF_JMP | BPF_JA, 0, 0, o, 0)
#define CALL(n)       I(BPF_JMP | BPF_CALL, 0, 0, 0, n)
#define SUB(o)        I(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, o)
#define EXIT          I(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP(d, m)     I(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_FD, 0, m), I(0, 0, 0, 0, 0)
#define DATA(d, m)    I(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_VALUE, 0, m), I(0, 0, 0, 0, 0)
#define ATOMIC(w, d, o, s, op) I(BPF_STX | BPF_ATOMIC | w, d, s, o, op)
#define END           MOV(0, 0), EXIT
#define KEY           ST(BPF_W, 10, -4, 3), MOVX(2, 10), ALU(BPF_ADD, 2, -4)
#define LOOKUP        KEY, MAP(1, 1), CALL(BPF_FUNC_map_lookup_elem)
#define RESERVE       MAP(1, 2), MOV(2, 8), MOV(3, 0), CALL(BPF_FUNC_ringbuf_reserve)
#define ANY(d)        LD(BPF_DW, d, 1, 0)

static const struct row {
	const char *name;
	int err;          /* expected */
	const char *says; /* NULL: nothing particular */
	struct bpf_insn p[MAX];
} rows[] = {
	{"nothing", 0, NULL, {END}},
	{"result_not_set", -EACCES, "R0 !read_ok", {EXIT}},
	{"argument_not_set", -EACCES, "R3 !read_ok", {MOVX(0, 3), EXIT}},
	{"unreachable", -EINVAL, "unreachable insn 2", {MOV(0, 0), EXIT, END}},
	{"endless", -EINVAL, "infinite loop detected", {MOV(0, 0), J(BPF_JEQ, 0, 1, 1), GO(-2), EXIT}},
	{"counted_loop", 0, NULL, {MOV(0, 0), ALU(BPF_ADD, 0, 1), J(BPF_JLT, 0, 100, -2), EXIT}},
	{"loop_by_unknown", -E2BIG, NULL, {ANY(2), MOV(0, 0), ALU(BPF_ADD, 0, 1), JX(BPF_JLT, 0, 2, -2), EXIT}},
	{"value", 0, NULL, {DATA(1, 0), LD(BPF_DW, 0, 1, 8), EXIT}},
	{"value_beyond", -EACCES, "invalid access to map value, value_size=16 off=16 size=8", {DATA(1, 0), LD(BPF_DW, 0, 1, 16), EXIT}},
	{"value_before", -EACCES, "R1 min value is outside of the allowed memory range", {DATA(1, 0), LD(BPF_DW, 0, 1, -8), EXIT}},
	{"value_untested", -EACCES, "invalid mem access 'map_value_or_null'", {LOOKUP, LD(BPF_DW, 0, 0, 0), EXIT}},
	{"value_tested", 0, NULL, {LOOKUP, J(BPF_JEQ, 0, 0, 1), LD(BPF_DW, 0, 0, 0), END}},
	{"value_tested_wrong", -EACCES, NULL, {LOOKUP, J(BPF_JNE, 0, 0, 1), LD(BPF_DW, 0, 0, 0), END}},
	{"value_of_two_copies", 0, NULL, {LOOKUP, MOVX(6, 0), J(BPF_JEQ, 0, 0, 1), LD(BPF_DW, 0, 6, 0), END}},
	{"number_as_pointer", -EACCES, "R2 invalid mem access 'scalar'", {ANY(2), LD(BPF_DW, 0, 2, 0), EXIT}},
	{"index_masked", 0, NULL, {ANY(2), ALU(BPF_AND, 2, 15), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_B, 0, 1, 0), EXIT}},
	{"index_masked_too_far", -EACCES, "R1 max value is outside of the allowed memory range", {ANY(2), ALU(BPF_AND, 2, 31), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_B, 0, 1, 0), EXIT}},
	{"index_unbounded", -EINVAL, "unbounded min value", {ANY(2), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_B, 0, 1, 0), EXIT}},
	{"index_signed_only_above", -EINVAL, "be out of bounds", {LD(BPF_W, 2, 1, 0), ALU(BPF_LSH, 2, 32), ALU(BPF_ARSH, 2, 32), J(BPF_JSGT, 2, 8, 3), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_B, 0, 1, 0), END}},
	{"stack_below", -EACCES, "invalid write to stack R10 off=-520 size=8", {ST(BPF_DW, 10, -520, 0), END}},
	{"stack_above", -EACCES, NULL, {ST(BPF_DW, 10, 0, 0), END}},
	{"stack_misaligned", -EACCES, "misaligned stack access", {ST(BPF_DW, 10, -12, 0), END}},
	{"frame_pointer_set", -EINVAL, "frame pointer is read only", {MOV(10, 0), END}},
	{"pointer_times", -EACCES, "pointer arithmetic", {ALU(BPF_MUL, 1, 2), END}},
	{"pointer_and", -EACCES, "bitwise operator &= on pointer prohibited", {ALU(BPF_AND, 1, 2), END}},
	{"map_pointer_moved", -EACCES, NULL, {MAP(1, 1), ALU(BPF_ADD, 1, 8), END}},
	{"context_beyond", -EACCES, "invalid bpf_context access off=168 size=8", {LD(BPF_DW, 0, 1, 168), EXIT}},
	{"context_moved", -EACCES, "dereference of modified ctx ptr", {ALU(BPF_ADD, 1, 8), LD(BPF_DW, 0, 1, 0), EXIT}},
	{"no_such_helper", -EINVAL, "unknown", {CALL(4711), EXIT}},
	{"key_not_a_pointer", -EACCES, "R2 type=scalar expected=fp", {MAP(1, 1), MOV(2, 0), CALL(BPF_FUNC_map_lookup_elem), END}},
	{"wrong_map", -EINVAL, "cannot pass map_type", {KEY, MAP(1, 2), CALL(BPF_FUNC_map_lookup_elem), END}},
	{"size_too_large", -EACCES, NULL, {MOVX(1, 10), ALU(BPF_ADD, 1, -8), MOV(2, 9), CALL(BPF_FUNC_get_current_comm), END}},
	{"size_zero", -EACCES, "invalid zero-sized read", {MOVX(1, 10), ALU(BPF_ADD, 1, -8), MOV(2, 0), CALL(BPF_FUNC_get_current_comm), END}},
	{"size_negative", -EACCES, "R2 min value is negative", {MOVX(1, 10), ALU(BPF_ADD, 1, -8), MOV(2, -1), CALL(BPF_FUNC_get_current_comm), END}},
	{"arguments_gone", -EACCES, "R1 !read_ok", {CALL(BPF_FUNC_ktime_get_ns), MOVX(0, 1), EXIT}},
	{"call", 0, NULL, {MOV(1, 5), SUB(1), EXIT, MOVX(0, 1), EXIT}},
	{"call_without_end", -E2BIG, NULL, {SUB(1), EXIT, SUB(-1), EXIT}},
	{"call_returns_its_stack", -EINVAL, "cannot return stack pointer to the caller", {SUB(1), EXIT, MOVX(0, 10), EXIT}},

	/* Bounds of the low half are not bounds of all of it. */
	{"hole_low_bounds_for_all", -EACCES, NULL, {ANY(2), JW(BPF_JGT, 2, 8, 4), DATA(1, 0), ALU(BPF_RSH, 2, 1), ALUX(BPF_ADD, 1, 2), LD(BPF_B, 0, 1, 0), END}},
	/* 32-bit and, or, xor of the unknown say nothing of the high half before it is cleared. */
	{"hole_bitwise_low", -EINVAL, NULL, {ANY(2), ANY(3), ALUX(BPF_OR, 2, 3), JW(BPF_JNE, 2, 1, 3), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_B, 0, 1, 0), END}},
	/* A 32-bit comparison is signed in 32 bits. */
	{"hole_signed_low", -EACCES, NULL, {LD(BPF_W, 2, 1, 0), JW(BPF_JSGT, 2, 8, 4), MOVW(2, 2), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_B, 0, 1, 0), END}},
	/* Arithmetic on what may be NULL would hide the NULL. */
	{"hole_null_moved", -EACCES, "prohibited, null-check it first", {LOOKUP, ALU(BPF_ADD, 0, 8), J(BPF_JEQ, 0, 0, 1), LD(BPF_B, 0, 0, 0), END}},
	/* A copy cut to 32 bits is not equal to what it was copied from. */
	{"hole_cut_copy_linked", -EINVAL, NULL, {ANY(2), MOVW(3, 2), J(BPF_JGT, 3, 8, 3), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_B, 0, 1, 0), END}},
	/* Nor is one cut by a spill. */
	{"hole_cut_spill_linked", -EINVAL, NULL, {ANY(2), STX(BPF_W, 10, -8, 2), LD(BPF_W, 3, 10, -8), J(BPF_JGT, 3, 8, 3), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_B, 0, 1, 0), END}},
	/* What was spilled is gone when a part of it is overwritten. */
	{"hole_spill_overwritten", -EACCES, NULL, {DATA(1, 0), STX(BPF_DW, 10, -8, 1), ST(BPF_B, 10, -8, 64), LD(BPF_DW, 1, 10, -8), LD(BPF_B, 0, 1, 0), EXIT}},
	/* Paths that differ in a number that decides later are both followed. */
	{"hole_precision", -EACCES, NULL, {ANY(3), MOV(2, 0), J(BPF_JEQ, 3, 7, 1), MOV(2, 64), ANY(4), J(BPF_JEQ, 4, 1, 0), J(BPF_JEQ, 4, 2, 0), MOV(5, 0), MOVX(6, 2), DATA(1, 0), ALUX(BPF_ADD, 1, 6), LD(BPF_B, 0, 1, 0), EXIT}},
	/* An atomic's result does not take its address's place before the store. */
	{"hole_atomic_over_its_address", -EACCES, NULL, {DATA(2, 0), ATOMIC(BPF_DW, 2, 0, 2, BPF_XCHG), END}},
	{"hole_atomic_on_context", -EACCES, "is not allowed", {MOV(2, 1), ATOMIC(BPF_DW, 1, 0, 2, BPF_ADD), END}},
	/* A record is given back once, at its beginning, and not used afterwards. */
	{"record", 0, NULL, {RESERVE, J(BPF_JEQ, 0, 0, 4), ST(BPF_DW, 0, 0, 7), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	{"hole_record_kept", -EINVAL, "Unreleased reference", {RESERVE, J(BPF_JEQ, 0, 0, 1), ST(BPF_DW, 0, 0, 7), END}},
	{"hole_record_beyond", -EACCES, "mem_size=8 off=8 size=8", {RESERVE, J(BPF_JEQ, 0, 0, 4), ST(BPF_DW, 0, 8, 7), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	{"hole_record_moved", -EINVAL, NULL, {RESERVE, J(BPF_JEQ, 0, 0, 4), MOVX(1, 0), ALU(BPF_ADD, 1, 4), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	{"hole_record_after_submit", -EACCES, NULL, {RESERVE, J(BPF_JEQ, 0, 0, 5), MOVX(6, 0), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), ST(BPF_DW, 6, 0, 7), END}},
	{"hole_record_twice", -EACCES, NULL, {RESERVE, J(BPF_JEQ, 0, 0, 7), MOVX(6, 0), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), MOVX(1, 6), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	{"hole_record_may_be_null", -EACCES, NULL, {RESERVE, MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	/* A dynptr's slots are nobody else's. */
	{"hole_dynptr_overwritten", -EINVAL, "cannot overwrite referenced dynptr", {MAP(1, 2), MOV(2, 8), MOV(3, 0), MOVX(4, 10), ALU(BPF_ADD, 4, -16), CALL(BPF_FUNC_ringbuf_reserve_dynptr), ST(BPF_B, 10, -9, 0), MOVX(1, 10), ALU(BPF_ADD, 1, -16), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard_dynptr), END}},
	{"hole_dynptr_kept", -EINVAL, "Unreleased reference", {MAP(1, 2), MOV(2, 8), MOV(3, 0), MOVX(4, 10), ALU(BPF_ADD, 4, -16), CALL(BPF_FUNC_ringbuf_reserve_dynptr), END}},
	{"itself_is_not_decided", -EACCES, "R9 !read_ok", {ANY(2), JX(BPF_JNE, 2, 2, 2), END, MOVX(0, 9), EXIT}},
	{"sign_is_split_by_and", 0, NULL, {ANY(2), ALU(BPF_ARSH, 2, 63), ALU(BPF_AND, 2, -1), ALU(BPF_ADD, 2, 1), DATA(3, 0), ALUX(BPF_ADD, 3, 2), LD(BPF_B, 0, 3, 14), END}},
	{"sign_is_split_too_far", -EACCES, "invalid access to map value", {ANY(2), ALU(BPF_ARSH, 2, 63), ALU(BPF_AND, 2, -1), ALU(BPF_ADD, 2, 1), DATA(3, 0), ALUX(BPF_ADD, 3, 2), LD(BPF_B, 0, 3, 15), END}},
	{"may_goto_changes_low_half", 0, NULL, {LD(BPF_B, 0, 1, 0), MOV(9, 0), I(BPF_JMP | BPF_JCOND, 0, 0, 3, 0), ALUX(BPF_SUB, 9, 0), ALUW(BPF_ADD, 9, 1), GO(-4), JW(BPF_JGT, 9, 4, 1), MOV(1, 0), END}},
	{"swap_of_nothing", 0, NULL, {ANY(2), J(BPF_JGT, 2, 8, 5), I(BPF_ALU | BPF_END, 2, 0, 0, 64), DATA(3, 0), ALUX(BPF_ADD, 3, 2), LD(BPF_DW, 0, 3, 0), END}},
	{"cut_keeps_range", 0, NULL, {LD(BPF_B, 2, 1, 0), J(BPF_JGT, 2, 8, 5), I(BPF_ALU | BPF_END, 2, 0, 0, 16), DATA(3, 0), ALUX(BPF_ADD, 3, 2), LD(BPF_DW, 0, 3, 0), END}},
	{"no_bits_set_forgets_range", -EACCES, "R9 !read_ok", {LD(BPF_B, 2, 1, 0), ALU(BPF_ADD, 2, 273), J(BPF_JSET, 2, 6, 2), J(BPF_JGT, 2, 51, 1), MOVX(0, 9), END}},
	{"dynptr", 0, NULL, {MAP(1, 2), MOV(2, 8), MOV(3, 0), MOVX(4, 10), ALU(BPF_ADD, 4, -16), CALL(BPF_FUNC_ringbuf_reserve_dynptr), MOVX(1, 10), ALU(BPF_ADD, 1, -16), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard_dynptr), END}},
	{"hole_dynptr_twice", -EINVAL, NULL, {MAP(1, 2), MOV(2, 8), MOV(3, 0), MOVX(4, 10), ALU(BPF_ADD, 4, -16), CALL(BPF_FUNC_ringbuf_reserve_dynptr), MOVX(1, 10), ALU(BPF_ADD, 1, -16), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard_dynptr), MOVX(1, 10), ALU(BPF_ADD, 1, -16), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard_dynptr), END}},
	{"hole_dynptr_read_as_bytes", -EACCES, NULL, {MAP(1, 2), MOV(2, 8), MOV(3, 0), MOVX(4, 10), ALU(BPF_ADD, 4, -16), CALL(BPF_FUNC_ringbuf_reserve_dynptr), LD(BPF_DW, 0, 10, -16), EXIT}},
};
/* clang-format on */

static bool any_helper(u32 id)
{
	return bpf_helper_desc(id) != NULL;
}

static u32 length(const struct row *r)
{
	u32 n = MAX;

	while (n && !r->p[n - 1].code)
		n--;
	return n;
}

static const struct verifier_map maps[3] = {
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
};

static int by_limpet(const struct row *r, char *text)
{
	const struct verifier_prog prog = {.insns = r->p,
					   .insn_count = length(r),
					   .type = BPF_PROG_TYPE_KPROBE,
					   .gpl = true,
					   .maps = maps,
					   .map_count = 3,
					   .helper_known = any_helper};
	struct bpf_log check_log = {.buf = text, .size = LOG};
	const struct bpf_check_env env = {
		.map_count = 3, .helper_known = any_helper, .log = &check_log};
	struct verifier_sink log = {.keep = LOG - 1};
	struct verifier_result result;
	int err = bpf_check(r->p, length(r), &env);

	if (!err) {
		err = verifier_check(&prog, &log, VERIFIER_LOG_INSNS, NULL, &result);
		sink_copy(&log, text, LOG);
	}
	sink_free(&log);
	return err;
}

static int by_kernel(const struct row *r, const int *fds)
{
	struct bpf_insn p[MAX];
	int fd;

	memcpy(p, r->p, sizeof(p));
	for (u32 i = 0; i < length(r); i++)
		if (p[i].code == (BPF_LD | BPF_IMM | BPF_DW) && p[i].src_reg)
			p[i].imm = fds[p[i].imm];
	fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", p, length(r), NULL);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static bool check_row(const struct row *r, bool kernel, const int *fds)
{
	static char text[LOG];
	int err = by_limpet(r, text), theirs = kernel ? by_kernel(r, fds) : err;

	if (err == r->err && (!r->says || strstr(text, r->says)) && !err == !theirs)
		return true;
	printf("# %s: %d, expected %d \"%s\", the kernel %d\n%s", r->name, err, r->err,
	       r->says ? r->says : "", theirs, text);
	return false;
}

int main(void)
{
	int fds[3] = {bpf_map_create(BPF_MAP_TYPE_ARRAY, "value", 4, VALUE, 1, NULL),
		      bpf_map_create(BPF_MAP_TYPE_HASH, "hash", 4, VALUE, 4, NULL),
		      bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, 4096, NULL)};
	bool kernel = fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0;
	int bad = 0;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		bool ok = check_row(&rows[i], kernel, fds);

		printf("%s %s\n", ok ? "ok" : "not ok", rows[i].name);
		bad += !ok;
	}
	if (!kernel)
		puts("skip the kernel's verdict on them: bpf(2) is not allowed here");
	return bad != 0;
}
