/* SPDX-License-Identifier: MIT */
/*
 * BPF_BTF_LOAD, and the kernel's own types as an object: tools that look for the BTF named vmlinux among the ids
 * find LOADER_BTF_VMLINUX behind all others. Whoever opens it gets an object made for the occasion, which
 * goes when it is closed.
 */
#include "loader/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loader/attr.h"
#include "loader/btf.h"
#include "loader/files.h"
#include "loader/log.h"

#define BTF_MAX_SIZE (16u << 20)
#define VMLINUX_PATH "/sys/kernel/btf/vmlinux"

static long store_btf(struct store *s, const void *blob, u32 len)
{
	struct btf_file *f;
	u64 size;
	u32 id;
	int err = 0, fd = store_new(s, OBJ_BTF, PAGE_SIZE + ALIGN_UP((u64)len, PAGE_SIZE), &id);

	if (fd < 0)
		return fd;
	f = store_map_fd(fd, true, &size, &err);
	if (!f) {
		close(fd);
		return err;
	}
	store_head(&f->head, OBJ_BTF, id, size);
	f->data_off = PAGE_SIZE;
	f->data_size = len;
	memcpy((char *)f + PAGE_SIZE, blob, len);
	munmap(f, size);
	return loader_fd_add(store_publish_as(s, OBJ_BTF, id, fd, O_RDONLY), OBJ_BTF, id);
}

static int check(const void *blob, u32 size)
{
	struct btf b;
	int err = btf_read(&b, blob, size);

	if (err)
		return err;
	err = btf_check(&b);
	btf_close(&b);
	return err;
}

long loader_btf_load(const struct loader_call *c, union bpf_attr *a)
{
	struct loader_log log;
	void *blob;
	long ret;

	if (((union attr_more *)a)->btf_load.flags)
		return -EINVAL;
	if (a->btf_size > BTF_MAX_SIZE)
		return -E2BIG;
	ret = log_init(&log, a->btf_log_level, a->btf_log_buf, a->btf_log_size);
	if (ret)
		return ret;
	blob = malloc((size_t)a->btf_size + 1);
	ret = !blob ? -ENOMEM : user_read(blob, a->btf, a->btf_size);
	if (!ret) {
		ret = check(blob, a->btf_size);
		if (ret)
			bpf_log(&log.text, "BTF is not well formed\n");
		ret = log_finish(&log, c, offsetof(union attr_more, btf_load.log_true_size), ret);
	}
	log_free(&log);
	if (!ret)
		ret = store_btf(c->store, blob, a->btf_size);
	free(blob);
	return ret;
}

/* The object has no bytes: who only asks for its name, as most do, does not wait for megabytes. */
static long store_vmlinux(struct store *s, u64 len)
{
	struct btf_file *f;
	u64 size;
	u32 id;
	int err = 0, fd = store_new(s, OBJ_BTF, PAGE_SIZE, &id);

	if (fd < 0)
		return fd;
	f = store_map_fd(fd, true, &size, &err);
	if (!f) {
		close(fd);
		return err;
	}
	store_head(&f->head, OBJ_BTF, id, size);
	f->data_off = PAGE_SIZE;
	f->data_size = (u32)len;
	f->kernel_btf = 1;
	strcpy(f->name, "vmlinux");
	munmap(f, size);
	return loader_fd_add(store_publish_as(s, OBJ_BTF, id, fd, O_RDONLY), OBJ_BTF, id);
}

static int open_vmlinux(void)
{
	char buf[FILES_PATHMAX];

	return open(files_path(VMLINUX_PATH, buf), O_RDONLY | O_CLOEXEC);
}

long loader_btf_vmlinux(struct store *s)
{
	int fd = open_vmlinux();
	struct stat st;
	long ret = -ENOENT;

	if (fd < 0)
		return ret;
	if (!fstat(fd, &st) && st.st_size > 0 && st.st_size < 1 << 28)
		ret = store_vmlinux(s, (u64)st.st_size);
	close(fd);
	return ret;
}

long loader_btf_vmlinux_read(u64 to, u32 size)
{
	const void *bytes;
	size_t there;
	int err = size ? btf_map_kernel(size, &bytes, &there) : 0;

	if (err || !size)
		return err;
	err = there == size ? user_write(to, bytes, size) : -EIO; /* it was longer when it was opened */
	munmap((void *)bytes, there);
	return err;
}
