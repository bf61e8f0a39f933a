#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Libraries that come and go: a probed one is opened by dlopen, closed, opened again, opened in a
namespace of its own. Every call of its function counts, those that its constructor makes included.

usage: loads.py BUILD_DIR [tool LIBRARY]
"""
import ctypes
import os
import re
import struct
import subprocess
import sys

import common
import tool_uprobe_multi as multi
from common import BUILD, LIMPET, ok, wait_for

LIBRARY = r"""
#include <stdio.h>
static long calls;
__attribute__((noinline)) long counted(long n)
{
	return calls += n;
}
__attribute__((constructor)) static void starts(void)
{
	for (int i = 0; i < 3; i++)
		counted(1);
}
"""
# Says after each command how many calls there were in all.
TARGET = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
	void *lib = NULL, *other = NULL;
	long all = 0;
	char line[64];

	puts("0");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "open\n")) {
			lib = dlopen(argv[1], RTLD_NOW);
			all += 3;
		} else if (!strcmp(line, "other\n")) {
			other = dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW);
			all += 3;
		} else if (!strcmp(line, "libm\n")) {
			dlclose(dlopen("libm.so.6", RTLD_NOW));
		} else if (!strcmp(line, "close\n")) {
			dlclose(lib);
			lib = NULL;
		}
		for (int i = 0; lib && i < 5; i++, all++)
			((long (*)(long))dlsym(lib, "counted"))(1);
		for (int i = 0; other && i < 7; i++, all++)
			((long (*)(long))dlsym(other, "counted"))(1);
		printf("%ld\n", all);
		fflush(stdout);
	}
	return 0;
}
"""


def offset(library):
    address = int(re.search(r"^([0-9a-f]+) T counted$", subprocess.check_output(["nm", library], text=True), re.M)[1], 16)
    for line in subprocess.check_output(["readelf", "-lW", library], text=True).splitlines():
        part = line.split()
        if part[:1] == ["LOAD"] and int(part[2], 16) <= address < int(part[2], 16) + int(part[5], 16):
            return address - int(part[2], 16) + int(part[1], 16)
    raise ValueError(library)


def tool(library):
    array = multi.bpf(multi.MAP_CREATE, struct.pack("<IIII", 2, 4, 16, 1))
    code = multi.program(array)
    text, lic = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    prog = multi.bpf(multi.PROG_LOAD,
                     struct.pack("<IIQQ", 2, len(code) // 8, ctypes.addressof(text), ctypes.addressof(lic))
                     .ljust(68, b"\0") + struct.pack("<I", 48))
    path, where = ctypes.create_string_buffer(library.encode()), (ctypes.c_uint64 * 1)(offset(library))
    multi.bpf(multi.LINK_CREATE, struct.pack("<IIIIQQQQIII", prog, 0, 48, 0, ctypes.addressof(path),
                                             ctypes.addressof(where), 0, 0, 1, 0, 0))
    print("linked", flush=True)
    key, value = ctypes.c_uint32(0), (ctypes.c_uint64 * 2)()
    while sys.stdin.readline():
        multi.bpf(multi.MAP_LOOKUP, struct.pack("<IxxxxQQQ", array, ctypes.addressof(key), ctypes.addressof(value), 0))
        print(value[0], flush=True)
    return 0


def ask(process, line=""):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def run(how):
    place = common.folder(place="/dev/shm")
    env = common.environment(place, "en")
    library = common.compile_c(LIBRARY, place + "/libcounted.so", "-shared", "-fPIC")
    path = common.compile_c(TARGET, place + "/target")

    def start(*args):
        p = subprocess.Popen(args, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        common.processes.append(p)
        return p

    if how == "attach":
        target = start(path, library)
        target.stdout.readline()
        done = common.run([LIMPET, "attach", str(target.pid)], env)
        ok("attach: limpet attach", done[0] == 0, done)
    loaded = start(LIMPET, "load", "--", sys.executable, __file__, BUILD, "tool", library)
    if loaded.stdout.readline() != "linked\n":
        ok(how + ": the tool links", False)
        return
    if how == "start":
        target = start(LIMPET, "start", "--", path, library)
        target.stdout.readline()
    else:  # the keeper has to place its hook first
        wait_for(lambda: any(t["probes"] is not None for t in common.listed(env)["targets"]))
        wait_for(lambda: False, 0.3)
    for line in ("libm", "open", "call", "close", "call", "open", "libm", "other", "call", "close", "open"):
        want = ask(target, line)
        seen = ask(loaded)
        if not ok(f"{how}: after {line} all {want} calls count", seen == want, seen):
            print(common.listed(env))
            break
    target.stdin.close()
    ok(how + ": the target ends well", target.wait(20) == 0)


def started():
    run("start")


def attached():
    run("attach")


if __name__ == "__main__":
    sys.exit(tool(sys.argv[3]) if sys.argv[2:3] == ["tool"] else common.main(started, attached))
