#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks the verifier on purpose and asks whether its tests notice.

Each mutant is one wrong line of src/verifier. It is caught when sound_fuzz or corpus fails; verdict_fuzz, which asks
the kernel, is run where these do not. A mutant that is not caught is a gap in the generator (edge_gen.c).

usage: mutate.py [NAMEPART...]; LIMPET_LONG=1: more programs for those that the usual number does not catch.
"""
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LONG = bool(os.environ.get("LIMPET_LONG"))
SOUND = "100000" if LONG else "20000"
VERDICTS = "20000" if LONG else "1500"
FLAGS = ["-std=gnu11", "-O1", "-w", "-D_GNU_SOURCE", "-I" + TOP + "/src"]

# name, file in src/verifier, what stands there, what a mistake would write
MUTANTS = [
    ("less_or_equal_as_less", "bounds_branch.c", "u64 below = b->umax - (!or_equal && b->umax),",
     "u64 below = b->umax - (b->umax != 0),"),
    ("less32_off_by_one", "bounds_branch.c", "u32 below = b->umax32 - (!or_equal && b->umax32),",
     "u32 below = b->umax32 - (b->umax32 != 0),"),
    ("signed_less_off_by_one", "bounds_branch.c", "s64 below = b->smax - (!or_equal && b->smax > INT64_MIN),",
     "s64 below = b->smax - (b->smax > INT64_MIN),"),
    ("dynptr_data_too_large", "call.c", "r0->size = (u32)c->mem_size;", "r0->size = (u32)c->mem_size + 8;"),
    ("dynptr_data_stays", "dynptr.c", "r->type == REG_MEM && !(r->flags & REG_RECORD) && r->what", "r->type == REG_MAP_KEY && r->what"),
    ("key_is_as_a_value", "memory.c", "v->prog->maps[r->map].key_size, zero_ok", "v->prog->maps[r->map].value_size, zero_ok"),
    ("equal32_is_equal64", "bounds_branch.c", "\tif (!wide) {\n\t\tstruct tnum low = tnum_intersect",
     "\tif (0) {\n\t\tstruct tnum low = tnum_intersect"),
    ("jset_sets_all_bits", "bounds_branch.c", "if (set && (!v || v & (v - 1)))", "if (set && !v)"),
    ("jset_not_taken_keeps_high", "bounds_branch.c", "v = wide ? b->var.value : (u32)b->var.value;\n\tif (set",
     "v = b->var.value;\n\twide = true;\n\tif (set"),
    ("jset_decided_by_known_zero", "bounds_branch.c", "return tnum_max(a.bits) & b.bits.value ? -1 : 0;",
     "return a.bits.value & b.bits.value ? -1 : 0;"),
    ("not_equal_moves_both_ends", "bounds_branch.c", "a->umax -= a->umax == v;", "a->umax -= a->umax >= v;"),
    ("add_overflow_ignored", "bounds_alu.c",
     "if (__builtin_add_overflow(d->smin, s->smin, &d->smin) ||\n\t    __builtin_add_overflow(d->smax, s->smax, &d->smax))\n\t\tany_signed(d);",
     "d->smin += (u64)s->smin;\n\td->smax += (u64)s->smax;"),
    ("add32_overflow_ignored", "bounds_alu.c",
     "if (__builtin_add_overflow(d->umin32, s->umin32, &a) !=\n\t    __builtin_add_overflow(d->umax32, s->umax32, &b))\n\t\tany_unsigned32(d);",
     "__builtin_add_overflow(d->umin32, s->umin32, &a), __builtin_add_overflow(d->umax32, s->umax32, &b);\n\tif (0)\n\t\tany_unsigned32(d);"),
    ("sub_subtracts_same_ends", "bounds_alu.c",
     "__builtin_sub_overflow(d->umin, s->umax, &x) !=\n\t    __builtin_sub_overflow(d->umax, s->umin, &y)",
     "__builtin_sub_overflow(d->umin, s->umin, &x) !=\n\t    __builtin_sub_overflow(d->umax, s->umax, &y)"),
    ("mul_high_from_low_ends", "bounds_alu.c",
     "\tfor (int i = 1; i < 4; i++) {\n\t\tlow = p[i] < low ? p[i] : low;\n\t\thigh = p[i] > high ? p[i] : high;\n\t}\n\td->smin = low;",
     "\tfor (int i = 1; i < 2; i++) {\n\t\tlow = p[i] < low ? p[i] : low;\n\t\thigh = p[i] > high ? p[i] : high;\n\t}\n\td->smin = low;"),
    ("and_keeps_minimum", "bounds_alu.c", "d->umin = d->var.value;\n\td->umax = d->umax < s->umax ? d->umax : s->umax;",
     "d->umin = d->umin < s->umin ? d->umin : s->umin;\n\td->umax = d->umax < s->umax ? d->umax : s->umax;"),
    ("or_bound_of_larger", "bounds_alu.c", "d->umax = tnum_max(d->var);\n\tsigned_as_unsigned(d);\n}\n\nstatic void do_xor",
     "d->umax = d->umax > s->umax ? d->umax : s->umax;\n\tsigned_as_unsigned(d);\n}\n\nstatic void do_xor"),
    ("shift32_by_64", "bounds_alu.c", "if (n > 31 || d->umax32 > 1u << (31 - n)) {", "if (n > 31) {"),
    ("shift_right32_wide_bits", "bounds_alu.c", "d->var = tnum_rsh(tnum_low(d->var), n & 31);",
     "d->var = tnum_rsh(d->var, n & 31);"),
    ("arsh32_as_rsh", "bounds_alu.c", "d->smin32 >>= n & 31;", "d->smin32 = (s32)((u32)d->smin32 >> (n & 31));"),
    ("alu32_not_truncated", "bounds_alu.c", "\tif (!wide)\n\t\tbounds_zero_extend(dst);", ""),
    ("shift_by_unknown_amount", "bounds_alu.c", "return wide ? tnum_is_const(src->var) && src->umax < 64",
     "return wide ? src->umax < 64"),
    ("low_ends_of_wide_range", "bounds.c", "if (r->umin >> 32 == r->umax >> 32) {", "if (r->umax - r->umin <= UINT32_MAX) {"),
    ("wide_from_low_signed", "bounds.c", "s64 smin = (s64)(((u64)r->smin & high) | r->umin32),",
     "s64 smin = (s64)((((u64)r->smin & high) | r->umin32) + 1),"),
    ("truncate_keeps_range", "bounds.c", "if ((r->umin & ~keep) == (r->umax & ~keep)) {", "if (r->umax - r->umin <= keep) {"),
    ("sign_extend_always_plain", "bounds.c", "\tif (!plain) {", "\tif (0) {"),
    ("move32_keeps_high_half", "alu.c", "\tbounds_zero_extend(dst);\n\treturn 0;", "\treturn 0;"),
    ("move32_stays_linked", "alu.c", "\tif (dst->umax > UINT32_MAX) {\n\t\tdst->id = 0;", "\tif (0) {\n\t\tdst->id = 0;"),
    ("sign_extend_stays_linked", "alu.c", "bool same = wide ? src->umax < 1ull << (bits - 1)", "bool same = wide ? src->umax < 1ull << bits"),
    ("link_kept_over_sub", "alu.c", "if (op == BPF_ADD && wide && dst->id", "if ((op == BPF_ADD || op == BPF_SUB) && wide && dst->id"),
    ("link_kept_over_32_bit_add", "alu.c", "if (op == BPF_ADD && wide && dst->id", "if (op == BPF_ADD && dst->id"),
    ("link_delta_of_second_add", "alu.c", "&& !(dst->id & ID_PLUS) &&\n", "&&\n"),
    ("link_delta_wrong_way", "branch.c", "(u64)((s64)was.off - known->off)", "(u64)((s64)known->off - was.off)"),
    ("link_delta_forgotten", "branch.c", "bounds_alu(r, &delta, BPF_ADD, true);", ""),
    ("null_test_wrong_way", "branch.c", "mark_null(v, jump, in->dst_reg, op == BPF_JEQ);\n\tmark_null(v, fall, in->dst_reg, op != BPF_JEQ);",
     "mark_null(v, jump, in->dst_reg, op != BPF_JEQ);\n\tmark_null(v, fall, in->dst_reg, op == BPF_JEQ);"),
    ("branch_learns_on_wrong_side", "branch.c", "learn(v, st, in, bounds_opposite(op), wide);", "learn(v, st, in, op, wide);"),
    ("decision_not_precise", "branch.c", "\tif (taken >= 0) {\n\t\tmark_precise(v, a);", "\tif (0) {\n\t\tmark_precise(v, a);"),
    ("offset_not_precise", "alu.c", "\tif (reg_is_pointer(dst)) {\n\t\tmark_precise(v, src);", "\tif (reg_is_pointer(dst)) {"),
    ("learnt_deps_forgotten", "branch.c", "reg_join_deps(r, known);", ""),
    ("pruning_ignores_precision", "compare.c", "if (mode == COMPARE_NEEDED && !old->precise)", "if (mode == COMPARE_NEEDED)"),
    ("pruning_ignores_reads", "marks.c", "st->frame[frame]->stack[n].read = true;", ""),
    ("pruning_ignores_links", "compare.c", "return within(old, cur) && same_link(v, old, cur);", "return within(old, cur);"),
    ("pruning_other_way_round", "compare.c", "return old->umin <= cur->umin && old->umax >= cur->umax &&", "return old->umin <= cur->umin &&"),
    ("loop_begun_anew_is_as_one_half_done", "compare.c", "if (a->callback_depth > b->callback_depth)",
     "if (mode == COMPARE_NEEDED && a->callback_depth > b->callback_depth)"),
    ("precision_stops_at_parent", "marks.c", "add_cells(&next, r);", ""),
    ("hit_state_needs_not_passed_on", "prune.c", "marks_from(v, old, st);", ""),
    ("open_states_not_marked", "rounds.c", "\topen_up(v, v->st);\n\tif (v->rounds_given_up)", "\tif (v->rounds_given_up)"),
    ("partial_overwrite_unseen", "stack.c", "\tscrub(s);\n\tif (reg_is_null(value))\n\t\tmark_precise",
     "\tif (slot_is_spill(s))\n\t\treturn 0;\n\tif (reg_is_null(value))\n\t\tmark_precise"),
    ("variable_store_unseen", "stack.c", "\t\tscrub(s);\n\t\tif (!(zero && *kind == SLOT_ZERO))",
     "\t\tif (slot_is_spill(s))\n\t\t\tcontinue;\n\t\tif (!(zero && *kind == SLOT_ZERO))"),
    ("narrow_fill_keeps_width", "stack.c", "if (width_of(to) > size * 8)", "if (0)"),
    ("zero_byte_not_precise", "stack.c", "\tif (reg_is_null(value))\n\t\tmark_precise(v, value);", ""),
    ("helper_write_keeps_spill", "stack.c", "\tscrub(s);\n\ts->kind[byte] = SLOT_MISC;", "\ts->kind[byte] = s->kind[byte];"),
    ("stack_one_too_low", "stack.c", "if (low < -BPF_FRAME_SIZE || high > 0 || low >= 0)", "if (low < -BPF_FRAME_SIZE - 8 || high > 8)"),
    ("value_one_byte_longer", "memory.c", "(u64)off + size <= room;", "(u64)off + size <= room + 1;"),
    ("value_maximum_unchecked", "memory.c", "if (!fits(off + (s64)r->umax, size, room, zero_ok)) {", "if (0) {"),
    ("value_minimum_unchecked", "memory.c", "if (!fits(off + r->smin, size, room, zero_ok)) {", "if (0) {"),
    ("null_value_accessible", "memory.c", "\tif (r->flags & REG_OR_NULL)\n\t\treturn fail(v, EACCES, \"R%u invalid mem access '%s'\\n\", n, reg_type_name(v, r));\n\tif (v->prog", "\tif (v->prog"),
    ("load_keeps_old_claim", "memory.c", "\tif (!err && to)\n\t\treg_unknown(to);", ""),
    ("tail_call_result_believed", "subprog.c", "\tif (!v->st->depth)\n\t\treturn 0;\n\tif (!path_later", "\treturn 0;\n\tif (!path_later"),
    ("tnum_add_carry_lost", "tnum.c", "u64 mask = (least ^ most) | a.mask | b.mask;", "u64 mask = a.mask | b.mask;"),
    ("tnum_mul_unknown_bit_added", "tnum.c", "sum = tnum_union(sum, tnum_add(sum, b));", "sum = tnum_add(sum, b);"),
    ("tnum_range_one_bit_short", "tnum.c", "(2ull << (63 - __builtin_clzll(differ))) - 1", "(1ull << (63 - __builtin_clzll(differ))) - 1"),
    ("ends_elements_not_precise", "ends.c", "\tmark_precise(v, from);\n\tmark_precise(v, to);\n", ""),
    ("ends_elements_of_last_visit", "ends.c", "if (elements > (s64)s->elements)", "if (1)"),
    ("ends_loop_makes_its_iterator", "ends.c", "(s->makes && f->region[s->insn] == region)", "0"),
    ("ends_asked_again", "ends.c", "if (s->asked_after_end ||", "if ("),
    ("ends_rest_once", "ends.c", "((u64)elements + 2) * capped(rest)", "(u64)elements + 2 + capped(rest)"),
    ("ends_calls_cost_nothing", "ends.c", "1 + f->steps[callee(f, at)] : 1", "1 : 1"),
    ("ends_iterator_of_caller", "ends.c", "cur_regs(v->st)[1].frame != v->st->depth || ", ""),
]


def sources(folder):
    return sorted(f"{TOP}/{folder}/{n}" for n in os.listdir(f"{TOP}/{folder}") if n.endswith(".c"))


class Build:
    def __init__(self, folder):
        self.dir = folder
        self.objects = {}
        for path in sources("src/verifier") + sources("src/bpf"):
            self.objects[path] = self.compile(path)
        engine = [TOP + n for n in ("/src/vm/interp.c", "/src/vm/access.c", "/src/helpers/iter.c", "/src/helpers/dynptr.c",
                                       "/src/helpers/dynptr_ops.c")]
        gen = [self.compile(f"{TOP}/tests/verifier/{n}") for n in ("edge_dynptr.c", "edge_gen.c", "edge_loops.c", "edge_objects.c")]
        self.tests = {
            "sound": gen + [self.compile(p, "-DVM_WATCH=watch_insn") for p in engine + [TOP + "/tests/verifier/sound_fuzz.c"]],
            "corpus": [self.compile(p) for p in sources("tests/verifier") if os.path.basename(p).startswith("corpus")],
            "verdicts": [*gen, self.compile(TOP + "/tests/verifier/verdict_fuzz.c")],
        }

    def compile(self, path, *flags):
        out = f"{self.dir}/{len(os.listdir(self.dir))}-{os.path.basename(path)}.o"
        subprocess.run(["cc", *FLAGS, *flags, "-I" + os.path.dirname(path), "-c", path, "-o", out], check=True)
        return out

    def link(self, test, objects):
        out = f"{self.dir}/test-{test}"
        subprocess.run(["cc", *self.tests[test], *objects.values(), "-lbpf", "-o", out], check=True)
        return out

    def mutant(self, name, old, new):
        path = f"{TOP}/src/verifier/{name}"
        with open(path, encoding="utf-8") as f:
            text = f.read()
        if text.count(old) != 1:
            return None
        changed = f"{self.dir}/{name}"
        with open(changed, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))
        return {**self.objects, path: self.compile(changed)}


def fails(program, *args):
    """The first finding, or None. Endless and crashed are found, too."""
    try:
        done = subprocess.run([program, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False)
    except subprocess.TimeoutExpired:
        return "does not end"
    out = done.stdout.decode(errors="replace")
    if not done.returncode:
        return None
    hints = [line for line in out.splitlines() if line.startswith(("# seed", "not ok"))]
    return hints[0][:100] if hints else f"status {done.returncode}"


def caught_by(build, objects):
    for test, args in (("sound", [SOUND]), ("corpus", []), ("verdicts", [VERDICTS])):
        why = fails(build.link(test, objects), *args)
        if why:
            return f"{test}: {why}"
    return None


def main():
    names = sys.argv[1:]
    missed = bad = 0
    with tempfile.TemporaryDirectory() as folder:
        build = Build(folder)
        for test, args in (("sound", ["2000"]), ("corpus", []), ("verdicts", [VERDICTS])):
            if fails(build.link(test, build.objects), *args):
                sys.exit(f"{test} fails already as it is")
        for name, file, old, new in MUTANTS:
            if (names and not any(n in name for n in names)):
                continue
            objects = build.mutant(file, old, new)
            if not objects:
                print(f"not ok {name}: {file} has no such line any more", flush=True)
                bad += 1
                continue
            why = caught_by(build, objects)
            missed += not why
            print(f"ok {name}: {why}" if why else f"not ok {name}: nobody noticed", flush=True)
    print(f"# {missed} not caught, {bad} out of date")
    return 1 if missed or bad else 0


if __name__ == "__main__":
    sys.exit(main())
