/* SPDX-License-Identifier: MIT */
/*
 * Random code, with and without a probe on each of its instructions in turn: the same registers,
 * flags, red zone and memory at its end, and at the first hit the handler sees exactly the
 * registers and flags that the code has there when it is left at that instruction instead.
 *
 * Blocks are made of pieces: arithmetic between random registers, stores to and loads from the red
 * zone, operands relative to the program counter, pushes, flags read and written (the direction
 * flag too), string instructions, loops, branches of all kinds, calls of all kinds to a function
 * that reads its return address.
 */
#include <signal.h>
#include <sys/mman.h>
#include "attach/decode.h"
#include "attach/function.h"
#include "../unit/check.h"

struct state {
	u64 reg[16]; /* by number */
	u64 flags;
};

void run_block(void);
extern char block_exit[];
struct state block_in, block_out;
void *block_code;

#define FLAGS     0xcd5u /* CF PF AF ZF SF DF OF */
#define CODE_MAX  4096
#define DATA_SIZE 1024
#define PIECES    24

static _Alignas(4096) struct {
	u8 code[CODE_MAX];
	u8 function[64];
	u8 tramp[4096 - 64];
} text;

static struct memory {
	u8 below[2048], red[128], above[256]; /* the block's stack: rsp is &above */
	u8 data[DATA_SIZE];
} memory, memory_before;

static u64 seed = 88172645463325252ULL;
static struct attach_regs seen;
static int hits;

static u32 rnd(u32 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)(seed >> 20) % n;
}

__attribute__((target("general-regs-only"))) static void handler(void *arg,
								 struct attach_regs *regs)
{
	if (!hits++)
		seen = *regs;
	__asm__ volatile("mov $0x123456789, %%rax; mov %%rax, %%rcx; mov %%rax, %%rdx; mov %%rax, "
			 "%%rsi; mov %%rax, %%rdi;"
			 "mov %%rax, %%r8; mov %%rax, %%r9; mov %%rax, %%r10; mov %%rax, %%r11; "
			 "sub %%eax, %%ecx"
			 :
			 :
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc",
			   "memory");
}

/* The block being made. */
static u32 len, insns;
static u32 insn_at[CODE_MAX];

static void put(const void *p, u32 n)
{
	memcpy(text.code + len, p, n);
	len += n;
}

#define PUT(...)                                                                                   \
	do {                                                                                       \
		const u8 b_[] = {__VA_ARGS__};                                                     \
		insn_at[insns++] = len;                                                            \
		put(b_, sizeof(b_));                                                               \
	} while (0)

/* Appends a distance to `to` that counts from `behind` bytes after it. */
static void put_rel32(const void *to, u32 behind)
{
	s32 rel = (s32)((const u8 *)to - (text.code + len + 4 + behind));

	put(&rel, 4);
}

static u8 some_reg(void)
{
	return (u8)rnd(16);
}

static u8 some_dst(void) /* not rsp */
{
	u8 r = some_reg();

	return r == 4 ? 11 : r;
}

static u8 rex(u8 reg, u8 rm)
{
	return (u8)(0x48 | (reg >> 3) << 2 | rm >> 3);
}

static u8 direct(u8 reg, u8 rm)
{
	return (u8)(0xc0 | (reg & 7) << 3 | (rm & 7));
}

static const void *some_data(void)
{
	return memory.data + 256 + 8 * rnd(32);
}

static void arithmetic(void)
{
	static const u8 ops[] = {0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85, 0x89};
	u8 s = some_reg(), d = some_dst();

	PUT(rex(s, d), ops[rnd(sizeof(ops))], direct(s, d));
}

static void immediate(void)
{
	u8 d = some_dst();

	switch (rnd(4)) {
	case 0:
		PUT(rex(0, d), 0x83, direct((u8)rnd(8), d), (u8)rnd(256));
		break;
	case 1:
		PUT(rex(0, d), 0x81, direct((u8)rnd(8), d), (u8)rnd(256), (u8)rnd(256), 1, 0xff);
		break;
	case 2:
		PUT(rex(0, d), 0xc1, direct((u8)(rnd(2) ? 4 : 7), d), (u8)rnd(64));
		break;
	default:
		PUT(rex(0, d), (u8)(0xb8 | (d & 7)), 1, 2, 3, 4, 5, 6, 7, (u8)rnd(256));
	}
}

static void odd_ones(void)
{
	u8 s = some_reg(), d = some_dst();

	switch (rnd(7)) {
	case 0:
		PUT(rex(d, s), 0x0f, (u8)(0x40 | rnd(16)), direct(d, s)); /* cmov */
		break;
	case 1:
		PUT(0x40 | (d >> 3), 0x0f, (u8)(0x90 | rnd(16)), direct(0, d)); /* set */
		break;
	case 2:
		PUT(rex(d, s), 0x0f, 0xaf, direct(d, s)); /* imul */
		break;
	case 3:
		PUT(rex(0, d), 0xff, direct((u8)rnd(2), d)); /* inc, dec */
		break;
	case 4:
		PUT(rex(d, 4), 0x8d, (u8)(0x44 | (d & 7) << 3), 0x24,
		    (u8)rnd(256)); /* lea x(%rsp) */
		break;
	case 5:
		PUT(0x9f); /* lahf */
		break;
	default:
		PUT(0x9e); /* sahf */
	}
}

static void flags(void)
{
	static const u8 ops[] = {0xf5, 0xf8, 0xf9, 0xfc, 0xfd};

	PUT(ops[rnd(sizeof(ops))]); /* cmc, clc, stc, cld, std */
}

static void red_zone(void)
{
	u8 r = some_reg(), d = some_dst(), off = (u8)(0x80 + 8 * rnd(16));

	if (rnd(2))
		PUT(rex(r, 4), 0x89, (u8)(0x44 | (r & 7) << 3), 0x24, off);
	else
		PUT(rex(d, 4), 0x8b, (u8)(0x44 | (d & 7) << 3), 0x24, off);
}

static void relative(void)
{
	u8 r = some_reg(), d = some_dst();

	switch (rnd(6)) {
	case 0:
		PUT(rex(r, 0), 0x89, (u8)(5 | (r & 7) << 3)); /* mov %r, x(%rip) */
		put_rel32(some_data(), 0);
		break;
	case 1:
		PUT(rex(d, 0), 0x8b, (u8)(5 | (d & 7) << 3));
		put_rel32(some_data(), 0);
		break;
	case 2:
		PUT(rex(d, 0), 0x8d, (u8)(5 | (d & 7) << 3));
		put_rel32(some_data(), 0);
		break;
	case 3:
		PUT(0x48, 0x81, 0x05); /* addq $imm32, x(%rip) */
		put_rel32(some_data(), 4);
		put("\x11\x22\x33\x44", 4);
		break;
	case 4:
		PUT(0x48, 0x83, 0x3d); /* cmpq $imm8, x(%rip) */
		put_rel32(some_data(), 1);
		put("\x7f", 1);
		break;
	default:
		PUT(0xc5, 0xfa, 0x6f, 0x0d); /* vmovdqu x(%rip), %xmm1; vmovq %xmm1, %r */
		put_rel32(some_data(), 0);
		PUT(0xc4, (u8)(d > 7 ? 0xc1 : 0xe1), 0xf9, 0x7e, direct(1, d));
	}
}

static void stack(void)
{
	u8 r = some_reg(), d = some_dst();

	switch (rnd(5)) {
	case 0:
		PUT(0x40 | (r >> 3), (u8)(0x50 | (r & 7))); /* push; pop */
		PUT(0x40 | (d >> 3), (u8)(0x58 | (d & 7)));
		break;
	case 1:
		PUT(0x9c); /* pushf; pop */
		PUT(0x40 | (d >> 3), (u8)(0x58 | (d & 7)));
		break;
	case 2:
		PUT(0x6a,
		    (u8)rnd(256)); /* push $; pop (%rsp): to where rsp is afterwards, and away */
		PUT(0x6a, (u8)rnd(256));
		PUT(0x8f, 0x04, 0x24);
		PUT(0x40 | (d >> 3), (u8)(0x58 | (d & 7)));
		break;
	case 3:
		PUT(0xc8, 0x20, 0, 0); /* enter; leave: with a frame pointer that is none before */
		PUT(0xc9);
		break;
	default:
		PUT(0x54); /* push %rsp; pop */
		PUT(0x40 | (d >> 3), (u8)(0x58 | (d & 7)));
	}
}

static void string(void)
{
	PUT(0x48, 0x8d, 0x3d); /* lea, lea, mov, rep movsb or stosq */
	put_rel32(some_data(), 0);
	PUT(0x48, 0x8d, 0x35);
	put_rel32(some_data(), 0);
	PUT(0xb9, (u8)rnd(12), 0, 0, 0);
	if (rnd(2))
		PUT(0xf3, 0xa4);
	else
		PUT(0xf3, 0x48, 0xab);
}

static void loop(void)
{
	static const u8 ops[] = {0xe0, 0xe1, 0xe2};
	u8 op = ops[rnd(3)];

	PUT(0xb9, (u8)(1 + rnd(4)), 0, 0, 0); /* mov $n, %ecx */
	PUT(0x48, 0x8d, 0x40, (u8)rnd(256));  /* 1: lea x(%rax), %rax */
	if (rnd(2)) {
		PUT(0x48, 0x39, 0xd0); /* cmp %rdx, %rax */
		if (rnd(2))
			PUT(0x67, op, 0xf6); /* loop 1b, by ecx */
		else
			PUT(op, 0xf7);
	} else {
		PUT(op, 0xfa);
	}
}

/* A branch over what another piece will be; the distance comes later. */
static u32 branch(u32 *ret_size)
{
	switch (rnd(6)) {
	case 0:
		PUT((u8)(0x70 | rnd(16)), 0);
		break;
	case 1:
		PUT(0xeb, 0);
		break;
	case 2:
		if (rnd(2))
			PUT(0x67, 0xe3, 0);
		else
			PUT(0xe3, 0);
		break;
	case 3:
		PUT(0xe9, 0, 0, 0, 0);
		*ret_size = 4;
		return len;
	default:
		PUT(0x0f, (u8)(0x80 | rnd(16)), 0, 0, 0, 0);
		*ret_size = 4;
		return len;
	}
	*ret_size = 1;
	return len;
}

static void call(void)
{
	static const u8 off[] = {0xf0, 0xe8, 0x90};
	u8 o = off[rnd(3)];

	switch (rnd(6)) {
	case 0:
		PUT(0xe8);
		put_rel32(text.function, 0);
		break;
	case 1:
		PUT(0x66, 0x66, 0x48, 0xe8); /* as a call of __tls_get_addr */
		put_rel32(text.function, 0);
		break;
	case 2:
		PUT(0xff, 0x15); /* call *x(%rip) */
		put_rel32(memory.data, 0);
		break;
	case 3:
		PUT(0x4c, 0x8d, 0x1d); /* lea function(%rip), %r11; call *%r11 */
		put_rel32(text.function, 0);
		PUT(0x41, 0xff, 0xd3);
		break;
	case 4:
		PUT(0x4c, 0x8d, 0x1d); /* ...; mov %r11, o(%rsp); call *o(%rsp) */
		put_rel32(text.function, 0);
		PUT(0x4c, 0x89, 0x5c, 0x24, o);
		if (rnd(2))
			PUT(0xff, 0x54, 0x24, o);
		else
			PUT(0xff, 0x94, 0x24, o, 0xff, 0xff, 0xff);
		break;
	default:
		PUT(0x48, 0x8d,
		    0x05); /* lea data - 16(%rip), %rax; mov $2, %ecx; call *(%rax,%rcx,8) */
		put_rel32(memory.data - 16, 0);
		PUT(0xb9, 2, 0, 0, 0);
		PUT(0xff, 0x14, 0xc8);
	}
}

static void make_block(void)
{
	static void (*const pieces[])(void) = {
		arithmetic, arithmetic, arithmetic, immediate, immediate, odd_ones, odd_ones, flags,
		red_zone,   red_zone,   relative,   relative,  stack,     string,   loop,     call};
	/* lea (%rax,%rdx), %rax; mov (%rsp), %rcx; ret: sees its return address */
	static const u8 function[] = {0x48, 0x8d, 0x04, 0x10, 0x48, 0x8b, 0x0c, 0x24, 0xc3};
	u32 n = 1 + rnd(PIECES);

	memcpy(text.function, function, sizeof(function));
	len = insns = 0;
	for (u32 i = 0; i < n; i++) {
		u32 size = 0, from = rnd(5) ? 0 : branch(&size), over = from ? 1 + rnd(2) : 1, rel;

		while (over--)
			pieces[rnd(ARRAY_SIZE(pieces))]();
		rel = len - from;
		if (from)
			memcpy(text.code + from - size, &rel, size);
	}
	PUT(0xe9);
	put_rel32(block_exit, 0);
	memset(text.code + len, 0xcc, 32);
}

static void random_state(void)
{
	void *function = text.function;

	for (u32 i = 0; i < 16; i++)
		block_in.reg[i] = rnd(3) ? (u64)rnd(~0u) << 32 | rnd(~0u) : rnd(4);
	block_in.reg[4] = (u64)memory.above;
	block_in.flags = 0x202 | ((u64)rnd(0x1000) & FLAGS);
	for (u32 i = 0; i < sizeof(memory_before); i++)
		((u8 *)&memory_before)[i] = (u8)rnd(256);
	memcpy(memory_before.data, &function, 8);
}

static void run(struct state *ret, struct memory *ret_memory)
{
	memory = memory_before;
	hits = 0;
	block_code = text.code;
	run_block();
	*ret = block_out;
	*ret_memory = memory;
}

static size_t view_text(const struct attach_view *v, u64 addr, u8 *ret, size_t n)
{
	if (addr < v->text_start || addr >= v->text_end)
		return 0;
	n = n > v->text_end - addr ? v->text_end - addr : n;
	memcpy(ret, (const void *)addr, n);
	return n;
}

static bool view_readable(const struct attach_view *v, u64 addr, u64 n)
{
	return false;
}

struct collected {
	struct attach_sink sink;
	u64 addr[512];
	u32 count;
};

static bool collect(struct attach_sink *s, u64 addr, enum attach_place kind)
{
	struct collected *c = (struct collected *)s;

	if (c->count < ARRAY_SIZE(c->addr))
		c->addr[c->count++] = addr;
	return true;
}

static struct collected targets;

static bool led_into(u64 addr, u32 window)
{
	for (u32 i = 0; i < targets.count; i++)
		if (targets.addr[i] > addr && targets.addr[i] < addr + window)
			return true;
	return false;
}

static const struct attach_call call_handler = {.handler = handler};
static unsigned long puns;

/* Where a punned jump's trampoline lies at the moment; NULL: nowhere. */
static u8 *pun_page;

static void free_pun(void)
{
	if (pun_page)
		munmap(pun_page, 8192);
	pun_page = NULL;
}

/* A punned jump, where its trampoline finds room. */
static bool plan_pun(u32 off, struct attach_plan *ret)
{
	struct attach_text t = {
		.bytes = text.code + off, .len = 32, .own = len - off, .seen = 32, .first_only = true};
	u64 addr = (u64)text.code + off, first, last, at;
	struct attach_refusal why;

	if (!attach_pun_room(&t, addr, rnd(2) ? 0 : rnd(4), &first, &last))
		return false;
	at = first + rnd((u32)(last - first) + 1);
	pun_page = mmap((void *)(at & ~4095UL), 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (pun_page == MAP_FAILED)
		pun_page = NULL;
	if (!pun_page || attach_plan(&t, addr, at, &call_handler, (u8 *)at, ATTACH_TRAMP_MAX, ret, &why))
		return false;
	puns++;
	return true;
}

static enum attach_error plan_at(u32 off, struct attach_plan *ret)
{
	struct attach_text t = {.bytes = text.code + off, .len = 32, .own = len - off};
	struct attach_refusal why;
	u64 addr = (u64)text.code + off;
	enum attach_error err = attach_plan(&t, addr, (u64)text.tramp, &call_handler, text.tramp,
					    sizeof(text.tramp), ret, &why);

	return err ? err : led_into(addr, ret->window) ? ATTACH_E_BRANCH_IN : ATTACH_OK;
}

/*
 * What the code has in its registers when it first comes to an instruction; false: it never does.
 */
static bool state_at(u32 off, struct state *ret)
{
	u8 saved[ATTACH_JMP_LEN];
	struct memory unused;
	s32 rel = (s32)((u8 *)block_exit - (text.code + off + 5));

	memcpy(saved, text.code + off, sizeof(saved));
	text.code[off] = 0xe9;
	memcpy(text.code + off + 1, &rel, 4);
	run(ret, &unused);
	memcpy(text.code + off, saved, sizeof(saved));
	return ret->reg[4] != (u64)memory.above || off + ATTACH_JMP_LEN < len;
}

static bool handler_saw(const struct state *s, u64 addr)
{
	const u64 in_order[16] = {seen.rax, seen.rcx, seen.rdx, seen.rbx, seen.rsp, seen.rbp,
				  seen.rsi, seen.rdi, seen.r8,  seen.r9,  seen.r10, seen.r11,
				  seen.r12, seen.r13, seen.r14, seen.r15};

	return !memcmp(in_order, s->reg, sizeof(in_order)) &&
	       !((seen.eflags ^ s->flags) & (FLAGS | 0x202)) && seen.rip == addr &&
	       seen.cs == 0x33 && seen.ss == 0x2b && seen.orig_rax == ~0ULL;
}

static unsigned long tally[16], compared, seen_right;

static void report(const char *what, u32 off)
{
	printf("# %s, probe at %u; the block:", what, off);
	for (u32 i = 0; i < len; i++)
		printf("%s%02x", off == i ? " >" : " ", text.code[i]);
	printf("\n");
}

static bool probe_each(void)
{
	static struct memory want_memory, got_memory;
	struct state want, got, there;

	run(&want, &want_memory);
	for (u32 i = 0; i < insns; i++) {
		struct attach_plan plan;
		enum attach_error err = plan_at(insn_at[i], &plan);
		bool reached;

		tally[err]++;
		if ((err || !rnd(3)) && !plan_pun(insn_at[i], &plan)) {
			free_pun();
			continue;
		}
		reached = i + 2 < insns && !led_into((u64)text.code + insn_at[i], ATTACH_JMP_LEN) &&
			  state_at(insn_at[i], &there);
		memcpy(text.code + insn_at[i], plan.patch, plan.patch_len);
		run(&got, &got_memory);
		memcpy(text.code + insn_at[i], plan.orig, plan.patch_len);
		free_pun();
		want.flags = (want.flags & ~0x10000ULL);
		got.flags = (got.flags & ~0x10000ULL);
		compared++;
		if (memcmp(&want, &got, sizeof(got)) ||
		    memcmp(want_memory.red, got_memory.red,
			   sizeof(got_memory) - sizeof(got_memory.below))) {
			report("differs", insn_at[i]);
			for (u32 k = 0; k < 16; k++)
				if (want.reg[k] != got.reg[k])
					printf("# register %u: %#lx, probed %#lx\n", k, want.reg[k],
					       got.reg[k]);
			printf("# flags: %#lx, probed %#lx; memory %s\n", want.flags, got.flags,
			       memcmp(want_memory.red, got_memory.red,
				      sizeof(got_memory) - sizeof(got_memory.below))
				       ? "differs"
				       : "is the same");
			return false;
		}
		if (!hits || !reached)
			continue;
		seen_right++;
		if (!handler_saw(&there, (u64)text.code + insn_at[i])) {
			report("the handler saw other registers", insn_at[i]);
			return false;
		}
	}
	return true;
}

static void crashed(int sig)
{
	report("crashed, running a block", 0);
	printf("not ok random_blocks\n");
	fflush(stdout);
	_Exit(1);
}

TEST(random_blocks_run_the_same_with_a_probe_on_each_instruction)
{
	long rounds = getenv("LIMPET_LONG") ? 400000 : 30000;
	static u8 alternate[65536];
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
	struct sigaction sa = {.sa_handler = crashed, .sa_flags = SA_ONSTACK};

	REQUIRE(!mprotect(&text, sizeof(text), PROT_READ | PROT_WRITE | PROT_EXEC));
	sigaltstack(&ss, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	sigaction(SIGTRAP, &sa, NULL);
	for (long r = 0; r < rounds; r++) {
		struct attach_view view = {.text = view_text, .readable = view_readable};
		struct attach_function f;
		struct attach_refusal why;

		make_block();
		random_state();
		view.text_start = f.start = (u64)text.code;
		view.text_end = f.end = f.next = f.start + len;
		f.lsda = 0;
		targets.sink.add = collect;
		targets.count = 0;
		REQUIRE(!attach_collect(&view, &f, &targets.sink, &why));
		REQUIRE(probe_each());
	}
	printf("# %lu probes run, %lu compared at the hit; refused: %lu short, %lu branches, %lu "
	       "immovable\n",
	       compared, seen_right, tally[ATTACH_E_SHORT], tally[ATTACH_E_BRANCH_IN],
	       tally[ATTACH_E_RELOCATE]);
	printf("# %lu of them punned jumps\n", puns);
	CHECK(compared > (unsigned long)rounds * 10);
	CHECK(puns > (unsigned long)rounds);
	CHECK(seen_right > compared / 2);
	CHECK_EQ(tally[ATTACH_E_RELOCATE] + tally[ATTACH_E_DECODE] + tally[ATTACH_E_RANGE], 0);
}

TEST_MAIN()
