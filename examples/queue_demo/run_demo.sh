#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the queue demo: the target and the monitor, on limpet, until Ctrl-C. See --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: run_demo.sh [--seconds N] [--stack] [--attach | --background | --kernel] [MONITOR OPTIONS]
  --seconds N    stop after N seconds (default: at Ctrl-C)
  --stack        use the stack (LIFO) monitor instead of the queue (FIFO)
  --attach       start the target first, plain, and let `limpet attach PID` make it a target
  --background   the three commands `load -b`, `start`, `attach PID MONITOR`
  --kernel       without limpet, on the kernel's eBPF (needs root)
Other options go to the monitor: --overwrite, --json, --interval MS, --lang zh|en.
limpet is taken from $LIMPET, else from ../../build, else from PATH.
TEXT
}

here=$(dirname "$(readlink -f "$0")")
build=$here/../../build
seconds='' monitor=uprobe_queue way=load options=()
while [ $# -gt 0 ]; do
    case $1 in
    --seconds)
        seconds=${2:-}
        case $seconds in '' | *[!0-9]*) echo "run_demo.sh: --seconds takes a number" >&2; exit 2 ;; esac
        shift ;;
    --stack) monitor=uprobe_stack ;;
    --attach | --background | --kernel) way=${1#--} ;;
    -h | --help) usage; exit 0 ;;
    *) options+=("$1") ;;
    esac
    shift
done

find_limpet() {
    local candidate
    for candidate in "${LIMPET:-}" "$build/src/cli/limpet" "$build/limpet" \
        "$(command -v limpet || true)" "$(command -v bpftime || true)"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            echo "$candidate"
            return
        fi
    done
    echo "run_demo.sh: limpet not found: build it (meson setup build && ninja -C build), put it in PATH, or set LIMPET" >&2
    return 1
}

# The programs of the top-level build, else those that `make` puts beside this script.
programs=$build/examples/queue_demo
if [ ! -x "$programs/$monitor" ]; then
    programs=$here
    [ -x "$here/$monitor" ] || make -s -C "$here"
fi
limpet=''
[ "$way" = kernel ] || limpet=$(find_limpet)

log=$(mktemp)
tool_pid='' target_pid=''
stop() {
    trap - INT TERM EXIT
    # The monitor first, so that its summary is whole.
    [ -z "$tool_pid" ] || { kill -TERM "$tool_pid" 2>/dev/null && wait "$tool_pid" 2>/dev/null; } || true
    [ -z "$target_pid" ] || { kill "$target_pid" 2>/dev/null && wait "$target_pid" 2>/dev/null; } || true
    sleep 0.2 # for tee
    rm -f "$log"
}
trap 'stop; exit 0' INT TERM
trap stop EXIT

start_monitor() { # COMMAND...: in the background; returns when it is attached
    "$@" > >(tee "$log") &
    tool_pid=$!
    for _ in $(seq 100); do
        ! grep -q -e 'Ctrl' -e '"start"' "$log" || return 0
        kill -0 "$tool_pid" 2>/dev/null || { wait "$tool_pid"; exit 1; }
        sleep 0.1
    done
    echo "run_demo.sh: the monitor does not start" >&2
    exit 1
}

tool=("$programs/$monitor" ${options[@]+"${options[@]}"})
case $way in
kernel)
    start_monitor "${tool[@]}"
    "$programs/target" &
    target_pid=$! ;;
load)
    start_monitor "$limpet" load -- "${tool[@]}"
    "$limpet" start -- "$programs/target" &
    target_pid=$! ;;
attach)
    "$programs/target" &
    target_pid=$!
    start_monitor "$limpet" load -- "${tool[@]}"
    "$limpet" attach "$target_pid" ;;
background)
    "$limpet" load -b -- "${tool[@]}"
    "$limpet" start -- "$programs/target" &
    target_pid=$!
    sleep 0.5
    "$limpet" attach "$(pgrep -n -x -P "$target_pid" target)" "${tool[@]}" &
    tool_pid=$! ;;
esac

if [ -n "$seconds" ]; then
    sleep "$seconds" &
    wait $! || true
else
    wait "$tool_pid" || true
fi
