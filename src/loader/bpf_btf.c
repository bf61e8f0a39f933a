/* SPDX-License-Identifier: MIT */
/* BPF_BTF_LOAD. The header is checked; types are read by whoever shows them. */
#include "loader/loader.h"

#include <errno.h>
#include <linux/btf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BTF_MAX_SIZE (16u << 20)

static int check_btf(const struct btf_header *h, u32 size)
{
	if (size < sizeof(*h) || h->magic != BTF_MAGIC || h->version != BTF_VERSION || h->flags ||
	    h->hdr_len < sizeof(*h) || h->hdr_len > size)
		return -EINVAL;
	if ((u64)h->hdr_len + h->type_off + h->type_len > size ||
	    (u64)h->hdr_len + h->str_off + h->str_len > size || !h->str_len)
		return -EINVAL;
	return 0;
}

long loader_btf_load(struct store *s, union bpf_attr *a, union bpf_attr *u)
{
	struct btf_file *f;
	u64 size;
	u32 id;
	int fd, err;

	if (!a->btf)
		return -EFAULT;
	if (a->btf_size > BTF_MAX_SIZE)
		return -E2BIG;
	err = check_btf((const struct btf_header *)a->btf, a->btf_size);
	if (err)
		return err;
	fd = store_new(s, OBJ_BTF, PAGE_SIZE + ALIGN_UP((u64)a->btf_size, PAGE_SIZE), &id);
	if (fd < 0)
		return fd;
	f = store_map_fd(fd, true, &size, &err);
	if (!f) {
		close(fd);
		return err;
	}
	store_head(&f->head, OBJ_BTF, id, size);
	f->data_off = PAGE_SIZE;
	f->data_size = a->btf_size;
	memcpy((char *)f + PAGE_SIZE, (void *)a->btf, a->btf_size);
	munmap(f, size);
	return loader_fd_add(store_publish(s, OBJ_BTF, id, fd), OBJ_BTF);
}
