# SPDX-License-Identifier: MIT
"""Programs on system calls, in targets that do all kinds of things.

What programs print and how they end must be as without limpet, and every call must be counted: the counts
are held against strace's, which sees the calls themselves. Where the two cannot agree (the calls of the
dynamic linker before the agent is there, limpet's own) calls are chosen that only the program makes.
"""
import os
import re
import shutil
import subprocess
import sys
import time
import common
from common import BUILD, LIMPET, MOUNTED, environment, folder, ok

LINKS = os.path.join(BUILD, "tests/integration/syscall_links")
NUMBERS = {}
for line in subprocess.run(["cc", "-dM", "-E", "-xc", "-include", "asm/unistd.h", "/dev/null"], stdout=subprocess.PIPE,
                           universal_newlines=True, check=True).stdout.splitlines():
    m = re.match(r"#define __NR_(\w+) (\d+)$", line)
    if m:
        NUMBERS[m.group(1)] = int(m.group(2))


class Links:
    """Links on all system calls (or one), in a session of their own."""

    def __init__(self, number=None):
        self.sessions = folder(place="/dev/shm")
        path = os.path.join(self.sessions, "default")
        os.mkdir(path, 0o700)
        self.env = environment(self.sessions, lang="en")
        self.process = subprocess.Popen([LINKS, path] + ([str(number)] if number is not None else []),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
        self.process.stdout.readline()

    def run(self, command, **more):
        return subprocess.run([LIMPET, "start", *command], env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **more)

    def counts(self):
        """{number: (entered, left)}, and what else was said."""
        out = self.process.communicate()[0]
        found = {int(a): (int(b), int(c)) for a, b, c in re.findall(r"^(\d+) (\d+) (\d+)$", out, re.M)}
        return found, [line for line in out.splitlines() if "differs" in line or re.match("skipped [1-9]", line)]


def strace_counts(command):
    """What strace counts of the call names it knows."""
    out = subprocess.run(["strace", "-f", "-qq", "-c", "-U", "name,calls", *command], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True, timeout=60).stderr
    return {NUMBERS[a]: int(b) for a, b in re.findall(r"^(\w+) +(\d+)$", out, re.M) if a in NUMBERS}


def same(name, command, calls):
    """The program does what it did, and these of its calls are all seen."""
    plain = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    links = Links()
    got = links.run(command)
    seen, odd = links.counts()
    status = plain.returncode if plain.returncode >= 0 else 128 - plain.returncode  # as shells say it
    ok(f"{name}: output and status as ever", (got.returncode, got.stdout) == (status, plain.stdout),
       f"{got.returncode} {got.stdout[-300:]} {got.stderr[-300:]}, not {status} {plain.stdout[-300:]}")
    ok(f"{name}: raw contexts count the same, nothing is skipped", not odd, "\n".join(odd))
    if calls and shutil.which("strace"):
        real = strace_counts(command)
        for call in calls:
            n = NUMBERS[call]
            ok(f"{name}: every {call} is seen", n in real and seen.get(n, (0, 0))[0] == real[n], f"{seen.get(n)}, strace {real.get(n)}")


def exits():
    """The one call of a program that never comes back, in a loop with another, is seen with links behind calls, too."""
    links = Links()
    for _ in range(5):
        links.run(["/bin/true"])
    seen, odd = links.counts()
    ok("execve comes back in the new program", seen.get(NUMBERS["execve"]) == (0, 5), seen.get(NUMBERS["execve"]))
    ok("every exit_group is seen", seen.get(NUMBERS["exit_group"]) == (5, 0) and not odd, f"{seen} {odd}")


def every_number():
    """A loop of calls by syscall(), of which each is told by its number, and comes back."""
    script = ("import ctypes, os\nlibc = ctypes.CDLL(None)\n"
              "for i in range(1000):\n libc.syscall(39); libc.syscall(110); os.getppid()\n")
    links = Links(110)
    links.run([sys.executable, "-S", "-c", script])
    seen, odd = links.counts()
    ok("one call's links see it by syscall() and by its wrapper, and no other", seen == {110: (2000, 2000)} and not odd,
       f"{seen} {odd}")


def signals():
    """Blocked reads and sleeps, interrupted a thousand times a second, begin again and are counted once."""
    script = r"""
import os, signal, sys, threading, time
hits = 0
def on(*_):
    global hits
    hits += 1
signal.signal(signal.SIGALRM, on)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
r, w = os.pipe()
if os.fork() == 0:
    signal.setitimer(signal.ITIMER_REAL, 0)
    for i in range(20):
        time.sleep(0.02)
        os.write(w, b"x")
    os._exit(0)
got = b"".join(os.read(r, 1) for i in range(20))
t = time.monotonic()
time.sleep(0.2)
slept = time.monotonic() - t
signal.setitimer(signal.ITIMER_REAL, 0)
os.wait()
print(got, 0.2 <= slept < 2, hits > 50)
"""
    links = Links()
    got = links.run([sys.executable, "-S", "-c", script], universal_newlines=True)
    seen, odd = links.counts()
    ok("calls that signals interrupt", got.stdout == "b'xxxxxxxxxxxxxxxxxxxx' True True\n", got.stdout + got.stderr)
    ok("every handler's return is seen", seen[NUMBERS["rt_sigreturn"]][0] > 50 and not odd, f"{seen} {odd}")


def in_call(pid, name):
    """Is it blocked in that call?"""
    with open(f"/proc/{pid}/syscall") as f:
        return f.read().split()[0] == str(NUMBERS[name])


def attach():
    """Attached while a thread sleeps in a call for long, which is not disturbed; and detached again."""
    script = ("import os, sys\nprint('up', flush=True)\nwhile True:\n b = os.read(0, 1)\n"
              " if not b: break\n os.write(1, b)\nprint('end', flush=True)\n")
    p = subprocess.Popen([sys.executable, "-S", "-u", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdout.readline()
    while not in_call(p.pid, "read"):
        time.sleep(0.01)
    with open(f"/proc/{p.pid}/maps") as f:
        before = sorted(line.split()[1:] for line in f)
    links = Links()
    a = subprocess.run([LIMPET, "attach", str(p.pid)], env=links.env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    echoed = b""
    for i in range(100):
        p.stdin.write(b"a")
        p.stdin.flush()
        echoed += p.stdout.read(1)
    while not in_call(p.pid, "read"):
        time.sleep(0.01)
    d = subprocess.run([LIMPET, "detach", str(p.pid)], env=links.env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    with open(f"/proc/{p.pid}/maps") as f:
        after = sorted(line.split()[1:] for line in f)
    time.sleep(0.1)
    rest = p.communicate(b"b")[0]
    seen, _ = links.counts()
    ok("attach and detach", not a.returncode and not d.returncode, a.stdout + d.stdout)
    ok("reads and writes of an attached process", echoed == b"a" * 100 and rest == b"bend\n" and not p.returncode,
       f"{echoed} {rest} {p.returncode}")
    ok("are counted from the attach to the detach", seen.get(1) == (100, 100) and seen.get(0) == (100, 100), seen)
    ok("a detach leaves the mappings as they were, with a thread in a call", before == after, f"{before}\n{after}")


def made_code():
    """That there is code which no file has, whose calls are not seen, is said."""
    script = ("import mmap, sys\nm = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_EXEC)\n"
              "print('up', flush=True)\nsys.stdin.read()\n")
    p = subprocess.Popen([sys.executable, "-S", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdout.readline()
    links = Links()
    for command in ("attach", "list"):
        done = subprocess.run([LIMPET, command] + [str(p.pid)] * (command == "attach"), env=links.env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    loose = [probe for target in common.listed(links.env)["targets"] for probe in target["probes"]
             if "no file has" in probe["reason"]]
    with open(f"/proc/{p.pid}/maps") as f:
        mapped = [int(line.split("-")[0], 16) for line in f if " r-xs " in line or " r-xp 00000000 00:00 0 \n" in line]
    p.communicate()
    links.counts()
    ok("code that no file has is told of", loose and {l["address"] for l in loose} <= set(mapped) and
       all(l["state"] == "refused" for l in loose) and "no file has" in done.stdout, f"{loose} {mapped} {done.stdout[-600:]}")


def contexts():
    """What programs see of a call, bit by bit, held against what the kernel's see."""
    tool, obj = (os.path.join(BUILD, "tests/integration", n) for n in ("syscall_ctx", "syscall_ctx.bpf.o"))
    sessions = folder(place="/dev/shm")
    env = environment(sessions, lang="en")

    def seen(load, start):
        p = subprocess.Popen([*load, tool, obj], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, universal_newlines=True)
        if "attached" not in p.stdout.readline():
            return p.communicate()[1]
        subprocess.run([*start, tool], env=env, stdin=subprocess.DEVNULL, check=True, timeout=60)
        return sorted(p.communicate()[0].splitlines())

    got = seen([LIMPET, "load", "--"], [LIMPET, "start", "--"])
    ok("all six programs see all three calls", isinstance(got, list) and len(got) == 18, got)
    real = seen(MOUNTED, [])
    if not isinstance(real, list):
        print("skip contexts, against the kernel: " + (real.splitlines() or ["no tracefs"])[0])
        return
    # The kernel's programs of tp/syscalls miss calls where there is much to do: what they see must be right.
    missed = [line for line in real if line not in got] + [line for line in got if line not in real and line[0] not in "13"]
    ok("and in them what the kernel's see", not missed, "\n".join(["limpet", *got, "kernel", *real]))


def threads_and_children():
    script = r"""
import os, subprocess, threading
def work():
    for i in range(200):
        os.getppid()
for _ in range(5):
    t = [threading.Thread(target=work) for i in range(4)]
    [x.start() for x in t]
    [x.join() for x in t]
for i in range(5):
    subprocess.run(["/bin/true"], check=True)
    if os.fork() == 0:
        os.getppid()
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
print("done")
"""
    links = Links()
    got = links.run([sys.executable, "-S", "-c", script], universal_newlines=True)
    seen, odd = links.counts()
    ok("threads, forks and programs started", got.stdout == "done\n" and not got.returncode, got.stdout + got.stderr)
    ok("calls of threads and children are seen", seen.get(NUMBERS["getppid"]) == (4005, 4005), seen.get(NUMBERS["getppid"]))
    made = [seen.get(NUMBERS[c], (0, 0)) for c in ("clone", "clone3", "vfork", "fork")]
    ok("who makes a child comes back, and so does the child",
       sum(a for a, _ in made) >= 30 and all(2 * a == b for a, b in made) and not odd, f"{made} {odd}")


def main():
    with open(os.path.join(folder(), "lines"), "w") as f:
        f.write("\n".join(str(i * 7919 % 10007) for i in range(5000)))
    same("sh", ["sh", "-c", "i=0; while [ $i -lt 10 ]; do /bin/true; i=$((i+1)); done; echo $i; exit 3"], ["wait4", "vfork"])
    same("bash", ["bash", "-c", "for i in 1 2 3; do (echo $i); done | cat; kill -9 $$"], [])
    same("sort", ["sort", "-n", f.name], ["write"])
    same("python3", [sys.executable, "-S", "-c", "import os, json; print(json.dumps([1]), os.getppid() > 0)"], ["getppid"])
    same("gcc", ["gcc", "-x", "c", "-E", "/dev/null"], ["vfork"])
    for name, command in (("git", ["git", "--version"]), ("node", ["node", "-e", "console.log(1 + 1)"])):
        if shutil.which(name):
            same(name, command, [])
    exits()
    every_number()
    signals()
    attach()
    made_code()
    contexts()
    threads_and_children()


if __name__ == "__main__":
    sys.exit(common.main(main))
