/* SPDX-License-Identifier: MIT */
/* See event_shared.h. */
#include "loader/event_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loader/event_output.h"

struct shared {
	struct shared *next;
	u32 id;
	int hold, own; /* own: open file B */
	dev_t dev;
	ino_t ino;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared *all;

static bool is_held(int own)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

	return fcntl(own, F_OFD_GETLK, &fl) || fl.l_type != F_UNLCK;
}

static int fill(struct shared *n, int *ret_fd)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	char path[64];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "perf-event.%u", n->id);
	fd = memfd_create(path, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n->own = open(path, O_RDWR | O_CLOEXEC);
	if (n->own < 0 || fstat(fd, &st) || fcntl(fd, F_OFD_SETLK, &fl)) {
		int err = -errno;

		if (n->own >= 0)
			close(n->own);
		close(fd);
		return err;
	}
	n->dev = st.st_dev;
	n->ino = st.st_ino;
	*ret_fd = fd;
	return 0;
}

int event_share(int event_fd, u32 id)
{
	struct shared *n = calloc(1, sizeof(*n));
	int fd = -1, err = -ENOMEM;

	if (n) {
		*n = (struct shared){.id = id, .hold = event_fd};
		err = fill(n, &fd);
	}
	if (err) {
		free(n);
		close(event_fd);
		return err;
	}
	pthread_mutex_lock(&lock);
	n->next = all;
	all = n;
	pthread_mutex_unlock(&lock);
	return fd;
}

bool event_shared_find(int fd, struct loader_obj *ret)
{
	struct shared *n;
	struct stat st;

	if (fstat(fd, &st))
		return false;
	pthread_mutex_lock(&lock);
	for (n = all; n && (n->ino != st.st_ino || n->dev != st.st_dev); n = n->next)
		;
	if (n)
		*ret = (struct loader_obj){.kind = OBJ_EVENT, .id = n->id, .mode = O_RDWR};
	pthread_mutex_unlock(&lock);
	return n != NULL;
}

int event_shared_map(u32 id, size_t len, int prot, int flags, off_t off)
{
	struct shared *n;
	int own = -1, err;

	pthread_mutex_lock(&lock);
	for (n = all; n && n->id != id; n = n->next)
		;
	if (n)
		own = dup(n->own);
	pthread_mutex_unlock(&lock);
	if (own < 0)
		return -ENODEV; /* an event without a ring */
	err = output_share(id, own, len, prot, flags, off);
	close(own);
	return err;
}

void event_shared_sweep(void)
{
	struct shared *gone = NULL, *n;
	int err = 0;

	pthread_mutex_lock(&lock);
	for (struct shared **at = &all; (n = *at);) {
		if (is_held(n->own)) {
			at = &n->next;
			continue;
		}
		*at = n->next;
		n->next = gone;
		gone = n;
	}
	pthread_mutex_unlock(&lock);
	while ((n = gone)) {
		gone = n->next;
		output_unshare(n->id);
		close(n->own);
		close(n->hold);
		store_release(loader_session(&err), OBJ_EVENT, n->id);
		free(n);
	}
}
