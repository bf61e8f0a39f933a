/* SPDX-License-Identifier: MIT */
/*
 * From the public record of verifier holes, 2020 to 2024: for each a program written from its description that
 * would have passed. (Those that concern speculation, races of user space or what limpet does not have are not here.)
 */
#include <errno.h>
#include "corpus.h"

/* clang-format off */
#define HIGH(d, hi, lo) MOV(d, hi), ALU(BPF_LSH, d, 32), ALU(BPF_ADD, d, lo)
#define SX(w, d, s, o) I(BPF_LDX | BPF_MEMSX | w, d, s, o, 0)
#define MOVS(d, s, n) I(BPF_ALU64 | BPF_MOV | BPF_X, d, s, n, 0)
#define MOVSW(d, s, n) I(BPF_ALU | BPF_MOV | BPF_X, d, s, n, 0)
#define ALUWX(op, d, s) I(BPF_ALU | op | BPF_X, d, s, 0, 0)
#define RING_DYNPTR(o) MAP(1, 2), MOV(2, 16), MOV(3, 0), FP(4, o), CALL(BPF_FUNC_ringbuf_reserve_dynptr)
#define DISCARD(o)    FP(1, o), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard_dynptr)
#define LOCAL_DYNPTR(o) DATA(1, 0), MOV(2, 16), MOV(3, 0), FP(4, o), CALL(BPF_FUNC_dynptr_from_mem)
#define SLICE(o, n)   FP(1, o), MOV(2, 0), MOV(3, n), CALL(BPF_FUNC_dynptr_data)

const struct row rows_record[] = {
	/* CVE-2020-8835: a 32-bit comparison taken for one of all 64 bits. */
	{"cve_2020_8835", -EACCES, NULL, {ANY(2), HIGH(3, 1, 1), JX(BPF_JGT, 2, 3, 8), J(BPF_JLT, 2, 1, 7), JW(BPF_JNE, 2, 1, 6), ALU(BPF_RSH, 2, 32), ALU(BPF_LSH, 2, 4), AT(2)}},
	{"cve_2020_8835_right", 0, NULL, {ANY(2), HIGH(3, 1, 1), JX(BPF_JGT, 2, 3, 8), J(BPF_JLT, 2, 1, 7), JW(BPF_JNE, 2, 1, 6), ALU(BPF_RSH, 2, 32), ALU(BPF_LSH, 2, 3), AT(2)}},
	/* CVE-2020-27194: 32-bit bounds of an or from 64-bit ones. */
	{"cve_2020_27194", -EACCES, NULL, {ANY(2), HIGH(3, 6, 1), JX(BPF_JGT, 2, 3, 7), J(BPF_JLT, 2, 1, 6), ALU(BPF_OR, 2, 0), MOVW(2, 2), AT(2)}},
	/* CVE-2021-3490: 32-bit bounds not set where the low halves are known. */
	{"cve_2021_3490_and", -EACCES, "off=16", {ANY(2), ALU(BPF_LSH, 2, 32), ALU(BPF_ADD, 2, 1), ANY(3), ALU(BPF_LSH, 3, 32), ALU(BPF_ADD, 3, 3), ALUX(BPF_AND, 2, 3), MOVW(2, 2), ALU(BPF_ADD, 2, 15), AT(2)}},
	{"cve_2021_3490_or", -EACCES, "off=16", {ANY(2), ALU(BPF_LSH, 2, 32), ALU(BPF_ADD, 2, 1), ANY(3), ALU(BPF_LSH, 3, 32), ALU(BPF_ADD, 3, 2), ALUX(BPF_OR, 2, 3), MOVW(2, 2), ALU(BPF_ADD, 2, 13), AT(2)}},
	{"cve_2021_3490_xor", 0, NULL, {ANY(2), ALU(BPF_LSH, 2, 32), ALU(BPF_ADD, 2, 1), ANY(3), ALU(BPF_LSH, 3, 32), ALU(BPF_ADD, 3, 2), ALUX(BPF_XOR, 2, 3), MOVW(2, 2), ALU(BPF_ADD, 2, 12), AT(2)}},
	/* CVE-2021-31440: a signed 64-bit lower bound taken for the low half's. */
	{"cve_2021_31440", -EACCES, NULL, {ANY(2), J(BPF_JSLT, 2, 1, 7), MOVW(2, 2), ALU(BPF_SUB, 2, 1), ALU(BPF_RSH, 2, 32), AT(2)}},
	/* CVE-2021-3489: a record larger than the ring; its size must be known, that it is not there is found when it runs. */
	{"cve_2021_3489", 0, NULL, {MAP(1, 2), MOV(2, 0x40000000), MOV(3, 0), CALL(BPF_FUNC_ringbuf_reserve), J(BPF_JEQ, 0, 0, 3), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard), END}},
	{"cve_2021_3489_size_unknown", -EACCES, "is not a known constant'", {ANY(2), MAP(1, 2), MOV(3, 0), CALL(BPF_FUNC_ringbuf_reserve), J(BPF_JEQ, 0, 0, 3), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard), END}},
	/* CVE-2021-4204, CVE-2022-23222: arithmetic on pointers that may be NULL. */
	{"cve_2022_23222", -EACCES, "null-check it first", {RESERVE, MOVX(6, 0), ALU(BPF_ADD, 6, 1), J(BPF_JEQ, 0, 0, 3), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), MOVX(2, 6), ALU(BPF_SUB, 2, 1), AT(2)}},
	{"cve_2022_23222_dynptr", -EACCES, "null-check it first", {LOCAL_DYNPTR(-16), SLICE(-16, 8), ALU(BPF_ADD, 0, 1), END}},
	{"cve_2021_4204_inside", -EINVAL, "must have zero offset", {RESERVE, J(BPF_JEQ, 0, 0, 4), MOVX(1, 0), ALU(BPF_ADD, 1, 8), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	{"cve_2021_4204_not_reserved", -EACCES, NULL, {DATA(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	/* CVE-2021-45402: half of a pointer is a number, and no longer where it pointed. */
	{"cve_2021_45402", -EACCES, NULL, {DATA(1, 0), MOVW(2, 1), LD(BPF_B, 0, 2, 0), EXIT}},
	/* CVE-2020-27171, CVE-2021-29155, CVE-2021-33200: limits of pointer arithmetic off by one, forgotten for the second step, of mixed signs. */
	{"cve_2020_27171", -EACCES, "R1 min value is negative", {ANY(2), ALU(BPF_AND, 2, 1), DATA(1, 0), ALUX(BPF_SUB, 1, 2), BYTE(1, 0), EXIT}},
	{"cve_2020_27171_right", 0, NULL, {MOV(2, 1), DATA(1, 0), ALU(BPF_ADD, 1, 1), ALUX(BPF_SUB, 1, 2), BYTE(1, 0), EXIT}},
	{"cve_2021_29155", -EACCES, "R1 max value is outside of the allowed memory range", {ANY(2), ANY(3), ALU(BPF_AND, 2, 8), ALU(BPF_AND, 3, 8), DATA(1, 0), ALUX(BPF_ADD, 1, 2), ALUX(BPF_ADD, 1, 3), BYTE(1, 0), EXIT}},
	{"cve_2021_29155_right", 0, NULL, {ANY(2), ANY(3), ALU(BPF_AND, 2, 8), ALU(BPF_AND, 3, 7), DATA(1, 0), ALUX(BPF_ADD, 1, 2), ALUX(BPF_ADD, 1, 3), BYTE(1, 0), EXIT}},
	{"cve_2021_33200", -EACCES, "R1 unbounded memory access", {ANY(2), ALU(BPF_AND, 2, 15), ALU(BPF_SUB, 2, 8), DATA(1, 0), ALU(BPF_ADD, 1, 8), ALUX(BPF_SUB, 1, 2), BYTE(1, 0), EXIT}},
	{"cve_2021_33200_right", 0, NULL, {ANY(2), ALU(BPF_AND, 2, 15), ALU(BPF_SUB, 2, 8), DATA(1, 0), ALU(BPF_ADD, 2, 8), ALUX(BPF_ADD, 1, 2), BYTE(1, 0), EXIT}},
	{"cve_2021_33200_negated", -EACCES, "R1 min value is negative", {ANY(2), ALU(BPF_AND, 2, 15), I(BPF_ALU64 | BPF_NEG, 2, 0, 0, 0), DATA(1, 0), ALU(BPF_ADD, 1, 14), ALUX(BPF_ADD, 1, 2), BYTE(1, 0), EXIT}},
	{"cve_2019_7308_two_ways", -EACCES, "R1 min value is outside of the allowed memory range", {ANY(2), DATA(3, 0), J(BPF_JEQ, 2, 0, 2), ALU(BPF_ADD, 3, 15), GO(1), ALU(BPF_ADD, 3, 16), MOVX(1, 3), BYTE(1, 0), EXIT}},
	/* CVE-2021-34866: a helper of ring buffers on another map. */
	{"cve_2021_34866", -EINVAL, "cannot pass map_type 1 into func bpf_ringbuf_reserve", {MAP(1, 1), MOV(2, 8), MOV(3, 0), CALL(BPF_FUNC_ringbuf_reserve), END}},
	/* CVE-2022-2905: a tail call with a known index beyond the array, which is found when it runs. */
	{"cve_2022_2905", 0, NULL, {MAP(2, 3), MOV(3, 0x7fffffff), CALL(BPF_FUNC_tail_call), END}},
	/* CVE-2024-35905: a size that makes the place on the stack wrap around. */
	{"cve_2024_35905", -EACCES, "R2 unbounded memory access", {FP(1, -8), MOV(2, 0x7fffffff), MOV(3, 0), CALL(BPF_FUNC_probe_read_user), END}},
	/* CVE-2022-0264: what an atomic fetches from a spilled pointer. */
	{"cve_2022_0264", 0, NULL, {STX(BPF_DW, 10, -8, 10), MOV(2, 1), ATOMIC(BPF_DW, 10, -8, 2, BPF_ADD | BPF_FETCH), END}},
	{"cve_2022_0264_used", -EACCES, NULL, {STX(BPF_DW, 10, -8, 10), MOV(2, 0), ATOMIC(BPF_DW, 10, -8, 2, BPF_ADD | BPF_FETCH), ST(BPF_DW, 2, -16, 0), END}, .differ = "the kernel says that it is still the pointer"},
	{"cve_2022_0264_left", -EACCES, NULL, {STX(BPF_DW, 10, -8, 10), MOV(2, 0), ATOMIC(BPF_DW, 10, -8, 2, BPF_ADD), LD(BPF_DW, 2, 10, -8), ST(BPF_DW, 2, -16, 0), END}},
	{"atomic_cmpxchg_pointer", -EACCES, NULL, {STX(BPF_DW, 10, -8, 10), MOVX(0, 10), MOVX(2, 10), ATOMIC(BPF_DW, 10, -8, 2, BPF_CMPXCHG), ST(BPF_DW, 0, -16, 0), END}, .differ = "the kernel says that it is still the pointer"},
	{"atomic_into_record", 0, NULL, {RESERVE, J(BPF_JEQ, 0, 0, 5), MOV(2, 1), ATOMIC(BPF_DW, 0, 0, 2, BPF_ADD), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	{"atomic_misaligned", -EACCES, "misaligned", {DATA(1, 0), MOV(2, 1), ATOMIC(BPF_DW, 1, 4, 2, BPF_ADD), END}},
	{"atomic_beyond", -EACCES, NULL, {DATA(1, 0), MOV(2, 1), ATOMIC(BPF_DW, 1, 16, 2, BPF_ADD), END}},
	{"atomic_xchg_keeps_high_half", -EINVAL, NULL, {DATA(1, 0), MOV(2, 1), ATOMIC(BPF_DW, 1, 0, 2, BPF_XCHG), ALUX(BPF_ADD, 1, 2), BYTE(1, 0), END}},
	{"atomic_fetch_word_bounds", -EACCES, NULL, {DATA(1, 0), MOV(2, 1), ATOMIC(BPF_W, 1, 0, 2, BPF_ADD | BPF_FETCH), ALUX(BPF_ADD, 1, 2), BYTE(1, 0), END}},
	/* CVE-2023-2163: precision of a register that two branches looked at. */
	{"cve_2023_2163", -EINVAL, NULL, {MOV(6, 1024), MOV(7, 0), MOV(8, 0), MOV(9, -2147483647 - 1), ALU(BPF_MOD, 6, 1025), GO(0), JX(BPF_JLE, 6, 9, 2), ALU(BPF_MOD, 6, 1), MOV(9, 0), JX(BPF_JLE, 6, 9, 1), MOV(6, 0), MOV(0, 0), STX(BPF_W, 10, -4, 0), MAP(4, 1), MOVX(1, 4), FP(2, -4), CALL(BPF_FUNC_map_lookup_elem), J(BPF_JNE, 0, 0, 1), EXIT, ALU(BPF_RSH, 6, 10), ALU(BPF_MUL, 6, 8192), MOVX(1, 0), ALUX(BPF_ADD, 0, 6), LD(BPF_DW, 3, 0, 0), STX(BPF_DW, 1, 0, 3), MOV(0, 0), EXIT}},
	/* CVE-2023-39191: dynptrs whose slots others change. */
	{"cve_2023_39191_second_slot", -EINVAL, "cannot overwrite referenced dynptr", {RING_DYNPTR(-16), ST(BPF_DW, 10, -8, 0), DISCARD(-16), END}},
	{"cve_2023_39191_by_helper", -EACCES, "potential write to dynptr", {RING_DYNPTR(-16), FP(1, -24), MOV(2, 16), CALL(BPF_FUNC_get_current_comm), DISCARD(-16), END}},
	{"cve_2023_39191_somewhere", -EINVAL, NULL, {ANY(6), ALU(BPF_AND, 6, 8), RING_DYNPTR(-16), FP(1, -24), ALUX(BPF_ADD, 1, 6), ST(BPF_DW, 1, 0, 0), DISCARD(-16), END}},
	{"cve_2023_39191_slice_after_overwrite", -EACCES, NULL, {LOCAL_DYNPTR(-16), SLICE(-16, 8), J(BPF_JEQ, 0, 0, 2), ST(BPF_DW, 10, -16, 0), ST(BPF_B, 0, 0, 1), END}},
	{"cve_2023_39191_slice_after_new", -EACCES, NULL, {LOCAL_DYNPTR(-16), SLICE(-16, 8), J(BPF_JEQ, 0, 0, 8), MOVX(6, 0), LOCAL_DYNPTR(-16), ST(BPF_B, 6, 0, 1), END}},
	{"cve_2023_39191_slice_after_submit", -EACCES, NULL, {RING_DYNPTR(-16), SLICE(-16, 8), MOVX(6, 0), DISCARD(-16), J(BPF_JEQ, 6, 0, 1), ST(BPF_B, 6, 0, 1), END}},
	{"cve_2023_39191_use_after_overwrite", -EINVAL, NULL, {LOCAL_DYNPTR(-16), ST(BPF_DW, 10, -8, 0), SLICE(-16, 8), END}},
	{"dynptr_moved", -EINVAL, NULL, {RING_DYNPTR(-16), DISCARD(-8), END}},
	{"dynptr_half", -EINVAL, NULL, {RING_DYNPTR(-8), END}},
	{"dynptr_slice_beyond", -EACCES, "mem_size=8 off=8", {LOCAL_DYNPTR(-16), SLICE(-16, 8), J(BPF_JEQ, 0, 0, 1), ST(BPF_B, 0, 8, 1), END}},
	{"dynptr_of_stack", -EACCES, NULL, {FP(1, -32), MOV(2, 16), MOV(3, 0), FP(4, -16), CALL(BPF_FUNC_dynptr_from_mem), END}},
	{"dynptr_local_submitted", -EINVAL, NULL, {LOCAL_DYNPTR(-16), DISCARD(-16), END}},
	/* CVE-2024-49861, CVE-2024-50164: helpers that write to what is read-only. */
	{"cve_2024_49861", -EACCES, "write into map forbidden", {ST(BPF_W, 10, -4, 0x31), FP(1, -4), MOV(2, 4), MOV(3, 0), DATA(4, 4), CALL(BPF_FUNC_strtol), END}},
	{"cve_2024_50164", -EACCES, NULL, {DATA(1, 4), MOV(2, 16), CALL(BPF_FUNC_get_current_comm), END}},
	{"write_to_readonly", -EACCES, "write into map forbidden", {DATA(1, 4), ST(BPF_B, 1, 0, 1), END}},
	{"atomic_on_readonly", -EACCES, "write into map forbidden", {DATA(1, 4), MOV(2, 1), ATOMIC(BPF_DW, 1, 0, 2, BPF_ADD), END}},
	{"pop_into_readonly", -EACCES, NULL, {MAP(1, 5), DATA(2, 4), CALL(BPF_FUNC_map_pop_elem), END}},
	/* CVE-2024-47728: a long that is not whole on the stack. */
	{"cve_2024_47728_half", -EINVAL, NULL, {ST(BPF_W, 10, -4, 0x31), FP(1, -4), MOV(2, 4), MOV(3, 0), FP(4, -4), CALL(BPF_FUNC_strtol), END}},
	/* CVE-2024-42072: may_goto that goes back. */
	{"cve_2024_42072", -EINVAL, "infinite loop", {MOV(0, 0), MAY_GOTO(-1), EXIT}},
	{"may_goto_back", 0, NULL, {MOV(0, 0), ALU(BPF_ADD, 0, 1), MAY_GOTO(1), GO(-3), EXIT}},
	/* CVE-2024-45020 and others: what is compared of stacks when paths meet. */
	{"cve_2024_45020", -EACCES, NULL, {ANY(3), ST(BPF_DW, 10, -8, 0), J(BPF_JEQ, 3, 0, 1), ST(BPF_DW, 10, -8, 64), ANY(4), J(BPF_JEQ, 4, 1, 0), MOV(5, 0), LD(BPF_DW, 2, 10, -8), AT(2)}},
	{"misc_for_zero", -EINVAL, NULL, {ANY(3), STX(BPF_DW, 10, -8, 3), J(BPF_JEQ, 3, 0, 2), ANY(4), STX(BPF_B, 10, -8, 4), LD(BPF_DW, 2, 10, -8), AT(2)}},
	{"zero_slot_is_a_number_later", -EACCES, NULL, {ANY(3), ST(BPF_DW, 10, -8, 0), J(BPF_JEQ, 3, 0, 1), ST(BPF_B, 10, -7, 1), MOV(5, 0), MOV(5, 1), LD(BPF_DW, 2, 10, -8), ALU(BPF_RSH, 2, 4), AT(2)}},
	/* CVE-2023-52920: precision of a slot that a callee writes by a pointer into its caller's stack. */
	{"cve_2023_52920", -EACCES, NULL, {ANY(6), FP(1, -8), MOVX(2, 6), SUB(7), LD(BPF_DW, 2, 10, -8), AT(2), MOV(3, 0), J(BPF_JEQ, 2, 0, 1), MOV(3, 64), STX(BPF_DW, 1, 0, 3), MOV(0, 0), EXIT}},
	/* CVE-2023-52462: a spilled pointer of which a byte was changed. */
	{"cve_2023_52462", -EACCES, NULL, {DATA(1, 0), STX(BPF_DW, 10, -8, 1), ST(BPF_B, 10, -5, 0), LD(BPF_DW, 1, 10, -8), BYTE(1, 0), EXIT}},
	{"spilled_pointer_half_read", -EACCES, NULL, {DATA(1, 0), STX(BPF_DW, 10, -8, 1), LD(BPF_W, 2, 10, -8), END}},
	{"spilled_pointer_half_stored", -EACCES, "invalid size of register spill", {DATA(1, 0), STX(BPF_W, 10, -8, 1), END}},
	/* CVE-2023-52676, CVE-2023-52452: places on the stack that vary. */
	{"cve_2023_52676", -EACCES, NULL, {ANY(2), ALU(BPF_AND, 2, 0x7ffffff8), FP(1, 0), ALUX(BPF_SUB, 1, 2), ST(BPF_DW, 1, -8, 0), END}},
	{"cve_2023_52452", -EACCES, NULL, {ANY(2), ALU(BPF_AND, 2, 511), ALU(BPF_ADD, 2, 8), FP(1, 0), ALUX(BPF_SUB, 1, 2), LD(BPF_B, 0, 1, 0), EXIT}},
	{"varying_write_over_pointer", -EACCES, NULL, {DATA(7, 0), STX(BPF_DW, 10, -8, 7), ANY(2), ALU(BPF_AND, 2, 8), FP(1, -16), ALUX(BPF_ADD, 1, 2), ST(BPF_DW, 1, 0, 5), LD(BPF_DW, 1, 10, -8), BYTE(1, 0), EXIT}},
	{"varying_read_of_pointer", -EACCES, NULL, {DATA(7, 0), STX(BPF_DW, 10, -8, 7), ST(BPF_DW, 10, -16, 0), ANY(2), ALU(BPF_AND, 2, 8), FP(1, -16), ALUX(BPF_ADD, 1, 2), LD(BPF_DW, 1, 1, 0), BYTE(1, 0), EXIT}},
	/* CVE-2022-49873 and its kin: references and NULL. */
	{"cve_2022_49873", -EACCES, NULL, {RESERVE, MOVX(6, 0), J(BPF_JEQ, 0, 0, 4), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), LD(BPF_B, 3, 6, 0), END}},
	{"record_null_of_another", -EACCES, NULL, {RESERVE, MOVX(6, 0), RESERVE, J(BPF_JEQ, 0, 0, 5), ST(BPF_DW, 6, 0, 1), MOVX(1, 0), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), GO(0), END}},
	{"null_of_other_lookup", -EACCES, NULL, {LOOKUP, MOVX(6, 0), LOOKUP, J(BPF_JEQ, 0, 0, 1), LD(BPF_DW, 0, 6, 0), END}},
	{"equal_pointers_of_which_one_is_null", -EACCES, NULL, {LOOKUP, MOVX(6, 0), LOOKUP, JX(BPF_JNE, 0, 6, 1), LD(BPF_DW, 0, 6, 0), END}},
	{"null_test_of_low_half", -EACCES, NULL, {LOOKUP, JW(BPF_JEQ, 0, 0, 1), LD(BPF_DW, 0, 0, 0), END}},
	/* Scalar ids: copies that are equal no longer. */
	{"copy_changed", -EINVAL, NULL, {ANY(2), MOVX(3, 2), ALU(BPF_XOR, 3, 1), J(BPF_JGT, 3, 8, 4), AT(2)}},
	{"copy_plus_constant", 0, NULL, {ANY(2), ALU(BPF_AND, 2, 255), MOVX(3, 2), ALU(BPF_ADD, 3, 4), J(BPF_JGT, 3, 15, 4), AT(2)}},
	{"copy_plus_constant_wraps", -EACCES, NULL, {ANY(2), ALU(BPF_AND, 2, 255), MOVX(3, 2), ALU(BPF_ADD, 3, -16), J(BPF_JSGT, 3, 4, 4), AT(2)}},
	{"copy_plus_in_low_half", -EACCES, NULL, {LD(BPF_W, 2, 1, 0), MOVX(3, 2), ALUW(BPF_ADD, 3, 16), J(BPF_JGT, 3, 15, 4), AT(2)}, .differ = "kernels since 6.17 link them in 32 bits, and see where it is"},
	{"linked_pruned", -EACCES, NULL, {ANY(2), ALU(BPF_AND, 2, 255), ANY(4), MOVX(3, 2), J(BPF_JEQ, 4, 0, 2), ANY(3), ALU(BPF_AND, 3, 255), MOV(5, 0), J(BPF_JGT, 3, 15, 4), AT(2)}},
	{"copy_after_spill", -EACCES, NULL, {ANY(2), ALU(BPF_AND, 2, 255), STX(BPF_DW, 10, -8, 2), ST(BPF_W, 10, -8, 3), LD(BPF_DW, 3, 10, -8), J(BPF_JGT, 3, 15, 4), AT(2)}},
	/* CVE-2024-58100 is of packets; its kin: what a callee does to values of its caller. */
	{"callee_ends_record", -EACCES, NULL, {RESERVE, J(BPF_JEQ, 0, 0, 4), MOVX(6, 0), MOVX(1, 0), SUB(3), ST(BPF_DW, 6, 0, 1), END, MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	/* Sign-extending loads and moves. */
	{"sx_load_is_signed", -EACCES, NULL, {DATA(7, 0), SX(BPF_B, 2, 7, 0), J(BPF_JSGT, 2, 15, 4), AT(2)}},
	{"sx_load_is_not_all", -EACCES, NULL, {DATA(7, 0), SX(BPF_B, 2, 7, 0), ALU(BPF_AND, 2, 127), J(BPF_JSGT, 2, 16, 4), AT(2)}},
	{"sx_load_masked", 0, NULL, {DATA(7, 0), SX(BPF_B, 2, 7, 0), ALU(BPF_AND, 2, 15), AT(2)}},
	{"sx_move_of_bounded", -EACCES, NULL, {ANY(2), ALU(BPF_AND, 2, 255), MOVS(2, 2, 8), J(BPF_JSGT, 2, 15, 4), AT(2)}},
	{"sx_move_16_of_bounded", 0, NULL, {ANY(2), ALU(BPF_AND, 2, 255), MOVS(2, 2, 16), J(BPF_JSGT, 2, 15, 4), AT(2)}},
	{"sx_move_low_clears_high", 0, NULL, {ANY(2), MOVSW(2, 2, 8), J(BPF_JSGT, 2, 15, 4), AT(2)}},
	{"sx_move_32_is_linked_not", -EACCES, NULL, {ANY(2), ALU(BPF_RSH, 2, 16), MOVS(3, 2, 32), J(BPF_JGT, 3, 15, 4), AT(2)}},
	{"sx_load_of_pointer", -EACCES, NULL, {DATA(1, 0), STX(BPF_DW, 10, -8, 1), SX(BPF_W, 2, 10, -8), END}},
	/* Shifts. */
	{"shift_too_far", -EINVAL, NULL, {ANY(2), ANY(3), ALUX(BPF_RSH, 2, 3), AT(2)}},
	{"shift_by_known", 0, NULL, {ANY(2), MOV(3, 60), ALUX(BPF_RSH, 2, 3), AT(2)}},
	{"shift_by_up_to", -EINVAL, NULL, {ANY(2), ANY(3), ALU(BPF_AND, 3, 63), ALU(BPF_AND, 2, 15), ALUX(BPF_LSH, 2, 3), AT(2)}},
	{"arsh_keeps_sign", -EACCES, NULL, {ANY(2), ALU(BPF_ARSH, 2, 60), AT(2)}},
	{"arsh_low_half", -EACCES, NULL, {ANY(2), ALUW(BPF_ARSH, 2, 28), AT(2)}},
	{"lsh_low_half_drops", 0, NULL, {ANY(2), ALUW(BPF_LSH, 2, 28), ALUW(BPF_RSH, 2, 28), AT(2)}},
	{"mul_wraps", -EACCES, NULL, {ANY(2), HIGH(3, 1, 0), J(BPF_JGT, 2, 15, 6), ALUX(BPF_MUL, 2, 3), ALU(BPF_RSH, 2, 28), AT(2)}},
	{"neg_of_least", -EINVAL, NULL, {ANY(2), I(BPF_ALU64 | BPF_NEG, 2, 0, 0, 0), J(BPF_JSGT, 2, 15, 4), AT(2)}},
	{"div_by_known_zero", -EINVAL, NULL, {ANY(2), MOV(3, 0), ALUX(BPF_DIV, 2, 3), AT(2)}},
	{"mod_by_zero_gives_all", -EINVAL, NULL, {ANY(2), MOV(3, 0), ALUX(BPF_MOD, 2, 3), AT(2)}},
	{"sdiv_signs", -EINVAL, NULL, {ANY(2), I(BPF_ALU64 | BPF_DIV | BPF_K, 2, 0, 1, 3), J(BPF_JSGT, 2, 15, 4), AT(2)}},
	/* Signed and unsigned bounds told apart. */
	{"sgt_wide_in_low", -EINVAL, NULL, {ANY(2), JW(BPF_JSLT, 2, 0, 5), JW(BPF_JSGT, 2, 15, 4), AT(2)}},
	{"jle_low_in_wide", 0, NULL, {ANY(2), JW(BPF_JGT, 2, 15, 5), MOVW(2, 2), AT(2)}},
	{"jset_is_not_equal", -EACCES, NULL, {ANY(2), ALU(BPF_AND, 2, 31), J(BPF_JSET, 2, 8, 4), AT(2)}},
	{"jne_trims_ends", 0, NULL, {ANY(2), J(BPF_JGT, 2, 16, 5), J(BPF_JEQ, 2, 16, 4), AT(2)}},
	/* Callbacks. */
	{"callback_result", -EINVAL, "At callback return the register R0", {MOV(1, 4), FUNC(2, 6), MOV(3, 0), MOV(4, 0), CALL(BPF_FUNC_loop), END, MOV(0, 2), EXIT}},
	{"callback_result_of_another", 0, NULL, {MOV(1, 4), FUNC(2, 6), MOV(3, 0), MOV(4, 0), CALL(BPF_FUNC_loop), END, MOV(0, 1), EXIT}},
	{"callback_saved_registers", -EACCES, "R6 !read_ok", {MOV(6, 4), MOV(1, 4), FUNC(2, 6), MOV(3, 0), MOV(4, 0), CALL(BPF_FUNC_loop), END, MOVX(0, 6), EXIT}},
	{"callback_counts", -EACCES, NULL, {ST(BPF_DW, 10, -8, 0), MOV(1, 64), FUNC(2, 13), FP(3, -8), MOV(4, 0), CALL(BPF_FUNC_loop), LD(BPF_DW, 2, 10, -8), J(BPF_JGT, 2, 40, 4), AT(2), LD(BPF_DW, 0, 2, 0), ALU(BPF_ADD, 0, 1), STX(BPF_DW, 2, 0, 0), MOV(0, 0), EXIT}},
	{"callback_precision", -EACCES, NULL, {ST(BPF_DW, 10, -8, 0), MOV(1, 64), FUNC(2, 12), FP(3, -8), MOV(4, 0), CALL(BPF_FUNC_loop), LD(BPF_DW, 2, 10, -8), AT(2), ST(BPF_DW, 2, 0, 64), MOV(0, 0), EXIT}},
	{"callback_keeps_record", -EINVAL, NULL, {MOV(1, 4), FUNC(2, 6), MOV(3, 0), MOV(4, 0), CALL(BPF_FUNC_loop), END, RESERVE, MOV(0, 0), EXIT}},
	/* Tail calls. */
	{"tail_call_with_record", -EINVAL, NULL, {MOVX(6, 1), RESERVE, MOVX(7, 0), MOVX(1, 6), MAP(2, 3), MOV(3, 0), CALL(BPF_FUNC_tail_call), J(BPF_JEQ, 7, 0, 3), MOVX(1, 7), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit), END}},
	{"tail_call_of_no_context", -EACCES, NULL, {DATA(1, 0), MAP(2, 3), MOV(3, 0), CALL(BPF_FUNC_tail_call), END}},
	{"tail_call_array_looked_up", -EINVAL, "cannot pass map_type", {KEY, MAP(1, 3), CALL(BPF_FUNC_map_lookup_elem), END}},
	/* Pointers out of their objects. */
	{"pointers_subtracted", 0, NULL, {DATA(1, 0), DATA(2, 0), ALUX(BPF_SUB, 1, 2), END}},
	{"pointers_subtracted_used", -EACCES, NULL, {DATA(1, 0), DATA(2, 0), ALUX(BPF_SUB, 1, 2), BYTE(1, 0), END}},
	{"number_minus_pointer", -EACCES, NULL, {MOV(2, 8), DATA(1, 0), ALUX(BPF_SUB, 2, 1), END}},
	{"pointer_far_off", -EINVAL, NULL, {DATA(1, 0), ALU(BPF_ADD, 1, 0x20000000), BYTE(1, 0), END}},
	{"pointer_in_low_half", -EACCES, NULL, {DATA(1, 0), ALUW(BPF_ADD, 1, 8), END}},
	{"pointer_stored_in_map", 0, NULL, {DATA(1, 0), STX(BPF_DW, 1, 0, 10), END}},
	{"pointer_in_low_store", -EACCES, NULL, {DATA(1, 0), STX(BPF_DW, 10, -8, 1), STX(BPF_DW, 10, -12, 1), END}},
	{"pointers_of_two_kinds", -EINVAL, "same insn cannot be used with different pointers", {ANY(3), MOVX(2, 1), J(BPF_JEQ, 3, 0, 2), DATA(2, 0), LD(BPF_DW, 0, 2, 0), EXIT}},
	{"ld_abs", -EINVAL, NULL, {MOVX(6, 1), I(BPF_LD | BPF_ABS | BPF_W, 0, 0, 0, 0), EXIT}},
	{.name = NULL},
};
