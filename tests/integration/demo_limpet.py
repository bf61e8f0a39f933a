#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The queue demo on limpet, end to end, through the command line: `load` before `start`, `start`
before `load`, `attach` to a running target, and a killed monitor. bpf(2) and perf_event_open(2) are
denied by a seccomp filter, so nothing here can come from the kernel's eBPF.

usage: demo_limpet.py BUILD_DIR
"""
import ctypes
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
DEMO = os.path.join(BUILD, "examples/queue_demo")
TARGET, MONITOR = os.path.join(DEMO, "target"), os.path.join(DEMO, "uprobe_queue")
EVENT = re.compile(r"^\[\d\d:\d\d:\d\d\.\d{3}\] (target|secondary)_function\(\) 被调用 - "
                   r"PID:(\d+) TID:(\d+)(?: 输入值:(-?\d+))? 计数器:(\d+) 进程:target$")
processes = []
failures = []


def deny_kernel_bpf():
    """In a child: bpf (321) and perf_event_open (298) answer EPERM from here on."""
    libc = ctypes.CDLL(None, use_errno=True)
    prog = [(0x20, 0, 0, 0), (0x15, 1, 0, 321), (0x15, 0, 1, 298), (0x06, 0, 0, 0x50001),
            (0x06, 0, 0, 0x7fff0000)]
    code = b"".join(struct.pack("HBBI", *i) for i in prog)
    buf = ctypes.create_string_buffer(code)
    fprog = struct.pack("HxxxxxxQ", len(prog), ctypes.addressof(buf))
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.c_char_p(fprog), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def spawn(env, *argv, deny=True):
    out = tempfile.TemporaryFile()
    p = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=out,
                         stderr=subprocess.STDOUT, preexec_fn=deny_kernel_bpf if deny else None)
    p.out = out
    processes.append(p)
    return p


def output(p):
    p.out.seek(0)
    return p.out.read().decode(errors="replace")


def events(text):
    return [(m.group(1), m.group(4), int(m.group(5)))
            for m in map(EVENT.match, text.splitlines()) if m]


def wait_for(what, seconds=10):
    end = time.time() + seconds
    while time.time() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


def stop(p, sig=signal.SIGINT):
    if p.poll() is None:
        p.send_signal(sig)
        try:
            p.wait(5)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def check(name, good, detail=""):
    print(("ok " if good else "not ok ") + name, flush=True)
    if not good:
        failures.append(name)
        for line in str(detail).splitlines()[-25:]:
            print("# " + line)


def expected(found):
    """Inputs 1, 2, 3... in order, and every fifth call followed by secondary_function."""
    want, n = [], 0
    for i in range(1, len(found) + 1):
        n += 1
        want.append(("target", str(i), n))
        if i % 5 == 0:
            n += 1
            want.append(("secondary", None, n))
    return want[:len(found)]


def load_then_start(env):
    tool = spawn(env, LIMPET, "load", "--", MONITOR)
    wait_for(lambda: "Ctrl+C" in output(tool))
    time.sleep(0.5)
    target = spawn(env, LIMPET, "start", "--", TARGET)
    wait_for(lambda: len(events(output(tool))) >= 7, 15)
    found = events(output(tool))
    check("load, then start: events in order with their counters",
          len(found) >= 7 and found == expected(found), output(tool) + output(target))
    check("load, then start: the target says what the seed says",
          "target_function called with input=1, msg=call_1\n"
          "Main loop iteration 1 completed, result=2\n" in output(target), output(target))
    stop(tool)
    check("Ctrl-C ends the monitor with status 0", tool.returncode == 0, tool.returncode)
    before = output(target).count("Main loop")
    alive = wait_for(lambda: output(target).count("Main loop") > before, 4)
    check("the target goes on without the monitor", alive and target.poll() is None, output(target))
    stop(target)


def start_then_load(env):
    # A keeper that is under a seccomp filter itself may not suspend its target's, so it refuses to
    # stop it: here only the tool runs without the kernel's eBPF.
    target = spawn(env, LIMPET, "start", "--", TARGET, deny=False)
    wait_for(lambda: "Main loop iteration 1" in output(target))
    tool = spawn(env, LIMPET, "load", "--", MONITOR)
    good = wait_for(lambda: len(events(output(tool))) >= 2, 10)
    check("start, then load: the probes appear in the running target", good,
          output(tool) + output(target))
    stop(tool, signal.SIGKILL)
    stop(target)


def mapped_files(process):
    with open(f"/proc/{process.pid}/maps", encoding="utf-8") as f:
        return {line.split(maxsplit=5)[5] for line in f if len(line.split(maxsplit=5)) == 6}


def attach_running(env):
    target = spawn(env, TARGET)
    wait_for(lambda: "Main loop iteration 1" in output(target))
    before = mapped_files(target)
    tool = spawn(env, LIMPET, "load", "--", MONITOR)
    wait_for(lambda: "Ctrl+C" in output(tool))
    done = subprocess.run([LIMPET, "attach", str(target.pid)], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=20, check=False)
    check("attach PID succeeds", done.returncode == 0, done.stdout.decode())
    good = wait_for(lambda: len(events(output(tool))) >= 2, 10)
    check("attach: events of a process that was running", good, output(tool) + output(target))
    done = subprocess.run([LIMPET, "detach", str(target.pid)], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=20, check=False)
    check("detach PID succeeds", done.returncode == 0, done.stdout.decode())
    check("detach leaves no file mapped that was not there before", mapped_files(target) == before, mapped_files(target))
    count = len(events(output(tool)))
    time.sleep(2.2)
    check("detach: no more events, target alive",
          len(events(output(tool))) <= count + 1 and target.poll() is None, output(tool))
    stop(tool)
    stop(target)


def end_of(folder):
    """A tool whose `limpet load` was killed lives on: end whatever has the session's folder in its environment."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                ours = folder.encode() in f.read()
            if ours and int(pid) != os.getpid():
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            continue


def main():
    for path in (LIMPET, TARGET, MONITOR):
        if not os.path.exists(path):
            print(f"skip demo_limpet: {path} is not built")
            return 0
    steps = {"load": load_then_start, "start": start_then_load, "attach": attach_running}
    for name, step in steps.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        folder = tempfile.mkdtemp(prefix="limpet-test-", dir="/dev/shm")
        env = dict(os.environ, LIMPET_DIR=folder, LIMPET_LANG="zh")
        env.pop("LIMPET_SESSION_DIR", None)
        try:
            step(env)
        finally:
            for p in processes:
                stop(p, signal.SIGKILL)
            processes.clear()
            end_of(folder)
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
