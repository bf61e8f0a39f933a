#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs of Debian's that do the same work twice, with probes of every kind on their hot functions: output and exit
status are the unprobed run's, and every call is counted, as often as the kernel's uprobes count it in a run of their own.
In one more run the functions that a program can do without return at once (override_return).

Each program runs on copies of itself and of its libraries, those for limpet apart from those for the kernel: the
kernel's uprobes are on a file, whoever runs it, and cannot be where limpet's are.

usage: batch.py BUILD_DIR
"""
import os
import shutil
import subprocess
import sys
import probing
from probing import Counter, LIBC, c

KINDS = ("entry", "return", "both", "session", "twice")
LIB = "/usr/lib/x86_64-linux-gnu/"
SQL = """
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) INSERT INTO t SELECT i, 'row ' || (i * 7919 % 1009), i / 3.0 FROM n;
COMMIT;
CREATE INDEX tb ON t(b);
SELECT count(*), sum(a), max(b), round(avg(c), 3) FROM t WHERE b LIKE 'row 1%';
SELECT b, count(*) FROM t GROUP BY substr(b, 1, 5) ORDER BY 2 DESC, 1 LIMIT 5;
DELETE FROM t WHERE a % 3 = 0;
UPDATE t SET c = c * 2 WHERE a < 100;
SELECT * FROM t WHERE a BETWEEN 10 AND 60;
SELECT * FROM nowhere;
VACUUM;
PRAGMA integrity_check;
"""
PYTHON = """
import json, sys, zlib
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
class Bad(Exception): pass
def deep(n):
    if not n: raise Bad('deep')
    return deep(n - 1)
try: deep(50)
except Bad as e: print(e)
print(fib(13), json.dumps(sorted({str(i): i * i for i in range(50)}.items()))[:70], zlib.crc32(b'x' * 9999))
def gen():
    for i in range(100): yield i
print(sum(gen()), sum(map(lambda x: x * 2, range(100))))
sys.exit(5)
"""
C_MEMORY = ["malloc", "free", "memcpy"]
# No memset: the kernel's uprobe on the one for AVX2 makes programs crash.
# name: (command, program, {library, "" for the program: functions})
PROGRAMS = {
    "gzip": (["./gzip", "-c", "text"], "/usr/bin/gzip", {LIBC: ["read", "write", "memcpy", "memcpy+1", "write+1"]}),
    "gunzip": (["./gzip", "-dc", "text.gz"], "/usr/bin/gzip", {LIBC: ["read", "write", "memcpy"]}),
    "xz": (["./xz", "-T1", "-c", "text"], "/usr/bin/xz",
           {LIBC: ["read", "write", *C_MEMORY, "malloc+1"], LIB + "liblzma.so.5": ["lzma_code", "lzma_code+3", "lzma_crc32"]}),
    "sort": (["./sort", "--parallel=1", "-S", "64k", "-k3,3", "-k1n", "text"], "/usr/bin/sort",
             {LIBC: ["read", "write", "malloc", "free", "free+1", "memcpy", "strlen", "strcoll"]}),
    "sqlite3": (["./sqlite3", "-batch", "-cmd", ".read work.sql", ":memory:", "SELECT 1"], "/usr/bin/sqlite3",
                {LIBC: [*C_MEMORY, "pthread_mutex_lock", "pthread_mutex_unlock"],
                 LIB + "libsqlite3.so.0": ["sqlite3_step", "sqlite3_step+1", "sqlite3_column_text", "sqlite3_free"]}),
    "sqlite3_file": (["./sqlite3", "-batch", "-cmd", ".read work.sql", "db", "SELECT 1"], "/usr/bin/sqlite3",
                     {LIBC: [*C_MEMORY, "pread64", "pwrite64", "pthread_mutex_lock"], LIB + "libsqlite3.so.0": ["sqlite3_step", "sqlite3_prepare_v2"]}),
    "python3": (["./python3.11", "-S", "-E", "-s", "work.py"], "/usr/bin/python3.11",
                {LIBC: [*C_MEMORY, "read", "pthread_mutex_lock"],
                 "": ["_PyEval_EvalFrameDefault", "_PyEval_EvalFrameDefault+4", "PyObject_Malloc", "PyDict_SetItem"]}),
    # By itself it would hash ten thousand times: half a million traps for the kernel's probes, which is what made this test slow.
    "openssl": (["./openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "500", "-k", "p", "-S", "0102030405060708", "-in", "text"], "/usr/bin/openssl",
                {LIBC: [*C_MEMORY, "pthread_rwlock_rdlock", "pthread_once"],
                 LIB + "libcrypto.so.3": ["EVP_DigestUpdate", "EVP_CipherUpdate", "CRYPTO_malloc", "CRYPTO_free+1"]}),
}
OVERRIDDEN = ("free", "pthread_mutex_unlock", "pthread_mutex_lock")  # lock where unlock is, too: one thread needs neither
USDT = {"python3": [("python", "function__entry"), ("python", "function__return"), ("python", "import__find__load__start"), ("python", "import__find__load__done")]}


def make_work(folder):
    texts = {"work.sql": SQL, "work.py": PYTHON,
             "text": "".join(f"{i * 7919 % 10007} line {i % 13} {'x' * (i % 50)}\n" for i in range(2000))}
    for name, text in texts.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as f:
            f.write(text)
    subprocess.run(["gzip", "-nk", f"{folder}/text"], check=True)


def make_copy(folder, name):
    """The work, the program and its libraries."""
    os.makedirs(folder)
    make_work(folder)
    _, program, functions = PROGRAMS[name]
    for path in [program, *filter(None, functions)]:
        c.copy(os.path.realpath(path), os.path.join(folder, os.path.basename(path)))


def run(folder, name, env, start=()):
    command = PROGRAMS[name][0]
    if os.path.exists(f"{folder}/db"):
        os.unlink(f"{folder}/db")
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
           "LD_LIBRARY_PATH": folder, **env}
    done = subprocess.run([*start, *command], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=100, check=False)
    return done.returncode, done.stdout, done.stderr


def kind_of(where, turn, number, names):
    """By turns; without a turn an entry, as in the middle of a function. None: not to be counted."""
    if turn == "override":
        if where in OVERRIDDEN and (where != "pthread_mutex_lock" or "pthread_mutex_unlock" in names):
            return turn
        # What is never free moves other memory when it grows; and the middle of such a function is not come to.
        return None if where.startswith(("memcpy", "free+")) else "entry"
    kind = "entry" if turn is None else KINDS[(number + turn) % len(KINDS)]
    return kind if "+" not in where or kind == "twice" else "entry"


def probes_of(folder, name, turn=None):
    """On every function of the program."""
    _, program, functions = PROGRAMS[name]
    found = []
    for path, names in functions.items():
        path = os.path.join(folder, os.path.basename(path or program))
        for where in names:
            if probing.offset(path, where) is None:
                continue
            kind = kind_of(where, turn, len(found), names)
            if kind:
                found.append((kind, path, where))
    path = os.path.join(folder, os.path.basename(program))
    found += [("usdt", path, f"{p}:{n}") for p, n in USDT.get(name, []) if probing.usdt_there(path, f"{p}:{n}")]
    return found


def kernel_counts(folder, name, env):
    """Of each function and USDT probe, by name, in a run of the kernel's; None where that is not allowed."""
    probes = probes_of(folder, name)
    counter = Counter(os.environ, probes, kernel=True)
    if not counter.ready:
        raise RuntimeError("\n".join(counter.said))
    got = run(folder, name, env)
    counted = counter.counts()
    counter.close()
    return got, {where: counts[0] for (_, _, where), counts in zip(probes, counted)}


def check_turn(base, name, turn, plain, want):
    env = c.environment(c.folder(place="/dev/shm"), lang="en")
    probes = probes_of(base, name, turn)
    if turn == "override" and all(kind != turn for kind, _, _ in probes):
        return
    counter = Counter(env, probes)
    if not c.ok(f"{name}_{turn}_loads", counter.ready, "\n".join(counter.said)):
        return
    got = run(base, name, {"LIMPET_DIR": env["LIMPET_DIR"]}, [c.LIMPET, "start", "--"])
    counted = counter.counts()
    counter.close()
    c.ok(f"{name}_{turn}_same_output", got == plain, f"{got[0]} {got[2][-500:]!r}, not {plain[0]} {plain[2][-500:]!r}")
    if not want:
        c.ok(f"{name}_{turn}_counts", any(any(n) for n in counted), counted)
        return
    wrong = [f"{kind} {where}: {n}, not {probing.of_kind(kind, want[where])}" for (kind, _, where), n in zip(probes, counted)
             if n != probing.of_kind(kind, want[where])]
    c.ok(f"{name}_{turn}_exact_counts", not wrong and sum(want.values()) > 5, "\n".join(wrong + counter.limpet_said))


def stand_ins():
    """As many variables as `limpet start` adds, of the same lengths: programs copy their environment."""
    env = {"LIMPET_DIR": c.folder(place="/dev/shm")}
    out = subprocess.check_output([c.LIMPET, "start", "--", "/usr/bin/env"], env=env, text=True)
    added = [line for line in out.splitlines() if not line.startswith("LIMPET_DIR=")]
    return {"X" + name[1:]: "x" * len(value) for name, value in (line.split("=", 1) for line in added)}


def check(name):
    _, program, functions = PROGRAMS[name]
    if any(not os.path.exists(p) for p in [program, *filter(None, functions)]):
        print(f"skip {name}: {program} or a library of it is not installed")
        return
    folder = c.folder()
    mine, theirs = f"{folder}/limpet", f"{folder}/kernel"  # names of one length: the same environment
    make_copy(mine, name)
    make_copy(theirs, name)
    plain = run(mine, name, {"LIMPET_DIR": "/nowhere"})
    want = None
    if kernel[0]:
        got, want = kernel_counts(theirs, name, {"LIMPET_DIR": "/nowhere", **stand_ins()})
        c.ok(f"{name}_under_the_kernel", got == plain, (got, plain))
    else:
        print(f"skip {name}_exact_counts: the kernel's uprobes are not allowed")
    for turn in [*range(len(KINDS) if os.environ.get("LIMPET_LONG") else 2), "override"]:
        check_turn(mine, name, turn, plain, want)
    shutil.rmtree(folder, ignore_errors=True)


def batch():
    """Three side by side: much of it is waiting for the kernel's probes to go."""
    def some(first):
        for name in names[first::3]:
            check(name)

    c.together(*[lambda i=i: some(i) for i in range(3)])


if __name__ == "__main__":
    kernel = [probing.kernel_allowed(c.folder())]
    names = sys.argv[2:] or list(PROGRAMS)
    sys.argv = sys.argv[:2]
    sys.exit(c.main(batch, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so", "tests/programs/count.bpf.o")))
