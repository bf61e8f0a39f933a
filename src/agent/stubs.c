/* SPDX-License-Identifier: MIT */
/*
 * The pool of return stubs (attach/stub.h) and the functions they serve.
 *
 *     site --> ret_fn (one function) <-- slots <-- stubs <-- return addresses in frames
 *     ret_fn --> the site whose programs run now; NULL: none, calls in flight just return
 *
 * The pool's room is part of the image, so that one frame description and ld.so's own list of objects
 * are all that unwinders need. Its code half is mapped anew, read and execute, when it is first wanted,
 * and written like all code. Stubs come in tables, each as large as all before it; a table is used for
 * finding as soon as trampolines know of it, for new pairs from COMMIT on, when its code is certainly
 * there. A SYNC makes the next table when the last are half full, and claims ask the keepers for one then.
 * When there is no room for a pair, or the caller's frames are not for all to unwind (frames.c), the call runs
 * without its return probe and is counted.
 *
 * A function that is jumped to, by another with return probes or by itself (a loop to its first
 * instruction), finds a stub for its return address, and gets one of its own for that. Such chains
 * are cut at CHAIN_MAX, for a loop must not take the whole pool.
 *
 * A ret_fn stays when its last site goes: a coroutine may return years later. Probed again, it is found
 * again, as long as the bytes are the same. There are two of a function that was patched by a jump and is by less, since
 * what their stubs call has displaced more and less of it: calls in flight through either run what the site has.
 */
#include <asm/errno.h>
#include <linux/mman.h>
#include "agent/run.h"
#include "attach/lease.h"
#include "attach/stub.h"
#include "base/mem.h"
#include "base/sys.h"

#define RED_ZONE   128
#define POOL_SLOTS 65536u
#define POOL_HALF  (POOL_SLOTS * (u64)ATTACH_STUB_SIZE)
#define FIRST_BITS 12
#define TABLES     5  /* 4096, 4096, 8192, 16384, 32768 */
#define PROBES     32 /* slots looked at for a pair */
#define CHAIN_MAX  64 /* as MAX_URETPROBE_DEPTH of the kernel, which counts other calls, too */
#define BUCKETS    1024
#define ASK_EVERY  64 /* claims, while more than half is taken; a SYNC under way may have missed the last asking */
#define MAP_FIXED_ 0x10

/* Stubs, then their slots. */
HIDDEN _Alignas(4096) u8 stub_pool[2 * POOL_HALF];

/*
 * One frame description for the pool. A program counter p in stub i, with n = p & 31:
 *
 *     n == 0, or n >= ATTACH_STUB_DONE    the return address tops the stack
 *     else                                it is in the slot, the stack is the caller's
 *
 * CFA is rsp + 1, which no frame has, for unwinders stop at two frames with the same one; rsp (7) and the
 * program counter (16) have rules of their own.
 */
__asm__(".section .eh_frame, \"a\", @progbits\n"
	"	.p2align 3\n"
	"1:	.long 3f - 2f\n"
	"2:	.long 0\n" /* CIE */
	"	.byte 1\n"
	"	.asciz \"zR\"\n"
	"	.uleb128 1\n"
	"	.sleb128 -8\n"
	"	.byte 16\n"
	"	.uleb128 1\n"
	"	.byte 0x1b\n"       /* pc-relative, 4 bytes */
	"	.byte 0x0c, 7, 1\n" /* CFA = rsp + 1 */
	"	.byte 0x16, 7\n"    /* rsp: val_expression */
	"	.uleb128 5f - 4f\n"
	"4:	.byte 0x77, 0\n"                /* rsp */
	"	.byte 0x80, 0\n"                /* + 8 where the address tops the stack: rip */
	"	.byte 0x4f, 0x1a\n"             /* lit31 and */
	"	.byte 0x12, 0x30, 0x29\n"       /* dup lit0 eq */
	"	.byte 0x16, 0x41, 0x2a\n"       /* swap lit17 ge */
	"	.byte 0x21, 0x33, 0x24, 0x22\n" /* or lit3 shl plus */
	"5:	.byte 0x10, 16\n"               /* rip: expression, where it is */
	"	.uleb128 7f - 6f\n"
	"6:	.byte 0x80, 0\n"                      /* rip */
	"	.byte 0x4f, 0x1a\n"                   /* lit31 and */
	"	.byte 0x12, 0x30, 0x29\n"             /* dup lit0 eq */
	"	.byte 0x16, 0x41, 0x2a\n"             /* swap lit17 ge */
	"	.byte 0x21\n"                         /* or */
	"	.byte 0x28, 13, 0\n"                  /* bra over the next 13 bytes */
	"	.byte 0x80, 0, 0x09, 0xe0, 0x1a\n"    /* rip, const1s -32, and */
	"	.byte 0x23, 0x88, 0x80, 0x80, 0x01\n" /* plus_uconst 0x200008: the slot's ra */
	"	.byte 0x2f, 2, 0\n"                   /* skip 2 */
	"	.byte 0x77, 0\n"                      /* rsp */
	"7:	.p2align 3\n"
	"3:	.long 9f - 8f\n"
	"8:	.long 8b - 2b + 4\n" /* FDE: back to the CIE */
	"	.long stub_pool - .\n"
	"	.long 0x200000\n"
	"	.uleb128 0\n"
	"	.p2align 3\n"
	"9:\n"
	"	.previous\n"
	/* Where calls that are not to run go on. */
	".text\n"
	".globl stub_return\n"
	".hidden stub_return\n"
	".type stub_return, @function\n"
	"stub_return:\n"
	"	ret\n"
	".size stub_return, . - stub_return\n");
_Static_assert(POOL_HALF == 0x200000 && ATTACH_STUB_DONE == 17 && ATTACH_STUB_SIZE == 32 &&
		       offsetof(struct attach_slot, ra) == 8,
	       "as above");

struct ret_fn {
	struct ret_fn_runs runs;
	struct ret_fn *next, *chained; /* of all, in its bucket */
	const struct site *wanted;     /* COMMIT: will be runs.site */
	struct tramp_area *area;
	struct attach_plan plan;
	u64 exit, body;
	u32 hash;
	bool no_lease; /* as in struct site */
};

static struct {
	struct ret_fn *fns, *buckets[BUCKETS]; /* by the address of the function */
	u32 fn_count;
	bool mapped;
	u32 planned;       /* tables trampolines may know of */
	_Atomic u32 ready; /* tables in use for new pairs */
	_Atomic u32 used;  /* slots taken */
} pool;

static struct attach_slot *slots(void)
{
	return (struct attach_slot *)(stub_pool + POOL_HALF);
}

static u32 table_bits(u32 t)
{
	return FIRST_BITS + (t ? t - 1 : 0);
}

static u32 table_first(u32 t)
{
	return t ? 1u << table_bits(t) : 0;
}

static bool map_pool(void)
{
	long p = pool.mapped ? (long)stub_pool
			     : sys_mmap(stub_pool, POOL_HALF, PROT_READ | PROT_EXEC,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_, -1, 0);

	pool.mapped = p == (long)stub_pool;
	return pool.mapped;
}

/* One more table, of pages that are all alike. */
static int add_table(void)
{
	u32 t = pool.planned;
	u64 start = (u64)stub_pool + table_first(t) * (u64)ATTACH_STUB_SIZE;
	u64 end = start + ((u64)ATTACH_STUB_SIZE << table_bits(t));
	static u8 page[PAGE_SIZE];
	int err = 0;

	attach_stub_page(page, POOL_HALF);
	for (u64 at = start; at < end && !err; at += PAGE_SIZE)
		err = code_write(at, page, PAGE_SIZE);
	if (!err)
		pool.planned++;
	return err;
}

/* Room for stubs, at least twice what is taken, and for two callers of each function. */
static int want_room(void)
{
	if (!map_pool())
		return -ENOMEM;
	while (pool.planned < TABLES &&
	       (!pool.planned || atomic_load(&pool.used) >= table_first(pool.planned) / 2 ||
		pool.fn_count >= table_first(pool.planned) / 2)) {
		int err = add_table();

		if (err)
			return err;
	}
	return 0;
}

int stubs_grow(void)
{
	return pool.fns ? want_room() : 0;
}

static u32 hash_of(u64 addr)
{
	return (u32)(addr * 0x9e3779b97f4a7c15ULL >> 32);
}

static struct ret_fn *known_fn(const struct attach_text *text, u64 addr)
{
	for (struct ret_fn *f = pool.buckets[hash_of(addr) % BUCKETS]; f; f = f->chained)
		if (f->plan.addr == addr && f->plan.window <= text->len &&
		    !memcmp(f->plan.orig, text->bytes, f->plan.window) &&
		    (f->plan.patch_len < ATTACH_JMP_LEN) == text->first_only && f->no_lease == leases_never())
			return f;
	return NULL;
}

enum attach_error stubs_function(const struct attach_text *text, u64 addr, struct ret_fn **ret,
				 struct attach_refusal *why)
{
	struct ret_fn *f = known_fn(text, addr);
	struct attach_lease lease;
	struct attach_call call = {.handler = agent_return, .lease = &lease};
	struct attach_return offs;
	u8 code[ATTACH_TRAMP_MAX];
	u64 at;

	*why = (struct attach_refusal){.error = ATTACH_E_NO_MEMORY, .where = addr};
	if (want_room())
		return ATTACH_E_NO_MEMORY;
	if (f) {
		*ret = f;
		return ATTACH_OK;
	}
	f = heap_alloc(sizeof(*f));
	if (!f)
		return ATTACH_E_NO_MEMORY;
	why->error = ATTACH_E_RANGE;
	at = code_room(addr, &f->area);
	call.arg = f;
	leases_of(false, RED_ZONE, &f->runs.missed, &lease);
	if (!at ||
	    attach_plan_return(text, addr, at, &call, code, sizeof(code), &f->plan, &offs, why))
		goto fail;
	why->error = ATTACH_E_NO_MEMORY;
	if (code_write(at, code, f->plan.code_len))
		goto fail;
	code_room_taken(f->area, f->plan.code_len);
	f->exit = at + offs.exit_off;
	f->body = at + offs.body_off;
	f->hash = hash_of(addr);
	f->no_lease = leases_never();
	f->next = pool.fns;
	pool.fns = f;
	pool.fn_count++;
	f->chained = pool.buckets[f->hash % BUCKETS];
	pool.buckets[f->hash % BUCKETS] = f;
	*ret = f;
	return ATTACH_OK;
fail:
	code_room_unused(f->area);
	heap_free(f, sizeof(*f));
	return why->error;
}

u32 stubs_window(const struct ret_fn *f)
{
	return f->plan.window;
}

void stubs_of(const struct ret_fn *f, struct attach_stubs *ret)
{
	u32 t = pool.planned - 1;

	*ret = (struct attach_stubs){.slots = (u64)(slots() + table_first(t)),
				     .distance = POOL_HALF,
				     .fn = (u64)f,
				     .bits = table_bits(t),
				     .hash = f->hash};
}

static bool claim(struct attach_slot *s, u64 fn, u64 ra)
{
	u64 lo = 0, hi = 0;
	bool won;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(won), "+m"(*(__uint128_t *)s), "+a"(lo), "+d"(hi)
			 : "b"(fn), "c"(ra)
			 : "memory");
	return won;
}

static void claimed(void)
{
	u32 used = atomic_fetch_add_explicit(&pool.used, 1, memory_order_relaxed) + 1;
	u32 tables = atomic_load_explicit(&pool.ready, memory_order_relaxed);

	if (tables < TABLES && used >= table_first(tables) / 2 && used % ASK_EVERY == 0)
		keepers_ask(0);
}

static bool is_pair(struct attach_slot *s, u64 fn, u64 ra)
{
	return atomic_load_explicit(&s->fn, memory_order_acquire) == fn &&
	       atomic_load_explicit(&s->ra, memory_order_relaxed) == ra;
}

/* The pair's slot in a table; without `make` only if it is there. NULL: no, or no room. */
static struct attach_slot *find_in(u32 t, const struct ret_fn *f, u64 ra, bool make)
{
	u32 bits = table_bits(t), at = attach_stub_index(ra, f->hash, bits);
	struct attach_slot *table = slots() + table_first(t);

	for (u32 i = 0; i < PROBES; i++) {
		struct attach_slot *s = table + ((at + i) & ((1u << bits) - 1));

		if (!atomic_load_explicit(&s->fn, memory_order_acquire)) {
			if (!make)
				return NULL;
			if (claim(s, (u64)f, ra))
				claimed();
		}
		if (is_pair(s, (u64)f, ra))
			return s;
	}
	return NULL;
}

/* What a return address in a frame stands for. */
static u64 stubs_caller(u64 ip)
{
	u64 off = ip - (u64)stub_pool;

	if (off >= POOL_HALF || off % ATTACH_STUB_SIZE != ATTACH_STUB_BACK)
		return ip;
	return atomic_load_explicit(&slots()[off / ATTACH_STUB_SIZE].ra, memory_order_relaxed);
}

static bool ends_chain(u64 ra)
{
	u64 caller = stubs_caller(ra);

	for (u32 n = 1; caller != ra && n < CHAIN_MAX; n++) {
		ra = caller;
		caller = stubs_caller(ra);
	}
	return caller == ra;
}

u64 stubs_for(const struct ret_fn *f, u64 ra)
{
	u32 n = atomic_load_explicit(&pool.ready, memory_order_acquire);
	struct attach_slot *s = NULL;

	for (u32 t = n; t-- > 0 && !s;)
		s = find_in(t, f, ra, false);
	if (!s && (stubs_cover(ra) ? !ends_chain(ra) : !frames_unwindable(ra)))
		return 0;
	for (u32 t = n; t-- > 0 && !s;)
		s = find_in(t, f, ra, true);
	if (unlikely(!s))
		return 0;
	if (!atomic_load_explicit(&s->exit, memory_order_acquire)) {
		atomic_store_explicit(&s->body, f->body, memory_order_relaxed);
		atomic_store_explicit(&s->exit, f->exit, memory_order_release);
	}
	return (u64)s - POOL_HALF;
}

u64 stubs_address(const struct ret_fn *f)
{
	return f->plan.addr;
}

bool stubs_busy(const struct ret_fn *f, const u64 *busy, u64 count)
{
	return busy_in(busy, count, f->plan.tramp, f->plan.tramp + f->plan.code_len);
}

bool stubs_cover(u64 ip)
{
	return ip - (u64)stub_pool < POOL_HALF;
}

bool stubs_used(void)
{
	return atomic_load(&pool.used);
}

/* For all there are of the site's function. */
static void want_site(const struct site *site)
{
	const struct attach_plan *has = &site->fn->plan;

	for (struct ret_fn *f = pool.buckets[hash_of(has->addr) % BUCKETS]; f; f = f->chained)
		if (f->plan.addr == has->addr &&
		    !memcmp(f->plan.orig, has->orig, f->plan.window < has->window ? f->plan.window : has->window))
			f->wanted = site;
}

/* COMMIT: the code is there, and so are the patches. */
void stubs_commit(void)
{
	limpet_agent.header.stubs_start = (u64)stub_pool;
	limpet_agent.header.stubs_end = (u64)stub_pool + (atomic_load(&pool.used) ? POOL_HALF : 0);
	agent.env.own_start = (u64)stub_pool;
	agent.env.own_end = (u64)stub_pool + POOL_HALF;
	agent.env.own_caller = stubs_caller;
	atomic_store_explicit(&pool.ready, pool.planned, memory_order_release);
	for (struct ret_fn *f = pool.fns; f; f = f->next) {
		const struct site *s = atomic_load_explicit(&f->runs.site, memory_order_relaxed);

		if (s)
			run_count_missed_returns(&f->runs, s);
		f->wanted = NULL;
	}
	for (struct site *s = agent.sites; s; s = s->next)
		if (s->fn && !s->retired)
			want_site(s);
	for (struct ret_fn *f = pool.fns; f; f = f->next)
		atomic_store_explicit(&f->runs.site, f->wanted, memory_order_release);
}

void stubs_list_area(void (*list)(u64 start, u64 end))
{
	if (pool.mapped)
		list((u64)stub_pool, (u64)stub_pool + POOL_HALF);
}

/* No call is in flight and no thread is in the pool: everything goes. */
void stubs_release(void)
{
	while (pool.fns) {
		struct ret_fn *f = pool.fns;

		pool.fns = f->next;
		code_room_free(f->area);
		heap_free(f, sizeof(*f));
	}
	if (pool.mapped)
		sys_mmap(stub_pool, 2 * POOL_HALF, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_, -1, 0);
	memset(&pool, 0, sizeof(pool));
}
