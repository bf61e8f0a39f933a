#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A uprobe_multi link made by plain bpf(2) calls, as newer libbpf makes them: two functions of the
demo's target, each with its own cookie. The program adds 1 and its cookie to a map, which is read
while the target runs. Run without an argument after BUILD_DIR it starts itself as the tool.

usage: tool_uprobe_multi.py BUILD_DIR [tool]
"""
import ctypes
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
TARGET = os.path.join(BUILD, "examples/queue_demo/target")
MAP_CREATE, MAP_LOOKUP, PROG_LOAD, LINK_CREATE = 0, 1, 5, 28
LIBC = ctypes.CDLL(None, use_errno=True)


def bpf(cmd, attr):
    buf = ctypes.create_string_buffer(attr.ljust(144, b"\0"), 144)
    fd = LIBC.syscall(321, cmd, buf, 144)
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {cmd}: {os.strerror(ctypes.get_errno())}")
    return fd


def insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def program(map_fd):
    """r0 = cookie; value[1] += cookie; value[0] += 1; return 0"""
    return (insn(0x85, imm=174) +                      # get_attach_cookie(ctx)
            insn(0x18, 1, 2, 0, map_fd) + insn(0) +    # r1 = the map's value
            insn(0xdb, 1, 0, 8, 0) +                   # lock *(u64 *)(r1 + 8) += r0
            insn(0xb7, 2, imm=1) + insn(0xdb, 1, 2, 0, 0) +
            insn(0xb7) + insn(0x95))


def offset(name):
    """File offset of a function: its address less that of its segment, plus where that lies in the file."""
    address = int(re.search(rf"^([0-9a-f]+) \w {name}$", subprocess.check_output(["nm", TARGET], text=True), re.M)[1], 16)
    for line in subprocess.check_output(["readelf", "-lW", TARGET], text=True).splitlines():
        part = line.split()
        if part[:1] == ["LOAD"] and int(part[2], 16) <= address < int(part[2], 16) + int(part[5], 16):
            return address - int(part[2], 16) + int(part[1], 16)
    raise ValueError(name)


def tool():
    array = bpf(MAP_CREATE, struct.pack("<IIII", 2, 4, 16, 1))
    code = program(array)
    text, lic = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    prog = bpf(PROG_LOAD, struct.pack("<IIQQ", 2, len(code) // 8, ctypes.addressof(text), ctypes.addressof(lic))
               .ljust(68, b"\0") + struct.pack("<I", 48))
    path = ctypes.create_string_buffer(TARGET.encode())
    offsets = (ctypes.c_uint64 * 2)(offset("target_function"), offset("secondary_function"))
    cookies = (ctypes.c_uint64 * 2)(1, 1000)
    bpf(LINK_CREATE, struct.pack("<IIIIQQQQIII", prog, 0, 48, 0, ctypes.addressof(path), ctypes.addressof(offsets), 0,
                                 ctypes.addressof(cookies), 2, 0, 0))
    print("linked", flush=True)
    key, value = ctypes.c_uint32(0), (ctypes.c_uint64 * 2)()
    while sys.stdin.readline():
        bpf(MAP_LOOKUP, struct.pack("<IxxxxQQQ", array, ctypes.addressof(key), ctypes.addressof(value), 0))
        print(value[0], value[1], flush=True)
    return 0


def check(folder):
    env = dict(os.environ, LIMPET_DIR=folder)
    env.pop("LIMPET_SESSION_DIR", None)
    loaded = subprocess.Popen([LIMPET, "load", "--", sys.executable, __file__, BUILD, "tool"], env=env,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    target = None
    try:
        if loaded.stdout.readline() != "linked\n":
            return f"the link was not made, status {loaded.wait(10)}"
        target = subprocess.Popen([LIMPET, "start", "--", TARGET], env=env, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL)
        calls = cookies = 0
        end = time.time() + 20
        while cookies < 1000 and time.time() < end: # the fifth call is followed by one of the other function
            time.sleep(0.2)
            loaded.stdin.write("\n")
            loaded.stdin.flush()
            calls, cookies = map(int, loaded.stdout.readline().split())
        return "" if cookies // 1000 == 1 and cookies % 1000 + 1 == calls else f"{calls} calls, cookies {cookies}"
    finally:
        for p in (target, loaded):
            if p:
                p.terminate()
                p.wait()


def main():
    folder = tempfile.mkdtemp(prefix="limpet-test-", dir="/dev/shm")
    try:
        wrong = check(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"not ok uprobe_multi: {wrong}" if wrong else "ok uprobe_multi link: both functions, their own cookies")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(tool() if sys.argv[2:] == ["tool"] else main())
