#!/usr/bin/env bash
# Sets up, builds and runs all tests. The last line is `N passed, N failed`.
#   ./run_tests.sh            the suite
#   ./run_tests.sh --long     the long runs too (storms, millions of cases, bench)
#   ./run_tests.sh NAME...    only the tests whose name contains NAME
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

names=() setup=(--tests)
for arg in "$@"; do
    case $arg in
    --long)
        export LIMPET_LONG=1
        setup=(--long)
        ;;
    -h | --help)
        sed -n '2,5s/^# \?//p' "$0"
        exit 0
        ;;
    -*)
        echo "run_tests.sh: unknown option $arg (--help lists them)" >&2
        exit 2
        ;;
    *) names+=("$arg") ;;
    esac
done

./tools/setup.sh "${setup[@]}"
[ -f build/build.ninja ] || meson setup build
ninja -C build
exec python3 tests/run.py build "${names[@]}"
