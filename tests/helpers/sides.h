/* SPDX-License-Identifier: MIT */
/* The kernel's bpf(2) and limpet's, in one process, for programs that are loaded and run on both. */
#ifndef TESTS_HELPERS_SIDES_H
#define TESTS_HELPERS_SIDES_H

#include "unit/check.h"
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "loader/loader.h"
#include "store/store.h"
#include "unit/loader/oracle_asm.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* nobody uses all of this */

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
static int load(struct world *w, u32 type, u32 flags, const struct bpf_insn *insns, u32 n,
		char *log, u32 log_size)
{
	union bpf_attr a = {.prog_type = type, .insn_cnt = n, .prog_flags = flags};

	a.insns = (u64)insns;
	a.license = (u64) "GPL";
	a.log_buf = (u64)log;
	a.log_size = log_size;
	a.log_level = log_size ? 1 : 0;
	return (int)w->bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

#define VALUE(d, fd) CONST(d, fd, 0)
#define CONST(d, fd, at)                                                                           \
	INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_VALUE, 0, fd), INSN(0, 0, 0, 0, (s32)(at))

#define LOAD_RAW(w, ...)                                                                           \
	({                                                                                         \
		struct bpf_insn i_[] = {__VA_ARGS__};                                              \
		load(w, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, i_, ARRAY_SIZE(i_), NULL, 0);             \
	})

static int make_map(struct world *w, u32 size, u32 flags)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_ARRAY,
			    .key_size = 4,
			    .value_size = size,
			    .max_entries = 1,
			    .map_flags = flags};

	return (int)w->bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

static long element(struct world *w, int cmd, int map, void *value)
{
	u32 key = 0;
	union bpf_attr a = {.map_fd = (u32)map, .key = (u64)&key, .value = (u64)value};

	return w->bpf(cmd, &a, sizeof(a));
}

/* A program, made by and by. */
struct code {
	struct bpf_insn insn[512];
	u32 count;
};

#define ADD_CODE(c, ...)                                                                           \
	do {                                                                                       \
		const struct bpf_insn i_[] = {__VA_ARGS__};                                        \
		memcpy((c)->insn + (c)->count, i_, sizeof(i_));                                    \
		(c)->count += ARRAY_SIZE(i_);                                                      \
	} while (0)

/* Runs a raw tracepoint program on the array w->io, which is `in` before and `ret` after it; what the run answers. */
static long run(struct world *w, int prog, const void *in, void *ret)
{
	union bpf_attr a = {.test = {.prog_fd = (u32)prog}};
	long err = element(w, BPF_MAP_UPDATE_ELEM, w->io, (void *)in);

	err = err ? err : w->bpf(BPF_PROG_TEST_RUN, &a, sizeof(a));
	return err ? err : element(w, BPF_MAP_LOOKUP_ELEM, w->io, ret);
}

/* ---- random cases ---- */

static u64 state;

static void begin(u64 seed)
{
	state = seed * 0x9e3779b97f4a7c15ULL;
}

static u32 draw(u32 n)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(state >> 33) % n;
}

static u64 draw64(void)
{
	return (u64)draw(1u << 31) << 42 ^ (u64)draw(1u << 31) << 21 ^ draw(1u << 31);
}

static void show(const char *what, const char *bytes, u32 n)
{
	while (n && !bytes[n - 1])
		n--;
	printf("# %s \"", what);
	for (u32 i = 0; i < n; i++)
		printf(bytes[i] >= ' ' && bytes[i] <= '~' && bytes[i] != '\\' ? "%c" : "\\x%02x",
		       (u8)bytes[i]);
	printf("\"\n");
}

/*
 * `few` random cases, or many in a long run: `one` returns how many it was, 0 for a difference, which it has printed.
 * SEED=n in the environment: that one only.
 */
static void try_many(bool kernel_ready, u32 few, u32 (*one)(u64 seed))
{
	const u32 count = getenv("LIMPET_LONG") ? 150000 : few;
	const char *from = getenv("SEED");
	u32 total = 0, differences = 0;

	if (!kernel_ready)
		SKIP("the kernel's bpf(2) is not to be had here");
	for (u64 i = from ? strtoull(from, NULL, 0) : 1; total < count && differences < 5; i++) {
		u32 n;

		begin(i);
		n = one(i);
		differences += !n;
		total += n + !n;
		if (from)
			break;
	}
	printf("# %u cases\n", total);
	CHECK_EQ(differences, 0);
}

/* A call of a kernel function by its id, which both sides know. */
#define KFUNC(id) INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, id)

static int kfunc_id(const char *name)
{
	static struct btf *types;

	if (!types)
		types = btf__load_vmlinux_btf();
	return types ? btf__find_by_name_kind(types, name, BTF_KIND_FUNC) : -ENOENT;
}

#endif
