/* SPDX-License-Identifier: MIT */
/*
 * The bpf(2) and perf_event_open(2) emulator of a tool. One session a process, opened at the first
 * call. Descriptors are real files of the session; what is remembered about them here is a cache,
 * dropped when a number is closed or replaced. Functions return what the system call would, with
 * errors as -errno.
 */
#ifndef LIMPET_LOADER_LOADER_H
#define LIMPET_LOADER_LOADER_H

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include "maps/map.h"
#include "store/store.h"

#define LOADER_FDS       65536 /* numbers above are served too, uncached */
#define LOADER_ENOTSUPP  524   /* the kernel's internal ENOTSUPP, which bpf(2) lets out */
#define LOADER_PERF_TYPE 1000  /* our "uprobe" event source; the kernel numbers its own from 0 */

extern HIDDEN struct map *_Atomic loader_fd_map[LOADER_FDS];
extern HIDDEN _Atomic u8 loader_fd_kind[LOADER_FDS]; /* enum object_kind + 1; 0: not ours */

HIDDEN struct store *loader_store(int *ret_err); /* opens on demand; NULL: *ret_err */
HIDDEN bool loader_active(void);

/* > 0 while the shim itself maps a session file: its interposed mmap lets that through. */
extern _Thread_local int loader_inside;

/* fd table */
HIDDEN int loader_fd_add(int fd, enum object_kind kind); /* passes fd (or an error) through */
HIDDEN void loader_fd_forget(int fd);
HIDDEN void loader_fd_copy(int from, int to);
/* The object behind fd: -EBADF for a closed one, -EINVAL for another kind of file. */
HIDDEN int loader_fd_object(int fd, enum object_kind kind, u32 *ret_id);
HIDDEN struct map *loader_map_by_fd(int fd, int *ret_err); /* valid for the life of the process */

HIDDEN long loader_bpf(int cmd, union bpf_attr *attr, unsigned int size);
HIDDEN int loader_copy_name(char dst[16], const char src[16]);

/* bpf(2) commands; attr is a zero-extended private copy, uattr the caller's */
typedef long loader_cmd(struct store *s, union bpf_attr *attr, union bpf_attr *uattr);
HIDDEN loader_cmd loader_map_create, loader_map_elem_lookup, loader_map_elem_update,
	loader_map_elem_delete, loader_map_next_key, loader_map_lookup_delete, loader_map_freeze,
	loader_prog_load, loader_prog_test_run, loader_btf_load, loader_link_create,
	loader_link_update, loader_link_detach, loader_obj_info, loader_map_fd_by_id,
	loader_prog_fd_by_id, loader_btf_fd_by_id, loader_link_fd_by_id, loader_map_next_id,
	loader_prog_next_id, loader_btf_next_id, loader_link_next_id, loader_obj_pin;

/* perf events; -LOADER_PASS: not ours, the kernel shall answer */
#define LOADER_PASS 4000
HIDDEN long loader_event_open(const struct perf_event_attr *attr, s32 pid, s32 cpu, int group,
			      u64 flags);
HIDDEN long loader_event_ioctl(int fd, unsigned long request, unsigned long arg);
HIDDEN int loader_link_add(struct store *s, enum link_type type, u32 prog, u32 event, u64 cookie);

#endif
