#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A fresh Debian 12: debootstrap, the sources, tools/setup.sh, and then, as an unprivileged user and as
root, the demo by its script and by each of the seed's ways with `bpftime`. bpf(2) and perf_event_open(2)
answer EPERM, /dev/shm has 64 MiB, /sys is not there. Long: it downloads a system; LIMPET_LONG=1 runs it.

usage: fresh_root.py BUILD_DIR
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from common import SOURCE, deny_kernel_bpf, ok

HOME = "/home/demo"
TREE = HOME + "/limpet"
WAYS = {
    "way 2": """cd {tree}/examples/queue_demo && make -s
bpftime load ./uprobe_queue
bpftime start ./target > target.out &
sleep 2
timeout -s INT 9 bpftime attach $(pgrep target) ./uprobe_queue
kill -INT $(pgrep uprobe_queue); sleep 1; kill $(pgrep target); wait""",
    "way 3": """cd {tree}/examples/queue_demo
make
bpftime load ./uprobe_queue
bpftime start ./target > target.out &
timeout -s INT 9 bpftime attach $(pgrep target) ./uprobe_queue
kill -INT $(pgrep uprobe_queue); sleep 1; kill $(pgrep target); wait""",
}
EVENT = re.compile(r"^\[\d\d:\d\d:\d\d\.\d{3}\] (target|secondary)_function\(\) 被调用 - PID:\d+ TID:\d+"
                   r"(?: 输入值:(\d+))? 计数器:(\d+) 进程:target$", re.M)


def mirror():
    """The first archive that this machine's apt uses."""
    for name in ["/etc/apt/sources.list"] + [f"/etc/apt/sources.list.d/{f}" for f in
                                             sorted(os.listdir("/etc/apt/sources.list.d"))]:
        if name.endswith((".list", ".sources")) and os.path.exists(name):
            with open(name, encoding="utf-8") as f:
                found = re.search(r"^\s*(?:URIs:|deb(?: \[.*?\])?)\s*(https?://\S+/debian/?)\s", f.read(), re.M)
            if found:
                return found.group(1)
    return "http://deb.debian.org/debian"


def inside(root, user, command, deny=True, seconds=600):
    home = HOME if user == "demo" else "/root"
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "USER": user}
    began = time.time()
    done = subprocess.run(["chroot", f"--userspec={user}:{user}", root, "bash", "-c", command], env=env, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=seconds, preexec_fn=deny_kernel_bpf if deny else None)
    print(f"# {user}: {command.splitlines()[-1][:70]}: {time.time() - began:.0f} s", flush=True)
    return done.returncode, done.stdout.decode(errors="replace")


def expected(found, first):
    """Every call from number `first` on, in order: inputs count up, every fifth is followed by a secondary."""
    want, number, value = [], 0, 0
    while len(want) < len(found):
        value += 1
        number += 1
        calls = [("target", str(value), str(number))]
        if value % 5 == 0:
            number += 1
            calls.append(("secondary", "", str(number)))
        want += [c for c in calls if int(c[2]) >= first]
    return found == want[:len(found)]


def demo(root, user, tree):
    got, text = inside(root, user, f"cd {tree} && ./run_demo.sh --seconds 12")
    events = EVENT.findall(text)
    ok(f"{user}: ./run_demo.sh --seconds 12 shows the expected output", got == 0 and len(events) >= 12
       and expected(events, 1) and re.search(r"^队列Map FD: \d+\n开始监控队列事件\.\.\.\n按 Ctrl\+C 停止\n\n", text, re.M)
       and "secondary" in [e[0] for e in events], text)
    for name, way in WAYS.items():
        got, text = inside(root, user, way.format(tree=tree), seconds=60)
        events = EVENT.findall(text)
        ok(f"{user}: {name}", len(events) >= 5 and expected(events, int(events[0][2])), text)
    got, text = inside(root, user, "sleep 3; bpftime list; ps -eo stat=,comm= | grep -v ^Z |"
                       " grep -e uprobe_queue -e bpftime -e limpet -e target")
    ok(f"{user}: nothing is left", text == "", text)


def prepare(root):
    os.chmod(root, 0o755)
    for source in ("apt/sources.list", "apt/sources.list.d/debian.sources"):
        if os.path.exists("/etc/" + source):
            shutil.copy("/etc/" + source, os.path.join(root, "etc", source))
    for kind, place, options in (("proc", "proc", ""), ("tmpfs", "dev", "mode=755"), ("tmpfs", "dev/shm", "size=64m,mode=1777"),
                                 ("devpts", "dev/pts", "newinstance,ptmxmode=0666")):
        os.makedirs(os.path.join(root, place), exist_ok=True)
        subprocess.run(["mount", "-t", kind, "-o", options or "defaults", kind, os.path.join(root, place)], check=True)
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        os.mknod(os.path.join(root, "dev", name), 0o020666, os.makedev(1, minor))
        os.chmod(os.path.join(root, "dev", name), 0o666)
    for name, to in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")):
        os.symlink(to, os.path.join(root, "dev", name))
    subprocess.run(["chroot", root, "useradd", "-m", "-s", "/bin/bash", "demo"], check=True)
    for tree in (TREE, "/root/limpet"):
        shutil.copytree(SOURCE, root + tree, symlinks=True, ignore=shutil.ignore_patterns(".git", "build*", "__pycache__"))
    subprocess.run(["chroot", root, "chown", "-R", "demo:demo", TREE], check=True)


def all_inside(root):
    prepare(root)
    got, text = inside(root, "demo", f"cd {TREE} && tools/setup.sh", deny=False)
    ok("setup.sh without root and sudo says what is missing", got == 1 and "apt-get install" in text, text)
    got, text = inside(root, "root", f"cd {TREE} && tools/setup.sh", deny=False, seconds=1500)
    if not ok("setup.sh as root", got == 0, text):
        return 1
    got, text = inside(root, "demo", f"cd {TREE} && tools/setup.sh")
    ok("setup.sh again does nothing", (got, text) == (0, ""), text)
    # The script builds; only then is there something to install for the other ways.
    got, text = inside(root, "demo", f"cd {TREE} && ./run_demo.sh --seconds 1")
    ok("the first ./run_demo.sh builds and runs", got == 0 and "总计" in text, text)
    got, text = inside(root, "root", f"BUILD={TREE}/build {TREE}/tools/install.sh")
    ok("install.sh", got == 0 and os.readlink(root + "/usr/local/bin/bpftime") == "limpet", text)
    demo(root, "demo", TREE)
    demo(root, "root", "/root/limpet")
    return 0


def skip_reason():
    if not os.environ.get("LIMPET_LONG"):
        return "long; LIMPET_LONG=1 runs it"
    if os.geteuid():
        return "needs root"
    if not shutil.which("debootstrap"):
        return "no debootstrap here"
    return None


def outside():
    why = skip_reason()
    if why:
        print(f"skip fresh root: {why}")
        return 0
    root = tempfile.mkdtemp(prefix="limpet-root-", dir="/var/tmp")
    began = time.time()
    try:
        done = subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root, mirror()], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            print("skip fresh root: debootstrap failed: " + done.stdout.decode(errors="replace").splitlines()[-1])
            return 0
        print(f"# debootstrap: {time.time() - began:.0f} s", flush=True)
        # Mounts and processes go with these namespaces, however this ends.
        return subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, *sys.argv[:2],
                               "inside", root], check=False).returncode
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    from common import failures
    if len(sys.argv) > 3 and sys.argv[2] == "inside":
        sys.exit(all_inside(sys.argv[3]) or bool(failures))
    sys.exit(outside())
