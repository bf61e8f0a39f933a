#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the queue demo: the target and the monitor, on limpet, until Ctrl-C. See --help.
#
# What it starts is written down in a pipe. A helper at the other end ends all of it when the pipe
# closes, which it does however this script ends, SIGKILL included.
set -euo pipefail

usage_zh() {
    cat <<'TEXT'
用法: run_demo.sh [--seconds N] [--stack] [--attach | --background | --kernel] [监控程序的选项]
  --seconds N    N 秒后停止 (默认: 按 Ctrl-C 停止)
  --stack        使用栈 (LIFO) 而不是队列 (FIFO)
  --attach       先直接启动目标程序, 再用 `limpet attach PID` 使它成为目标
  --background   三条命令 `limpet load -b`, `limpet start`, `limpet attach PID 监控程序`
  --kernel       不用 limpet, 用内核的 eBPF (需要 root)
其他选项交给监控程序: --overwrite, --json, --interval 毫秒, --lang zh|en, -p PID, --binary 路径。
limpet 取自 $LIMPET, 然后是 ../../build, 然后是 PATH。
TEXT
}

usage_en() {
    cat <<'TEXT'
Usage: run_demo.sh [--seconds N] [--stack] [--attach | --background | --kernel] [MONITOR OPTIONS]
  --seconds N    stop after N seconds (default: at Ctrl-C)
  --stack        use the stack (LIFO) instead of the queue (FIFO)
  --attach       start the target plainly, then make it one with `limpet attach PID`
  --background   the three commands `limpet load -b`, `limpet start`, `limpet attach PID MONITOR`
  --kernel       without limpet, on the kernel's eBPF (needs root)
Other options go to the monitor: --overwrite, --json, --interval MS, --lang zh|en, -p PID, --binary PATH.
limpet is taken from $LIMPET, else from ../../build, else from PATH.
TEXT
}

# One language for all that speaks here, by the monitor's rule: Chinese unless English is asked for.
choose_language() {
    local chosen=${LIMPET_LANG:-} previous='' arg
    chosen=${chosen:-${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}}
    for arg in "$@"; do
        [ "$previous" != --lang ] || chosen=$arg
        case $arg in --lang=*) chosen=${arg#--lang=} ;; esac
        previous=$arg
    done
    case $chosen in en*) LIMPET_LANG=en ;; *) LIMPET_LANG=zh ;; esac
    export LIMPET_LANG
}

say() { # ENGLISH CHINESE
    if [ "$LIMPET_LANG" = en ]; then echo "run_demo.sh: $1" >&2; else echo "run_demo.sh: $2" >&2; fi
}

here=$(dirname "$(readlink -f "$0")")
build=$here/../../build
seconds='' monitor=uprobe_queue way=load options=()
choose_language "$@"
while [ $# -gt 0 ]; do
    case $1 in
    --seconds | --seconds=*)
        case $1 in *=*) seconds=${1#*=} ;; *) seconds=${2:-} && shift ;; esac
        case $seconds in
        '' | *[!0-9]*)
            say "--seconds takes a number" "--seconds 需要一个数字"
            exit 2 ;;
        esac ;;
    --stack) monitor=uprobe_stack ;;
    --attach | --background | --kernel) way=${1#--} ;;
    -h | --help)
        "usage_$LIMPET_LANG"
        exit 0 ;;
    *) options+=("$1") ;;
    esac
    shift
done

find_limpet() {
    local candidate
    for candidate in "${LIMPET:-}" "$build/src/cli/limpet" "$(command -v limpet || true)" "$(command -v bpftime || true)"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            readlink -f "$candidate"
            return
        fi
    done
    say "limpet not found: build it (meson setup build && ninja -C build), put it in PATH, or set LIMPET" \
        "找不到 limpet: 请编译 (meson setup build && ninja -C build), 放进 PATH, 或设置 LIMPET"
    return 1
}

# The programs of the top-level build, else those that `make` puts beside this script.
programs=$(readlink -f "$build/examples/queue_demo" || true)
if [ ! -x "$programs/$monitor" ] || [ ! -x "$programs/target" ]; then
    programs=$here
    make -s -C "$here"
fi
limpet=''
[ "$way" = kernel ] || limpet=$(find_limpet)

# Ends the process groups named on standard input, in this order.
end_all() {
    local group groups=()
    trap '' INT TERM HUP
    while read -r group; do groups+=("$group"); done
    for group in ${groups[@]+"${groups[@]}"}; do
        kill -TERM -- "-$group" || true
        for _ in $(seq 30); do
            kill -0 -- "-$group" || break
            sleep 0.1
        done
        kill -KILL -- "-$group" || true
    done
    rm -rf "$1" "$1.d"
} >/dev/null 2>&1

log=$(mktemp)
mkdir "$log.d"
exec {shown}> >(trap '' INT TERM HUP; exec tee "$log")
tee_pid=$!
exec {guard}> >(exec {shown}>&-; end_all "$log")
guard_pid=$!
trap : INT TERM HUP # they end the wait at the end of this script

# In the background, in a process group of its own ($last). `show`: into the log too.
run() { # COMMAND...
    echo "\$ $*" >&2
    set -m
    "$@" {guard}>&- {shown}>&- &
    set +m
    last=$!
    echo "$last" >&"$guard"
}

show() { # COMMAND...
    echo "\$ $*" >&2
    set -m
    "$@" {guard}>&- >&"$shown" {shown}>&- &
    set +m
    last=$!
    echo "$last" >&"$guard"
}

wait_attached() { # PID of the monitor
    for _ in $(seq 100); do
        ! grep -q -e 'Ctrl' -e '"start"' "$log" || return 0
        kill -0 "$1" 2>/dev/null || { wait "$1" || exit $?; exit 1; }
        sleep 0.1
    done
    say "the monitor does not start" "监控程序没有启动"
    exit 1
}

tool=("$programs/$monitor" ${options[@]+"${options[@]}"})
case $way in
kernel)
    # The kernel's probes are in the file, for whoever runs it: not in one that limpet may be probing.
    cp "$programs/target" "$programs/$monitor" "$log.d/"
    tool[0]=$log.d/$monitor
    show "${tool[@]}"
    view=$last
    wait_attached "$view"
    run "$log.d/target" ;;
load)
    show "$limpet" load -- "${tool[@]}"
    view=$last
    wait_attached "$view"
    run "$limpet" start -- "$programs/target" ;;
attach)
    run "$programs/target"
    target=$last
    show "$limpet" load -- "${tool[@]}"
    view=$last
    wait_attached "$view"
    echo "\$ $limpet attach $target" >&2
    "$limpet" attach "$target" {guard}>&- {shown}>&- ;;
background)
    echo "\$ $limpet load -b -- ${tool[*]}" >&2
    started=$("$limpet" load -b -- "${tool[@]}" {guard}>&- {shown}>&-)
    echo "$started"
    sed -n 's/.*(pid \([0-9]*\)).*/\1/p; s/.*（pid \([0-9]*\)）.*/\1/p' <<<"$started" >&"$guard"
    run "$limpet" start -- "$programs/target"
    starter=$last
    for _ in $(seq 50); do
        target=$(pgrep -x -P "$starter" target || true)
        [ -z "$target" ] || break
        sleep 0.1
    done
    show "$limpet" attach "$target" "${tool[@]}"
    view=$last ;;
esac

# Until the time is over, Ctrl-C, or either side ends.
if [ -n "$seconds" ]; then
    sleep "$seconds" {guard}>&- {shown}>&- &
    wait -n $! "$view" || true
    kill $! 2>/dev/null || true
else
    wait -n "$view" "$last" || true
fi
exec {guard}>&-
wait "$guard_pid" || true
exec {shown}>&-
wait "$tee_pid" || true
