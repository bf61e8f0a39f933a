/* SPDX-License-Identifier: MIT */
/* Arrays whose elements are the kernel's pages (limpet load --with-kernel): how these come to the agent (state.h). */
#include <linux/bpf.h>
#include <linux/stat.h>
#include <asm/errno.h>
#include <asm/stat.h>
#include "agent/state.h"
#include "base/sys.h"

/* The kernel's array that came for the map to come: -1, none. */
static struct {
	u32 map;
	s32 fd;
} pages = {.fd = -1};

#define WAITING 16
static u32 waiting[WAITING]; /* maps that could not be taken without */

void pages_forget(void)
{
	if (pages.fd >= 0)
		sys_close(pages.fd);
	pages.fd = -1;
}

int pages_keep(u32 map, int fd)
{
	pages_forget();
	pages.map = map;
	pages.fd = (s32)sys_call3(__NR_fcntl, fd, 1030 /* F_DUPFD_CLOEXEC */, 0);
	return pages.fd < 0 ? pages.fd : 0;
}

bool pages_awaited(u32 map)
{
	for (u32 i = 0; i < WAITING; i++)
		if (map ? waiting[i] == map : waiting[i])
			return true;
	return false;
}

static void wait_for_pages(u32 map, bool wait)
{
	for (u32 i = 0; i < WAITING; i++)
		if (waiting[i] == (wait ? 0 : map)) {
			waiting[i] = wait ? map : 0;
			return;
		}
}

static bool may_ask;

void pages_may_ask(bool may)
{
	may_ask = may;
}

/* As root, under no filter, in a file of root's. */
static int ask_for_pages(u32 kernel_id, int file)
{
	u32 attr[4] = {kernel_id};
	struct stat st;

	if (!may_ask || sys_call0(__NR_geteuid) || atomic_load(&agent.env.denied) || sys_call2(__NR_fstat, file, &st) || st.st_uid)
		return -EAGAIN;
	return (int)sys_call3(__NR_bpf, BPF_MAP_GET_FD_BY_ID, (long)attr, sizeof(attr));
}

int pages_take(struct map *m, const struct map_meta *meta, int file)
{
	const bool came = pages.fd >= 0 && pages.map == meta->id;
	int fd, err;

	if (!meta->kernel_pages)
		return 0;
	fd = came ? pages.fd : ask_for_pages(meta->kernel_id, file);
	err = fd < 0 ? -EAGAIN : map_take_pages(m, fd);
	if (came)
		pages.fd = -1;
	if (fd >= 0)
		sys_close(fd);
	if (err && !pages_awaited(meta->id))
		wait_for_pages(meta->id, true);
	else if (!err)
		wait_for_pages(meta->id, false);
	return err;
}
