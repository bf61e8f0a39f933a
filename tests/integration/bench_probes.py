#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/probes/bench.py runs, and has every row; no time is judged. The table is left in
BUILD_DIR/bench.txt. Long: LIMPET_LONG=1 runs it.

usage: bench_probes.py BUILD_DIR
"""
import os
import re
import subprocess
import sys
from common import BUILD, SOURCE, main, ok

ROWS = ["bare call"] + ["limpet: " + row for row in (
    "empty, entry", "empty, middle", "empty, return", "empty, entry and return", "empty, breakpoint", "queue demo's program", "queue push", "queue push from the tool", "queue pop from the tool")]


def bench():
    if not os.environ.get("LIMPET_LONG"):
        print("skip bench: long; LIMPET_LONG=1 runs it")
        return
    done = subprocess.run([sys.executable, os.path.join(SOURCE, "bench/probes/bench.py"), BUILD], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    table = done.stdout.decode()
    with open(os.path.join(BUILD, "bench.txt"), "w", encoding="utf-8") as f:
        f.write(table)
    missing = [row for row in ROWS if not re.search(rf"^{re.escape(row)}  +[\d.]+ ", table, re.M)]
    ok("bench measures every row", done.returncode == 0 and not missing, (missing, table))


if __name__ == "__main__":
    sys.exit(main(bench, need=("bench/probes/bench_probes",)))
