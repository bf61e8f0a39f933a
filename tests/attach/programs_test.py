#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real programs with a probe in every function of every object they map: same output, same exit status.

usage: programs_test.py LIBATTACH_PROBE_ALL.so [SEEDS [PROGRAM]]

Seed 0 puts probes at the first instruction of each function, another seed at some instruction of each.
"""
import os
import shutil
import subprocess
import sys
import tempfile

PYTHON = r"""
import collections, hashlib, json, re, sys, threading, time, zlib
class Bad(Exception): pass
def deep(n):
    if not n: raise Bad(n)
    return deep(n - 1)
def work(out, i):
    h = hashlib.sha256()
    for k in range(200):
        h.update(bytes([k % 251]) * (k % 97))
    out[i] = h.hexdigest()
out = {}
threads = [threading.Thread(target=work, args=(out, i)) for i in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
try: deep(100)
except Bad as e: print("caught", e)
print(sorted(set(out.values())), zlib.crc32(b"abc" * 1000), hashlib.md5(b"x" * 999).hexdigest())
print(json.dumps(json.loads('{"a": [1, 2.5, null, "x"]}')), re.sub(r"(a+)(b*)", r"\2\1", "aabbab" * 5), "%.17g" % (2 ** 0.5))
print(sum(x * x for x in range(3000)), sorted(collections.Counter("mississippi").items()), 3 ** 200 % 1000007, "\u4e2d".encode())
sys.exit(3)
"""
C = r"""
#include <stdio.h>
struct s { int a; double b; };
static int f(int n) { return n < 2 ? n : f(n - 1) + f(n - 2); }
int main(void) { struct s s = {f(10), 2.5}; switch (s.a % 7) { case 1: puts("1"); break; case 6: puts("6"); break; default: printf("%f\n", s.b); } return s.a; }
"""
CXX = r"""
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
struct noisy { ~noisy() { std::cout << "gone\n"; } };
static int deep(int n) { noisy x; if (!n) throw std::runtime_error("deep"); return deep(n - 1) + 1; }
int main() {
    std::map<std::string, int> m;
    for (int i = 0; i < 100; i++) m["k" + std::to_string(i * 7 % 31)] += i;
    for (auto &p : m) std::cout << p.first << '=' << p.second << ' ';
    try { deep(5); } catch (std::exception &e) { std::cout << e.what() << '\n'; }
    std::vector<std::thread> t; long sum[4] = {};
    for (int i = 0; i < 4; i++) t.emplace_back([&, i] { for (int k = 0; k < 1000; k++) { try { if (k % 100 == 0) throw k; sum[i]++; } catch (int) { sum[i] += 2; } } });
    for (auto &x : t) x.join();
    std::cout << sum[0] + sum[1] + sum[2] + sum[3] << '\n';
}
"""


def make_inputs(folder):
    for name, text in {"a.py": PYTHON, "a.c": C, "a.cc": CXX}.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as f:
            f.write(text)
    with open(f"{folder}/text", "w", encoding="ascii") as f:
        f.writelines(f"{i * 7919 % 10007} line {i % 13} {'x' * (i % 50)}\n" for i in range(3000))
    subprocess.run(["gcc", "-O2", "-o", f"{folder}/c", f"{folder}/a.c"], check=True)
    if shutil.which("g++"):
        subprocess.run(["g++", "-O2", "-pthread", "-o", f"{folder}/cxx", f"{folder}/a.cc"], check=True)


PROGRAMS = {
    "echo": ["echo", "hello"],
    "c": ["./c"],
    "exceptions": ["./cxx"],
    "sort": ["sort", "-n", "text"],
    "uniq": ["sh", "-c", "cut -d' ' -f2,3 text | sort | uniq -c | sort -rn | head -5; echo $?"],
    "bash": ["bash", "-c", "f() { local x=$1; ((x)) && f $((x - 1)); }; f 50; for i in {1..50}; do a[i]=$((i * i)); done; "
             "echo ${a[@]}; trap 'echo usr1' USR1; kill -USR1 $$; (exit 7); echo $?; printf '%s\\n' *.c"],
    "awk": ["awk", "{n[$3] += $1} END {for (k in n) print k, n[k] | \"sort\"}", "text"],
    "sed": ["sed", "-nE", "s/^([0-9]+) line (1|2) (x+)$/\\3 \\1/p", "text"],
    "grep": ["grep", "-cE", "line (3|7) x{5,}$", "text"],
    "find": ["find", ".", "-name", "*.c*", "-newer", "/etc/passwd"],
    "tar": ["sh", "-c", "tar cf - text a.c | tar tvf - | wc -l; gzip -c text | gzip -dc | cksum; xz -c text | xz -dc | cksum"],
    "perl": ["perl", "-e", "my %h; $h{$_ % 17} .= chr(65 + $_ % 26) for 1..500; print join(' ', map {\"$_$h{$_}\"} sort keys %h); "
             "eval {die 'x'}; print $@; print sprintf('%.3f', sin(1)), join ',', map {sqrt} 1..5; exit 4"],
    "python3": ["/usr/bin/python3", "a.py"],
    "gcc": ["sh", "-c", "gcc -O2 -S -o - a.c | cksum"],
    "openssl": ["sh", "-c", "openssl dgst -sha256 text; openssl enc -aes-256-cbc -pbkdf2 -k p -S 0102030405060708 -in text | cksum; "
                "openssl dgst -sha512 text; openssl dgst -blake2b512 text; openssl dgst -sha3-256 text"],
    "git": ["sh", "-c", "rm -rf g; git init -q g && cd g && cp ../text . && git add text && git -c user.name=a -c user.email=b "
            "commit -qm x --date=2000-01-01T00:00:00Z && git log --format=%T && git gc -q && git fsck; rm -rf ../g"],
    "clang": ["sh", "-c", "clang -O1 -S -o - a.c | cksum"],
}
LONG = ("gcc", "clang", "git", "find", "tar")


def run(cmd, folder, env):
    full = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": folder, "PYTHONHASHSEED": "0", "PERL_HASH_SEED": "0"}
    full.update(env)
    # The shell sets the environment only for what is tested.
    done = subprocess.run(cmd, cwd=folder, env=full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


def hits(path):
    if not os.path.exists(path):
        return 0, 0
    with open(path, encoding="ascii") as f:
        rows = [list(map(int, line.split())) for line in f]
    return max(r[0] for r in rows), sum(r[2] for r in rows)


def main():
    so, seeds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    full = bool(os.environ.get("LIMPET_LONG")) or seeds
    seeds = seeds or (30 if full else 2)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        make_inputs(folder)
        for name, cmd in PROGRAMS.items():
            if len(sys.argv) > 3 and name not in sys.argv[3:]:
                continue
            if not (shutil.which(cmd[0]) or os.path.exists(f"{folder}/{cmd[0]}")) or \
                    (cmd[0] == "sh" and not shutil.which(cmd[2].split()[0]) and name not in ("uniq", "tar", "git")):
                print(f"skip {name}: not installed")
                continue
            if name in LONG and not full:
                continue
            want = run(cmd, folder, {})
            good = True
            for seed in range(seeds):
                report = f"{folder}/report"
                got = run(cmd, folder, {"LD_PRELOAD": so, "PROBE_SEED": str(seed), "PROBE_REPORT": report})
                probed, hit = hits(report)
                if os.path.exists(report):
                    os.unlink(report)
                if got != want or not hit:
                    print(f"# {name}, seed {seed}: status {got[0]}, not {want[0]}; {hit} hits; {got[2][-300:]!r} {got[1][-200:]!r}")
                    good = False
            print(f"{'ok' if good else 'not ok'} {name} with {probed} probes, {hit} hits", flush=True)
            bad += not good
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
