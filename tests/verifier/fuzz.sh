#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the verifier's libFuzzer targets, one after the other, on seeds made here.
#
#     meson setup build-fuzz -Dfuzz=true && ninja -C build-fuzz
#     tests/verifier/fuzz.sh build-fuzz [SECONDS-EACH [FOLDER]]
#
# Seeds: programs of edge_gen.c, and the types of all .bpf.o files in the build folder. What is found is left in FOLDER.
set -euo pipefail

build=$(realpath "${1:?build folder}")
seconds=${2:-600}
work=${3:-$(mktemp -d)}
targets="$build/tests/verifier"
mkdir -p "$work"/{insns,types,both}
work=$(realpath "$work")

n=0
while read -r object; do
    n=$((n + 1))
    if llvm-objcopy --dump-section .BTF="$work/btf" "$object" /dev/null 2>/dev/null; then
        { printf '\100\0\0\0'; cat "$work/btf"; } > "$work/types/object-$n"
    fi
done < <(find "$build" -name '*.bpf.o')
"$targets/verifier-fuzz-seeds" "$work/insns" "$work/both" "$work/btf" 400

for kind in insns types both; do
    (cd "$work" && "$targets/verifier_fuzzer_$kind" -max_total_time="$seconds" -timeout=60 -report_slow_units=20 -max_len=16384 \
        -artifact_prefix="$work/found-$kind-" -print_final_stats=1 "$work/$kind" > "$work/$kind.log" 2>&1) ||
        echo "not ok $kind: see $work/$kind.log"
    grep -E '^stat::(number_of_executed|slowest)|ERROR|Slowest' "$work/$kind.log" | sed "s/^/$kind: /"
done
