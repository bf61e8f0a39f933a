/* SPDX-License-Identifier: MIT */
/* Integer types and the few macros every freestanding file uses. No libc header is included here. */
#ifndef LIMPET_BASE_TYPES_H
#define LIMPET_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define likely(x)           __builtin_expect(!!(x), 1)
#define unlikely(x)         __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a)       (sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(x, a)      (((x) + ((a)-1)) & ~((__typeof__(x))(a)-1))
#define CONTAINER_OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define BIT(n)              (1ULL << (n))
#define PAGE_SIZE           4096UL

/* A symbol that must not leave the shared object it is linked into. */
#define HIDDEN              __attribute__((visibility("hidden")))
#define NOINLINE            __attribute__((noinline))
#define ALWAYS_INLINE       inline __attribute__((always_inline))

/* Built with the thread sanitizer, which sees no instruction of an asm: then the compiler's atomics. */
#define SEEN_BY_TSAN 0
#if defined(__SANITIZE_THREAD__)
#undef SEEN_BY_TSAN
#define SEEN_BY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef SEEN_BY_TSAN
#define SEEN_BY_TSAN 1
#endif
#endif

/*
 * Functions that read what others may be writing; what they find counts only when the element turns out to be
 * the same afterwards. The sanitizer would call it a race, and is not shown it.
 */
#if SEEN_BY_TSAN
#define SPECULATIVE NOINLINE __attribute__((no_sanitize("thread"), unused))
#else
#define SPECULATIVE ALWAYS_INLINE
#endif

#endif
