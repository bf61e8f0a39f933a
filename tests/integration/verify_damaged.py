#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""limpet prog verify on files that are no objects, on objects that are cut off, and on damaged ones: it says so, ends, and
crashes on none. LIMPET_LONG=1: thousands.

usage: verify_damaged.py BUILD_DIR [PART...]; DAMAGED="CASES FIRST-SEED" in the environment
"""
import json
import os
import random
import subprocess
import sys

from common import DEMO, LIMPET, environment, folder, main, ok

WORK = folder("limpet-damaged-")
ENV = environment(os.path.join(WORK, "sessions"), "en")
CASES, FIRST = map(int, os.environ.get("DAMAGED", "3000 1" if os.environ.get("LIMPET_LONG") else "24 1").split())
OBJECT = os.path.join(DEMO, "uprobe_queue.bpf.o")


def verify(*args):
    done = subprocess.run([LIMPET, "prog", "verify", *args], env=ENV, stdin=subprocess.DEVNULL, timeout=60,
                          capture_output=True, check=False)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def written(name, content):
    path = os.path.join(WORK, name)
    with open(path, "wb") as f:
        f.write(content)
    return path


def no_objects():
    os.mkfifo(os.path.join(WORK, "fifo"))
    for name, path, say in [("a pipe", os.path.join(WORK, "fifo"), "is not a regular file"),
                            ("a folder", WORK, "is not a regular file"),
                            ("an empty file", written("empty", b""), "no whole ELF object"),
                            ("text", written("text", b"int main;\n" * 40), "no whole ELF object"),
                            ("a program", "/bin/true", "no whole ELF object"),
                            ("a cut object", written("cut", read(OBJECT)[:700]), "no whole ELF object")]:
        status, out, err = verify(path)
        ok(f"{name} is refused", status == 1 and not out and say in err and err.count("\n") == 1, (status, out, err))


def read(path):
    with open(path, "rb") as f:
        return f.read()


def sections():
    """A section that names no program type: the reason is libbpf's."""
    whole = read(OBJECT)
    path = written("section.o", read(OBJECT).replace(b"uprobe\0", b"uprobX\0"))
    status, out, err = verify(path)
    ok("a section without a program type is named", status == 1 and "check ELF section name 'uprobX" in out, (status, out, err))
    status, out, err = verify("--json", path)
    rows = json.loads(out or "[]")
    ok("in JSON, too", status == 1 and any("uprobX" in r["log"] for r in rows), (status, out, err))


def damaged(seed):
    """Bits of the ELF header, the section headers or anything else; or cut off; or words as large as can be."""
    r, data = random.Random(seed), bytearray(read(OBJECT))
    table = int.from_bytes(data[0x28:0x30], "little")
    for _ in range(r.choice([1, 1, 2, 8])):
        at = r.choice([r.randrange(64), r.randrange(table, len(data)), r.randrange(len(data))])
        if r.random() < 0.3:
            data[at & ~7:(at & ~7) + 8] = r.choice([b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f" + b"\0" * 4, bytes(4) + b"\x01\0\0\0"])
        else:
            data[at] ^= 1 << r.randrange(8)
    return bytes(data[:r.randrange(len(data))] if r.random() < 0.1 else data)


def hostile():
    bad, accepted = [], 0
    for seed in range(FIRST, FIRST + CASES):
        path = written("damaged.o", damaged(seed))
        try:
            status, out, err = verify(*(["--json"] if seed % 2 else []), path)
        except subprocess.TimeoutExpired:
            status, out, err = "no end", "", ""
        accepted += status == 0
        said = bool(out or err)
        if status not in (0, 1) or not said or (seed % 2 and out and json.loads(out) is None):
            bad.append((seed, status, err[-200:]))
    print(f"# {CASES} damaged objects, {accepted} accepted")
    ok("damaged objects are refused or accepted, and nothing else", not bad, bad[:5])


def says_so_and_ends():
    no_objects()
    sections()
    hostile()
    ok("no session is left behind", not [n for n in os.listdir(os.path.join(WORK, "sessions")) if n.startswith("verify-")])


if __name__ == "__main__":
    sys.exit(main(says_so_and_ends))
