/* SPDX-License-Identifier: MIT */
/*
 * Rows on maps that hold objects: definitions, descriptors in and ids out, who may go together, what
 * becomes of them, and programs that go through them (test runs of socket filters).
 */
#include "oracle_asm.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* clang-format off: a row is a line where it can be */
#define ROW(name_) static long name_(struct side *s, union bpf_attr *a, u8 *room)

static int make(struct side *s, u32 type, u32 key, u32 value, u32 entries, u32 flags, int inner)
{
	union bpf_attr a = {.map_type = type, .key_size = key, .value_size = value, .max_entries = entries, .map_flags = flags};

	a.inner_map_fd = (u32)inner;
	return (int)s->bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

static int progs(struct side *s, u32 entries)
{
	return make(s, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, entries, 0, 0);
}

static long elem(struct side *s, int cmd, int map, u32 key, void *value, u64 flags)
{
	union bpf_attr a = {.map_fd = (u32)map, .key = (u64)&key, .value = cmd == BPF_MAP_DELETE_ELEM ? 0 : (u64)value, .flags = flags};

	return s->bpf(cmd, &a, sizeof(a));
}

static long put(struct side *s, int map, u32 key, int fd) { return elem(s, BPF_MAP_UPDATE_ELEM, map, key, &fd, 0); }
static long take(struct side *s, int map, u32 key) { return elem(s, BPF_MAP_DELETE_ELEM, map, key, NULL, 0); }

/* int; int (void); static func f: what the kernel wants of programs with tail calls in subprograms */
static const u8 two_funcs[] = {
	0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 40, 0, 0, 0, 7, 0, 0, 0,
	1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 1,
	0, 0, 0, 0, 0, 0, 0, 13, 1, 0, 0, 0,
	5, 0, 0, 0, 0, 0, 0, 12, 2, 0, 0, 0,
	0, 'i', 'n', 't', 0, 'f', 0};

int oracle_load(struct side *s, u32 type, u32 attach, const struct bpf_insn *insns, u32 n)
{
	static char log[65536];
	union bpf_attr a = {.prog_type = type, .insn_cnt = n, .expected_attach_type = attach}, b = {.btf_size = sizeof(two_funcs)};
	struct bpf_func_info funcs[4] = {{0, 3}};
	u32 count = 1;
	long fd, btf = 0;

	for (u32 i = 0; i < n; i++) {
		const bool call = insns[i].code == (BPF_JMP | BPF_CALL), wide = insns[i].code == (BPF_LD | BPF_IMM | BPF_DW);
		const u32 to = i + 1 + (u32)insns[i].imm;

		/* they come in ascending order here */
		if (((call && insns[i].src_reg) || (wide && insns[i].src_reg == BPF_PSEUDO_FUNC)) && to > funcs[count - 1].insn_off)
			funcs[count++] = (struct bpf_func_info){to, 3};
	}
	if (count > 1) {
		b.btf = (u64)two_funcs;
		btf = s->bpf(BPF_BTF_LOAD, &b, sizeof(b));
		a.prog_btf_fd = (u32)btf;
		a.func_info = (u64)funcs;
		a.func_info_cnt = count;
		a.func_info_rec_size = sizeof(funcs[0]);
	}
	a.insns = (u64)insns;
	a.license = (u64)"GPL";
	fd = s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
	if (fd < 0 && getenv("ORACLE_LOG")) {
		a.log_buf = (u64)log, a.log_size = sizeof(log), a.log_level = 1;
		s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
		printf("# %s: %ld %s\n", s->name, fd, log);
	}
	if (btf > 0)
		s->close((int)btf);
	return (int)fd;
}

#define LOAD(s, ...) ({ struct bpf_insn i_[] = {__VA_ARGS__}; oracle_load(s, BPF_PROG_TYPE_SOCKET_FILTER, 0, i_, ARRAY_SIZE(i_)); })
#define LOAD_KPROBE(s, attach, ...) ({ struct bpf_insn i_[] = {__VA_ARGS__}; oracle_load(s, BPF_PROG_TYPE_KPROBE, attach, i_, ARRAY_SIZE(i_)); })

static u32 id_of(struct side *s, int fd)
{
	u8 info[256] = {0};
	union bpf_attr a = {.info = {.bpf_fd = (u32)fd, .info_len = sizeof(info), .info = (u64)info}};
	u32 id;

	if (s->bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)))
		return 0;
	memcpy(&id, info + 4, sizeof(id)); /* of maps and programs alike */
	return id;
}

/* Runs a socket filter on a packet: its result, or -errno. */
static long test_run(struct side *s, int prog, u32 repeat)
{
	u8 packet[64] = {0};
	union bpf_attr a = {.test = {.prog_fd = (u32)prog, .data_size_in = sizeof(packet), .data_in = (u64)packet, .repeat = repeat}};
	long r = s->bpf(BPF_PROG_TEST_RUN, &a, sizeof(a));

	return r ? r : (long)a.test.retval;
}

static void note(struct side *s, long r) { oracle_out(s, &r, sizeof(r)); }

/* Closes all of a list of descriptors that ends by 0. */
static void close_all(struct side *s, const int *fds)
{
	for (; *fds; fds++)
		if (*fds > 0)
			s->close(*fds);
}
#define CLOSE(s, ...) close_all(s, (int[]){__VA_ARGS__, 0})

/* ---- definitions ---- */

ROW(define_progs)
{
	static const u32 sizes[] = {0, 1, 3, 4, 5, 8, 16}, entries[] = {0, 1, 7};
	int inner = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, 0);

	for (u32 k = 0; k < 7; k++)
		for (u32 v = 0; v < 7; v++)
			for (u32 e = 0; e < 3; e++) {
				int fd = make(s, BPF_MAP_TYPE_PROG_ARRAY, sizes[k], sizes[v], entries[e], 0, 0);

				note(s, fd < 0 ? fd : 1);
				CLOSE(s, fd);
			}
	for (u32 bit = 0; bit < 20; bit++) {
		int fd = make(s, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 1u << bit, bit % 2 ? inner : 0);

		note(s, fd < 0 ? fd : 1);
		CLOSE(s, fd);
	}
	CLOSE(s, inner);
	return 0;
}

/* ---- program arrays from user space ---- */

ROW(progs_elements)
{
	int m = progs(s, 3), p = LOAD(s, MOV(0, 1), EXIT), q = LOAD(s, MOV(0, 2), EXIT), fd = p;
	const int bad[] = {-1, s->closed, s->pipe, s->array, m, s->btf, s->link, s->event};
	u32 value = 7, key = 1;

	note(s, elem(s, BPF_MAP_LOOKUP_ELEM, m, 0, &value, 0));
	for (u64 flags = 0; flags < 8; flags++)
		note(s, elem(s, BPF_MAP_UPDATE_ELEM, m, 0, &fd, flags));
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		note(s, put(s, m, 1, bad[i]));
		note(s, put(s, m, 3, bad[i]));
		note(s, elem(s, BPF_MAP_UPDATE_ELEM, m, 1, (void *)&bad[i], 1));
	}
	note(s, put(s, m, 2, q));
	note(s, put(s, m, 3, q));
	note(s, put(s, m, ~0u, q));
	for (u32 i = 0; i < 5; i++) {
		value = 99;
		note(s, elem(s, BPF_MAP_LOOKUP_ELEM, m, i, &value, 0));
		note(s, value == id_of(s, p) ? 1 : value == id_of(s, q) ? 2 : value);
		note(s, elem(s, BPF_MAP_LOOKUP_ELEM, m, i, &value, BPF_F_LOCK));
		note(s, elem(s, BPF_MAP_LOOKUP_AND_DELETE_ELEM, m, i, &value, 0));
		note(s, elem(s, BPF_MAP_GET_NEXT_KEY, m, i, &key, 0));
		note(s, key);
	}
	for (u32 i = 0; i < 4; i++) {
		note(s, take(s, m, i));
		note(s, take(s, m, i));
	}
	CLOSE(s, m, p, q);
	return 0;
}

ROW(progs_null)
{
	int m = progs(s, 3), p = LOAD(s, MOV(0, 1), EXIT);
	u32 key = 1;

	for (int cmd = BPF_MAP_LOOKUP_ELEM; cmd <= BPF_MAP_GET_NEXT_KEY; cmd++) {
		union bpf_attr no_key = {.map_fd = (u32)m, .value = (u64)room}, no_value = {.map_fd = (u32)m, .key = (u64)&key};

		note(s, s->bpf(cmd, &no_key, sizeof(no_key)));
		note(s, s->bpf(cmd, &no_value, sizeof(no_value)));
		no_key.key = bad_page;
		note(s, s->bpf(cmd, &no_key, sizeof(no_key)));
	}
	CLOSE(s, m, p);
	return 0;
}

static long batch(struct side *s, int cmd, int map, u32 count, u64 flags)
{
	u32 keys[4] = {0, 1, 2, 3}, values[4] = {0}, out[4] = {0};
	union bpf_attr a = {.batch = {.map_fd = (u32)map, .keys = (u64)keys, .values = (u64)values, .out_batch = (u64)out, .count = count, .elem_flags = flags}};

	return s->bpf(cmd, &a, sizeof(a));
}

ROW(progs_batch)
{
	int m = progs(s, 3);

	for (int cmd = BPF_MAP_LOOKUP_BATCH; cmd <= BPF_MAP_DELETE_BATCH; cmd++)
		for (u32 n = 0; n < 3; n++)
			note(s, batch(s, cmd, m, n, 0));
	CLOSE(s, m);
	return 0;
}

ROW(progs_frozen)
{
	int m = progs(s, 3), p = LOAD(s, MOV(0, 1), EXIT);
	union bpf_attr f = {.map_fd = (u32)m};
	u32 value;

	note(s, put(s, m, 0, p));
	note(s, s->bpf(BPF_MAP_FREEZE, &f, sizeof(f)));
	note(s, put(s, m, 0, p));
	note(s, take(s, m, 0));
	note(s, elem(s, BPF_MAP_LOOKUP_ELEM, m, 0, &value, 0));
	CLOSE(s, m, p);
	return 0;
}

ROW(progs_one_way)
{
	int m = make(s, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, BPF_F_RDONLY, 0), w = make(s, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, BPF_F_WRONLY, 0);
	int p = LOAD(s, MOV(0, 1), EXIT);
	u32 value;

	note(s, put(s, m, 0, p));
	note(s, take(s, m, 0));
	note(s, elem(s, BPF_MAP_LOOKUP_ELEM, m, 0, &value, 0));
	note(s, put(s, w, 0, p));
	note(s, elem(s, BPF_MAP_LOOKUP_ELEM, w, 0, &value, 0));
	note(s, take(s, w, 0));
	CLOSE(s, m, w, p);
	return 0;
}

ROW(progs_info)
{
	int m = progs(s, 3);
	struct bpf_map_info info = {0};
	union bpf_attr b = {.info = {.bpf_fd = (u32)m, .info_len = sizeof(info), .info = (u64)&info}};

	note(s, s->bpf(BPF_OBJ_GET_INFO_BY_FD, &b, sizeof(b)));
	info.id = 0;
	oracle_out(s, &info, sizeof(info));
	CLOSE(s, m);
	return 0;
}

/* ---- who may go together ---- */

ROW(kinds)
{
	int m = progs(s, 3), p = LOAD(s, MOV(0, 1), EXIT), k = LOAD_KPROBE(s, 0, MOV(0, 1), EXIT), user;

	note(s, put(s, m, 0, p));
	note(s, put(s, m, 1, k));
	note(s, take(s, m, 0));
	note(s, put(s, m, 1, k)); /* the first decides for good */
	user = LOAD_KPROBE(s, 0, TAIL(m, 0), MOV(0, 0), EXIT);
	note(s, user < 0 ? user : 1);
	CLOSE(s, user);
	user = LOAD(s, TAIL(m, 0), MOV(0, 0), EXIT);
	note(s, user < 0 ? user : 1);
	CLOSE(s, m, p, k, user);
	return 0;
}

ROW(kind_of_the_user)
{
	int m = progs(s, 3), user = LOAD_KPROBE(s, 0, TAIL(m, 0), MOV(0, 0), EXIT);
	int p = LOAD(s, MOV(0, 1), EXIT), k = LOAD_KPROBE(s, 0, MOV(0, 1), EXIT), multi = LOAD_KPROBE(s, 48, MOV(0, 1), EXIT);

	note(s, put(s, m, 0, p));
	note(s, put(s, m, 0, k));
	note(s, put(s, m, 1, multi));
	CLOSE(s, m, p, k, user, multi);
	return 0;
}

ROW(kind_of_one_refused)
{
	int m = progs(s, 3), user = LOAD_KPROBE(s, 0, TAIL(m, 0), MOV(0, 0), CALL(9999), EXIT), p = LOAD(s, MOV(0, 1), EXIT);

	CLOSE(s, user);
	note(s, put(s, m, 0, p));
	CLOSE(s, m, p);
	return 0;
}

/* ---- the life of what is in it ---- */

/* The map of a program, by its id. */
static int map_of(struct side *s, int prog)
{
	u32 id = 0;
	struct bpf_prog_info info = {.nr_map_ids = 1, .map_ids = (u64)&id};
	union bpf_attr a = {.info = {.bpf_fd = (u32)prog, .info_len = sizeof(info), .info = (u64)&info}}, b = {0};

	if (s->bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)))
		return -1;
	b.map_id = id;
	return (int)s->bpf(BPF_MAP_GET_FD_BY_ID, &b, sizeof(b));
}

static bool lives(struct side *s, int cmd, u32 id)
{
	union bpf_attr a = {.prog_id = id};
	int fd = (int)s->bpf(cmd, &a, sizeof(a));

	CLOSE(s, fd);
	return fd >= 0;
}

ROW(kept_by_the_array)
{
	int m = progs(s, 3), p = LOAD(s, MOV(0, 1), EXIT), q;
	u32 id = id_of(s, p), value = 0;

	note(s, put(s, m, 0, p));
	note(s, put(s, m, 1, p));
	CLOSE(s, p);
	s->settle();
	note(s, lives(s, BPF_PROG_GET_FD_BY_ID, id));
	note(s, elem(s, BPF_MAP_LOOKUP_ELEM, m, 0, &value, 0));
	note(s, value == id);
	note(s, take(s, m, 0));
	s->settle();
	note(s, lives(s, BPF_PROG_GET_FD_BY_ID, id));
	q = LOAD(s, MOV(0, 1), EXIT);
	note(s, put(s, m, 1, q));
	s->settle();
	note(s, lives(s, BPF_PROG_GET_FD_BY_ID, id));
	id = id_of(s, q);
	CLOSE(s, q, m);
	s->settle();
	note(s, lives(s, BPF_PROG_GET_FD_BY_ID, id));
	return 0;
}

ROW(emptied_with_its_last_user)
{
	int m = progs(s, 3), p = LOAD(s, MOV(0, 5), EXIT), user = LOAD(s, TAIL(m, 1), MOV(0, 1), EXIT), again;
	u32 id = id_of(s, p), value;

	note(s, put(s, m, 1, p));
	note(s, test_run(s, user, 1));
	CLOSE(s, p);
	again = map_of(s, user);
	CLOSE(s, m);
	s->settle();
	note(s, test_run(s, user, 1)); /* somebody has it open still */
	CLOSE(s, again);
	s->settle();
	note(s, test_run(s, user, 1));
	note(s, lives(s, BPF_PROG_GET_FD_BY_ID, id));
	again = map_of(s, user);
	note(s, elem(s, BPF_MAP_LOOKUP_ELEM, again, 1, &value, 0));
	CLOSE(s, again, user);
	return 0;
}

ROW(a_circle_ends)
{
	int m = progs(s, 3), user = LOAD(s, TAIL(m, 0), MOV(0, 1), EXIT);
	u32 id = id_of(s, user), map = id_of(s, m);

	note(s, put(s, m, 0, user));
	CLOSE(s, user);
	s->settle();
	note(s, lives(s, BPF_PROG_GET_FD_BY_ID, id));
	CLOSE(s, m);
	s->settle();
	s->settle();
	note(s, lives(s, BPF_PROG_GET_FD_BY_ID, id));
	note(s, lives(s, BPF_MAP_GET_FD_BY_ID, map));
	return 0;
}

/* ---- runs ---- */

ROW(run_tail)
{
	int m = progs(s, 3), p = LOAD(s, LDW(0, 1, 0), ADD(0, 1000), EXIT), q = LOAD(s, TAIL(m, 0), MOV(0, 9), EXIT);
	int user = LOAD(s, MOV(6, 1), TAIL(m, 1), MOV(0, 3), EXIT), wide = LOAD(s, TAIL(m, 3), MOV(0, 4), EXIT);

	note(s, test_run(s, user, 1));
	note(s, put(s, m, 0, p));
	note(s, test_run(s, user, 1));
	note(s, put(s, m, 1, p));
	note(s, test_run(s, user, 1));
	note(s, put(s, m, 1, q));
	note(s, test_run(s, user, 1));
	note(s, test_run(s, user, 10));
	note(s, test_run(s, wide, 1));
	note(s, take(s, m, 0));
	note(s, test_run(s, user, 1));
	CLOSE(s, m, p, q, user, wide);
	return 0;
}

#define COUNT(map) STW(10, -4, 0), MOVX(2, 10), ADD(2, -4), MAP(1, map), CALL(BPF_FUNC_map_lookup_elem), \
		   JEQ(0, 0, 3), LDDW(1, 0, 0), ADD(1, 1), STXDW(0, 0, 1)

static u64 counted(struct side *s, int map)
{
	u64 n = 0, zero = 0;

	elem(s, BPF_MAP_LOOKUP_ELEM, map, 0, &n, 0);
	elem(s, BPF_MAP_UPDATE_ELEM, map, 0, &zero, 0);
	return n;
}

ROW(run_to_the_limit)
{
	int m = progs(s, 2), c = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, 0);
	int one = LOAD(s, MOVX(6, 1), COUNT(c), MOVX(1, 6), TAIL(m, 0), MOV(0, 7), EXIT);
	int two = LOAD(s, MOVX(6, 1), COUNT(c), MOVX(1, 6), TAIL(m, 1), MOV(0, 8), EXIT);

	note(s, put(s, m, 0, one));
	note(s, test_run(s, one, 1));
	note(s, (long)counted(s, c));
	note(s, put(s, m, 0, two)); /* two and one take turns */
	note(s, put(s, m, 1, one));
	note(s, test_run(s, one, 1));
	note(s, (long)counted(s, c));
	note(s, test_run(s, two, 3));
	note(s, (long)counted(s, c));
	CLOSE(s, m, c, one, two);
	return 0;
}

ROW(run_from_a_subprogram)
{
	int m = progs(s, 2), p = LOAD(s, MOV(6, 5), MOV(9, 5), STW(10, -4, 5), MOV(0, 20), EXIT);
	int user = LOAD(s, MOVX(9, 1), MOV(6, 100), STW(10, -4, 3), MOVX(1, 9), SUB(4), ADDX(0, 6), LDW(1, 10, -4), ADDX(0, 1), EXIT,
			MOV(6, 4), TAIL(m, 0), MOV(0, 7), EXIT);

	note(s, user > 0);
	note(s, test_run(s, user, 1));
	note(s, put(s, m, 0, p));
	note(s, test_run(s, user, 2));
	CLOSE(s, m, p, user);
	return 0;
}

ROW(run_from_subprograms_to_the_limit)
{
	int m = progs(s, 2), c = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, 0);
	int user = LOAD(s, SUB(2), ADD(0, 1), EXIT, MOVX(6, 1), COUNT(c), MOVX(1, 6), TAIL(m, 0), MOV(0, 0), EXIT);

	note(s, user > 0);
	note(s, put(s, m, 0, user));
	note(s, test_run(s, user, 1));
	note(s, (long)counted(s, c));
	CLOSE(s, m, c, user);
	return 0;
}

/* ---- bpf_for_each_map_elem ---- */

/* The map's values, made of their keys; per-CPU values all the same. */
static void fill_map(struct side *s, int map, u32 n, u32 step)
{
	for (u32 i = 0; i < n; i++) {
		u64 value[64];

		for (u32 k = 0; k < 64; k++)
			value[k] = 100 * i + 1;
		note(s, elem(s, BPF_MAP_UPDATE_ELEM, map, i * step, value, 0));
	}
}

#define SKB_LEN 50 /* of test_run()'s packet: a number that no verifier knows */

/* Walks, adds keys and values up until `left` is used up; count << 16 | sum. */
static int walker(struct side *s, int map, s32 left, s32 flags)
{
	return LOAD(s, LDW(6, 1, 0), ADD(6, left - SKB_LEN), STXDW(10, -8, 6), STDW(10, -16, 0), MAP(1, map), FUNC(2, 9), MOVX(3, 10), ADD(3, -16), MOV(4, flags),
		    CALL(164), LSH(0, 16), LDDW(1, 10, -16), ADDX(0, 1), EXIT,
		    /* callback: key r2, value r3, ctx r4 */
		    LDW(5, 2, 0), LDDW(6, 3, 0), ADDX(5, 6), LDDW(6, 4, 0), ADDX(6, 5), STXDW(4, 0, 6), LDDW(6, 4, 8), ADD(6, -1),
		    STXDW(4, 8, 6), MOV(0, 0), INSN(BPF_JMP | BPF_JNE | BPF_K, 6, 0, 1, 0), MOV(0, 1), EXIT);
}

ROW(walks)
{
	static const u32 types[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_HASH,
				    BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH};
	static const s32 lefts[] = {100, 5, 1};

	for (u32 t = 0; t < ARRAY_SIZE(types); t++) {
		const bool array = t < 2;
		int m = make(s, types[t], 4, 8, 8, 0, 0);

		for (u32 l = 0; l < 3; l++) {
			int p = walker(s, m, lefts[l], 0);
			long r;

			if (!l)
				note(s, test_run(s, p, 1)); /* arrays have all elements, hashes none */
			fill_map(s, m, 8, array ? 1 : 7);
			r = test_run(s, p, 1);
			note(s, !l || array ? r : r >> 16); /* the order is a hash's own */
			CLOSE(s, p);
		}
		for (s32 flags = 1; flags < 3; flags++) {
			int p = walker(s, m, 100, flags);

			note(s, p < 0 ? p : test_run(s, p, 1));
			CLOSE(s, p);
		}
		CLOSE(s, m);
	}
	return 0;
}

/* Deletes every entry it comes to. */
ROW(walk_deletes)
{
	int m = make(s, BPF_MAP_TYPE_HASH, 4, 8, 64, 0, 0);
	int p = LOAD(s, MAP(1, m), FUNC(2, 5), MOV(3, 0), MOV(4, 0), CALL(164), EXIT, STW(10, -4, 0), LDW(3, 2, 0), STXW(10, -4, 3),
		     MOVX(2, 10), ADD(2, -4), CALL(BPF_FUNC_map_delete_elem), MOV(0, 0), EXIT);
	u32 key;

	fill_map(s, m, 64, 13);
	note(s, p > 0);
	note(s, test_run(s, p, 1));
	note(s, test_run(s, p, 1));
	note(s, elem(s, BPF_MAP_GET_NEXT_KEY, m, 1, &key, 0));
	CLOSE(s, m, p);
	return 0;
}

/* A walk in each step of a walk. */
ROW(walk_in_a_walk)
{
	int m = make(s, BPF_MAP_TYPE_HASH, 4, 8, 8, 0, 0), n = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 5, 0, 0);
	int p = LOAD(s, LDW(6, 1, 0), ADD(6, -SKB_LEN), STXDW(10, -8, 6), MAP(1, m), FUNC(2, 7), MOVX(3, 10), ADD(3, -8), MOV(4, 0), CALL(164), LDDW(0, 10, -8), EXIT,
		     MAP(1, n), FUNC(2, 6), MOVX(3, 4), MOV(4, 0), CALL(164), MOV(0, 0), EXIT,
		     LDDW(5, 4, 0), ADD(5, 1), STXDW(4, 0, 5), MOV(0, 0), EXIT);

	fill_map(s, m, 8, 3);
	note(s, p > 0);
	note(s, test_run(s, p, 1));
	CLOSE(s, m, n, p);
	return 0;
}

/* ---- control groups ---- */

ROW(cgroups)
{
	static const char *const names[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/tmp"};
	int m = make(s, BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 2, 0, 0), fd;
	u32 value;

	note(s, put(s, m, 0, s->prog));
	note(s, put(s, m, 0, s->closed));
	note(s, put(s, m, 2, s->closed));
	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		fd = open(names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		note(s, put(s, m, 0, fd));
		note(s, elem(s, BPF_MAP_UPDATE_ELEM, m, 0, &fd, 1));
		note(s, elem(s, BPF_MAP_UPDATE_ELEM, m, 2, &fd, 0));
		close(fd);
	}
	note(s, elem(s, BPF_MAP_LOOKUP_ELEM, m, 0, &value, 0));
	note(s, elem(s, BPF_MAP_LOOKUP_AND_DELETE_ELEM, m, 0, &value, 0));
	for (u32 i = 0; i < 3; i++)
		note(s, elem(s, BPF_MAP_GET_NEXT_KEY, m, i, &value, 0));
	for (int cmd = BPF_MAP_LOOKUP_BATCH; cmd <= BPF_MAP_DELETE_BATCH; cmd++)
		note(s, batch(s, cmd, m, 1, 0));
	for (u32 bit = 0; bit < 20; bit++) {
		fd = make(s, BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 2, 1u << bit, 0);
		note(s, fd < 0 ? fd : 1);
		CLOSE(s, fd);
	}
	note(s, take(s, m, 0));
	note(s, take(s, m, 0));
	note(s, take(s, m, 2));
	CLOSE(s, m);
	return 0;
}

/* ---- maps of maps ---- */

static const u32 outers[] = {BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS};

ROW(define_outers)
{
	static const u32 sizes[] = {0, 1, 4, 8}, entries[] = {0, 1, 7};
	int inner = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, 0), fd;

	for (u32 t = 0; t < 2; t++) {
		for (u32 i = 0; i < 48; i++) {
			fd = make(s, outers[t], sizes[i % 4], sizes[i / 4 % 4], entries[i / 16], 0, inner);
			note(s, fd < 0 ? fd : 1);
			CLOSE(s, fd);
		}
		for (u32 bit = 0; bit < 20; bit++) {
			fd = make(s, outers[t], 4, 4, 2, 1u << bit, inner);
			note(s, fd < 0 ? fd : 1);
			CLOSE(s, fd);
		}
	}
	CLOSE(s, inner);
	return 0;
}

/* What may be a template, and with which flags. */
ROW(define_inners)
{
	static const struct { u32 type, key, value, entries, flags; } defs[] = {
		{BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0}, {BPF_MAP_TYPE_ARRAY, 4, 8, 2, BPF_F_INNER_MAP}, {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 2, 0},
		{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 2, BPF_F_INNER_MAP}, {BPF_MAP_TYPE_HASH, 4, 8, 2, BPF_F_INNER_MAP},
		{BPF_MAP_TYPE_HASH, 4, 8, 2, 0}, {BPF_MAP_TYPE_LRU_HASH, 4, 8, 2, 0}, {BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 2, 0},
		{BPF_MAP_TYPE_LPM_TRIE, 8, 8, 2, BPF_F_NO_PREALLOC}, {BPF_MAP_TYPE_QUEUE, 0, 8, 2, 0}, {BPF_MAP_TYPE_STACK, 0, 8, 2, 0},
		{BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 2, 0}, {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0}, {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
		{BPF_MAP_TYPE_STACK_TRACE, 4, 80, 2, 0}, {BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0}, {BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0},
	};
	const int bad[] = {-1, s->closed, s->pipe, s->prog, s->array, s->frozen, s->readonly, s->writeonly, 0};

	for (u32 i = 0; i < ARRAY_SIZE(defs); i++) {
		int inner = make(s, defs[i].type, defs[i].key, defs[i].value, defs[i].entries, defs[i].flags, 0);

		note(s, inner < 0 ? inner : 1);
		for (u32 t = 0; t < 2; t++) {
			int fd = make(s, outers[t], 4, 4, 2, 0, inner), two = make(s, outers[t], 4, 4, 2, 0, fd);

			note(s, fd < 0 ? fd : 1);
			note(s, two < 0 ? two : 1);
			CLOSE(s, fd, two);
		}
		CLOSE(s, inner);
	}
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = make(s, outers[0], 4, 4, 2, 0, bad[i]);

		note(s, fd < 0 ? fd : 1);
		CLOSE(s, fd);
	}
	return 0;
}

ROW(outer_elements)
{
	int x = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0, 0), b = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0, 0);
	const int fits[] = {x, b, make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 3, 0, 0), make(s, BPF_MAP_TYPE_ARRAY, 4, 16, 2, 0, 0),
			    make(s, BPF_MAP_TYPE_HASH, 4, 8, 2, 0, 0), make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 2, BPF_F_MMAPABLE, 0), s->prog,
			    s->pipe, s->closed, -1};
	u32 value = 7, key = 1;

	for (u32 t = 0; t < 2; t++) {
		int m = make(s, outers[t], 4, 4, 3, 0, x);

		for (u32 i = 0; i < ARRAY_SIZE(fits); i++)
			for (u64 flags = 0; flags < 5; flags++)
				for (u32 k = 0; k < 5; k += 2)
					note(s, elem(s, BPF_MAP_UPDATE_ELEM, m, k, (void *)&fits[i], flags));
		for (u32 k = 0; k < 5; k++) {
			value = 99;
			note(s, elem(s, BPF_MAP_LOOKUP_ELEM, m, k, &value, 0));
			note(s, value == id_of(s, x) ? 1 : value == id_of(s, b) ? 2 : value);
			note(s, elem(s, BPF_MAP_LOOKUP_ELEM, m, k, &value, BPF_F_LOCK));
			note(s, elem(s, BPF_MAP_LOOKUP_AND_DELETE_ELEM, m, k, &value, 0));
			if (!t)
				note(s, elem(s, BPF_MAP_GET_NEXT_KEY, m, k, &key, 0));
		}
		for (u32 k = 0; k < 4; k++) {
			note(s, take(s, m, k));
			note(s, take(s, m, k));
		}
		note(s, put(s, m, 1, b));
		for (int cmd = BPF_MAP_LOOKUP_BATCH; cmd <= BPF_MAP_DELETE_BATCH; cmd++)
			note(s, batch(s, cmd, m, t ? 4 : 2, 0));
		CLOSE(s, m);
	}
	for (u32 i = 0; i < 6; i++)
		CLOSE(s, fits[i]);
	return 0;
}

ROW(any_size_of_array)
{
	int x = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 2, BPF_F_INNER_MAP, 0), b = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 9, BPF_F_INNER_MAP, 0);
	int m = make(s, outers[0], 4, 4, 3, 0, x), h = make(s, BPF_MAP_TYPE_HASH, 4, 8, 2, 0, 0), g = make(s, BPF_MAP_TYPE_HASH, 4, 8, 9, 0, 0);
	int n = make(s, outers[1], 4, 4, 3, 0, h);

	note(s, put(s, m, 0, b));
	note(s, put(s, n, 0, g));
	note(s, put(s, n, 1, b));
	CLOSE(s, x, b, m, h, g, n);
	return 0;
}

ROW(inner_lives)
{
	for (u32 t = 0; t < 2; t++) {
		int x = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0, 0), b = make(s, BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0, 0);
		int m = make(s, outers[t], 4, 4, 3, 0, x), user = LOAD(s, MAP(1, m), MOV(0, 0), EXIT);
		u32 ia = id_of(s, x), ib = id_of(s, b), im = id_of(s, m);

		note(s, put(s, m, 0, x));
		note(s, put(s, m, 1, b));
		CLOSE(s, x, b);
		s->settle();
		note(s, lives(s, BPF_MAP_GET_FD_BY_ID, ia));
		note(s, take(s, m, 0));
		s->settle();
		note(s, lives(s, BPF_MAP_GET_FD_BY_ID, ia));
		CLOSE(s, m); /* nobody empties it */
		s->settle();
		note(s, lives(s, BPF_MAP_GET_FD_BY_ID, ib));
		CLOSE(s, user);
		s->settle();
		s->settle();
		note(s, lives(s, BPF_MAP_GET_FD_BY_ID, im));
		note(s, lives(s, BPF_MAP_GET_FD_BY_ID, ib));
	}
	return 0;
}

/* Looks an inner map up, and in it: adds 1 to what is there, and gives the old value + 100; 1 and 2: nothing there. */
#define LOOK(outer) STDW(10, -8, 0), MOVX(2, 10), ADD(2, -8), MAP(1, outer), CALL(BPF_FUNC_map_lookup_elem), \
		    JEQ(0, 0, 11), MOVX(1, 0), MOVX(2, 10), ADD(2, -8), CALL(BPF_FUNC_map_lookup_elem), JEQ(0, 0, 6), LDDW(1, 0, 0), MOVX(2, 1), ADD(1, 1), \
		    STXDW(0, 0, 1), MOVX(0, 2), EXIT, MOV(0, 7777), EXIT

ROW(run_inner)
{
	static const u32 inners[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_LRU_HASH};

	for (u32 n = 0; n < ARRAY_SIZE(inners); n++)
		for (u32 t = 0; t < 2; t++) {
			int x = make(s, inners[n], 4, 8, 2, 0, 0), b = make(s, inners[n], 4, 8, 2, 0, 0);
			int m = make(s, outers[t], 4, 4, 3, 0, x), p = LOAD(s, LOOK(m));
			u64 v[64] = {500, 500, 500, 500};

			note(s, p > 0);
			note(s, test_run(s, p, 1));
			note(s, put(s, m, 0, x));
			note(s, test_run(s, p, 2));
			note(s, elem(s, BPF_MAP_UPDATE_ELEM, b, 0, v, 0));
			note(s, put(s, m, 0, b));
			note(s, test_run(s, p, 1));
			note(s, take(s, m, 0));
			note(s, test_run(s, p, 1));
			CLOSE(s, x, b, m, p);
		}
	return 0;
}

#define R(name_) {#name_, name_}
const struct row oracle_ref_rows[] = {
	R(define_progs), R(progs_elements), R(progs_null), R(progs_batch), R(progs_frozen), R(progs_one_way), R(progs_info),
	R(kinds), R(kind_of_the_user), R(kind_of_one_refused),
	R(kept_by_the_array), R(emptied_with_its_last_user), R(a_circle_ends),
	R(run_tail), R(run_to_the_limit), R(run_from_a_subprogram), R(run_from_subprograms_to_the_limit),
	R(cgroups),
	R(define_outers), R(define_inners), R(outer_elements), R(any_size_of_array), R(inner_lives), R(run_inner),
	R(walks), R(walk_deletes), R(walk_in_a_walk),
	{NULL, NULL},
};
