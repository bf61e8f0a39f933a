/* SPDX-License-Identifier: MIT */
/*
 * Rows on what bpf_perf_event_output() leaves in rings: the same program on either side, the rings'
 * bytes compared. The process must stay on processor 0 (oracle_test.c sees to it).
 */
#include "oracle.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)
#define PAGE 4096ul
#define STACK 256
#define CURRENT 0xffffffffULL

struct world {
	struct side *s;
	int map, event;
	u8 *ring;
	u64 pages; /* of data */
	struct perf_event_attr a;
	int cpu, prot;
};

static int output_prog(struct side *s, int map, u64 flags, u32 size)
{
	struct bpf_insn in[64], *p = in;
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT};

	*p++ = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0};
	for (int i = 0; i < STACK / 8; i++)
		*p++ = (struct bpf_insn){BPF_ST | BPF_MEM | BPF_DW, 10, 0, (s16)(i * 8 - STACK), 0x01010101 * (i + 1)};
	*p++ = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0};
	*p++ = (struct bpf_insn){BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, map};
	*p++ = (struct bpf_insn){0};
	*p++ = (struct bpf_insn){BPF_LD | BPF_IMM | BPF_DW, 3, 0, 0, (s32)flags};
	*p++ = (struct bpf_insn){.imm = (s32)(flags >> 32)};
	*p++ = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_X, 4, 10, 0, 0};
	*p++ = (struct bpf_insn){BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, -STACK};
	*p++ = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_K, 5, 0, 0, (s32)size};
	*p++ = (struct bpf_insn){BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_perf_event_output};
	*p++ = (struct bpf_insn){BPF_JMP | BPF_EXIT, 0, 0, 0, 0};
	a.insn_cnt = (u32)(p - in);
	a.insns = (u64)in;
	a.license = (u64) "GPL";
	return (int)s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

/* Runs the program `times`: what the last run's helper answered. */
static int output(struct world *w, u64 flags, u32 size, int times)
{
	int prog = output_prog(w->s, w->map, flags, size);
	union bpf_attr a = {0};
	long err = prog;

	a.test.prog_fd = (u32)prog;
	for (int i = 0; i < times && err >= 0; i++)
		err = w->s->bpf(BPF_PROG_TEST_RUN, &a, ATTR(&a, test.cpu));
	w->s->drain();
	if (prog >= 0)
		w->s->close(prog);
	return err < 0 ? (int)err : (int)a.test.retval;
}

static void set_entry(struct world *w, u32 key, int event)
{
	union bpf_attr a = {.map_fd = (u32)w->map};

	a.key = (u64)&key;
	a.value = (u64)&event;
	oracle_out(w->s, &(long){w->s->bpf(BPF_MAP_UPDATE_ELEM, &a, ATTR(&a, flags))}, sizeof(long));
}

static struct world world(struct side *s)
{
	struct world w = {.s = s, .pages = 2, .prot = PROT_READ | PROT_WRITE};

	w.a = (struct perf_event_attr){.type = PERF_TYPE_SOFTWARE, .size = sizeof(w.a), .config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_period = 1, .sample_type = PERF_SAMPLE_RAW, .wakeup_events = 1};
	return w;
}

static void begin(struct world *w)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 2};

	w->map = (int)w->s->bpf(BPF_MAP_CREATE, &a, sizeof(a));
	w->event = (int)w->s->perf(&w->a, -1, w->cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (w->prot)
		w->ring = w->s->mmap(w->event, (1 + w->pages) * PAGE, w->prot, MAP_SHARED, 0);
	set_entry(w, 0, w->event);
}

static void end(struct world *w)
{
	if (w->prot)
		w->s->munmap(w->ring, (1 + w->pages) * PAGE);
	w->s->close(w->event);
	w->s->close(w->map);
}

static struct perf_event_mmap_page *control(struct world *w)
{
	return (struct perf_event_mmap_page *)w->ring;
}

/* The position and all data, without what differs by nature: the event's id, the kernel's addresses. */
static void take(struct world *w)
{
	static u64 words[1024];
	u64 id = 0;

	w->s->ioctl(w->event, PERF_EVENT_IOC_ID, (unsigned long)&id);
	memcpy(words, w->ring + PAGE, w->pages * PAGE < sizeof(words) ? w->pages * PAGE : sizeof(words));
	for (u32 i = 0; i < 1024; i++)
		if ((id && words[i] == id) || (w->a.sample_type & PERF_SAMPLE_IP && words[i] >> 40 == 0xffffff))
			words[i] = 0x1d;
	oracle_out(w->s, (void *)&control(w)->data_head, 8);
	oracle_out(w->s, words, 7000);
}

static void took(struct world *w, u64 n)
{
	control(w)->data_tail += n;
}

#define OUTPUT(name_, before_, ...)                                                                \
	ROW(name_)                                                                                 \
	{                                                                                          \
		struct world w = world(s);                                                         \
		long ret;                                                                          \
		before_;                                                                           \
		begin(&w);                                                                         \
		__VA_ARGS__;                                                                       \
		end(&w);                                                                           \
		return ret;                                                                        \
	}

static long all_sizes(struct world *w)
{
	long ret = 0;

	for (u32 n = 0; n <= 40; n++)
		ret |= output(w, CURRENT, n, 1);
	take(w);
	return ret;
}

OUTPUT(out_sizes, (void)0, ret = all_sizes(&w))
OUTPUT(out_largest, (void)0, ret = output(&w, CURRENT, STACK, 3); take(&w))
OUTPUT(out_index, (void)0, ret = output(&w, 0, 8, 1); take(&w))
OUTPUT(out_index_empty, (void)0, ret = output(&w, 1, 8, 1); take(&w))
OUTPUT(out_index_far, (void)0, ret = output(&w, 2, 8, 1))
OUTPUT(out_flags, (void)0, ret = output(&w, 1ULL << 32, 8, 1))
OUTPUT(out_flags_high, (void)0, ret = output(&w, 1ULL << 63, 8, 1))
OUTPUT(out_ctx_len, (void)0, ret = output(&w, 1ULL << 33 | CURRENT, 8, 1))
OUTPUT(out_disabled, w.a.disabled = 1, ret = output(&w, CURRENT, 8, 1))
OUTPUT(out_disabled_enabled, w.a.disabled = 1, s->ioctl(w.event, PERF_EVENT_IOC_ENABLE, 0); ret = output(&w, CURRENT, 8, 1); take(&w))
OUTPUT(out_enabled_disabled, (void)0, s->ioctl(w.event, PERF_EVENT_IOC_DISABLE, 0); ret = output(&w, CURRENT, 8, 1); take(&w))
OUTPUT(out_no_ring, w.prot = 0, ret = output(&w, CURRENT, 8, 1))
OUTPUT(out_ring_later, w.prot = 0, w.ring = s->mmap(w.event, 3 * PAGE, 3, MAP_SHARED, 0); ret = output(&w, CURRENT, 8, 1); take(&w); s->munmap(w.ring, 3 * PAGE); oracle_out(s, &(int){output(&w, CURRENT, 8, 1)}, 4))
OUTPUT(out_ring_no_data, w.pages = 0, ret = output(&w, CURRENT, 8, 1) ? 1 : 1; oracle_out(s, (void *)&control(&w)->data_head, 8))
OUTPUT(out_other_cpu, w.cpu = 1, ret = output(&w, 0, 8, 1))
OUTPUT(out_clock_event, w.a.config = PERF_COUNT_SW_CPU_CLOCK; w.prot = 0, ret = output(&w, CURRENT, 8, 1))
OUTPUT(out_wraps, (void)0, ret = 0; for (int i = 0; i < 300; i++) { ret |= output(&w, CURRENT, 100, 1); took(&w, 112); } take(&w))

/* More than there is room for; what is told of it once there is room again. */
OUTPUT(out_full, (void)0, output(&w, CURRENT, 40, 200); take(&w); took(&w, 4096); output(&w, CURRENT, 8, 1); take(&w); ret = 0)
OUTPUT(out_full_exactly, w.pages = 1, output(&w, CURRENT, 244, 16); take(&w); ret = 0)
OUTPUT(out_paused, (void)0, s->ioctl(w.event, PERF_EVENT_IOC_PAUSE_OUTPUT, 1); output(&w, CURRENT, 8, 3); s->ioctl(w.event, PERF_EVENT_IOC_PAUSE_OUTPUT, 0); ret = output(&w, CURRENT, 8, 1); take(&w))
OUTPUT(out_no_raw, w.a.sample_type = 0, ret = output(&w, CURRENT, 8, 2); take(&w))
OUTPUT(out_overwrite, w.prot = PROT_READ, ret = output(&w, CURRENT, 44, 200); take(&w))
OUTPUT(out_backward, w.a.write_backward = 1, ret = output(&w, CURRENT, 40, 5); oracle_out(s, (void *)&control(&w)->data_head, 8); oracle_out(s, w.ring + PAGE + 2 * PAGE - 512, 512))
OUTPUT(out_backward_overwrite, w.a.write_backward = 1; w.prot = PROT_READ, ret = output(&w, CURRENT, 44, 500); take(&w))

OUTPUT(out_ids, w.a.sample_type |= PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID, ret = output(&w, CURRENT, 12, 2); take(&w))
OUTPUT(out_tid_cpu, w.a.sample_type |= PERF_SAMPLE_TID | PERF_SAMPLE_CPU, ret = output(&w, CURRENT, 12, 2); take(&w))
OUTPUT(out_ids_of_lost, w.a.sample_id_all = 1; w.a.sample_type |= PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_ID | PERF_SAMPLE_TID | PERF_SAMPLE_CPU, output(&w, CURRENT, 40, 200); took(&w, 4096); output(&w, CURRENT, 8, 1); take(&w); ret = 0)
OUTPUT(out_addr_period, w.a.sample_type |= PERF_SAMPLE_ADDR | PERF_SAMPLE_PERIOD, ret = output(&w, CURRENT, 12, 2); take(&w))

static void polls(struct world *w, int n, u32 size)
{
	for (int i = 0; i < n; i++) {
		output(w, CURRENT, size, 1);
		oracle_out(w->s, &(u32){w->s->poll(w->event)}, 4);
	}
	oracle_out(w->s, &(u32){w->s->poll(w->event)}, 4);
}

OUTPUT(poll_each, (void)0, polls(&w, 5, 8); ret = 0)
OUTPUT(poll_third, w.a.wakeup_events = 3, polls(&w, 10, 8); ret = 0)
OUTPUT(poll_never, w.a.wakeup_events = 0, polls(&w, 10, 8); ret = 0)
OUTPUT(poll_half, w.a.wakeup_events = 0, w.s = s; polls(&w, 40, 240); ret = 0)
OUTPUT(poll_watermark, w.a.watermark = 1; w.a.wakeup_watermark = 100, polls(&w, 20, 8); ret = 0)
OUTPUT(poll_watermark_1, w.a.watermark = 1; w.a.wakeup_watermark = 1, polls(&w, 5, 8); ret = 0)
OUTPUT(poll_watermark_big, w.a.watermark = 1; w.a.wakeup_watermark = 1 << 30, polls(&w, 40, 240); ret = 0)
OUTPUT(poll_no_ring, w.prot = 0, polls(&w, 1, 8); ret = 0)
OUTPUT(poll_fresh, (void)0, ret = s->poll(w.event))

ROW(out_shared)
{
	struct world w = world(s);
	int other;
	long ret;

	begin(&w);
	other = (int)s->perf(&w.a, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	oracle_out(s, &(long){s->ioctl(other, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)w.event)}, 8);
	set_entry(&w, 0, other);
	ret = output(&w, CURRENT, 8, 2);
	take(&w);
	oracle_out(s, &(u32){s->poll(other)}, 4);
	s->close(other);
	end(&w);
	return ret;
}

ROW(out_event_closed) /* the entry and the mapping keep it */
{
	struct world w = world(s);
	long ret;

	begin(&w);
	s->close(w.event);
	ret = output(&w, CURRENT, 8, 2);
	take(&w);
	w.event = s->closed;
	end(&w);
	return ret;
}

#define R(name_) {#name_, name_}

const struct row oracle_output_rows[] = {
	R(out_sizes), R(out_largest), R(out_index), R(out_index_empty), R(out_index_far), R(out_flags), R(out_flags_high),
	R(out_ctx_len), R(out_disabled), R(out_disabled_enabled), R(out_enabled_disabled), R(out_no_ring), R(out_ring_later),
	R(out_ring_no_data), R(out_other_cpu), R(out_clock_event), R(out_wraps), R(out_full), R(out_full_exactly),
	R(out_paused), R(out_no_raw), R(out_overwrite), R(out_backward), R(out_backward_overwrite), R(out_ids),
	R(out_tid_cpu), R(out_ids_of_lost), R(out_addr_period), R(poll_each), R(poll_third), R(poll_never), R(poll_half), R(poll_watermark),
	R(poll_watermark_1), R(poll_watermark_big), R(poll_no_ring), R(poll_fresh), R(out_shared), R(out_event_closed), {0}
};
