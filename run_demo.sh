#!/usr/bin/env bash
# Sets up, builds, and runs the queue demo until Ctrl-C (--seconds N: stop by itself). Other
# arguments go to the demo's own script: see examples/queue_demo/run_demo.sh --help.
set -euo pipefail
top=$(dirname "$(readlink -f "$0")")
for arg in "$@"; do
    case $arg in -h | --help) exec "$top/examples/queue_demo/run_demo.sh" "$@" ;; esac
done
"$top/tools/setup.sh"
[ -f "$top/build/build.ninja" ] || meson setup "$top/build" "$top" >/dev/null
ninja -C "$top/build" >/dev/null || ninja -C "$top/build"
exec "$top/examples/queue_demo/run_demo.sh" "$@"
