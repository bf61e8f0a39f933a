/* SPDX-License-Identifier: MIT */
/* The kernel functions on strings with random strings, on the kernel and on limpet. */
#include "sides.h"

#include <stddef.h>

#define AREA    64
#define BIG     70000 /* more than any of them looks at */
#define BIG_END 66000

enum source { OWN, RAW, IN_BIG };

/* The array that a program works on. Strings end in it, wherever they begin. */
struct io {
	char text[2][AREA];
	u64 end;             /* 0 */
	u64 from[2], off[2]; /* enum source, and the offset there; RAW: the address */
	u64 number[2];
	s64 ret;
};

#define AT(field) ((s32)offsetof(struct io, field))

/* Arguments: s a string, n a number. */
static const struct function {
	const char *name, *args;
	bool slow; /* by the product of both lengths */
} functions[] = {{"bpf_strcmp", "ss", false},   {"bpf_strcasecmp", "ss", false},
		 {"bpf_strchr", "sn", false},   {"bpf_strchrnul", "sn", false},
		 {"bpf_strnchr", "snn", false}, {"bpf_strrchr", "sn", false},
		 {"bpf_strlen", "s", false},    {"bpf_strnlen", "sn", false},
		 {"bpf_strspn", "ss", true},    {"bpf_strcspn", "ss", true},
		 {"bpf_strstr", "ss", true},    {"bpf_strnstr", "ssn", true}};

static int progs[2][ARRAY_SIZE(functions)], big[2];

/* ---- programs ---- */

/* String k in register `to`: in its area, anywhere, or in the big map. */
static void put_string(struct code *c, int big_map, u32 k, u8 to)
{
	const s32 off = AT(off) + 8 * (s32)k;

	ADD_CODE(c, LDDW(1, 6, off), LDDW(2, 6, AT(from) + 8 * (s32)k));
	ADD_CODE(c, JEQ(2, RAW, 9), JEQ(2, IN_BIG, 4));
	ADD_CODE(c, AND(1, AREA - 1), MOVX(to, 6), ADD(to, AT(text) + (s32)k * AREA),
		 INSN(BPF_JMP | BPF_JA, 0, 0, 5, 0));
	ADD_CODE(c, VALUE(to, big_map), AND(1, 0xffff), INSN(BPF_JMP | BPF_JA, 0, 0, 1, 0),
		 MOVX(to, 1));
	c->insn[c->count - 1] = MOVX(to, 1);
	c->insn[c->count - 2].off = 2;
	ADD_CODE(c, INSN(BPF_JMP | BPF_JA, 0, 0, 1, 0), ADDX(to, 1));
}

static int load_one(struct world *w, int big_map, const struct function *f)
{
	struct code c = {.count = 0};
	u32 strings = 0, numbers = 0;
	const int id = kfunc_id(f->name);

	if (id < 0)
		return id;
	ADD_CODE(&c, VALUE(6, w->io));
	for (u32 i = 0; f->args[i]; i++)
		if (f->args[i] == 's') {
			put_string(&c, big_map, strings, (u8)(8 + strings));
			strings++;
		}
	strings = 0;
	for (u32 i = 0; f->args[i]; i++)
		if (f->args[i] == 's')
			ADD_CODE(&c, MOVX((u8)(i + 1), (u8)(8 + strings++)));
		else
			ADD_CODE(&c, LDDW((u8)(i + 1), 6, AT(number) + 8 * (s32)numbers++));
	/* an int: the upper half may be anything */
	ADD_CODE(&c, KFUNC(id), LSH(0, 32), INSN(BPF_ALU64 | BPF_ARSH | BPF_K, 0, 0, 0, 32),
		 STXDW(6, AT(ret), 0), MOV(0, 0), EXIT);
	return load(w, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, c.insn, c.count, NULL, 0);
}

static void fill_big(char *text)
{
	for (u32 i = 0; i < BIG; i++)
		text[i] = i == BIG_END ? 0 : "abcd"[i / 30000];
}

static bool set_up(struct world *w, u32 side)
{
	static char text[BIG];
	bool good = true;

	w->io = make_map(w, sizeof(struct io), 0);
	big[side] = make_map(w, BIG, 0);
	if (w->io < 0 || big[side] < 0)
		return false;
	fill_big(text);
	element(w, BPF_MAP_UPDATE_ELEM, big[side], text);
	for (u32 i = 0; i < ARRAY_SIZE(functions); i++) {
		progs[side][i] = load_one(w, big[side], &functions[i]);
		good &= progs[side][i] >= 0;
		if (progs[side][i] < 0)
			printf("# %s: %s is loaded: %d\n", w->name, functions[i].name,
			       progs[side][i]);
	}
	return good;
}

static bool ready(void)
{
	static int is_ready = -1;

	if (is_ready >= 0)
		return is_ready;
	new_session();
	if (!set_up(&ours, 0))
		check_failed = 1;
	is_ready = set_up(&kernel, 1);
	return is_ready;
}

/* ---- cases ---- */

/* Few letters, so that much is alike. */
static void draw_text(char *text)
{
	const u32 len = draw(4) ? draw(12) : draw(AREA);

	for (u32 i = 0; i < AREA; i++)
		text[i] = (char)(draw(30) ? "abAB"[draw(draw(3) ? 2 : 4)] : (int)draw(256));
	if (draw(20))
		text[len] = 0; /* else it goes on where the next one begins */
}

static u64 draw_address(void)
{
	const u64 some[] = {0,
			    8,
			    (u64)functions,
			    0x00007ffffffff000,
			    0x0000800000000000,
			    0x0123456789abcdef,
			    0xffff7fffffffffff,
			    0xffffffffff600000,
			    0xffffffffff600ff8,
			    ~0ULL,
			    ~0ULL - 7,
			    0xfffffffffffff000};

	return some[draw(ARRAY_SIZE(some))];
}

static void draw_string(struct io *io, u32 k, bool slow)
{
	draw_text(io->text[k]);
	io->off[k] = draw(3) ? draw(4) : draw(AREA);
	if (!draw(12)) {
		io->from[k] = RAW;
		io->off[k] = draw_address();
	} else if (!draw(20) && !slow) {
		io->from[k] = IN_BIG;
		io->off[k] = draw(2) ? draw(1000) : draw(1u << 16);
	}
}

static u64 draw_number(void)
{
	switch (draw(6)) {
	case 0:
		return draw(256);
	case 1:
		return draw(70000);
	case 2:
		return draw64();
	case 3:
		return (u64) "abAB"[draw(4)];
	default:
		return draw(20);
	}
}

static u32 one_call(u64 seed)
{
	const u32 n = draw(ARRAY_SIZE(functions));
	const struct function *f = &functions[n];
	struct io in = {.ret = 0x5a5a}, a = {.ret = 0}, b = {.ret = 0};
	long x, y;

	draw_string(&in, 0, f->slow && draw(50));
	draw_string(&in, 1, f->slow);
	if (!draw(3)) /* something in common */
		memcpy(in.text[1], in.text[0] + draw(8), draw(40));
	in.number[0] = draw_number();
	in.number[1] = draw_number();
	x = run(&ours, progs[0][n], &in, &a);
	y = run(&kernel, progs[1][n], &in, &b);
	if (x == y && a.ret == b.ret)
		return 1;
	printf("# %s: limpet %ld, %lld; the kernel %ld, %lld; SEED=%llu\n", f->name, x,
	       (long long)a.ret, y, (long long)b.ret, (unsigned long long)seed);
	for (u32 k = 0; k < 2; k++) {
		printf("# from %llu, off %#llx, number %#llx\n", (unsigned long long)in.from[k],
		       (unsigned long long)in.off[k], (unsigned long long)in.number[k]);
		show("text", in.text[k], AREA);
	}
	return 0;
}

TEST(functions_on_strings_answer_as_the_kernels)
{
	if (kfunc_id("bpf_strcasecmp") < 0)
		SKIP("this kernel has them not");
	try_many(ready(), 5000, one_call);
}

TEST_MAIN()
