/* SPDX-License-Identifier: MIT */
/*
 * Memory and string primitives with libc's names and meanings. In hosted programs libc provides
 * them; in the agent they come from base/mem.c, hidden, because compilers emit calls to them in
 * freestanding code too and nothing inside a target may call a function that could be probed.
 */
#ifndef LIMPET_BASE_MEM_H
#define LIMPET_BASE_MEM_H

#include "base/types.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);

/* -ffreestanding makes every copy of eight bytes a call; the built-ins are what it is elsewhere. */
#if !__STDC_HOSTED__ && !defined(LIMPET_MEM_DEFINES)
#define memcpy(...) __builtin_memcpy(__VA_ARGS__)
#define memset(...) __builtin_memset(__VA_ARGS__)
#define memcmp(...) __builtin_memcmp(__VA_ARGS__)
#define strlen(...) __builtin_strlen(__VA_ARGS__)
#endif

#endif
