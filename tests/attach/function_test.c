/* SPDX-License-Identifier: MIT */
/*
 * What leads into a window, in hand-written functions (shapes.S); and that places are told from it.
 */
#include "../unit/check.h"
#include "self.h"

static void handler(void *arg, struct attach_regs *regs)
{
}

static struct attach_refusal why;

static int plan(const void *addr)
{
	static const struct attach_call call = {.handler = handler};
	static u8 *tramp;
	struct attach_plan p;
	enum attach_error err;

	if (!tramp) {
		tramp = self_page_near((u64)addr);
		self_read_maps();
	}
	err = self_plan((u64)addr, tramp, &call, &p, &why);
	return err ? -(int)err : p.window;
}

#define PLACE(name)                                                                                \
	({                                                                                         \
		extern const u8 name[];                                                            \
		name;                                                                              \
	})

TEST(branches_in_the_function)
{
	CHECK_EQ(plan(PLACE(shape_before)), 6);
	CHECK_EQ(plan(PLACE(shape_before_in)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(why.where, (u64)PLACE(shape_before_in) + 2);
	CHECK_EQ(plan(PLACE(shape_after)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(plan(PLACE(shape_first)), 5);
}

TEST(branches_of_other_functions)
{
	CHECK_EQ(plan(PLACE(shape_far_in)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(why.where, (u64)PLACE(shape_far_in) + 1);
	CHECK_EQ(plan(PLACE(shape_near_in)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(why.where, (u64)PLACE(shape_near_in) + 1);
	CHECK_EQ(plan(PLACE(shape_near_too)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(why.where, (u64)PLACE(shape_near_too) + 4);
	CHECK_EQ(plan(PLACE(shape_like_in)), 5);
}

TEST(jump_tables)
{
	CHECK_EQ(plan(PLACE(shape_table)), 7);
	CHECK_EQ(plan(PLACE(shape_table_in)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(why.where, (u64)PLACE(shape_table_in) + 2);
	CHECK_EQ(plan(PLACE(shape_table64)), 7);
	CHECK_EQ(plan(PLACE(shape_table64_in)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(plan(PLACE(shape_based)), 7);
	CHECK_EQ(plan(PLACE(shape_based_in)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(plan(PLACE(shape_computed)), -ATTACH_E_BRANCH_IN);
}

TEST(functions_in_parts)
{
	CHECK_EQ(plan(PLACE(shape_split_in)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(plan(PLACE(shape_other)), 5);
}

TEST(short_functions)
{
	CHECK_EQ(plan(PLACE(shape_short)), 5);
	CHECK_EQ(plan(PLACE(shape_tight)), -ATTACH_E_SHORT);
	CHECK_EQ(plan(PLACE(shape_tight_next)), 5);
	CHECK_EQ(plan(PLACE(shape_next)), 5);
}

TEST(restartable_sequences)
{
	CHECK_EQ(plan(PLACE(shape_rseq)), 7);
	CHECK_EQ(plan(PLACE(shape_rseq) + 7), 5);
	CHECK_EQ(plan(PLACE(shape_rseq_start)), -ATTACH_E_RSEQ);
	CHECK_EQ(plan(PLACE(shape_rseq_start) + 2), -ATTACH_E_RSEQ);
	CHECK_EQ(plan(PLACE(shape_rseq_start) + 6), -ATTACH_E_RSEQ);
	CHECK_EQ(plan(PLACE(shape_rseq_end)), 5);
}

TEST(code_without_unwind_information)
{
	CHECK_EQ(plan(PLACE(shape_bare)), 6);
	CHECK_EQ(plan(PLACE(shape_bare_in)), -ATTACH_E_BRANCH_IN);
	CHECK_EQ(plan(PLACE(shape_bare_free)), 6);
}

TEST(go_is_left_alone)
{
	void go_function(void);

	CHECK_EQ(plan((const void *)go_function), -ATTACH_E_STACKS);
}

TEST(what_is_no_place_for_a_probe)
{
	static const u8 data[16];

	CHECK_EQ(plan(PLACE(shape_before) + 1), -ATTACH_E_NOT_INSN);
	CHECK_EQ(plan(data), -ATTACH_E_NOT_CODE);
	CHECK_EQ(plan(PLACE(shape_break)), -ATTACH_E_BREAKPOINT);
	CHECK_EQ(why.where, (u64)PLACE(shape_break) + 2);
	CHECK_EQ(why.len, 1);
	CHECK_EQ(why.insn[0], 0xcc);
}

TEST_MAIN()
