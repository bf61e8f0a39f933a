#!/usr/bin/env bash
# Installs limpet for all users from a finished build (ninja -C build), or removes it again.
#   tools/install.sh             into PREFIX (default /usr/local), below DESTDIR where that is set
#   tools/install.sh --remove    removes what it installed, and nothing else
# BUILD names another build folder. `bpftime` becomes a link to limpet, unless there is a bpftime.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
build=${BUILD:-$here/../build}
root=${DESTDIR:-}${PREFIX:-/usr/local}

die() {
    echo "install.sh: $*" >&2
    exit 1
}

usage() {
    sed -n '2,5s/^# \?//p' "$0"
}

# A bpftime that is not ours: anywhere in PATH when installing for real, or in the way.
other_bpftime() {
    local found
    if [ -e "$root/bin/bpftime" ] || [ -L "$root/bin/bpftime" ]; then
        [ "$(readlink "$root/bin/bpftime" || true)" = limpet ] || { echo "$root/bin/bpftime"; return; }
    fi
    [ -z "${DESTDIR:-}" ] || return 0
    found=$(command -v bpftime || true)
    if [ -n "$found" ] && [ "$(basename "$(readlink -f "$found")")" != limpet ]; then
        echo "$found"
    fi
}

writable() {
    umask 022 # for all users, whatever root's own is
    mkdir -p "$root/bin" "$root/lib/limpet" 2>/dev/null || true
    if [ ! -w "$root/bin" ] || [ ! -w "$root/lib/limpet" ]; then
        die "cannot write below $root; run it as root (sudo $0), or set PREFIX, e.g. PREFIX=\$HOME/.local"
    fi
}

do_install() {
    local files=("$build/src/cli/limpet" "$build/src/agent/liblimpet-agent.so" "$build/src/loader/liblimpet-shim.so")
    local f other
    for f in "${files[@]}"; do
        [ -f "$f" ] || die "$f is missing; build first: meson setup build && ninja -C build"
    done
    writable
    # install(1) makes a new file: running programs keep the old one
    # and -s leaves debugging information behind: every target maps the agent
    install -s -m 755 "${files[0]}" "$root/bin/limpet"
    install -s -m 644 "${files[@]:1}" "$root/lib/limpet/"
    other=$(other_bpftime)
    if [ -n "$other" ]; then
        echo "install.sh: left $other alone: it is not limpet's; use the name limpet" >&2
    else
        ln -sfn limpet "$root/bin/bpftime"
    fi
    echo "limpet is in $root/bin"
}

do_remove() {
    local f
    for f in bin/limpet lib/limpet/liblimpet-agent.so lib/limpet/liblimpet-shim.so; do
        [ ! -e "$root/$f" ] || rm -f "$root/$f" 2>/dev/null ||
            die "cannot remove $root/$f; run it as root (sudo $0 --remove)"
    done
    if [ "$(readlink "$root/bin/bpftime" 2>/dev/null || true)" = limpet ]; then
        rm -f "$root/bin/bpftime"
    fi
    [ ! -d "$root/lib/limpet" ] || rmdir --ignore-fail-on-non-empty "$root/lib/limpet"
    echo "limpet is gone from $root"
}

case ${1:-} in
'') do_install ;;
--remove) do_remove ;;
-h | --help) usage ;;
*)
    echo "install.sh: unknown argument $1 (--help lists them)" >&2
    exit 2
    ;;
esac
