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

int btf_open_kernel(struct btf *ret)
{
	char buf[FILES_PATHMAX];
	int fd = open(files_path(BTF_PATH, buf), O_RDONLY | O_CLOEXEC), err;
	size_t got = 0;
	struct stat st;
	u8 *blob;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || st.st_size <= 0 || st.st_size > BTF_MAX) {
		close(fd);
		return -EINVAL;
	}
	blob = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	for (ssize_t n = 1;
	     blob != MAP_FAILED && n > 0 && got<(size_t)st.st_size; got += n> 0 ? (size_t)n : 0)
		n = read(fd, blob + got, (size_t)st.st_size - got);
	close(fd);
	if (blob == MAP_FAILED)
		return -ENOMEM;
	err = btf_read(ret, blob, (u32)got);
	if (err) {
		munmap(blob, (size_t)st.st_size);
		return err;
	}
	ret->map = blob;
	ret->map_size = (u64)st.st_size;
	return 0;
}
