/* SPDX-License-Identifier: MIT */
/*
 * What each kind of jump teaches of a number that is an index afterwards: exactly as much as is needed, and one less, in
 * 64 and in 32 bits, with a constant and with a register. Names: OP_64k, OP_64x, OP_32k, OP_32x, and OP_..._short.
 */
#include <errno.h>
#include "corpus.h"

/* clang-format off */
#define TOO_FAR        -EACCES, NULL
#define JUMP_64k(op, n, o) I(BPF_JMP | op | BPF_K, 2, 0, o, n), GO(0)
#define JUMP_64x(op, n, o) MOV(3, n), I(BPF_JMP | op | BPF_X, 2, 3, o, 0)
#define JUMP_32k(op, n, o) I(BPF_JMP32 | op | BPF_K, 2, 0, o, n), GO(0)
#define JUMP_32x(op, n, o) MOV(3, n), I(BPF_JMP32 | op | BPF_X, 2, 3, o, 0)
#define START_64       ANY(2)
#define START_32       LD(BPF_W, 2, 1, 0)

/* The jump leads away, and goes on to the use where it is not taken. */
#define AWAY(w, f, name, op, right, wrong) \
	{name "_" #w #f, 0, NULL, {START_##w, JUMP_##w##f(op, right, 4 + SKIP_##f), AT(2)}}, \
	{name "_" #w #f "_short", TOO_FAR, {START_##w, JUMP_##w##f(op, wrong, 4 + SKIP_##f), AT(2)}}
/* It leads to the use. */
#define TO(w, f, name, op, right, wrong) \
	{name "_" #w #f, 0, NULL, {START_##w, JUMP_##w##f(op, right, 2 + SKIP_##f), END, AT(2)}}, \
	{name "_" #w #f "_short", TOO_FAR, {START_##w, JUMP_##w##f(op, wrong, 2 + SKIP_##f), END, AT(2)}}
#define SKIP_k 1 /* the jump of no width that makes both forms of one length */
#define SKIP_x 0
/* The same once negative numbers are out. */
#define SIGNED_64(o)   START_64, I(BPF_JMP | BPF_JSLT | BPF_K, 2, 0, o, 0)
#define SIGNED_32(o)   START_32, I(BPF_JMP32 | BPF_JSLT | BPF_K, 2, 0, o, 0)
#define SIGNED_AWAY(w, f, name, op, right, wrong) \
	{name "_" #w #f, 0, NULL, {SIGNED_##w(6), JUMP_##w##f(op, right, 4 + SKIP_##f), AT(2)}}, \
	{name "_" #w #f "_short", TOO_FAR, {SIGNED_##w(6), JUMP_##w##f(op, wrong, 4 + SKIP_##f), AT(2)}}
#define SIGNED_TO(w, f, name, op, right, wrong) \
	{name "_" #w #f, 0, NULL, {SIGNED_##w(2), JUMP_##w##f(op, right, 2 + SKIP_##f), END, AT(2)}}, \
	{name "_" #w #f "_short", TOO_FAR, {SIGNED_##w(2), JUMP_##w##f(op, wrong, 2 + SKIP_##f), END, AT(2)}}
/* Bits of a number below 32, or 64. */
#define BITS(w, f, name, right, wrong) \
	{name "_" #w #f, 0, NULL, {START_##w, ALU(BPF_AND, 2, 31), JUMP_##w##f(BPF_JSET, right, 4 + SKIP_##f), AT(2)}}, \
	{name "_" #w #f "_short", TOO_FAR, {START_##w, ALU(BPF_AND, 2, 31), JUMP_##w##f(BPF_JSET, wrong, 4 + SKIP_##f), AT(2)}}
#define EACH(shape, ...) shape(64, k, __VA_ARGS__), shape(64, x, __VA_ARGS__), shape(32, k, __VA_ARGS__), shape(32, x, __VA_ARGS__)

const struct row rows_branch[] = {
	EACH(TO, "jeq", BPF_JEQ, 15, 16),
	EACH(AWAY, "jne", BPF_JNE, 15, 16),
	EACH(AWAY, "jgt", BPF_JGT, 15, 16),
	EACH(AWAY, "jge", BPF_JGE, 16, 17),
	EACH(TO, "jlt", BPF_JLT, 16, 17),
	EACH(TO, "jle", BPF_JLE, 15, 16),
	EACH(SIGNED_AWAY, "jsgt", BPF_JSGT, 15, 16),
	EACH(SIGNED_AWAY, "jsge", BPF_JSGE, 16, 17),
	EACH(SIGNED_TO, "jslt", BPF_JSLT, 16, 17),
	EACH(SIGNED_TO, "jsle", BPF_JSLE, 15, 16),
	EACH(BITS, "jset", 16, 8),
	{.name = NULL},
};
