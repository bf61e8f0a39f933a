/* SPDX-License-Identifier: MIT */
/* The BTF of the kernel as tools see it: the running one's, or what limpet brings. */
#include "loader/btf.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loader/files.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define BTF_MAX  (1 << 28)

/* The kernel's file can be mapped since Linux 6.16; it gives 4096 bytes a read. One of the session's could shrink. */
static void *map_file(int fd, size_t size, bool kernels)
{
	void *p = kernels ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	size_t got = 0;
	ssize_t n = 1;

	if (p != MAP_FAILED)
		return p;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (; p != MAP_FAILED && n > 0 && got < size; got += n > 0 ? (size_t)n : 0)
		n = read(fd, (char *)p + got, size - got);
	if (p != MAP_FAILED && got < size) {
		munmap(p, size);
		p = MAP_FAILED;
	}
	return p == MAP_FAILED ? NULL : p;
}

int btf_map_kernel(size_t most, const void **ret, size_t *ret_size)
{
	char buf[FILES_PATHMAX];
	const char *path = files_path(BTF_PATH, buf);
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	struct stat st;
	size_t size = 0;
	void *p = NULL;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || st.st_size <= 0 || st.st_size > BTF_MAX)
		err = -EINVAL;
	if (!err) {
		size = (size_t)st.st_size < most ? (size_t)st.st_size : most;
		p = map_file(fd, size, path != buf);
		err = p ? 0 : -ENOMEM;
	}
	if (!err) {
		*ret = p;
		*ret_size = size;
	}
	close(fd);
	return err;
}

int btf_open_kernel(struct btf *ret)
{
	const void *blob;
	size_t size;
	int err = btf_map_kernel(BTF_MAX, &blob, &size);

	if (err)
		return err;
	err = btf_read(ret, blob, (u32)size);
	if (err) {
		munmap((void *)blob, size);
		return err;
	}
	ret->map = (void *)blob;
	ret->map_size = size;
	return 0;
}
