/* SPDX-License-Identifier: MIT */
/* Where instructions lead: jumps, functions, callbacks, stacks in all. */
#include <errno.h>
#include "corpus.h"

/* clang-format off */
#define CALLS(off)    ST(BPF_DW, 10, off, 0), SUB(1), EXIT /* with a stack that deep */
#define LOOP(to)      MOV(1, 4), FUNC(2, to), MOV(3, 0), MOV(4, 0), CALL(BPF_FUNC_loop)
#define EACH_OF(m)    MAP(1, m), FUNC(2, 6), MOV(3, 0), MOV(4, 0), CALL(BPF_FUNC_for_each_map_elem), END
#define TAIL_CALL     MAP(2, 3), MOV(3, 0), CALL(BPF_FUNC_tail_call), END

const struct row rows_flow[] = {
	{"jump_far_off", -EINVAL, "jump out of range", {MOV(0, 0), J(BPF_JEQ, 0, 0, 100), EXIT}},
	{"jump_before", -EINVAL, "jump out of range", {MOV(0, 0), GO(-9), EXIT}},
	{"jump_into_wide", -EINVAL, "jump into the middle of ldimm64 insn 2", {ANY(0), J(BPF_JEQ, 0, 0, 1), MAP(1, 1), EXIT}},
	{"no_end", -EINVAL, "last insn is not an exit or jmp", {MOV(0, 0), MOV(1, 0)}},
	{"function_without_end", -EINVAL, "last insn is not an exit or jmp", {MOV(1, 0), SUB(2), MOV(0, 0), MOV(3, 0), MOV(0, 0), EXIT}},
	{"jump_into_function", -EINVAL, "jump out of range", {SUB(3), J(BPF_JEQ, 0, 0, 2), MOV(0, 0), EXIT, MOV(0, 1), EXIT}},
	{"call_far_off", -EINVAL, "call to invalid destination", {SUB(100), EXIT}},
	{"call_before", -EINVAL, "call to invalid destination", {SUB(-9), EXIT}},
	{"way_that_is_none", 0, NULL, {MOV(0, 0), J(BPF_JEQ, 0, 0, 1), MOVX(0, 9), EXIT}},
	{"way_that_may_be", -EACCES, "R9 !read_ok", {ANY(0), J(BPF_JEQ, 0, 0, 1), MOVX(0, 9), EXIT}},
	{"way_by_32_offset", 0, NULL, {ANY(0), J(BPF_JEQ, 0, 0, 1), I(BPF_JMP32 | BPF_JA, 0, 0, 0, 1), MOV(0, 1), EXIT}},
	{"back_counted_by_stack", 0, NULL, {ST(BPF_DW, 10, -8, 0), LD(BPF_DW, 1, 10, -8), ALU(BPF_ADD, 1, 1), STX(BPF_DW, 10, -8, 1), J(BPF_JLT, 1, 50, -4), END}},
	{"back_without_progress", -EINVAL, "infinite loop detected", {ANY(6), MOV(0, 0), J(BPF_JEQ, 6, 5, -2), EXIT}},
	{"back_up_to_bounded", 0, NULL, {ANY(6), ALU(BPF_AND, 6, 63), MOV(0, 0), ALU(BPF_ADD, 0, 1), JX(BPF_JLT, 0, 6, -2), EXIT}},
	/* Functions: frames, and what they have of their caller's. */
	{"frames_8", 0, NULL, {SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, END}},
	{"frames_9", -E2BIG, "the call stack of 9 frames is too deep", {SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, SUB(1), EXIT, END}},
	{"stacks_512", 0, NULL, {CALLS(-256), CALLS(-128), ST(BPF_DW, 10, -128, 0), END}},
	{"stacks_beyond", -EACCES, "combined stack size", {CALLS(-256), CALLS(-128), ST(BPF_DW, 10, -168, 0), END}, BPF_PROG_TYPE_SOCKET_FILTER},
	{"stacks_of_their_own", 0, NULL, {CALLS(-256), CALLS(-128), ST(BPF_DW, 10, -168, 0), END}},
	{"stacks_of_none", 0, NULL, {CALLS(-512), END}, BPF_PROG_TYPE_SOCKET_FILTER},
	{"stacks_beyond_with_tail_call", -EACCES, "combined stack size", {MOVX(6, 1), ST(BPF_DW, 10, -256, 0), SUB(7), MOVX(1, 6), TAIL_CALL, ST(BPF_DW, 10, -320, 0), END}},
	{"stack_of_one_beyond", -EACCES, NULL, {CALLS(-8), ST(BPF_DW, 10, -520, 0), END}},
	{"callee_reads_caller_stack", 0, NULL, {ST(BPF_DW, 10, -8, 7), FP(1, -8), SUB(1), EXIT, LD(BPF_DW, 0, 1, 0), EXIT}},
	{"callee_beyond_caller_stack", -EACCES, NULL, {ST(BPF_DW, 10, -8, 7), FP(1, -8), SUB(1), EXIT, LD(BPF_DW, 0, 1, -512), EXIT}},
	{"callee_keeps_registers", 0, NULL, {MOV(6, 7), SUB(2), MOVX(0, 6), EXIT, MOV(6, 0), MOVX(0, 6), EXIT}},
	{"callee_has_no_registers", -EACCES, "R6 !read_ok", {MOV(6, 7), SUB(1), EXIT, MOVX(0, 6), EXIT}},
	{"callee_leaves_its_stack", -EINVAL, NULL, {ST(BPF_DW, 10, -8, 0), FP(1, -8), SUB(2), LD(BPF_DW, 0, 10, -8), EXIT, STX(BPF_DW, 1, 0, 10), END}},
	/* Callbacks. */
	{"loop_callback", 0, NULL, {LOOP(6), END, END}},
	{"loop_callback_twice_deep", 0, NULL, {LOOP(6), END, LOOP(6), END, END}},
	{"loop_no_function", -EACCES, "R2 type=scalar expected=func", {MOV(1, 4), MOV(2, 0), MOV(3, 0), MOV(4, 0), CALL(BPF_FUNC_loop), END}},
	{"loop_callback_reads_beyond", -EACCES, NULL, {LOOP(6), END, AT(1)}},
	{"each_reads_value", 0, NULL, {EACH_OF(1), LD(BPF_DW, 0, 3, 8), MOV(0, 0), EXIT}},
	{"each_reads_beyond_value", -EACCES, "value_size=16 off=16 size=8", {EACH_OF(1), LD(BPF_DW, 0, 3, 16), MOV(0, 0), EXIT}},
	{"each_reads_key", 0, NULL, {EACH_OF(1), LD(BPF_W, 0, 2, 0), MOV(0, 0), EXIT}},
	{"each_writes_key", -EACCES, NULL, {EACH_OF(1), ST(BPF_W, 2, 0, 1), MOV(0, 0), EXIT}},
	{"each_of_queue", -524, "callback function not allowed for map", {EACH_OF(5), MOV(0, 0), EXIT}},
	/* may_goto. */
	{"may_goto_writes_on", -EACCES, NULL, {FP(6, -8), MAY_GOTO(3), ST(BPF_DW, 6, 0, 0), ALU(BPF_ADD, 6, -8), GO(-4), END}},
	{"may_goto_masked", 0, NULL, {MOV(2, 0), MAY_GOTO(6), ALU(BPF_AND, 2, 15), DATA(1, 0), ALUX(BPF_ADD, 1, 2), ALU(BPF_ADD, 2, 1), GO(-7), END}},
	/* Tail calls. */
	{"tail_call", 0, NULL, {TAIL_CALL}},
	{"tail_call_of_a_hash", -EINVAL, "expected prog array map for tail call", {MAP(2, 1), MOV(3, 0), CALL(BPF_FUNC_tail_call), END}},
	{"tail_call_of_a_queue", -EINVAL, "expected prog array map for tail call", {MAP(2, 5), MOV(3, 0), CALL(BPF_FUNC_tail_call), END}},
	{"tail_call_index_pointer", 0, NULL, {MAP(2, 3), MOVX(3, 10), CALL(BPF_FUNC_tail_call), END}},
	{"tail_call_below_256", 0, NULL, {MOVX(6, 1), ST(BPF_DW, 10, -240, 0), SUB(2), END, TAIL_CALL}},
	{"tail_call_below_two", -EACCES, "tail_calls are not allowed when call stack of previous frames is", {MOVX(6, 1), ST(BPF_DW, 10, -128, 0), SUB(2), END, ST(BPF_DW, 10, -128, 0), SUB(1), EXIT, TAIL_CALL}},
	{"tail_call_in_main_below_none", 0, NULL, {ST(BPF_DW, 10, -320, 0), TAIL_CALL}},
	{"tail_call_below_more", -EACCES, "tail_calls are not allowed when call stack of previous frames is", {MOVX(6, 1), ST(BPF_DW, 10, -320, 0), SUB(2), END, TAIL_CALL}},
	{.name = NULL},
};
