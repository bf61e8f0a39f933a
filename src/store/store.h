/* SPDX-License-Identifier: MIT */
/*
 * The hosted side of a session (session/layout.h): opening its directory, creating, holding,
 * listing and collecting objects, and telling keepers that something changed.
 *
 * A descriptor from store_publish() or store_hold() carries the OFD lock that keeps its object
 * alive, until the last duplicate of it and the last mapping through it are gone. store_peek()
 * gives one without the lock, for looking and for mappings that must keep nothing alive. All
 * descriptors are O_CLOEXEC. Functions return 0, a descriptor or a count, or -errno.
 */
#ifndef LIMPET_STORE_STORE_H
#define LIMPET_STORE_STORE_H

#include "maps/map.h"
#include "session/layout.h"

struct store {
	int dir_fd;
	struct session_file *file; /* mapped shared */
	char path[SESSION_PATH_MAX];
};

#define STORE_CREATE BIT(0) /* make the directory and session file where they are missing */
#define STORE_OWN    BIT(1) /* refuse another user's, to root too: nobody named this directory */

/*
 * The directory of session `name` (NULL: "default"): $LIMPET_SESSION_DIR when `name` is NULL and
 * the variable is set, else ${LIMPET_DIR:-/dev/shm/limpet-<uid>}/<name> (in /tmp where /dev/shm is
 * missing or may not be written). -EINVAL for a name with a slash or a leading dot, -ENAMETOOLONG.
 */
int store_path(const char *name, char *ret_path, size_t size);

/*
 * -ENOENT: no such session (without STORE_CREATE). -EPERM: the directory (or the one it lies in)
 * belongs to somebody else or others may write it. -EPROTO: another layout version. -EINVAL: not a
 * session file.
 */
int store_open(struct store *ret, const char *name, u32 flags);
int store_open_path(struct store *ret, const char *path, u32 flags);
void store_close(struct store *s);

/*
 * From here on the process outlives that files of the session in `dir` (resolved) are truncated while it
 * has them mapped: it finds zeros. A handler for SIGBUS, which calls the process's own for all else. It does nothing for
 * threads that block SIGBUS; the calling one does not from here on. store_open() calls it.
 *
 * store_sigbus() is sigaction(SIGBUS) as the process means it while that handler is there: 0 or -errno, -ENOENT: it is not.
 */
struct sigaction;
void store_catch_faults(const char *dir);
bool store_catches_faults(void);
int store_sigbus(const struct sigaction *set, struct sigaction *ret_old);
bool store_is_fault_handler(const struct sigaction *a);

const char *store_kind_prefix(enum object_kind kind); /* "bpf-map", ... */

/*
 * Makes an object: store_new() gives a nameless, zeroed file of `size` bytes with its memory
 * reserved, and an id; the caller fills it; store_publish() names it and returns the held
 * descriptor, closing `fd`. Give up with close(fd). -ENOMEM when there is no room.
 */
int store_new(struct store *s, enum object_kind kind, u64 size, u32 *ret_id);
/* The same for a map that map_layout() has laid out: memory for what map_backed() lists. */
int store_new_map(struct store *s, const struct map *m, u32 *ret_id);
int store_publish(struct store *s, enum object_kind kind, u32 id, int fd);
int store_publish_as(struct store *s, enum object_kind kind, u32 id, int fd, int access_mode);

/* Fills the common head of every object but maps. */
void store_head(struct object_header *ret, enum object_kind kind, u32 id, u64 file_size);

int store_hold(struct store *s, enum object_kind kind, u32 id); /* -ENOENT */
int store_hold_as(struct store *s, enum object_kind kind, u32 id,
		  int access_mode); /* O_RDONLY, ... */
int store_hold_fd(int fd);          /* a descriptor the caller opened on an object's file */
int store_peek(struct store *s, enum object_kind kind, u32 id); /* O_RDWR, -ENOENT */

/* Maps a whole file; NULL and *ret_err on failure. munmap(p, *ret_size) ends it. */
void *store_map_fd(int fd, bool writable, u64 *ret_size, int *ret_err);

/*
 * Maps an object without holding it and checks its head: magic, version, kind, sizes. For kinds
 * other than OBJ_MAP (maps: map_open() does the checking).
 */
void *store_map_object(struct store *s, enum object_kind kind, u32 id, u64 *ret_size, int *ret_err);

/* Ascending ids. Returns how many there are, of which at most `max` are stored. */
int store_list(struct store *s, enum object_kind kind, u32 *ret_ids, u32 max);

/* Which object a descriptor is open on: 0, or -EINVAL when it is none of this session. */
int store_identify(struct store *s, int fd, enum object_kind *ret_kind, u32 *ret_id);
/* The same for one that is thought to be that object, without looking for its name. */
struct stat;
bool store_is_object(struct store *s, const struct stat *st, enum object_kind kind, u32 id);

/* `from` refers to `to` and keeps it, until it goes. After publishing `from`, while holding both. */
int store_ref(struct store *s, enum object_kind from, u32 from_id, enum object_kind to, u32 to_id);

/* The same ended, and the referent released. */
int store_unref(struct store *s, enum object_kind from, u32 from_id, enum object_kind to, u32 to_id);

/* Calls fn for each object that one refers to. */
typedef void store_ref_fn(enum object_kind kind, u32 id, void *arg);
void store_refs(struct store *s, enum object_kind from, u32 from_id, store_ref_fn *fn, void *arg);

/*
 * Removes the object if nobody holds, pins or refers to it, and then what it alone referred to;
 * links stop (live = 0) before they go. For the one whose descriptor was just closed. Returns how
 * many objects went; the generation has then been bumped.
 */
int store_release(struct store *s, enum object_kind kind, u32 id);
int store_collect(struct store *s); /* the same for the whole session */

/*
 * Pins (bpffs/ of the session). `path` is the file's own, under the session; `tool_path` what the
 * tool called it. store_pin() needs the object held. store_pin_object(): which object a pin is,
 * -EACCES when it is none. store_pins(): calls fn for each, returns how many.
 */
struct store_pin {
	const char *path, *tool_path;
	enum object_kind kind;
	u32 id;
};
typedef void store_pin_fn(const struct store_pin *pin, void *arg);
int store_pin(struct store *s, enum object_kind kind, u32 id, const char *path);
int store_pin_object(struct store *s, const char *path, enum object_kind *ret_kind, u32 *ret_id);
int store_unpin(struct store *s, const char *path);
int store_move_pin(struct store *s, const char *from, const char *to, u32 flags); /* as renameat2(2), directories too */
int store_pins(struct store *s, store_pin_fn *fn, void *arg);

/*
 * Arrays with the kernel's pages (struct map_meta). store_pages(): the kernel's map, for a map's file: a descriptor,
 * -ENOENT (it has pages of its own), -EPERM (another user's file). store_take_pages(): puts them into a map just opened,
 * if it is one.
 */
int store_pages(int file);
int store_take_pages(struct map *m, int file);

/* The trace log, mapped for good (ret NULL: only made sure of). -ENOENT without `create`. */
struct trace_log;
int store_trace(struct store *s, bool create, struct trace_log **ret);

/*
 * Ids of a process's control groups in the unified hierarchy, the root's first; how many, or -ENOENT where
 * they cannot be told. store_cgroup_of_fd(): of a directory, -EBADF.
 */
int store_cgroups(int pid, u64 *ret_ids, u32 max);
int store_cgroup_of_fd(int fd, u64 *ret_id);

void store_changed(struct store *s); /* generation + 1, wakes all keepers */
/* Waits until the generation is not `seen`; timeout_ms < 0: for ever. -ETIMEDOUT, -EINTR. */
int store_wait(struct store *s, u32 seen, int timeout_ms);

/* Registers a process as a tool (idempotent); -ENOSPC when the table is full. */
int store_tool_add(struct store *s, u32 pid);
/* Pids of tools that are alive; clears the entries of the dead. Returns the number stored. */
int store_tools(struct store *s, u32 *ret_pids, u32 max);

#endif
