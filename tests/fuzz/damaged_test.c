/* SPDX-License-Identifier: MIT */
/*
 * damaged_test CASES: every truncation and every single-bit flip of a corpus is refused, or runs
 * contained (contain.h). The corpus are the data tests' programs, one for every form of
 * instruction; with LIMPET_LONG set also flips of two bits. Built with the sanitizers where they
 * are there.
 */
#include "../data/cases.h"
#include "contain.h"

#define LONGEST 80

static u32 counts[3];

static void flip(struct bpf_insn *insns, u32 bit)
{
	((u8 *)insns)[bit / 8] ^= (u8)(1 << bit % 8);
}

static void damage(const struct data_case *c, bool two)
{
	/* Of exactly the program's size, so that a read past its end is seen. */
	struct bpf_insn *insns = malloc(c->insn_count * sizeof(*insns)), *cut;
	u32 bits = c->insn_count * 64;

	memcpy(insns, c->insns, c->insn_count * sizeof(*insns));
	for (u32 n = 1; n < c->insn_count; n++) {
		cut = malloc(n * sizeof(*cut));
		memcpy(cut, insns, n * sizeof(*cut));
		counts[contain_run(cut, n)]++;
		free(cut);
	}
	for (u32 bit = 0; bit < bits; bit++) {
		flip(insns, bit);
		counts[contain_run(insns, c->insn_count)]++;
		for (u32 other = bit + 1; two && other < bits; other += 61) {
			flip(insns, other);
			counts[contain_run(insns, c->insn_count)]++;
			flip(insns, other);
		}
		flip(insns, bit);
	}
	free(insns);
}

int main(int argc, char **argv)
{
	static struct data_case c;
	FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
	u32 programs = 0;

	if (!f)
		return fprintf(stderr, "usage: damaged_test CASES\n"), 2;
	while (case_next(f, &c)) {
		if (c.insn_count > LONGEST || !case_is_new(&c))
			continue;
		damage(&c, getenv("LIMPET_LONG"));
		programs++;
	}
	fclose(f);
	printf("%s damaged programs (of %u: %u refused, %u ran, %u ended)\n",
	       programs > 50 && counts[0] && counts[1] && counts[2] ? "ok" : "not ok", programs,
	       counts[CONTAINED_REFUSED], counts[CONTAINED_RAN], counts[CONTAINED_ENDED]);
	return programs > 50 && counts[0] && counts[1] && counts[2] ? 0 : 1;
}
