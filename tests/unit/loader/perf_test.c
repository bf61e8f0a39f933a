/* SPDX-License-Identifier: MIT */
/*
 * Perf event arrays among processes that die, stop, or spoil what they share: samples that are finished
 * arrive whole, and those that are not hold up nobody.
 */
#include "check.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "loader/event_output.h"
#include "loader/loader.h"
#include "maps/perf_event_array.h"

#define DATA_PAGES 64
#define SAMPLE     40

static char session_dir[64];
static int map_fd, event_fd, prog_fd;
static u8 *ring;

static void remove_session(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "exec rm -r '%s'", session_dir);
	if (system(cmd))
		printf("# could not remove %s\n", session_dir);
}

/* The sample is 40 bytes, each word the same number. */
static int load_prog(void)
{
	struct bpf_insn in[16], *p = in;
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT};

	for (int i = 0; i < SAMPLE / 8; i++)
		*p++ = (struct bpf_insn){BPF_ST | BPF_MEM | BPF_DW, 10, 0, (s16)(i * 8 - SAMPLE),
					 0x5a5a5a};
	*p++ = (struct bpf_insn){BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, map_fd};
	*p++ = (struct bpf_insn){0};
	*p++ = (struct bpf_insn){BPF_ALU | BPF_MOV | BPF_K, 3, 0, 0, -1};
	*p++ = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_X, 4, 10, 0, 0};
	*p++ = (struct bpf_insn){BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, -SAMPLE};
	*p++ = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_K, 5, 0, 0, SAMPLE};
	*p++ = (struct bpf_insn){BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_perf_event_output};
	*p++ = (struct bpf_insn){BPF_JMP | BPF_EXIT, 0, 0, 0, 0};
	a.insn_cnt = (u32)(p - in);
	a.insns = (u64)in;
	a.license = (u64) "GPL";
	return (int)loader_bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

static bool set_up(void)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY,
			    .key_size = 4,
			    .value_size = 4,
			    .max_entries = 1};
	struct perf_event_attr p = {.type = PERF_TYPE_SOFTWARE,
				    .size = sizeof(p),
				    .config = PERF_COUNT_SW_BPF_OUTPUT,
				    .sample_type = PERF_SAMPLE_RAW};
	cpu_set_t one;
	u32 key = 0;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		return false;
	if (!*session_dir) {
		strcpy(session_dir, "/dev/shm/limpet-test-XXXXXX");
		if (!mkdtemp(session_dir))
			return false;
		setenv("LIMPET_SESSION_DIR", session_dir, 1);
		atexit(remove_session);
	}
	map_fd = (int)loader_bpf(BPF_MAP_CREATE, &a, sizeof(a));
	event_fd = (int)loader_event_open(&p, -1, 0, -1, 0);
	ring = (u8 *)loader_mmap(NULL, (1 + DATA_PAGES) * PAGE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_SHARED, event_fd, 0);
	memset(&a, 0, sizeof(a));
	a.map_fd = (u32)map_fd;
	a.key = (u64)&key;
	a.value = (u64)&event_fd;
	if (loader_bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a)))
		return false;
	prog_fd = load_prog();
	return prog_fd >= 0;
}

static long output(void)
{
	union bpf_attr a = {0};
	long err;

	a.test.prog_fd = (u32)prog_fd;
	err = loader_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a));
	return err ? err : (int)a.test.retval;
}

/* Reads what is there: samples into *ret_good, lost ones into *ret_lost; false for nonsense. */
static bool take(u64 *ret_good, u64 *ret_lost)
{
	struct perf_event_mmap_page *page = (void *)ring;
	const u64 size = DATA_PAGES * PAGE_SIZE,
		  head = atomic_load_explicit((_Atomic u64 *)&page->data_head,
					      memory_order_acquire);
	u64 words[64];

	while (page->data_tail != head) {
		u64 at = page->data_tail;
		struct perf_event_header h;

		memcpy(&h, ring + PAGE_SIZE + at % size, sizeof(h));
		if (h.size < 8 || h.size > sizeof(words) || h.size % 8 || h.size > head - at)
			return false;
		for (u32 i = 0; i < h.size / 8u; i++)
			memcpy(&words[i], ring + PAGE_SIZE + (at + i * 8) % size, 8);
		if (h.type == PERF_RECORD_LOST) {
			*ret_lost += words[2];
		} else {
			if (h.type != PERF_RECORD_SAMPLE || h.size != 56 ||
			    (u32)words[1] != SAMPLE + 4 || words[1] >> 32 != 0x5a5a5a ||
			    words[2] != 0x5a5a5a00000000)
				return false;
			++*ret_good;
		}
		atomic_store_explicit((_Atomic u64 *)&page->data_tail, at + h.size,
				      memory_order_release);
	}
	return true;
}

static bool wait_for(u64 want, u64 *good, u64 *lost)
{
	for (int i = 0; i < 5000 && *good + *lost < want; i++) {
		if (!take(good, lost))
			return false;
		usleep(1000);
	}
	return true;
}

static pid_t sender(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (;;)
		output();
}

/* Everything up to now has come, or was lost; whatever it was. */
static void settle(u64 *good, u64 *lost)
{
	for (int quiet = 0; quiet < 300; quiet++) {
		u64 before = *good;

		if (!take(good, lost))
			return;
		if (*good != before)
			quiet = 0;
		usleep(1000);
	}
}

TEST(senders_that_are_killed_spoil_nothing)
{
	const int kills = getenv("LIMPET_LONG") ? 3000 : 40;
	u64 good = 0, lost = 0, before;

	REQUIRE(set_up());
	for (int i = 0; i < kills; i++) {
		pid_t pid = sender();

		usleep((useconds_t)(rand() % 3000));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		REQUIRE(take(&good, &lost));
	}
	settle(&good, &lost);
	CHECK(good > 0);
	before = good + lost;
	for (int i = 0; i < 20; i++)
		CHECK_EQ(output(), 0);
	REQUIRE(wait_for(before + 20, &good, &lost));
	CHECK_EQ(good + lost - before, 20);
}

TEST(a_stopped_sender_holds_up_nobody)
{
	u64 good = 0, lost = 0, before;

	for (int i = 0; i < 2; i++) {
		pid_t pid = sender();

		usleep(3000);
		kill(pid, SIGSTOP);
		settle(&good, &lost);
		before = good + lost;
		for (int n = 0; n < 5; n++)
			output();
		CHECK(wait_for(before + 5, &good, &lost));
		CHECK(good + lost >= before + 5);
		kill(pid, SIGCONT);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

/* Records that are read may be nonsense; nothing crashes or hangs. */
TEST(spoilt_memory_crashes_nothing)
{
	const int rounds = getenv("LIMPET_LONG") ? 2000000 : 20000;
	int err = 0;
	struct map *m = loader_map_by_fd(map_fd, NULL, &err);
	struct perf_event_mmap_page *page = (void *)ring;

	REQUIRE(m != NULL);
	for (int i = 0; i < rounds; i++) {
		u64 at = (u64)rand() % 3 ? (u64)rand() % 4096
					 : m->file_size - 4096 + (u64)rand() % 4096;

		if (rand() % 4 == 0)
			at = m->bank_off + (u64)rand() % m->bank_size;
		m->base[at] = (u8)rand();
		if (rand() % 8 == 0)
			ring[rand() % 2 ? 1024 + rand() % 64 : rand() % 4096] = (u8)rand();
		output();
		page->data_tail = page->data_head;
	}
}

TEST_MAIN()
