/* SPDX-License-Identifier: MIT */
/*
 * Maps: the operations table, the shared file and the process-local handle.
 *
 * A map is one file. Every process that uses it maps the whole file and works through a `struct
 * map` of its own, which holds validated copies of everything that never changes (sizes, counts,
 * offsets). What lies in the file may be spoilt at any time by a dying or hostile process; it is
 * checked in the inline function that turns an offset or index into a pointer.
 *
 *     file offset 0                 data_size          file_size - MAP_META_SIZE     file_size
 *     | what the kernel would mmap  | elements, rings, ... | struct map_meta, type area |
 *
 * Files above MAP_WHOLE_MAX get memory when it is used, an extent at a time (shm/extents.h), where the type
 * can do that (`sparse`): -ENOMEM then comes from the operation that needs it.
 *
 * data_size is 0 for types and flags that the kernel does not let user space mmap. Data and
 * metadata areas start on page boundaries. Arrays keep all elements in the data area, mappable
 * or not; there `mmapable` tells whether a tool may map it.
 *
 * Operations come in two flavours: from programs (inside targets, results as the kernel's helpers
 * give them) and from user space (as bpf(2) answers them, key and flag rules included). None
 * blocks. System calls are made only after a fork, when dead processes are looked for, and while
 * waiting for an execution slot (map_calls_by()).
 */
#ifndef LIMPET_MAPS_MAP_H
#define LIMPET_MAPS_MAP_H

#include <linux/bpf.h>
#include <stdatomic.h>
#include "base/types.h"
#include "shm/extents.h"
#include "shm/hand.h"
#include "shm/staging.h"

#define MAP_MAGIC          0x70616d7465706d6cULL /* "lmpetmap" */
#define MAP_LAYOUT_VERSION 7
#define MAP_META_SIZE      PAGE_SIZE
#define MAP_NAME_LEN       16
#define MAP_WHOLE_MAX      (64ULL << 20) /* larger files may get their memory piece by piece */

#define MAP_FIELD_TIMER BIT(0) /* struct bpf_timer */
#define MAP_FIELD_WQ    BIT(1) /* struct bpf_wq */

/* What the creator asked for; the fields of BPF_MAP_CREATE that outlive it. */
struct map_def {
	u32 type; /* BPF_MAP_TYPE_* */
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 flags; /* BPF_F_* */
	u32 numa_node;
	u64 map_extra;
	u32 btf_id; /* session id of the BTF object, 0: none */
	u32 btf_key_type_id;
	u32 btf_value_type_id;
	u32 cpus; /* per-CPU types: how many are possible; 0: map_layout() asks the system */
	u32 lock; /* where struct bpf_spin_lock is in a value, plus 1; 0: there is none */
	u32 fields; /* MAP_FIELD_*: what else its type says is in a value; only the verifier asks */
	char name[MAP_NAME_LEN];
};

/* Why an operation lost something or gave up; one counter per cause and map. */
enum map_stat {
	MAP_STAT_FULL,        /* rejected: the map was full */
	MAP_STAT_OVERWRITTEN, /* a queue or stack dropped its oldest element for BPF_EXIST */
	MAP_STAT_NO_ELEM,     /* no free element: all were in the hands of others */
	MAP_STAT_BUSY,        /* gave up after the bounded number of retries */
	MAP_STAT_COLLECTED,   /* elements taken back from dead processes */
	MAP_STAT_CORRUPT,     /* shared state that failed its check */
	MAP_STAT_EVICTED,     /* an LRU type gave up an old entry for a new one */
	MAP_STAT_ABSENT,      /* a program asked for an object the map names, which its process has not got */
	MAP_STAT_DROPPED,     /* records whose writer was stopped too long in the middle */
	MAP_STAT_ABANDONED,   /* records whose program ended, or died, without finishing them */
	MAP_STAT_NO_MEM,      /* no memory for another piece of a large map */
	MAP_STAT_NO_SLOT,     /* per-CPU types: all execution slots were taken */
	MAP_STAT_UNREAD,      /* perf output to an entry without an event, or whose event is off, elsewhere, or not mapped */
	MAP_STAT_COLLISION,   /* a stack's bucket had another stack */
	MAP_STATS,
	MAP_STAT_MAX = 16
};

/* At file_size - MAP_META_SIZE. Immutable after creation but for the atomics and type_area. */
struct map_meta {
	u64 magic;
	u32 layout_version;
	u32 id;
	struct map_def def;
	u64 data_size;
	u64 file_size;
	u64 created_ns;
	u64 pid_ns; /* inode of the creator's pid namespace, 0: not known */
	u32 uid;
	_Atomic u32 frozen;
	_Atomic u64 stat[MAP_STAT_MAX];
	_Alignas(64) u8 type_area[2048]; /* struct of the map type, cache-line aligned */
	_Atomic u64 extents[EXTENT_WORDS]; /* hints of shm/extents.h */
	_Atomic u64 overwritten[HAND_TICKETS]; /* MAP_STAT_OVERWRITTEN by ticket holders (shm/hand.h) */
	_Atomic u32 kernel_id; /* of the map beside it in the kernel, 0: there is none (loader/kernel.h) */
	/*
	 * 1: an array whose elements are the pages of that map, for programs on both sides. Whoever opens the
	 * map puts them over the file's data, which nobody uses. Set before others can know of the map.
	 */
	_Atomic u32 kernel_pages;
};
_Static_assert(sizeof(struct map_meta) <= MAP_META_SIZE, "map_meta must fit its page");

/* What the ids are that a map has for values (maps/refs.h). User space passes descriptors for them. */
enum map_holds { MAP_HOLDS_NOTHING, MAP_HOLDS_PROGS, MAP_HOLDS_MAPS, MAP_HOLDS_CGROUPS };

/* What maps that go into a map of maps have in common with its template. */
struct map_shape {
	u32 type, key_size, value_size, max_entries, flags;
};

struct map;

/* A walk over a map's entries (ops->each); zeroed at first. */
struct map_each {
	u32 slot;        /* in: the execution slot, per-CPU types */
	const void *key; /* of the entry: a copy in here, or where it lies when it is long */
	void *value;     /* where it lies */
	u64 at;
	_Alignas(8) u8 walk[352];
};

#define MAP_STACK_DEPTH 127u /* frames of a stack: kernel.perf_event_max_stack as it comes */

/* A call stack, as bpf_get_stackid() has unwound it. */
struct map_stack {
	const u64 *ips;
	u32 count;
	/* Writes count struct bpf_stack_build_id, for maps that keep those. */
	void (*name)(const struct map_stack *s, void *ret_frames);
	const void *env; /* name()'s own */
};

/* One row per map type. A NULL member answers -EOPNOTSUPP to programs, and to bpf(2) what map.c says. */
struct map_ops {
	const char *name; /* "hash", as bpftool prints it */
	bool fd_values;   /* user space passes descriptors: the emulator sets elements */

	/* The kernel's checks of a definition. Fills the geometry of *m (def is set); 0 or -errno. */
	int (*layout)(struct map *m);
	/* Lays out a fresh, zeroed file that is mapped at m->base. */
	int (*init)(struct map *m);
	/* Copies what never changes from the file into a handle just made or opened. May be NULL. */
	void (*bind)(struct map *m);

	/* From programs. */
	void *(*lookup)(struct map *m, const void *key);
	long (*update)(struct map *m, const void *key, const void *value, u64 flags);
	long (*remove)(struct map *m, const void *key);
	long (*push)(struct map *m, const void *value, u64 flags);
	long (*pop)(struct map *m, void *value);
	long (*peek)(struct map *m, void *value);

	/*
	 * The next entry for bpf_for_each_map_elem(); false at the end. Entries that are there throughout
	 * come exactly once, whatever the callback and others do meanwhile.
	 */
	bool (*each)(struct map *m, struct map_each *e);

	/* STACK_TRACE, from bpf_get_stackid(): stores a stack; its id, or as the kernel answers. */
	long (*stackid)(struct map *m, const struct map_stack *s, u64 flags);

	/*
	 * Per-CPU types, from programs, instead of lookup and update. lease() takes the execution slot
	 * of `cpu`, or another, for a run (shm/slot.h): its number, or -1 when there is none; *ret_word
	 * is to be given back by map_slot_release() when the run ends. `holds`: the run has leased from other
	 * maps, or tried to: it does not wait for long. The others work on that slot's value; lookup_cpu answers
	 * NULL for a CPU that is not possible.
	 */
	int (*lease)(struct map *m, u32 cpu, bool holds, _Atomic u32 **ret_word);
	void *(*lookup_cpu)(struct map *m, const void *key, u32 cpu);
	long (*update_cpu)(struct map *m, const void *key, const void *value, u64 flags, u32 cpu);

	/*
	 * From user space; key is NULL where the caller passed NULL. Values are whole (per-CPU
	 * types: one value, padded to 8, per possible CPU).
	 */
	int (*user_lookup)(struct map *m, const void *key, void *ret_value, u64 flags);
	int (*user_update)(struct map *m, const void *key, const void *value, u64 flags);
	int (*user_delete)(struct map *m, const void *key);
	int (*user_lookup_and_delete)(struct map *m, const void *key, void *ret_value, u64 flags);
	int (*user_next_key)(struct map *m, const void *key, void *ret_key);

	/*
	 * The next key and its value, for batches: behind `after` (NULL: from the start), which is looked at when
	 * *e is fresh, zeroed. Entries that are there throughout come exactly once. -ENOENT: at the end; -EBUSY;
	 * -EOPNOTSUPP: not with keys like these. NULL: by user_next_key and user_lookup.
	 */
	int (*user_walk)(struct map *m, struct map_each *e, const void *after, void *ret_key, void *ret_value, u64 flags);

	/* Before this process stops using the map, outside of its operations. May be NULL. */
	void (*leave)(struct map *m);

	/* Takes elements back that dead processes hold; returns how many. May be NULL. */
	u32 (*collect)(struct map *m, bool (*alive)(u32 owner));
};

/* A map as one process sees it. Filled by map_create() or map_open(), then read-only but for extents, hands and order. */
struct map {
	const struct map_ops *ops;
	struct map_def def;
	u8 *base;              /* the whole file, mapped shared */
	struct map_meta *meta; /* base + file_size - MAP_META_SIZE */
	u64 file_size;
	u64 data_size;
	bool mmapable;         /* BPF_F_MMAPABLE array */
	bool lru;              /* a hash that gives up old entries */
	u8 holds;              /* enum map_holds */
	struct map_shape inner; /* maps of maps: the template; set before map_create() */
	bool writable;         /* false: base is mapped read-only (frozen or RDONLY_PROG) */
	u32 id;
	u32 value_stride;      /* value_size rounded up to 8 */
	u32 elem_size;         /* bytes per element, header included */
	u32 elem_count;        /* elements in the file, spares included */
	u32 mask;              /* ring or bucket count - 1 */
	u32 cpus;              /* per-CPU types: values an entry has; 0 else */
	u64 elems_off;         /* file offset of the elements */
	u64 region_size;       /* bytes there that programs may reach; 0: elem_count * elem_size */
	u64 index_off;         /* file offset of the ring or the buckets */
	u64 marks_off;         /* file offset of the collector's marks (shm/pool.h), one an element */
	u64 bank_off;          /* buffers: file offset of the banks (shm/staging.h) */
	u64 bank_size;         /* of one; each is followed by as much that is the same memory again */
	u32 bank_count;
	bool aliased;          /* map_alias() has made it so */
	struct staging staging; /* ring buffers: size 0 until then */
	u64 extra[4];          /* the type's own */
	bool sparse;           /* memory comes piece by piece: `extents` tells; set by layout() where the type can */
	struct extents extents;
	struct hands hands; /* what the process's threads keep between operations */
	struct lpm_order *order; /* map_order_make() */
};

/* Does it hold objects of the session, and keep them? */
static inline bool map_holds_objects(const struct map *m)
{
	return m->holds == MAP_HOLDS_PROGS || m->holds == MAP_HOLDS_MAPS;
}

/* NULL when limpet has no such map type. */
const struct map_ops *map_ops_find(u32 type);

/*
 * The kernel's alloc_check for `def`. On success fills *m (geometry, file_size, data_size; base
 * NULL) and returns 0; else -EINVAL, -E2BIG, -ENOMEM as the kernel answers.
 */
int map_layout(struct map *m, const struct map_def *def);

/* Initialises a zeroed mapping of m->file_size bytes after map_layout(). */
int map_create(struct map *m, void *base, u32 id);

/*
 * Opens a mapping made by somebody else. Nothing in it is believed: the definition is read once,
 * laid out again and compared with the sizes. -EINVAL for anything that does not fit.
 */
int map_open(struct map *m, void *base, u64 size, bool writable);

/*
 * Buffer types: maps each bank's memory a second time behind itself. `fd`: the file that is mapped at
 * m->base, readable and writable. Whoever runs programs or a pump calls it; without it such maps take no
 * record. 0 or -errno; nothing to do for other types.
 */
int map_alias(struct map *m, int fd);

/* Puts the pages of the kernel's array over the elements. `fd`: of an array of the same shape, BPF_F_MMAPABLE. */
int map_take_pages(struct map *m, int fd);

/*
 * For who asks for next keys: a list of an LPM_TRIE's entries in order, in private memory, without which each next
 * key is searched among all entries. Nothing to do for other types; without memory it stays as it is.
 */
void map_order_make(struct map *m);
void map_order_free(struct map *m);
void map_order_forget(struct map *m); /* its memory only: somebody may be using it, and gets any answer */

/*
 * The n-th part of the file that takes memory from the start: 0, or -ENOENT. The rest is holes: what is
 * mapped over by map_alias(), and banks that map_reserve_bank() asks for when they are needed.
 */
int map_backed(const struct map *m, u32 n, u64 *ret_off, u64 *ret_size);

/*
 * Elements in the middle of an operation remember their process (shm/pool.h). `word` is where maps
 * keep this process's pid: zeroed, under MADV_WIPEONFORK. map_owner_make() makes one, for programs
 * that have none. NULL, or neither: every operation asks the kernel.
 */
void map_owner_at(_Atomic u32 *word);
void map_threads_known(bool by_fs); /* is %fs:0 every thread's pointer? Until then: no (shm/hand.h) */
void map_owner_make(void);

/*
 * For targets: asked before each of the system calls that maps make now and then. What happens without
 * them: shm/pool.h.
 */
enum map_call {
	MAP_CALL_KILL,
	MAP_CALL_GETPID,
	MAP_CALL_YIELD,
	MAP_CALL_STAT,
	MAP_CALL_FUTEX,
	MAP_CALL_RESERVE,
	MAP_CALL_CLOCK
};
void map_calls_by(bool (*may)(enum map_call call));

/*
 * What a program may reach by plain loads and stores, values included: [ret_start, ret_end) in
 * this process. The range never includes the metadata page.
 */
void map_region(const struct map *m, u64 *ret_start, u64 *ret_end);

/* Value of element 0 of an array (global data): where BPF_PSEUDO_MAP_VALUE points. NULL else. */
void *map_direct_value(const struct map *m);

/* Gives back what ops->lease() took. */
void map_slot_release(_Atomic u32 *word);

/* How often: all counters of that cause together. */
static inline u64 map_stat(const struct map_meta *meta, enum map_stat s)
{
	u64 n = atomic_load_explicit(&meta->stat[s], memory_order_relaxed);

	for (u32 i = 0; s == MAP_STAT_OVERWRITTEN && i < HAND_TICKETS; i++)
		n += atomic_load_explicit(&meta->overwritten[i], memory_order_relaxed);
	return n;
}

static inline void map_count(struct map *m, enum map_stat s)
{
	if (m->writable)
		atomic_fetch_add_explicit(&m->meta->stat[s], 1, memory_order_relaxed);
}

/*
 * bpf_spin_lock and bpf_spin_unlock on a word in a value (maps/lock.h). `thread`: map_lock_thread() of the
 * caller's id. -EDEADLK: it has the lock already. *ret_held is for map_unlock().
 */
u32 map_lock_thread(u32 tid);
int map_lock(u32 *word, u32 thread, u32 *ret_held);
void map_unlock(u32 *word, u32 held);

/* Bytes user space passes for one value: value_size, or 8-padded per possible CPU. */
u64 map_user_value_size(const struct map *m);

/*
 * From user space, as bpf(2): the common rules (frozen, flags) and then the type's operation.
 * `key` may be NULL where the caller passed NULL.
 */
int map_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags);
int map_user_update(struct map *m, const void *key, const void *value, u64 flags);
int map_user_delete(struct map *m, const void *key);
int map_user_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags);
int map_user_next_key(struct map *m, const void *key, void *ret_key);

#endif
