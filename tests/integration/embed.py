#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""examples/embed as built here, and by hand with pkg-config against an installed limpet.

usage: embed.py EMBED OBJECT BUILD_ROOT SOURCE_FOLDER
"""
import os
import shutil
import subprocess
import sys
import tempfile

WANT = "port 80: counted\nport 443: counted\nport 80: counted\nport 22: blocked\nport 80 had 140 bytes\n"
failed = 0


def check(name, ok, why=""):
    global failed
    failed += not ok
    print(f"ok {name}" if ok else f"not ok {name}: {why}")


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def flags(root, *options):
    """What pkg-config says, for files below `root`."""
    pc = [d for d, _, files in os.walk(root) if "limpet.pc" in files][0]
    env = dict(os.environ, PKG_CONFIG_PATH=pc, PKG_CONFIG_SYSROOT_DIR=root)
    done = run(["pkg-config", *options, "limpet"], env=env)
    # The system's own libraries do not lie below the root.
    return [f for f in done.stdout.split() if f != f"-L{root}/usr/lib"]


def by_hand(root, source, obj, scratch):
    libdir = os.path.dirname([os.path.join(d, f) for d, _, fs in os.walk(root) for f in fs if f == "liblimpet.a"][0])
    cc = ["gcc", "-Wall", "-Wextra", "-Wno-unused-parameter", "-O2", os.path.join(source, "embed.c")]
    shared, static = os.path.join(scratch, "shared"), os.path.join(scratch, "static")
    done = run(cc + flags(root, "--cflags", "--libs") + ["-o", shared])
    check("embed by hand, shared: builds", done.returncode == 0, done.stderr)
    done = run([shared, obj], env=dict(os.environ, LD_LIBRARY_PATH=libdir))
    check("embed by hand, shared: runs", done.stdout == WANT, done.stdout + done.stderr)
    libs = [f if f != "-llimpet" else "-l:liblimpet.a" for f in flags(root, "--cflags", "--static", "--libs")]
    done = run(cc + libs + ["-o", static])
    check("embed by hand, static: builds", done.returncode == 0, done.stderr)
    done = run([static, obj])
    check("embed by hand, static: runs", done.stdout == WANT, done.stdout + done.stderr)
    done = run(["g++", "-x", "c++", "-fsyntax-only", "-Wall", *flags(root, "--cflags"), "-"],
               input="#include <limpet/vm.h>\nint main() { return limpet_vm_create(nullptr, nullptr); }\n")
    check("the header is C++ too", done.returncode == 0, done.stderr) if shutil.which("g++") else \
        print("skip the header is C++ too: no g++")


def main():
    embed, obj, build, source = (os.path.abspath(a) for a in sys.argv[1:])
    done = run([embed, obj])
    check("embed", done.stdout == WANT and done.returncode == 0, done.stdout + done.stderr)
    done = run([embed, "/no/such/object"])
    check("embed without its object", done.returncode == 1 and "No such file" in done.stderr, done.stderr)
    scratch = tempfile.mkdtemp(prefix="limpet-embed-")
    try:
        root = os.path.join(scratch, "root")
        done = run(["meson", "install", "--no-rebuild", "-C", build, "--destdir", root])
        check("meson install", done.returncode == 0, done.stderr[-2000:])
        if done.returncode == 0:
            by_hand(root, source, obj, scratch)
    finally:
        shutil.rmtree(scratch)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
