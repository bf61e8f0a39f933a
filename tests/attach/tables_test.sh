#!/bin/sh
# SPDX-License-Identifier: MIT
# The decoder's tables are what gen_tables writes. usage: tables_test.sh GEN_TABLES TABLES_INC
new=$(mktemp)
trap 'rm -f "$new"' EXIT
"$1" >"$new"
if [ $? -eq 77 ]; then
    echo "skip decoder tables are current: not the version of Zydis they were made with"
elif cmp -s "$new" "$2"; then
    echo "ok decoder tables are current"
else
    echo "not ok decoder tables are current"
    echo "# write them anew: $1 > $2"
    exit 1
fi
