/* SPDX-License-Identifier: MIT */
/*
 * What a program says of itself in BTF, good and damaged: func_info, line_info, the types of global functions'
 * arguments and the tags on them. The emulator and the kernel must give the same answer to BPF_PROG_LOAD.
 *
 * A case is a main function that calls up to three others with arguments of all kinds, and types for them that fit more
 * or less; then some of the records may be spoilt.
 *
 * usage: types-fuzz [CASES [FIRST-SEED [SHOW]]]; LIMPET_LONG=1: a hundred thousand. SHOW: both logs of that seed.
 */
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "bpf/insn.h"
#include "loader/loader.h"
#include "../../verifier/reason.h"

#define VALUE  16
#define SUBS   3
#define INSNS  256
#define TYPES  48
#define LOG    (1u << 18)
#define RECORD 32 /* bytes, at most, of a record as it is passed */

#define I(c, d, s, o, i) ((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define MOV(d, i)        I(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define MOVX(d, s)       I(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADD(d, i)        I(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define CALL(n)          I(BPF_JMP | BPF_CALL, 0, 0, 0, n)
#define EXIT             I(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

enum test_map { VALUES, HASH, PROGS, MAPS };

struct side {
	const char *name;
	long (*bpf)(int cmd, union bpf_attr *a, u32 size);
	void (*close)(int fd);
	int map[MAPS];
};

struct test {
	struct bpf_insn insns[INSNS];
	u32 count, starts[SUBS + 1], subs; /* subs: functions, main among them */
	u32 map_at[INSNS], map_refs; /* instructions that name a map */
	u32 type[TYPES], types;      /* made so far */
	u32 args[SUBS + 1], func[SUBS + 1];
	struct btf *btf;
	u8 blob[4096];
	u32 blob_size;
	u8 funcs[8 * RECORD], lines[16 * RECORD];
	u32 func_count, func_size, line_count, line_size;
	u64 func_at, line_at;
	u32 prog_type;
	bool less, nonnull; /* has tags that limpet refuses (docs/verifier.md); __arg_nonnull */
	u32 flips;
};

static u64 state;
static u8 *bad_page;
static char *text;

static u32 draw(u32 n)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(state >> 33) % n;
}

static bool one_in(u32 n)
{
	return !draw(n);
}

/* ---- types ---- */

static u32 some_type(const struct test *t)
{
	return t->types && !one_in(24) ? t->type[draw(t->types)] : 0;
}

static u32 add_record_type(struct test *t)
{
	static const char *const names[] = {"s",	   "pt_regs",	 "__sk_buff", "bpf_perf_event_data",
					    "bpf_raw_tracepoint_args", "bpf_dynptr", "__u64",     "sk_buff",
					    "task_struct", "user_pt_regs", "", "bpf_user_pt_regs_t"};
	const char *name = names[one_in(3) ? 0 : draw(ARRAY_SIZE(names))];
	const u32 size = one_in(8) ? 0 : 8 * (1 + draw(5));

	return (u32)(one_in(6) ? btf__add_union(t->btf, name, size) : btf__add_struct(t->btf, name, size));
}

static u32 add_wrapper(struct test *t)
{
	const int to = (int)some_type(t);

	switch (draw(5)) {
	case 0:
		return (u32)btf__add_const(t->btf, to);
	case 1:
		return (u32)btf__add_volatile(t->btf, to);
	case 2:
		return (u32)btf__add_type_tag(t->btf, "user", to);
	case 3:
		return (u32)btf__add_typedef(t->btf, one_in(2) ? "bpf_user_pt_regs_t" : "t", to);
	default:
		return (u32)btf__add_restrict(t->btf, to);
	}
}

static u32 add_type(struct test *t)
{
	static const u32 sizes[] = {1, 2, 4, 8, 16};

	switch (draw(12)) {
	case 0:
		return (u32)btf__add_int(t->btf, "int", sizes[draw(5)], draw(3) == 1 ? BTF_INT_SIGNED : 0);
	case 1:
		return (u32)(one_in(2) ? btf__add_enum(t->btf, "e", sizes[draw(4)]) : btf__add_enum64(t->btf, "e", 8, false));
	case 2:
		return (u32)btf__add_float(t->btf, "double", 8);
	case 3:
		return (u32)btf__add_fwd(t->btf, "f", BTF_FWD_STRUCT);
	case 4:
		return (u32)btf__add_array(t->btf, (int)t->type[0], (int)some_type(t), draw(4));
	case 5:
	case 6:
		return add_record_type(t);
	case 7:
	case 8:
		return add_wrapper(t);
	default:
		return (u32)btf__add_ptr(t->btf, (int)some_type(t));
	}
}

static u32 some_pointer(struct test *t)
{
	return (u32)btf__add_ptr(t->btf, (int)some_type(t));
}

#define TAGS_LESS 5 /* the first of three that only the kernel has */

static void add_tags(struct test *t, u32 f)
{
	static const char *const tags[] = {"arg:ctx", "arg:ctx", "arg:nonnull", "arg:nonnull", "arg:nullable", "arg:trusted", "arg:untrusted", "arg:arena", "arg:none", "arg:", "other"};

	for (u32 n = one_in(3) ? 1 + draw(2) : 0; n; n--) {
		const u32 k = draw(ARRAY_SIZE(tags));

		t->less |= k >= TAGS_LESS && k < TAGS_LESS + 3;
		t->nonnull |= !strcmp(tags[k], "arg:nonnull");
		btf__add_decl_tag(t->btf, tags[k], (int)t->func[f], (int)draw(t->args[f] + (t->args[f] ? one_in(20) : 1)) - (int)one_in(8));
	}
}

static void add_func(struct test *t, u32 f)
{
	const u32 wide = t->type[0], result = one_in(4) ? some_type(t) : wide;
	char name[8];
	int proto;

	for (u32 i = 0; i < t->args[f]; i++) /* before the prototype: its arguments follow it */
		t->type[TYPES - 8 + i] = one_in(3) ? wide : one_in(2) ? some_type(t) : some_pointer(t);
	proto = btf__add_func_proto(t->btf, (int)result);
	for (u32 i = 0; i < t->args[f]; i++)
		btf__add_func_param(t->btf, "a", (int)t->type[TYPES - 8 + i]);
	snprintf(name, sizeof(name), "f%u", f);
	t->func[f] = (u32)btf__add_func(t->btf, name, one_in(4) ? BTF_FUNC_STATIC : BTF_FUNC_GLOBAL, proto);
	add_tags(t, f);
}

static bool make_types(struct test *t)
{
	const void *raw;

	t->btf = btf__new_empty();
	t->type[t->types++] = (u32)btf__add_int(t->btf, "long", 8, BTF_INT_SIGNED);
	for (u32 n = 4 + draw(12); n; n--) {
		const u32 id = add_type(t);

		if ((s32)id > 0)
			t->type[t->types++] = id;
	}
	for (u32 f = 0; f < t->subs; f++)
		add_func(t, f);
	raw = btf__raw_data(t->btf, &t->blob_size);
	if (t->blob_size > sizeof(t->blob))
		return false;
	memcpy(t->blob, raw, t->blob_size);
	t->flips = one_in(12) ? 1 + draw(3) : 0;
	for (u32 i = 0; i < t->flips; i++)
		t->blob[draw(t->blob_size)] ^= (u8)(1u << draw(8));
	return true;
}

/* ---- the program ---- */

static void put(struct test *t, struct bpf_insn in)
{
	t->insns[t->count++] = in;
}

static void put_map(struct test *t, u8 reg, u8 how, enum test_map m)
{
	t->map_at[t->map_refs++] = t->count;
	put(t, I(BPF_LD | BPF_IMM | BPF_DW, reg, how, 0, (s32)m));
	put(t, I(0, 0, 0, 0, how == BPF_PSEUDO_MAP_VALUE ? (s32)(one_in(2) ? 0 : 4 * draw(4)) : 0));
}

/* The main function: the context in r6, what a lookup gave in r7. */
static void put_begin(struct test *t)
{
	put(t, MOVX(6, 1));
	for (u32 i = 1; i <= 4; i++)
		put(t, I(BPF_ST | BPF_MEM | BPF_DW, 10, 0, (s16)(-8 * (s16)i), (s32)i));
	put(t, MOVX(2, 10));
	put(t, ADD(2, -4));
	put_map(t, 1, BPF_PSEUDO_MAP_FD, HASH);
	put(t, CALL(BPF_FUNC_map_lookup_elem));
	put(t, MOVX(7, 0));
}

static void put_arg(struct test *t, u8 reg)
{
	switch (draw(10)) {
	case 0:
	case 1:
		put(t, MOVX(reg, 6));
		if (one_in(6))
			put(t, ADD(reg, 8));
		break;
	case 2:
	case 3:
		put(t, MOVX(reg, 10));
		put(t, ADD(reg, -8 * (s32)(1 + draw(5))));
		break;
	case 4:
		put(t, MOV(reg, one_in(2) ? 0 : (s32)draw(100)));
		break;
	case 5:
		put_map(t, reg, BPF_PSEUDO_MAP_VALUE, VALUES);
		break;
	case 6:
		put(t, MOVX(reg, 7));
		break;
	case 7:
		put(t, MOV(reg, 7));
		break;
	default:
		put(t, one_in(12) ? MOVX(0, reg) : MOV(reg, 5));
	}
}

static void put_step(struct test *t, u32 args)
{
	static const u8 widths[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	const u8 reg = (u8)(6 + draw(args ? args : 1)), width = widths[draw(4)];
	const s16 off = (s16)(one_in(2) ? 0 : 4 * draw(8));

	if (!args)
		return;
	switch (draw(6)) {
	case 0:
		put(t, MOVX(0, reg));
		break;
	case 1:
	case 2:
		if (!one_in(4))
			put(t, I(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, 1, 0));
		put(t, I(BPF_LDX | BPF_MEM | width, 0, reg, off, 0));
		break;
	case 3:
		if (!one_in(4))
			put(t, I(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, 1, 0));
		put(t, I(BPF_ST | BPF_MEM | width, reg, 0, off, 1));
		break;
	case 4:
		put(t, MOVX(1, reg));
		put(t, CALL(BPF_FUNC_get_attach_cookie));
		break;
	default:
		put(t, MOVX(1, reg));
		put(t, MOV(3, 0));
		put_map(t, 2, BPF_PSEUDO_MAP_FD, PROGS);
		put(t, CALL(BPF_FUNC_tail_call));
	}
}

static void put_sub(struct test *t, u32 f)
{
	t->starts[f] = t->count;
	for (u8 i = 0; i < t->args[f] && i < 5 && i < 4; i++)
		put(t, MOVX((u8)(6 + i), (u8)(1 + i)));
	for (u32 n = draw(3); n; n--)
		put_step(t, t->args[f] < 4 ? t->args[f] : 4);
	put(t, MOV(0, 0));
	put(t, EXIT);
}

static void make_program(struct test *t)
{
	static const u32 types[] = {BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_PERF_EVENT, BPF_PROG_TYPE_RAW_TRACEPOINT};
	u32 call[SUBS + 1];

	t->prog_type = types[draw(ARRAY_SIZE(types))];
	t->subs = 1 + draw(SUBS + 1);
	t->args[0] = draw(3);
	put_begin(t);
	for (u32 f = 1; f < t->subs; f++) {
		t->args[f] = draw(one_in(8) ? 7 : 4);
		for (u8 i = 1; i <= t->args[f] && i <= 5; i++)
			put_arg(t, i);
		call[f] = t->count;
		put(t, I(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0));
	}
	put(t, MOV(0, 0));
	put(t, EXIT);
	for (u32 f = 1; f < t->subs; f++) {
		put_sub(t, f);
		t->insns[call[f]].imm = (s32)t->starts[f] - (s32)call[f] - 1;
	}
}

/* ---- records ---- */

static const u32 odd_words[] = {0, 1, 2, 3, 7, 255, 0x7fffffff, 0x80000000, 0xffffffff};

static u32 spoilt(u32 was)
{
	return one_in(3) ? odd_words[draw(ARRAY_SIZE(odd_words))] : one_in(2) ? was + 1 : was - 1;
}

static u32 record_size(u32 usual)
{
	static const u32 sizes[] = {0, 4, 7, 8, 9, 12, 15, 16, 20, 24, 28, 32, 252, 256, 0xfffffffc};

	return one_in(10) ? sizes[draw(ARRAY_SIZE(sizes))] : usual;
}

/* Now and then another word, another size of all, another number of them, or from elsewhere. */
static void spoil(u8 *from, u32 *count, u32 *size, u64 *at, u32 words)
{
	const u32 usual = *size;

	*at = (u64)from;
	*size = record_size(usual);
	if (*size > usual && *size <= RECORD && *count && *count * *size <= 8 * RECORD) /* longer, with nothing behind */
		for (u32 i = *count; i--;) {
			memmove(from + i * *size, from + i * usual, usual);
			memset(from + i * *size + usual, one_in(8) ? 1 : 0, *size - usual);
		}
	if (*count && one_in(4)) {
		u32 *word = (u32 *)(from + draw(*count) * (*size <= RECORD && *size >= usual ? *size & ~3u : usual)) + draw(words);

		*word = spoilt(*word);
	}
	if (one_in(16))
		*count = one_in(4) ? spoilt(*count) & 0xffff : *count + 1 - 2 * draw(2);
	if (one_in(50))
		*at = one_in(2) ? (u64)bad_page : 8;
}

static u32 some_string(const struct test *t)
{
	const struct btf_header *h = (const void *)t->blob;

	return h->str_len ? draw(h->str_len) : 0;
}

static void make_records(struct test *t)
{
	struct bpf_func_info *funcs = (void *)t->funcs;
	struct bpf_line_info *lines = (void *)t->lines;

	if (!one_in(10))
		for (u32 f = 0; f < t->subs; f++)
			funcs[t->func_count++] = (struct bpf_func_info){t->starts[f], t->func[f]};
	t->func_size = sizeof(*funcs);
	spoil(t->funcs, &t->func_count, &t->func_size, &t->func_at, 2);
	if (one_in(2))
		for (u32 f = 0; f < t->subs; f++) {
			lines[t->line_count++] = (struct bpf_line_info){t->starts[f], some_string(t), some_string(t), f << 10};
			if (one_in(2))
				lines[t->line_count++] = (struct bpf_line_info){t->starts[f] + 1, some_string(t), some_string(t), f << 10};
		}
	t->line_size = sizeof(*lines);
	spoil(t->lines, &t->line_count, &t->line_size, &t->line_at, 4);
}

static bool make(struct test *t, u64 seed)
{
	state = seed * 0x9e3779b97f4a7c15ULL;
	memset(t, 0, sizeof(*t));
	make_program(t);
	if (!make_types(t))
		return false;
	make_records(t);
	return true;
}

/* ---- both sides ---- */

static long kernel_bpf(int cmd, union bpf_attr *a, u32 size)
{
	const long r = syscall(SYS_bpf, cmd, a, size);

	return r < 0 ? -errno : r;
}

static void kernel_close(int fd)
{
	close(fd);
}

static long our_bpf(int cmd, union bpf_attr *a, u32 size)
{
	return loader_bpf(cmd, a, size);
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

static struct side sides[] = {{.name = "limpet", .bpf = our_bpf, .close = our_close},
			      {.name = "the kernel", .bpf = kernel_bpf, .close = kernel_close}};

static bool make_maps(struct side *s)
{
	static const u32 map[MAPS][4] = {{BPF_MAP_TYPE_ARRAY, 4, VALUE, 1}, {BPF_MAP_TYPE_HASH, 4, VALUE, 4}, {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2}};

	for (u32 i = 0; i < MAPS; i++) {
		union bpf_attr a = {.map_type = map[i][0], .key_size = map[i][1], .value_size = map[i][2], .max_entries = map[i][3]};

		s->map[i] = (int)s->bpf(BPF_MAP_CREATE, &a, sizeof(a));
		if (s->map[i] < 0)
			return false;
	}
	return true;
}

static long load_program(const struct side *s, const struct test *t, int btf, u32 log_level)
{
	static struct bpf_insn insns[INSNS];
	union bpf_attr a;

	memcpy(insns, t->insns, sizeof(insns));
	for (u32 i = 0; i < t->map_refs; i++)
		insns[t->map_at[i]].imm = s->map[insns[t->map_at[i]].imm];
	memset(&a, 0, sizeof(a));
	a.prog_type = t->prog_type;
	a.insns = (u64)insns;
	a.insn_cnt = t->count;
	a.license = (u64) "GPL";
	a.prog_btf_fd = (u32)btf;
	a.func_info = t->func_at;
	a.func_info_cnt = t->func_count;
	a.func_info_rec_size = t->func_size;
	a.line_info = t->line_at;
	a.line_info_cnt = t->line_count;
	a.line_info_rec_size = t->line_size;
	a.log_level = log_level;
	a.log_buf = log_level ? (u64)text : 0;
	a.log_size = log_level ? LOG : 0;
	return s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

#define NO_TYPES 1000 /* what BTF_LOAD answered, less this */

/* 0, what BPF_PROG_LOAD answered, or what BPF_BTF_LOAD did. */
static long load(const struct side *s, const struct test *t, u32 log_level)
{
	union bpf_attr a;
	long btf, r;

	memset(&a, 0, sizeof(a));
	a.btf = (u64)t->blob;
	a.btf_size = t->blob_size;
	a.btf_log_level = log_level;
	a.btf_log_buf = log_level ? (u64)text : 0;
	a.btf_log_size = log_level ? LOG : 0;
	btf = s->bpf(BPF_BTF_LOAD, &a, 28);
	if (btf < 0)
		return btf - NO_TYPES;
	r = load_program(s, t, (int)btf, log_level);
	s->close((int)btf);
	if (r >= 0)
		s->close((int)r);
	return r < 0 ? r : 0;
}

static void show(struct test *t, u64 seed, bool kernel)
{
	make(t, seed);
	printf("type %u, functions %u/%u at 0x%llx, lines %u/%u at 0x%llx\n", t->prog_type, t->func_count, t->func_size,
	       (unsigned long long)t->func_at, t->line_count, t->line_size, (unsigned long long)t->line_at);
	for (u32 i = 0; i < t->func_count && i < 8; i++)
		printf(" func %u type %u\n", ((u32 *)t->funcs)[2 * i], ((u32 *)t->funcs)[2 * i + 1]);
	for (u32 i = 0; i < 1u + kernel; i++) {
		text[0] = 0;
		printf("==== %s: %ld\n", sides[i].name, load(&sides[i], t, 2));
		puts(text);
	}
	if (getenv("BLOB"))
		fwrite(t->blob, 1, t->blob_size, fopen(getenv("BLOB"), "w"));
}

/*
 * The same answer, or refused for one of two faults, which limpet comes to the other way round, or refused as documented:
 * tags that it has not, NULL where `__arg_nonnull` says there is none, which the kernel lets pass, the errno for an array of itself.
 */
static bool same(const struct test *t, long ours, long theirs)
{
	const bool bad_lines = t->line_at != (u64)t->lines || t->line_size != sizeof(struct bpf_line_info);

	return ours == theirs || (ours == -EINVAL - NO_TYPES && theirs == -EEXIST - NO_TYPES) || (t->less && ours < 0) || (t->nonnull && ours == -EINVAL && (!theirs || theirs == -EACCES)) || (t->flips > 1 && ours < -NO_TYPES && theirs < -NO_TYPES) ||
	       (bad_lines && (ours == -EFAULT || ours == -E2BIG) && theirs == -EINVAL);
}

/* Both have refused the program: for the same reason? `show`: how. */
static bool same_reason(struct test *t, u64 seed, bool show)
{
	static char ours[LOG];
	bool same;

	make(t, seed); /* the types are gone */
	text[0] = 0;
	load(&sides[0], t, 4);
	strcpy(ours, log_reason(text));
	text[0] = 0;
	load(&sides[1], t, 4);
	same = !strcmp(ours, log_reason(text));
	if (show && !same)
		printf("# seed %llu: %s | %s\n", (unsigned long long)seed, ours, log_reason(text));
	btf__free(t->btf);
	return same;
}

static char session_dir[] = "/dev/shm/limpet-test-XXXXXX";

static void remove_session(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "exec rm -r '%s'", session_dir);
	if (system(cmd))
		printf("# could not remove %s\n", session_dir);
}

static bool begin(bool *ret_kernel)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	text = calloc(1, LOG);
	bad_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!text || !mkdtemp(session_dir))
		return false;
	setenv("LIMPET_SESSION_DIR", session_dir, 1);
	atexit(remove_session);
	*ret_kernel = make_maps(&sides[1]);
	return make_maps(&sides[0]);
}

int main(int argc, char **argv)
{
	const u64 cases = argc > 1 ? strtoull(argv[1], NULL, 0) : getenv("LIMPET_LONG") ? 100000 : 3000,
		  first = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	u64 accepted = 0, bad = 0, given_up = 0, both = 0, other_words = 0;
	static struct test t;
	bool kernel;

	if (!begin(&kernel))
		return puts("not ok a session and its maps"), 1;
	if (argc > 3)
		return show(&t, first, kernel), 0;
	for (u64 seed = first; seed < first + cases; seed++) {
		long ours, theirs;

		if (!make(&t, seed)) {
			btf__free(t.btf);
			continue;
		}
		ours = load(&sides[0], &t, 0);
		theirs = kernel ? load(&sides[1], &t, 0) : ours;
		btf__free(t.btf);
		accepted += !theirs;
		if (theirs == -ENOMEM) {
			given_up++; /* no verdict */
			continue;
		}
		if (kernel && ours < 0 && ours == theirs && ours > -NO_TYPES && ++both)
			other_words += !same_reason(&t, seed, other_words < 10);
		if (!same(&t, ours, theirs) && bad++ < 40)
			printf("# seed %llu: limpet answers %ld, the kernel %ld\n", (unsigned long long)seed, ours, theirs);
	}
	printf("# %llu cases, %llu accepted, %llu answers differ, %llu without memory\n", (unsigned long long)cases,
	       (unsigned long long)accepted, (unsigned long long)bad, (unsigned long long)given_up);
	printf("# of %llu programs that both refuse alike, %llu for another reason\n", (unsigned long long)both, (unsigned long long)other_words);
	if (!kernel)
		puts("skip the kernel's answers: bpf(2) is not allowed here");
	puts(other_words * 50 > both ? "not ok the reasons are the kernel's" : "ok the reasons are the kernel's");
	puts(bad ? "not ok records and types of functions are taken as the kernel takes them"
		 : "ok records and types of functions are taken as the kernel takes them");
	return bad || other_words * 50 > both;
}
