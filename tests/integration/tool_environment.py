#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a tool executes with an environment of its own is a tool of the session too, whichever way it does: nothing
of it goes to the kernel's eBPF unseen. And limpet itself, started by a tool.

usage: tool_environment.py BUILD_DIR
"""
import os
import shutil
import subprocess
import sys

import common
from common import LIMPET, ok

BPFTOOL = shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin")
# Every way that libc has, from a vfork child, with an empty environment, one without limpet's, and none.
WAYS = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#define SHOW(tool, how) do { int status; if (!vfork()) { how; _exit(99); } wait(&status); printf("%s %d\n", #how, WEXITSTATUS(status)); } while (0)
int main(int argc, char **argv)
{
	char *tool = argv[1], *args[] = {tool, "map", "show", "name", "kept", NULL}, *one[] = {"A=b", NULL}, *none[] = {NULL};
	char *other[] = {"LD_PRELOAD=libm.so.6", NULL};
	int fd = open(tool, O_RDONLY), status;
	pid_t pid;
	setvbuf(stdout, NULL, _IONBF, 0);
	clearenv();
	SHOW(tool, execve(tool, args, none));
	SHOW(tool, execve(tool, args, one));
	SHOW(tool, execve(tool, args, other));
	SHOW(tool, execve(tool, args, NULL));
	SHOW(tool, execv(tool, args));
	SHOW(tool, execvp(tool, args));
	SHOW(tool, execvpe(tool, args, one));
	SHOW(tool, execl(tool, tool, "map", "show", "name", "kept", NULL));
	SHOW(tool, execlp(tool, tool, "map", "show", "name", "kept", NULL));
	SHOW(tool, execle(tool, tool, "map", "show", "name", "kept", NULL, one));
	SHOW(tool, fexecve(fd, args, one));
	SHOW(tool, execveat(AT_FDCWD, tool, args, one, 0));
	status = posix_spawn(&pid, tool, NULL, NULL, args, one); waitpid(pid, &status, 0); printf("posix_spawn %d\n", WEXITSTATUS(status));
	status = posix_spawnp(&pid, tool, NULL, NULL, args, one); waitpid(pid, &status, 0); printf("posix_spawnp %d\n", WEXITSTATUS(status));
	SHOW(tool, execle("/usr/bin/env", "env", NULL, one));
	return 0;
}
"""
WAYS_COUNT = 14


def environment():
    if not BPFTOOL:
        print("skip environments of its own: no bpftool")
        return
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en")
    program = common.compile_c(WAYS, os.path.join(work, "ways"), "-w")
    pin = "/sys/fs/bpf/kept"
    script = f"{BPFTOOL} map create {pin} type array key 4 value 4 entries 1 name kept && exec {program} {BPFTOOL}"
    status, said = common.run([LIMPET, "load", "sh", "-c", script], env)
    lines = said.splitlines()
    shown = sum("array  name kept" in line for line in lines)
    ended = sum(line.endswith(" 0") and line.startswith(("exec", "fexec", "posix")) for line in lines)
    ok("all ways of executing", not status and shown == WAYS_COUNT and ended == WAYS_COUNT + 1, said)
    ok("what was given is there, and the library", lines.count("A=b") == 1 and sum(line.startswith("LD_PRELOAD=") for line in lines) == 1, said)
    for words in (["env", "-i"], ["env", "-u", "LD_PRELOAD"], ["sh", "-c", "unset LD_PRELOAD; exec \"$@\"", "sh"]):
        status, said = common.run([LIMPET, "load", *words, BPFTOOL, "map", "show", "name", "kept"], env)
        ok(" ".join(words[:2]), not status and "array  name kept" in said, said)
    clean = subprocess.run(["env", "-i", "env"], stdout=subprocess.PIPE, check=True).stdout
    ok("without limpet nothing is kept", clean == b"", clean)


# A tool by its first call, and what it starts are targets: the command too, unless it sees to it that it is none.
NESTED = """
import ctypes, os, sys
limpet = sys.argv[1]
ctypes.CDLL(None).syscall(321, 11, ctypes.create_string_buffer(128), 128)
os.system(f"{limpet} load /bin/true; {limpet} list; exec {limpet} list --json")
"""


def nested():
    """limpet in a tool of limpet's: no target of its own, and no keeper that keeps itself."""
    for via in ("preload", "seccomp"):
        env = common.environment(os.path.join(common.folder(), "sessions"), lang="en")
        status, said = common.run([LIMPET, "load", "--via", via, "python3", "-c", NESTED, LIMPET], env)
        ok(f"limpet in a tool, {via}: it is no target", not status and ": limpet" not in said and ": sh" in said, said)
        status, said = common.run([LIMPET, "list"], env)
        ok(f"limpet in a tool, {via}: nobody is left", not status and "keeper" not in said, said)
        left = subprocess.run(["pgrep", "-f", "limpet: keeper of " + env["LIMPET_DIR"]], stdout=subprocess.PIPE, check=False).stdout
        ok(f"limpet in a tool, {via}: no keeper is left", not left, left)


def both():
    environment()
    nested()


if __name__ == "__main__":
    sys.exit(common.main(both, need=("src/loader/liblimpet-shim.so",)))
