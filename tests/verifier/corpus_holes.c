/* SPDX-License-Identifier: MIT */
/* One program for each class of holes that verifiers were known for, and some near them that are none. */
#include <errno.h>
#include "corpus.h"

/* clang-format off */
const struct row rows_holes[] = {
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
	{"hole_atomic_over_its_address", -EACCES, "misaligned access", {DATA(2, 0), ATOMIC(BPF_DW, 2, 0, 2, BPF_XCHG), END}},
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
	/* what a tail call's program returns, its caller's caller gets */
	{"tail_call_result", -EINVAL, "math between map_value pointer and register with unbounded min value", {SUB(6), DATA(3, 0), ALUX(BPF_ADD, 3, 0), LD(BPF_B, 4, 3, 0), END, MOV(3, 0), MAP(2, 3), CALL(BPF_FUNC_tail_call), END}},
	{"tail_call_result_masked", 0, NULL, {SUB(7), ALU(BPF_AND, 0, 15), DATA(3, 0), ALUX(BPF_ADD, 3, 0), LD(BPF_B, 4, 3, 0), END, MOV(3, 0), MAP(2, 3), CALL(BPF_FUNC_tail_call), END}},
	{"tail_call_result_pointer", -EACCES, "!read_ok", {MOV(3, 0), MAP(2, 3), CALL(BPF_FUNC_tail_call), EXIT}},
	{"tail_call_leaves_stack", -EACCES, NULL, {ST(BPF_DW, 10, -8, 3), FP(2, -8), SUB(7), LD(BPF_DW, 0, 10, -8), DATA(3, 0), ALUX(BPF_ADD, 3, 0), LD(BPF_B, 4, 3, 0), END, MOVX(6, 2), ST(BPF_DW, 6, 0, 100), MOV(3, 0), MAP(2, 3), CALL(BPF_FUNC_tail_call), ST(BPF_DW, 6, 0, 3), END}},
	{"tail_call_in_callback", -EINVAL, NULL, {MOVX(6, 1), STX(BPF_DW, 10, -8, 1), MOV(1, 3), I(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_FUNC, 0, 7), I(0, 0, 0, 0, 0), FP(3, -8), MOV(4, 0), CALL(BPF_FUNC_loop), END, LD(BPF_DW, 1, 2, 0), MOV(3, 0), MAP(2, 3), CALL(BPF_FUNC_tail_call), END}, .differ = "the kernel's verifier names it a bug of its own, EFAULT"},
	{"shift32_over_the_top", -EACCES, NULL, {LD(BPF_W, 2, 1, 0), JW(BPF_JGT, 2, -2147483644, 5), ALUW(BPF_LSH, 2, 1), DATA(3, 0), ALUX(BPF_ADD, 3, 2), LD(BPF_B, 4, 3, 0), END}},
	{.name = NULL},
};
