/* SPDX-License-Identifier: MIT */
/*
 * System calls without a libc function of their own, ioctl, mmap, setrlimit.
 *
 * syscall() is assembly: anything not listed must reach the kernel from the caller's own frame (a
 * clone with a new stack returns there).
 *
 * What is passed on is passed to libc, here as in the other files, where probes see it: this library's own code is
 * not looked at when system calls are observed (agent/place.c knows it by its note), so what it does itself is not seen.
 */
#include "loader/shim.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/kernel.h"
#include "loader/loader.h"

bool shim_finding;

long shim_nothing(void)
{
	return -1;
}

static const struct {
	u32 name_size, desc_size, type;
	char name[8];
} note __attribute__((section(".note.limpet"), aligned(4), used)) = {sizeof(SESSION_NOTE), 0, 1, SESSION_NOTE};

/* libc's, once the constructor has run. mmap is what allocators call while they begin, when no symbol can be looked up. */
HIDDEN __typeof__(&syscall) shim_next_syscall;
static __typeof__(&mmap) next_mmap;
static __typeof__(&munmap) next_munmap;

HIDDEN long shim_failed(long ret);
HIDDEN long shim_syscall(long nr, long a, long b, long c, long d, long e);

long shim_failed(long ret)
{
	return shim_result(ret);
}

__asm__(".text\n.globl syscall\n.type syscall,@function\nsyscall:\n"
	"	cmp $321, %rdi\n	je 1f\n" /* bpf */
	"	cmp $298, %rdi\n	je 1f\n" /* perf_event_open */
	"	cmp $3, %rdi\n		je 1f\n" /* close */
	"	cmp $436, %rdi\n	je 1f\n" /* close_range */
	"	cmp $32, %rdi\n		je 1f\n" /* dup, dup2 */
	"	cmp $33, %rdi\n		je 1f\n"
	"	cmp $292, %rdi\n	je 1f\n" /* dup3 */
	"	cmp $59, %rdi\n		je 1f\n" /* execve, execveat */
	"	cmp $322, %rdi\n	je 1f\n"
	"	mov shim_next_syscall(%rip), %rax\n	test %rax, %rax\n	jz 3f\n	jmp *%rax\n3:"
	"	mov %rdi, %rax\n	mov %rsi, %rdi\n	mov %rdx, %rsi\n"
	"	mov %rcx, %rdx\n	mov %r8, %r10\n		mov %r9, %r8\n"
	"	mov 8(%rsp), %r9\n	syscall\n"
	"	cmp $-4095, %rax\n	jae 2f\n	ret\n"
	"1:	jmp shim_syscall\n"
	"2:	mov %rax, %rdi\n	jmp shim_failed\n"
	".size syscall, .-syscall\n");

long shim_syscall(long nr, long a, long b, long c, long d, long e)
{
	long ret;

	switch (nr) {
	case SYS_bpf:
		return shim_result(loader_bpf((int)a, (union bpf_attr *)b, (unsigned int)c));
	case SYS_close:
		return close((int)a);
	case SYS_close_range:
		return close_range((unsigned int)a, (unsigned int)b, (int)c);
	case SYS_dup:
		return dup((int)a);
	case SYS_dup2:
		return dup2((int)a, (int)b);
	case SYS_dup3:
		return dup3((int)a, (int)b, (int)c);
	case SYS_execve:
		return execve((const char *)a, (char **)b, (char **)c);
	case SYS_execveat:
		return execveat((int)a, (const char *)b, (char **)c, (char **)d, (int)e);
	}
	ret = loader_event_open((const struct perf_event_attr *)a, (s32)b, (s32)c, (int)d, (u64)e);
	if (ret == -LOADER_PASS)
		ret = sys_call6(nr, a, b, c, d, e, 0);
	return shim_result(ret);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	unsigned long arg;
	va_list ap;
	long ret;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	if (((request >> 8) & 0xff) == '$') {
		ret = loader_event_ioctl(fd, request, arg);
		if (ret != -LOADER_PASS)
			return (int)shim_result(ret);
	}
	return NEXT(ioctl)(fd, request, arg);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (!(flags & MAP_ANONYMOUS) && !loader_inside && loader_active()) {
		long ret;

		loader_inside++;
		ret = loader_mmap(addr, len, prot, flags, fd, off);
		loader_inside--;
		if (ret != -LOADER_PASS)
			return (void *)shim_result(ret);
	}
	return next_mmap ? next_mmap(addr, len, prot, flags, fd, off)
			 : (void *)shim_result(sys_mmap(addr, len, prot, flags, fd, (u64)off));
}

EXPORT int munmap(void *addr, size_t len)
{
	long ret = loader_active() ? loader_munmap(addr, len) : -LOADER_PASS;

	if (ret != -LOADER_PASS)
		return (int)shim_result(ret);
	return next_munmap ? next_munmap(addr, len) : (int)shim_result(sys_munmap(addr, len));
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	return mmap(addr, len, prot, flags, fd, off);
}

/* As many as tools read in sysfs (files.h), or they would have too little room for the values of all. */
EXPORT int get_nprocs_conf(void)
{
	return loader_inside || !kernel_on() ? NEXT(get_nprocs_conf)() : (int)kernel_tool_cpus();
}

EXPORT long sysconf(int name)
{
	return name == _SC_NPROCESSORS_CONF ? get_nprocs_conf() : NEXT(sysconf)(name);
}

/* Maps are charged as shared memory, not as locked memory: wishes for more are granted unheard. */
EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	const int saved = errno, ret = NEXT(setrlimit)(resource, limit);

	if (!ret || errno != EPERM || resource != RLIMIT_MEMLOCK)
		return ret;
	errno = saved;
	return 0;
}

EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
	return setrlimit(resource, (const struct rlimit *)limit); /* the same on 64-bit machines */
}

/* As find_next() of shim_fd.c. */
__attribute__((constructor)) static void find_next(void)
{
	const struct rlimit none = {0};
	const int saved = errno;

	shim_next_syscall = (__typeof__(&syscall))dlsym(RTLD_NEXT, "syscall");
	next_mmap = (__typeof__(&mmap))dlsym(RTLD_NEXT, "mmap");
	next_munmap = (__typeof__(&munmap))dlsym(RTLD_NEXT, "munmap");
	shim_finding = true;
	ioctl(-1, 0);
	setrlimit(RLIMIT_MEMLOCK, &none);
	shim_finding = false;
	errno = saved;
}
