/* SPDX-License-Identifier: MIT */
/*
 * Checks of object files before use: sizes, counts and offsets of a head that was copied out of
 * the file, against the file's length. What passes can be read without further range checks.
 */
#ifndef LIMPET_SESSION_OBJECT_H
#define LIMPET_SESSION_OBJECT_H

#include "maps/map.h"
#include "session/layout.h"

#define OBJECT_MAX_PROBES 65536
#define OBJECT_MAX_MAPS   1024
#define OBJECT_MAX_BUDGET 1000000 /* a run takes milliseconds, whoever wrote the file */

/* 0, or -EINVAL. `size` is the file's length. */
int object_check_head(const struct object_header *head, u32 kind, u64 size);
int object_check_prog(const struct prog_file *prog, u64 size);

/*
 * Of all that proofs rest on: what the file's head says of the program, its instructions, the ids and the shapes of the
 * map_shape_count maps it was verified with. It tells damage. Who forges a program forges the sum as well:
 * against that stands whose file it is (below).
 */
u64 object_prog_sum(const struct prog_file *prog, const struct bpf_insn *insns, const u32 *map_ids,
		    const struct prog_map *shapes);

/*
 * What limpet's verifier has shown of the program (PROG_IS_*) and a process whose user is `uid` may believe. The file says
 * so, so only a file counts that nobody can have written who could not do the same to that process by other
 * means: root's, or one of the same user (`owner`, `mode`: of the file, by fstat); and one whose parts, as they were
 * read, are those that the verifier saw (`sum`: of these).
 */
u32 object_prog_proofs(const struct prog_file *prog, u64 sum, u32 owner, u32 mode, u32 uid);

/*
 * Is the map, as this process has it, what the verifier was told? Descriptions of maps lie in memory that others
 * write to: what was shown holds only where the private copy made when the map was opened says the
 * same. Values must all be there, and writable where programs may write.
 */
bool object_map_as_verified(const struct prog_map *was, const struct map *m);

int object_check_link(const struct link_file *link, u64 size);

#endif
