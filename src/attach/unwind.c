/* SPDX-License-Identifier: MIT */
/*
 * Functions by the unwind tables (function.h): the ELF header, .eh_frame_hdr, one frame
 * description, its landing pads. All of it is the target's memory, held against what is mapped
 * before it is read. Source: Linux Standard Base, "Exception Frames"; the psABI's DWARF pointer
 * encodings.
 */
#include <linux/elf.h>
#include "attach/unwind.h"
#include "base/mem.h"

#define ENC_OMIT   0xff
#define HDR_TABLE  12   /* .eh_frame_hdr: four bytes, eh_frame pointer, count; then the table */
#define ELF_PHDRS  64
#ifndef PT_GNU_EH_FRAME
#define PT_GNU_EH_FRAME 0x6474e550
#endif

/* A place in memory with a sticky error, bounded by what is readable. */
struct reader {
	u64 at, end;
	bool bad;
};

static bool take(struct reader *r, void *ret, size_t n)
{
	if (r->bad || n > r->end - r->at) {
		r->bad = true;
		memset(ret, 0, n);
		return false;
	}
	memcpy(ret, (const void *)r->at, n);
	r->at += n;
	return true;
}

static u8 take8(struct reader *r)
{
	u8 b;

	take(r, &b, 1);
	return b;
}

static u32 take32(struct reader *r)
{
	u32 v;

	take(r, &v, 4);
	return v;
}

static u64 uleb(struct reader *r)
{
	u64 v = 0;
	u32 shift = 0;
	u8 b;

	do {
		b = take8(r);
		if (shift < 64)
			v |= (u64)(b & 0x7f) << shift;
		shift += 7;
	} while (b & 0x80 && !r->bad);
	return v;
}

/* A pointer in one of the encodings of .eh_frame; relative ones to their own place only. */
static u64 pointer(struct reader *r, u8 enc)
{
	u64 at = r->at, v = 0;
	s32 v32 = 0;

	switch (enc & 0x0f) {
	case 0x00: /* absolute */
	case 0x04: /* udata8 */
	case 0x0c: /* sdata8 */
		take(r, &v, 8);
		break;
	case 0x01:
		v = uleb(r);
		break;
	case 0x03:
		v = take32(r);
		break;
	case 0x0b:
		take(r, &v32, 4);
		v = (u64)(s64)v32;
		break;
	default:
		r->bad = true;
	}
	if ((enc & 0x70) == 0x10)
		v = v ? v + at : 0;
	else if (enc & 0x70)
		r->bad = true;
	return v;
}

static bool open_at(struct reader *r, const struct attach_view *v, u64 at, u64 len)
{
	*r = (struct reader){.at = at, .end = at + len};
	return v->readable(v, at, len);
}

/*
 * The program headers of the image at `header`, and where it is loaded relative to its addresses.
 */
static u32 program_headers(const struct attach_view *v, u64 header, const Elf64_Phdr **ret,
			   u64 *ret_base)
{
	const Elf64_Ehdr *eh = (const void *)header;
	const Elf64_Phdr *ph;

	if (!v->readable(v, header, PAGE_SIZE) || memcmp(eh->e_ident, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_phentsize != sizeof(*ph) ||
	    eh->e_phnum > ELF_PHDRS || eh->e_phoff > PAGE_SIZE ||
	    eh->e_phnum * sizeof(*ph) > PAGE_SIZE - eh->e_phoff)
		return 0;
	ph = (const void *)(header + eh->e_phoff);
	for (u32 i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && !ph[i].p_offset) {
			*ret = ph;
			*ret_base = header - (ph[i].p_vaddr & ~(PAGE_SIZE - 1));
			return eh->e_phnum;
		}
	return 0;
}

u64 attach_find_unwind(const struct attach_view *v, u64 header)
{
	const Elf64_Phdr *ph;
	u64 base, hdr = 0;
	u32 n = program_headers(v, header, &ph, &base);

	for (u32 i = 0; i < n; i++)
		if (ph[i].p_type == PT_GNU_EH_FRAME)
			hdr = base + ph[i].p_vaddr;
	if (!hdr || !v->readable(v, hdr, HDR_TABLE))
		return 0;
	/* version 1; eh_frame from here, the count, and a table of distances from the header, 4 bytes each */
	return !memcmp((const void *)hdr, "\x01\x1b\x03\x3b", 4) ? hdr : 0;
}

static bool notes_name(const struct attach_view *v, u64 at, u64 size, const char *name, u32 len)
{
	Elf64_Nhdr n;

	if (size > PAGE_SIZE || !v->readable(v, at, size))
		return false;
	for (u64 off = 0; size - off >= sizeof(n) + len;) {
		memcpy(&n, (const void *)(at + off), sizeof(n));
		off += sizeof(n);
		if (n.n_namesz == len && !memcmp((const void *)(at + off), name, len))
			return true;
		if (n.n_namesz > size - off || n.n_descsz > size - off)
			return false;
		off += ALIGN_UP(n.n_namesz, 4U) + ALIGN_UP(n.n_descsz, 4U);
		if (off > size)
			return false;
	}
	return false;
}

bool attach_has_note(const struct attach_view *v, u64 header, const char *name, u32 len)
{
	const Elf64_Phdr *ph;
	u64 base;
	u32 n = program_headers(v, header, &ph, &base);

	for (u32 i = 0; i < n; i++)
		if (ph[i].p_type == PT_NOTE && notes_name(v, base + ph[i].p_vaddr, ph[i].p_memsz, name, len))
			return true;
	return false;
}

bool attach_is_go(const struct attach_view *v, u64 header)
{
	return attach_has_note(v, header, "Go\0", 4); /* its build id */
}

/* One entry of the sorted index. */
static void entry(const struct attach_view *v, u32 i, u64 *ret_start, u64 *ret_fde)
{
	s32 pair[2];

	memcpy(pair, (const void *)(v->eh_frame_hdr + HDR_TABLE + 8 * (u64)i), 8);
	*ret_start = v->eh_frame_hdr + (u64)(s64)pair[0];
	*ret_fde = v->eh_frame_hdr + (u64)(s64)pair[1];
}

struct cie {
	u8 pointer_enc, lsda_enc;
	bool augmented, signal_frame;
	bool called; /* by its instructions: CFA is rsp + 8, the return address just below it */
};

#define RSP 7
#define RIP 16

/*
 * Reads call frame instructions up to the first that moves on: do they leave the frame of a function that
 * has just been called? `before`: did those that ran before?
 */
static bool just_called(struct reader *r, bool before)
{
	bool cfa = before, ra = before;

	while (!r->bad && r->at < r->end) {
		u8 op = take8(r), low = op & 0x3f;

		if (op >> 6 == 1 || (op >= 0x01 && op <= 0x04)) /* DW_CFA_advance_loc, set_loc */
			break;
		if (op >> 6 == 2) { /* offset */
			u64 off = uleb(r);

			if (low == RIP)
				ra = off == 1;
		} else if (op == 0x0c) { /* def_cfa */
			u64 reg = uleb(r);

			cfa = uleb(r) == 8 && reg == RSP;
		} else if (op == 0x0e) { /* def_cfa_offset */
			cfa = uleb(r) == 8;
		} else if (op == 0x07) { /* undefined */
			ra &= uleb(r) != RIP;
		} else if (op == 0x0d || op == 0x0f) { /* def_cfa_register, def_cfa_expression */
			return false;
		} else if (op) {
			break; /* something else: nothing of a function's beginning */
		}
	}
	return cfa && ra;
}

static bool read_cie(const struct attach_view *v, u64 at, struct cie *ret)
{
	struct reader r;
	char aug[8];
	u32 len, n = 0;

	*ret = (struct cie){.lsda_enc = ENC_OMIT};
	if (!open_at(&r, v, at, 4))
		return false;
	len = take32(&r);
	if (!len || len > PAGE_SIZE || !open_at(&r, v, at + 4, len) || take32(&r))
		return false;
	if (take8(&r) > 4)
		return false;
	while ((aug[n] = (char)take8(&r)) && n < sizeof(aug) - 1)
		n++;
	uleb(&r); /* code alignment */
	uleb(&r); /* data alignment: signed, as long */
	uleb(&r); /* return address register */
	if (aug[n] || (n && aug[0] != 'z'))
		return false;
	if (n)
		uleb(&r);
	ret->augmented = n;
	for (u32 i = 1; i < n; i++) {
		if (aug[i] == 'R')
			ret->pointer_enc = take8(&r);
		else if (aug[i] == 'L')
			ret->lsda_enc = take8(&r);
		else if (aug[i] == 'P')
			pointer(&r, take8(&r) & 0x7f);
		else if (aug[i] == 'S')
			ret->signal_frame = true;
		else if (aug[i] != 'B')
			return false;
	}
	ret->called = !ret->signal_frame && just_called(&r, false);
	return !r.bad;
}

/* Fills in start, end and lsda from the frame description at `at`. */
static bool read_fde(const struct attach_view *v, u64 at, struct attach_function *f)
{
	struct reader r;
	struct cie cie;
	u32 len, back;
	u64 size;

	if (!open_at(&r, v, at, 4))
		return false;
	len = take32(&r);
	if (!len || len == 0xffffffff || !open_at(&r, v, at + 4, len))
		return false;
	back = take32(&r);
	if (!back || !read_cie(v, at + 4 - back, &cie))
		return false;
	f->start = pointer(&r, cie.pointer_enc);
	size = pointer(&r, cie.pointer_enc & 0x0f);
	f->end = f->start + size;
	/* unwinders look one byte before a return address, and the kernel calls this one */
	f->start += cie.signal_frame;
	f->lsda = 0;
	size = r.at; /* where the augmentation data ends */
	if (cie.augmented) {
		size = uleb(&r);
		size += r.at;
		if (cie.lsda_enc != ENC_OMIT)
			f->lsda = pointer(&r, cie.lsda_enc);
	}
	if (size < r.at || size > r.end)
		return false;
	r.at = size;
	f->called = just_called(&r, cie.called) && !cie.signal_frame;
	return !r.bad && f->end > f->start;
}

void attach_function_at(const struct attach_view *v, u64 addr, struct attach_function *ret)
{
	u32 count = 0, lo = 0, hi;
	u64 start, fde, end = v->text_end;

	*ret = (struct attach_function){.next = end};
	if (v->eh_frame_hdr)
		memcpy(&count, (const void *)(v->eh_frame_hdr + 8), 4);
	if (!count || !v->readable(v, v->eh_frame_hdr + HDR_TABLE, 8 * (u64)count))
		return;
	for (hi = count; lo < hi;) { /* the first that begins behind addr */
		u32 mid = (lo + hi) / 2;

		entry(v, mid, &start, &fde);
		if (start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < count) {
		entry(v, lo, &start, &fde);
		if (start < end)
			ret->next = start;
	}
	if (!lo)
		return;
	entry(v, lo - 1, &start, &fde);
	if (!read_fde(v, fde, ret) || addr >= ret->end || ret->end > end || ret->end > ret->next)
		*ret = (struct attach_function){.next = ret->next};
	else if (addr < ret->start)
		*ret = (struct attach_function){.next = ret->start};
}

bool unwind_landing_pads(const struct attach_view *v, const struct attach_function *f,
			 bool (*pad)(void *arg, u64 addr), void *arg)
{
	struct reader r;
	u64 base = f->start, len = 16;
	u8 enc;

	if (!f->lsda)
		return true;
	/* Its length is inside; one page is more than its head takes. */
	while (len < PAGE_SIZE && v->readable(v, f->lsda, len * 2))
		len *= 2;
	if (!open_at(&r, v, f->lsda, len))
		return false;
	enc = take8(&r);
	if (enc != ENC_OMIT)
		base = pointer(&r, enc);
	enc = take8(&r);
	if (enc != ENC_OMIT)
		uleb(&r); /* distance of the type table */
	enc = take8(&r);
	len = uleb(&r);
	if (r.bad || len > (1u << 24) || !open_at(&r, v, r.at, len))
		return false;
	while (!r.bad && r.at < r.end) {
		u64 lp;

		pointer(&r, enc & 0x0f);
		pointer(&r, enc & 0x0f);
		lp = pointer(&r, enc & 0x0f);
		uleb(&r);
		if (!r.bad && lp && !pad(arg, base + lp))
			return false;
	}
	return !r.bad;
}
