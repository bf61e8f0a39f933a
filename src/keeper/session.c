/* SPDX-License-Identifier: MIT */
/* A session as a keeper sees it, and its targets among all processes. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "keeper/internal.h"

#define AGENT_FILE "liblimpet-agent.so"
#define LOOKS      10 /* at a process whose threads end when they are looked at */

static char *agent_beside_us(void)
{
	static const char *const places[] = {"/", "/../agent/", "/../lib/limpet/", "/../lib/"};
	const char *env = getenv("LIMPET_AGENT");
	char self[PATH_MAX], path[PATH_MAX + 64], *slash;
	ssize_t n;

	if (env)
		return strdup(env);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return NULL;
	self[n] = 0;
	slash = strrchr(self, '/');
	*slash = 0;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(path, sizeof(path), "%s%s%s", self, places[i], AGENT_FILE);
		if (!access(path, R_OK))
			return realpath(path, NULL);
	}
	return NULL;
}

int keeper_open(struct keeper **ret, const char *dir, const char *agent_path)
{
	struct keeper *k = calloc(1, sizeof(*k));
	struct stat st;
	int err;

	if (!k)
		return -ENOMEM;
	err = store_open_path(&k->store, dir, 0);
	if (err) {
		free(k);
		return err;
	}
	if (fstatat(k->store.dir_fd, "session", &st, AT_SYMLINK_NOFOLLOW)) {
		err = -errno;
		keeper_close(k);
		return err;
	}
	k->agent_path = agent_path ? strdup(agent_path) : agent_beside_us();
	k->dev_major = major(st.st_dev);
	k->dev_minor = minor(st.st_dev);
	k->ino = st.st_ino;
	*ret = k;
	return 0;
}

void keeper_close(struct keeper *k)
{
	store_close(&k->store);
	free(k->agent_path);
	free(k);
}

/* As it is found in a process: the header lies just below the session file's mapping. -ESRCH: `mem` has no memory. */
int keeper_find(struct keeper *k, const struct regions *maps, int mem, u64 *ret_at,
		struct agent_header *ret)
{
	for (size_t i = 0; i < maps->count; i++) {
		const struct region *r = &maps->all[i];
		u64 at = r->start - AGENT_HEADER_GAP;
		ssize_t n;

		if (r->ino != k->ino || r->dev_major != k->dev_major ||
		    r->dev_minor != k->dev_minor || r->file_off)
			continue;
		n = pread(mem, ret, sizeof(*ret), (off_t)at);
		if (!n) /* the file is of a thread that ended before it was opened */
			return -ESRCH;
		if (n != sizeof(*ret))
			continue;
		if (ret->magic != AGENT_MAGIC || ret->version != AGENT_VERSION ||
		    ret->size != sizeof(*ret) || !ret->session_ino)
			continue;
		*ret_at = at;
		return 0;
	}
	return -ENOENT;
}

/* 0, -ENOENT: no target, or -ESRCH: the thread that was looked at has ended meanwhile. */
static int look(struct keeper *k, pid_t pid, struct agent_header *ret)
{
	struct regions maps = {0};
	pid_t tid = proc_live_tid(pid);
	int err = tid ? proc_read_maps(tid, &maps) : -ESRCH, mem;
	char path[64];
	u64 at;

	if (!tid)
		return err;
	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	mem = err ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (mem < 0) {
		char state = proc_state(pid, tid);

		err = state && state != 'Z' && state != 'X' ? -ENOENT : -ESRCH;
	} else {
		err = keeper_find(k, &maps, mem, &at, ret);
		close(mem);
	}
	free(maps.all);
	return err;
}

bool keeper_is_target(struct keeper *k, pid_t pid, struct agent_header *ret)
{
	struct agent_header header;
	int err = -ESRCH;

	for (int i = 0; i < LOOKS && err == -ESRCH; i++)
		err = look(k, pid, &header);
	if (!err && ret)
		*ret = header;
	return !err;
}

long keeper_probes(struct keeper *k, pid_t pid, struct agent_probe **ret)
{
	struct agent_header h;
	struct agent_probe *p;
	char path[64];
	size_t size;
	ssize_t n;
	int mem;

	if (!keeper_is_target(k, pid, &h))
		return -ESRCH;
	if (h.probe_count > 1 << 20)
		return -EINVAL;
	size = h.probe_count * sizeof(*p);
	p = malloc(size + 1);
	if (!p)
		return -ENOMEM;
	snprintf(path, sizeof(path), "/proc/%d/mem", proc_live_tid(pid));
	mem = open(path, O_RDONLY | O_CLOEXEC);
	n = mem < 0 ? -1 : pread(mem, p, size, (off_t)h.probes);
	if (mem >= 0)
		close(mem);
	if (size && n != (ssize_t)size) {
		free(p);
		return -EAGAIN; /* changed under us */
	}
	for (u64 i = 0; i < h.probe_count; i++)
		if ((p[i].state == PROBE_ATTACHED && h.write_count) ||
		    (p[i].state == PROBE_REFUSED && p[i].trap == ATTACH_E_TRAP_SOON))
			p[i].state = PROBE_WAITING;
	*ret = p;
	return (long)h.probe_count;
}
