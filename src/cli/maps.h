/* SPDX-License-Identifier: MIT */
/* Reading a session's maps, for `list` and `map`. */
#ifndef LIMPET_CLI_MAPS_H
#define LIMPET_CLI_MAPS_H

#include "cli/cli.h"
#include "maps/map.h"

/* json_object_put-able; NULL when the file is no map. */
struct json_object *map_facts(struct store *s, u32 id);
const char *map_type_text(u32 type, char buf[16]);

#endif
