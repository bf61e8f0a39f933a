/* SPDX-License-Identifier: MIT */
/*
 * Probes on small functions, run: results, registers and flags as without, and the handler sees
 * them. Each function is copied to a page of its own, patched there and called.
 */
#include <sys/mman.h>
#include <unistd.h>
#include "attach/attach.h"
#include "attach/function.h"
#include "../unit/check.h"

static struct attach_regs seen;
static int hits;

__attribute__((target("general-regs-only"))) static void handler(void *arg,
								 struct attach_regs *regs)
{
	seen = *regs;
	hits += (int)(long)arg;
	__asm__ volatile(""
			 :
			 :
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
}

static u8 *page;
static bool shadow_stack;
static u8 behind; /* attach_call.behind */

/*
 * Patches the function [page, page + end) at page + at; its planned window, or minus the refusal.
 */
static int probe(const u8 *code, size_t len, size_t at, size_t end)
{
	struct attach_call call = {.handler = handler, .arg = (void *)1L, .behind = behind};
	struct attach_refusal why;
	struct attach_plan plan;
	enum attach_error err;

	if (!page)
		page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(page, 0x90, 4096);
	memcpy(page, code, len);
	page[len] = 0xc3;
	err = attach_plan(&(struct attach_text){.bytes = page + at,
						.len = 32,
						.own = end - at,
						.seen = 32,
						.shadow_stack = shadow_stack},
			  (u64)page + at, (u64)page + 4096, &call, page + 4096, ATTACH_TRAMP_MAX,
			  &plan, &why);
	if (err)
		return -(int)err;
	memcpy(page + at, plan.patch, plan.patch_len);
	hits = 0;
	return plan.window;
}

#define PROBE(at, ...)                                                                             \
	({                                                                                         \
		const u8 code_[] = {__VA_ARGS__};                                                  \
		probe(code_, sizeof(code_), at, sizeof(code_) + 1);                                \
	})
#define CALL(a, b) (((long (*)(long, long))page)((a), (b)))

TEST(an_ordinary_prologue)
{
	/* push %rbp; mov %rsp,%rbp; lea (%rdi,%rsi),%rax; pop %rbp */
	CHECK_EQ(PROBE(0, 0x55, 0x48, 0x89, 0xe5, 0x48, 0x8d, 0x04, 0x37, 0x5d), 8);
	CHECK_EQ(CALL(40, 2), 42);
	CHECK_EQ(hits, 1);
	CHECK_EQ(seen.rdi, 40);
	CHECK_EQ(seen.rsi, 2);
	CHECK_EQ(seen.rip, (u64)page);
	CHECK_EQ(seen.rsp & 15, 8);
}

TEST(endbr64_and_arithmetic)
{
	CHECK_EQ(PROBE(0, 0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x89, 0xf8, 0x48, 0x29, 0xf0), 7);
	CHECK_EQ(CALL(50, 8), 42);
	CHECK_EQ(hits, 1);
}

TEST(a_short_function_before_padding)
{
	static const u8 code[] = {0x89, 0xf8, 0xc3, 0xcc, 0xcc, 0xcc},
			nops[] = {0x89, 0xf8, 0xc3, 0x0f, 0x1f, 0x40, 0x00};

	CHECK_EQ(probe(nops, sizeof(nops), 0, 4), -ATTACH_E_SHORT);
	CHECK_EQ(probe(nops, sizeof(nops), 0, 3), 5);
	CHECK_EQ(CALL(7, 0), 7);
	CHECK_EQ(probe(code, sizeof(code), 0, 3), 5);
	CHECK_EQ(CALL(7, 0), 7);
	CHECK_EQ(hits, 1);
}

TEST(a_branch_first)
{
	/* jmp +3; int3 x3; mov %edi,%eax */
	CHECK_EQ(PROBE(0, 0xe9, 3, 0, 0, 0, 0xcc, 0xcc, 0xcc, 0x89, 0xf8), 5);
	CHECK_EQ(CALL(9, 0), 9);
	/* cmp; je +2 taken or not: test %edi,%edi; je +4; mov %esi,%eax; jmp +2; mov %edi,%eax */
	CHECK_EQ(PROBE(0, 0x85, 0xff, 0x74, 0x04, 0x89, 0xf0, 0xeb, 0x02, 0x31, 0xc0), 6);
	CHECK_EQ(CALL(1, 5), 5);
	CHECK_EQ(CALL(0, 5), 0);
	CHECK_EQ(hits, 2);
}

TEST(a_call_returns_behind_the_window)
{
	/* sub $8,%rsp; call +5; add $8,%rsp; ret; (callee:) lea 1(%rdi),%rax; ret */
	CHECK_EQ(PROBE(4, 0x48, 0x83, 0xec, 8, 0xe8, 5, 0, 0, 0, 0x48, 0x83, 0xc4, 8, 0xc3, 0x48,
		       0x8d, 0x47, 1),
		 5);
	CHECK_EQ(CALL(41, 0), 42);
	CHECK_EQ(hits, 1);
}

/* Only calls that are replaced by calls may be moved where return addresses are checked. */
TEST(calls_with_a_shadow_stack)
{
	shadow_stack = true;
	CHECK_EQ(PROBE(0, 0x48, 0x83, 0xec, 8, 0xe8, 5, 0, 0, 0, 0x48, 0x83, 0xc4, 8, 0xc3, 0x48,
		       0x8d, 0x47, 1),
		 -ATTACH_E_RELOCATE);
	CHECK_EQ(PROBE(4, 0x48, 0x83, 0xec, 8, 0xe8, 5, 0, 0, 0, 0x48, 0x83, 0xc4, 8, 0xc3, 0x48,
		       0x8d, 0x47, 1),
		 5);
	CHECK_EQ(page[4], 0xe8);
	CHECK_EQ(CALL(41, 0), 42);
	shadow_stack = false;
	CHECK_EQ(PROBE(0, 0x48, 0x83, 0xec, 8, 0xe8, 5, 0, 0, 0, 0x48, 0x83, 0xc4, 8, 0xc3, 0x48,
		       0x8d, 0x47, 1),
		 9);
	CHECK_EQ(CALL(41, 0), 42);
}

TEST(memory_relative_to_the_program_counter)
{
	/* mov 2(%rip),%rax; jmp +8; data */
	CHECK_EQ(PROBE(0, 0x48, 0x8b, 0x05, 2, 0, 0, 0, 0xeb, 8, 1, 2, 3, 4, 5, 6, 7, 8), 7);
	CHECK_EQ(CALL(0, 0), 0x0807060504030201);
}

TEST(flags_and_the_red_zone_survive_in_the_middle)
{
	/* mov %rdi,-8(%rsp); cmp %rsi,%rdi; [nop5]; setg %al; seto %cl; movzbl..; or; add
	 * -8(%rsp),%rax */
	for (long a = -2; a <= 2; a++) {
		long big = (long)((u64)a << 62), want;
		bool over = __builtin_sub_overflow(big, 3L << 61, &want);

		REQUIRE(PROBE(8, 0x48, 0x89, 0x7c, 0x24, 0xf8, 0x48, 0x39, 0xf7, 0x0f, 0x1f, 0x44,
			      0, 0, 0x0f, 0x9f, 0xc0, 0x0f, 0x90, 0xc1, 0x0f, 0xb6, 0xc0, 0x0f,
			      0xb6, 0xc9, 0x01, 0xc8, 0x01, 0xc8, 0x48, 0x03, 0x44, 0x24,
			      0xf8) == 5);
		CHECK_EQ(CALL(big, 3L << 61), big + (big > 3L << 61) + 2 * over);
		CHECK_EQ(hits, 1);
		CHECK_EQ(seen.eflags >> 11 & 1, over);
	}
}

TEST(what_cannot_be_probed_is_refused)
{
	CHECK_EQ(PROBE(0, 0x06, 0x55, 0x55), -ATTACH_E_DECODE);
	CHECK_EQ(PROBE(0, 0xc3, 0x55, 0x55), -ATTACH_E_SHORT);
	CHECK_EQ(PROBE(0, 0x0f, 0x05, 0xc3), -ATTACH_E_RELOCATE);
	CHECK_EQ(PROBE(0, 0xff, 0xd0, 0xc3), -ATTACH_E_SHORT);
	CHECK_EQ(PROBE(0, 0xff, 0xd4, 0x90, 0x90, 0x90, 0xc3), -ATTACH_E_RELOCATE);
	CHECK_EQ(PROBE(0, 0xff, 0x18, 0x90, 0x90, 0x90, 0xc3), -ATTACH_E_RELOCATE);
	CHECK_EQ(PROBE(0, 0xc7, 0xf8, 0, 0, 0, 0, 0xc3), -ATTACH_E_RELOCATE);
	CHECK_EQ(PROBE(0, 0x90, 0xcc, 0x90, 0x90, 0x90, 0xc3), -ATTACH_E_BREAKPOINT);
	CHECK_EQ(PROBE(0, 0x67, 0x8b, 0x05, 0, 0, 0, 0, 0xc3), -ATTACH_E_RELOCATE);
	/* rex, 11 times; call *-1(%rsp,%rdi,4): 8 more to the distance would make 18 bytes of it */
	CHECK_EQ(PROBE(0, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0xff, 0x54, 0xbc, 0xff, 0xc3),
		 -ATTACH_E_RELOCATE);
}

TEST(a_call_behind_what_is_displaced)
{
	behind = 5;
	CHECK_EQ(PROBE(0, 0xb8, 39, 0, 0, 0, 0x0f, 0x05), 5); /* mov $39, %eax; syscall: getpid */
	CHECK_EQ(CALL(1, 2), getpid());
	CHECK_EQ(hits, 1);
	CHECK_EQ(seen.rax, 39);
	CHECK_EQ(seen.rip, (u64)page + 5);
	behind = 7; /* test %rdi, %rdi; je +2; lea 1(%rsi), ... */
	CHECK_EQ(PROBE(0, 0x48, 0x85, 0xff, 0x74, 6, 0x89, 0xf0, 0x83, 0xc0, 1, 0xc3, 0x31, 0xc0), 7);
	CHECK_EQ(CALL(1, 41), 42);
	CHECK_EQ(hits, 1);
	CHECK_EQ(seen.rax, 41);
	CHECK_EQ(CALL(0, 41), 0); /* goes elsewhere, without a call */
	CHECK_EQ(hits, 1);
	behind = 6; /* not where an instruction ends */
	CHECK_EQ(PROBE(0, 0xb8, 39, 0, 0, 0, 0x0f, 0x05), -ATTACH_E_RELOCATE);
	behind = 3; /* no room */
	CHECK_EQ(PROBE(0, 0x48, 0x31, 0xc0, 0x0f, 0x05), -ATTACH_E_SHORT);
	behind = 5; /* a call does not go on there */
	CHECK_EQ(PROBE(0, 0xe8, 0, 0, 0, 0, 0x0f, 0x05), -ATTACH_E_RELOCATE);
	behind = 0;
}

/* What %eax holds behind the instruction, when it held 7. */
#define NUMBER(...)                                                                                \
	({                                                                                         \
		const u8 code_[] = {__VA_ARGS__};                                                  \
		struct x86_insn in_;                                                               \
		CHECK_EQ(x86_decode(code_, sizeof(code_), &in_), (long)sizeof(code_));             \
		attach_follow_number(code_, &in_, 7);                                              \
	})

TEST(the_number_of_a_system_call_is_followed)
{
	CHECK_EQ(NUMBER(0xb8, 0x39, 1, 0, 0), 0x139);                   /* mov $, %eax */
	CHECK_EQ(NUMBER(0x48, 0xc7, 0xc0, 15, 0, 0, 0), 15);            /* mov $, %rax */
	CHECK_EQ(NUMBER(0x31, 0xc0), 0);                                /* xor %eax, %eax */
	CHECK_EQ(NUMBER(0xb8, 0xff, 0xff, 0xff, 0xff), -1);
	CHECK_EQ(NUMBER(0x66, 0xb8, 1, 0), -1);                         /* mov $, %ax */
	CHECK_EQ(NUMBER(0x41, 0xb8, 1, 0, 0, 0), 7);                    /* %r8d */
	CHECK_EQ(NUMBER(0xbf, 1, 0, 0, 0), 7);                          /* %edi */
	CHECK_EQ(NUMBER(0x89, 0xf8), -1);                               /* mov %edi, %eax */
	CHECK_EQ(NUMBER(0x41, 0x89, 0xc0), 7);                          /* mov %eax, %r8d */
	CHECK_EQ(NUMBER(0x44, 0x8b, 0xc0), 7);                          /* the same, the other way */
	CHECK_EQ(NUMBER(0x8b, 0x07), -1);                               /* mov (%rdi), %eax */
	CHECK_EQ(NUMBER(0x89, 0x07), 7);                                /* mov %eax, (%rdi) */
	CHECK_EQ(NUMBER(0x31, 0xff), 7);                                /* xor %edi, %edi */
	CHECK_EQ(NUMBER(0x31, 0xf8), -1);                               /* xor %edi, %eax */
	CHECK_EQ(NUMBER(0x4d, 0x31, 0xc0), 7);                          /* xor %r8, %r8 */
	CHECK_EQ(NUMBER(0x83, 0xc0, 1), -1);                            /* add $1, %eax */
	CHECK_EQ(NUMBER(0x83, 0xf8, 1), 7);                             /* cmp $1, %eax */
	CHECK_EQ(NUMBER(0x48, 0x8d, 0x44, 0x24, 8), -1);                /* lea 8(%rsp), %rax */
	CHECK_EQ(NUMBER(0x4c, 0x8d, 0x44, 0x24, 8), 7);                 /* %r8 */
	CHECK_EQ(NUMBER(0x58), -1);                                     /* pop %rax */
	CHECK_EQ(NUMBER(0x41, 0x58), 7);                                /* pop %r8 */
	CHECK_EQ(NUMBER(0x87, 0xf8), -1);                               /* xchg */
	CHECK_EQ(NUMBER(0x97), -1);
	CHECK_EQ(NUMBER(0x48, 0x98), -1);                               /* cltq */
	CHECK_EQ(NUMBER(0x0f, 0xb1, 0x0f), -1);                         /* cmpxchg */
	CHECK_EQ(NUMBER(0xb4, 1), -1);                                  /* mov $1, %ah */
	CHECK_EQ(NUMBER(0xc6, 0xc4, 1), -1);
	CHECK_EQ(NUMBER(0xf3, 0x0f, 0x1e, 0xfa), 7);                    /* endbr64 */
	CHECK_EQ(NUMBER(0x0f, 0x44, 0xc7), -1);                         /* cmove %edi, %eax */
	CHECK_EQ(NUMBER(0xf7, 0xe7), -1);                               /* mul %edi */
	CHECK_EQ(NUMBER(0xf7, 0xc7, 1, 0, 0, 0), 7);                    /* test $1, %edi */
	CHECK_EQ(NUMBER(0x0f, 0xa2), -1);                               /* cpuid */
	CHECK_EQ(NUMBER(0x62, 0xf1, 0x7c, 0x48, 0x10, 0xc1), -1);       /* vmovups %zmm1, %zmm0: not looked at */
}

TEST(the_decoder_never_reads_past_the_end)
{
	u64 seed = 1;

	for (int r = 0; r < 2000000; r++) {
		struct x86_insn in;
		u8 code[16];
		u32 len;
		int n;

		for (u32 i = 0; i < sizeof(code); i += 8) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			memcpy(code + i, &seed, 8);
		}
		len = (u32)(seed >> 59) % 17;
		n = x86_decode(code, len, &in);
		CHECK(n < 0 || ((u32)n <= len && n <= 15 && n > 0));
	}
}

TEST_MAIN()
