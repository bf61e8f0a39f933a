/* SPDX-License-Identifier: MIT */
/* What programs, tool and target of these tests share. */
#define SLOTS 4
#define MAGIC 0x1234

enum {
	COUNT_ENTRY,
	COUNT_FELL,
	COUNT_FIRST,
	COUNT_SECOND,
	COUNT_FRESH,
	COUNT_WRONG,
	COUNT_CHAIN,
	COUNT_CHAIN_END,
	COUNT_IN_SUB,
	COUNT_CAME_BACK,
	COUNT_WALK,
	COUNTS
};
