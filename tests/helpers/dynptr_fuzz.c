/* SPDX-License-Identifier: MIT */
/*
 * Random sequences of helpers and kernel functions on dynptrs, on the kernel and on limpet: one on a map's value, a clone
 * of it, and one on a ring buffer's record. Where they are long and what they hold, each run draws anew.
 */
#include "sides.h"

#include <stddef.h>
#include <sys/mman.h>

#define DATA  64
#define STEPS 10

/* The array that a program works on. */
struct io {
	char data[DATA]; /* under the first dynptr */
	char other[DATA], out[DATA];
	u64 size, ring_size;
	u64 arg[STEPS][3];
	s64 res[STEPS];
	char ring[DATA]; /* what was in the record in the end */
	u64 from;        /* memory of the process */
};

#define AT(field)    ((s32)offsetof(struct io, field))
#define FP_(d, o)    MOVX(d, 10), ADD(d, o)
#define AT_DYNPTR(k) (-16 * ((s32)(k) + 1))

static const char *const names[] = {"bpf_dynptr_adjust",
				    "bpf_dynptr_clone",
				    "bpf_dynptr_copy",
				    "bpf_dynptr_is_null",
				    "bpf_dynptr_is_rdonly",
				    "bpf_dynptr_memset",
				    "bpf_dynptr_size",
				    "bpf_dynptr_slice",
				    "bpf_probe_read_user_dynptr",
				    "bpf_probe_read_user_str_dynptr"};
enum function {
	ADJUST,
	CLONE,
	COPY,
	IS_NULL,
	IS_RDONLY,
	MEMSET,
	SIZE,
	SLICE,
	READ_USER,
	READ_USER_STR,
	FUNCTIONS
};
_Static_assert(ARRAY_SIZE(names) == FUNCTIONS, "a name each");

static int ids[FUNCTIONS], rings[2];
static char *user; /* a page of text, and nothing behind it */

/* A step of a program. */
struct step {
	u32 what; /* enum function, or a helper from here on */
	u32 a, b; /* which dynptrs */
	u32 len;  /* known sizes */
};
enum { READ = FUNCTIONS, WRITE, DATA_OF, KINDS };

#define ARG(to, step, n) LDDW(to, 6, AT(arg) + 24 * (s32)(step) + 8 * (n))
/* An int: the upper half may be anything. */
#define INT_RESULT(step)                                                                           \
	LSH(0, 32), INSN(BPF_ALU64 | BPF_ARSH | BPF_K, 0, 0, 0, 32),                               \
		STXDW(6, AT(res) + 8 * (s32)(step), 0)

/* What is at the place that was returned: 1 and its last byte, or 0. */
static void note_place(struct code *c, u32 n, u32 len)
{
	ADD_CODE(c, MOV(1, 0), JEQ(0, 0, len ? 3 : 2), MOV(1, 1));
	if (len)
		ADD_CODE(c, INSN(BPF_LDX | BPF_MEM | BPF_B, 1, 0, (s16)(len - 1), 0));
	ADD_CODE(c, ADD(1, 1), STXDW(6, AT(res) + 8 * (s32)n, 1));
}

static void put_step(struct code *c, const struct step *s, u32 n)
{
	ADD_CODE(c, FP_(1, AT_DYNPTR(s->a)));
	switch (s->what) {
	case ADJUST:
		ADD_CODE(c, ARG(2, n, 0), ARG(3, n, 1), KFUNC(ids[ADJUST]), INT_RESULT(n));
		break;
	case CLONE: /* over the second one */
		ADD_CODE(c, FP_(2, AT_DYNPTR(1)), KFUNC(ids[CLONE]), INT_RESULT(n));
		break;
	case COPY:
		ADD_CODE(c, ARG(2, n, 0), FP_(3, AT_DYNPTR(s->b)), ARG(4, n, 1), ARG(5, n, 2),
			 KFUNC(ids[COPY]), INT_RESULT(n));
		break;
	case MEMSET:
		ADD_CODE(c, ARG(2, n, 0), ARG(3, n, 1), ARG(4, n, 2), KFUNC(ids[MEMSET]),
			 INT_RESULT(n));
		break;
	case SLICE:
		ADD_CODE(c, ARG(2, n, 0), MOV(3, 0), MOV(4, (s32)s->len), KFUNC(ids[SLICE]));
		note_place(c, n, s->len);
		break;
	case READ_USER:
	case READ_USER_STR:
		ADD_CODE(c, ARG(2, n, 0), ARG(3, n, 1), ARG(4, n, 2), LDDW(5, 6, AT(from)),
			 ADDX(4, 5), KFUNC(ids[s->what]), INT_RESULT(n));
		break;
	case READ:
		ADD_CODE(c, FP_(3, AT_DYNPTR(s->a)), MOVX(1, 6), ADD(1, AT(out)),
			 MOV(2, (s32)s->len), ARG(4, n, 0), MOV(5, (s32)s->b % 2),
			 CALL(BPF_FUNC_dynptr_read), STXDW(6, AT(res) + 8 * (s32)n, 0));
		break;
	case WRITE:
		ADD_CODE(c, ARG(2, n, 0), MOVX(3, 6), ADD(3, AT(other)), MOV(4, (s32)s->len),
			 MOV(5, (s32)s->b % 2), CALL(BPF_FUNC_dynptr_write),
			 STXDW(6, AT(res) + 8 * (s32)n, 0));
		break;
	case DATA_OF:
		ADD_CODE(c, ARG(2, n, 0), MOV(3, (s32)s->len), CALL(BPF_FUNC_dynptr_data));
		note_place(c, n, s->len);
		break;
	case IS_NULL:
	case IS_RDONLY: /* a bool: the lowest byte */
		ADD_CODE(c, KFUNC(ids[s->what]), AND(0, 255), INT_RESULT(n));
		break;
	default: /* the size */
		ADD_CODE(c, KFUNC(ids[s->what]), INT_RESULT(n));
		break;
	}
}

static int load_steps(struct world *w, u32 side, const struct step *steps)
{
	struct code c = {.count = 0};

	ADD_CODE(&c, VALUE(6, w->io), MOVX(1, 6), LDDW(2, 6, AT(size)), AND(2, DATA - 1), MOV(3, 0),
		 FP_(4, AT_DYNPTR(0)), CALL(BPF_FUNC_dynptr_from_mem));
	ADD_CODE(&c, FP_(1, AT_DYNPTR(0)), FP_(2, AT_DYNPTR(1)), KFUNC(ids[CLONE]));
	ADD_CODE(&c, MAP(1, rings[side]), LDDW(2, 6, AT(ring_size)), MOV(3, 0),
		 FP_(4, AT_DYNPTR(2)), CALL(BPF_FUNC_ringbuf_reserve_dynptr));
	/* a record is as it was left */
	ADD_CODE(&c, FP_(1, AT_DYNPTR(2)), MOV(2, 0), LDDW(3, 6, AT(ring_size)), MOV(4, 'r'),
		 KFUNC(ids[MEMSET]));
	for (u32 i = 0; i < STEPS; i++)
		put_step(&c, &steps[i], i);
	ADD_CODE(&c, MOVX(1, 6), ADD(1, AT(ring)), MOV(2, 8), FP_(3, AT_DYNPTR(2)), MOV(4, 0),
		 MOV(5, 0), CALL(BPF_FUNC_dynptr_read));
	ADD_CODE(&c, FP_(1, AT_DYNPTR(2)), MOV(2, 0), CALL(BPF_FUNC_ringbuf_discard_dynptr),
		 MOV(0, 0), EXIT);
	return load(w, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, c.insn, c.count, NULL, 0);
}

/* ---- cases ---- */

static u64 draw_offset(void)
{
	return draw(30) ? draw(24) : draw(3) ? draw(DATA + 4) : draw64();
}

static void draw_steps(struct step *steps)
{
	for (u32 i = 0; i < STEPS; i++) {
		steps[i] = (struct step){.what = draw(KINDS),
					 .a = draw(3),
					 .b = draw(3),
					 .len = draw(20) ? draw(16) : draw(DATA)};
		if (steps[i].what == CLONE)
			steps[i].a = 0; /* what holds a record may not be overwritten */
	}
}

static void draw_input(struct io *io, const struct step *steps)
{
	for (u32 i = 0; i < DATA; i++) {
		io->data[i] = (char)('a' + draw(26));
		io->other[i] = (char)('A' + draw(26));
	}
	io->size = draw(4) ? 30 + draw(34) : draw(DATA);
	io->ring_size = draw(8) ? 8 + draw(50) : draw(3) ? draw(9) : draw64();
	io->from = (u64)user;
	for (u32 i = 0; i < STEPS; i++) {
		for (u32 k = 0; k < 3; k++)
			io->arg[i][k] = draw_offset();
		if (steps[i].what == ADJUST && draw(3))
			io->arg[i][1] = io->arg[i][0] + draw(40);
		if (steps[i].what == READ_USER || steps[i].what == READ_USER_STR)
			io->arg[i][2] = draw(4)   ? draw(4000)
					: draw(3) ? 4096 - draw(20)
					: draw(2) ? 4096
						  : 0 - (u64)user;
	}
}

static bool same(u32 round, const struct step *steps, int mine, int theirs, u64 seed)
{
	struct io in = {.size = 0}, a, b;
	long x, y;

	draw_input(&in, steps);
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	x = run(&ours, mine, &in, &a);
	y = run(&kernel, theirs, &in, &b);
	if (x == y && !memcmp(&a, &b, sizeof(a)))
		return true;
	printf("# round %u: limpet %ld, the kernel %ld; SEED=%llu, size %llu, ring %llu\n", round,
	       x, y, (unsigned long long)seed, (unsigned long long)in.size,
	       (unsigned long long)in.ring_size);
	for (u32 i = 0; i < STEPS; i++)
		printf("# %s of %u, %u, %u with %#llx %#llx %#llx: limpet %lld, the kernel %lld\n",
		       steps[i].what < FUNCTIONS ? names[steps[i].what]
		       : steps[i].what == READ   ? "read"
		       : steps[i].what == WRITE  ? "write"
						 : "data",
		       steps[i].a, steps[i].b, steps[i].len, (unsigned long long)in.arg[i][0],
		       (unsigned long long)in.arg[i][1], (unsigned long long)in.arg[i][2],
		       (long long)a.res[i], (long long)b.res[i]);
	show("limpet", a.data, 3 * DATA);
	show("kernel", b.data, 3 * DATA);
	show("limpet's ring", a.ring, DATA);
	show("kernel's ring", b.ring, DATA);
	return false;
}

static u32 one_sequence(u64 seed)
{
	struct step steps[STEPS];
	int mine, theirs;
	bool fine;
	u32 round = 0;

	draw_steps(steps);
	mine = load_steps(&ours, 0, steps);
	theirs = load_steps(&kernel, 1, steps);
	fine = (mine < 0) == (theirs < 0);
	if (!fine)
		printf("# loaded: limpet %d, the kernel %d; SEED=%llu\n", mine, theirs,
		       (unsigned long long)seed);
	for (; fine && mine >= 0 && round < 10; round++)
		fine = same(round, steps, mine, theirs, seed);
	if (mine >= 0)
		ours.close(mine);
	if (theirs >= 0)
		kernel.close(theirs);
	return fine ? round + 1 : 0;
}

static bool set_up(struct world *w, u32 side)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096};

	w->io = make_map(w, sizeof(struct io), 0);
	rings[side] = (int)w->bpf(BPF_MAP_CREATE, &a, sizeof(a));
	return w->io >= 0 && rings[side] >= 0;
}

static bool ready(void)
{
	new_session();
	user = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(user + 4096, 4096, PROT_NONE);
	for (u32 i = 0; i < 4096; i++)
		user[i] = (char)(i % 37 ? '0' + (int)(i % 75) : 0);
	return set_up(&ours, 0) && set_up(&kernel, 1);
}

TEST(dynptrs_answer_as_the_kernels)
{
	for (u32 i = 0; i < FUNCTIONS; i++) {
		ids[i] = kfunc_id(names[i]);
		if (ids[i] < 0)
			SKIP("this kernel has not all of these functions");
	}
	try_many(ready(), 4000, one_sequence);
}

TEST_MAIN()
