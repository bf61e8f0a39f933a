/* SPDX-License-Identifier: MIT */
/* Memory behind pointers: which accesses lie inside, by the pointer's type; loads, stores and atomics. */
#include <string.h>
#include "verifier/internal.h"

/* What a region is called when an access is outside it. */
static int outside(struct verifier *v, u32 n, const struct reg *r, s64 off, u64 size, u64 room)
{
	if (r->type == REG_MAP_KEY)
		return fail(v, EACCES,
			    "invalid access to map key, key_size=%llu off=%lld size=%llu\n",
			    (unsigned long long)room, (long long)off, (unsigned long long)size);
	if (r->type == REG_MAP_VALUE)
		return fail(v, EACCES,
			    "invalid access to map value, value_size=%llu off=%lld size=%llu\n",
			    (unsigned long long)room, (long long)off, (unsigned long long)size);
	return fail(v, EACCES, "invalid access to memory, mem_size=%llu off=%lld size=%llu\n",
		    (unsigned long long)room, (long long)off, (unsigned long long)size);
}

static bool fits(s64 off, u64 size, u64 room, bool zero_ok)
{
	return off >= 0 && (size || zero_ok) && (u64)off + size <= room;
}

/* The lowest and the highest place the access can be at must lie in `room` bytes. */
static int check_region(struct verifier *v, u32 n, const struct reg *r, s32 more, u64 size,
			u64 room, bool zero_ok)
{
	const s64 off = (s64)r->off + more;
	int err;

	if (r->smin < 0 &&
	    (r->smin == INT64_MIN || off + r->smin != (s32)(off + r->smin) || off + r->smin < 0))
		return fail(v, EACCES,
			    "R%u min value is negative, either use unsigned index or do a if "
			    "(index >=0) check.\n",
			    n);
	if (!fits(off + r->smin, size, room, zero_ok)) {
		err = outside(v, n, r, off + r->smin, size, room);
		say(v, "R%u min value is outside of the allowed memory range\n", n);
		return err;
	}
	if (r->umax >= MAX_VAR_OFF)
		return fail(
			v, EACCES,
			"R%u unbounded memory access, make sure to bounds check any such access\n",
			n);
	if (!fits(off + (s64)r->umax, size, room, zero_ok)) {
		err = outside(v, n, r, off + (s64)r->umax, size, room);
		say(v, "R%u max value is outside of the allowed memory range\n", n);
		return err;
	}
	return 0;
}

static int check_map_rights(struct verifier *v, const struct reg *r, s32 off, u64 size, u32 how)
{
	const struct verifier_map *m = &v->prog->maps[r->map];
	const bool no_write = m->flags & (1u << 7) /* BPF_F_RDONLY_PROG */,
		   no_read = m->flags & (1u << 8) /* BPF_F_WRONLY_PROG */;

	if (how & ACCESS_WRITE && no_write)
		return fail(v, EACCES, "write into map forbidden, value_size=%u off=%d size=%llu\n",
			    m->value_size, r->off + off, (unsigned long long)size);
	if (how & ACCESS_READ && no_read)
		return fail(v, EACCES, "read from map forbidden, value_size=%u off=%d size=%llu\n",
			    m->value_size, r->off + off, (unsigned long long)size);
	return 0;
}

/* The lock in a value is for the lock helpers only. */
static int check_lock_field(struct verifier *v, const struct reg *r, s32 off, u64 size)
{
	const struct verifier_map *m = &v->prog->maps[r->map];
	const s64 low = (s64)r->off + off + r->smin,
		  high = (s64)r->off + off + (s64)r->umax + (s64)size;

	if (m->lock_off < 0 || low >= m->lock_off + 4 || high <= m->lock_off)
		return 0;
	return fail(v, EACCES, "bpf_spin_lock cannot be accessed directly by load/store\n");
}

static int check_map_value(struct verifier *v, u32 n, const struct reg *r, s32 off, u64 size,
			   u32 how, bool zero_ok)
{
	int err = check_map_rights(v, r, off, size, how);

	if (!err)
		err = check_region(v, n, r, off, size, v->prog->maps[r->map].value_size, zero_ok);
	return err ? err : check_lock_field(v, r, off, size);
}

static int check_mem(struct verifier *v, u32 n, const struct reg *r, s32 off, u64 size, u32 how,
		     bool zero_ok)
{
	if (how & ACCESS_WRITE && r->flags & REG_RDONLY)
		return fail(v, EACCES, "R%u cannot write into %s\n", n, reg_type_name(v, r));
	if (r->flags & REG_UNTRUSTED)
		return 0;
	return check_region(v, n, r, off, size, r->size, zero_ok);
}

static int check_key(struct verifier *v, u32 n, const struct reg *r, s32 off, u64 size, u32 how,
		     bool zero_ok)
{
	if (how & ACCESS_WRITE)
		return fail(v, EACCES, "write to change key R%u not allowed\n", n);
	return check_region(v, n, r, off, size, v->prog->maps[r->map].key_size, zero_ok);
}

/* What the load of `value` leaves in its register. */
static u64 extended(u64 value, u32 size, bool sign)
{
	const u32 n = 64 - size * 8;

	return sign ? (u64)((s64)(value << n) >> n) : value;
}

/*
 * A constant from a frozen map is part of the program: true when the load is taken for one. The loader
 * puts it into the instruction, so it must be the same on all paths and fit there.
 */
static bool load_constant(struct verifier *v, const struct reg *r, s32 off, u32 size, bool sign,
			  struct reg *to)
{
	const struct verifier_map *m = r->type == REG_MAP_VALUE ? &v->prog->maps[r->map] : NULL;
	struct verifier_fact *f = v->prog->facts ? &v->prog->facts[v->st->insn] : NULL;
	u64 value = 0, whole;
	bool known = m && m->constant && tnum_is_const(r->var);

	if (known)
		memcpy(&value, (const u8 *)m->constant + r->off + off + (s64)r->var.value, size);
	whole = extended(value, size, sign);
	known &= !f || (!f->plain && (whole <= UINT32_MAX || (s64)whole == (s32)whole));
	if (f && f->fold && (!known || f->value != whole)) {
		f->plain = v->again = true;
		f->fold = known = false;
	} else if (f && known) {
		f->fold = true;
		f->value = whole;
	} else if (f) {
		f->plain = true;
	}
	if (known)
		reg_number(to, value);
	return known;
}

static int check_stack_access(struct verifier *v, u32 n, s32 off, u32 size, u32 how,
			      struct reg *value)
{
	struct reg unknown;
	int err;

	reg_unknown(&unknown);
	if (how == ACCESS_READ)
		return stack_load(v, n, off, size, value ? value : &unknown);
	if (how & ACCESS_READ) { /* an atomic: reads, then leaves something */
		err = stack_load(v, n, off, size, &unknown);
		if (err)
			return err;
		reg_unknown(&unknown);
		return stack_store(v, n, off, size, &unknown);
	}
	return stack_store(v, n, off, size, value);
}

static int misaligned(struct verifier *v, const struct reg *r, s32 off, u32 size)
{
	say(v, "misaligned %saccess off ", r->type == REG_MAP_VALUE && !(r->flags & REG_OR_NULL) ? "value " : "");
	say_bits(v, r->var);
	return fail(v, EACCES, "+%d+%d size %u\n", r->off, off, size);
}

int check_access(struct verifier *v, u32 n, s32 off, u32 size, u32 how, struct reg *value)
{
	const struct reg *r = &cur_regs(v->st)[n];
	struct reg *to = how == ACCESS_READ ? value : NULL;
	int err;

	if (r->flags & REG_OR_NULL)
		return fail(v, EACCES, "R%u invalid mem access '%s'\n", n, reg_type_name(v, r));
	if (v->prog->strict_alignment && r->type != REG_STACK && !(r->type == REG_CTX) &&
	    (tnum_max(r->var) | (u64)((s64)r->off + off)) & (size - 1))
		return misaligned(v, r, off, size);
	switch (r->type) {
	case REG_STACK:
		return check_stack_access(v, n, off, size, how, value);
	case REG_MAP_VALUE:
		err = check_map_value(v, n, r, off, size, how, false);
		break;
	case REG_MAP_KEY:
		err = check_key(v, n, r, off, size, how, false);
		break;
	case REG_MEM:
		err = check_mem(v, n, r, off, size, how, false);
		break;
	case REG_OBJECT:
		return check_object(v, n, off, size, how, value);
	case REG_CTX:
		err = check_ctx(v, n, off, size, how & ACCESS_WRITE);
		break;
	default:
		return fail(v, EACCES, "R%u invalid mem access '%s'\n", n, reg_type_name(v, r));
	}
	if (!err && to)
		reg_unknown(to);
	return err;
}

int check_helper_access(struct verifier *v, u32 n, u64 size, u32 how, bool zero_ok, bool whole)
{
	const struct reg *r = &cur_regs(v->st)[n];

	if (zero_ok && !size && reg_is_null(r))
		return 0;
	switch (r->flags & (REG_OR_NULL | REG_UNTRUSTED) ? REG_TYPES : r->type) {
	case REG_STACK:
		return stack_helper(v, n, 0, size, how, zero_ok, whole);
	case REG_MAP_VALUE:
		return check_map_value(v, n, r, 0, size, how, zero_ok);
	case REG_MAP_KEY:
		return check_key(v, n, r, 0, size, how, zero_ok);
	case REG_MEM:
		return check_mem(v, n, r, 0, size, how, zero_ok);
	default:
		return fail(v, EACCES, "R%u type=%s expected=%s\n", n, reg_type_name(v, r),
			    "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, "
			    "trusted_ptr_");
	}
}

/* Pointers whose offset is looked at when memory is accessed; others are handed on as they are. */
static bool takes_offset(const struct reg *r)
{
	return r->type == REG_SCALAR || r->type == REG_STACK ||
	       (!(r->flags & REG_OR_NULL) && (r->type == REG_MAP_VALUE || r->type == REG_MAP_KEY || r->type == REG_MEM));
}

int check_unmoved(struct verifier *v, u32 n)
{
	const struct reg *r = &cur_regs(v->st)[n];

	if (takes_offset(r))
		return 0;
	if (r->off)
		return fail(v, EACCES, r->off < 0 ? "negative offset %s ptr R%u off=%d disallowed\n"
						  : "dereference of modified %s ptr R%u off=%d disallowed\n",
			    reg_type_name(v, r), n, r->off);
	if (!tnum_is_const(r->var) || r->var.value) {
		say(v, "variable %s access var_off=", reg_type_name(v, r));
		say_bits(v, r->var);
		return fail(v, EACCES, " disallowed\n");
	}
	return 0;
}

static u32 size_of(const struct bpf_insn *in)
{
	switch (in->code & 0x18) {
	case BPF_B:
		return 1;
	case BPF_H:
		return 2;
	case BPF_W:
		return 4;
	default:
		return 8;
	}
}

/* What its kind of access is for alone. But an object may be plain memory on another way: its load is of any address. */
static bool is_odd(u8 type, u8 other)
{
	return type == REG_CTX || (type == REG_OBJECT && other != REG_MEM);
}

/* The engines know one kind of memory for each instruction. */
static int same_type(struct verifier *v, u8 type)
{
	u8 *had = &v->info[v->st->insn].same_type;

	if (*had && *had != type + 1 && (is_odd(type, *had - 1) || is_odd(*had - 1, type)))
		return fail(v, EINVAL, "same insn cannot be used with different pointers\n");
	*had = type + 1;
	return 0;
}

int do_load(struct verifier *v, const struct bpf_insn *in)
{
	const u32 size = size_of(in), dst = in->dst_reg, src = in->src_reg;
	const bool sign = (in->code & 0xe0) == BPF_MEMSX;
	const struct reg ptr = cur_regs(v->st)[src];
	struct reg value;
	int err = reg_read(v, src);

	if (!err)
		err = reg_write(v, dst);
	if (!err)
		err = check_access(v, src, in->off, size, ACCESS_READ, &value);
	if (!err)
		err = same_type(v, ptr.type);
	if (err)
		return err;
	if (v->prog->facts)
		v->prog->facts[v->st->insn].probe |= reg_is_probed(&ptr);
	load_constant(v, &ptr, in->off, size, sign, &value);
	if (sign && reg_is_pointer(&value))
		return fail(v, EACCES, "invalid size of register fill\n");
	if (value.type == REG_SCALAR && size < 8) {
		if (sign)
			bounds_sign_extend(&value, size, true);
		else
			bounds_truncate(&value, size);
	}
	if (sign)
		value.id = 0, value.off = 0;
	cur_regs(v->st)[dst] = value;
	v->st->insn++;
	return 0;
}

int do_store(struct verifier *v, const struct bpf_insn *in)
{
	const bool imm = (in->code & 7) == BPF_ST;
	u8 type = cur_regs(v->st)[in->dst_reg].type;
	struct reg number, *value = &cur_regs(v->st)[in->src_reg];
	int err = imm ? 0 : reg_read(v, in->src_reg);

	if (imm) {
		reg_number(&number, (u64)(s64)in->imm);
		value = &number;
	}
	if (!err)
		err = reg_read(v, in->dst_reg);
	if (!err && type == REG_CTX && imm)
		err = 0;
	if (!err)
		err = check_access(v, in->dst_reg, in->off, size_of(in), ACCESS_WRITE, value);
	if (!err)
		err = same_type(v, type);
	if (!err)
		v->st->insn++;
	return err;
}

static int atomic_place(struct verifier *v, u32 n, const char *what)
{
	const struct reg *r = &cur_regs(v->st)[n];

	if (r->type == REG_CTX)
		return fail(v, EACCES, "BPF_ATOMIC %s R%u %s is not allowed\n", what, n,
			    reg_type_name(v, r));
	return 0;
}

static int check_atomic_aligned(struct verifier *v, const struct reg *r, s32 off, u32 size)
{
	if (r->type == REG_STACK ||
	    !((tnum_max(r->var) | (u64)((s64)r->off + off)) & (size - 1)))
		return 0;
	return misaligned(v, r, off, size);
}

/* Load-acquire and store-release are a load and a store. */
static int ordered(struct verifier *v, const struct bpf_insn *in)
{
	const bool load = in->imm == BPF_LOAD_ACQ;
	const u32 n = load ? in->src_reg : in->dst_reg;
	struct bpf_insn plain = *in;
	int err = reg_read(v, n);

	if (!err)
		err = atomic_place(v, n, load ? "loads from" : "stores into");
	if (!err && load && reg_is_probed(&cur_regs(v->st)[n]))
		return fail(v, EACCES, "BPF_ATOMIC loads from R%u %s is not allowed\n", n, reg_type_name(v, &cur_regs(v->st)[n]));
	if (!err)
		err = check_atomic_aligned(v, &cur_regs(v->st)[n], in->off, size_of(in));
	if (err)
		return err;
	plain.imm = 0;
	plain.code = (in->code & 0x18) | BPF_MEM | (load ? BPF_LDX : BPF_STX);
	return load ? do_load(v, &plain) : do_store(v, &plain);
}

/* What is loaded goes where the address was, before the store is looked at: to a number, which may be any. */
static int atomic_over_address(struct verifier *v, const struct bpf_insn *in)
{
	struct reg unknown;

	reg_unknown(&unknown);
	return misaligned(v, &unknown, in->off, size_of(in));
}

int do_atomic(struct verifier *v, const struct bpf_insn *in)
{
	const u32 size = size_of(in), dst = in->dst_reg;
	const bool cmpxchg = in->imm == BPF_CMPXCHG;
	struct reg *regs = cur_regs(v->st), old;
	u8 type = regs[dst].type;
	u32 to;
	int err;

	if (in->imm == BPF_LOAD_ACQ || in->imm == BPF_STORE_REL)
		return ordered(v, in);
	err = reg_read(v, in->src_reg);
	if (!err)
		err = reg_read(v, dst);
	if (!err && cmpxchg)
		err = reg_read(v, 0);
	if (!err)
		err = atomic_place(v, dst, "stores into");
	to = cmpxchg ? 0 : in->src_reg;
	if (!err && in->imm & BPF_FETCH && to == dst)
		err = atomic_over_address(v, in);
	if (!err)
		err = check_atomic_aligned(v, &regs[dst], in->off, size);
	if (!err)
		err = check_access(v, dst, in->off, size, ACCESS_READ | ACCESS_WRITE, NULL);
	if (!err)
		err = same_type(v, type);
	if (err)
		return err;
	v->st->insn++;
	if (!(in->imm & BPF_FETCH))
		return 0;
	err = reg_write(v, to);
	reg_unknown(&old);
	if (size < 8)
		bounds_truncate(&old, size);
	regs[to] = old;
	return err;
}
