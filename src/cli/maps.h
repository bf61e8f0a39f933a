/* SPDX-License-Identifier: MIT */
/* Reading and changing a session's maps, for `list` and `map`. */
#ifndef LIMPET_CLI_MAPS_H
#define LIMPET_CLI_MAPS_H

#include <bpf/btf.h>
#include <json-c/json.h>
#include "cli/cli.h"
#include "maps/map.h"

/* list.c: json_object_put-able; NULL when the file is no map. */
struct json_object *map_facts(struct store *s, u32 id);
const char *map_type_text(u32 type, char buf[16]);
struct json_object *links_facts(struct store *s); /* an array, as `limpet list --json` has it */

/*
 * values.c. value_parse() fills `size` bytes from arguments and sets *count to how many it took; 0, or
 * an exit status after saying why. A plain number is a byte, or all of it when it stands alone.
 */
int value_parse(const char *what, const char *map, char **args, int *count, u8 *buf, u32 size);
void print_bytes(const char *what, const u8 *p, size_t n); /* without the line's end */
void add_hex(struct json_object *o, const char *key, const u8 *p, size_t n);

/*
 * Values by the map's BTF, or by types of a BTF that the caller keeps (0: none). typed_text() is for free(); NULL where there is
 * no type that fits.
 */
struct typed *typed_new(const struct btf *btf, u32 key, u32 value);
struct typed *typed_open(struct store *s, const struct map_def *def);
char *typed_text(struct typed *t, bool is_key, const u8 *data, size_t size);
void typed_close(struct typed *t);

#endif
