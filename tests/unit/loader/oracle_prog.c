/* SPDX-License-Identifier: MIT */
/* Rows on programs and BTF: attributes, logs, licences, map references, type information. */
#include "oracle.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)

static union bpf_attr *prog_attr(union bpf_attr *a)
{
	a->prog_type = BPF_PROG_TYPE_KPROBE;
	a->insn_cnt = 2;
	a->insns = (u64)oracle_insns;
	a->license = (u64) "GPL";
	return a;
}

static long load(struct side *s, union bpf_attr *a)
{
	long fd = s->bpf(BPF_PROG_LOAD, a, sizeof(*a));

	if (fd < 0)
		return fd;
	s->close((int)fd);
	return 1;
}

ROW(load_plain) { return load(s, prog_attr(a)); }
ROW(load_socket) { prog_attr(a)->prog_type = BPF_PROG_TYPE_SOCKET_FILTER; return load(s, a); }
ROW(load_raw_tp) { prog_attr(a)->prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT; return load(s, a); }
ROW(load_type_0) { prog_attr(a)->prog_type = 0; return load(s, a); }
ROW(load_type_999) { prog_attr(a)->prog_type = 999; return load(s, a); }
ROW(load_no_insns) { prog_attr(a)->insn_cnt = 0; return load(s, a); }
ROW(load_too_many) { prog_attr(a)->insn_cnt = 1000001; return load(s, a); }
ROW(load_many_bad) { prog_attr(a)->insn_cnt = 900000; a->insns = bad_page; return load(s, a); }
ROW(load_insns_null) { prog_attr(a)->insns = 0; return load(s, a); }
ROW(load_insns_low) { prog_attr(a)->insns = BAD_LOW; return load(s, a); }
ROW(load_insns_high) { prog_attr(a)->insns = BAD_HIGH; return load(s, a); }
ROW(load_insns_edge) { memset((void *)edge, 0, 8); prog_attr(a)->insns = edge; return load(s, a); }
ROW(load_license_null) { prog_attr(a)->license = 0; return load(s, a); }
ROW(load_license_bad) { prog_attr(a)->license = bad_page; return load(s, a); }
ROW(load_license_long) { memset(room, 'x', 4096); prog_attr(a)->license = (u64)room; return load(s, a); }
ROW(load_license_edge) { memset((void *)edge, 'x', 8); prog_attr(a)->license = edge; return load(s, a); }
ROW(load_name) { strcpy(prog_attr(a)->prog_name, "a.prog"); return load(s, a); }
ROW(load_name_bad) { strcpy(prog_attr(a)->prog_name, "a/prog"); return load(s, a); }
ROW(load_name_full) { memset(prog_attr(a)->prog_name, 'n', 16); return load(s, a); }
ROW(load_version) { prog_attr(a)->kern_version = 0x12345; return load(s, a); }
ROW(load_flag_strict) { prog_attr(a)->prog_flags = BPF_F_STRICT_ALIGNMENT; return load(s, a); }
ROW(load_flag_any) { prog_attr(a)->prog_flags = BPF_F_ANY_ALIGNMENT; return load(s, a); }
ROW(load_flag_sleepable) { prog_attr(a)->prog_flags = BPF_F_SLEEPABLE; return load(s, a); }
ROW(load_flag_invariants) { prog_attr(a)->prog_flags = 1u << 7; return load(s, a); }
ROW(load_flag_8) { prog_attr(a)->prog_flags = 1u << 8; return load(s, a); }
ROW(load_flag_token) { prog_attr(a)->prog_flags = 1u << 16; return load(s, a); }
ROW(load_flag_31) { prog_attr(a)->prog_flags = 1u << 31; return load(s, a); }
ROW(load_attach_48) { prog_attr(a)->expected_attach_type = 48; return load(s, a); }
ROW(load_attach_big) { prog_attr(a)->expected_attach_type = 1000; return load(s, a); }
ROW(load_attach_btf) { prog_attr(a)->attach_btf_id = 5; return load(s, a); }
ROW(load_attach_fd) { prog_attr(a)->attach_prog_fd = (u32)s->closed; return load(s, a); }
ROW(load_attach_prog) { prog_attr(a)->attach_prog_fd = (u32)s->prog; return load(s, a); }
ROW(load_ifindex) { prog_attr(a)->prog_ifindex = 1; return load(s, a); }
static long load_size(struct side *s, union bpf_attr *a, unsigned int size)
{
	long fd = s->bpf(BPF_PROG_LOAD, a, size);

	if (fd >= 0)
		s->close((int)fd);
	return fd < 0 ? fd : 1;
}

ROW(load_short) { return load_size(s, prog_attr(a), 20); }
ROW(load_shortest) { return load_size(s, prog_attr(a), 24); }
ROW(load_tail) { prog_attr(a); ((u8 *)a)[160] = 1; return load_size(s, a, 168); }
ROW(load_beyond) { prog_attr(a); ((u8 *)a)[175] = 1; return load_size(s, a, 176); }

/* ---- the log ---- */

static long load_log(struct side *s, union bpf_attr *a, u32 level, u64 buf, u32 size)
{
	prog_attr(a);
	a->log_level = level;
	a->log_buf = buf;
	a->log_size = size;
	return load(s, a);
}

ROW(log_good) { return load_log(s, a, 1, (u64)room, 4096); }
ROW(log_stats) { return load_log(s, a, 4, (u64)room, 4096); }
ROW(log_fixed) { return load_log(s, a, 8, (u64)room, 4096); }
ROW(log_fixed_1) { return load_log(s, a, 9, (u64)room, 4096); }
ROW(log_16) { return load_log(s, a, 16, (u64)room, 4096); }
ROW(log_no_buf) { return load_log(s, a, 1, 0, 0); }
ROW(log_no_size) { return load_log(s, a, 1, (u64)room, 0); }
ROW(log_only_size) { return load_log(s, a, 1, 0, 4096); }
ROW(log_no_level) { return load_log(s, a, 0, (u64)room, 4096); }
ROW(log_small) { return load_log(s, a, 1, (u64)room, 8); }
ROW(log_one) { return load_log(s, a, 1, (u64)room, 1); }
ROW(log_huge) { return load_log(s, a, 1, (u64)room, 0x40000000); }
ROW(log_bad) { return load_log(s, a, 1, bad_page, 4096); }
ROW(log_readonly) { return load_log(s, a, 1, readonly_page, 4096); }

/* What libbpf leaves where a relocation failed or a map is not made: it may stand where nothing goes. */
static long load_dead(struct side *s, union bpf_attr *a, s32 helper, bool reached)
{
	const struct bpf_insn insns[] = {{.code = 0xb7},
					 {.code = 0x15, .off = reached ? 0 : 1},
					 {.code = 0x85, .imm = helper},
					 {.code = 0xb7},
					 {.code = 0x95}};

	prog_attr(a);
	a->insns = (u64)insns;
	a->insn_cnt = ARRAY_SIZE(insns);
	return load(s, a);
}

ROW(dead_relocation) { return load_dead(s, a, 0xbad2310, false); }
ROW(dead_map) { return load_dead(s, a, 2001000000, false); }
ROW(dead_negative) { return load_dead(s, a, -1, false); }
ROW(dead_next) { return load_dead(s, a, 300, false); }
ROW(reached_relocation) { return load_dead(s, a, 0xbad2310, true); }
ROW(reached_map) { return load_dead(s, a, 2001000000, true); }
ROW(load_frags) { prog_attr(a)->prog_flags = BPF_F_XDP_HAS_FRAGS; return load(s, a); }
ROW(load_dev_bound) { prog_attr(a)->prog_flags = 1u << 6; return load(s, a); }

/* A program refused with one line in the log: which, and what size it has. */
static long refused(struct side *s, union bpf_attr *a, u8 *room, const struct bpf_insn *insns, u32 n, const char *line)
{
	u8 said;

	prog_attr(a);
	a->insns = (u64)insns;
	a->insn_cnt = n;
	a->log_level = 1;
	a->log_buf = (u64)room;
	a->log_size = 65536;
	long r = load(s, a);

	said = strstr((char *)room, line) != NULL;
	oracle_out(s, &said, 1);
	return r;
}

ROW(unknown_helper)
{
	struct bpf_insn p[] = {{BPF_JMP | BPF_CALL, 0, 0, 0, 9999}, oracle_insns[0], oracle_insns[1]};

	return refused(s, a, room, p, 3, "invalid func unknown#9999");
}

ROW(no_such_helper_here)
{
	struct bpf_insn p[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0}, {BPF_JMP | BPF_CALL, 0, 0, 0, 0}, oracle_insns[1]};

	return refused(s, a, room, p, 3, "processed"); /* older and newer kernels word it differently */
}

static long call_trace(struct side *s, union bpf_attr *a, u8 *room, const char *license)
{
	/* r1 = stack, "x\0"; r2 = 2; call trace_printk */
	struct bpf_insn p[] = {
		{BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 'x'},
		{BPF_ALU64 | BPF_MOV | BPF_X, 1, 10, 0, 0},
		{BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, -8},
		{BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 2},
		{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_trace_printk},
		oracle_insns[0],
		oracle_insns[1],
	};
	u8 said;

	prog_attr(a);
	a->insns = (u64)p;
	a->insn_cnt = 7;
	a->license = (u64)license;
	a->log_level = 1;
	a->log_buf = (u64)room;
	a->log_size = 65536;
	long r = load(s, a);

	said = strstr((char *)room, "cannot call GPL-restricted function from non-GPL compatible program") != NULL;
	oracle_out(s, &said, 1);
	return r;
}

ROW(gpl_GPL) { return call_trace(s, a, room, "GPL"); }
ROW(gpl_v2) { return call_trace(s, a, room, "GPL v2"); }
ROW(gpl_rights) { return call_trace(s, a, room, "GPL and additional rights"); }
ROW(gpl_dual_bsd) { return call_trace(s, a, room, "Dual BSD/GPL"); }
ROW(gpl_dual_mit) { return call_trace(s, a, room, "Dual MIT/GPL"); }
ROW(gpl_dual_mpl) { return call_trace(s, a, room, "Dual MPL/GPL"); }
ROW(gpl_lower) { return call_trace(s, a, room, "gpl"); }
ROW(gpl_mit) { return call_trace(s, a, room, "MIT"); }
ROW(gpl_none) { return call_trace(s, a, room, ""); }
ROW(gpl_v3) { return call_trace(s, a, room, "GPLv3"); }

/* ---- map references ---- */

static long load_ref(struct side *s, union bpf_attr *a, u8 src, s32 imm, s32 off, u64 fd_array)
{
	struct bpf_insn p[] = {{BPF_LD | BPF_IMM | BPF_DW, 1, src, 0, imm}, {0, 0, 0, 0, off}, oracle_insns[0], oracle_insns[1]};

	prog_attr(a);
	a->insns = (u64)p;
	a->insn_cnt = 4;
	a->fd_array = fd_array;
	return load(s, a);
}

ROW(ref_map) { return load_ref(s, a, BPF_PSEUDO_MAP_FD, s->array, 0, 0); }
ROW(ref_map_off) { return load_ref(s, a, BPF_PSEUDO_MAP_FD, s->array, 8, 0); }
ROW(ref_closed) { return load_ref(s, a, BPF_PSEUDO_MAP_FD, s->closed, 0, 0); }
ROW(ref_neg) { return load_ref(s, a, BPF_PSEUDO_MAP_FD, -1, 0, 0); }
ROW(ref_pipe) { return load_ref(s, a, BPF_PSEUDO_MAP_FD, s->pipe, 0, 0); }
ROW(ref_prog) { return load_ref(s, a, BPF_PSEUDO_MAP_FD, s->prog, 0, 0); }
ROW(ref_value) { return load_ref(s, a, BPF_PSEUDO_MAP_VALUE, s->mappable, 0, 0); }
ROW(ref_value_last) { return load_ref(s, a, BPF_PSEUDO_MAP_VALUE, s->mappable, 8191, 0); }
ROW(ref_value_end) { return load_ref(s, a, BPF_PSEUDO_MAP_VALUE, s->mappable, 8192, 0); }
ROW(ref_value_far) { return load_ref(s, a, BPF_PSEUDO_MAP_VALUE, s->mappable, 1 << 29, 0); }
ROW(ref_value_many) { return load_ref(s, a, BPF_PSEUDO_MAP_VALUE, s->array, 0, 0); }
ROW(ref_value_queue) { return load_ref(s, a, BPF_PSEUDO_MAP_VALUE, s->queue, 0, 0); }
ROW(ref_idx) { int fds[] = {s->prog, s->array}; return load_ref(s, a, BPF_PSEUDO_MAP_IDX, 1, 0, (u64)fds); }
ROW(ref_idx_prog) { int fds[] = {s->prog, s->array}; return load_ref(s, a, BPF_PSEUDO_MAP_IDX, 0, 0, (u64)fds); }
ROW(ref_idx_value) { int fds[] = {s->mappable}; return load_ref(s, a, BPF_PSEUDO_MAP_IDX_VALUE, 0, 16, (u64)fds); }
ROW(ref_idx_none) { return load_ref(s, a, BPF_PSEUDO_MAP_IDX, 0, 0, 0); }
ROW(ref_idx_bad) { return load_ref(s, a, BPF_PSEUDO_MAP_IDX, 0, 0, bad_page); }
ROW(ref_unknown) { return load_ref(s, a, 9, 0, 0, 0); }

static long load_fds(struct side *s, union bpf_attr *a, const int *fds, u32 n)
{
	prog_attr(a)->fd_array = (u64)fds;
	memcpy((u8 *)a + 148, &n, 4);
	long r = s->bpf(BPF_PROG_LOAD, a, 168);

	if (r >= 0)
		s->close((int)r);
	return r < 0 ? r : 1;
}

ROW(fds_map_btf) { int fds[] = {s->array, s->btf, s->array}; return load_fds(s, a, fds, 3); }
ROW(fds_closed) { int fds[] = {s->closed}; return load_fds(s, a, fds, 1); }
ROW(fds_prog) { int fds[] = {s->prog}; return load_fds(s, a, fds, 1); }
ROW(fds_pipe) { int fds[] = {s->pipe}; return load_fds(s, a, fds, 1); }
ROW(fds_bad) { return load_fds(s, a, (int *)bad_page, 1); }

/* ---- structure ---- */

static long load_two(struct side *s, union bpf_attr *a, struct bpf_insn first, struct bpf_insn second)
{
	struct bpf_insn p[] = {first, second};

	prog_attr(a)->insns = (u64)p;
	return load(s, a);
}

ROW(no_exit) { return load_two(s, a, oracle_insns[0], oracle_insns[0]); }
ROW(jump_out) { return load_two(s, a, (struct bpf_insn){BPF_JMP | BPF_JA, 0, 0, 5, 0}, oracle_insns[1]); }
ROW(half_wide) { return load_two(s, a, oracle_insns[0], (struct bpf_insn){BPF_LD | BPF_IMM | BPF_DW, 0, 0, 0, 0}); }
ROW(bad_opcode) { return load_two(s, a, (struct bpf_insn){0xff, 0, 0, 0, 0}, oracle_insns[1]); }
ROW(bad_reg) { return load_two(s, a, (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_K, 11, 0, 0, 0}, oracle_insns[1]); }

/* ---- type information ---- */

static long load_info(struct side *s, union bpf_attr *a, int btf, const void *funcs, u32 n, u32 size)
{
	prog_attr(a)->prog_btf_fd = (u32)btf;
	a->func_info = (u64)funcs;
	a->func_info_cnt = n;
	a->func_info_rec_size = size;
	return load(s, a);
}

static const struct bpf_func_info good_func[] = {{0, 7}, {1, 7}}, late_func[] = {{1, 7}}, far_func[] = {{0, 7}, {9, 7}};

ROW(func_good) { return load_info(s, a, s->btf, good_func, 1, 8); }
ROW(func_size_4) { return load_info(s, a, s->btf, good_func, 1, 4); }
ROW(func_size_10) { return load_info(s, a, s->btf, good_func, 1, 10); }
ROW(func_size_256) { return load_info(s, a, s->btf, good_func, 1, 256); }
ROW(func_wide) { memcpy(room, good_func, 8); return load_info(s, a, s->btf, room, 1, 16); }
ROW(func_wide_set) { memcpy(room, good_func, 8); room[9] = 1; return load_info(s, a, s->btf, room, 1, 16); }
ROW(func_bad) { return load_info(s, a, s->btf, (void *)bad_page, 1, 8); }
ROW(func_late) { return load_info(s, a, s->btf, late_func, 1, 8); }
ROW(func_far) { return load_info(s, a, s->btf, far_func, 2, 8); }
ROW(func_two) { return load_info(s, a, s->btf, good_func, 2, 8); }
ROW(func_closed) { return load_info(s, a, s->closed, good_func, 1, 8); }
ROW(func_pipe) { return load_info(s, a, s->pipe, good_func, 1, 8); }
ROW(func_no_type) { struct bpf_func_info f[] = {{0, 99}}; return load_info(s, a, s->btf, f, 1, 8); }
ROW(func_int_type) { struct bpf_func_info f[] = {{0, 1}}; return load_info(s, a, s->btf, f, 1, 8); }

static long load_lines(struct side *s, union bpf_attr *a, const void *lines, u32 n, u32 size)
{
	load_info(s, a, s->btf, good_func, 1, 8);
	a->line_info = (u64)lines;
	a->line_info_cnt = n;
	a->line_info_rec_size = size;
	return load(s, a);
}

static const struct bpf_line_info good_line[] = {{0, 1, 1, 1 << 10}, {1, 1, 1, 1 << 10}}, bad_name[] = {{0, 9999, 1, 0}};

ROW(line_good) { return load_lines(s, a, good_line, 2, 16); }
ROW(line_size_8) { return load_lines(s, a, good_line, 1, 8); }
ROW(line_bad) { return load_lines(s, a, (void *)bad_page, 1, 16); }
ROW(line_name) { return load_lines(s, a, bad_name, 1, 16); }
ROW(line_late) { return load_lines(s, a, good_line + 1, 1, 16); }

/* ---- BTF ---- */

static long load_blob(struct side *s, union bpf_attr *a, const void *p, u32 n)
{
	memset(a, 0, sizeof(*a));
	a->btf = (u64)p;
	a->btf_size = n;
	long fd = s->bpf(BPF_BTF_LOAD, a, sizeof(*a));

	if (fd < 0)
		return fd;
	s->close((int)fd);
	return 1;
}

ROW(btf_good) { return load_blob(s, a, oracle_btf, oracle_btf_size); }
ROW(btf_null) { return load_blob(s, a, NULL, 100); }
ROW(btf_size_0) { return load_blob(s, a, oracle_btf, 0); }
ROW(btf_bad) { return load_blob(s, a, (void *)bad_page, 100); }
ROW(btf_huge) { return load_blob(s, a, oracle_btf, 17 << 20); }
ROW(btf_short) { return load_blob(s, a, oracle_btf, oracle_btf_size - 1); }
ROW(btf_header) { return load_blob(s, a, oracle_btf, 24); }
ROW(btf_log_size) { a->btf = (u64)oracle_btf; a->btf_size = oracle_btf_size; a->btf_log_size = 100; return s->bpf(BPF_BTF_LOAD, a, sizeof(*a)); }

/* Every byte of the blob set to other values, one at a time: who accepts what. */
ROW(btf_bytes)
{
	static const u8 values[] = {0, 1, 2, 7, 0x7f, 0x80, 0xff};

	for (u32 i = 0; i < oracle_btf_size; i++)
		for (u32 v = 0; v < ARRAY_SIZE(values); v++) {
			s16 ret;

			memcpy(room, oracle_btf, oracle_btf_size);
			room[i] = values[v];
			ret = (s16)load_blob(s, a, room, oracle_btf_size);
			oracle_out(s, &ret, 2);
		}
	return 0;
}

/* A large one, where the machine has it. */
ROW(btf_vmlinux)
{
	static u8 blob[16 << 20];
	FILE *f = fopen("/sys/kernel/btf/vmlinux", "re");
	size_t n = f ? fread(blob, 1, sizeof(blob), f) : 0;

	if (f)
		fclose(f);
	return n ? load_blob(s, a, blob, (u32)n) : 0;
}

/* A descriptor of the BTF that is named vmlinux, wherever among the ids it is; less than 0: none. */
static int open_vmlinux(struct side *s)
{
	char name[16];
	u32 id = 0;

	for (;;) {
		struct bpf_btf_info info = {.name = (u64)name, .name_len = sizeof(name)};
		union bpf_attr a = {.start_id = id};
		int fd;

		if (s->bpf(BPF_BTF_GET_NEXT_ID, &a, sizeof(a)))
			return -1;
		id = a.next_id;
		a = (union bpf_attr){.btf_id = id};
		fd = (int)s->bpf(BPF_BTF_GET_FD_BY_ID, &a, sizeof(a));
		a = (union bpf_attr){.info = {.bpf_fd = (u32)fd, .info_len = sizeof(info), .info = (u64)&info}};
		if (fd >= 0 && !s->bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)) && info.kernel_btf && !strcmp(name, "vmlinux"))
			return fd;
		if (fd >= 0)
			s->close(fd);
	}
}

/* Its bytes, into memory that is there, ends too early, or is not to be written. */
ROW(btf_vmlinux_bytes)
{
	const u32 size = 40 * 4096;
	u8 *p = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const u64 to[] = {(u64)p, (u64)p + 1, (u64)p + size - 4096, BAD_NULL, BAD_HIGH, BAD_CANON, readonly_page};
	const u32 most[] = {1, 4096, size - 1, size};
	int fd = open_vmlinux(s);

	mprotect(p + size, 4096, PROT_NONE);
	for (u32 i = 0; fd >= 0 && i < ARRAY_SIZE(to); i++)
		for (u32 k = 0; k < ARRAY_SIZE(most); k++) {
			struct bpf_btf_info info = {.btf = to[i], .btf_size = most[k]};
			const u32 last = most[k] < 16 ? most[k] : 16;
			s16 ret;

			memset(p, 0, size);
			*a = (union bpf_attr){.info = {.bpf_fd = (u32)fd, .info_len = sizeof(info), .info = (u64)&info}};
			ret = (s16)s->bpf(BPF_OBJ_GET_INFO_BY_FD, a, sizeof(*a));
			oracle_out(s, &ret, sizeof(ret));
			if (!ret)
				oracle_out(s, (u8 *)to[i] + most[k] - last, last);
		}
	if (fd >= 0)
		s->close(fd);
	munmap(p, size + 4096);
	return 0;
}

/* ---- commands that go nowhere here ---- */

/* The tag of a program with a map in it, which is the same whatever descriptor the map has. */
static long load_tagged(struct side *s, union bpf_attr *a, u8 *room, int map)
{
	struct bpf_insn p[] = {{BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_VALUE, 0, map}, {0, 0, 0, 0, 64},
			       {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 7}, oracle_insns[1]};
	struct bpf_prog_info *i = (void *)room;

	prog_attr(a);
	a->insns = (u64)p;
	a->insn_cnt = 4;
	long fd = s->bpf(BPF_PROG_LOAD, a, sizeof(*a));

	memset(a, 0, sizeof(*a));
	a->info.bpf_fd = (u32)fd;
	a->info.info_len = sizeof(*i);
	a->info.info = (u64)i;
	s->bpf(BPF_OBJ_GET_INFO_BY_FD, a, 16);
	oracle_out(s, i->tag, 8);
	s->close((int)fd);
	return 0;
}

ROW(tag_map) { return load_tagged(s, a, room, s->mappable); }

ROW(test_run_kprobe) { a->test.prog_fd = (u32)s->prog; return s->bpf(BPF_PROG_TEST_RUN, a, sizeof(*a)); }
ROW(test_run_closed) { a->test.prog_fd = (u32)s->closed; return s->bpf(BPF_PROG_TEST_RUN, a, sizeof(*a)); }
ROW(test_run_map) { a->test.prog_fd = (u32)s->array; return s->bpf(BPF_PROG_TEST_RUN, a, sizeof(*a)); }

#define R(name_) {#name_, name_}
const struct row oracle_prog_rows[] = {
	R(dead_relocation), R(dead_map), R(dead_negative), R(dead_next), R(reached_relocation), R(reached_map),
	R(load_frags), R(load_dev_bound),
	R(load_plain), R(load_socket), R(load_raw_tp), R(load_type_0), R(load_type_999), R(load_no_insns),
	R(load_too_many), R(load_many_bad), R(load_insns_null), R(load_insns_low), R(load_insns_high),
	R(load_insns_edge), R(load_license_null), R(load_license_bad), R(load_license_long), R(load_license_edge),
	R(load_name), R(load_name_bad), R(load_name_full), R(load_version), R(load_flag_strict), R(load_flag_any),
	R(load_flag_sleepable), R(load_flag_invariants), R(load_flag_8), R(load_flag_token), R(load_flag_31),
	R(load_attach_48), R(load_attach_big), R(load_attach_btf), R(load_attach_fd), R(load_attach_prog),
	R(load_ifindex), R(load_short), R(load_shortest), R(load_tail), R(load_beyond),
	R(log_good), R(log_stats), R(log_fixed), R(log_fixed_1), R(log_16), R(log_no_buf), R(log_no_size),
	R(log_only_size), R(log_no_level), R(log_small), R(log_one), R(log_huge), R(log_bad), R(log_readonly),
	R(unknown_helper), R(no_such_helper_here), R(gpl_GPL), R(gpl_v2), R(gpl_rights), R(gpl_dual_bsd),
	R(gpl_dual_mit), R(gpl_dual_mpl), R(gpl_lower), R(gpl_mit), R(gpl_none), R(gpl_v3),
	R(ref_map), R(ref_map_off), R(ref_closed), R(ref_neg), R(ref_pipe), R(ref_prog), R(ref_value),
	R(ref_value_last), R(ref_value_end), R(ref_value_far), R(ref_value_many), R(ref_value_queue), R(ref_idx),
	R(ref_idx_prog), R(ref_idx_value), R(ref_idx_none), R(ref_idx_bad), R(ref_unknown),
	R(fds_map_btf), R(fds_closed), R(fds_prog), R(fds_pipe), R(fds_bad),
	R(no_exit), R(jump_out), R(half_wide), R(bad_opcode), R(bad_reg),
	R(func_good), R(func_size_4), R(func_size_10), R(func_size_256), R(func_wide), R(func_wide_set), R(func_bad),
	R(func_late), R(func_far), R(func_two), R(func_closed), R(func_pipe), R(func_no_type), R(func_int_type),
	R(line_good), R(line_size_8), R(line_bad), R(line_name), R(line_late),
	R(btf_good), R(btf_null), R(btf_size_0), R(btf_bad), R(btf_huge), R(btf_short), R(btf_header),
	R(btf_log_size), R(btf_bytes), R(btf_vmlinux), R(btf_vmlinux_bytes),
	R(tag_map), R(test_run_kprobe), R(test_run_closed), R(test_run_map),
	{NULL, NULL},
};
