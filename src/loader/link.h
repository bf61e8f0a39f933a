/* SPDX-License-Identifier: MIT */
/* How links are made: begun, filled by whoever makes one, published or given up. */
#ifndef LIMPET_LOADER_LINK_H
#define LIMPET_LOADER_LINK_H

#include "bpf/syscall_desc.h"
#include "loader/loader.h"

struct new_link {
	struct link_file *l;
	u64 size;
	u32 id;
	int fd;
};

/* A nameless link file with room for `count` probes and its page of numbers. */
HIDDEN int link_begin(struct store *s, u32 count, struct new_link *ret);
HIDDEN struct link_probe *link_probes(const struct new_link *n);
HIDDEN void link_give_up(struct new_link *n);
/* Names it and makes it live: a held descriptor. Its program, and the event of a perf link, stay with it. */
HIDDEN int link_publish(struct store *s, struct new_link *n);

/* What links ask about programs. */
struct prog_kind {
	u32 type, attach_type, ctx_end;
};
HIDDEN int link_prog(struct store *s, u32 id, struct prog_kind *ret);

/* On system calls: what such a link has in common, whoever makes it. */
HIDDEN void link_on_syscall(struct link_file *l, struct syscall_event e, enum syscall_ctx ctx);
/* A tracepoint takes a program once, however it comes there. */
HIDDEN bool link_on_syscall_has(struct store *s, struct syscall_event e, u32 prog);

#endif
