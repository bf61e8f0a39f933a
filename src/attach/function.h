/* SPDX-License-Identifier: MIT */
/*
 * What is known about the code around an address: where its function begins and ends, and which
 * addresses control can come to other than from the instruction before.
 *
 * Functions are found in the unwind tables that every program for exceptions and debuggers has
 * (.eh_frame_hdr, a sorted index, and .eh_frame). They are mapped, and strip leaves them. The
 * places control comes to are collected from
 *
 *   - direct branches in the function, and in whatever it jumps to or has as a landing pad
 *     (compilers split functions; the cold part jumps back into the hot one);
 *   - landing pads of exceptions (the language-specific data of the unwind tables);
 *   - jump tables, when the function has an indirect jump: each table whose address it loads, as
 *     distances from the table, from a label or as addresses, as long as entries lie in the function
 *     (when it takes the address of a place in itself, has an indirect jump and no such table,
 *     nothing is known);
 *   - restartable sequences (linux/rseq.h) whose descriptor's address it loads: these must not be
 *     entered with a jump at all;
 *   - other functions around (hand-written ones share their ends): short branches of the
 *     neighbours, and whatever looks like a branch with a 32-bit distance in some 100 KiB of text
 *     before and behind (struct attach_branches).
 *
 * A function without unwind information (hand-written, Go, musl) is swept as far as can be: by
 * decoding from every possible start before the address that comes to it, and on behind it.
 */
#ifndef LIMPET_ATTACH_FUNCTION_H
#define LIMPET_ATTACH_FUNCTION_H

#include "attach/attach.h"
#include "attach/decode.h"

/* How the code looks at the memory of the process. */
struct attach_view {
	/*
	 * Copies what there is, at most len bytes, of the original text at addr; 0: not executable.
	 */
	size_t (*text)(const struct attach_view *v, u64 addr, u8 *ret, size_t len);
	/* True when [addr, addr + len) is mapped from the same file as the text and can be read. */
	bool (*readable)(const struct attach_view *v, u64 addr, u64 len);
	u64 text_start, text_end; /* the executable mapping */
	u64 eh_frame_hdr;         /* attach_find_unwind(); 0: none */
};

struct attach_function {
	u64 start, end; /* end 0: not known */
	u64 next;       /* where the next one begins; end of the mapping if there is none */
	u64 lsda;       /* 0: none */
	bool called; /* at its start the return address tops the stack, as after a call */
};

/*
 * What is collected: addresses, with PLACE_* flags in `kind`. Returns false to stop (no memory).
 */
enum attach_place { PLACE_TARGET, PLACE_RSEQ_START, PLACE_RSEQ_END };

struct attach_sink {
	bool (*add)(struct attach_sink *s, u64 addr, enum attach_place kind);
};

/* Address of .eh_frame_hdr of the ELF image whose first page is at `header`; 0: none. */
u64 attach_find_unwind(const struct attach_view *v, u64 header);

/* Has that image an ELF note of this name, `len` bytes with the 0 at the end? */
bool attach_has_note(const struct attach_view *v, u64 header, const char *name, u32 len);

/*
 * Is that image Go's? Its goroutines run on stacks of a few kilobytes that grow only where Go's own
 * code asks.
 */
bool attach_is_go(const struct attach_view *v, u64 header);

/* Go's table of functions (go.c); count 0: none. */
struct attach_go {
	u64 text, names, table, count;
};

/* Looks for it in [start, end), which can be read. */
bool attach_go_find(const struct attach_view *v, u64 start, u64 end, struct attach_go *ret);

/*
 * The function at addr, in an image that is Go's. ATTACH_E_STACKS where no trampoline may touch the stack:
 * in code that is not Go's, or that does not see to the room it has.
 */
enum attach_error attach_go_function(const struct attach_view *v, const struct attach_go *g, u64 addr,
				     struct attach_function *ret);

/*
 * Has such code an instruction that may fault? Go's runtime makes panics of faults, by the program counter: it
 * must not be moved. Its offset.
 */
bool attach_go_faults(const u8 *code, u32 len, u32 *ret_off);

/* The function at addr; with `end` 0 when no unwind information covers it. */
void attach_function_at(const struct attach_view *v, u64 addr, struct attach_function *ret);

/*
 * Collects where control comes to in a function of known extent. ATTACH_E_DECODE when it has bytes
 * that are no instructions (*ret_why says where), or ATTACH_E_NO_MEMORY.
 */
enum attach_error attach_collect(const struct attach_view *v, const struct attach_function *f,
				 struct attach_sink *sink, struct attach_refusal *ret_why);

/* The same around an address in code of unknown extent, for a window of ATTACH_WINDOW_MAX bytes. */
enum attach_error attach_collect_near(const struct attach_view *v, u64 addr,
				      struct attach_sink *sink);

/*
 * Where the branches with 32-bit distances around a piece of text lead to in it, and all that looks like one;
 * one bit an address.
 */
#define ATTACH_PIECE (128 * 1024UL)

struct attach_branches {
	u64 base; /* of the piece, a multiple of its size */
	u8 leads[(ATTACH_PIECE + ATTACH_WINDOW_MAX) / 8 + 1];
};

/* Fills in the piece that has addr. */
void attach_find_branches(const struct attach_view *v, u64 addr, struct attach_branches *ret);

/*
 * The first address in (addr, addr + window) that one leads to; addr is in the piece. 0: none. What looks like a
 * branch there and, in a function of known extent, is part of an instruction (81 e9 34 04 00 00 is
 * sub $0x434, %ecx), is forgotten.
 */
u64 attach_branch_into(const struct attach_view *v, struct attach_branches *b, u64 addr,
		       u32 window);

/*
 * What %eax holds behind an instruction that goes on to the next one, when it held `nr` before: a number
 * that is not negative; -1: not known.
 */
s32 attach_follow_number(const u8 *code, const struct x86_insn *in, s32 nr);

#endif
