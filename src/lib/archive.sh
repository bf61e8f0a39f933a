#!/bin/sh
# SPDX-License-Identifier: MIT
# archive.sh OUTPUT ARCHIVE...: one object of all of them whose hidden symbols are local, so that no
# name of limpet's modules meets one of the program's that links it.
set -eu
out=$1
shift
object=$out.o
ld -r -o "$object" --whole-archive "$@"
objcopy --localize-hidden "$object"
rm -f "$out"
ar rcs "$out" "$object"
rm -f "$object"
