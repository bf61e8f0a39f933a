# SPDX-License-Identifier: MIT
"""The two worlds that a tool is compared in: limpet's and the kernel's. Each knows how a tool and a program to observe
are started there, and when the tools have attached.

The kernel's world is a mount namespace in which the system's libraries are private copies and tracefs is mounted
under both of its names. So a uprobe on libc there reaches nobody else's processes, and the tools' command lines need no change.
"""
import difflib
import glob
import os
import re
import signal
import subprocess
import time

import common
from common import LIMPET

LIBRARIES = ("/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libssl.so.3", "/lib/x86_64-linux-gnu/libcrypto.so.3", "/bin/bash", "/usr/bin/python3.11")
MOUNTS = common.MOUNT_KERNELS + """set -e
for pair in $PRIVATE; do mount --bind "${pair%%:*}" "${pair#*:}"; done
exec "$@"
"""


def perf_events(pid):
    """Descriptors, those for output among them."""
    count = 0
    for fd in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            count += os.readlink(fd) == "anon_inode:[perf_event]"
        except OSError:
            continue
    return count


def is_bpftrace(p):
    return p.poll() is None and "bpftrace" in p.args


def special_probes(p):
    """BEGIN and END in bpftrace's script, which is its last argument, or in that file."""
    text = p.args[-1]
    if os.path.exists(text):
        with open(text, encoding="utf-8") as f:
            text = f.read()
    return len(re.findall(r"\b(BEGIN|END)\s*\{", text))


def said_probes(p):
    """What a living tool is about to attach at least; bpftrace says how much that is."""
    said = re.search(r"^Attaching (\d+) probe", common.output(p), re.M)
    return int(said[1]) if said else int(p.poll() is None)


class Limpet:
    """Tools by `limpet load`, programs by `limpet start`, in one session."""
    name = "limpet"
    start = [LIMPET, "start", "--"]

    def __init__(self, env):
        self.env = env

    def tool(self, argv, **kw):
        return common.spawn([LIMPET, "load", "--", *argv], self.env, **kw)

    def made(self, tools):
        """How many links there are; for all, since nobody knows whose they are."""
        return [len(common.listed(self.env)["links"])]

    def wanted(self, tools):
        return [sum(said_probes(p) for p in tools)]

    def bring_in_line(self):
        """Running targets have the probes of all links afterwards."""
        for target in common.listed(self.env)["targets"]:
            common.run([LIMPET, "attach", str(target["pid"])], self.env)


class Kernel:
    """Both as they are, in the mount namespace. `folder` takes the copies of the libraries."""
    name = "kernel"

    def __init__(self, env, folder):
        pairs = []
        for library in map(os.path.realpath, filter(os.path.exists, LIBRARIES)):
            copy = os.path.join(folder, os.path.basename(library))
            if not os.path.exists(copy):
                common.copy(library, copy)
            pairs.append(f"{copy}:{library}")
        self.env = {**env, "PRIVATE": " ".join(pairs)}
        self.start = ["unshare", "-m", "sh", "-c", MOUNTS, "sh"]

    def tool(self, argv, **kw):
        return common.spawn([*self.start, *argv], self.env, **kw)

    def made(self, tools):
        """How many perf events each has."""
        return [perf_events(p.pid) for p in tools]

    def wanted(self, tools):
        """bpftrace counts BEGIN and END, too, which have none, and has one for each processor's output."""
        return [said_probes(p) + (os.cpu_count() - special_probes(p) if is_bpftrace(p) else 0) for p in tools]

    def bring_in_line(self):
        pass

    def serves(self):
        """Is the kernel's eBPF to be had here?"""
        done = subprocess.run([*self.start, "bpftool", "prog", "list"], env=self.env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0


def both(**more):
    """(Limpet, Kernel or None, with a line that says so)"""
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en", LC_ALL="C", **more)
    kernel = Kernel(env, work)
    if not kernel.serves():
        print("# the kernel's bpf(2) and tracefs are not to be had here: limpet's output is not compared")
        kernel = None
    return Limpet(env), kernel


def attached(world, tools, least=1):
    """Waits until the tools have attached: they hold what they said, `least` at least, and nothing more comes for a second."""
    tools = list(tools)

    def said():
        return all(not is_bpftrace(p) or re.search(r"^(Attaching|ERROR)", common.output(p), re.M) for p in tools)

    def begun():
        made = world.made(tools)
        return said() and sum(made) >= least and all(n >= want for n, want in zip(made, world.wanted(tools)))

    def settled():
        before = world.made(tools)
        time.sleep(1)
        return before == world.made(tools)
    common.wait_for(lambda: all(p.poll() is not None for p in tools) or begun(), 60)
    common.wait_for(settled, 60)
    world.bring_in_line()


def stop(tools):
    """By Ctrl-C, all at once."""
    for p in tools:
        if p.poll() is None:
            p.send_signal(signal.SIGINT)
    for p in tools:
        try:
            p.wait(8)
        except subprocess.TimeoutExpired:
            print(f"# {p.args[-1]} did not end by itself")
            common.stop(p, signal.SIGKILL)


def difference(ours, kernel):
    """Of two lists of lines, for a report."""
    return "\n".join(difflib.unified_diff(kernel, ours, "kernel", "limpet", n=1, lineterm=""))
