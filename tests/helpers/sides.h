/* SPDX-License-Identifier: MIT */
/* The kernel's bpf(2) and limpet's, in one process, for programs that are loaded and run on both. */
#ifndef TESTS_HELPERS_SIDES_H
#define TESTS_HELPERS_SIDES_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/loader.h"
#include "store/store.h"
#include "unit/loader/oracle_asm.h"

struct world {
	const char *name;
	long (*bpf)(int cmd, void *attr, u32 size);
	void (*close)(int fd);
	int io; /* the array that programs work on */
};

static long kernel_bpf(int cmd, void *attr, u32 size)
{
	long ret = syscall(SYS_bpf, cmd, attr, size);

	return ret < 0 ? -errno : ret;
}

static void kernel_close(int fd)
{
	close(fd);
}

static long our_bpf(int cmd, void *attr, u32 size)
{
	return loader_bpf(cmd, attr, size);
}

static void our_close(int fd)
{
	struct loader_obj o;
	bool ours = loader_fd_take(fd, &o);
	int err;

	close(fd);
	if (ours)
		store_release(loader_session(&err), o.kind, o.id);
}

static struct world kernel = {.name = "kernel", .bpf = kernel_bpf, .close = kernel_close};
static struct world ours = {.name = "limpet", .bpf = our_bpf, .close = our_close};
static char session_dir[64];

static void remove_session(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "exec rm -r '%s'", session_dir);
	if (system(cmd))
		printf("# could not remove %s\n", session_dir);
}

/* A session of our own, gone at the end. */
static void new_session(void)
{
	strcpy(session_dir, "/dev/shm/limpet-test-XXXXXX");
	if (!mkdtemp(session_dir))
		abort();
	setenv("LIMPET_SESSION_DIR", session_dir, 1);
	atexit(remove_session);
}

/* Loads a program; its descriptor or -errno. `log`: what is said of it; NULL: not wanted. */
static int load(struct world *w, u32 type, u32 flags, const struct bpf_insn *insns, u32 n, char *log,
		u32 log_size)
{
	union bpf_attr a = {.prog_type = type, .insn_cnt = n, .prog_flags = flags};

	a.insns = (u64)insns;
	a.license = (u64) "GPL";
	a.log_buf = (u64)log;
	a.log_size = log_size;
	a.log_level = log_size ? 1 : 0;
	return (int)w->bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

#endif
