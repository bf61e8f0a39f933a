/* SPDX-License-Identifier: MIT */
/*
 * Arrays whose elements are the kernel's pages (struct map_meta): found by the number that the map's file has for
 * them. That number is whoever's who may write the file, so it counts in files of one's own only, and for an array
 * of the same shape.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "store/store.h"

static int read_meta(int file, struct map_meta *ret)
{
	struct stat st;

	if (fstat(file, &st))
		return -errno;
	if (st.st_uid != geteuid())
		return -EPERM;
	return st.st_size < (off_t)MAP_META_SIZE ||
			       pread(file, ret, sizeof(*ret), st.st_size - (off_t)MAP_META_SIZE) != sizeof(*ret)
		       ? -EINVAL
		       : 0;
}

static bool fits(int fd, const struct map_def *def)
{
	struct bpf_map_info info = {0};
	union bpf_attr a = {.info = {.bpf_fd = (u32)fd, .info_len = sizeof(info), .info = (u64)&info}};

	return !syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)) && info.type == BPF_MAP_TYPE_ARRAY &&
	       info.map_flags & BPF_F_MMAPABLE && info.value_size == def->value_size &&
	       info.max_entries == def->max_entries && !strncmp(info.name, def->name, sizeof(info.name));
}

int store_pages(int file)
{
	struct map_meta meta;
	union bpf_attr a = {0};
	int fd, err = read_meta(file, &meta);

	if (err)
		return err;
	if (!atomic_load(&meta.kernel_pages))
		return -ENOENT;
	a.map_id = atomic_load(&meta.kernel_id);
	fd = (int)syscall(SYS_bpf, BPF_MAP_GET_FD_BY_ID, &a, sizeof(a));
	if (fd < 0)
		return -errno;
	if (fits(fd, &meta.def))
		return fd;
	close(fd);
	return -EINVAL;
}

int store_take_pages(struct map *m, int file)
{
	int fd, err;

	if (!atomic_load(&m->meta->kernel_pages))
		return 0;
	fd = store_pages(file);
	if (fd < 0)
		return fd;
	err = map_take_pages(m, fd);
	close(fd);
	return err;
}
