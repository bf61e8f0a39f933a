/* SPDX-License-Identifier: MIT */
/* Kernel functions: iterators and sections. */
#include <errno.h>
#include "corpus.h"

/* clang-format off */
#define NEW(o, from, to) FP(1, o), MOV(2, from), MOV(3, to), KFUNC(HELPER_ITER_NUM_NEW)
#define NEXT(o)       FP(1, o), KFUNC(HELPER_ITER_NUM_NEXT)
#define DESTROY(o)    FP(1, o), KFUNC(HELPER_ITER_NUM_DESTROY)
#define RCU_LOCK      KFUNC(HELPER_RCU_READ_LOCK)
#define RCU_UNLOCK    KFUNC(HELPER_RCU_READ_UNLOCK)
#define NO_PREEMPT    KFUNC(HELPER_PREEMPT_DISABLE)
#define PREEMPT       KFUNC(HELPER_PREEMPT_ENABLE)

const struct row rows_kfunc[] = {
	{"iter", 0, NULL, {NEW(-8, 0, 10), NEXT(-8), J(BPF_JNE, 0, 0, -4), DESTROY(-8), END}},
	{"iter_elem", 0, NULL, {NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 2), LD(BPF_W, 6, 0, 0), GO(-6), DESTROY(-8), END}},
	{"iter_elem_untested", -EACCES, NULL, {NEW(-8, 0, 10), NEXT(-8), LD(BPF_W, 6, 0, 0), DESTROY(-8), END}},
	{"iter_elem_too_wide", -EACCES, NULL, {NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 1), LD(BPF_DW, 6, 0, 0), DESTROY(-8), END}},
	{"iter_elem_written", -EACCES, NULL, {NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 1), ST(BPF_W, 0, 0, 7), DESTROY(-8), END}},
	{"iter_elem_kept", -EACCES, NULL, {NEW(-8, 0, 10), NEXT(-8), MOVX(7, 0), DESTROY(-8), LD(BPF_W, 0, 7, 0), EXIT}},
	{"iter_kept", -EINVAL, "Unreleased reference", {NEW(-8, 0, 10), END}},
	{"iter_kept_in_loop", -EINVAL, NULL, {NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 2), END, DESTROY(-8), END}},
	{"iter_twice_new", -EINVAL, NULL, {NEW(-8, 0, 10), NEW(-8, 0, 10), DESTROY(-8), END}},
	{"iter_twice_destroyed", -EINVAL, NULL, {NEW(-8, 0, 10), DESTROY(-8), DESTROY(-8), END}},
	{"iter_next_of_none", -EINVAL, NULL, {NEXT(-8), END}},
	{"iter_destroy_of_none", -EINVAL, NULL, {ST(BPF_DW, 10, -8, 0), DESTROY(-8), END}},
	{"iter_unaligned", -EINVAL, NULL, {NEW(-12, 0, 10), END}},
	{"iter_below_stack", -EACCES, NULL, {NEW(-520, 0, 10), END}},
	{"iter_above_stack", -EACCES, NULL, {NEW(0, 0, 10), END}},
	{"iter_in_map", -EINVAL, NULL, {DATA(1, 0), MOV(2, 0), MOV(3, 5), KFUNC(HELPER_ITER_NUM_NEW), END}},
	{"iter_varying", -EINVAL, NULL, {ANY(6), ALU(BPF_AND, 6, 8), FP(1, -16), ALUX(BPF_ADD, 1, 6), MOV(2, 0), MOV(3, 5), KFUNC(HELPER_ITER_NUM_NEW), END}},
	{"iter_varying_next", -EINVAL, NULL, {ANY(6), ALU(BPF_AND, 6, 8), NEW(-8, 0, 5), FP(1, -16), ALUX(BPF_ADD, 1, 6), KFUNC(HELPER_ITER_NUM_NEXT), END}},
	{"iter_limits_no_numbers", -EINVAL, "R2 is not a scalar", {FP(1, -8), MOVX(2, 10), MOV(3, 5), KFUNC(HELPER_ITER_NUM_NEW), END}},
	{"iter_limits_not_set", -EINVAL, "R3 is not a scalar", {FP(1, -8), MOV(2, 5), KFUNC(HELPER_ITER_NUM_NEW), END}},
	{"iter_overwritten", -EINVAL, NULL, {NEW(-8, 0, 10), ST(BPF_B, 10, -3, 0), DESTROY(-8), END}},
	{"iter_overwritten_whole", -EINVAL, NULL, {NEW(-8, 0, 10), ST(BPF_DW, 10, -8, 0), NEXT(-8), END}},
	{"iter_overwritten_left", -EINVAL, "Unreleased reference", {NEW(-8, 0, 10), ST(BPF_DW, 10, -8, 0), END}},
	{"iter_overwritten_somewhere", -EINVAL, NULL, {ANY(6), NEW(-8, 0, 10), ALU(BPF_AND, 6, 7), FP(1, -16), ALUX(BPF_ADD, 1, 6), ST(BPF_B, 1, 4, 7), DESTROY(-8), END}},
	{"iter_read", -EACCES, NULL, {NEW(-8, 0, 10), LD(BPF_DW, 7, 10, -8), DESTROY(-8), END}},
	{"iter_read_byte", -EACCES, NULL, {NEW(-8, 0, 10), LD(BPF_B, 7, 10, -6), DESTROY(-8), END}},
	{"iter_read_by_helper", -EACCES, NULL, {NEW(-8, 0, 10), FP(1, -16), MOV(2, 16), CALL(BPF_FUNC_trace_printk), DESTROY(-8), END}},
	{"iter_written_by_helper", -EINVAL, NULL, {NEW(-8, 0, 10), FP(1, -16), MOV(2, 16), CALL(BPF_FUNC_get_current_comm), DESTROY(-8), END}},
	{"iter_atomic", -EACCES, NULL, {NEW(-8, 0, 10), MOV(7, 1), ATOMIC(BPF_DW, 10, -8, 7, BPF_ADD), DESTROY(-8), END}},
	{"iter_over_dynptr", -EINVAL, NULL, {MAP(1, 2), MOV(2, 8), MOV(3, 0), FP(4, -16), CALL(BPF_FUNC_ringbuf_reserve_dynptr), NEW(-8, 0, 3), END}},
	{"dynptr_over_iter", -EINVAL, NULL, {NEW(-8, 0, 3), MAP(1, 2), MOV(2, 8), MOV(3, 0), FP(4, -16), CALL(BPF_FUNC_ringbuf_reserve_dynptr), FP(1, -16), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard_dynptr), END}},
	{"iter_two", 0, NULL, {NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 13), NEW(-16, 0, 4), NEXT(-16), J(BPF_JNE, 0, 0, -4), DESTROY(-16), GO(-17), DESTROY(-8), END}},
	{"iter_in_callee", 0, NULL, {NEW(-8, 0, 10), FP(1, -8), SUB(6), J(BPF_JNE, 0, 0, -4), DESTROY(-8), END, KFUNC(HELPER_ITER_NUM_NEXT), J(BPF_JEQ, 0, 0, 1), MOV(0, 1), EXIT}},
	{"iter_renewed_after_a_round", -EINVAL, "infinite loop", {MOV(7, 0), NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 2), MOV(7, 1), GO(-6), DESTROY(-8), J(BPF_JEQ, 7, 0, 1), GO(-16), END}, .differ = "the kernel accepts it, and it never ends"},
	{"iter_left_in_callee", -EINVAL, "Unreleased reference", {SUB(2), END, NEW(-8, 0, 10), END}},
	{"iter_counts", 0, NULL, {MOV(7, 0), NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 2), ALU(BPF_ADD, 7, 1), GO(-6), DESTROY(-8), END}},
	{"iter_counts_into_value", -EACCES, NULL, {MOV(7, 0), NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 6), DATA(3, 0), ALUX(BPF_ADD, 3, 7), LD(BPF_B, 4, 3, 0), ALU(BPF_ADD, 7, 1), GO(-10), DESTROY(-8), END}},
	{"iter_masks_into_value", 0, NULL, {MOV(7, 0), NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 7), DATA(3, 0), ALU(BPF_AND, 7, 15), ALUX(BPF_ADD, 3, 7), LD(BPF_B, 4, 3, 0), ALU(BPF_ADD, 7, 1), GO(-11), DESTROY(-8), END}},
	{"iter_bad_after_first_round", -EACCES, NULL, {MOV(7, 0), NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 6), DATA(3, 0), ALUX(BPF_ADD, 3, 7), LD(BPF_B, 4, 3, 0), MOV(7, 64), GO(-10), DESTROY(-8), END}},
	{"iter_bad_in_third_round", -EINVAL, NULL, {MOV(7, 0), MOV(8, 0), NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 7), DATA(3, 0), ALUX(BPF_ADD, 3, 7), LD(BPF_B, 4, 3, 0), MOVX(7, 8), MOV(8, 64), GO(-11), DESTROY(-8), END}},
	{"iter_pointer_in_second_round", -EACCES, NULL, {MOVX(7, 10), NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 3), ST(BPF_DW, 7, -16, 0), MOV(7, 0), GO(-7), DESTROY(-8), END}},
	{"iter_renewed_for_ever", -EINVAL, NULL, {NEW(-8, 0, 10), NEXT(-8), J(BPF_JNE, 0, 0, -4), DESTROY(-8), GO(-13)}, .differ = "the kernel accepts it, and it never ends"},
	{"iter_never_next", -EINVAL, "infinite loop", {NEW(-8, 0, 10), MOV(7, 0), J(BPF_JEQ, 7, 1, 1), GO(-2), DESTROY(-8), END}},
	{"iter_drained_for_ever", -E2BIG, NULL, {NEW(-8, 0, 10), NEXT(-8), J(BPF_JNE, 0, 0, -4), NEXT(-8), J(BPF_JEQ, 0, 0, -4), DESTROY(-8), END}},

	{"rcu", 0, NULL, {RCU_LOCK, RCU_UNLOCK, END}},
	{"rcu_left", -EINVAL, "bpf_rcu_read_lock-ed region", {RCU_LOCK, END}},
	{"rcu_unmatched", -EINVAL, NULL, {RCU_UNLOCK, END}},
	{"rcu_nested", -EINVAL, NULL, {RCU_LOCK, RCU_LOCK, RCU_UNLOCK, RCU_UNLOCK, END}},
	{"rcu_on_one_way", -EINVAL, NULL, {ANY(6), J(BPF_JEQ, 6, 0, 1), RCU_LOCK, MOV(7, 1), J(BPF_JEQ, 6, 1, 1), RCU_UNLOCK, END}},
	{"rcu_helper", 0, NULL, {RCU_LOCK, LOOKUP, RCU_UNLOCK, END}},
	{"rcu_iter", 0, NULL, {RCU_LOCK, NEW(-8, 0, 10), NEXT(-8), J(BPF_JNE, 0, 0, -4), DESTROY(-8), RCU_UNLOCK, END}},
	{"rcu_left_in_iter", -EINVAL, NULL, {NEW(-8, 0, 10), NEXT(-8), J(BPF_JEQ, 0, 0, 2), RCU_LOCK, GO(-6), DESTROY(-8), END}},
	{"rcu_in_callee", 0, NULL, {RCU_LOCK, SUB(2), END, RCU_UNLOCK, END}},
	{"preempt", 0, NULL, {NO_PREEMPT, PREEMPT, END}},
	{"preempt_nested", 0, NULL, {NO_PREEMPT, NO_PREEMPT, PREEMPT, PREEMPT, END}},
	{"preempt_left", -EINVAL, NULL, {NO_PREEMPT, NO_PREEMPT, PREEMPT, END}},
	{"preempt_unmatched", -EINVAL, NULL, {PREEMPT, END}},
	{"preempt_tail_call", -EINVAL, NULL, {MOVX(6, 1), NO_PREEMPT, MOVX(1, 6), MAP(2, 3), MOV(3, 0), CALL(BPF_FUNC_tail_call), PREEMPT, END}},
	{"rcu_tail_call", -EINVAL, NULL, {MOVX(6, 1), RCU_LOCK, MOVX(1, 6), MAP(2, 3), MOV(3, 0), CALL(BPF_FUNC_tail_call), RCU_UNLOCK, END}},
	{"sleep_not_allowed", -EINVAL, NULL, {FP(1, -8), MOV(2, 8), MOV(3, 0), CALL(BPF_FUNC_copy_from_user), END}},

	/* Strings may be anything: no byte is read but as the kernel reads its own. */
	{"str_stack", 0, NULL, {ST(BPF_DW, 10, -8, 0), FP(1, -8), FP(2, -8), KFUNC(HELPER_STRCMP), END}},
	{"str_stack_never_set", 0, NULL, {FP(1, -8), KFUNC(HELPER_STRLEN), END}},
	{"str_above_stack", 0, NULL, {FP(1, 64), KFUNC(HELPER_STRLEN), END}},
	{"str_number", 0, NULL, {MOV(1, 7), MOV(2, 0), KFUNC(HELPER_STRSTR), END}},
	{"str_never_set", 0, NULL, {KFUNC(HELPER_STRLEN), END}},
	{"str_second_never_set", 0, NULL, {KFUNC(HELPER_STRSPN), END}},
	{"str_ctx", 0, NULL, {MOVX(2, 1), KFUNC(HELPER_STRCSPN), END}},
	{"str_map", 0, NULL, {MAP(1, 1), KFUNC(HELPER_STRLEN), END}},
	{"str_value_or_null", 0, NULL, {LOOKUP, MOVX(1, 0), KFUNC(HELPER_STRLEN), END}},
	{"str_beyond_value", 0, NULL, {DATA(1, 0), ALU(BPF_ADD, 1, 4096), KFUNC(HELPER_STRLEN), END}},
	{"str_char_no_number", -EINVAL, "R2 is not a scalar", {MOV(1, 0), MOVX(2, 10), KFUNC(HELPER_STRCHR), END}},
	{"str_char_never_set", -EINVAL, "R2 is not a scalar", {MOV(1, 0), KFUNC(HELPER_STRRCHR), END}},
	{"str_count_no_number", -EINVAL, "R2 is not a scalar", {MOV(1, 0), MOVX(2, 10), MOV(3, 0), KFUNC(HELPER_STRNCHR), END}},
	{"str_len_no_number", -EINVAL, "R3 is not a scalar", {MOV(1, 0), MOV(2, 0), MOVX(3, 10), KFUNC(HELPER_STRNSTR), END}},
	{"str_arg_gone", -EACCES, NULL, {FP(1, -8), KFUNC(HELPER_STRLEN), MOVX(0, 1), EXIT}},
	{"str_result_unknown", -EINVAL, NULL, {FP(1, -8), KFUNC(HELPER_STRLEN), DATA(3, 0), ALUX(BPF_ADD, 3, 0), LD(BPF_B, 4, 3, 0), END}},
	{"str_result_known_below", 0, NULL, {FP(1, -8), KFUNC(HELPER_STRLEN), ALU(BPF_AND, 0, 7), DATA(3, 0), ALUX(BPF_ADD, 3, 0), LD(BPF_B, 4, 3, 0), END}},
	{"str_in_sections", 0, NULL, {RCU_LOCK, NO_PREEMPT, MOV(1, 0), KFUNC(HELPER_STRLEN), PREEMPT, RCU_UNLOCK, END}},
	{"str_in_filter", 0, NULL, {MOV(1, 0), KFUNC(HELPER_STRLEN), END}, BPF_PROG_TYPE_SOCKET_FILTER},
	{.name = NULL},
};
