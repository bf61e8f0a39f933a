/* SPDX-License-Identifier: MIT */
/*
 * The emulator without the preloaded object: attribute rules, programs, events, links, lifetimes.
 * The map types and the structural check are doubles here; they have tests of their own.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bpf/check.h"
#include "loader/loader.h"

int map_layout(struct map *m, const struct map_def *def)
{
	memset(m, 0, sizeof(*m));
	m->def = *def;
	m->file_size = 2 * PAGE_SIZE;
	return def->type == BPF_MAP_TYPE_QUEUE ? 0 : -EINVAL;
}

int map_create(struct map *m, void *base, u32 id)
{
	m->meta = (struct map_meta *)((char *)base + PAGE_SIZE);
	m->meta->def = m->def;
	m->meta->id = id;
	return 0;
}

int map_open(struct map *m, void *base, u64 size, bool writable)
{
	memset(m, 0, sizeof(*m));
	m->base = base;
	m->meta = (struct map_meta *)((char *)base + PAGE_SIZE);
	m->id = m->meta->id;
	m->def = m->meta->def;
	return 0;
}

void map_owner_make(void)
{
}

void *map_direct_value(const struct map *m)
{
	return NULL;
}

int map_user_lookup(struct map *m, const void *key, void *ret_value, u64 flags)
{
	*(u32 *)ret_value = m->id;
	return 0;
}

int map_user_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return -E2BIG;
}

int map_user_delete(struct map *m, const void *key)
{
	return -EINVAL;
}

int map_user_lookup_and_delete(struct map *m, const void *key, void *ret_value, u64 flags)
{
	return -ENOENT;
}

int map_user_next_key(struct map *m, const void *key, void *ret_key)
{
	return -EINVAL;
}

void bpf_log(struct bpf_log *log, const char *fmt, ...)
{
}

int bpf_check(const struct bpf_insn *insns, u32 count, const struct bpf_check_env *env)
{
	return insns[count - 1].code == (BPF_JMP | BPF_EXIT) ? 0 : -EINVAL;
}

static char dir[64];

static void fresh(void)
{
	if (*dir)
		return;
	strcpy(dir, "/dev/shm/limpet-test-XXXXXX");
	if (!mkdtemp(dir))
		abort();
	setenv("LIMPET_SESSION_DIR", dir, 1);
}

static int make_map(u32 type)
{
	union bpf_attr a = {.map_type = type, .value_size = 4, .max_entries = 4};

	return (int)loader_bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

static int load(int map)
{
	struct bpf_insn insns[] = {
		{BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map},
		{0, 0, 0, 0, 0},
		{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_KPROBE, .insn_cnt = 4};

	a.insns = (u64)insns;
	a.license = (u64)"GPL";
	return (int)loader_bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

static int open_event(void)
{
	struct perf_event_attr a = {.type = LOADER_PERF_TYPE, .size = sizeof(a)};

	a.config1 = (u64) "/proc/self/exe";
	a.config2 = 0x40;
	return (int)loader_event_open(&a, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

static int link_event(int prog, int event)
{
	union bpf_attr a = {0};

	a.link_create.prog_fd = (u32)prog;
	a.link_create.target_fd = (u32)event;
	a.link_create.attach_type = 41;
	a.link_create.perf_event.bpf_cookie = 77;
	return (int)loader_bpf(BPF_LINK_CREATE, &a, sizeof(a));
}

TEST(attributes_follow_the_kernels_size_rules)
{
	char big[sizeof(union bpf_attr) + 16] = {0};
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_QUEUE};

	fresh();
	big[sizeof(big) - 1] = 1;
	CHECK_EQ(loader_bpf(BPF_MAP_CREATE, (void *)big, sizeof(big)), -E2BIG);
	CHECK_EQ(loader_bpf(BPF_MAP_CREATE, NULL, 8), -EFAULT);
	CHECK_EQ(loader_bpf(9999, &a, sizeof(a)), -EINVAL);
	((char *)&a)[sizeof(a) - 1] = 1;
	CHECK_EQ(loader_bpf(BPF_MAP_CREATE, &a, sizeof(a)), -EINVAL);
	CHECK_EQ(make_map(BPF_MAP_TYPE_CPUMAP), -EINVAL);
}

TEST(a_map_descriptor_reaches_its_own_map)
{
	int first, second, value = 0, seen;
	union bpf_attr a = {0};

	fresh();
	first = make_map(BPF_MAP_TYPE_QUEUE);
	second = make_map(BPF_MAP_TYPE_QUEUE);
	REQUIRE(first >= 0 && second >= 0);
	a.map_fd = (u32)first;
	a.value = (u64)&value;
	CHECK_EQ(loader_bpf(BPF_MAP_LOOKUP_ELEM, &a, 32), 0);
	seen = value;
	CHECK_EQ(loader_bpf(BPF_MAP_LOOKUP_ELEM, &a, 32), 0); /* by the fast path */
	CHECK_EQ(value, seen);
	a.map_fd = (u32)second;
	CHECK_EQ(loader_bpf(BPF_MAP_LOOKUP_ELEM, &a, 32), 0);
	CHECK(value != seen);
	a.map_fd = 0x7fff0000;
	CHECK_EQ(loader_bpf(BPF_MAP_LOOKUP_ELEM, &a, 32), -EBADF);
	loader_fd_forget(first);
	loader_fd_forget(second);
	close(first);
	close(second);
	store_collect(loader_store(&value));
}

TEST(a_link_names_the_probed_place_and_keeps_its_program)
{
	int err = 0, map, prog, event, fd;
	struct link_file *l;
	enum object_kind kind;
	struct store *s;
	struct stat st;
	u64 size;
	u32 id;

	fresh();
	s = loader_store(&err);
	REQUIRE(s);
	map = make_map(BPF_MAP_TYPE_QUEUE);
	prog = load(map);
	event = open_event();
	CHECK_EQ(link_event(prog, -1), -EBADF);
	CHECK_EQ(link_event(prog, map), -EINVAL);
	fd = link_event(prog, event);
	REQUIRE(map >= 0 && prog >= 0 && event >= 0 && fd >= 0);
	REQUIRE(!store_identify(s, fd, &kind, &id));
	l = store_map_object(s, OBJ_LINK, id, &size, &err);
	REQUIRE(l && !stat("/proc/self/exe", &st));
	CHECK_EQ(l->ino, st.st_ino);
	CHECK_EQ(l->live, 1);
	CHECK_EQ(((struct link_probe *)((char *)l + l->probes_off))->offset, 0x40);
	CHECK_EQ(((struct link_probe *)((char *)l + l->probes_off))->cookie, 77);
	close(map);
	close(prog);
	close(event);
	CHECK_EQ(store_collect(s), 0);
	close(fd);
	CHECK_EQ(store_collect(s), 4);
	CHECK_EQ(l->live, 0);
	munmap(l, size);
}

TEST(set_bpf_attaches_once_and_lasts_as_long_as_the_event)
{
	int err = 0, map, prog, event;
	struct store *s;
	u32 id;

	fresh();
	s = loader_store(&err);
	map = make_map(BPF_MAP_TYPE_QUEUE);
	prog = load(map);
	event = open_event();
	REQUIRE(s && map >= 0 && prog >= 0 && event >= 0);
	CHECK_EQ(loader_event_ioctl(event, PERF_EVENT_IOC_SET_BPF, (u64)prog), 0);
	CHECK_EQ(loader_event_ioctl(event, PERF_EVENT_IOC_SET_BPF, (u64)prog), -EEXIST);
	CHECK_EQ(loader_event_ioctl(event, PERF_EVENT_IOC_ENABLE, 0), 0);
	CHECK_EQ(loader_event_ioctl(0, PERF_EVENT_IOC_ENABLE, 0), -LOADER_PASS);
	close(map);
	close(prog);
	store_collect(s);
	CHECK_EQ(store_list(s, OBJ_LINK, &id, 1), 1);
	close(event);
	store_collect(s);
	CHECK_EQ(store_list(s, OBJ_LINK, &id, 1), 0);
	CHECK_EQ(store_list(s, OBJ_MAP, &id, 1), 0);
}

TEST(the_session_is_removed)
{
	char path[128];

	fresh();
	snprintf(path, sizeof(path), "%s/session", dir);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(rmdir(dir), 0);
}

TEST_MAIN()
