/* SPDX-License-Identifier: MIT */
/*
 * Files of a session that somebody cuts short while they are mapped (store.h, store_catch_faults()). Who may
 * open them may truncate them, and the kernel then answers an access behind the end by SIGBUS.
 *
 *     fault --> in a mapping of a file of a session?  memory of this process's own over the rest of that
 *                                                     mapping, and the access again
 *               else                                  the process's own handler, or the default action
 *
 * So the process goes on with zeros where the file is gone, as if somebody had written them there: what is
 * in shared memory is checked wherever it is used. The mapping is told by /proc/self/maps, so nothing
 * must be kept in step with mappings that come and go, a tool's own (libbpf's of a ring buffer) too.
 *
 * Threads that fault in the same place at once: the first one's range is in `given` before its memory is
 * there, so another, which finds no file any more, knows that its access is worth another try.
 *
 * Only system calls that a handler may make; no lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "base/sys.h"
#include "session/trace.h"
#include "store/internal.h"

#define DIRS  16
#define GIVEN 64

static char dirs[DIRS][SESSION_PATH_MAX];
static _Atomic u32 dir_count;
static pthread_mutex_t dirs_lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	_Atomic u64 start, end;
} given[GIVEN];
static _Atomic u32 given_count;

/* A line of /proc/self/maps. */
struct line {
	u64 start, end;
	int prot;
	bool file;
	char path[SESSION_PATH_MAX + 64];
};

struct reader {
	int fd;
	u32 at, len;
	char buf[1024];
};

/* The next character, or -1. */
static int next(struct reader *r)
{
	if (r->at == r->len) {
		long n = sys_read(r->fd, r->buf, sizeof(r->buf));

		if (n <= 0)
			return -1;
		r->at = 0;
		r->len = (u32)n;
	}
	return r->buf[r->at++];
}

static int read_hex(struct reader *r, u64 *ret)
{
	int c;

	for (*ret = 0; (c = next(r)) >= 0;
	     *ret = *ret << 4 | (u64)(c <= '9' ? c - '0' : c - 'a' + 10))
		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			break;
	return c;
}

/* start-end rwxp offset device inode   path */
static bool read_line(struct reader *r, struct line *ret)
{
	u32 n = 0;
	int c;

	if (read_hex(r, &ret->start) != '-' || read_hex(r, &ret->end) != ' ')
		return false;
	ret->prot = next(r) == 'r' ? PROT_READ : 0;
	ret->prot |= next(r) == 'w' ? PROT_WRITE : 0;
	for (int spaces = 0; spaces < 4 && (c = next(r)) >= 0;) /* up to the one behind the inode */
		spaces += c == ' ';
	while ((c = next(r)) == ' ')
		;
	for (; c >= 0 && c != '\n'; c = next(r))
		if (n + 1 < sizeof(ret->path))
			ret->path[n++] = (char)c;
	ret->path[n] = 0;
	ret->file = ret->path[0] == '/';
	return true;
}

static bool mapping_of(u64 address, struct line *ret)
{
	struct reader r = {
		.fd = (int)sys_openat(AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0)};
	bool found = false;

	if (r.fd < 0)
		return false;
	while (!found && read_line(&r, ret))
		found = address >= ret->start && address < ret->end;
	sys_close(r.fd);
	return found;
}

/* The directory of the session that a file belongs to, or NULL. */
static const char *session_of(const char *path)
{
	u32 count = atomic_load_explicit(&dir_count, memory_order_acquire);

	for (u32 i = 0; i < count; i++) {
		size_t n = strlen(dirs[i]);

		if (!strncmp(path, dirs[i], n) && path[n] == '/')
			return dirs[i];
	}
	return NULL;
}

/* A fault while its signal is blocked ends the process. */
static void let_through(void)
{
	const u64 bus = BIT(SIGBUS - 1);

	sys_call4(__NR_rt_sigprocmask, SIG_UNBLOCK, (long)&bus, 0, sizeof(bus));
}

/*
 * Counts it where `limpet list` finds it. The log may be cut short as well: that is a fault in here, which must come to
 * us (the end of the handler puts the mask back), or nothing to count in.
 */
static void count_cut(const char *dir, const char *file)
{
	int dir_fd = (int)sys_openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), fd;
	const char *name = strrchr(file, '/') + 1;
	enum object_kind kind;
	struct trace_log *log;
	struct stat st;
	u32 id;

	fd = dir_fd < 0 ? -1 : (int)sys_openat(dir_fd, "trace", O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
	let_through();
	if (store_parse_name(name, &kind, &id) || kind != OBJ_MAP)
		id = 0;
	if (fd >= 0 && !fstat(fd, &st) && (size_t)st.st_size >= sizeof(*log)) {
		log = (void *)sys_mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (!sys_is_err((long)log)) {
			if (log->magic == TRACE_MAGIC)
				trace_note_cut(log, id);
			sys_munmap(log, sizeof(*log));
		}
	}
	if (fd >= 0)
		sys_close(fd);
	if (dir_fd >= 0)
		sys_close(dir_fd);
}

static bool was_given(u64 address)
{
	for (u32 i = 0; i < GIVEN; i++)
		if (address >= atomic_load(&given[i].start) && address < atomic_load(&given[i].end))
			return true;
	return false;
}

/* True: the access may be tried again. */
static bool mend(u64 address)
{
	const u64 page = address & ~(u64)(PAGE_SIZE - 1);
	const char *dir;
	struct line l;
	u32 i;
	long p;

	if (!mapping_of(address, &l))
		return false;
	if (!l.file)
		return was_given(address);
	dir = session_of(l.path);
	if (!dir)
		return false;
	i = atomic_fetch_add(&given_count, 1) % GIVEN;
	atomic_store(&given[i].end, 0);
	atomic_store(&given[i].start, page);
	atomic_store(&given[i].end, l.end);
	p = sys_mmap((void *)page, l.end - page, l.prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	if (sys_is_err(p))
		return false;
	count_cut(dir, l.path);
	return true;
}

/* The process's own: what it has set for SIGBUS, while ours is in the kernel. Written under dirs_lock, read by any fault. */
static struct {
	_Atomic(void (*)(int, siginfo_t *, void *)) handler; /* or SIG_DFL, SIG_IGN, or one without SA_SIGINFO */
	_Atomic int flags;
	sigset_t mask;
} own;
static _Atomic bool in_place;

static bool is(void (*handler)(int, siginfo_t *, void *), sighandler_t known)
{
	return (sighandler_t)(void *)handler == known;
}

/* The kernel's default action, when the access or the signal comes again. */
static void by_default(const siginfo_t *info)
{
	static const u64 none[4];

	sys_call4(__NR_rt_sigaction, SIGBUS, (long)none, 0, sizeof(u64));
	if (info->si_code <= 0)
		raise(SIGBUS);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	int err = errno, flags = atomic_load(&own.flags);
	void (*handler)(int, siginfo_t *, void *) = atomic_load(&own.handler);
	bool mended = info->si_code == BUS_ADRERR && mend((u64)info->si_addr);

	errno = err;
	if (mended || (is(handler, SIG_IGN) && info->si_code <= 0))
		return;
	if (is(handler, SIG_DFL) || is(handler, SIG_IGN)) {
		by_default(info);
		return;
	}
	if ((unsigned int)flags & SA_RESETHAND)
		atomic_store(&own.handler, (void (*)(int, siginfo_t *, void *))(void *)SIG_DFL);
	if (flags & SA_SIGINFO)
		handler(sig, info, context);
	else
		((sighandler_t)(void *)handler)(sig);
}

/* Puts ours into the kernel, on the stack and with the mask that the process wants for its own. */
static int put_in(void)
{
	struct sigaction k = {.sa_flags = SA_ONSTACK | SA_RESTART};
	void (*handler)(int, siginfo_t *, void *) = atomic_load(&own.handler);

	if (is(handler, SIG_DFL) || is(handler, SIG_IGN)) {
		sigfillset(&k.sa_mask);
	} else {
		k.sa_mask = own.mask;
		k.sa_flags = (int)((unsigned int)atomic_load(&own.flags) & ~SA_RESETHAND);
	}
	k.sa_flags |= SA_SIGINFO;
	k.sa_sigaction = on_fault;
	return sigaction(SIGBUS, &k, NULL) ? -errno : 0;
}

static void set_own(const struct sigaction *a)
{
	own.mask = a->sa_mask;
	atomic_store(&own.flags, a->sa_flags);
	atomic_store(&own.handler, a->sa_sigaction);
}

bool store_is_fault_handler(const struct sigaction *a)
{
	return a && a->sa_sigaction == on_fault;
}

bool store_catches_faults(void)
{
	return atomic_load_explicit(&in_place, memory_order_acquire);
}

int store_sigbus(const struct sigaction *set, struct sigaction *ret_old)
{
	const u64 all = ~0ULL;
	struct sigaction old = {.sa_flags = 0};
	u64 mask;
	int err = 0;

	if (!store_catches_faults())
		return -ENOENT;
	/* a handler may call this, too */
	sys_call4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, sizeof(mask));
	pthread_mutex_lock(&dirs_lock);
	old.sa_mask = own.mask;
	old.sa_flags = atomic_load(&own.flags);
	old.sa_sigaction = atomic_load(&own.handler);
	if (set) {
		set_own(set);
		err = put_in();
	}
	pthread_mutex_unlock(&dirs_lock);
	sys_call4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof(mask));
	if (ret_old)
		*ret_old = old;
	return err;
}

void store_catch_faults(const char *dir)
{
	struct sigaction now;
	u32 n, i;

	pthread_mutex_lock(&dirs_lock);
	n = atomic_load(&dir_count);
	for (i = 0; i < n && strcmp(dirs[i], dir); i++)
		;
	if (i == n && n < DIRS && strlen(dir) < sizeof(dirs[n])) {
		strcpy(dirs[n], dir);
		atomic_store_explicit(&dir_count, n + 1, memory_order_release);
	}
	if (!store_catches_faults() && !sigaction(SIGBUS, NULL, &now)) {
		set_own(&now);
		if (!put_in())
			atomic_store_explicit(&in_place, true, memory_order_release);
	}
	pthread_mutex_unlock(&dirs_lock);
	let_through();
}
