/* SPDX-License-Identifier: MIT */
/* Maps for tests: a map in anonymous shared memory, and its twin in the kernel. */
#ifndef LIMPET_TESTS_MAPS_COMMON_H
#define LIMPET_TESTS_MAPS_COMMON_H

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "maps/map.h"
#include "../check.h"

/* Buffers have memory that is mapped twice, which needs a file. */
static inline int test_map_banks(struct map *m, void *base)
{
	int fd = (int)syscall(__NR_memfd_create, "map", 0), err = -EINVAL;

	if (fd >= 0 && !ftruncate(fd, (off_t)m->file_size) &&
	    mmap(base, m->file_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED)
		err = map_create(m, base, 1);
	if (!err)
		err = map_alias(m, fd);
	close(fd);
	return err;
}

static inline int test_map_define(struct map *m, const struct map_def *def)
{
	void *base;
	int err = map_layout(m, def);

	if (err)
		return err;
	/* a page that nobody may touch on either side */
	base = mmap(NULL, m->file_size + 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base != MAP_FAILED)
		base = mmap((u8 *)base + PAGE_SIZE, m->file_size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	map_owner_make();
	if (m->bank_count)
		return test_map_banks(m, base);
	return map_create(m, base, 1);
}

static inline int test_map_make(struct map *m, u32 type, u32 key, u32 value, u32 entries, u32 flags)
{
	struct map_def def = {.type = type, .key_size = key, .value_size = value, .max_entries = entries,
			      .flags = flags};

	return test_map_define(m, &def);
}

static inline void test_map_free(struct map *m)
{
	munmap(m->base - PAGE_SIZE, m->file_size + 2 * PAGE_SIZE);
}

static inline int kernel_bpf(int cmd, union bpf_attr *attr)
{
	long ret = syscall(__NR_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : (int)ret;
}

/* A kernel map's fd, or -errno. */
static inline int kernel_map(u32 type, u32 key, u32 value, u32 entries, u32 flags)
{
	union bpf_attr attr = {.map_type = type, .key_size = key, .value_size = value,
			       .max_entries = entries, .map_flags = flags};

	return kernel_bpf(BPF_MAP_CREATE, &attr);
}

static inline u32 test_random(u64 *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(*state >> 33);
}

#endif
