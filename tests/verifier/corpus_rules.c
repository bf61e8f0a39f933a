/* SPDX-License-Identifier: MIT */
/* What programs may do by type, licence, flags and places: contexts, constant keys, sizes, alignment, atomics, pointers kept. */
#include <errno.h>
#include "corpus.h"

#define LOAD_ACQUIRE  0x100
#define STORE_RELEASE 0x110

/* clang-format off */
#define TP  BPF_PROG_TYPE_TRACEPOINT
#define RAW BPF_PROG_TYPE_RAW_TRACEPOINT
#define PE  BPF_PROG_TYPE_PERF_EVENT
#define SF  BPF_PROG_TYPE_SOCKET_FILTER
#define READ(w, o)   LD(w, 0, 1, o), MOV(0, 0), EXIT
#define LOOKUP_IN(m) FP(2, -4), MAP(1, m), CALL(BPF_FUNC_map_lookup_elem)
#define FIRST        LD(BPF_B, 0, 0, 0), END
#define DATA_AT(r, o) DATA(r, 0), ALU(BPF_ADD, r, o)

const struct row rows_rules[] = {
	/* Contexts. */
	{"ctx_kprobe", 0, NULL, {READ(BPF_DW, 160)}},
	{"ctx_kprobe_word", 0, NULL, {READ(BPF_W, 4)}},
	{"ctx_kprobe_beyond", -EACCES, "invalid bpf_context access off=168 size=8", {READ(BPF_DW, 168)}},
	{"ctx_kprobe_before", -EACCES, "invalid bpf_context access off=-8 size=8", {READ(BPF_DW, -8)}},
	{"ctx_kprobe_misaligned", -EACCES, "invalid bpf_context access off=4 size=8", {READ(BPF_DW, 4)}},
	{"ctx_varies", -EACCES, NULL, {ANY(2), ALU(BPF_AND, 2, 8), ALUX(BPF_ADD, 1, 2), READ(BPF_DW, 0)}},
	{"ctx_tp", 0, NULL, {READ(BPF_DW, 16)}, TP},
	{"ctx_tp_beyond", -EACCES, "invalid bpf_context access off=8192 size=8", {READ(BPF_DW, 8192)}, TP},
	{"ctx_tp_misaligned", -EACCES, "invalid bpf_context access off=12 size=8", {READ(BPF_DW, 12)}, TP},
	{"ctx_tp_written", -EACCES, "invalid bpf_context access off=16 size=8", {ST(BPF_DW, 1, 16, 0), END}, TP},
	{"ctx_raw_tp", 0, NULL, {READ(BPF_DW, 88)}, RAW},
	{"ctx_raw_tp_beyond", -EACCES, "invalid bpf_context access off=96 size=8", {READ(BPF_DW, 96)}, RAW},
	{"ctx_raw_tp_half", 0, NULL, {READ(BPF_W, 4)}, RAW},
	{"ctx_raw_tp_written", -EACCES, "invalid bpf_context access", {ST(BPF_DW, 1, 0, 0), END}, RAW},
	{"ctx_perf_event", 0, NULL, {READ(BPF_DW, 168)}, PE},
	{"ctx_perf_event_addr", 0, NULL, {READ(BPF_DW, 176)}, PE},
	{"ctx_perf_event_beyond", -EACCES, "invalid bpf_context access off=184 size=8", {READ(BPF_DW, 184)}, PE},
	{"ctx_perf_event_written", -EACCES, "invalid bpf_context access", {ST(BPF_DW, 1, 0, 0), END}, PE},
	{"ctx_filter", 0, NULL, {READ(BPF_W, 0)}, SF},
	{"ctx_filter_control", 0, NULL, {ST(BPF_W, 1, 48, 7), END}, SF},
	{"ctx_filter_data", -EACCES, "invalid bpf_context access off=76 size=4", {READ(BPF_W, 76)}, SF},
	{"ctx_filter_written", -EACCES, "invalid bpf_context access off=0 size=4", {ST(BPF_W, 1, 0, 7), END}, SF},
	{"ctx_filter_beyond", -EACCES, "invalid bpf_context access", {READ(BPF_W, 192)}, SF},
	/* Licences. */
	{"licence_needed", -EINVAL, "cannot call GPL-restricted function from non-GPL compatible program", {ST(BPF_DW, 10, -8, 0), FP(1, -8), MOV(2, 8), CALL(BPF_FUNC_trace_printk), END}, .not_gpl = true},
	{"licence_there", 0, NULL, {ST(BPF_DW, 10, -8, 0), FP(1, -8), MOV(2, 8), CALL(BPF_FUNC_trace_printk), END}},
	{"licence_not_needed", 0, NULL, {LOOKUP, END}, .not_gpl = true},
	/* What sleeps. */
	{"sleeps", 0, NULL, {FP(1, -8), MOV(2, 8), MOV(3, 0), CALL(BPF_FUNC_copy_from_user), END}, .sleepable = true},
	{"sleeps_in_filter", -EINVAL, "programs can be sleepable", {END}, SF, .sleepable = true},
	/* Helpers of some types only. */
	{"helper_of_another_type", -EINVAL, "program of this type cannot use helper", {CALL(BPF_FUNC_get_attach_cookie), END}, SF},
	{"helper_of_this_type", 0, NULL, {CALL(BPF_FUNC_get_attach_cookie), END}},
	/* Constant keys. */
	{"key_constant", 0, NULL, {ST(BPF_W, 10, -4, 0), LOOKUP_IN(0), FIRST}},
	{"key_constant_beyond", -EACCES, "invalid mem access 'map_value_or_null'", {ST(BPF_W, 10, -4, 1), LOOKUP_IN(0), FIRST}},
	{"key_constant_of_hash", -EACCES, "invalid mem access 'map_value_or_null'", {ST(BPF_W, 10, -4, 0), LOOKUP_IN(1), FIRST}},
	{"key_varies", -EACCES, "invalid mem access 'map_value_or_null'", {ANY(3), STX(BPF_W, 10, -4, 3), LOOKUP_IN(0), FIRST}},
	{"key_of_two_ways", -EACCES, "invalid mem access 'map_value_or_null'", {ANY(3), ST(BPF_W, 10, -4, 0), J(BPF_JEQ, 3, 0, 1), ST(BPF_W, 10, -4, 1), LOOKUP_IN(0), FIRST}},
	/* Memory and its size. */
	{"size_zero_allowed", 0, NULL, {FP(1, -8), MOV(2, 0), MOV(3, 0), CALL(BPF_FUNC_probe_read_user), END}},
	{"size_bounded", 0, NULL, {ANY(2), ALU(BPF_AND, 2, 7), FP(1, -8), MOV(3, 0), CALL(BPF_FUNC_probe_read_user), END}},
	{"size_bounded_above_only", -EACCES, "R2 min value is negative", {ANY(2), J(BPF_JSGT, 2, 8, 4), FP(1, -8), MOV(3, 0), CALL(BPF_FUNC_probe_read_user), END}},
	{"size_of_value", 0, NULL, {DATA(1, 0), MOV(2, 16), MOV(3, 0), CALL(BPF_FUNC_probe_read_user), END}},
	{"size_of_value_beyond", -EACCES, "value_size=16 off=4 size=16", {DATA_AT(1, 4), MOV(2, 16), MOV(3, 0), CALL(BPF_FUNC_probe_read_user), END}},
	{"size_no_number", -EACCES, NULL, {DATA(1, 0), MOVX(2, 10), MOV(3, 0), CALL(BPF_FUNC_probe_read_user), END}},
	{"size_unbounded", -EACCES, "R2 unbounded memory access", {ANY(2), ALU(BPF_RSH, 2, 1), FP(1, -8), MOV(3, 0), CALL(BPF_FUNC_probe_read_user), END}},
	/* Alignment, where it is asked for. */
	{"align_any", 0, NULL, {DATA(1, 0), LD(BPF_DW, 0, 1, 4), EXIT}},
	{"align_strict", -EACCES, "misaligned value access", {DATA(1, 0), LD(BPF_DW, 0, 1, 4), EXIT}, .flags = BPF_F_STRICT_ALIGNMENT},
	{"align_strict_right", 0, NULL, {DATA(1, 0), LD(BPF_DW, 0, 1, 8), EXIT}, .flags = BPF_F_STRICT_ALIGNMENT},
	{"align_strict_varies", -EACCES, "misaligned value access", {ANY(2), ALU(BPF_AND, 2, 7), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_W, 0, 1, 0), EXIT}, .flags = BPF_F_STRICT_ALIGNMENT},
	{"align_strict_steps", 0, NULL, {ANY(2), ALU(BPF_AND, 2, 12), DATA(1, 0), ALUX(BPF_ADD, 1, 2), LD(BPF_W, 0, 1, 0), EXIT}, .flags = BPF_F_STRICT_ALIGNMENT},
	{"align_strict_stack", -EACCES, "misaligned stack access", {ST(BPF_DW, 10, -8, 0), ST(BPF_DW, 10, -16, 0), LD(BPF_W, 0, 10, -10), EXIT}, .flags = BPF_F_STRICT_ALIGNMENT},
	/* Read before it was written. */
	{"stack_never_written", 0, NULL, {LD(BPF_DW, 0, 10, -8), EXIT}},
	{"stack_never_written_decides", -EINVAL, NULL, {LD(BPF_DW, 2, 10, -8), AT(2)}},
	{"stack_never_written_by_helper", 0, NULL, {FP(2, -4), MAP(1, 1), CALL(BPF_FUNC_map_lookup_elem), END}},
	{"set_on_one_way", -EACCES, "R3 !read_ok", {ANY(2), J(BPF_JEQ, 2, 0, 1), MOV(3, 1), MOVX(0, 3), EXIT}},
	{"set_on_both_ways", 0, NULL, {ANY(2), MOV(3, 0), J(BPF_JEQ, 2, 0, 1), MOV(3, 1), MOVX(0, 3), EXIT}},
	/* Pointers kept elsewhere: root's programs may, in whole. */
	{"pointer_in_update", 0, NULL, {KEY, STX(BPF_DW, 10, -16, 10), STX(BPF_DW, 10, -24, 1), FP(3, -24), MOV(4, 0), MAP(1, 1), CALL(BPF_FUNC_map_update_elem), END}},
	{"pointer_into_context", -EACCES, "invalid bpf_context access", {STX(BPF_DW, 1, 16, 10), END}, TP},
	{"pointer_fetched_by_map", 0, NULL, {DATA(1, 0), STX(BPF_DW, 1, 0, 10), LD(BPF_DW, 2, 1, 0), END}},
	{"pointer_fetched_by_map_used", -EACCES, "R2 invalid mem access 'scalar'", {DATA(1, 0), STX(BPF_DW, 1, 0, 10), LD(BPF_DW, 2, 1, 0), LD(BPF_B, 0, 2, -1), EXIT}},
	{"pointer_swapped_into_map", 0, NULL, {DATA(1, 0), MOVX(2, 10), ATOMIC(BPF_DW, 1, 0, 2, BPF_XCHG), END}},
	{"pointer_swapped_used", -EACCES, "R2 invalid mem access 'scalar'", {DATA(1, 0), MOVX(2, 10), ATOMIC(BPF_DW, 1, 0, 2, BPF_XCHG), LD(BPF_B, 0, 2, -1), EXIT}},
	{"pointer_added_atomically", 0, NULL, {DATA(1, 0), ATOMIC(BPF_DW, 1, 0, 10, BPF_ADD), END}},
	{"pointer_compared_atomically", 0, NULL, {DATA(1, 0), MOVX(0, 10), MOV(2, 0), ATOMIC(BPF_DW, 1, 0, 2, BPF_CMPXCHG), END}},
	{"pointer_word_added_to_context", -EACCES, "is not allowed", {ATOMIC(BPF_W, 1, 0, 10, BPF_ADD), END}},
	/* Atomics. */
	{"acquire", 0, NULL, {DATA(1, 0), ATOMIC(BPF_DW, 0, 8, 1, LOAD_ACQUIRE), EXIT}},
	{"acquire_beyond", -EACCES, NULL, {DATA(1, 0), ATOMIC(BPF_DW, 0, 16, 1, LOAD_ACQUIRE), EXIT}},
	{"acquire_misaligned", -EACCES, "misaligned", {DATA(1, 0), ATOMIC(BPF_DW, 0, 4, 1, LOAD_ACQUIRE), EXIT}},
	{"acquire_of_context", -EACCES, NULL, {ATOMIC(BPF_DW, 0, 0, 1, LOAD_ACQUIRE), EXIT}},
	{"acquire_from_stack_pointer", 0, NULL, {DATA(1, 0), STX(BPF_DW, 10, -8, 1), ATOMIC(BPF_DW, 2, -8, 10, LOAD_ACQUIRE), LD(BPF_B, 0, 2, 0), EXIT}},
	{"release", 0, NULL, {DATA(1, 0), MOV(2, 1), ATOMIC(BPF_W, 1, 4, 2, STORE_RELEASE), END}},
	{"release_beyond", -EACCES, NULL, {DATA(1, 0), MOV(2, 1), ATOMIC(BPF_W, 1, 16, 2, STORE_RELEASE), END}},
	{"release_to_readonly", -EACCES, "write into map forbidden", {DATA(1, 4), MOV(2, 1), ATOMIC(BPF_W, 1, 0, 2, STORE_RELEASE), END}},
	{"release_never_set", -EACCES, "R2 !read_ok", {DATA(1, 0), ATOMIC(BPF_W, 1, 0, 2, STORE_RELEASE), END}},
	{"atomic_bytes", -EINVAL, NULL, {DATA(1, 0), MOV(2, 1), ATOMIC(BPF_B, 1, 0, 2, BPF_ADD), END}},
	{"atomic_unknown", -EINVAL, NULL, {DATA(1, 0), MOV(2, 1), ATOMIC(BPF_DW, 1, 0, 2, BPF_SUB), END}},
	{.name = NULL},
};
