/* SPDX-License-Identifier: MIT */
/*
 * Assertions that print both values. A test program is one file: TEST(name) { ... } functions and
 * TEST_MAIN(). Output is one line a test ("ok name", "not ok name: ...", "skip name: why"), which
 * run_tests.sh counts; the exit status is the number of failures, capped.
 */
#ifndef LIMPET_TESTS_CHECK_H
#define LIMPET_TESTS_CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check_test {
	const char *name;
	void (*fn)(void);
	struct check_test *next;
};

static struct check_test *check_first, **check_last = &check_first;
static int check_failed;
static const char *check_skipped;

#define TEST(name_)                                                                                \
	static void name_(void);                                                                   \
	static struct check_test check_##name_ = {#name_, name_, NULL};                            \
	__attribute__((constructor)) static void check_add_##name_(void)                           \
	{                                                                                          \
		*check_last = &check_##name_;                                                      \
		check_last = &check_##name_.next;                                                  \
	}                                                                                          \
	static void name_(void)

#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long check_a = (long long)(a), check_b = (long long)(b);                      \
		if (check_a != check_b) {                                                          \
			printf("# %s:%d: %s is %lld (0x%llx), %s is %lld (0x%llx)\n", __FILE__,    \
			       __LINE__, #a, check_a, (unsigned long long)check_a, #b, check_b,    \
			       (unsigned long long)check_b);                                       \
			check_failed = 1;                                                          \
		}                                                                                  \
	} while (0)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("# %s:%d: %s is false\n", __FILE__, __LINE__, #cond);               \
			check_failed = 1;                                                          \
		}                                                                                  \
	} while (0)

#define CHECK_STR(a, b)                                                                            \
	do {                                                                                       \
		const char *check_a = (a), *check_b = (b);                                         \
		if (strcmp(check_a, check_b)) {                                                    \
			printf("# %s:%d: %s is \"%s\", %s is \"%s\"\n", __FILE__, __LINE__, #a,    \
			       check_a, #b, check_b);                                              \
			check_failed = 1;                                                          \
		}                                                                                  \
	} while (0)

/* Leaves the test when the condition fails: what follows would crash. */
#define REQUIRE(cond)                                                                              \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("# %s:%d: %s is false\n", __FILE__, __LINE__, #cond);               \
			check_failed = 1;                                                          \
			return;                                                                    \
		}                                                                                  \
	} while (0)

#define SKIP(why)                                                                                  \
	do {                                                                                       \
		check_skipped = (why);                                                             \
		return;                                                                            \
	} while (0)

/* An argument selects tests by substring. */
#define TEST_MAIN()                                                                                \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		int failures = 0;                                                                  \
		setvbuf(stdout, NULL, _IOLBF, 0);                                                  \
		for (struct check_test *t = check_first; t; t = t->next) {                         \
			if (argc > 1 && !strstr(t->name, argv[1]))                                 \
				continue;                                                          \
			check_failed = 0;                                                          \
			check_skipped = NULL;                                                      \
			t->fn();                                                                   \
			if (check_failed)                                                          \
				printf("not ok %s\n", t->name);                                    \
			else if (check_skipped)                                                    \
				printf("skip %s: %s\n", t->name, check_skipped);                   \
			else                                                                       \
				printf("ok %s\n", t->name);                                        \
			failures += check_failed;                                                  \
		}                                                                                  \
		return failures > 100 ? 100 : failures;                                            \
	}

#endif
