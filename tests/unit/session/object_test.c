/* SPDX-License-Identifier: MIT */
/* What a program's file says counts only as far as nobody can have forged it who matters (session/object.h). */
#include "../check.h"
#include "session/object.h"

static const struct prog_file shown = {.verified = PROG_IS_SAFE | PROG_IS_SHORT};

TEST(a_program_of_the_same_user_or_root_ends)
{
	CHECK(PROG_IS_SHORT & object_prog_proofs(&shown, 0, 1000, 0100600, 1000));
	CHECK(PROG_IS_SHORT & object_prog_proofs(&shown, 0, 0, 0100600, 1000));
	CHECK(PROG_IS_SHORT & object_prog_proofs(&shown, 0, 0, 0100600, 0));
}

TEST(another_users_word_does_not_count)
{
	CHECK(!(PROG_IS_SHORT & object_prog_proofs(&shown, 0, 1000, 0100600, 1001)));
	CHECK(!(PROG_IS_SHORT & object_prog_proofs(&shown, 0, 1000, 0100600, 0)));
}

TEST(users_that_a_namespace_cannot_name_are_not_the_same)
{
	CHECK(!(PROG_IS_SHORT & object_prog_proofs(&shown, 0, 65534, 0100600, 65534)));
}

TEST(a_file_that_others_may_write_does_not_count)
{
	CHECK(!(PROG_IS_SHORT & object_prog_proofs(&shown, 0, 0, 0100620, 0)));
	CHECK(!(PROG_IS_SHORT & object_prog_proofs(&shown, 0, 1000, 0100602, 1000)));
}

TEST(what_was_not_shown_is_not_taken_for_it)
{
	const struct prog_file safe = {.verified = PROG_IS_SAFE}, nothing = {.verified = 0};

	CHECK(!(PROG_IS_SHORT & object_prog_proofs(&safe, 0, 0, 0100600, 0)));
	CHECK(!(PROG_IS_SHORT & object_prog_proofs(&nothing, 0, 0, 0100600, 0)));
}

/* Every part that a proof rests on, spoilt alone: it is not what was verified. */
TEST(what_is_not_as_it_was_verified_does_not_count)
{
	struct bpf_insn insns[] = {{.code = 0xb7, .imm = 1}, {.code = 0x95}};
	u32 ids[] = {3, 4};
	struct prog_map maps[] = {{.type = BPF_MAP_TYPE_ARRAY, .value_size = 8}, {.type = BPF_MAP_TYPE_HASH}};
	struct prog_file p = {.type = BPF_PROG_TYPE_KPROBE, .insn_count = 2, .map_shape_count = 2, .map_count = 2,
			      .verified = PROG_IS_SAFE | PROG_IS_PROVEN, .ctx_end = 8, .head.id = 7};
	u32 *parts[] = {&p.type, &p.verified, &p.ctx_end, &p.budget, &p.flags, &p.head.id, (u32 *)&insns[1].imm, &ids[1],
			&maps[0].value_size, &maps[1].flags};
#define PROOFS object_prog_proofs(&p, object_prog_sum(&p, insns, ids, maps), 0, 0100600, 0)

	p.sum = object_prog_sum(&p, insns, ids, maps);
	CHECK(PROOFS == (PROG_IS_SAFE | PROG_IS_PROVEN));
	for (u32 i = 0; i < ARRAY_SIZE(parts); i++)
		for (u32 bit = 0; bit < 32; bit++) {
			*parts[i] ^= 1u << bit;
			CHECK(!PROOFS);
			*parts[i] ^= 1u << bit;
		}
	p.map_shape_count = 1;
	CHECK(!PROOFS);
	p.map_shape_count = 2;
	CHECK(PROOFS);
}

/* A map that is described otherwise, or of which less is there, than when the program was verified. */
TEST(a_map_must_be_what_it_was_when_the_program_was_verified)
{
	const struct prog_map was = {BPF_MAP_TYPE_ARRAY, 4, 16, 8, 0, 0};
	const struct map_def def = {.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 16, .max_entries = 8};
	struct map m = {.def = def, .writable = true};
	struct map other;

	CHECK(object_map_as_verified(&was, &m));
	for (u32 i = 0; i < 5; i++) {
		other = m;
		(&(u32 *[]){&other.def.type, &other.def.key_size, &other.def.value_size, &other.def.max_entries,
			    &other.def.flags}[0])[i][0]++;
		CHECK(!object_map_as_verified(&was, &other));
	}
	other = m;
	other.sparse = true;
	CHECK(!object_map_as_verified(&was, &other));
	other = m;
	other.writable = false;
	CHECK(!object_map_as_verified(&was, &other));
	other = m;
	other.holds = MAP_HOLDS_MAPS;
	CHECK(!object_map_as_verified(&was, &other));
}

TEST_MAIN()
