#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The examples of docs/verifier.md, tried as a reader would: with the lines that have `-` each is refused, with just the
output that stands below it (`...`: lines left out); with those that have `+` it is accepted.

usage: docs.py BUILD_DIR
"""
import os
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
from common import LIMPET, SOURCE, environment, folder, main, ok  # noqa: E402

WORK = folder("limpet-verifier-docs-")
ENV = environment(os.path.join(WORK, "sessions"), "en")


def page():
    """The file to begin with, the two commands, and (title, diff, output) of each example."""
    with open(os.path.join(SOURCE, "docs/verifier.md"), encoding="utf-8") as f:
        text = f.read()
    text = text[text.index("## Reading a rejection"):]
    begin = re.search(r"```c\n(.*?)```", text, re.S)
    commands = re.search(r"verify it:\n\n((?:    .*\n)+)", text)[1].split("\n")
    examples = re.findall(r"^\*\*(.*?)\*\*.*?```diff\n(.*?)```\n\n((?:    [^\n]*\n)+)", text, re.S | re.M)
    return begin[1], [c.strip() for c in commands if c], examples


def lines_without(diff, sign):
    """A line of the context may have lost its blank, where nothing follows."""
    return "".join(line[1:] + "\n" for line in diff.splitlines() if not line.startswith(sign))


def try_it(source, commands):
    with open(os.path.join(WORK, "try.bpf.c"), "w", encoding="utf-8") as f:
        f.write(source)
    compiled, verify = commands
    subprocess.run(compiled + " -w", shell=True, cwd=WORK, check=True)
    words = shlex.split(verify)
    assert words[0] == "limpet"
    done = subprocess.run([LIMPET, *words[1:]], cwd=WORK, env=ENV, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def shown(output, wanted):
    """Its pieces are there, each in consecutive lines, one behind the other."""
    at = 0
    for piece in re.sub(r"^    ", "", wanted, flags=re.M).split("...\n"):
        found = ("\n" + output).find("\n" + piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def examples():
    begin, commands, all_of_them = page()
    ok("the page has examples", len(commands) == 2 and len(all_of_them) >= 10, (commands, len(all_of_them)))
    for title, diff, output in all_of_them:
        status, out = try_it(begin + lines_without(diff, "+"), commands)
        ok(f"{title} It is refused as shown", status == 1 and shown(out, output), out)
        status, out = try_it(begin + lines_without(diff, "-"), commands)
        ok(f"{title} Instead, it is accepted", status == 0 and re.fullmatch(r"\w+: accepted\n", out), out)


if __name__ == "__main__":
    sys.exit(main(examples))
