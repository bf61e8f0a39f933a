/* SPDX-License-Identifier: MIT */
/*
 * The emulator without the preloaded object: programs, events, links, lifetimes. How its answers
 * compare with the kernel's is oracle_test.c.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loader/digest.h"
#include "loader/loader.h"
#include "loader/task.h"

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
	a.license = (u64) "GPL";
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

static int peek(int fd)
{
	union bpf_attr a = {.map_fd = (u32)fd};
	int value = -1;

	a.value = (u64)&value;
	return loader_bpf(BPF_MAP_LOOKUP_ELEM, &a, 32) ? -1 : value;
}

static void push(int fd, int value)
{
	union bpf_attr a = {.map_fd = (u32)fd};

	a.value = (u64)&value;
	CHECK_EQ(loader_bpf(BPF_MAP_UPDATE_ELEM, &a, 32), 0);
}

TEST(a_map_descriptor_reaches_its_own_map)
{
	int first, second, err = 0;
	struct loader_obj o;

	fresh();
	first = make_map(BPF_MAP_TYPE_QUEUE);
	second = make_map(BPF_MAP_TYPE_QUEUE);
	REQUIRE(first >= 0 && second >= 0);
	push(first, 1);
	push(second, 2);
	CHECK_EQ(peek(first), 1);
	CHECK_EQ(peek(first), 1); /* by the fast path */
	CHECK_EQ(peek(second), 2);
	CHECK(loader_fd_take(first, &o));
	close(first);
	CHECK_EQ(peek(first), -1);
	loader_fd_take(second, &o);
	close(second);
	CHECK_EQ(store_collect(loader_store(&err)), 2);
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
	CHECK_EQ(link_event(prog, map), -EBADF);
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

TEST(return_probes_take_one_program_too)
{
	struct perf_event_attr a = {.type = LOADER_PERF_TYPE, .size = sizeof(a), .config = 1};
	int map, prog, event, link, err = 0;

	fresh();
	a.config1 = (u64) "/proc/self/exe";
	a.config2 = 0x40;
	map = make_map(BPF_MAP_TYPE_QUEUE);
	prog = load(map);
	event = (int)loader_event_open(&a, -1, 0, -1, 0);
	REQUIRE(map >= 0 && prog >= 0 && event >= 0);
	link = (int)link_event(prog, event);
	REQUIRE(link >= 0);
	CHECK_EQ(loader_event_ioctl(event, PERF_EVENT_IOC_SET_BPF, (u64)prog), -EEXIST);
	close(link);
	close(map);
	close(prog);
	close(event);
	CHECK_EQ(store_collect(loader_store(&err)), 4);
}

static void check_digest(const u8 *digest, u32 size, const char *want)
{
	char text[65];

	for (u32 i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	CHECK_STR(text, want);
}

/* The examples of FIPS 180-4, one block and two. */
TEST(digests_are_the_standards)
{
	static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	u8 d[32];

	sha1("abc", 3, d);
	check_digest(d, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
	sha1(two, sizeof(two) - 1, d);
	check_digest(d, 20, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
	sha256("abc", 3, d);
	check_digest(d, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256(two, sizeof(two) - 1, d);
	check_digest(d, 32, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

extern const char limpet_btf_start[], limpet_btf_end[];

TEST(limpets_own_btf_has_the_task)
{
	u16 off[TASK_FIELDS];
	struct btf b = {0};

	REQUIRE(!btf_read(&b, limpet_btf_start, (u32)(limpet_btf_end - limpet_btf_start)));
	task_layout_read(&b, off);
	for (u32 f = 0; f < TASK_FIELDS; f++)
		CHECK(off[f] != TASK_NOT_THERE);
	CHECK_EQ(off[TASK_PID] + 4, off[TASK_TGID]);
	CHECK_EQ(off[TASK_CRED_EGID], 20);
	CHECK_EQ(off[TASK_NSPROXY_MNT], 16);
	btf_close(&b);
}

TEST(the_session_is_removed)
{
	char path[128];

	fresh();
	snprintf(path, sizeof(path), "%s/refs", dir);
	CHECK_EQ(rmdir(path), 0);
	snprintf(path, sizeof(path), "%s/session", dir);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(rmdir(dir), 0);
}

TEST_MAIN()
