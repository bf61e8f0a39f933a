#!/usr/bin/env bash
# Installs what limpet needs to be built and tested, from Debian's packages. Does nothing when
# nothing is missing. As root, or through sudo; elsewhere says what it would install.
#   tools/setup.sh            what building, the demo and the tests need
#   tools/setup.sh --tests    also what single tests can do without: they are skipped where it is not to be had
#   tools/setup.sh --long     what the long tests need, too
#   tools/setup.sh --check    only says what is missing (exit status 1 if anything is)
set -euo pipefail

case ${1:-} in
'' | --tests | --long | --check) ;;
*)
    sed -n '2,7s/^# \?//p' "$0" >&2
    exit 2
    ;;
esac

packages=(
    gcc libc6-dev linux-libc-dev make pkg-config python3
    meson ninja-build
    clang llvm
    libbpf-dev libelf-dev zlib1g-dev libjson-c-dev
    bpftool binutils procps patch g++ libc++-dev libc++abi-dev python3-greenlet gdb
    libzydis-dev systemtap-sdt-dev
)
optional=()
case ${1:-} in
--tests | --long)
    optional=(libgc-dev gdb ltrace bpftrace libbpf-tools bpfcc-tools linux-headers-amd64 golang-go golang-github-cilium-ebpf-dev musl-tools openssl sqlite3 xz-utils redis-tools apache2-utils)
    ;;
esac
# nginx's package starts the server at once, on port 80.
[ "${1:-}" != --long ] || packages+=(debootstrap shellcheck nginx)

is_there() {
    [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null || true)" = "install ok installed" ]
}

wanted=()
for p in ${optional[@]+"${optional[@]}"}; do
    is_there "$p" || wanted+=("$p")
done
# No test fails for want of these: tried once a boot, as root, and never in the way.
tried=/run/limpet-setup-tried
if [ ${#wanted[@]} -ne 0 ] && [ "$(id -u)" -eq 0 ] && [ ! -e "$tried" ] && command -v apt-get >/dev/null; then
    : >"$tried" || true
    quick=(-qq -o Acquire::Retries=0 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10)
    if ! { apt-get update "${quick[@]}" && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y "${quick[@]}" --no-install-recommends "${wanted[@]}"; } >&2; then
        echo "setup: not to be had, tests that need them are skipped: ${wanted[*]}" >&2
    fi
fi

missing=()
for p in "${packages[@]}"; do
    is_there "$p" || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "setup: missing packages: ${missing[*]}" >&2
[ "${1:-}" = --check ] && exit 1

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo)
    elif command -v sudo >/dev/null && [ -t 0 ]; then
        as_root=(sudo)
    else
        echo "setup: not root and no sudo; run as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
fi
if ! command -v apt-get >/dev/null; then
    echo "setup: no apt-get here; install the equivalents of: ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
