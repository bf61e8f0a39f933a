/* SPDX-License-Identifier: MIT */
/* What is probed, and how many times a round of the target comes by. */
#ifndef TESTS_STACKS_KINDS_H
#define TESTS_STACKS_KINDS_H

#define ENTRY     0
#define MIDDLE    1
#define RETURN    2
#define BOTH      3 /* twice: entry and return */
#define SESSION   4 /* likewise */
#define USDT      5
#define SYS_ENTER 6
#define SYS_EXIT  7
#define KINDS     8

#endif
