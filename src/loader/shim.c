/* SPDX-License-Identifier: MIT */
/*
 * The preloaded object: the libc functions an eBPF tool calls, each looking whether the call is
 * limpet's and passing everything else to the kernel unchanged. Only calls through the PLT are
 * seen; what libc does inside itself is not ours.
 *
 * syscall() is assembly: anything not listed must reach the kernel from the caller's own frame (a
 * clone with a new stack returns there).
 */
/* Both names of each function are defined here: keep the headers from renaming one to the other. */
#undef _FILE_OFFSET_BITS

#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/sys.h"

#define EXPORT __attribute__((visibility("default")))

static long result(long ret)
{
	if (!sys_is_err(ret))
		return ret;
	errno = (int)-ret;
	return -1;
}

HIDDEN long shim_failed(long ret);
HIDDEN long shim_syscall(long nr, long a, long b, long c, long d, long e);

long shim_failed(long ret)
{
	return result(ret);
}

__asm__(".text\n.globl syscall\n.type syscall,@function\nsyscall:\n"
	"	cmp $321, %rdi\n	je 1f\n" /* bpf */
	"	cmp $298, %rdi\n	je 1f\n" /* perf_event_open */
	"	cmp $3, %rdi\n		je 1f\n" /* close */
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

	if (nr == SYS_bpf)
		return result(loader_bpf((int)a, (union bpf_attr *)b, (unsigned int)c));
	if (nr == SYS_close)
		return close((int)a);
	ret = loader_event_open((const struct perf_event_attr *)a, (s32)b, (s32)c, (int)d, (u64)e);
	if (ret == -LOADER_PASS)
		ret = sys_call6(nr, a, b, c, d, e, 0);
	return result(ret);
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
			return (int)result(ret);
	}
	return (int)result(sys_call3(SYS_ioctl, fd, (long)request, (long)arg));
}

/* The kernel's answers for a map that cannot be mapped this way; 0: let it. */
static int may_mmap(int fd, size_t len, int prot, int flags, off_t off)
{
	struct map *m;
	int err = 0;
	u32 id;

	if (loader_inside || !loader_active() || fd < 0 || loader_fd_object(fd, OBJ_MAP, &id))
		return 0;
	m = loader_map_by_fd(fd, NULL, &err);
	if (!m)
		return err;
	if (!m->data_size)
		return -LOADER_ENOTSUPP;
	if (!(flags & MAP_SHARED))
		return -EINVAL;
	if (prot & PROT_EXEC)
		return -EPERM;
	if ((prot & PROT_WRITE) && atomic_load(&m->meta->frozen))
		return -EPERM;
	if (!m->mmapable || off < 0 || (u64)off > m->data_size ||
	    ALIGN_UP((u64)len, PAGE_SIZE) > ALIGN_UP(m->data_size, PAGE_SIZE) - (u64)off)
		return -EINVAL;
	return 0;
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	int err = flags & MAP_ANONYMOUS ? 0 : may_mmap(fd, len, prot, flags, off);

	return (void *)result(err ? (long)err : sys_mmap(addr, len, prot, flags, fd, (u64)off));
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	return mmap(addr, len, prot, flags, fd, off);
}

/* A descriptor of ours is gone: was it the last of its object? */
static void released(const struct loader_obj *o)
{
	int err = 0;

	if (loader_active())
		store_release(loader_session(&err), o->kind, o->id);
}

EXPORT int close(int fd)
{
	struct loader_obj o;
	bool ours = loader_fd_take(fd, &o);
	long ret = sys_close(fd);

	if (ours)
		released(&o);
	return (int)result(ret);
}

/* A duplicate may replace a descriptor of ours. */
static int duplicated(int from, int to, long ret)
{
	struct loader_obj o;
	bool replaced = ret >= 0 && from != to && loader_fd_take((int)ret, &o);

	if (ret >= 0 && from != to)
		loader_fd_copy(from, (int)ret);
	if (replaced)
		released(&o);
	return (int)result(ret);
}

EXPORT int dup(int fd)
{
	return duplicated(fd, -1, sys_call1(SYS_dup, fd));
}

EXPORT int dup2(int fd, int to)
{
	return duplicated(fd, to, sys_call2(SYS_dup2, fd, to));
}

EXPORT int dup3(int fd, int to, int flags)
{
	return duplicated(fd, to, sys_call3(SYS_dup3, fd, to, flags));
}

EXPORT int fcntl(int fd, int cmd, ...)
{
	long arg, ret;
	va_list ap;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	ret = sys_call3(SYS_fcntl, fd, cmd, arg);
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		return duplicated(fd, -1, ret);
	return (int)result(ret);
}

EXPORT int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return fcntl(fd, cmd, arg);
}

/* Maps are charged as shared memory, not as locked memory: wishes for more are granted unheard. */
EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	long ret = sys_call4(SYS_prlimit64, 0, (long)resource, (long)limit, 0);

	if (ret == -EPERM && resource == RLIMIT_MEMLOCK)
		ret = 0;
	return (int)result(ret);
}

EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
	return setrlimit(resource, (const struct rlimit *)limit); /* the same on 64-bit machines */
}

/* The files libbpf reads to open uprobes, as this kernel would show them. */
static const struct {
	const char *path, *text;
} files[] = {
	{"/sys/bus/event_source/devices/uprobe/type", "1000\n"},
	{"/sys/bus/event_source/devices/uprobe/format/retprobe", "config:0\n"},
	{"/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset", "config:32-63\n"},
};

/* A descriptor with the file's text; -1: not one of these. */
static int open_ours(const char *path)
{
	for (size_t i = 0; path && i < ARRAY_SIZE(files); i++) {
		const char *text = files[i].text;
		int fd;

		if (strcmp(path, files[i].path))
			continue;
		fd = (int)syscall(SYS_memfd_create, "limpet-sysfs", 1 /* close on exec */);
		if (fd < 0)
			return -1;
		if (sys_pwrite(fd, text, strlen(text), 0) != (long)strlen(text)) {
			sys_close(fd);
			return -1;
		}
		return fd;
	}
	return -1;
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
	int fd = open_ours(path), flags = O_RDONLY;

	if (fd >= 0)
		return fdopen(fd, "r");
	if (*mode != 'r')
		flags = O_WRONLY | O_CREAT | (*mode == 'w' ? O_TRUNC : O_APPEND);
	if (strchr(mode, '+'))
		flags = (flags & ~O_WRONLY) | O_RDWR;
	if (strchr(mode, 'e'))
		flags |= O_CLOEXEC;
	if (strchr(mode, 'x'))
		flags |= O_EXCL;
	fd = (int)result(sys_openat(AT_FDCWD, path, flags, 0666));
	return fd < 0 ? NULL : fdopen(fd, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode)
{
	return fopen(path, mode);
}
