/* SPDX-License-Identifier: MIT */
/*
 * Seeds for verifier_fuzzer.c: generated programs, with types in front where the target takes both.
 *
 * usage: fuzz_seeds INSNS-FOLDER BOTH-FOLDER TYPES-FILE COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include "edge_gen.h"

static void save(const char *folder, u64 seed, const void *types, size_t types_size,
		 const struct edge_gen *g)
{
	const u8 head[4] = {(u8)(seed * 8 | 64), 0, (u8)types_size, (u8)(types_size >> 8)};
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/generated-%llu", folder, (unsigned long long)seed);
	f = fopen(path, "w");
	if (!f)
		return;
	fwrite(head, 1, sizeof(head), f);
	fwrite(types, 1, types_size, f);
	fwrite(g->insns, sizeof(*g->insns), g->count, f);
	fclose(f);
}

int main(int argc, char **argv)
{
	static struct edge_gen g;
	static u8 types[8192];
	size_t size = 0;
	FILE *f;

	if (argc != 5)
		return 2;
	f = fopen(argv[3], "r");
	if (f) {
		size = fread(types, 1, sizeof(types), f);
		fclose(f);
	}
	for (u64 seed = 1; seed <= strtoull(argv[4], NULL, 0); seed++) {
		edge_generate(&g, seed);
		if (g.loops && seed % 8)
			continue;
		save(argv[1], seed, types, 0, &g);
		save(argv[2], seed, types, size, &g);
	}
	return 0;
}
