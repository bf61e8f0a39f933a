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
#include <sys/types.h>
#include "loader/user.h"
#include "maps/map.h"
#include "store/store.h"

#define LOADER_FDS       65536 /* numbers above are served too, uncached */
#define LOADER_ENOTSUPP  524   /* the kernel's internal ENOTSUPP, which bpf(2) lets out */
#define LOADER_PERF_TYPE 1000  /* our "uprobe" event source; the kernel numbers its own from 0 */

/* The map behind a descriptor that may read and write, once it was used, if it holds no objects: the fast
 * way to it. */
extern HIDDEN struct map *_Atomic loader_fd_map[LOADER_FDS];

/* An object as a descriptor names it. */
struct loader_obj {
	enum object_kind kind;
	u32 id;
	int mode; /* O_RDONLY, O_WRONLY or O_RDWR: what the descriptor allows on maps */
};

HIDDEN struct store *loader_store(int *ret_err);   /* opens on demand; NULL: *ret_err */
HIDDEN struct store *loader_session(int *ret_err); /* the same without becoming a tool */
HIDDEN bool loader_active(void);

/* > 0 while the emulator works: what it calls of libc must not be taken for calls of the tool. */
extern _Thread_local int loader_inside;

/* fd table */
HIDDEN int loader_fd_add(int fd, enum object_kind kind,
			 u32 id); /* passes fd (or an error) through */
HIDDEN bool loader_fd_take(int fd,
			   struct loader_obj *ret); /* forgets fd; true if it was an object */
HIDDEN bool loader_fd_known(int fd, struct loader_obj *ret); /* without asking the kernel */
HIDDEN u32 loader_fd_end(void);                             /* from here on none is known */
HIDDEN void loader_fd_copy(int from, int to);
/* The object behind fd: -EBADF for a closed one, -EINVAL for another kind of file. */
HIDDEN int loader_fd_any(int fd, struct loader_obj *ret);
HIDDEN int loader_fd_object(int fd, enum object_kind kind, u32 *ret_id);
/* `ret_mode` may be NULL. The map is valid for the life of the process. */
HIDDEN struct map *loader_map_by_fd(int fd, int *ret_mode, int *ret_err);
HIDDEN struct map *loader_map_by_id(u32 id, int *ret_err);
HIDDEN void loader_fd_slow(struct map *m); /* no fast way to it from now on */
HIDDEN struct map *loader_known_map(u32 id); /* NULL: this process has not used it */
HIDDEN void loader_maps_each(void (*fn)(struct map *m, void *arg), void *arg);

HIDDEN long loader_bpf(int cmd, union bpf_attr *attr, unsigned int size);
HIDDEN int loader_copy_name(char dst[16], const char src[16]);

/*
 * What of a bpf(2) call a command sees: attr is a private copy, zero-extended; u is the caller's.
 */
struct loader_call {
	struct store *store;
	union bpf_attr *u;
	unsigned int cmd;
	unsigned int size;
};
typedef long loader_cmd(const struct loader_call *c, union bpf_attr *attr);
HIDDEN loader_cmd loader_map_create, loader_map_elem, loader_map_batch, loader_map_freeze,
	loader_map_fd_by_id, loader_prog_load, loader_prog_test_run, loader_btf_load,
	loader_link_create, loader_link_update, loader_link_detach, loader_obj_info,
	loader_fd_by_id, loader_next_id, loader_obj_pin, loader_obj_get, loader_prog_bind_map,
	loader_task_fd_query, loader_enable_stats, loader_raw_tracepoint_open, loader_iter_create,
	loader_refuse;

/* O_RDONLY, O_WRONLY or O_RDWR for BPF_F_RDONLY, BPF_F_WRONLY or none; -EINVAL for both */
/* The id under which the kernel's own BTF is found, and a descriptor of it. */
#define LOADER_BTF_VMLINUX 0x7ffffffeu
HIDDEN long loader_btf_vmlinux(struct store *s);
/* Its first `size` bytes, to the caller's memory. */
HIDDEN long loader_btf_vmlinux_read(u64 to, u32 size);
HIDDEN int loader_open_mode(u32 flags);
HIDDEN int loader_open_object(struct store *s, enum object_kind kind, u32 id,
			      int mode); /* a held fd */

/* mmap() on a descriptor of ours; -LOADER_PASS when it is not one */
HIDDEN long loader_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);

/* The same before another process maps a map itself, by the descriptor it has: 0 or -errno. */
HIDDEN int loader_mmap_theirs(int fd, size_t len, int prot, int flags, off_t off);

/* perf events; -LOADER_PASS: not ours, the kernel shall answer */
#define LOADER_PASS 4000
HIDDEN long loader_event_open(const struct perf_event_attr *attr, s32 pid, s32 cpu, int group,
			      u64 flags);
HIDDEN long loader_event_ioctl(int fd, unsigned long request, unsigned long arg);
HIDDEN long loader_munmap(void *addr, size_t len); /* of a ring; -LOADER_PASS: of nothing of ours */
/* One program, of type PERF_EVENT, on an event that runs it in the tool's process. */
HIDDEN int loader_event_prog(struct store *s, u32 event, u32 prog);
HIDDEN void loader_adopt_children(void); /* what this process starts from now on is a target */
HIDDEN void loader_clocks_after_fork(void); /* in a child that is a tool of its own now */
HIDDEN long loader_event_mmap(u32 id, void *addr, size_t len, int prot, int flags, off_t off);
/*
 * A program on a perf event, as a link that is held: it keeps the program and, as a perf link, the event. What
 * the event's kind says of the program; -EEXIST: the event, or the tracepoint, has it already.
 */
HIDDEN int loader_attach(struct store *s, enum link_type type, u32 event, u32 prog, u64 cookie,
			 u32 *ret_id);
HIDDEN int loader_claim_event(struct store *s, u32 event,
			      bool claim); /* -EEXIST: it has a program */

#endif
