/* SPDX-License-Identifier: MIT */
/* What a program's file says counts only as far as nobody can have forged it who matters (session/object.h). */
#include "../check.h"
#include "session/object.h"

static const struct prog_file shown = {.verified = PROG_IS_SAFE | PROG_IS_SHORT};

TEST(a_program_of_the_same_user_or_root_ends)
{
	CHECK(object_prog_ends(&shown, 1000, 0100600, 1000));
	CHECK(object_prog_ends(&shown, 0, 0100600, 1000));
	CHECK(object_prog_ends(&shown, 0, 0100600, 0));
}

TEST(another_users_word_does_not_count)
{
	CHECK(!object_prog_ends(&shown, 1000, 0100600, 1001));
	CHECK(!object_prog_ends(&shown, 1000, 0100600, 0));
}

TEST(users_that_a_namespace_cannot_name_are_not_the_same)
{
	CHECK(!object_prog_ends(&shown, 65534, 0100600, 65534));
}

TEST(a_file_that_others_may_write_does_not_count)
{
	CHECK(!object_prog_ends(&shown, 0, 0100620, 0));
	CHECK(!object_prog_ends(&shown, 1000, 0100602, 1000));
}

TEST(what_was_not_shown_is_not_taken_for_it)
{
	const struct prog_file safe = {.verified = PROG_IS_SAFE}, nothing = {.verified = 0};

	CHECK(!object_prog_ends(&safe, 0, 0100600, 0));
	CHECK(!object_prog_ends(&nothing, 0, 0100600, 0));
}

TEST_MAIN()
