#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bpftool on a limpet session and on the kernel: the same commands, the same output.

Each side pins what it makes under /sys/fs/bpf (the kernel's in a mount namespace of its own). Ids,
sizes in memory, translated sizes and times are blanked before comparing; the kernel side is skipped
where it may not be used, and then only limpet's exit statuses are held against what is expected.

usage: tool_bpftool.py BUILD_DIR
"""
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
OBJECT = os.path.join(BUILD, "examples/queue_demo/uprobe_queue.bpf.o")
PIN = "/sys/fs/bpf/limpet_test_"
KEY1, VALUE = "key 1 0 0 0", "value 1 2 3 4 5 6 7 8"

# (expected failure, arguments; PIN is put before names that begin with @)
COMMANDS = [
    (0, "map create @arr type array key 4 value 8 entries 4 name lt_arr"),
    (1, "map create @arr type array key 4 value 8 entries 4 name lt_arr"),
    (1, "map create @bad type array key 3 value 8 entries 4 name lt_bad"),
    (1, "map create @bad type array key 4 value 8 entries 4 name lt_bad flags 0x80000000"),
    (1, "map create @no.dots type array key 4 value 8 entries 4 name lt_bad"),
    (0, f"map update pinned @arr {KEY1} {VALUE}"),
    (0, f"map lookup pinned @arr {KEY1}"),
    (1, "map lookup pinned @arr key 9 0 0 0"),
    (1, f"map update pinned @arr {KEY1} {VALUE} noexist"),
    (0, "map getnext pinned @arr"),
    (0, f"map getnext pinned @arr {KEY1}"),
    (1, "map getnext pinned @arr key 3 0 0 0"),
    (0, "map dump pinned @arr"),
    (0, "-j map dump pinned @arr"),
    (0, "-p map dump pinned @arr"),
    (1, f"map delete pinned @arr {KEY1}"),
    (0, "map show pinned @arr"),
    (0, "-j map show pinned @arr"),
    (0, "map freeze pinned @arr"),
    (1, "map freeze pinned @arr"),
    (1, f"map update pinned @arr {KEY1} {VALUE}"),
    (0, "map show pinned @arr"),
    (0, "map create @q type queue key 0 value 4 entries 2 name lt_q"),
    (0, "map enqueue pinned @q value 1 0 0 0"),
    (0, "map enqueue pinned @q value 2 0 0 0"),
    (1, "map enqueue pinned @q value 3 0 0 0"),
    (0, "map peek pinned @q"),
    (0, "map dequeue pinned @q"),
    (0, "-j map dequeue pinned @q"),
    (1, "map dequeue pinned @q"),
    (0, "map create @s type stack key 0 value 4 entries 2 name lt_s"),
    (0, "map push pinned @s value 1 0 0 0"),
    (0, "map push pinned @s value 2 0 0 0"),
    (0, "map pop pinned @s"),
    (0, "map peek pinned @s"),
    (0, "map create @h type hash key 4 value 8 entries 3 name lt_h"),
    (0, f"map update pinned @h {KEY1} {VALUE}"),
    (0, "map dump pinned @h"),
    (0, f"map delete pinned @h {KEY1}"),
    (1, f"map delete pinned @h {KEY1}"),
    (0, "map dump pinned @h"),
    (0, f"prog loadall {OBJECT} @progs"),
    (1, f"prog loadall {OBJECT} @progs"),
    (0, "prog show pinned @progs/target_function_entry"),
    (0, "-j prog show pinned @progs/target_function_entry"),
    (0, "prog show name secondary_function_entry"),
    (1, "prog run pinned @progs/target_function_entry"),
    (1, "prog show pinned @none"),
    (1, "prog pin id 2147483000 @none"),
    (1, "map show id 2147483000"),
    (1, "btf show id 2147483000"),
]
BLANK = [(r"\b\d+: (?=array|queue|stack|hash|kprobe)", "N: "), (r'"id":\d+', '"id":0'),
         (r"memlock \d+B", "memlock"), (r'"bytes_memlock":\d+', '"bytes_memlock":0'),
         (r"xlated \d+B  (not jited|jited \d+B)", "xlated"), (r'"bytes_xlated":\d+', '"bytes_xlated":0'),
         (r'"jited":(true|false)(,"bytes_jited":\d+)?', '"jited":0'), (r"loaded_at \S+", "loaded_at"),
         (r'"loaded_at":\d+', '"loaded_at":0'), (r"map_ids [\d,]+", "map_ids"),
         (r'"map_ids":\[[\d,]*\]', '"map_ids":[]'), (r"btf_id \d+", "btf_id"), (r'"btf_id":\d+', '"btf_id":0')]


def bpftool():
    return shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def blank(text):
    for pattern, to in BLANK:
        text = re.sub(pattern, to, text)
    return text


def run(prefix, env, command):
    argv = prefix + [bpftool()] + [w.replace("@", PIN, 1) if w.startswith("@") else w for w in command.split()]
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    return done.returncode, blank(done.stdout.decode(errors="replace"))


def own_bpffs():
    """bpffs where only this process and its children see it; false where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    return (os.geteuid() == 0 and not libc.unshare(0x20000) and
            not libc.mount(None, b"/", None, 0x44000, None) and
            not libc.mount(b"bpf", b"/sys/fs/bpf", b"bpf", 0, None) and
            not run([], dict(os.environ), "map create @try type array key 4 value 8 entries 4 name lt")[0])


def main():
    if not bpftool() or not os.path.exists(OBJECT):
        print("skip bpftool: it, or the demo's object, is not there")
        return 0
    folder = tempfile.mkdtemp(prefix="limpet-test-", dir="/dev/shm")
    env = dict(os.environ, LIMPET_DIR=folder, LIMPET_LANG="en")
    env.pop("LIMPET_SESSION_DIR", None)
    failures, kernel = 0, own_bpffs()
    try:
        for fails, command in COMMANDS:
            ours = run([LIMPET, "load", "--"], env, command)
            want = run([], env, command) if kernel else ours
            good = ours == want and bool(ours[0]) == bool(fails)
            print(("ok " if good else "not ok ") + "bpftool " + command.replace(OBJECT, "OBJECT"))
            if not good:
                failures += 1
                print(f"# limpet {ours}\n# kernel {want}, expected failure {fails}")
        gc = subprocess.run([LIMPET, "gc", "--all"], env=env, stdout=subprocess.PIPE, check=False)
        left = [f for f in os.listdir(os.path.join(folder, "default")) if re.match(r"(bpf-|btf\.|perf-)", f)]
        print(("ok " if not gc.returncode and not left else "not ok ") + "limpet gc --all removes all pins")
        failures += bool(gc.returncode or left)
        if not kernel:
            print("skip bpftool against the kernel: no bpffs of its own, or no bpf(2), here")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
