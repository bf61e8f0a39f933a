/* SPDX-License-Identifier: MIT */
/*
 * System calls without libc. Every wrapper returns the kernel's value: >= 0, or -errno.
 * No errno is touched, no cancellation point is passed, no PLT entry is used.
 */
#ifndef LIMPET_BASE_SYS_H
#define LIMPET_BASE_SYS_H

#include <asm/unistd.h>
#include "base/types.h"

#if defined(__x86_64__)
static ALWAYS_INLINE long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static ALWAYS_INLINE long sys_call3(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
}

static ALWAYS_INLINE long sys_call4(long nr, long a, long b, long c, long d)
{
	long ret;
	register long r10 __asm__("r10") = d;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}
#else
#error "limpet's freestanding core knows x86-64 only so far"
#endif

#define sys_call0(nr)       sys_call3(nr, 0, 0, 0)
#define sys_call1(nr, a)    sys_call3(nr, (long)(a), 0, 0)
#define sys_call2(nr, a, b) sys_call3(nr, (long)(a), (long)(b), 0)

static inline long sys_openat(int dirfd, const char *path, int flags, int mode)
{
	return sys_call4(__NR_openat, dirfd, (long)path, flags, mode);
}
static inline long sys_close(int fd)
{
	return sys_call1(__NR_close, fd);
}
static inline long sys_read(int fd, void *buf, size_t n)
{
	return sys_call3(__NR_read, fd, (long)buf, (long)n);
}
static inline long sys_write(int fd, const void *buf, size_t n)
{
	return sys_call3(__NR_write, fd, (long)buf, (long)n);
}
static inline long sys_pread(int fd, void *buf, size_t n, s64 off)
{
	return sys_call4(__NR_pread64, fd, (long)buf, (long)n, off);
}
static inline long sys_pwrite(int fd, const void *buf, size_t n, s64 off)
{
	return sys_call4(__NR_pwrite64, fd, (long)buf, (long)n, off);
}
static inline long sys_mmap(void *addr, size_t len, int prot, int flags, int fd, u64 off)
{
	return sys_call6(__NR_mmap, (long)addr, (long)len, prot, flags, fd, (long)off);
}
static inline long sys_munmap(void *addr, size_t len)
{
	return sys_call2(__NR_munmap, addr, len);
}
static inline long sys_getpid(void)
{
	return sys_call0(__NR_getpid);
}
static inline long sys_gettid(void)
{
	return sys_call0(__NR_gettid);
}
static inline bool sys_is_err(long ret)
{
	return (unsigned long)ret >= (unsigned long)-4095L;
}

#endif
