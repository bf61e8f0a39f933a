/* SPDX-License-Identifier: MIT */
/*
 * Files of a session that somebody cuts short while they are mapped (store.h, store_catch_faults()). Who may
 * open them may truncate them, and the kernel then answers an access behind the end by SIGBUS.
 *
 *     fault --> in a mapping of a file of a session?  memory of this process's own over the rest of that
 *                                                     mapping, and the access again
 *               else                                  the default action
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
#include "base/sys.h"
#include "store/store.h"

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

static bool in_session(const char *path)
{
	u32 count = atomic_load_explicit(&dir_count, memory_order_acquire);

	for (u32 i = 0; i < count; i++) {
		size_t n = strlen(dirs[i]);

		if (!strncmp(path, dirs[i], n) && path[n] == '/')
			return true;
	}
	return false;
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
	struct line l;
	u32 i;

	if (!mapping_of(address, &l))
		return false;
	if (!l.file)
		return was_given(address);
	if (!in_session(l.path))
		return false;
	i = atomic_fetch_add(&given_count, 1) % GIVEN;
	atomic_store(&given[i].end, 0);
	atomic_store(&given[i].start, page);
	atomic_store(&given[i].end, l.end);
	return !sys_is_err(sys_mmap((void *)page, l.end - page, l.prot,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
				    0));
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	int err = errno;

	if (info->si_code != BUS_ADRERR || !mend((u64)info->si_addr)) {
		signal(sig, SIG_DFL); /* the access comes again, and so does the signal */
		if (info->si_code <= 0)
			raise(sig);
	}
	errno = err;
}

void store_catch_faults(const char *dir)
{
	struct sigaction now,
		ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	u32 n, i;

	pthread_mutex_lock(&dirs_lock);
	n = atomic_load(&dir_count);
	for (i = 0; i < n && strcmp(dirs[i], dir); i++)
		;
	if (i == n && n < DIRS && strlen(dir) < sizeof(dirs[n])) {
		strcpy(dirs[n], dir);
		atomic_store_explicit(&dir_count, n + 1, memory_order_release);
	}
	if (!sigaction(SIGBUS, NULL, &now) && now.sa_handler == SIG_DFL &&
	    !(now.sa_flags & SA_SIGINFO)) {
		sigfillset(&ours.sa_mask);
		sigaction(SIGBUS, &ours, NULL);
	}
	pthread_mutex_unlock(&dirs_lock);
}
