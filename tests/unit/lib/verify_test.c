/* SPDX-License-Identifier: MIT */
/* limpet/verify.h as a program that only has the public headers sees it. */
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include "../check.h"
#include "limpet/verify.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LOOKUP                                                                                     \
	{.code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = 10, .off = -4},                              \
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10},                \
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .imm = -4},                    \
		{.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD},   \
		{0},                                                                               \
	{                                                                                          \
		.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem                        \
	}
#define END                                                                                        \
	{.code = BPF_ALU64 | BPF_MOV | BPF_K},                                                     \
	{                                                                                          \
		.code = BPF_JMP | BPF_EXIT                                                         \
	}

static const struct bpf_insn untested[] = {
	LOOKUP, {.code = BPF_LDX | BPF_MEM | BPF_DW, .src_reg = 0}, END};
static const struct bpf_insn tested[] = {LOOKUP,
					 {.code = BPF_JMP | BPF_JEQ | BPF_K, .off = 1},
					 {.code = BPF_LDX | BPF_MEM | BPF_DW, .src_reg = 0},
					 END};
static const struct bpf_insn endless[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
					  {.code = BPF_JMP | BPF_JA, .off = -2},
					  {.code = BPF_JMP | BPF_EXIT}};

static struct limpet_verify_map hash(void)
{
	return (struct limpet_verify_map){.name = "seen",
					  .type = BPF_MAP_TYPE_HASH,
					  .key_size = 4,
					  .value_size = 8,
					  .max_entries = 16,
					  .lock_offset = -1};
}

static struct limpet_verify_program of(const struct bpf_insn *insns, size_t count,
				       const struct limpet_verify_map *map)
{
	return (struct limpet_verify_program){.insns = insns,
					      .insn_count = count,
					      .type = BPF_PROG_TYPE_KPROBE,
					      .flags = LIMPET_VERIFY_GPL,
					      .maps = map,
					      .map_count = map != NULL};
}

TEST(a_safe_program_is_accepted)
{
	const struct limpet_verify_map map = hash();
	const struct limpet_verify_program p = of(tested, COUNT(tested), &map);
	struct limpet_verify_result result = {.bounded = 7};

	CHECK_EQ(limpet_verify(&p, NULL, &result), 0);
	CHECK_EQ(result.bounded, 1);
	CHECK_EQ(result.stack_depth, 16);
	CHECK(result.followed >= COUNT(tested) - 1 && result.memory > 0);
}

TEST(a_refusal_says_why)
{
	const struct limpet_verify_map map = hash();
	const struct limpet_verify_program p = of(untested, COUNT(untested), &map);
	char text[4096];
	struct limpet_verify_log log = {.text = text, .size = sizeof(text), .level = 1};
	struct limpet_verify_result result = {.followed = 123};

	CHECK_EQ(limpet_verify(&p, &log, &result), -EACCES);
	CHECK(strstr(text, "R0 invalid mem access 'map_value_or_null'") != NULL);
	CHECK_EQ(result.followed, 123); /* untouched */
	CHECK_EQ(log.needed, strlen(text) + 1);
}

TEST(a_log_that_does_not_fit_keeps_its_end)
{
	const struct limpet_verify_map map = hash();
	const struct limpet_verify_program p = of(untested, COUNT(untested), &map);
	char text[4096], all[4096];
	struct limpet_verify_log log = {.text = all, .size = sizeof(all), .level = 1};

	limpet_verify(&p, &log, NULL);
	log = (struct limpet_verify_log){.text = text, .size = 200, .level = 1};
	memset(text, 'x', sizeof(text));
	CHECK_EQ(limpet_verify(&p, &log, NULL), -EACCES);
	CHECK_EQ(log.needed, strlen(all) + 1);
	CHECK_EQ(strlen(text), 199);
	CHECK_STR(text, all + strlen(all) - 199);
	CHECK_EQ(text[200], 'x');
}

TEST(what_does_not_end_is_refused)
{
	const struct limpet_verify_program p = of(endless, COUNT(endless), NULL);

	CHECK_EQ(limpet_verify(&p, NULL, NULL), -EINVAL);
}

TEST(arguments_are_looked_at)
{
	struct limpet_verify_map map = hash();
	struct limpet_verify_program p = of(tested, COUNT(tested), &map);
	char text[64];
	struct limpet_verify_log log = {.text = text, .size = sizeof(text), .level = 8};

	CHECK_EQ(limpet_verify(NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(limpet_verify(&p, &log, NULL), -EINVAL);
	CHECK_STR(text, "");
	map.lock_offset = 5; /* beyond the value */
	CHECK_EQ(limpet_verify(&p, NULL, NULL), -EINVAL);
	map = hash();
	map.type = BPF_MAP_TYPE_ARRAY_OF_MAPS; /* of what? */
	CHECK_EQ(limpet_verify(&p, NULL, NULL), -EINVAL);
	map = hash();
	map.reserved[0] = 1;
	CHECK_EQ(limpet_verify(&p, NULL, NULL), -EINVAL);
	map = hash();
	p.flags |= 1u << 31;
	CHECK_EQ(limpet_verify(&p, NULL, NULL), -EINVAL);
	p = of(tested, COUNT(tested), &map);
	p.map_count = 0; /* names a map that is not there */
	CHECK_EQ(limpet_verify(&p, NULL, NULL), -EINVAL);
	p = of(tested, 0, &map);
	CHECK_EQ(limpet_verify(&p, NULL, NULL), -EINVAL);
}

TEST(types_that_are_damaged_are_refused)
{
	static const unsigned char rubbish[64] = {0x9f, 0xeb, 1};
	static const struct bpf_func_info func = {0, 1};
	const struct limpet_verify_map map = hash();
	struct limpet_verify_program p = of(tested, COUNT(tested), &map);
	char text[256];
	struct limpet_verify_log log = {.text = text, .size = sizeof(text), .level = 1};

	p.btf = rubbish;
	p.btf_size = sizeof(rubbish);
	p.funcs = &func;
	p.func_count = 1;
	CHECK_EQ(limpet_verify(&p, &log, NULL), -EINVAL);
	CHECK(strstr(text, "type information is damaged") != NULL);
}

TEST_MAIN()
