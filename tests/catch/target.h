/* SPDX-License-Identifier: MIT */
/* The scenes of catch_target, and what they share. */
#ifndef TESTS_CATCH_TARGET_H
#define TESTS_CATCH_TARGET_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "shared.h"

#define PAGE 4096UL

/* Probed: what the program on it found at `at`, or ran 0 when there is none. */
struct look_result look_at(const void *at, long how);

/*
 * Holds what look_at() came to against what is expected, and says so when it differs; without a
 * probe everything is as expected.
 */
void expect(const char *what, const void *at, long how, long result, const char *text);

/* A line of output, the same with limpet and without. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void *pages(size_t n, int prot);
bool sees_handler(int sig); /* what the kernel says, not libc */

extern bool probed;
extern unsigned long rounds; /* of storms */

void scene_reads(void);
void scene_default(void);
void scene_handlers(void);
void scene_collector(void);
void scene_masks(void);
void scene_stacks(void);
void scene_children(void);
void scene_ignored(void);
void scene_code(void);
void scene_nested(void);
void scene_storm(void);
void scene_leave(void);
void scene_cut(void);
void scene_filter(void);

#endif
