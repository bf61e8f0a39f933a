/* SPDX-License-Identifier: MIT */
/* Rows on pins and mappings. The kernel's bpffs is mounted at /sys/fs/bpf in a mount namespace of the test. */
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)
#define PIN "/sys/fs/bpf/limpet_pin"

static long pin(struct side *s, union bpf_attr *a, const char *path, int fd)
{
	memset(a, 0, sizeof(*a));
	a->pathname = (u64)path;
	a->bpf_fd = (u32)fd;
	return s->bpf(BPF_OBJ_PIN, a, 16);
}

/* Gets the pin; what the descriptor is good for goes out. */
static long get(struct side *s, union bpf_attr *a, const char *path, u32 flags)
{
	memset(a, 0, sizeof(*a));
	a->pathname = (u64)path;
	a->file_flags = flags;
	long fd = s->bpf(BPF_OBJ_GET, a, 16);

	if (fd < 0)
		return fd;
	int mode = fcntl((int)fd, F_GETFL) & O_ACCMODE;

	oracle_out(s, &mode, 4);
	s->close((int)fd);
	return 1;
}

static long there_and_back(struct side *s, union bpf_attr *a, int fd, u32 flags)
{
	long r = pin(s, a, PIN, fd);

	if (!r)
		r = get(s, a, PIN, flags);
	s->unlink(PIN);
	return r;
}

ROW(pin_map) { return there_and_back(s, a, s->array, 0); }
ROW(pin_map_ro) { return there_and_back(s, a, s->array, BPF_F_RDONLY); }
ROW(pin_map_wo) { return there_and_back(s, a, s->array, BPF_F_WRONLY); }
ROW(pin_map_both) { return there_and_back(s, a, s->array, BPF_F_RDONLY | BPF_F_WRONLY); }
ROW(pin_map_flag) { return there_and_back(s, a, s->array, 1); }
ROW(pin_ro_map) { return there_and_back(s, a, s->readonly, 0); }
ROW(pin_prog) { return there_and_back(s, a, s->prog, 0); }
ROW(pin_prog_ro) { return there_and_back(s, a, s->prog, BPF_F_RDONLY); }
ROW(pin_link) { return there_and_back(s, a, s->link, 0); }
ROW(pin_link_ro) { return there_and_back(s, a, s->link, BPF_F_RDONLY); }
ROW(pin_btf) { return there_and_back(s, a, s->btf, 0); }
ROW(pin_event) { return there_and_back(s, a, s->event, 0); }
ROW(pin_pipe) { return there_and_back(s, a, s->pipe, 0); }
ROW(pin_closed) { return there_and_back(s, a, s->closed, 0); }
ROW(pin_null) { return pin(s, a, NULL, s->array); }
ROW(pin_bad) { return pin(s, a, (char *)bad_page, s->array); }
ROW(pin_empty) { return pin(s, a, "", s->array); }
ROW(pin_long) { memset(room, 'a', PATH_MAX + 10); return pin(s, a, (char *)room, s->array); }
ROW(pin_elsewhere) { return pin(s, a, "/tmp/limpet_pin", s->array); }
ROW(pin_existing) { return pin(s, a, "/etc/passwd", s->array); }
ROW(pin_no_dir) { return pin(s, a, "/sys/fs/bpf/none/x", s->array); }
ROW(pin_dot) { return pin(s, a, "/sys/fs/bpf/with.dot", s->array); }
ROW(pin_root) { return pin(s, a, "/sys/fs/bpf", s->array); }
ROW(pin_twice) { pin(s, a, PIN, s->array); long r = pin(s, a, PIN, s->queue); s->unlink(PIN); return r; }
ROW(pin_flags) { a->pathname = (u64)PIN; a->bpf_fd = (u32)s->array; a->file_flags = 1; return s->bpf(BPF_OBJ_PIN, a, 16); }
ROW(get_none) { return get(s, a, "/sys/fs/bpf/none", 0); }
ROW(get_dir) { return get(s, a, "/sys/fs/bpf", 0); }
ROW(get_file) { return get(s, a, "/etc/passwd", 0); }
ROW(get_no_file) { return get(s, a, "/etc/none", 0); }
ROW(get_null) { return get(s, a, NULL, 0); }
ROW(get_empty) { return get(s, a, "", 0); }
ROW(get_fd) { a->pathname = (u64)PIN; a->bpf_fd = 3; return s->bpf(BPF_OBJ_GET, a, 16); }

/* A pinned map lives on without its descriptor, and is gone after its pin. */
ROW(pin_keeps)
{
	u32 info[32] = {0}, id;
	long r;

	a->map_type = BPF_MAP_TYPE_ARRAY;
	a->key_size = 4;
	a->value_size = 8;
	a->max_entries = 1;
	int fd = (int)s->bpf(BPF_MAP_CREATE, a, sizeof(*a));

	memset(a, 0, sizeof(*a));
	a->info.bpf_fd = (u32)fd;
	a->info.info_len = 16;
	a->info.info = (u64)info;
	s->bpf(BPF_OBJ_GET_INFO_BY_FD, a, 16);
	id = info[1];
	pin(s, a, PIN, fd);
	s->close(fd);
	memset(a, 0, sizeof(*a));
	a->map_id = id;
	r = s->bpf(BPF_MAP_GET_FD_BY_ID, a, 12);
	oracle_out(s, &(u8){r >= 0}, 1);
	if (r >= 0)
		s->close((int)r);
	s->unlink(PIN);
	s->settle();
	memset(a, 0, sizeof(*a));
	a->map_id = id;
	return s->bpf(BPF_MAP_GET_FD_BY_ID, a, 12);
}

/* ---- mappings ---- */

static long try_map(struct side *s, int fd, unsigned long size, int prot, int flags, long off, int then_prot)
{
	void *p = s->mmap(fd, size, prot, flags, off);
	s32 again = 0;

	if ((u64)p > (u64)-4096)
		return (long)p;
	if (then_prot)
		again = mprotect(p, size, then_prot) ? -errno : 0;
	oracle_out(s, &again, 4);
	munmap(p, size);
	return 1;
}

ROW(map_rw) { return try_map(s, s->mappable, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0); }
ROW(map_ro) { return try_map(s, s->mappable, 8192, PROT_READ, MAP_SHARED, 0, 0); }
ROW(map_ro_then_rw) { return try_map(s, s->mappable, 8192, PROT_READ, MAP_SHARED, 0, PROT_READ | PROT_WRITE); }
ROW(map_rw_then_ro) { return try_map(s, s->mappable, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, 0, PROT_READ); }
ROW(map_exec) { return try_map(s, s->mappable, 8192, PROT_READ | PROT_EXEC, MAP_SHARED, 0, 0); }
ROW(map_private) { return try_map(s, s->mappable, 8192, PROT_READ, MAP_PRIVATE, 0, 0); }
ROW(map_page) { return try_map(s, s->mappable, 4096, PROT_READ, MAP_SHARED, 4096, 0); }
ROW(map_beyond) { return try_map(s, s->mappable, 8192, PROT_READ, MAP_SHARED, 4096, 0); }
ROW(map_large) { return try_map(s, s->mappable, 12288, PROT_READ, MAP_SHARED, 0, 0); }
ROW(map_small) { return try_map(s, s->mappable, 10, PROT_READ, MAP_SHARED, 0, 0); }
ROW(map_plain_array) { return try_map(s, s->array, 4096, PROT_READ, MAP_SHARED, 0, 0); }
ROW(map_queue) { return try_map(s, s->queue, 4096, PROT_READ, MAP_SHARED, 0, 0); }
ROW(map_prog) { return try_map(s, s->prog, 4096, PROT_READ, MAP_SHARED, 0, 0); }
ROW(map_link) { return try_map(s, s->link, 4096, PROT_READ, MAP_SHARED, 0, 0); }

static int new_mappable(struct side *s, union bpf_attr *a, u32 flags)
{
	memset(a, 0, sizeof(*a));
	a->map_type = BPF_MAP_TYPE_ARRAY;
	a->key_size = 4;
	a->value_size = 4096;
	a->max_entries = 1;
	a->map_flags = BPF_F_MMAPABLE | flags;
	return (int)s->bpf(BPF_MAP_CREATE, a, sizeof(*a));
}

static long freeze(struct side *s, union bpf_attr *a, int fd)
{
	memset(a, 0, sizeof(*a));
	a->map_fd = (u32)fd;
	return s->bpf(BPF_MAP_FREEZE, a, 4);
}

ROW(map_rdonly_fd) { int fd = new_mappable(s, a, BPF_F_RDONLY); long r = try_map(s, fd, 4096, PROT_READ, MAP_SHARED, 0, PROT_READ | PROT_WRITE); s->close(fd); return r; }
ROW(map_rdonly_fd_rw) { int fd = new_mappable(s, a, BPF_F_RDONLY); long r = try_map(s, fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0); s->close(fd); return r; }
ROW(map_wronly_fd) { int fd = new_mappable(s, a, BPF_F_WRONLY); long r = try_map(s, fd, 4096, PROT_WRITE, MAP_SHARED, 0, 0); s->close(fd); return r; }
ROW(map_rdonly_prog) { int fd = new_mappable(s, a, BPF_F_RDONLY_PROG); long r = try_map(s, fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0); s->close(fd); return r; }
ROW(map_frozen_rw) { int fd = new_mappable(s, a, 0); freeze(s, a, fd); long r = try_map(s, fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0); s->close(fd); return r; }
ROW(map_frozen_ro) { int fd = new_mappable(s, a, 0); freeze(s, a, fd); long r = try_map(s, fd, 4096, PROT_READ, MAP_SHARED, 0, PROT_READ | PROT_WRITE); s->close(fd); return r; }

/* Freezing with a mapping there: writable, made read-only since, never writable, gone. */
static long freeze_while(struct side *s, union bpf_attr *a, int prot, int then_prot, bool gone)
{
	int fd = new_mappable(s, a, 0);
	void *p = s->mmap(fd, 4096, prot, MAP_SHARED, 0);
	long r;

	if (then_prot)
		mprotect(p, 4096, then_prot);
	if (gone)
		munmap(p, 4096);
	r = freeze(s, a, fd);
	if (!gone)
		munmap(p, 4096);
	s->close(fd);
	return r;
}

ROW(freeze_mapped_rw) { return freeze_while(s, a, PROT_READ | PROT_WRITE, 0, false); }
ROW(freeze_mapped_was_rw) { return freeze_while(s, a, PROT_READ | PROT_WRITE, PROT_READ, false); }
ROW(freeze_mapped_ro) { return freeze_while(s, a, PROT_READ, 0, false); }
ROW(freeze_unmapped) { return freeze_while(s, a, PROT_READ | PROT_WRITE, 0, true); }

#define R(name_) {#name_, name_}
const struct row oracle_pin_rows[] = {
	R(pin_map), R(pin_map_ro), R(pin_map_wo), R(pin_map_both), R(pin_map_flag), R(pin_ro_map), R(pin_prog),
	R(pin_prog_ro), R(pin_link), R(pin_link_ro), R(pin_btf), R(pin_event), R(pin_pipe), R(pin_closed),
	R(pin_null), R(pin_bad), R(pin_empty), R(pin_long), R(pin_elsewhere), R(pin_existing), R(pin_no_dir),
	R(pin_dot), R(pin_root), R(pin_twice), R(pin_flags), R(get_none), R(get_dir), R(get_file), R(get_no_file),
	R(get_null), R(get_empty), R(get_fd), R(pin_keeps),
	{NULL, NULL},
};

const struct row oracle_mmap_rows[] = {
	R(map_rw), R(map_ro), R(map_ro_then_rw), R(map_rw_then_ro), R(map_exec), R(map_private), R(map_page),
	R(map_beyond), R(map_large), R(map_small), R(map_plain_array), R(map_queue), R(map_prog), R(map_link),
	R(map_rdonly_fd), R(map_rdonly_fd_rw), R(map_wronly_fd), R(map_rdonly_prog), R(map_frozen_rw),
	R(map_frozen_ro), R(freeze_mapped_rw), R(freeze_mapped_was_rw), R(freeze_mapped_ro), R(freeze_unmapped),
	{NULL, NULL},
};
