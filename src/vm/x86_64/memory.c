/* SPDX-License-Identifier: MIT */
/*
 * Loads, stores and atomics. An access that is not proven is first tested inline against the place
 * it is likeliest to hit; what misses goes out of line to a thorough test (jit_slow_access()).
 */
#include "vm/x86_64/jit.h"
#include "vm/alu.h"

static u32 log2_of(u32 size)
{
	return (u32)__builtin_ctz(size);
}

/* TMP2 = the address of m, `more` bytes on. */
static void address(struct jit *j, struct mem m, s32 more)
{
	m.disp += more;
	if (m.disp || m.index != RSP)
		x86_lea(&j->e, true, TMP2, m);
	else
		x86_mov(&j->e, true, TMP2, (enum reg)m.base);
}

/* Goes on when the address of m less `start` is at most `room`. */
static void test_range(struct jit *j, struct mem m, u64 start, u64 room, label slow)
{
	if (j->data_reg != RSP && start == j->data_base) {
		address(j, m, 0);
		x86_alu(&j->e, true, ALU_SUB, TMP2, (enum reg)j->data_reg);
	} else {
		x86_mov_imm(&j->e, TMP2, (u64)m.disp - start);
		x86_alu(&j->e, true, ALU_ADD, TMP2, (enum reg)m.base);
		if (m.index != RSP)
			x86_lea(&j->e, true, TMP2, (struct mem){TMP2, m.index, m.scale, 0});
	}
	x86_alu_imm(&j->e, true, ALU_CMP, TMP2, (s32)room);
	emit_jump(&j->e, CC_A, slow);
}

static void test_stack(struct jit *j, struct mem m, u32 size, label slow)
{
	address(j, m, BPF_FRAME_SIZE);
	x86_alu(&j->e, true, ALU_SUB, TMP2, RBP);
	x86_alu_imm(&j->e, true, ALU_CMP, TMP2, (s32)(BPF_FRAME_SIZE - size));
	emit_jump(&j->e, CC_A, slow);
}

static void test_ctx(struct jit *j, struct mem m, u64 room, label slow)
{
	address(j, m, 0);
	x86_alu_load(&j->e, true, ALU_SUB, TMP2, RUN_FIELD(ctx));
	x86_alu_imm(&j->e, true, ALU_CMP, TMP2, (s32)room);
	emit_jump(&j->e, CC_A, slow);
}

static void test_recent(struct jit *j, struct mem m, u32 size, bool write, label slow)
{
	address(j, m, 0);
	x86_alu_load(&j->e, true, ALU_SUB, TMP2, RUN_FIELD(recent[write].start));
	x86_alu_load(&j->e, true, ALU_CMP, TMP2, RUN_FIELD(recent[write].room[log2_of(size)]));
	emit_jump(&j->e, CC_AE, slow);
}

/* The elements of an array, when the program may touch all of them. */
static bool elements(const struct jit *j, const struct vm_map *m, bool write, u64 *ret_size)
{
	struct vm_region where;

	*ret_size = (u64)m->value_stride * m->max_entries;
	return vm_find_region(j->prog, ~0ULL, m->elems, *ret_size, write, &where);
}

static void test(struct jit *j, struct mem m, u32 size, bool write, label slow)
{
	const struct vm_map *map = j->fi->test >= FLOW_TEST_DIRECT && j->prog->map_count
					   ? &j->prog->maps[j->fi->map]
					   : NULL;
	u64 ctx = write ? j->prog->ctx_writable : j->prog->ctx_size, room;

	switch (j->fi->test) {
	case FLOW_TEST_STACK:
		test_stack(j, m, size, slow);
		return;
	case FLOW_TEST_CTX:
		if (ctx < size || ctx > 0x7fffffff)
			break;
		test_ctx(j, m, ctx - size, slow);
		return;
	case FLOW_TEST_DIRECT:
		if (map->direct_size < size || map->direct_size > 0x7fffffff)
			break;
		test_range(j, m, map->direct_value, map->direct_size - size, slow);
		return;
	case FLOW_TEST_ELEMS:
		if (!elements(j, map, write, &room) || room < size || room > 0x7fffffff)
			break;
		test_range(j, m, map->elems, room - size, slow);
		return;
	case FLOW_TEST_RECENT:
		test_recent(j, m, size, write, slow);
		return;
	default:
		break;
	}
	emit_jump(&j->e, CC_ALWAYS, slow);
}

/* Global data at data_reg + index + disp: a comparison of the index will do. */
static bool test_index(struct jit *j, struct mem m, u32 size, bool write, const struct stub *s)
{
	const struct vm_map *map = &j->prog->maps[j->data_map];
	u64 end = (u64)m.disp + size;

	if (m.base != j->data_reg || m.index == RSP || m.scale || m.disp < 0 ||
	    (write && !map->writable) || end > map->direct_size || map->direct_size > 0x7fffffff)
		return false;
	x86_alu_imm(&j->e, true, ALU_CMP, (enum reg)m.index, (s32)(map->direct_size - end));
	emit_jump(&j->e, CC_A, jit_stub(j, *s));
	return true;
}

/* The stub works out the address from the operand, which stays in place for the access. */
struct mem jit_hold(struct jit *j, struct mem m, u32 size, bool write)
{
	struct stub s = {.kind = STUB_ACCESS, .size_log2 = (u8)log2_of(size), .write = write};

	if (j->prog->trusted || j->fi->test == FLOW_PROVEN)
		return m;
	if (m.base == TMP) { /* which the stub uses */
		if (m.disp || m.index != RSP)
			x86_lea(&j->e, true, TMP, m);
		m = mem_at(TMP, 0);
	}
	s.mem = m;
	s.back = emit_label(&j->e);
	if (!test_index(j, m, size, write, &s))
		test(j, m, size, write, jit_stub(j, s));
	emit_bind(&j->e, s.back);
	return m;
}

static void load(struct jit *j, struct mem m, u32 size, bool sign)
{
	static const u32 zero_op[] = {0xb60f, 0xb70f, 0x8b, 0x8b},
			 sign_op[] = {0xbe0f, 0xbf0f, 0x63, 0x8b};
	u32 log2 = log2_of(size), op = sign ? sign_op[log2] : zero_op[log2];

	x86_rm(&j->e, sign || size == 8, op, op > 0xff ? 2 : 1, jit_reg(j->in->dst_reg), m);
}

static void store_reg(struct jit *j, struct mem m, enum reg src, u32 size)
{
	if (size == 2)
		emit_bytes(&j->e, 0x66, 1);
	x86_rm_forced(&j->e, size == 8, size == 1 ? 0x88 : 0x89, 1, src, m,
		      size == 1 && src >= RSP && src <= RDI);
}

static void store_imm(struct jit *j, struct mem m, s32 imm, u32 size)
{
	if (size == 2)
		emit_bytes(&j->e, 0x66, 1);
	x86_rm(&j->e, size == 8, size == 1 ? 0xc6 : 0xc7, 1, 0, m);
	emit_bytes(&j->e, (u32)imm, size < 4 ? size : 4);
}

void jit_access(struct jit *j, struct mem m)
{
	const struct bpf_insn *in = j->in;
	u32 size = vm_size_of(in->code);
	u8 class = BPF_CLASS_OF(in);

	m = jit_hold(j, m, size, class != BPF_LDX);
	if (class == BPF_LDX)
		load(j, m, size, (in->code & 0xe0) == BPF_MEMSX);
	else if (class == BPF_ST)
		store_imm(j, m, in->imm, size);
	else
		store_reg(j, m, jit_reg(in->src_reg), size);
}

u32 jit_load(struct jit *j)
{
	jit_access(j, mem_at(jit_reg(j->in->src_reg), j->in->off));
	return 1;
}

/* By a thunk that leaves every register as it is but TMP. */
u32 jit_probe_load(struct jit *j)
{
	x86_lea(&j->e, true, TMP, mem_at(jit_reg(j->in->src_reg), j->in->off));
	x86_mov_imm(&j->e, TMP2, j->in->code);
	emit_call_label(&j->e, j->probe);
	x86_mov(&j->e, true, jit_reg(j->in->dst_reg), TMP);
	return 1;
}

u32 jit_store(struct jit *j)
{
	jit_access(j, mem_at(jit_reg(j->in->dst_reg), j->in->off));
	return 1;
}

/* Atomics on addresses that are not multiples of their size end the run, trusted or not. */
static struct mem hold_aligned(struct jit *j, u32 bpf_reg, s32 off, u32 size, bool write)
{
	struct mem m = jit_hold(j, mem_at(jit_reg(bpf_reg), off), size, write);

	if (size == 1 || j->fi->mark & FLOW_ALIGNED)
		return m;
	if (m.base != TMP)
		x86_lea(&j->e, true, TMP, m);
	x86_test_imm(&j->e, false, TMP, (s32)size - 1);
	emit_jump(&j->e, CC_NE, jit_stub(j, (struct stub){.kind = STUB_FAULT}));
	return mem_at(TMP, 0);
}

static void locked(struct jit *j, bool wide, u32 op, u32 op_len, enum reg reg, struct mem m)
{
	emit_bytes(&j->e, 0xf0, 1);
	x86_rm(&j->e, wide, op, op_len, reg, m);
}

/* and, or, xor with the old value: a loop around cmpxchg, rax kept on the stack. */
static void fetch_by_loop(struct jit *j, bool wide, enum x86_alu op, enum reg src, struct mem m)
{
	struct emit *e = &j->e;
	u32 loop;

	if (m.base != TMP)
		x86_lea(e, true, TMP, m);
	m = mem_at(TMP, 0);
	x86_push(e, RAX);
	x86_load(e, wide, RAX, m);
	loop = e->pos;
	x86_mov(e, true, TMP2, RAX);
	if (src == RAX)
		x86_alu_load(e, wide, op, TMP2, mem_at(RSP, 0));
	else
		x86_alu(e, wide, op, TMP2, src);
	locked(j, wide, 0xb10f, 2, TMP2, m);
	emit_bytes(e, 0x75 | (u64)(u8)(loop - (e->pos + 2)) << 8, 2);
	if (src == RAX) {
		x86_lea(e, true, RSP, mem_at(RSP, 8));
	} else {
		x86_mov(e, wide, src, RAX);
		x86_pop(e, RAX);
	}
	if (src == RAX && !wide)
		x86_mov(e, false, RAX, RAX);
}

static void plain_atomic(struct jit *j, bool wide, struct mem m)
{
	static const u8 ops[] = {[BPF_ADD >> 4] = ALU_ADD,
				 [BPF_OR >> 4] = ALU_OR,
				 [BPF_AND >> 4] = ALU_AND,
				 [BPF_XOR >> 4] = ALU_XOR};
	s32 op = j->in->imm;
	enum reg src = jit_reg(j->in->src_reg);
	enum x86_alu alu = (enum x86_alu)ops[(op & 0xf0) >> 4 < 11 ? (op & 0xf0) >> 4 : 0];

	if (op == BPF_XCHG) {
		x86_rm(&j->e, wide, 0x87, 1, src, m);
	} else if (op == BPF_CMPXCHG) {
		locked(j, wide, 0xb10f, 2, src, m);
		if (!wide) /* eax is written only on failure */
			x86_mov(&j->e, false, RAX, RAX);
	} else if (op == (BPF_ADD | BPF_FETCH)) {
		locked(j, wide, 0xc10f, 2, src, m);
	} else if (op & BPF_FETCH) {
		fetch_by_loop(j, wide, alu, src, m);
	} else {
		locked(j, wide, (u32)alu << 3 | 1, 1, src, m);
	}
}

u32 jit_atomic(struct jit *j)
{
	const struct bpf_insn *in = j->in;
	u32 size = vm_size_of(in->code);

	if (in->imm == BPF_LOAD_ACQ)
		load(j, hold_aligned(j, in->src_reg, in->off, size, false), size, false);
	else if (in->imm == BPF_STORE_REL)
		store_reg(j, hold_aligned(j, in->dst_reg, in->off, size, true),
			  jit_reg(in->src_reg), size);
	else
		plain_atomic(j, size == 8, hold_aligned(j, in->dst_reg, in->off, size, true));
	return 1;
}
