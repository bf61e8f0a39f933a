/* SPDX-License-Identifier: MIT */
/*
 * What identity.c wants to know of this process's libc: where it keeps thread ids, and which of its
 * instructions make threads and processes. Everything is read from the mapped objects themselves,
 * held against the list of mappings first.
 *
 * glibc tells debuggers by the symbol _thread_db_pthread_tid (bits, count, offset) where in its
 * struct pthread, which the thread pointer points to, the id is (nptl_db/structs.def). The system
 * calls are found by their bytes:
 *
 *     b8 NR NR 00 00  0f 05   mov $NR, %eax; syscall      clone, vfork, clone3, prctl, seccomp; for catch.c
 *                                                         rt_sigaction, mmap, mprotect, pkey_mprotect
 *     4c 8b 4c 24 08  0f 05   mov 8(%rsp), %r9; syscall   syscall()
 *
 * Both are a five-byte instruction, the room a jump needs, and two bytes of syscall.
 *
 * Other objects must not have such calls of their own. A Go runtime in a shared object has, with
 * the number in a variable: its build note tells. For catch.c no object but glibc's may have any system
 * call whose number cannot be told.
 */
#include <asm/errno.h>
#include <linux/elf.h>
#include "agent/state.h"
#include "base/mem.h"
#include "base/sys.h"

#define SCAN_MAX (16UL << 20) /* text of all objects: more would take longer than it saves */
#define CALL_LEN 7

#ifndef DT_GNU_HASH
#define DT_GNU_HASH 0x6ffffef5
#endif

struct object_tables {
	u64 bias;
	const Elf64_Sym *symbols;
	const char *names;
	u64 names_size;
	const u32 *hash;
};

static bool readable(u64 addr, u64 size)
{
	for (u32 i = 0; i < agent.region_count; i++) {
		const struct agent_region *r = &agent.regions[i];

		if (addr >= r->start && addr < r->end)
			return r->read && size <= r->end - addr;
	}
	return false;
}

/* The ELF header of the object that region `i` is a part of; 0: none. */
static u64 object_base(u32 i)
{
	const struct agent_region *r = &agent.regions[i];

	for (u32 k = i + 1; k-- > 0 && i - k < 8;) {
		const struct agent_region *h = &agent.regions[k];

		if (h->ino != r->ino || h->dev_major != r->dev_major ||
		    h->dev_minor != r->dev_minor)
			break;
		if (!h->file_off)
			return h->read && !memcmp((const void *)h->start, "\177ELF\2", 5) ? h->start
											  : 0;
	}
	return 0;
}

static const Elf64_Phdr *program_headers(u64 base, u32 *ret_count)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)base;

	if (!readable(base, sizeof(*eh)) || eh->e_phentsize != sizeof(Elf64_Phdr) ||
	    eh->e_phoff > 1 << 20 ||
	    !readable(base + eh->e_phoff, eh->e_phnum * sizeof(Elf64_Phdr)))
		return NULL;
	*ret_count = eh->e_phnum;
	return (const Elf64_Phdr *)(base + eh->e_phoff);
}

/* ld.so has made the addresses in a dynamic section absolute. */
static u64 absolute(const struct object_tables *t, u64 addr)
{
	return addr < t->bias ? addr + t->bias : addr;
}

static bool find_tables(u64 base, struct object_tables *ret)
{
	u32 count;
	const Elf64_Phdr *ph = program_headers(base, &count);
	u64 dyn = 0;

	*ret = (struct object_tables){0};
	for (u32 i = 0; ph && i < count; i++) {
		if (ph[i].p_type == PT_LOAD && !ph[i].p_offset)
			ret->bias = base - ph[i].p_vaddr;
		if (ph[i].p_type == PT_DYNAMIC)
			dyn = ph[i].p_vaddr;
	}
	if (!dyn)
		return false;
	for (dyn += ret->bias; readable(dyn, sizeof(Elf64_Dyn)); dyn += sizeof(Elf64_Dyn)) {
		const Elf64_Dyn *d = (const Elf64_Dyn *)dyn;

		if (d->d_tag == DT_NULL)
			break;
		if (d->d_tag == DT_SYMTAB)
			ret->symbols = (const void *)absolute(ret, d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			ret->names = (const void *)absolute(ret, d->d_un.d_ptr);
		else if (d->d_tag == DT_STRSZ)
			ret->names_size = d->d_un.d_val;
		else if (d->d_tag == DT_GNU_HASH)
			ret->hash = (const void *)absolute(ret, d->d_un.d_ptr);
	}
	return ret->symbols && ret->hash && ret->names &&
	       readable((u64)ret->names, ret->names_size) && readable((u64)ret->hash, 16);
}

static bool is_symbol(const struct object_tables *t, u64 index, const char *name,
		      const Elf64_Sym **ret)
{
	const Elf64_Sym *s = t->symbols + index;
	size_t len = strlen(name) + 1;

	if (!readable((u64)s, sizeof(*s)) || s->st_name + len > t->names_size ||
	    memcmp(t->names + s->st_name, name, len) || !s->st_shndx)
		return false;
	*ret = s;
	return true;
}

/*
 * Looks a defined symbol up by the GNU hash (ld's "hash-style=gnu": header, bloom filter, buckets,
 * chains).
 */
static u64 find_symbol(const struct object_tables *t, const char *name)
{
	u32 buckets = t->hash[0], first = t->hash[1], bloom = t->hash[2], hash = 5381;
	const u32 *bucket = t->hash + 4 + (u64)bloom * 2, *chain = bucket + buckets;
	const Elf64_Sym *s;

	for (const char *c = name; *c; c++)
		hash = hash * 33 + (u8)*c;
	if (!buckets || !readable((u64)bucket, buckets * 4UL) || bucket[hash % buckets] < first)
		return 0;
	for (u64 i = bucket[hash % buckets]; readable((u64)(chain + i - first), 4); i++) {
		u32 h = chain[i - first];

		if ((h | 1) == (hash | 1) && is_symbol(t, i, name, &s))
			return t->bias + s->st_value;
		if (h & 1)
			break;
	}
	return 0;
}

static u64 find_tid_offset(u64 base)
{
	struct object_tables t;
	const u32 *desc; /* bits, count, offset */
	u64 at;

	if (!find_tables(base, &t))
		return 0;
	at = find_symbol(&t, "_thread_db_pthread_tid");
	if (!at || !readable(at, 12))
		return 0;
	desc = (const u32 *)at;
	return desc[0] == 32 && desc[1] == 1 && desc[2] >= 8 && desc[2] < 1 << 16 ? desc[2] : 0;
}

u32 libc_find_symbol(const char *name, u64 *ret, u32 max)
{
	u32 count = 0;

	for (u32 i = 0; i < agent.region_count && count < max; i++) {
		const struct agent_region *r = &agent.regions[i];
		u64 base = r->exec && r->ino ? object_base(i) : 0, at;
		struct object_tables t;

		at = base && find_tables(base, &t) ? find_symbol(&t, name) : 0;
		if (at >= r->start && at < r->end)
			ret[count++] = at;
	}
	return count;
}

static bool has_go_note(u64 base)
{
	u32 count;
	const Elf64_Phdr *ph = program_headers(base, &count);

	for (u32 i = 0; ph && i < count; i++) {
		const u32 *n = (const u32 *)(base + ph[i].p_offset);

		if (ph[i].p_type == PT_NOTE && readable((u64)n, 16) && n[0] == 4 &&
		    !memcmp(n + 3, "Go\0", 4))
			return true;
	}
	return false;
}

static bool makes_threads(u32 nr)
{
	return nr == __NR_clone || nr == __NR_vfork || nr == __NR_clone3;
}

static bool is_call(u32 nr, bool catching)
{
	return makes_threads(nr) || nr == __NR_prctl || nr == __NR_seccomp || (catching && catch_is_call(nr));
}

bool libc_may_be_call(s32 nr)
{
	return nr < 0 || is_call((u32)nr, true);
}

/*
 * The system call that the seven bytes at p make: its number, 0: any (syscall()), -1: none of
 * interest.
 */
static s32 call_at(const u8 *p, bool catching)
{
	static const u8 load_r9[] = {0x4c, 0x8b, 0x4c, 0x24, 0x08};
	u32 nr;

	if (p[5] != 0x0f || p[6] != 0x05)
		return -1;
	if (!memcmp(p, load_r9, sizeof(load_r9)))
		return 0;
	memcpy(&nr, p + 1, 4);
	return p[0] == 0xb8 && is_call(nr, catching) ? (s32)nr : -1;
}

/* A high bit in every byte of w that is `byte`, and in few others. */
static ALWAYS_INLINE u64 bytes_like(u64 w, u64 byte)
{
	const u64 ones = 0x0101010101010101ULL;
	u64 x = w ^ byte * ones;

	return (x - ones) & ~x & 0x80 * ones;
}

/* What is looked for in an object, and where to list it. */
struct object_scan {
	struct libc_calls *calls;
	bool glibc; /* the object is libc.so or ld.so */
};

/* A call in another object: not one that catch.c had to see. */
static bool harmless(s32 nr)
{
	return nr == -2 || (nr >= 0 && !catch_is_call((u32)nr));
}

/*
 * Lists the calls in [text, text + len), which runs at `at`. Eight bytes at a time: most words have
 * no 05, and most that have one have no 0f before it (measured: 0.1 ms for a libc instead of 0.5).
 */
static int scan_text(const u8 *text, u64 len, u64 at, struct object_scan *s)
{
	struct libc_calls *ret = s->calls;

	for (u64 i = 0; i + 8 <= len; i += 8) {
		u64 w, fives;

		memcpy(&w, text + i, 8);
		fives = bytes_like(w, 0x05);
		if (likely(!fives) || likely(!(fives & (bytes_like(w, 0x0f) << 8 | 0x80))))
			continue;
		for (u64 k = i; k < i + 8; k++) {
			s32 nr = k >= CALL_LEN - 1 ? call_at(text + k - (CALL_LEN - 1), true)
						   : -1;

			if (nr < 0) {
				if (!s->glibc && ret->catches && k &&
				    text[k] == 0x05 && text[k - 1] == 0x0f)
					ret->catches = harmless(place_syscall(at + k - 1));
				continue;
			}
			if (!s->glibc && catch_is_call((u32)nr))
				ret->catches = false;
			if (ret->count == ARRAY_SIZE(ret->call))
				return -E2BIG;
			ret->call[ret->count++] =
				(struct libc_call){.at = at + k - (CALL_LEN - 1), .nr = (u32)nr};
		}
	}
	return 0;
}

bool libc_calls_in(const u8 *text, u64 len, bool catching)
{
	for (u64 i = 0; i + CALL_LEN <= len; i++)
		if (call_at(text + i, catching) >= 0)
			return true;
	return false;
}

/* ld.so, which is glibc's too. (What else defines that symbol is nobody's business.) */
static bool is_linker(u64 base)
{
	struct object_tables t;

	return find_tables(base, &t) && find_symbol(&t, "_rtld_global");
}

bool libc_has(u64 addr)
{
	for (u32 i = 0; i < agent.region_count; i++) {
		u64 base;

		if (addr < agent.regions[i].start || addr >= agent.regions[i].end)
			continue;
		base = object_base(i);
		return base && (find_tid_offset(base) || is_linker(base));
	}
	return false;
}

/* One executable mapping; *total counts its bytes. */
static void look_through(u32 i, u64 *total, struct libc_calls *ret)
{
	const struct agent_region *r = &agent.regions[i];
	u64 base = object_base(i), off = 0;
	struct object_scan s = {ret, false};
	u32 first = ret->count;

	if (base && !ret->tid_off)
		off = ret->tid_off = find_tid_offset(base);
	s.glibc = off || (base && is_linker(base));
	*total += r->end - r->start;
	if ((base && has_go_note(base)) || *total > SCAN_MAX)
		ret->exact = false;
	ret->catches &= base && *total <= SCAN_MAX;
	if ((*total > SCAN_MAX && !off) ||
	    scan_text((const u8 *)r->start, r->end - r->start, r->start, &s)) {
		ret->exact = false;
		return;
	}
	/* A syscall() or prctl() of its own is no harm: libraries do not make processes by it. */
	for (u32 k = first; k < ret->count && !off; k++)
		ret->exact &= !makes_threads(ret->call[k].nr);
}

void libc_find(struct libc_calls *ret)
{
	u64 total = 0;

	*ret = (struct libc_calls){.exact = true, .catches = true};
	for (u32 i = 0; i < agent.region_count; i++) {
		const struct agent_region *r = &agent.regions[i];

		if (r->exec && r->ino &&
		    (r->start >= limpet_agent.header.image_end ||
		     r->end <= limpet_agent.header.text_start))
			look_through(i, &total, ret);
	}
	ret->exact &= ret->tid_off != 0;
	ret->catches &= ret->exact;
}

/* Only limpet's? Mappings of its side by side may look like one. */
static bool is_own_code(const struct agent_region *r)
{
	const struct agent_region *areas = agent.code_areas.data;
	u64 at = r->start, image = limpet_agent.header.text_start;

	while (at < r->end) {
		u64 end = at >= image && at < limpet_agent.header.image_end
				  ? ALIGN_UP(limpet_agent.header.image_end, PAGE_SIZE)
				  : 0;

		for (u32 i = 0; i < agent.code_areas.count && !end; i++)
			if (at >= areas[i].start && at < areas[i].end)
				end = areas[i].end;
		if (!end)
			return false;
		at = end;
	}
	return true;
}

static bool is_vdso(const struct agent_region *r)
{
	u64 at = (u64)agent.env.clock_gettime;

	return at >= r->start && at < r->end;
}

bool libc_is_loose(const struct agent_region *r)
{
	return r->exec && !r->ino && !is_vdso(r) && !is_own_code(r);
}

bool libc_code_without_file(void)
{
	for (u32 i = 0; i < agent.region_count; i++)
		if (libc_is_loose(&agent.regions[i]))
			return true;
	return false;
}
