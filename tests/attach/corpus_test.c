/* SPDX-License-Identifier: MIT */
/*
 * Functions of libc, libm and libcrypto, as they are installed: a probe on each instruction in turn, the same
 * results. Which of libc's string functions run depends on the processor: the test is run again with its newer
 * extensions taken away (GLIBC_TUNABLES). Of libcrypto's the functions are probed that they lead to, too,
 * which are the assembly. And every function that real libraries and programs have: how many could not be probed
 * at their first instruction, and why.
 */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <wchar.h>
#include "../unit/check.h"
#include "attach/decode.h"
#include "self.h"

static volatile long hits;

__attribute__((target("general-regs-only"))) static void handler(void *arg,
								 struct attach_regs *regs)
{
	hits++;
	__asm__ volatile("sub %%eax, %%ecx"
			 :
			 :
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
}

static u64 hash(u64 h, const void *p, size_t n)
{
	const u8 *b = p;

	while (n--)
		h = (h ^ *b++) * 0x100000001b3ULL;
	return h;
}

static u8 src[4096], dst[4096];

static void fill(void)
{
	for (u32 i = 0; i < sizeof(src); i++)
		src[i] = (u8)(i * 7 % 251 + 1);
	for (u32 i = 100; i < sizeof(src); i += 300)
		src[i] = 0;
	for (u32 i = 0; i < sizeof(dst); i++)
		dst[i] = 0x55;
}

static const size_t sizes[] = {0,  1,  2,  3,  4,  7,   8,   9,   15,  16,   17,  31,
			       33, 63, 64, 65, 95, 129, 255, 257, 511, 1025, 2000};

#define FOR_SIZES(n, off)                                                                          \
	for (u32 i_ = 0; i_ < ARRAY_SIZE(sizes); i_++)                                             \
		for (size_t n = sizes[i_], off = 0; off < 40; off += 13)

static u64 copies(void *fn)
{
	void *(*copy)(void *, const void *, size_t) = fn;
	u64 h = 1;

	FOR_SIZES(n, off)
	{
		fill();
		copy(dst + off, src + off * 2 % 33, n);
		copy(src + 64, src + 70 - off, n);
		copy(src + 64 - off, src + 70, n);
		h = hash(hash(h, dst, sizeof(dst)), src, sizeof(src));
	}
	return h;
}

static u64 sets(void *fn)
{
	void *(*set)(void *, int, size_t) = fn;
	u64 h = 1;

	FOR_SIZES(n, off)
	{
		fill();
		set(dst + off, (int)n, n);
		h = hash(h, dst, sizeof(dst));
	}
	return h;
}

static u64 compares(void *fn)
{
	int (*cmp)(const void *, const void *, size_t) = fn;
	u64 h = 1;

	fill();
	memcpy(dst, src, sizeof(dst));
	FOR_SIZES(n, off)
	{
		dst[off + n / 2] ^= 1;
		int r = cmp(dst + off, src + off, n), sign = (r > 0) - (r < 0);
		dst[off + n / 2] ^= 1;
		h = hash(h, &sign, sizeof(sign));
	}
	return h;
}

static u64 lengths(void *fn)
{
	size_t (*len)(const void *) = fn;
	u64 h = 1;

	fill();
	for (u32 off = 0; off < 120; off++) {
		size_t r = len(src + off);

		h = hash(h, &r, sizeof(r));
	}
	return h;
}

static u64 wide_lengths(void *fn)
{
	size_t (*len)(const wchar_t *) = fn;
	static wchar_t w[200];
	u64 h = 1;

	for (u32 i = 0; i < 199; i++)
		w[i] = 1;
	for (u32 off = 0; off < 150; off += 3) {
		size_t r = len(w + off);

		h = hash(h, &r, sizeof(r));
	}
	return h;
}

static u64 finds(void *fn)
{
	const u8 *(*find)(const void *, int, size_t) = fn;
	u64 h = 1;

	fill();
	for (u32 off = 0; off < 70; off++)
		for (int c = 0; c < 60; c += 7) {
			u64 at = (u64)(find(src + off, c, 300) - src);

			h = hash(h, &at, sizeof(at));
		}
	return h;
}

static u64 strings(void *fn)
{
	u64 (*f)(void *, const void *, size_t) = fn;
	u64 h = 1;

	for (u32 off = 0; off < 70; off += 3) {
		fill();
		dst[300] = 0;
		dst[off + 20] = 0;
		u64 r = f(dst + off, src + 300 - off, 50) - (u64)dst;
		if (r > sizeof(dst))
			r = 0;
		h = hash(hash(h, dst, sizeof(dst)), &r, 8);
	}
	return h;
}

static u64 numbers(void *fn)
{
	long (*f)(const char *, char **, int) = fn;
	static const char *const text[] = {"0",
					   "42",
					   "-17",
					   "  +99x",
					   "0x1fQ",
					   "077",
					   "9223372036854775808",
					   "-9223372036854775809",
					   "",
					   "z"};
	u64 h = 1;

	for (u32 i = 0; i < ARRAY_SIZE(text); i++)
		for (int base = 0; base < 37; base += base < 2 ? 2 : 7) {
			char *end;
			long r = f(text[i], &end, base), used = end - text[i];

			h = hash(hash(h, &r, sizeof(r)), &used, sizeof(used));
		}
	return h;
}

static u64 doubles(void *fn)
{
	double (*f)(const char *, char **) = fn;
	static const char *const text[] = {"0",   "1.5", "-2.25e10", "1e-320",           "1e400",
					   "nan", "inf", "0x1.8p3",  "3.14159265358979", "x"};
	u64 h = 1;

	for (u32 i = 0; i < ARRAY_SIZE(text); i++) {
		char *end;
		double r = f(text[i], &end);
		long used = end - text[i];

		h = hash(hash(h, &r, sizeof(r)), &used, sizeof(used));
	}
	return h;
}

static u64 prints(void *fn)
{
	int (*f)(char *, size_t, const char *, ...) = fn;
	char buf[300];
	int n = f(buf, sizeof(buf), "%d %5u|%-8s|%08lx %c %.3f %g %e %% %p %ls %zu", -5, 77u,
		  "text", 0xabcdefL, 'z', 3.14159, 1e20, -0.5, (void *)0x1234, L"wide",
		  sizeof(buf));

	return hash((u64)n, buf, strlen(buf));
}

static u64 scans(void *fn)
{
	int (*f)(const char *, const char *, ...) = fn;
	int a = 0, b = 0;
	char word[20] = "";
	double d = 0;
	int n = f("12 0x1f hello 2.5", "%d %i %19s %lf", &a, &b, word, &d);

	return hash(hash((u64)n, word, sizeof(word)), &d, sizeof(d)) + (u64)(a + b);
}

static int by_int(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static u64 sorts(void *fn)
{
	void (*f)(void *, size_t, size_t, int (*)(const void *, const void *)) = fn;
	int all[150];

	for (u32 i = 0; i < ARRAY_SIZE(all); i++)
		all[i] = (int)(i * 7919 % 1009);
	f(all, ARRAY_SIZE(all), sizeof(int), by_int);
	return hash(1, all, sizeof(all));
}

static u64 searches(void *fn)
{
	void *(*f)(const void *, const void *, size_t, size_t,
		   int (*)(const void *, const void *)) = fn;
	int all[100], key;
	u64 h = 1;

	for (int i = 0; i < 100; i++)
		all[i] = 3 * i;
	for (key = -1; key < 300; key += 2) {
		int *at = f(&key, all, 100, sizeof(int), by_int);
		long i = at ? at - all : -1;

		h = hash(h, &i, sizeof(i));
	}
	return h;
}

static u64 maths(void *fn)
{
	double (*f)(double) = fn;
	u64 h = 1;

	for (double x = -20; x < 20; x += 0.37) {
		double r = f(x);

		h = hash(h, &r, sizeof(r));
	}
	return h;
}

static u64 powers(void *fn)
{
	double (*f)(double, double) = fn;
	u64 h = 1;

	for (double x = 0.1; x < 20; x += 0.77) {
		double r = f(x, x / 3 - 2);

		h = hash(h, &r, sizeof(r));
	}
	return h;
}

static u64 allocates(void *fn)
{
	void *(*f)(size_t, size_t) = fn;
	u64 h = 1;

	for (size_t n = 1; n < 3000; n += 300) {
		u8 *p = f(n, n); /* malloc takes one of them */

		memset(p, 7, n);
		h = hash(h, p, n);
		free(p);
	}
	return h;
}

static u64 frees(void *fn)
{
	void (*f)(void *) = fn;
	u64 h = 1;

	for (size_t n = 1; n < 3000; n += 300) {
		void *p = malloc(n), *q = malloc(n + 100);

		f(p);
		f(q);
		h += n;
	}
	f(NULL);
	return h;
}

static u64 reallocates(void *fn)
{
	void *(*f)(void *, size_t) = fn;
	u8 *p = NULL;
	u64 h = 1;

	for (size_t n = 10; n < 3000; n += 290) {
		p = f(p, n);
		memset(p, (int)n, n);
		h = hash(h, p, n);
	}
	free(p);
	return h;
}

static u64 times(void *fn)
{
	struct tm *(*f)(const time_t *, struct tm *) = fn;
	u64 h = 1;

	for (time_t t = -1000000000; t < 4000000000L; t += 77777777) {
		struct tm tm = {0};

		f(&t, &tm);
		h = hash(h, &tm, offsetof(struct tm, tm_isdst));
	}
	return h;
}

static u64 regexes(void *fn)
{
	int (*f)(const regex_t *, const char *, size_t, regmatch_t *, int) = fn;
	static const char *const text[] = {"", "abc", "xxabbbcyy", "foo@bar.org", "aaaaaaaaaab"};
	regmatch_t m[3];
	regex_t r;
	u64 h = 1;

	regcomp(&r, "(a*b+)c?|([a-z]+)@", REG_EXTENDED);
	for (u32 i = 0; i < ARRAY_SIZE(text); i++) {
		int n = f(&r, text[i], 3, m, 0);

		h = hash(h, &n, sizeof(n));
		if (!n)
			h = hash(h, m, sizeof(m));
	}
	regfree(&r);
	return h;
}

static jmp_buf back;

static u64 jumps(void *fn)
{
	void (*f)(jmp_buf, int) = fn;
	volatile u64 h = 1;

	for (volatile int i = 1; i < 4; i++) {
		int r = _setjmp(back);

		if (!r)
			f(back, i);
		h = h * 31 + (u64)r;
	}
	return h;
}

static u64 contexts(void *fn)
{
	int (*f)(ucontext_t *, const ucontext_t *) = fn;
	volatile u64 h = 1;
	volatile int twice = 0;
	ucontext_t here, there;

	getcontext(&there);
	h = h * 31 + 7;
	if (!twice++)
		f(&here, &there);
	return h;
}

static u64 identities(void *fn)
{
	long (*f)(void) = fn;

	return (u64)f();
}

static u64 locks(void *fn)
{
	int (*f)(pthread_mutex_t *) = fn;
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	u64 h = (u64)f(&m);

	pthread_mutex_unlock(&m);
	return h;
}

static u64 chars(void *fn)
{
	int (*f)(int) = fn;
	u64 h = 1;

	for (int c = -1; c < 256; c++) {
		int r = f(c);

		h = hash(h, &r, sizeof(r));
	}
	return h;
}

static u64 environment(void *fn)
{
	char *(*f)(const char *) = fn;

	return (f("PATH") ? strlen(f("PATH")) : 0) + (f("NO_SUCH") != NULL);
}

static void *crypto;

static u64 digests(void *fn)
{
	u8 *(*f)(const u8 *, size_t, u8 *) = fn;
	u8 out[64];
	u64 h = 1;

	fill();
	for (size_t n = 0; n < 1500; n = n * 3 + 61) {
		memset(out, 0, sizeof(out));
		f(src + n % 7, n, out);
		h = hash(h, out, sizeof(out));
	}
	return h;
}

static u64 ciphers(void *fn)
{
	int (*set_key)(const u8 *, int, void *) = dlsym(crypto, "AES_set_encrypt_key");
	void (*f)(const u8 *, u8 *, const void *) = fn;
	static _Alignas(16) u8 key[512];
	u64 h = 1;

	fill();
	for (int bits = 128; bits <= 256; bits += 64) {
		set_key(src, bits, key);
		f(src + 7, dst, key);
		h = hash(h, dst, 16);
	}
	return h;
}

static u64 chains(void *fn)
{
	int (*set_key)(const u8 *, int, void *) = dlsym(crypto, "AES_set_encrypt_key");
	void (*f)(const u8 *, u8 *, size_t, const void *, u8 *, int) = fn;
	static _Alignas(16) u8 key[512];
	u8 iv[16] = {7};

	fill();
	set_key(src, 256, key);
	f(src + 7, dst, 500, key, iv, 1);
	return hash(hash(1, dst, 520), iv, sizeof(iv));
}

static u64 cleanses(void *fn)
{
	void (*f)(void *, size_t) = fn;
	u64 h = 1;

	FOR_SIZES(n, off)
	{
		fill();
		f(dst + off, n);
		h = hash(h, dst, sizeof(dst));
	}
	return h;
}

/* r = a * b, or a power of it, by libcrypto's big numbers. */
static u64 big(void *fn, bool power)
{
	void *(*new)(void) = dlsym(crypto, "BN_new"), *(*new_ctx)(void) = dlsym(crypto, "BN_CTX_new");
	void *(*from)(const u8 *, int, void *) = dlsym(crypto, "BN_bin2bn");
	int (*to)(const void *, u8 *) = dlsym(crypto, "BN_bn2bin");
	void (*delete)(void *) = dlsym(crypto, "BN_free"), (*delete_ctx)(void *) = dlsym(crypto, "BN_CTX_free");
	void *a, *b, *m, *r = new(), *ctx = new_ctx();
	u8 out[600] = {0};

	fill();
	a = from(src + 1, 128, NULL);
	b = from(src + 200, power ? 16 : 60, NULL);
	m = from(src + 300, 128, NULL); /* odd */
	if (power)
		((int (*)(void *, const void *, const void *, const void *, void *))fn)(r, a, b, m, ctx);
	else
		((int (*)(void *, const void *, const void *, void *))fn)(r, a, b, ctx);
	to(r, out);
	delete (a), delete (b), delete (m), delete (r), delete_ctx(ctx);
	return hash(1, out, sizeof(out));
}

static u64 products(void *fn)
{
	return big(fn, false);
}

static u64 modular_powers(void *fn)
{
	return big(fn, true);
}

static const struct {
	const char *name;
	u64 (*exercise)(void *fn);
} corpus[] = {
	{"memcpy", copies},     {"memmove", copies},      {"memset", sets},
	{"memcmp", compares},   {"strncmp", compares},    {"strncasecmp", compares},
	{"strlen", lengths},    {"wcslen", wide_lengths}, {"memchr", finds},
	{"memrchr", finds},     {"strchr", finds},        {"strrchr", finds},
	{"strcpy", strings},    {"stpcpy", strings},      {"strncpy", strings},
	{"strcat", strings},    {"strncat", strings},     {"strstr", strings},
	{"strspn", strings},    {"strcspn", strings},     {"strpbrk", strings},
	{"strtol", numbers},    {"strtoul", numbers},     {"strtod", doubles},
	{"snprintf", prints},   {"sscanf", scans},        {"qsort", sorts},
	{"bsearch", searches},  {"sin", maths},           {"cos", maths},
	{"exp", maths},         {"tan", maths},           {"floor", maths},
	{"log", maths},         {"cbrt", maths},          {"pow", powers},
	{"fmod", powers},       {"malloc", allocates},    {"calloc", allocates},
	{"free", frees},        {"realloc", reallocates}, {"gmtime_r", times},
	{"regexec", regexes},   {"longjmp", jumps},       {"swapcontext", contexts},
	{"getpid", identities}, {"getppid", identities},  {"pthread_mutex_lock", locks},
	{"toupper", chars},     {"isalpha", chars},       {"getenv", environment},
	{"ffs", chars},
	/* of libcrypto: */
	{"CRYPTO_memcmp", compares},
	{"OPENSSL_cleanse", cleanses},
	{"MD5", digests},
	{"SHA1", digests},
	{"SHA256", digests},
	{"SHA512", digests},
	{"AES_encrypt", ciphers},
	{"AES_cbc_encrypt", chains},
	{"BN_mul", products},
	{"BN_mod_exp", modular_powers},
};

static bool of_crypto(u32 n)
{
	for (u32 i = n + 1; i-- > 0;)
		if (!strcmp(corpus[i].name, "CRYPTO_memcmp"))
			return true;
	return false;
}

static const char *running;
static u64 running_at;

static void crashed(int sig)
{
	printf("# signal %d with a probe at %s+%lu\nnot ok crashed\n", sig, running, running_at);
	fflush(stdout);
	_Exit(1);
}

static void catch_crashes(void)
{
	static u8 alternate[65536];
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
	struct sigaction sa = {.sa_handler = crashed, .sa_flags = SA_ONSTACK};

	sigaltstack(&ss, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	sigaction(SIGTRAP, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
}

/* The text that addr is in. */
static struct agent_region text_of(u64 addr)
{
	for (u32 i = 0; i < agent.region_count; i++)
		if (addr >= agent.regions[i].start && addr < agent.regions[i].end)
			return agent.regions[i];
	return (struct agent_region){0};
}

/* The function at addr by the unwind tables. */
static bool extent(u64 addr, struct attach_function *ret)
{
	u8 bytes[ATTACH_TEXT_WANTED];
	struct attach_refusal why;
	struct attach_text t = {.own = ATTACH_OWN_UNKNOWN};

	place_enter(addr, bytes, &t, &why); /* not where a part of it lies in another region, unprotected above */
	*ret = (struct attach_function){.start = addr,
					.end = t.own == ATTACH_OWN_UNKNOWN ? 0 : addr + t.own};
	return ret->end != 0;
}

struct counts {
	unsigned long insns, probed, hit, refused[16];
};

static void write_bytes(u64 addr, const u8 *bytes, u32 len)
{
	for (u32 i = 0; i < len; i++)
		((volatile u8 *)addr)[i] = bytes[i];
}

/* A probe on each instruction of f in turn, while fn is exercised. */
static bool probe_each(u32 n, void *fn, const struct attach_function *f, u64 want, u8 *tramp,
		       struct counts *c)
{
	static const struct attach_call call = {.handler = handler};
	struct x86_insn in;

	running = corpus[n].name;
	for (u64 addr = f->start; addr < f->end; addr += in.len) {
		struct attach_refusal why;
		struct attach_plan plan;
		enum attach_error err;
		u64 got;

		running_at = addr - (u64)fn;
		if (x86_decode((const u8 *)addr, 15, &in) < 0)
			break;
		c->insns++;
		err = self_plan(addr, tramp, &call, &plan, &why);
		if (err) {
			c->refused[err]++;
			continue;
		}
		hits = 0;
		write_bytes(addr, plan.patch, plan.patch_len);
		alarm(20);
		got = corpus[n].exercise(fn);
		write_bytes(addr, plan.orig, plan.patch_len);
		c->probed++;
		c->hit += hits != 0;
		if (got != want) {
			printf("# %s+%lu: other results\n", corpus[n].name, addr - (u64)fn);
			return false;
		}
	}
	alarm(0);
	return true;
}

/* Is the instruction at addr executed when fn is exercised? */
static bool executed(u32 n, void *fn, u64 addr, u8 *tramp)
{
	static const struct attach_call call = {.handler = handler};
	struct attach_refusal why;
	struct attach_plan plan;

	if (self_plan(addr, tramp, &call, &plan, &why))
		return false;
	hits = 0;
	write_bytes(addr, plan.patch, plan.patch_len);
	corpus[n].exercise(fn);
	write_bytes(addr, plan.orig, plan.patch_len);
	return hits;
}

#define LED_TO 32

/* The functions that f calls and jumps to directly, in its own object, and that are executed. */
static void follow(u32 n, void *fn, struct agent_region text, const struct attach_function *f,
		   u8 *tramp, struct attach_function *all, u32 *count)
{
	struct x86_insn in;

	for (u64 addr = f->start; addr < f->end && *count < LED_TO; addr += in.len) {
		struct attach_function *next = &all[*count];
		u64 target;
		bool known = false;

		if (x86_decode((const u8 *)addr, 15, &in) < 0)
			return;
		target = addr + in.len + (u64)in.rel;
		if (!in.rel_off || target < text.start || target >= text.end)
			continue;
		for (u32 i = 0; i < *count; i++)
			known |= target >= all[i].start && target < all[i].end;
		if (!known && extent(target, next) && next->end - target > 64 &&
		    executed(n, fn, target, tramp))
			++*count;
	}
}

static bool probe_function(u32 n, void *fn, struct agent_region text, struct counts *c)
{
	u64 want = corpus[n].exercise(fn), start = (u64)fn;
	struct attach_function all[LED_TO];
	u8 *tramp = self_page_near(start);
	bool good = true;
	u32 count = 1;

	if (!tramp)
		return false;
	if (!extent(start, &all[0])) {
		printf("# %s: its end is not known\n", corpus[n].name);
		all[0].end = start + 64;
	}
	for (u32 i = 0; good && i < count; i++) {
		if (of_crypto(n))
			follow(n, fn, text, &all[i], tramp, all, &count);
		good = probe_each(n, fn, &all[i], want, tramp, c);
	}
	munmap(tramp, 4096);
	return good;
}

TEST(every_instruction_of_functions_in_libraries)
{
	struct counts c = {0};

	catch_crashes();
	dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL);
	crypto = dlopen("libcrypto.so.3", RTLD_NOW);
	for (u32 i = 0; i < ARRAY_SIZE(corpus); i++) {
		void *fn = dlsym(of_crypto(i) ? crypto : RTLD_DEFAULT, corpus[i].name);
		struct agent_region text;

		if (of_crypto(i) && !crypto)
			continue;
		REQUIRE(fn);
		self_read_maps();
		text = text_of((u64)fn);
		REQUIRE(!mprotect((void *)text.start, text.end - text.start,
				  PROT_READ | PROT_WRITE | PROT_EXEC));
		self_read_maps();
		CHECK(probe_function(i, fn, text, &c));
	}
	printf("# %lu instructions, %lu probed, %lu of them hit; refused:", c.insns, c.probed,
	       c.hit);
	for (u32 i = 1; i < ARRAY_SIZE(c.refused); i++)
		if (c.refused[i])
			printf(" %lu %s,", c.refused[i], attach_reason((enum attach_error)i));
	printf("\n");
	CHECK(c.probed > c.insns * 2 / 3);
	CHECK(c.hit > 2000); /* of libcrypto's many ways to do it one is taken */
}

/* Maps a program's or library's segments as the loader would, not relocated. Its executable
 * segment; false: not there. */
static bool map_image(const char *path, u64 *ret_start, u64 *ret_end)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr eh;
	Elf64_Phdr ph[32];
	u8 *base;

	if (fd < 0)
		return false;
	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || eh.e_phnum > 32 ||
	    pread(fd, ph, eh.e_phnum * sizeof(*ph), (off_t)eh.e_phoff) !=
		    (ssize_t)(eh.e_phnum * sizeof(*ph))) {
		close(fd);
		return false;
	}
	base = mmap(NULL, 1UL << 28, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	*ret_start = 0;
	for (u32 i = 0; i < eh.e_phnum && base != MAP_FAILED; i++) {
		u64 at = ph[i].p_vaddr & ~4095UL,
		    end = (ph[i].p_vaddr + ph[i].p_filesz + 4095) & ~4095UL;

		if (ph[i].p_type != PT_LOAD || end > 1UL << 28)
			continue;
		mmap(base + at, end - at, PROT_READ | (ph[i].p_flags & PF_X ? PROT_EXEC : 0),
		     MAP_PRIVATE | MAP_FIXED, fd, (off_t)(ph[i].p_offset & ~4095UL));
		if (ph[i].p_flags & PF_X) {
			*ret_start = (u64)base + at;
			*ret_end = (u64)base + end;
		}
	}
	close(fd);
	return *ret_start;
}

static const struct agent_region *region_of(u64 addr)
{
	for (u32 i = 0; i < agent.region_count; i++)
		if (addr >= agent.regions[i].start && addr < agent.regions[i].end)
			return &agent.regions[i];
	return NULL;
}

static bool view_readable(const struct attach_view *v, u64 addr, u64 len)
{
	const struct agent_region *r = region_of(addr);

	return r && r->read && len <= r->end - addr;
}

/* The first page of the file that is mapped at addr. */
static u64 header_of(u64 addr)
{
	const struct agent_region *r = region_of(addr);

	while (r > agent.regions && (r->file_off || !r->ino))
		r--;
	return r->start;
}

static void probe_all(const char *path, u64 start, u64 end)
{
	static const struct attach_call call = {.handler = handler};
	struct attach_view v = {.readable = view_readable, .text_start = start, .text_end = end};
	unsigned long all = 0, good = 0, puns = 0, by[16] = {0};
	u8 *tramp = self_page_near(start);
	struct attach_function f;
	struct timespec t0, t1;

	self_read_maps();
	v.eh_frame_hdr = attach_find_unwind(&v, header_of(start));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
	for (u64 at = start; at < end; at = f.next) {
		struct attach_refusal why;
		struct attach_plan plan;
		enum attach_error err;

		attach_function_at(&v, at, &f);
		if (!f.end || f.start != at)
			continue;
		err = self_plan(at, tramp, &call, &plan, &why);
		all++;
		good += !err;
		if (err && self_pun(at, &call)) {
			puns++;
			continue;
		}
		by[err]++;
		if (err && getenv("LIMPET_SHOW"))
			printf("#   %lx: %s at %lx\n", at - header_of(start), attach_reason(err),
			       why.where - header_of(start));
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
	munmap(tramp, 4096);
	printf("# %s: %lu of %lu functions can be probed, %lu more by punned jumps, %.1f microseconds each;", path, good, all, puns,
	       ((double)(t1.tv_sec - t0.tv_sec) * 1e9 + (double)(t1.tv_nsec - t0.tv_nsec)) / 1e3 /
		       (double)(all + !all));
	for (u32 i = 1; i < ARRAY_SIZE(by); i++)
		if (by[i])
			printf(" %lu %s,", by[i], attach_reason((enum attach_error)i));
	printf("\n");
	CHECK(all > 1000);
	CHECK(good > all * 95 / 100);
	CHECK(all - good - puns <= all / 500);
}

TEST(every_function_of_libraries_at_its_first_instruction)
{
	static const char *const paths[] = {
		"/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
		"/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "/usr/bin/python3.11"};
	u32 found = 0;

	for (u32 i = 0; i < ARRAY_SIZE(paths); i++) {
		u64 start, end;

		if (!map_image(paths[i], &start, &end))
			continue;
		found++;
		probe_all(paths[i], start, end);
	}
	CHECK(found > 0);
}

TEST_MAIN()
