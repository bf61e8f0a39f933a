/* SPDX-License-Identifier: MIT */
/* The emulator's answers held against the kernel's (oracle.h). Without the kernel's bpf(2) it only
 * runs ours. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "bpf/syscall_desc.h"
#include "loader/files.h"
#include "loader/loader.h"
#include "loader/event_output.h"
#include "loader/perf_array.h"
#include "loader/tracefs.h"
#include "oracle_random.h"

u64 bad_page, readonly_page, edge;

struct bpf_insn oracle_insns[4] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
				   {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};

/* int; char; char[8]; struct s { char c[8]; }; typedef; func proto; func */
const u8 oracle_btf[] = {
	0x9f, 0xeb, 1,   0,   24,   0,   0,   0,   0,   0, 0,   0, 0x8c, 0, 0,   0,
	0x8c, 0,    0,   0,   0x14, 0,   0,   0,   1,   0, 0,   0, 0,    0, 0,   1,
	4,    0,    0,   0,   0x20, 0,   0,   1,                                    /* 1 int */
	5,    0,    0,   0,   0,    0,   0,   1,   1,   0, 0,   0, 8,    0, 0,   1, /* 2 char */
	0,    0,    0,   0,   0,    0,   0,   3,   0,   0, 0,   0, 2,    0, 0,   0,
	1,    0,    0,   0,   8,    0,   0,   0, /* 3 char[8] */
	10,   0,    0,   0,   1,    0,   0,   4,   8,   0, 0,   0, 12,   0, 0,   0,
	3,    0,    0,   0,   0,    0,   0,   0,                   /* 4 struct s */
	14,   0,    0,   0,   0,    0,   0,   8,   4,   0, 0,   0, /* 5 typedef st */
	0,    0,    0,   0,   0,    0,   0,   13,  1,   0, 0,   0, /* 6 int (void) */
	17,   0,    0,   0,   1,    0,   0,   12,  6,   0, 0,   0, /* 7 func fn */
	0,    0,    0,   0,   0,    0,   0,   2,   1,   0, 0,   0, /* 8 int * */
	14,   0,    0,   0,   0,    0,   0,   8,   1,   0, 0,   0, /* 9 typedef int st */
	0,    'i',  'n', 't', 0,    'c', 'h', 'a', 'r', 0, 's', 0, 'c',  0, 's', 't',
	0,    'f',  'n', 0,
};
const u32 oracle_btf_size = sizeof(oracle_btf);

static long answer(long ret)
{
	return ret < 0 ? -errno : ret;
}

static long kernel_bpf(int cmd, void *attr, unsigned int size)
{
	return answer(syscall(SYS_bpf, cmd, attr, size));
}

static long kernel_perf(void *attr, int pid, int cpu, int group, unsigned long flags)
{
	return answer(syscall(SYS_perf_event_open, attr, pid, cpu, group, flags));
}

static long kernel_ioctl(int fd, unsigned long request, unsigned long arg)
{
	return answer(ioctl(fd, request, arg));
}

static u64 kernel_event_id(const char *name)
{
	char path[256];
	unsigned int id = 0;
	FILE *f;

	snprintf(path, sizeof(path), TRACEFS_DIR "/events/%s/id", name);
	f = fopen(path, "re");
	if (f && fscanf(f, "%u", &id) != 1)
		id = 0;
	if (f)
		fclose(f);
	return id;
}

static u64 our_event_id(const char *name)
{
	struct syscall_event e;
	char system[32];

	return sscanf(name, "%31[^/]", system) == 1 && syscall_event_by_name(system, strchr(name, '/') + 1, &e)
		       ? syscall_event_id(e)
		       : 0;
}

static void kernel_close(int fd)
{
	close(fd);
}

static void *kernel_mmap(int fd, unsigned long size, int prot, int flags, long off)
{
	void *p = mmap(NULL, size, prot, flags, fd, off);

	return p == MAP_FAILED ? (void *)(long)-errno : p;
}

static long kernel_munmap(void *p, unsigned long size)
{
	return answer(munmap(p, size));
}

static u32 kernel_poll(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	poll(&p, 1, 0);
	return (u32)(u16)p.revents;
}

static void kernel_unlink(const char *path)
{
	unlink(path);
}

static void kernel_settle(void)
{
	usleep(50000);
}

static long our_bpf(int cmd, void *attr, unsigned int size)
{
	return loader_bpf(cmd, attr, size);
}

static long our_perf(void *attr, int pid, int cpu, int group, unsigned long flags)
{
	long ret = loader_event_open(attr, pid, cpu, group, flags);

	return ret == -LOADER_PASS ? -EFAULT : ret;
}

static long our_ioctl(int fd, unsigned long request, unsigned long arg)
{
	long ret = loader_event_ioctl(fd, request, arg);

	return ret == -LOADER_PASS ? kernel_ioctl(fd, request, arg) : ret;
}

static void our_close(int fd)
{
	struct loader_obj o;
	bool ours = loader_fd_take(fd, &o);
	int err;

	close(fd);
	if (ours && o.kind == OBJ_MAP)
		perf_array_closed(o.id);
	if (ours)
		store_release(loader_session(&err), o.kind, o.id);
}

static void *our_mmap(int fd, unsigned long size, int prot, int flags, long off)
{
	return (void *)loader_mmap(NULL, size, prot, flags, fd, off);
}

static long our_munmap(void *p, unsigned long size)
{
	long ret = loader_munmap(p, size);

	return ret == -LOADER_PASS ? kernel_munmap(p, size) : ret;
}

static u32 our_poll(int fd)
{
	u32 id;

	return loader_fd_object(fd, OBJ_EVENT, &id) ? POLLNVAL : output_poll(id, true);
}

static void our_unlink(const char *path)
{
	char buf[FILES_PATHMAX];
	int err;

	store_unpin(loader_session(&err), files_path(path, buf));
}

/* The pump has its own thread: until it has moved everything, and let go. */
static void wait_pumped(struct map *m, void *arg)
{
	struct staging_ctl *c = m->staging.ctl;

	if (m->def.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY || !perf_array_is_read_here(m))
		return;
	while (!staging_idle(&m->staging) || atomic_load(&c->pump))
		usleep(20);
}

static void our_drain(void)
{
	loader_maps_each(wait_pumped, NULL);
}

static void kernel_drain(void)
{
}

static void our_settle(void)
{
}

static struct side kernel = {.name = "kernel",
			     .bpf = kernel_bpf,
			     .perf = kernel_perf,
			     .ioctl = kernel_ioctl,
			     .event_id = kernel_event_id,
			     .close = kernel_close,
			     .mmap = kernel_mmap,
			     .munmap = kernel_munmap,
			     .poll = kernel_poll,
			     .drain = kernel_drain,
			     .unlink = kernel_unlink,
			     .settle = kernel_settle};
static struct side ours = {.name = "limpet",
			   .bpf = our_bpf,
			   .perf = our_perf,
			   .ioctl = our_ioctl,
			   .close = our_close,
			   .mmap = our_mmap,
			   .munmap = our_munmap,
			   .poll = our_poll,
			   .drain = our_drain,
			   .unlink = our_unlink,
			   .settle = our_settle,
			   .event_id = our_event_id,
			   .uprobe_type = LOADER_PERF_TYPE};

void oracle_out(struct side *s, const void *p, u32 n)
{
	if (s->out_len + n <= OUT_MAX)
		memcpy(s->out + s->out_len, p, n);
	s->out_len += n;
}

static int make_map(struct side *s, u32 type, u32 key, u32 value, u32 entries, u32 flags,
		    const char *name)
{
	union bpf_attr a = {.map_type = type,
			    .key_size = key,
			    .value_size = value,
			    .max_entries = entries,
			    .map_flags = flags};

	strcpy(a.map_name, name);
	return (int)s->bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

static int load_prog(struct side *s, const char *license)
{
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_KPROBE, .insn_cnt = 2};

	a.insns = (u64)oracle_insns;
	a.license = (u64)license;
	strcpy(a.prog_name, "nothing");
	return (int)s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

static int open_event(struct side *s)
{
	struct perf_event_attr a = {.type = s->uprobe_type, .size = sizeof(a)};

	a.config1 = (u64) "/bin/true";
	a.config2 = 0x40;
	return (int)s->perf(&a, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

static int freeze(struct side *s, int fd)
{
	union bpf_attr a = {.map_fd = (u32)fd};

	return (int)s->bpf(BPF_MAP_FREEZE, &a, sizeof(a));
}

static int load_btf(struct side *s)
{
	union bpf_attr a = {.btf_size = oracle_btf_size};

	a.btf = (u64)oracle_btf;
	return (int)s->bpf(BPF_BTF_LOAD, &a, sizeof(a));
}

static bool set_up(struct side *s)
{
	union bpf_attr a = {0};
	int ends[2];

	s->array = make_map(s, BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0, "array");
	s->mappable = make_map(s, BPF_MAP_TYPE_ARRAY, 4, 8192, 1, BPF_F_MMAPABLE, "mappable");
	s->frozen = make_map(s, BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0, "frozen");
	s->queue = make_map(s, BPF_MAP_TYPE_QUEUE, 0, 8, 3, 0, "queue");
	s->readonly = make_map(s, BPF_MAP_TYPE_ARRAY, 4, 8, 4, BPF_F_RDONLY, "readonly");
	s->writeonly = make_map(s, BPF_MAP_TYPE_ARRAY, 4, 8, 4, BPF_F_WRONLY, "writeonly");
	s->prog = load_prog(s, "GPL");
	s->prog_plain = load_prog(s, "Proprietary");
	s->btf = load_btf(s);
	s->event = open_event(s);
	s->taken = open_event(s);
	a.link_create.prog_fd = (u32)s->prog;
	a.link_create.target_fd = (u32)s->taken;
	a.link_create.attach_type = 41;
	s->link = (int)s->bpf(BPF_LINK_CREATE, &a, sizeof(a));
	if (pipe(ends))
		return false;
	s->pipe = ends[0];
	close(ends[1]);
	s->closed = 999;
	if (s->frozen < 0 || freeze(s, s->frozen))
		return false;
	for (const int *fd = &s->array; fd <= &s->pipe; fd++)
		if (*fd < 0) {
			printf("# %s: fixture %d: %s\n", s->name, (int)(fd - &s->array),
			       strerror(-*fd));
			return false;
		}
	return true;
}

static void make_pages(void)
{
	u8 *p = mmap(NULL, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);

	mprotect(p, PAGE_SIZE, PROT_READ);
	mprotect(p + PAGE_SIZE, PAGE_SIZE, PROT_NONE);
	mprotect(p + 3 * PAGE_SIZE, PAGE_SIZE,
		 PROT_NONE); /* not unmapped: something else would be put there */
	readonly_page = (u64)p;
	bad_page = (u64)p + PAGE_SIZE;
	edge = (u64)p + 3 * PAGE_SIZE - 8;
}

static bool have_kernel, have_bpffs, have_tracefs, ready;

static char session_dir[64];

static void remove_session(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "exec rm -r '%s'", session_dir);
	if (system(cmd))
		printf("# could not remove %s\n", session_dir);
}

static void fresh(void)
{
	struct rlimit many = {2048, 2048};
	FILE *f;

	if (ready)
		return;
	ready = true;
	setrlimit(RLIMIT_NOFILE, &many);
	strcpy(session_dir, "/dev/shm/limpet-test-XXXXXX");
	if (!mkdtemp(session_dir))
		abort();
	setenv("LIMPET_SESSION_DIR", session_dir, 1);
	atexit(remove_session);
	make_pages();
	f = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	have_bpffs = !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
		     !mount("bpf", FILES_BPFFS, "bpf", 0, NULL);
	have_tracefs = have_bpffs && !mount("tracefs", TRACEFS_DIR, "tracefs", 0, NULL);
	have_kernel = f && fscanf(f, "%u", &kernel.uprobe_type) == 1 && set_up(&kernel);
	if (f)
		fclose(f);
	if (!set_up(&ours))
		abort();
}

static long run(const struct row *r, struct side *s)
{
	static u8 room[65536];
	union {
		union bpf_attr a;
		u8 more[256];
	} attr;

	memset(&attr, 0, sizeof(attr));
	memset(room, 0, sizeof(room));
	memset(s->out, 0, sizeof(s->out));
	s->out_len = 0;
	return r->run(s, &attr.a, room);
}

static void compare(const struct row *rows)
{
	fresh();
	for (const struct row *r = rows; r->name; r++) {
		long got = run(r, &ours), want = have_kernel ? run(r, &kernel) : got;

		if (got != want) {
			printf("# %s: limpet answers %ld (%s), the kernel %ld (%s)\n", r->name, got,
			       got < 0 ? strerror((int)-got) : "success", want,
			       want < 0 ? strerror((int)-want) : "success");
			check_failed = 1;
		}
		for (u32 i = 0; have_kernel && i < ours.out_len && i < OUT_MAX; i++) {
			if (ours.out_len == kernel.out_len && ours.out[i] == kernel.out[i])
				continue;
			printf("# %s: %u and %u bytes out, the first difference at %u: 0x%x and "
			       "0x%x\n",
			       r->name, ours.out_len, kernel.out_len, i, ours.out[i],
			       kernel.out[i]);
			check_failed = 1;
			break;
		}
	}
	if (!have_kernel && !check_failed)
		SKIP("the kernel's bpf(2) is not to be had here; ours ran without crash");
}

TEST(map_calls_answer_as_the_kernels)
{
	compare(oracle_map_rows);
}

TEST(program_calls_answer_as_the_kernels)
{
	compare(oracle_prog_rows);
}

TEST(link_and_event_calls_answer_as_the_kernels)
{
	compare(oracle_link_rows);
}

TEST(tracepoints_of_system_calls_answer_as_the_kernels)
{
	fresh();
	if (have_kernel && !have_tracefs)
		SKIP("tracefs cannot be mounted here");
	compare(oracle_syscall_rows);
}

TEST(output_events_and_arrays_answer_as_the_kernels)
{
	compare(oracle_perf_rows);
}

TEST(samples_lie_in_rings_as_the_kernels)
{
	cpu_set_t old, one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_getaffinity(0, sizeof(old), &old) || sched_setaffinity(0, sizeof(one), &one))
		SKIP("this process may not stay on processor 0");
	compare(oracle_output_rows);
	sched_setaffinity(0, sizeof(old), &old);
}

TEST(ids_and_info_answer_as_the_kernels)
{
	compare(oracle_info_rows);
}

TEST(runs_batches_and_queries_answer_as_the_kernels)
{
	compare(oracle_run_rows);
}

TEST(maps_that_hold_objects_answer_as_the_kernels)
{
	compare(oracle_ref_rows);
}

TEST(mappings_answer_as_the_kernels)
{
	compare(oracle_mmap_rows);
}

TEST(pins_answer_as_the_kernels)
{
	fresh();
	if (!have_bpffs)
		SKIP("no bpffs can be mounted here");
	compare(oracle_pin_rows);
}

TEST(random_attributes_crash_nothing_and_are_answered_as_by_the_kernel)
{
	const u32 count = getenv("LIMPET_LONG") ? 1000000 : 20000;
	const char *from = getenv("ORACLE_SEED");
	u64 seed = 0;
	int cmd;

	fresh();
	cmd = oracle_fuzz(&ours, have_kernel ? &kernel : NULL, from ? strtoull(from, NULL, 0) : 1,
			  count, &seed);
	if (cmd) {
		printf("# command %d is answered differently; ORACLE_SEED=%llu\n",
		       cmd - 1, (unsigned long long)seed);
		check_failed = 1;
	}
}

static void compare_at_random(const char *type)
{
	const u32 count = getenv("LIMPET_LONG") ? 1000000 : 10000;
	cpu_set_t old, one;

	fresh();
	if (!have_kernel)
		SKIP("the kernel's bpf(2) is not to be had here");
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_getaffinity(0, sizeof(old), &old) || sched_setaffinity(0, sizeof(one), &one))
		SKIP("this process may not stay on processor 0");
	CHECK_EQ(oracle_random(&ours, &kernel, type, count), 0);
	sched_setaffinity(0, sizeof(old), &old);
}

#define AT_RANDOM(type) TEST(random_operations_on_##type) { compare_at_random(#type); }
AT_RANDOM(prog_array)
AT_RANDOM(array_of_maps)
AT_RANDOM(hash_of_maps)
AT_RANDOM(cgroup_array)
AT_RANDOM(stack_trace)
AT_RANDOM(ringbuf)
AT_RANDOM(user_ringbuf)
AT_RANDOM(perf_event_array)

TEST(closing_everything_leaves_nothing)
{
	char name[16] = "";
	struct bpf_btf_info info = {.name = (u64)name, .name_len = sizeof(name)};
	union bpf_attr a = {0};
	int vmlinux;

	fresh();
	for (const int *fd = &ours.array; fd <= &ours.pipe; fd++)
		our_close(*fd);
	CHECK_EQ(our_bpf(BPF_MAP_GET_NEXT_ID, &a, sizeof(a)), -ENOENT);
	CHECK_EQ(our_bpf(BPF_PROG_GET_NEXT_ID, &a, sizeof(a)), -ENOENT);
	CHECK_EQ(our_bpf(BPF_LINK_GET_NEXT_ID, &a, sizeof(a)), -ENOENT);
	/* the kernel's own is always there, and goes when it is closed */
	CHECK_EQ(our_bpf(BPF_BTF_GET_NEXT_ID, &a, sizeof(a)), 0);
	CHECK_EQ(a.next_id, LOADER_BTF_VMLINUX);
	a.start_id = a.next_id;
	CHECK_EQ(our_bpf(BPF_BTF_GET_NEXT_ID, &a, sizeof(a)), -ENOENT);
	memset(&a, 0, sizeof(a));
	a.btf_id = LOADER_BTF_VMLINUX;
	vmlinux = (int)our_bpf(BPF_BTF_GET_FD_BY_ID, &a, sizeof(a));
	REQUIRE(vmlinux >= 0);
	memset(&a, 0, sizeof(a));
	a.info.bpf_fd = (u32)vmlinux;
	a.info.info_len = sizeof(info);
	a.info.info = (u64)&info;
	CHECK_EQ(our_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)), 0);
	CHECK_STR(name, "vmlinux");
	CHECK_EQ(info.kernel_btf, 1);
	CHECK_EQ(info.id, LOADER_BTF_VMLINUX);
	CHECK(info.btf_size > 100);
	/* open as it is, it is still the one with that number: others come to it by that, whoever closes what */
	memset(&a, 0, sizeof(a));
	CHECK_EQ(our_bpf(BPF_BTF_GET_NEXT_ID, &a, sizeof(a)), 0);
	CHECK_EQ(a.next_id, LOADER_BTF_VMLINUX);
	our_close(vmlinux);
	memset(&a, 0, sizeof(a));
	CHECK_EQ(our_bpf(BPF_BTF_GET_NEXT_ID, &a, sizeof(a)), 0);
	CHECK_EQ(a.next_id, LOADER_BTF_VMLINUX);
}

TEST_MAIN()
