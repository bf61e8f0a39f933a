#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ten thousand probes in one uprobe_multi link, on a process that is running: each function counted
exactly once a round, `limpet list` names them, and nothing is counted after the link is closed.

usage: many_probes.py BUILD_DIR [tool TARGET]
"""
import ctypes
import os
import re
import struct
import subprocess
import sys
import time

import common
import tool_uprobe_multi as multi
from common import BUILD, LIMPET, ok, wait_for

COUNT = 10000
SOURCE = r"""
	.text
	.altmacro
	.macro function n
	.globl f\n
	.type f\n, @function
f\n:	.cfi_startproc
	endbr64
	lea 1(%rdi), %rax
	add $\n & 7, %rsi
	ret
	.cfi_endproc
	.size f\n, . - f\n
	.balign 16
	.pushsection .data
	.quad f\n
	.popsection
	.endm
	.data
	.globl table
table:
	.text
	.set n, 0
	.rept COUNT
	function %n
	.set n, n + 1
	.endr
	.section .note.GNU-stack, "", @progbits
"""
MAIN = r"""
#include <stdio.h>
extern long (*table[])(long, long);
int main(void)
{
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF) {
		long sum = 0;
		for (int i = 0; i < COUNT; i++)
			sum = table[i](sum, 0);
		printf("%ld\n", sum);
		fflush(stdout);
	}
	return 0;
}
"""


def build(place):
    for name, text in (("f.s", SOURCE), ("main.c", MAIN)):
        with open(f"{place}/{name}", "w", encoding="ascii") as f:
            f.write(text.replace("COUNT", str(COUNT)))
    target = f"{place}/target"
    subprocess.run(["cc", "-O1", "-o", target, f"{place}/main.c", f"{place}/f.s"], check=True)
    return target


def offsets(target):
    """File offsets of all f<n>: in the text segment an address differs from its offset by a constant."""
    for line in subprocess.check_output(["readelf", "-lW", target], text=True).splitlines():
        part = line.split()
        if part[:1] == ["LOAD"] and "E" in part[6:8]:
            less = int(part[2], 16) - int(part[1], 16)
    symbols = re.findall(r"^([0-9a-f]+) T f\d+$", subprocess.check_output(["nm", target], text=True), re.M)
    return [int(s, 16) - less for s in symbols]


def tool(target):
    """Links when a line comes, answers the count to each further one, and unlinks at "close"."""
    array = multi.bpf(multi.MAP_CREATE, struct.pack("<IIII", 2, 4, 16, 1))
    code = multi.program(array)
    text, lic = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    prog = multi.bpf(multi.PROG_LOAD,
                     struct.pack("<IIQQ", 2, len(code) // 8, ctypes.addressof(text), ctypes.addressof(lic))
                     .ljust(68, b"\0") + struct.pack("<I", 48))
    where = offsets(target)
    path = ctypes.create_string_buffer(target.encode())
    array_of = (ctypes.c_uint64 * len(where))(*where)
    print(len(where), flush=True)
    key, value, link = ctypes.c_uint32(0), (ctypes.c_uint64 * 2)(), None
    for line in sys.stdin:
        if line == "close\n":
            os.close(link)
        elif link is None:
            link = multi.bpf(multi.LINK_CREATE, struct.pack(
                "<IIIIQQQQIII", prog, 0, 48, 0, ctypes.addressof(path), ctypes.addressof(array_of), 0, 0, len(where), 0, 0))
        multi.bpf(multi.MAP_LOOKUP, struct.pack("<IxxxxQQQ", array, ctypes.addressof(key), ctypes.addressof(value), 0))
        print(value[0], flush=True)
    return 0


def ask(process, line=""):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def counted(loaded, target):
    """What one round of the target adds to the map."""
    before = ask(loaded)
    ask(target)
    return ask(loaded) - before


def ten_thousand():
    place = common.folder(place="/dev/shm")
    path, env = build(place), common.environment(place, "en")

    def start(*args):
        p = subprocess.Popen(args, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        common.processes.append(p)
        return p

    def limpet(*args):
        began = time.time()
        status, text = common.run([LIMPET, *args], env, 60)
        print(f"# limpet {' '.join(args)}: {time.time() - began:.2f} s")
        return status, text

    loaded = start(LIMPET, "load", "--", sys.executable, __file__, BUILD, "tool", path)
    ok("ten thousand functions", int(loaded.stdout.readline()) == COUNT)
    target = start(path)
    target.stdout.readline()
    ok("the target runs unprobed", ask(target) == COUNT)
    attached = limpet("attach", str(target.pid))
    ok("limpet attach", attached[0] == 0, attached)
    began = time.time()
    ask(loaded)  # links
    ok("all probes count", wait_for(lambda: counted(loaded, target) == COUNT, 60), counted(loaded, target))
    print(f"# linked and counted after {time.time() - began:.2f} s")
    listed = limpet("list")
    ok("limpet list names a function of the link", re.search(r" f\d+ ", listed[1]), listed)
    again = limpet("attach", str(target.pid))
    ok("limpet attach again", again[0] == 0, again)
    began = time.time()
    ok("nothing counts after the link is closed", ask(loaded, "close") is not None and counted(loaded, target) == 0)
    target.stdin.close()
    ok("the target ends well", target.wait(20) == 0)


if __name__ == "__main__":
    sys.exit(tool(sys.argv[3]) if sys.argv[2:3] == ["tool"] else common.main(ten_thousand))
