#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the documents say, done literally: each item of README.zh-CN.md's troubleshooting provoked, its message
found there; the third function added by the patch as printed; the files and tests of docs/seed-map.md and
the commands of both READMEs looked up. And the monitor's options.

usage: demo_docs.py BUILD_DIR [PART...]
"""
import json
import os
import re
import shutil
import subprocess
import sys
import time
from common import BUILD, DEMO, LIMPET, NOBODY, SOURCE, compile_c, copy, deny_kernel_bpf, environment, folder, main, ok, \
    output, run, spawn, stop, together, wait_for

WORK = folder(place="/dev/shm")
MONITOR = os.path.join(DEMO, "uprobe_queue")
TARGET = os.path.join(DEMO, "target")
BUILT = "/usr/local/bin:/usr/bin:/bin"


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as f:
        return f.read()


README = read("README.zh-CN.md")


def env(name, **more):
    return environment(os.path.join(WORK, name), **more)


def shape(text):
    """A message without what differs from run to run."""
    text = re.sub(r"进程 \d+", "进程 N", re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "T", text))
    return re.sub(r"(PID|TID|pid|附加到|计数器|用户|输入值)([: ：]?)\d+", r"\1\2N", text)


def documented(name, text, *starts):
    """Each line of the output that begins so stands in README.zh-CN.md."""
    known = [shape(line.strip()) for line in README.splitlines()]
    for start in starts:
        lines = [line for line in text.splitlines() if start in line]
        ok(f"{name}: {start}", lines and all(shape(line[line.index(start):].strip()) in known for line in lines), text)


def privileges():
    user = NOBODY if os.geteuid() == 0 else None
    got, text = run([MONITOR], env("priv"), deny=True)
    ok("1: without limpet and privileges the monitor fails", got == 1, text)
    documented("1: privileges", text, "uprobe_queue: 无法加载eBPF程序")
    limpet = os.path.join(WORK, "limpet")
    copy(LIMPET, limpet)
    got, text = run([limpet, "attach", 1], env("priv"), user=user)
    ok("1: another user's process is refused", got == 1 or user is None, text)
    if user is not None or "属于" in text:
        documented("1: privileges", text, "limpet: 无法附加到")


def installation():
    tree = os.path.join(WORK, "alone")
    shutil.copytree(os.path.join(SOURCE, "examples/queue_demo"), tree)
    for program in ("target", "uprobe_queue"):
        copy(os.path.join(DEMO, program), tree)
    alone = env("alone", PATH="/usr/bin:/bin")
    got, text = run(["make", "-s", "-t"], alone, cwd=tree)  # as if built
    got, text = run([tree + "/run_demo.sh"], alone)
    ok("2: without limpet the script fails", got == 1, text)
    documented("2: installation", text, "run_demo.sh: 找不到 limpet")
    for missing in ("CLANG=no-such-clang", "LIBBPF=", "BPFTOOL="):
        for made in ("uprobe_queue.bpf.o", "uprobe_queue.skel.h", "uprobe_queue"):
            if os.path.exists(os.path.join(tree, made)):
                os.remove(os.path.join(tree, made))
        got, text = run(["make", "uprobe_queue", missing], alone, cwd=tree)
        ok(f"3: make without it fails: {missing}", got != 0, text)
        documented("3: building", text.replace(".  Stop.", ""), missing.split("=")[0].lower() + " not found")
    got, text = run([os.path.join(SOURCE, "tools/setup.sh"), "--check"], env("setup", PATH=os.path.join(WORK, "nothing") + ":/usr/bin:/bin"))
    ok("3: setup.sh --check lists, or finds nothing missing", (got, text) == (0, "") or (got == 1 and "missing packages" in text), text)


def full_queue():
    def one(*options):
        where = env("full" + "".join(options))
        tool = spawn([LIMPET, "load", MONITOR, "--interval", "60000", *options], where)
        wait_for(lambda: "Ctrl" in output(tool))
        run([LIMPET, "start", TARGET, "-n", "100", "-i", "0", "-q"], where)
        stop(tool)
        return output(tool)

    for text in together(one, lambda: one("--overwrite")):
        documented("4: full queue", text, "队列已满")


def addresses():
    got, text = run([LIMPET, "load", MONITOR, "--binary", "/bin/true"], env("address"))
    ok("5: no such function", got == 1, text)
    documented("5: addresses", text, "uprobe_queue: ")
    got, text = run([LIMPET, "load", MONITOR, "--binary", os.path.join(SOURCE, "README.md")], env("address"))
    ok("5: no program at all", got == 1 and "target_function (" in text and "Unknown error" not in text
       and text.count("\n") == 1, text)
    code = """#include <unistd.h>
    __attribute__((noinline, used)) int target_function(int a, const char *m) { __asm__ volatile("nopl 0x100(%rax)"); return a; }
    __attribute__((noinline, used)) void secondary_function(void) { __asm__ volatile("nopl 0x100(%rax)"); }
    int main(void) { for (;;) usleep(20000); }"""
    path = compile_c(code, os.path.join(WORK, "inlined"))
    tool = spawn([LIMPET, "load", MONITOR, "--binary", path], env("address"))
    wait_for(lambda: "Ctrl" in output(tool))
    target = spawn([LIMPET, "start", path], env("address"))
    wait_for(lambda: "5 秒内" in output(tool), 25)
    documented("5: addresses", output(tool), "limpet: target_function, secondary_function")
    stop(target)
    stop(tool)


def third_function():
    tree = os.path.join(WORK, "third")
    shutil.copytree(os.path.join(SOURCE, "examples/queue_demo"), tree)
    patch = re.search(r"^```diff\n(.*?)^```$", README, re.M | re.S).group(1)
    with open(os.path.join(tree, "third.patch"), "w", encoding="utf-8") as f:
        f.write(patch)
    got, text = run(["sh", "-c", "patch -p1 < third.patch && make"], env("third", PATH=BUILT), cwd=tree, seconds=90)
    if not ok("the patch applies and builds", got == 0, text):
        return
    tool = spawn([LIMPET, "load", "./uprobe_queue"], env("third"), cwd=tree)
    wait_for(lambda: "Ctrl" in output(tool))
    got, text = run([LIMPET, "start", "./target", "-n", "6", "-i", "1"], env("third"), cwd=tree)
    ok("the target calls it", text.count("third_function called") == 2, text)
    wait_for(lambda: output(tool).count("third_function()") == 2)
    stop(tool)
    documented("third function", "\n".join(re.findall(r"^\[.*third_function\(\).*$", output(tool), re.M)[:1]), "[")
    counters = [int(n) for n in re.findall(r"计数器:(\d+) 进程", output(tool))]
    ok("every call is numbered and shown", counters == list(range(1, 10)), output(tool))


def references():
    """docs/seed-map.md names files, tests and their cases that exist; READMEs name commands and options that exist."""
    text = read("docs/seed-map.md")
    names = re.findall(r"`((?:src|examples|tests|tools|docs|bench)/[\w./-]+)`", text) + re.findall(r"\]\(\.\./([\w./-]+)\)", text)
    missing = sorted({n for n in names if not os.path.exists(os.path.join(SOURCE, n))})
    ok("docs/seed-map.md: its files exist", len(names) > 20 and not missing, missing)
    for name in ("README.md", "README.zh-CN.md"):
        text = read(name)
        commands = set(re.findall(r"^    limpet (\w+)", text, re.M))
        unknown = [c for c in commands if run([LIMPET, "help", c], env("help"))[0]]
        ok(f"{name}: its commands exist", len(commands) > 5 and not unknown, unknown)
        links = [p for p in re.findall(r"\]\(([\w./-]+)(?:#[^)]*)?\)", text) if not os.path.exists(os.path.join(SOURCE, p))]
        ok(f"{name}: its links lead somewhere", not links, links)
    for name in sorted(set(re.findall(r"demo_\w+\.py|cli_\w+\.py|fresh_root\.py", README + read("docs/seed-map.md") + read("README.md")))):
        ok(f"{name} exists", os.path.exists(os.path.join(SOURCE, "tests/integration", name)))


def options():
    """-p, --binary from another folder, wall-clock times, lines through a pipe as they come, wrong options."""
    where = env("options")
    targets = [spawn([LIMPET, "start", TARGET, "-i", "50"], where) for _ in range(2)]
    pids = [int(re.search(r"PID=(\d+)", output(t)).group(1)) for t in targets if wait_for(lambda p=t: "PID=" in output(p))]
    tool = subprocess.Popen([LIMPET, "load", MONITOR, "-p", str(pids[1]), "--json", "--binary", "target"], env=where, cwd=DEMO,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=deny_kernel_bpf)
    try:
        tool.stdout.readline()
        events = [json.loads(tool.stdout.readline()) for _ in range(10)]
    finally:
        stop(tool)
    ok("-p: only that process", {e["pid"] for e in events} == {pids[1]}, events)
    ok("times are wall-clock times", all(abs(e["time_ns"] / 1e9 - time.time()) < 60 for e in events)
       and [e["time_ns"] for e in events] == sorted(e["time_ns"] for e in events), events)
    for t in targets:
        stop(t)
    for args, word in (("-p 0", "--pid"), ("-p x", "'x'"), ("-p 4194303", "4194303"), ("-p", "'-p'"), ("--binary /nope", "/nope"),
                       ("--interval 0", "--interval"), ("--lang fr", "'fr'"), ("more", "'more'"), ("--frob", "'--frob'")):
        for lang in ("zh", "en"):
            got, text = run([LIMPET, "load", MONITOR, *args.split()], env("wrong", lang=lang))
            ok(f"monitor {args}, in {lang}", got in (1, 2) and text.count("\n") == 1 and word in text and text.isascii() == (lang == "en"), text)


if __name__ == "__main__":
    sys.exit(main(privileges, installation, full_queue, addresses, third_function, references, options))
