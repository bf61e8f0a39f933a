/* SPDX-License-Identifier: MIT */
/* The session of this process, and what is known about its descriptors and maps. */
#include "loader/loader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loader/event_shared.h"
#include "loader/say.h"
#include "loader/tool_map.h"

#define KNOWN BIT(63)

struct map *_Atomic loader_fd_map[LOADER_FDS];
static _Atomic u64 fd_obj[LOADER_FDS]; /* KNOWN | mode << 40 | kind << 32 | id; 0: not ours */
static _Atomic u32 fd_end;             /* behind the last that ever was ours; grows before that is */

enum { CLOSED, OPEN, TOOL }; /* TOOL: this process is in the session's table of tools */

static struct store session;
static _Atomic int session_state;
/*
 * Whose memory this is: the process's pid, in a page that a child with a copy of our memory finds
 * zeroed. A child that shares it (vfork) sees another's pid, and leaves the table alone.
 */
static _Atomic u32 *memory_owner;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
_Thread_local int loader_inside;

/*
 * Maps this process has mapped, by id. Another thread may be inside an operation on any of them, so what lies at their
 * addresses stays readable and writable: of maps that are no more it is replaced by zeroes, which operations can
 * live with as with any spoilt file, which take no memory, and of which neighbours are one mapping to the kernel (a
 * process may have some 65,000). This is done when there are twice as many as there were maps left the last time.
 */
#define KNOWN_AT_LEAST 256

struct known_map {
	struct map map;
	struct known_map *_Atomic next; /* stays when it leaves the list, where somebody may be going through it */
};
static struct known_map *_Atomic known;
static u32 known_count, known_most = KNOWN_AT_LEAST;

bool loader_active(void)
{
	return atomic_load(&session_state) != CLOSED;
}

static u64 pack(const struct loader_obj *o)
{
	return KNOWN | (u64)o->mode << 40 | (u64)o->kind << 32 | o->id;
}

static bool unpack(u64 word, struct loader_obj *ret)
{
	if (!word)
		return false;
	*ret = (struct loader_obj){.kind = (enum object_kind)(word >> 32 & 0xff),
				   .id = (u32)word,
				   .mode = (int)(word >> 40 & 0xff)};
	return true;
}

static void grow_end(u32 end)
{
	u32 was = atomic_load_explicit(&fd_end, memory_order_relaxed);

	while (was < end && !atomic_compare_exchange_weak(&fd_end, &was, end))
		;
}

u32 loader_fd_end(void)
{
	return atomic_load(&fd_end);
}

static void remember(int fd, const struct loader_obj *o)
{
	if (fd >= LOADER_FDS)
		return;
	grow_end((u32)fd + 1);
	atomic_store(&fd_obj[fd], pack(o));
}

/* Descriptors that came through exec: from now on their closing counts. */
static void find_inherited(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct loader_obj o;
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (*e->d_name != '.' && !loader_fd_any(atoi(e->d_name), &o))
			remember(atoi(e->d_name), &o);
	if (d)
		closedir(d);
}

static void make_memory_owner(void)
{
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || madvise(p, PAGE_SIZE, MADV_WIPEONFORK))
		return;
	memory_owner = p;
	atomic_store(memory_owner, (u32)getpid());
}

/*
 * False in a vfork child. A child with a copy of the memory is another tool, whichever call made
 * it.
 */
static bool own_memory(void)
{
	u32 pid = (u32)getpid(), owner = memory_owner ? atomic_load(memory_owner) : pid;

	if (owner)
		return owner == pid;
	if (loader_active())
		atomic_store(&session_state, OPEN);
	atomic_store(memory_owner, pid);
	return true;
}

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&lock);
}

/* A forked child is a tool of its own: keepers wait for its death too. */
static void after_fork_child(void)
{
	own_memory();
	pthread_mutex_unlock(&lock);
}

static struct store *open_session(int wanted, int *ret_err)
{
	bool first = false;
	int err = 0;

	if (atomic_load(&session_state) >= wanted)
		return &session;
	pthread_mutex_lock(&lock);
	loader_inside++;
	if (atomic_load(&session_state) == CLOSED) {
		loader_say_open();
		err = store_open(&session, NULL, STORE_CREATE);
		if (!err) {
			map_owner_make();
			make_memory_owner();
			pthread_atfork(before_fork, after_fork, after_fork_child);
			atomic_store(&session_state, OPEN);
			first = true;
		}
	}
	if (!err && wanted == TOOL && atomic_load(&session_state) == OPEN) {
		err = store_tool_add(&session, user_pid());
		if (!err)
			atomic_store(&session_state, TOOL);
		if (!user_space)
			loader_adopt_children();
		loader_clocks_after_fork(); /* of a parent that was a tool too */
	}
	loader_inside--;
	pthread_mutex_unlock(&lock);
	if (err) {
		*ret_err = err;
		return NULL;
	}
	if (first) {
		loader_inside++;
		store_collect(&session); /* what tools left that ended while nobody watched */
		find_inherited();
		loader_inside--;
	}
	return &session;
}

struct store *loader_session(int *ret_err)
{
	return open_session(OPEN, ret_err);
}

struct store *loader_store(int *ret_err)
{
	return open_session(TOOL, ret_err);
}

int loader_fd_add(int fd, enum object_kind kind, u32 id)
{
	if (fd < 0 || fd >= LOADER_FDS || user_space)
		return fd; /* another process's is not among ours */
	atomic_store(&loader_fd_map[fd], NULL);
	remember(fd, &(struct loader_obj){
			     .kind = kind, .id = id, .mode = fcntl(fd, F_GETFL) & O_ACCMODE});
	return fd;
}

bool loader_fd_known(int fd, struct loader_obj *ret)
{
	return fd >= 0 && fd < LOADER_FDS && unpack(atomic_load(&fd_obj[fd]), ret);
}

bool loader_fd_take(int fd, struct loader_obj *ret)
{
	if (fd < 0 || fd >= LOADER_FDS ||
	    !atomic_load_explicit(&fd_obj[fd], memory_order_relaxed) || !own_memory())
		return false;
	atomic_store(&loader_fd_map[fd], NULL);
	return unpack(atomic_exchange(&fd_obj[fd], 0), ret);
}

void loader_fd_copy(int from, int to)
{
	u64 word = from >= 0 && from < LOADER_FDS ? atomic_load(&fd_obj[from]) : 0;

	if (to < 0 || to >= LOADER_FDS || (!word && !atomic_load(&fd_obj[to])) || !own_memory())
		return;
	grow_end((u32)to + 1);
	atomic_store(&loader_fd_map[to], NULL);
	atomic_store(&fd_obj[to], word);
}

/*
 * Another process's descriptor (user_space.h) is another number here each time: what its file is, is remembered by the
 * file's, and only compared with the session's file of that name.
 */
static int identify(struct store *s, int fd, struct loader_obj *o)
{
	static struct {
		_Atomic u64 ino, kind_id;
	} seen[1024];
	struct stat st;
	u64 word;
	u32 at;
	int err;

	if (!user_space)
		return store_identify(s, fd, &o->kind, &o->id);
	if (fstat(fd, &st))
		return -EBADF;
	at = st.st_ino % ARRAY_SIZE(seen);
	word = atomic_load(&seen[at].kind_id);
	if (atomic_load(&seen[at].ino) == st.st_ino && word &&
	    store_is_object(s, &st, (enum object_kind)(word >> 32), (u32)word)) {
		o->kind = (enum object_kind)(word >> 32);
		o->id = (u32)word;
		return 0;
	}
	err = store_identify(s, fd, &o->kind, &o->id);
	if (!err) {
		atomic_store(&seen[at].ino, st.st_ino);
		atomic_store(&seen[at].kind_id, (u64)o->kind << 32 | o->id);
	}
	return err;
}

int loader_fd_any(int fd, struct loader_obj *ret)
{
	struct loader_obj o;
	struct store *s;
	int err = 0, flags;

	fd = user_fd(fd);
	flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
	if (flags < 0)
		return -EBADF;
	s = loader_session(&err);
	if (!s)
		return err;
	err = identify(s, fd, &o);
	if (err && user_space && event_shared_find(fd, ret))
		return 0;
	if (err)
		return err;
	o.mode = flags & O_ACCMODE;
	*ret = o;
	return 0;
}

int loader_fd_object(int fd, enum object_kind kind, u32 *ret_id)
{
	struct loader_obj o;
	int err = loader_fd_any(fd, &o);

	if (err)
		return err;
	if (o.kind != kind)
		return -EINVAL;
	*ret_id = o.id;
	return 0;
}

/* Does a descriptor of ours name it, whatever has become of its file? */
static bool is_named(u32 id)
{
	struct loader_obj o;

	for (u32 fd = 0; fd < LOADER_FDS; fd++)
		if (unpack(atomic_load_explicit(&fd_obj[fd], memory_order_relaxed), &o) && o.kind == OBJ_MAP && o.id == id)
			return true;
	return false;
}

/* Nobody can come to the map any more. Buffers, at which threads may be waiting, are left alone. */
static bool is_gone(struct store *s, const struct map *m)
{
	int fd = m->bank_count ? -EBUSY : store_peek(s, OBJ_MAP, m->id);

	if (fd >= 0)
		close(fd);
	return fd == -ENOENT && !is_named(m->id);
}

static void forget_gone(struct store *s)
{
	struct known_map *_Atomic *at = &known, *k;

	while ((k = *at)) {
		if (is_gone(s, &k->map) &&
		    mmap(k->map.base, k->map.file_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED) {
			map_order_forget(&k->map);
			*at = k->next;
			known_count--;
		} else {
			at = &k->next;
		}
	}
	known_most = 2 * known_count + KNOWN_AT_LEAST;
}

static struct map *open_map(struct store *s, u32 id, int *ret_err)
{
	struct known_map *k;
	int fd, err = 0;
	u64 size;
	void *p;

	for (k = known; k; k = k->next)
		if (k->map.id == id)
			return &k->map;
	if (known_count >= known_most)
		forget_gone(s);
	fd = store_peek(s, OBJ_MAP, id);
	if (fd < 0) {
		*ret_err = fd;
		return NULL;
	}
	p = store_map_fd(fd, true, &size, ret_err);
	k = p ? calloc(1, sizeof(*k)) : NULL;
	err = k ? map_open(&k->map, p, size, true) : -ENOMEM;
	if (!err && k->map.id != id)
		err = -EINVAL;
	if (!err)
		err = map_alias(&k->map, fd);
	if (!err)
		err = store_take_pages(&k->map, fd);
	close(fd);
	if (!p)
		return NULL;
	if (err) {
		free(k);
		munmap(p, size);
		*ret_err = err;
		return NULL;
	}
	map_order_make(&k->map);
	k->next = known;
	known = k;
	known_count++;
	return &k->map;
}

struct map *loader_map_by_id(u32 id, int *ret_err)
{
	struct store *s = loader_store(ret_err);
	struct map *m;

	if (!s)
		return NULL;
	pthread_mutex_lock(&lock);
	loader_inside++;
	m = open_map(s, id, ret_err);
	loader_inside--;
	pthread_mutex_unlock(&lock);
	return m;
}

struct map *loader_known_map(u32 id)
{
	struct known_map *k;

	pthread_mutex_lock(&lock);
	for (k = known; k && k->map.id != id; k = k->next)
		;
	pthread_mutex_unlock(&lock);
	return k ? &k->map : NULL;
}

void loader_maps_each(void (*fn)(struct map *m, void *arg), void *arg)
{
	struct known_map *k;

	pthread_mutex_lock(&lock);
	k = known; /* grows at its beginning, and what leaves it still leads on */
	pthread_mutex_unlock(&lock);
	for (; k; k = k->next)
		fn(&k->map, arg);
}

/* Remembers what fd was found to be, unless another thread has closed it, or made it something else, since `seen`. */
static void remember_map(int fd, u64 seen, const struct loader_obj *o, struct map *m, bool fast)
{
	struct map *was = m;

	if (fd >= LOADER_FDS || !atomic_compare_exchange_strong(&fd_obj[fd], &seen, pack(o)) || !fast)
		return;
	atomic_store(&loader_fd_map[fd], m);
	if (atomic_load(&fd_obj[fd]) != pack(o))
		atomic_compare_exchange_strong(&loader_fd_map[fd], &was, NULL);
}

struct map *loader_map_by_fd(int fd, int *ret_mode, int *ret_err)
{
	struct map *m = NULL;
	struct loader_obj o;
	u64 seen = 0;
	int err, twin;

	if (ret_mode)
		*ret_mode = O_RDWR;
	if (fd >= 0 && fd < LOADER_FDS && !user_space) {
		m = atomic_load_explicit(&loader_fd_map[fd], memory_order_acquire);
		if (m)
			return m;
		seen = atomic_load(&fd_obj[fd]);
	}
	err = loader_fd_any(fd, &o);
	if (!err && o.kind != OBJ_MAP)
		err = -EINVAL;
	if (err) {
		*ret_err = err;
		return NULL;
	}
	m = loader_map_by_id(o.id, ret_err);
	if (!m)
		return NULL;
	if (ret_mode)
		*ret_mode = o.mode;
	if (user_space)
		return m;
	remember_map(fd, seen, &o, m,
		     o.mode == O_RDWR && !m->holds && !m->ops->fd_values && kernel_map_at(m, &twin) == AT_SESSION);
	return m;
}

void loader_fd_slow(struct map *m)
{
	for (u32 fd = 0; fd < loader_fd_end(); fd++) {
		struct map *was = m;

		atomic_compare_exchange_strong(&loader_fd_map[fd], &was, NULL);
	}
}
