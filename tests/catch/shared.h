/* SPDX-License-Identifier: MIT */
/* What look() is asked, and what the program on it writes where the third argument points. */
#ifndef TESTS_CATCH_SHARED_H
#define TESTS_CATCH_SHARED_H

#define LOOK_WORD  0 /* eight bytes */
#define LOOK_STR   1
#define LOOK_STORE 2 /* eight bytes, "written" */
#define LOOK_STACK 3
#define LOOK_BIG   1024 /* bytes */

struct look_result {
	long ran, result;
	char text[64];
};

#endif
