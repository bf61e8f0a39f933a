/* SPDX-License-Identifier: MIT */
/* The relocator's input and output, pair by pair (moved.data). */
#include <stdio.h>
#include "../unit/check.h"
#include "attach/x86_64/emit.h"

#define FROM 0x400000UL
#define TO   0x500000UL

static u32 from_hex(const char *text, u8 *ret)
{
	u32 n = 0, byte;
	int used;

	for (; sscanf(text, " %2x%n", &byte, &used) == 1; text += used)
		ret[n++] = (u8)byte;
	return n;
}

/* One line; false when the relocator made something else. */
static bool moves(char *line)
{
	char *insn = strtok(line, "|"), *before = strtok(NULL, "|"), *after = strtok(NULL, "|");
	u8 code[64] = {0}, want[64], made[64];
	struct emit e = {.code = made, .cap = sizeof(made), .at = TO};
	u32 len = from_hex(before, code), want_len = from_hex(after, want);
	struct x86_insn in;
	enum attach_error err;

	if (x86_decode(code, len, &in) != (int)len) {
		printf("# %s: is not decoded\n", insn);
		return false;
	}
	err = emit_moved(&e, code, &in, FROM, false);
	if (want_len ? !err && e.len == want_len && !memcmp(made, want, want_len) : err == ATTACH_E_RELOCATE)
		return true;
	printf("# %s: error %d, %zu bytes:", insn, err, e.len);
	for (size_t i = 0; i < e.len; i++)
		printf(" %02x", made[i]);
	printf("\n");
	return false;
}

TEST(instructions_move_as_in_the_table)
{
	FILE *f = fopen(getenv("MOVED_DATA"), "re");
	char line[512];
	int pairs = 0;

	REQUIRE(f);
	while (fgets(line, sizeof(line), f)) {
		if (*line == '#')
			continue;
		CHECK(moves(line));
		pairs++;
	}
	fclose(f);
	CHECK(pairs > 30);
}

TEST_MAIN()
