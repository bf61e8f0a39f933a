/* SPDX-License-Identifier: MIT */
/*
 * The helpers on text with random input, on the kernel and on limpet: formats from a grammar of valid, nearly valid and
 * wrong conversions for snprintf (its verdict at load, its result, what it writes), trace_vprintk and trace_printk
 * (what they return), and text for strtol, strtoul and strncmp. A difference prints its case; SEED repeats it.
 *
 * Left out, as limpet differs there and says so (docs/helpers.md): hashed pointers, symbols of the kernel, and
 * %pks and %pus of the other one's memory.
 */
#include <stddef.h>
#include <sys/mman.h>
#include "sides.h"

#define FORMAT 128
#define ARGS   12
#define OUT    512

/* The array that a program works on. */
struct io {
	char text[FORMAT]; /* format, or what is converted or compared */
	char own[64];      /* what arguments may point to: memory of the program's side */
	u64 args[16];
	u32 size, len, own_arg,
		flags; /* own_arg: the argument, from 1 on, that is to point to own */
	s64 ret, value;
	char out[OUT];
};

#define AT(field) ((s32)offsetof(struct io, field))

static struct progs {
	int vprintk, printk, strtol, strtoul;
} our, theirs;
static char *user; /* a page of text, behind it one that nobody may read */

/* ---- programs ---- */

#define FIELD(d, f)    MOVX(d, 6), ADD(d, AT(f))
#define BELOW(d, f, n) LDW(d, 6, AT(f)), AND(d, (n)-1)
#define DONE           STXDW(6, AT(ret), 0), MOV(0, 0), EXIT

/* The constants of many cases, a map of each side that programs may only read, and nobody changes. */
#define BLOCK 256

static struct {
	u64 first; /* seed of the first one */
	int fd[2];
	char text[BLOCK][FORMAT];
} block;

static void constant(struct world *w, int *ret_fd)
{
	union bpf_attr a = {.map_fd = (u32)make_map(w, sizeof(block.text), BPF_F_RDONLY_PROG)};

	element(w, BPF_MAP_UPDATE_ELEM, (int)a.map_fd, block.text);
	w->bpf(BPF_MAP_FREEZE, &a, sizeof(a));
	*ret_fd = (int)a.map_fd;
}

/* That of case `seed` is among them. Where it is, in the maps. */
static u32 need_constant(u64 seed, void (*make)(char *text))
{
	if (!block.first || seed - block.first >= BLOCK) {
		if (block.first) {
			ours.close(block.fd[0]);
			kernel.close(block.fd[1]);
		}
		block.first = seed;
		for (u32 i = 0; i < BLOCK; i++) {
			begin(seed + i);
			make(block.text[i]);
		}
		constant(&ours, &block.fd[0]);
		constant(&kernel, &block.fd[1]);
	}
	begin(seed);
	return (u32)(seed - block.first) * FORMAT;
}

/* args[own_arg - 1] = &own */
#define POINT_TO_OWN                                                                               \
	BELOW(7, own_arg, 16), JEQ(7, 0, 7), ADD(7, -1), AND(7, 15), LSH(7, 3), ADDX(7, 6),        \
		MOVX(8, 6), ADD(8, AT(own)), STXDW(7, AT(args), 8)

static bool set_up(struct world *w, struct progs *p)
{
	const int io = make_map(w, sizeof(struct io), 0);

	w->io = io;
	if (io < 0)
		return false;
	p->vprintk = LOAD_RAW(w, VALUE(6, io), POINT_TO_OWN, FIELD(1, text), BELOW(2, size, FORMAT),
			      ADD(2, 1), FIELD(3, args), BELOW(4, len, 128),
			      CALL(BPF_FUNC_trace_vprintk), DONE);
	p->printk = LOAD_RAW(w, VALUE(6, io), POINT_TO_OWN, FIELD(1, text), BELOW(2, size, FORMAT),
			     ADD(2, 1), LDDW(3, 6, AT(args)), LDDW(4, 6, AT(args) + 8),
			     LDDW(5, 6, AT(args) + 16), CALL(BPF_FUNC_trace_printk), DONE);
	p->strtol = LOAD_RAW(w, VALUE(6, io), FIELD(1, text), BELOW(2, size, FORMAT), ADD(2, 1),
			     LDW(3, 6, AT(flags)), FIELD(4, value), CALL(BPF_FUNC_strtol), DONE);
	p->strtoul = LOAD_RAW(w, VALUE(6, io), FIELD(1, text), BELOW(2, size, FORMAT), ADD(2, 1),
			      LDW(3, 6, AT(flags)), FIELD(4, value), CALL(BPF_FUNC_strtoul), DONE);
	if (p->vprintk < 0 || p->printk < 0 || p->strtol < 0 || p->strtoul < 0)
		printf("# %s: programs %d %d %d %d\n", w->name, p->vprintk, p->printk, p->strtol,
		       p->strtoul);
	return p->vprintk >= 0 && p->printk >= 0 && p->strtol >= 0 && p->strtoul >= 0;
}

/*
 * Where the room has come to its end the kernel passes over addresses without taking them from its arguments, and takes
 * what it finds for the conversions that follow: how long that is depends on the rest of an earlier call's.
 */
static bool means_nothing(const struct io *in, s64 len, u32 room)
{
	return room && len >= room &&
	       (strstr(in->text, "pI") || strstr(in->text, "pi") || strstr(in->text, "pks") ||
		strstr(in->text, "pus"));
}

/* The same program of both, on the same input; `room`: bytes of text that are kept. */
static bool same(const char *helper, int our_prog, int kernel_prog, const struct io *in, u64 seed,
		 u32 room)
{
	struct io a = {0}, b = {0};
	long x = run(&ours, our_prog, in, &a), y = run(&kernel, kernel_prog, in, &b);

	if (means_nothing(in, a.ret, room) && means_nothing(in, b.ret, room))
		a.ret = b.ret;
	if (x == y && a.ret == b.ret && a.value == b.value && !memcmp(a.out, b.out, OUT))
		return true;
	printf("# bpf_%s: limpet %ld, %lld, value %lld; the kernel %ld, %lld, value %lld; "
	       "SEED=%llu\n",
	       helper, x, (long long)a.ret, (long long)a.value, y, (long long)b.ret,
	       (long long)b.value, (unsigned long long)seed);
	show("text", in->text, in->size % FORMAT + 1);
	printf("# size %u, len %u, flags %#x, own argument %u\n", in->size, in->len, in->flags,
	       in->own_arg);
	for (u32 i = 0; i < ARGS; i++)
		printf("# argument %u: %#llx\n", i, (unsigned long long)in->args[i]);
	show("limpet", a.out, 128);
	show("kernel", b.out, 128);
	return false;
}

/* ---- formats ---- */

struct format {
	char text[FORMAT];
	u32 len, count; /* count: conversions */
	char conv
		[ARGS +
		 4]; /* what each takes: 'n' a number, 'p' a pointer that is hashed, 's' a string, 'k' one of the
				kernel, 'u' one of the user, 'a' an address's bytes, 'y' a symbol */
};

static void add(struct format *f, const char *s)
{
	while (*s && f->len < FORMAT - 1)
		f->text[f->len++] = *s++;
}

static void add_char(struct format *f, char c)
{
	if (f->len < FORMAT - 1)
		f->text[f->len++] = c;
}

static const char *pick(const char *const *of, u32 n)
{
	return of[draw(n)];
}
#define PICK(...)                                                                                  \
	({                                                                                         \
		static const char *const of_[] = {__VA_ARGS__};                                    \
		pick(of_, ARRAY_SIZE(of_));                                                        \
	})

/* What is between conversions. */
static void add_words(struct format *f)
{
	if (!draw(40))
		add_char(
			f,
			(char)draw(256)); /* anything: control characters end it, NUL shortens it */
	else
		add(f, PICK("", "", "", " ", "x", " a b ", ", ", "|", "%%", "\n", "\t", "0", "d",
			    "\xc3\xa9", "\xf0\x9f\x90\x9a", "\xa0", "\x7f", "\x1b"));
}

static void add_width(struct format *f)
{
	char digits[16];

	if (draw(3))
		return;
	snprintf(digits, sizeof(digits), "%u",
		 draw(40)  ? draw(40)
		 : draw(3) ? draw(600)
			   : draw(70000));
	add(f, digits);
}

static void add_conversion(struct format *f)
{
	static const struct {
		const char *text;
		char takes;
	} some[] = {{"d", 'n'},   {"i", 'n'},   {"u", 'n'},   {"x", 'n'},   {"X", 'n'},
		    {"ld", 'n'},  {"li", 'n'},  {"lu", 'n'},  {"lx", 'n'},  {"lX", 'n'},
		    {"lld", 'n'}, {"lli", 'n'}, {"llu", 'n'}, {"llx", 'n'}, {"llX", 'n'},
		    {"c", 'n'},   {"s", 's'},   {"s", 's'},   {"s", 's'},   {"pks", 'k'},
		    {"pus", 'u'}, {"p", 'p'},   {"px", 'n'},  {"px", 'n'},  {"pK", 'p'},
		    {"ps", 'y'},  {"pS", 'y'},  {"pB", 'y'},  {"pI4", 'a'}, {"pi4", 'a'},
		    {"pI6", 'a'}, {"pi6", 'a'}},
	  wrong[] = {{"o", 'n'},    {"hd", 'n'}, {"hhx", 'n'}, {"zu", 'n'},   {"jd", 'n'},
		     {"td", 'n'},   {"Lf", 'n'}, {"f", 'n'},   {"g", 'n'},    {"e", 'n'},
		     {"a", 'n'},    {"n", 'n'},  {"lc", 'n'},  {"ls", 's'},   {"lp", 'p'},
		     {"llld", 'n'}, {"ll", 'n'}, {"l", 'n'},   {"", 'n'},     {"%", 'n'},
		     {"#x", 'n'},   {"*d", 'n'}, {".3d", 'n'}, {".*s", 's'},  {"'d", 'n'},
		     {"I", 'n'},    {"pk", 'k'}, {"pu", 'u'},  {"pI", 'a'},   {"pI5", 'a'},
		     {"pi", 'a'},   {"pM", 'a'}, {"pE", 's'},  {"ph", 'a'},   {"pU", 'a'},
		     {"pV", 'n'},   {"pd", 'n'}, {"pt", 'n'},  {"p1", 'n'},   {"pksx", 'k'},
		     {"pus5", 'u'}, {"S", 's'},  {"C", 'n'},   {"D", 'n'},    {"qd", 'n'},
		     {"\xc3", 'n'}, {"5", 'n'},  {" ", 'n'},   {"p\xe9", 'n'}};
	const bool bad = !draw(30);
	const u32 at = draw(bad ? ARRAY_SIZE(wrong) : ARRAY_SIZE(some));

	add_char(f, '%');
	for (u32 i = draw(3) ? 0 : draw(4); i; i--)
		add_char(f, "0+- "[draw(4)]);
	add_width(f);
	add(f, bad ? wrong[at].text : some[at].text);
	if (f->count < ARRAY_SIZE(f->conv))
		f->conv[f->count++] = bad ? wrong[at].takes : some[at].takes;
	if (!draw(12)) /* right behind it: some conversions take that for a part of theirs */
		add(f, PICK("x", "c", "R", "b", "9", "hbnl", "\xe9", "\xa0", "\xb7", "_", ":"));
	else if (draw(2))
		add(f, " ");
}

static void draw_format(struct format *f)
{
	u32 n = draw(4) ? draw(4) : draw(ARGS + 2);

	*f = (struct format){0};
	add_words(f);
	while (n--) {
		add_conversion(f);
		add_words(f);
	}
	f->len = (u32)strlen(f->text);
}

static void make_format(char *text)
{
	struct format f;

	draw_format(&f);
	memcpy(text, f.text, FORMAT);
}

static u64 make_string(void)
{
	switch (draw(12)) {
	case 0:
		return 0;
	case 1:
		return 8;
	case 2:
		return (u64)user + 4096; /* nothing there */
	case 3:
		return (u64)user + 4096 - 1 - draw(8); /* no NUL before that */
	case 4:
		return 0x0123456789abcdefULL;
	case 5:
		return ~0ULL - draw(64);
	case 6:
		return (u64)user + draw(3600); /* a long one, up to a NUL somewhere */
	default:
		return (u64)user + 64 * draw(40);
	}
}

static u64 make_argument(char takes)
{
	static const u64 edges[] = {
		0,          1,           9,          10,    0x7fffffff,        0x80000000,
		0xffffffff, 0x100000000, 1ULL << 63, ~0ULL, 0x7fffffffffffffff};

	switch (takes) {
	case 's':
		return make_string();
	case 'u':
		return draw(2) ? (u64)user + 64 * draw(40) : draw(2) ? 0 : (u64)user + 4096;
	case 'k':
		return draw(2) ? 0 : ~0ULL - draw(64);
	case 'a':
		return draw(2) ? 0 : ~0ULL - draw(64);
	case 'p': /* such are not hashed */
		return draw(2) ? 0 : ~0ULL - draw(4000);
	case 'y':
		return draw(2) ? draw(100000) : 0;
	default:
		return draw(2) ? edges[draw(ARRAY_SIZE(edges))] : draw64() >> draw(64);
	}
}

/* Arguments for f, one of which may point into the program's own map. */
static void make_arguments(const struct format *f, struct io *io)
{
	for (u32 i = 0; i < ARRAY_SIZE(io->args); i++) {
		char takes = i < f->count
				     ? f->conv[i]
				     : 'p'; /* a conversion nobody counted may be any of them */

		io->args[i] = make_argument(takes);
		if ((takes == 's' || takes == 'k' || takes == 'a') && !strstr(f->text, "%%") &&
		    draw(2))
			io->own_arg = i + 1;
	}
	for (u32 i = 0; i < sizeof(io->own); i++)
		io->own[i] = (char)(draw(8) ? 'a' + (int)draw(26) : draw(3) ? (int)draw(256) : 0);
	io->own[sizeof(io->own) - 1] = 0;
}

/* ---- one case each ---- */

static int load_snprintf(struct world *w, u32 at, u32 bytes, char *log, u32 log_size)
{
	const int map = block.fd[w == &kernel], io = w->io;
	struct bpf_insn insns[] = {VALUE(6, io),
				   POINT_TO_OWN,
				   FIELD(1, out),
				   BELOW(2, size, OUT),
				   CONST(3, map, at),
				   FIELD(4, args),
				   MOV(5, (s32)bytes),
				   CALL(BPF_FUNC_snprintf),
				   DONE};

	return load(w, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, insns, ARRAY_SIZE(insns), log, log_size);
}

static void close_both(int our_fd, int kernel_fd)
{
	if (our_fd >= 0)
		ours.close(our_fd);
	if (kernel_fd >= 0)
		kernel.close(kernel_fd);
}

/* A format that loads is used some times, with other arguments and sizes. */
static u32 try_snprintf(const struct format *f, u32 at, u64 seed, bool *ret_valid)
{
	u32 count = draw(8) ? f->count : draw(ARGS + 2), cases = 1;
	u32 bytes = 8 * count + (draw(50) ? 0 : draw(8));
	int a, b;
	static char mine[65536], kernels[65536];
	const u32 log = draw(20) ? 0 : sizeof(mine);
	bool fine = true;

	if (count > ARRAY_SIZE(((struct io *)0)->args) - 1)
		count = 0, bytes = 0;
	*mine = *kernels = 0;
	a = load_snprintf(&ours, at, bytes, mine, log);
	b = load_snprintf(&kernel, at, bytes, kernels, log);
	if ((a < 0 || b < 0) && a != b) {
		printf("# bpf_snprintf with %u bytes of arguments is loaded: limpet %d, the kernel "
		       "%d; SEED=%llu\n",
		       bytes, a, b, (unsigned long long)seed);
		show("text", f->text, f->len);
		fine = false;
	}
	if (fine && a < 0 && log &&
	    !strstr(mine, "Invalid format string") != !strstr(kernels, "Invalid format string")) {
		printf("# bpf_snprintf: limpet says %s, the kernel %s\n", mine, kernels);
		show("text", f->text, f->len);
		fine = false;
	}
	for (u32 i = 0; fine && a >= 0 && i < 4; i++, cases++) {
		struct io io = {.size = draw(3) ? OUT - 1 : draw(OUT)};

		memset(io.out, 'o', OUT);
		memcpy(io.text, f->text, FORMAT);
		make_arguments(f, &io);
		fine = same("snprintf", a, b, &io, seed, io.size % OUT);
	}
	*ret_valid = a >= 0;
	close_both(a, b);
	return fine ? cases : 0;
}

/*
 * Those that print are seldom tried: everybody sees the kernel's trace. (Formats are looked over before anything is
 * printed.)
 */
static bool try_printk(const struct format *f, u64 seed, bool valid)
{
	struct io io = {.size = f->len};

	memcpy(io.text, f->text, FORMAT);
	if (!draw(16)) { /* not terminated: no text */
		io.size = f->len ? draw(f->len) : 0;
		valid &= io.text[io.size] == 0;
	} else if (valid && draw(60)) {
		return true;
	}
	make_arguments(f, &io);
	io.len = draw(12) ? 8 * f->count : draw(128);
	if (draw(2))
		return same("trace_vprintk", our.vprintk, theirs.vprintk, &io, seed, 1024);
	return same("trace_printk", our.printk, theirs.printk, &io, seed, 1024);
}

/* ---- numbers and comparison ---- */

static void add_number(char *text, u32 size)
{
	char digits[80];
	u32 n = 0;

	for (u32 i = draw(3) ? 0 : draw(4); i; i--)
		text[n++] = " \t\n\v\r\xa0"[draw(6)];
	if (!draw(3))
		text[n++] = "-+ -"[draw(4)];
	if (!draw(3))
		n += (u32)sprintf(text + n, "%s", PICK("0x", "0X", "0", "00", "0b", "x", "0x0"));
	switch (draw(6)) {
	case 0:
		snprintf(digits, sizeof(digits), "%llu",
			 draw(2) ? 0x7fffffffffffffffULL + draw(4) : ~0ULL - draw(3));
		break;
	case 1:
		snprintf(digits, sizeof(digits), "%llx",
			 (unsigned long long)(draw64() >> draw(64)));
		break;
	case 2:
		snprintf(digits, sizeof(digits), "%llo",
			 (unsigned long long)(draw64() >> draw(64)));
		break;
	case 3: /* as long as it gets */
		snprintf(digits, sizeof(digits), "%.*s", (int)draw(75),
			 PICK("00000000000000000000000000000000000000000000000000000000000000000000"
			      "000000012",
			      "11111111111111111111111111111111111111111111111111111111111111111111"
			      "11111111",
			      "18446744073709551615184467440737095516151844674407370955161518446744"
			      "073709551615",
			      "00000000000000000000000000000000000000000000000fffffffffffffffffffff"
			      "fffffffff"));
		break;
	default:
		snprintf(digits, sizeof(digits), "%llu",
			 (unsigned long long)(draw64() >> draw(64)));
	}
	n += (u32)sprintf(text + n, "%s", digits);
	sprintf(text + n, "%s",
		PICK("", "", "", " ", "\n", "abc", "8", "g", ".5", "-", "x", "\xff"));
	if (!draw(20))
		text[draw(n + 1)] = (char)draw(256);
}

static bool try_numbers(u64 seed)
{
	static const u32 flags[] = {0, 8, 10, 16, 0, 10, 16, 2, 36, 32, 1, 1u << 31};
	struct io io = {.flags = flags[draw(ARRAY_SIZE(flags))]};

	add_number(io.text, FORMAT);
	io.size = (u32)strlen(io.text) + draw(3) - 1;
	io.size = draw(6) ? io.size : draw(io.size % FORMAT + 1);
	io.size %= FORMAT;
	io.value = 0x5a5a5a5a;
	return draw(2) ? same("strtol", our.strtol, theirs.strtol, &io, seed, 0)
		       : same("strtoul", our.strtoul, theirs.strtoul, &io, seed, 0);
}

#define WITH_MAX 16

/* strncmp's second text is a constant: a program each. */
static int load_strncmp(struct world *w, u32 at)
{
	const int map = block.fd[w == &kernel], io = w->io;
	struct bpf_insn insns[] = {VALUE(6, io), FIELD(1, text),    BELOW(2, size, FORMAT),
				   ADD(2, 1),    CONST(3, map, at), CALL(BPF_FUNC_strncmp),
				   DONE};

	return load(w, BPF_PROG_TYPE_RAW_TRACEPOINT, 0, insns, ARRAY_SIZE(insns), NULL, 0);
}

static void make_with(char *with)
{
	u32 n = draw(WITH_MAX);

	memset(with, 0, FORMAT);
	for (u32 i = 0; i < n; i++)
		with[i] = (char)(draw(4) ? 'a' + (int)draw(3) : (int)draw(256));
}

static u32 try_strncmp(u64 seed)
{
	const u32 at = need_constant(seed, make_with);
	const int prog[2] = {load_strncmp(&ours, at), load_strncmp(&kernel, at)};
	u32 cases = 1;
	bool fine;

	fine = (prog[0] < 0 || prog[1] < 0) ? prog[0] == prog[1] : true;
	if (!fine)
		printf("# bpf_strncmp is loaded: limpet %d, the kernel %d\n", prog[0], prog[1]);
	for (; fine && prog[0] >= 0 && cases < 30; cases++) {
		struct io io = {.size = draw(WITH_MAX + 4)};

		memcpy(io.text, block.text[at / FORMAT], FORMAT);
		if (draw(3))
			io.text[draw(WITH_MAX)] += (char)(draw(3) ? draw(3) - 1 : draw(256));
		fine = same("strncmp", prog[0], prog[1], &io, seed, 0);
	}
	close_both(prog[0], prog[1]);
	return fine ? cases : 0;
}

/* ---- the tests ---- */

/* Text with a NUL here and there, up to the end of a page. */
static void make_user(void)
{
	user = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(user + 4096, 4096, PROT_NONE);
	for (u32 i = 0; i < 4096; i++)
		user[i] = (char)(i % 64 == 63 - (i / 64) % 50 ? 0
				 : i % 9                      ? 'A' + (int)(i % 26)
							      : 0x80 + (int)(i % 128));
	memset(user + 4096 - 16, 'z', 16);
}

static bool ready(void)
{
	static int is_ready = -1;

	block.first = 0;
	if (is_ready >= 0)
		return is_ready;
	new_session();
	make_user();
	if (!set_up(&ours, &our))
		abort();
	is_ready = set_up(&kernel, &theirs);
	return is_ready;
}

static u32 one_format(u64 seed)
{
	const u32 at = need_constant(seed, make_format);
	struct format f;
	bool valid;
	u32 n;

	draw_format(&f);
	n = try_snprintf(&f, at, seed, &valid);
	return n && try_printk(&f, seed, valid) ? n + 1 : 0;
}

static u32 one_number(u64 seed)
{
	return try_numbers(seed);
}

TEST(random_formats_print_what_the_kernel_prints)
{
	try_many(ready(), 4000, one_format);
}

TEST(random_numbers_are_read_as_by_the_kernel)
{
	try_many(ready(), 4000, one_number);
}

TEST(random_texts_compare_as_in_the_kernel)
{
	try_many(ready(), 2000, try_strncmp);
}

TEST_MAIN()
