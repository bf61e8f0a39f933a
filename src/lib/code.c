/* SPDX-License-Identifier: MIT */
/*
 * Memory for compiled code, never writable and executable at once. A sealed memfd where that is
 * possible: its pages are executable from the start and written through the descriptor, so that it
 * works under PR_SET_MDWE too. Else anonymous memory that is written and then made executable.
 */
#include "lib/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

static int open_memory(size_t size)
{
	int fd = memfd_create("limpet-code", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create("limpet-code", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd >= 0 && ftruncate(fd, (off_t)size)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool write_all(int fd, const u8 *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t w = pwrite(fd, p + done, n - done, (off_t)done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return false;
		done += (size_t)w;
	}
	return !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
}

/* Compiles for `at` into `buf`; the bytes of code or -errno. */
static long compile_at(const struct vm_program *prog, u8 *buf, size_t size, void *at)
{
	void *scratch = malloc(vm_jit_scratch(prog));
	long len = scratch ? vm_jit(prog, buf, size, (u64)at, scratch) : -ENOMEM;

	free(scratch);
	return len;
}

static long compile_file(struct limpet_vm *vm, u8 *buf, size_t size)
{
	int fd = open_memory(size);
	void *at =
		fd < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	long len = -EACCES;

	if (at != MAP_FAILED) {
		len = compile_at(&vm->prog, buf, size, at);
		if (len > 0 && !write_all(fd, buf, (size_t)len))
			len = -EACCES;
		if (len > 0)
			vm->code = at;
		else
			munmap(at, size);
	}
	if (fd >= 0)
		close(fd);
	return len;
}

static long compile_anonymous(struct limpet_vm *vm, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long len;

	if (at == MAP_FAILED)
		return -ENOMEM;
	len = compile_at(&vm->prog, at, size, at);
	if (len > 0 && mprotect(at, size, PROT_READ | PROT_EXEC))
		len = -EACCES;
	if (len > 0)
		vm->code = at;
	else
		munmap(at, size);
	return len;
}

int lib_compile(struct limpet_vm *vm)
{
	long len = vm_jit(&vm->prog, NULL, 0, 0, NULL);
	size_t size;
	u8 *buf;

	if (len <= 0)
		return len ? (int)len : -EINVAL;
	size = ALIGN_UP((size_t)len + 64, PAGE_SIZE);
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	len = compile_file(vm, buf, size);
	free(buf);
	if (len == -EACCES)
		len = compile_anonymous(vm, size);
	if (len <= 0)
		return len ? (int)len : -EINVAL;
	vm->code_size = size;
	vm->entry = (vm_entry *)(u64)vm->code;
	return 0;
}

void lib_free_code(struct limpet_vm *vm)
{
	if (vm->code)
		munmap(vm->code, vm->code_size);
}
