/* SPDX-License-Identifier: MIT */
/* Pointers into the kernel's objects. Which members there are is object_fuzz.c's to look at: here it is the first, a number. */
#include <errno.h>
#include "corpus.h"

/* clang-format off */
#define TASK          CALL(BPF_FUNC_get_current_task_btf)
#define REGS          TASK, MOVX(1, 0), CALL(BPF_FUNC_task_pt_regs)
#define RCU_LOCK      KFUNC(HELPER_RCU_READ_LOCK)
#define RCU_UNLOCK    KFUNC(HELPER_RCU_READ_UNLOCK)
#define CAST          KFUNC(HELPER_RDONLY_CAST)
#define CAST_CTX      KFUNC(HELPER_CAST_TO_KERN_CTX)

const struct row rows_object[] = {
	{"object", 0, NULL, {TASK, LD(BPF_DW, 6, 0, 0), END}},
	{"object_no_null", 0, NULL, {TASK, J(BPF_JNE, 0, 0, 1), ENDLESS, END}},
	{"object_filter", 0, NULL, {TASK, LD(BPF_DW, 6, 0, 0), END}, BPF_PROG_TYPE_SOCKET_FILTER},
	{"object_tracepoint", 0, NULL, {TASK, LD(BPF_DW, 6, 0, 0), END}, BPF_PROG_TYPE_TRACEPOINT},
	{"object_raw_tracepoint", 0, NULL, {TASK, LD(BPF_DW, 6, 0, 0), END}, BPF_PROG_TYPE_RAW_TRACEPOINT},
	{"object_perf_event", 0, NULL, {TASK, LD(BPF_DW, 6, 0, 0), END}, BPF_PROG_TYPE_PERF_EVENT},
	{"object_sleepable", 0, NULL, {TASK, LD(BPF_DW, 6, 0, 0), END}, .sleepable = true},
	{"object_part", 0, NULL, {TASK, LD(BPF_H, 6, 0, 2), END}},
	{"object_sign", 0, NULL, {TASK, I(BPF_LDX | BPF_MEMSX | BPF_B, 6, 0, 1, 0), END}},
	{"object_written", -EACCES, "only read is supported", {TASK, ST(BPF_DW, 0, 0, 1), END}},
	{"object_stored", -EACCES, "only read is supported", {TASK, STX(BPF_DW, 0, 0, 10), END}},
	{"object_atomic", -EACCES, "only read is supported", {TASK, MOV(1, 1), ATOMIC(BPF_DW, 0, 0, 1, BPF_ADD), END}},
	{"object_load_acquire", -EACCES, "is not allowed", {TASK, ATOMIC(BPF_DW, 1, 0, 0, BPF_LOAD_ACQ), MOVX(1, 0), END}, .differ = "the kernel makes a plain load of it"},
	{"object_before", -EACCES, "invalid negative access", {TASK, LD(BPF_DW, 6, 0, -8), END}},
	{"object_moved_before", -EACCES, "invalid negative access", {TASK, ALU(BPF_SUB, 0, 8), LD(BPF_DW, 6, 0, 0), END}},
	{"object_moved", 0, NULL, {TASK, ALU(BPF_ADD, 0, 8), LD(BPF_DW, 6, 0, -8), END}},
	{"object_beyond", -EACCES, "access beyond struct task_struct", {TASK, LD(BPF_DW, 6, 0, 32000), END}},
	{"object_varying", -EACCES, "invalid variable offset", {ANY(6), ALU(BPF_AND, 6, 8), TASK, ALUX(BPF_ADD, 0, 6), LD(BPF_DW, 6, 0, 0), END}},
	{"object_no_place", -EINVAL, NULL, {ANY(6), TASK, ALUX(BPF_ADD, 0, 6), END}},
	{"object_minus_object", 0, NULL, {TASK, MOVX(6, 0), TASK, ALUX(BPF_SUB, 0, 6), END}},
	{"object_masked", -EACCES, NULL, {TASK, ALU(BPF_AND, 0, 8), END}},
	{"object_halved", -EACCES, NULL, {TASK, ALUW(BPF_ADD, 0, 8), END}},
	{"object_returned", 0, NULL, {TASK, EXIT}},
	{"object_spilled", 0, NULL, {TASK, STX(BPF_DW, 10, -8, 0), LD(BPF_DW, 6, 10, -8), LD(BPF_W, 7, 6, 0), END}},
	{"object_into_map", 0, NULL, {TASK, MOVX(6, 0), DATA(1, 0), STX(BPF_DW, 1, 0, 6), END}},
	{"object_and_memory", 0, NULL, {ANY(6), RESERVE, J(BPF_JEQ, 0, 0, 12), MOVX(7, 0), TASK, MOVX(8, 7), J(BPF_JEQ, 6, 0, 1), MOVX(8, 0), LD(BPF_W, 9, 8, 0), MOVX(1, 7), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard), GO(0), GO(0), END}},
	{"object_and_value", -EINVAL, "different pointers", {ANY(6), TASK, MOVX(8, 0), J(BPF_JEQ, 6, 0, 2), DATA(8, 0), LD(BPF_W, 9, 8, 0), END}},
	{"object_and_stack", -EINVAL, "different pointers", {ANY(6), ST(BPF_DW, 10, -8, 0), TASK, MOVX(8, 0), J(BPF_JEQ, 6, 0, 2), FP(8, -8), LD(BPF_W, 9, 8, 0), END}},
	{"object_and_object", 0, NULL, {ANY(6), TASK, MOVX(8, 0), MOVX(1, 0), CALL(BPF_FUNC_task_pt_regs), J(BPF_JEQ, 6, 0, 1), MOVX(8, 0), LD(BPF_W, 9, 8, 0), END}},
	{"object_equal_to_value", -EACCES, NULL, {TASK, MOVX(6, 0), LOOKUP, JX(BPF_JNE, 0, 6, 1), LD(BPF_B, 7, 0, 0), END}},
	{"object_kept_in_callee", 0, NULL, {TASK, MOVX(1, 0), SUB(2), END, LD(BPF_DW, 0, 1, 0), EXIT}},
	{"object_read_by_helper", 0, NULL, {TASK, FP(1, -8), MOV(2, 8), MOVX(3, 0), CALL(BPF_FUNC_probe_read_kernel), END}},
	{"object_as_memory", -EACCES, NULL, {TASK, MOVX(1, 0), MOV(2, 8), MOV(3, 0), MOV(4, 0), MOV(5, 0), CALL(BPF_FUNC_trace_printk), END}, .differ = "helpers take trusted objects as memory there, by plain loads"},
	{"object_to_be_written", -EACCES, NULL, {TASK, MOVX(1, 0), MOV(2, 8), CALL(BPF_FUNC_get_current_comm), END}, .differ = "in other words"},
	{"object_as_key", -EACCES, NULL, {TASK, MOVX(2, 0), MAP(1, 1), CALL(BPF_FUNC_map_lookup_elem), END}, .differ = "as above"},
	{"object_as_ctx", -EACCES, NULL, {TASK, MOVX(1, 0), MAP(2, 3), MOV(3, 0), CALL(BPF_FUNC_tail_call), END}},

	{"regs", 0, NULL, {REGS, LD(BPF_DW, 6, 0, 112), END}},
	{"regs_last", 0, NULL, {REGS, LD(BPF_DW, 6, 0, 160), END}},
	{"regs_beyond", -EACCES, "access beyond struct pt_regs", {REGS, LD(BPF_DW, 6, 0, 168), END}},
	{"regs_across", -EACCES, NULL, {REGS, LD(BPF_DW, 6, 0, 4), END}},
	{"regs_part", 0, NULL, {REGS, LD(BPF_W, 6, 0, 4), END}},
	{"regs_written", -EACCES, "only read is supported", {REGS, ST(BPF_DW, 0, 112, 1), END}},
	{"regs_tested", 0, NULL, {REGS, J(BPF_JEQ, 0, 0, 1), LD(BPF_DW, 6, 0, 112), END}},
	{"regs_may_be_null", -EINVAL, NULL, {REGS, J(BPF_JNE, 0, 0, 1), ENDLESS, END}},
	{"regs_of_number", -EACCES, "expected=ptr_, trusted_ptr_, rcu_ptr_", {MOV(1, 5), CALL(BPF_FUNC_task_pt_regs), END}},
	{"regs_of_old_task", -EACCES, "expected=ptr_, trusted_ptr_, rcu_ptr_", {CALL(BPF_FUNC_get_current_task), MOVX(1, 0), CALL(BPF_FUNC_task_pt_regs), END}},
	{"regs_of_regs", -EACCES, "is of type pt_regs but task_struct is expected", {REGS, MOVX(1, 0), CALL(BPF_FUNC_task_pt_regs), END}},
	{"regs_of_ctx", -EACCES, NULL, {CALL(BPF_FUNC_task_pt_regs), END}},
	{"regs_of_moved_task", -EACCES, NULL, {TASK, MOVX(1, 0), ALU(BPF_ADD, 1, 8), CALL(BPF_FUNC_task_pt_regs), END}},
	{"regs_in_section", 0, NULL, {RCU_LOCK, REGS, LD(BPF_DW, 6, 0, 112), RCU_UNLOCK, END}},
	{"regs_kept_from_section", 0, NULL, {RCU_LOCK, TASK, MOVX(6, 0), RCU_UNLOCK, MOVX(1, 6), CALL(BPF_FUNC_task_pt_regs), END}},

	{"stack_of_task", 0, NULL, {ST(BPF_DW, 10, -8, 0), TASK, MOVX(1, 0), FP(2, -8), MOV(3, 8), MOV(4, 256), CALL(BPF_FUNC_get_task_stack), END}},
	{"stack_of_number", -EACCES, "expected=ptr_, trusted_ptr_, rcu_ptr_", {MOV(1, 0), FP(2, -8), MOV(3, 8), MOV(4, 256), CALL(BPF_FUNC_get_task_stack), END}},
	{"memory_of_task", 0, NULL, {TASK, FP(1, -8), MOV(2, 8), MOV(3, 64), MOVX(4, 0), MOV(5, 0), CALL(BPF_FUNC_copy_from_user_task), END}, .sleepable = true},
	{"memory_of_task_awake", -EINVAL, NULL, {TASK, FP(1, -8), MOV(2, 8), MOV(3, 64), MOVX(4, 0), MOV(5, 0), CALL(BPF_FUNC_copy_from_user_task), END}},
	{"memory_of_number", -EACCES, NULL, {FP(1, -8), MOV(2, 8), MOV(3, 64), MOV(4, 0), MOV(5, 0), CALL(BPF_FUNC_copy_from_user_task), END}, .sleepable = true},

	{"cast", 0, NULL, {MOV(1, 64), MOV(2, 0), CAST, LD(BPF_DW, 6, 0, 0), LD(BPF_B, 7, 0, 4097), END}},
	{"cast_unset", 0, NULL, {MOV(2, 0), CAST, LD(BPF_DW, 6, 0, 0), END}},
	{"cast_moved", 0, NULL, {ANY(6), MOV(2, 0), CAST, ALUX(BPF_ADD, 0, 6), ALU(BPF_AND, 0, 8), LD(BPF_DW, 6, 0, -8), END}},
	{"cast_written", -EACCES, "cannot write into rdonly_untrusted_mem", {MOV(2, 0), CAST, ST(BPF_DW, 0, 0, 1), END}},
	{"cast_may_be_null", -EINVAL, NULL, {MOV(2, 0), CAST, J(BPF_JNE, 0, 0, 1), ENDLESS, END}},
	{"cast_read_by_helper", 0, NULL, {MOV(2, 0), CAST, FP(1, -8), MOV(2, 8), MOVX(3, 0), CALL(BPF_FUNC_probe_read_kernel), END}},
	{"cast_as_memory", -EACCES, NULL, {MOV(2, 0), CAST, MOVX(1, 0), MOV(2, 8), MOV(3, 0), MOV(4, 0), MOV(5, 0), CALL(BPF_FUNC_trace_printk), END}},
	{"cast_as_key", -EACCES, NULL, {MOV(2, 0), CAST, MOVX(2, 0), MAP(1, 1), CALL(BPF_FUNC_map_lookup_elem), END}},
	{"cast_to_nothing", -EINVAL, "Unknown type ID", {MOV(2, 100000000), CAST, END}},
	{"cast_to_something", -EINVAL, "must be a known constant", {ANY(6), MOVX(2, 6), CAST, END}},
	{"cast_to_pointer", -EINVAL, "R2 is not a scalar", {MOVX(2, 10), CAST, END}},
	{"cast_and_memory", 0, NULL, {ANY(6), RESERVE, J(BPF_JEQ, 0, 0, 10), MOVX(7, 0), MOV(2, 0), CAST, MOVX(8, 7), J(BPF_JEQ, 6, 0, 1), MOVX(8, 0), LD(BPF_W, 9, 8, 0), MOVX(1, 7), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard), END}},
	{"cast_equal_to_value", -EACCES, NULL, {MOV(2, 0), CAST, MOVX(6, 0), LOOKUP, JX(BPF_JNE, 0, 6, 1), LD(BPF_B, 7, 0, 0), END}, .differ = "the kernel takes a value that is equal to an untrusted address, which may be NULL, for one that is none"},
	{"cast_ctx", 0, NULL, {CAST_CTX, LD(BPF_DW, 6, 0, 112), LD(BPF_B, 6, 0, 167), END}},
	{"cast_ctx_beyond", -EACCES, "access beyond struct pt_regs", {CAST_CTX, LD(BPF_DW, 6, 0, 168), END}},
	{"cast_ctx_written", -EACCES, "only read is supported", {CAST_CTX, ST(BPF_DW, 0, 112, 1), END}},
	{"cast_ctx_of_number", -EINVAL, "arg#0 expected pointer to ctx, but got scalar", {MOV(1, 5), CAST_CTX, END}},
	{0},
};
