#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests Meson knows and counts their cases.

A test program prints a line a case: "ok NAME", "not ok NAME", "skip NAME: why". A program that
fails without a "not ok" line, or prints no case at all, counts as one failed case. The last line is
"N passed, N failed" (and ", N skipped" when any were).
"""
import json
import os
import re
import subprocess
import sys
import time


def wanted(tests, names):
    return [t for t in tests if not names or any(n in t["name"] for n in names)]


def run(test, build):
    start = time.time()
    try:
        done = subprocess.run(test["cmd"], cwd=test["workdir"] or build, stdin=subprocess.DEVNULL,
                              env=environment(test), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=test["timeout"] * (20 if long_run() else 1), check=False)
        out, status = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as e:
        out = (e.stdout or b"").decode(errors="replace") + "\n# timed out\n"
        status = -1
    except OSError as e:
        out, status = f"# {e}\n", -1
    return out, status, time.time() - start


def long_run():
    return bool(os.environ.get("LIMPET_LONG"))


def environment(test):
    env = dict(os.environ)
    env.update(test["env"])
    return env


def main():
    build, names = sys.argv[1], sys.argv[2:]
    tests = json.loads(subprocess.check_output(["meson", "introspect", "--tests", build]))
    passed = failed = skipped = 0
    for test in wanted(tests, names):
        out, status, seconds = run(test, build)
        ok = len(re.findall(r"^ok ", out, re.M))
        bad = len(re.findall(r"^not ok ", out, re.M))
        skip = re.findall(r"^skip (.*)$", out, re.M)
        if (status and not bad) or not (ok or bad or skip):
            bad += 1
        passed, failed, skipped = passed + ok, failed + bad, skipped + len(skip)
        verdict = "FAILED" if bad else "ok"
        print(f"{verdict:6} {test['name']}: {ok} passed, {bad} failed, {len(skip)} skipped"
              f" ({seconds:.1f} s)", flush=True)
        for why in skip:
            print(f"       skipped {why}")
        if bad:
            print(f"       exit status {status}; its last lines:")
            print("\n".join("       | " + line for line in out.splitlines()[-60:]), flush=True)
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
