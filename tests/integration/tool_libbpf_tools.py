#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's libbpf-tools that need the kernel's eBPF end at once, and a line on standard error says which program it is
and why. (Those on user-space functions and on system calls are in tool_user_scripts.py and tool_syscalls.py.)

usage: tool_libbpf_tools.py BUILD_DIR     LIMPET_LONG=1: every tool, not one of each kind
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

import common
from common import LIMPET, ok

SYSCALLS = {"execsnoop", "opensnoop", "statsnoop", "syscount", "killsnoop", "mountsnoop"}
USER = {"bashreadline", "funclatency", "gethostlatency"}
# what fails before it comes to eBPF, on the kernel too: no file system, function, hardware counter, JVM named or there
ITSELF = {"fsdist": "filesystem must be specified", "fsslower": "filesystem must be specified", "ksnoop": "Usage",
          "llcstat": "perf sampling", "javagc": "", "readahead": "do_page_cache_ra"}
SHORT = {"biolatency", "biosnoop", "biopattern", "bindsnoop", "tcpconnect", "hardirqs", "sigsnoop", "llcstat", "mdflush"}
# programs that no longer fit the structures of newer kernels; the verifier of either refuses them
OUTDATED = re.compile(r"limpet: |invalid CO-RE relocation|failed to find kernel BTF type ID")


def path_of(tool):
    return shutil.which(tool, path="/usr/sbin:/usr/bin")


def tools():
    done = subprocess.run(["dpkg", "-L", "libbpf-tools"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return sorted(os.path.basename(p) for p in done.stdout.decode().split() if p.startswith("/usr/sbin/"))


def refused(env, tool):
    """A tool that needs the kernel ends at once and gives the reason."""
    p = common.spawn([LIMPET, "load", "--", path_of(tool)], env)
    try:
        status = p.wait(30)
    except subprocess.TimeoutExpired:
        common.stop(p)
        status = "none, it ran on"
    said = common.output(p)
    if tool in ITSELF:
        return ok(f"{tool} fails as on the kernel", ITSELF[tool] in said, said)
    return ok(f"{tool} needs the kernel and says so", status != "none, it ran on" and OUTDATED.search(said),
              f"status {status}\n{said}")


def kernel_tools():
    env = common.environment(common.folder(), lang="en")
    rest = [t for t in tools() if t not in SYSCALLS | USER and (t in SHORT or os.environ.get("LIMPET_LONG"))]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda t: refused(env, t), rest))


def main():
    if not tools():
        print("skip tool_libbpf_tools: libbpf-tools is not installed")
        return 0
    return common.main(kernel_tools, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so"))


if __name__ == "__main__":
    sys.exit(main())
