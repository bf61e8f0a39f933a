#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's bpftrace, one-liner by one-liner: what it prints with limpet and with the kernel must be the
same. A row is a name and a program; the probed program (bpftrace_target.c) is started by bpftrace's -c or, for
rows with `attach`, runs beforehand. Numbers that differ by nature (addresses, times, process ids) a row
replaces by a pattern of its own. Without the kernel's bpf(2) it is only seen that nothing fails.

usage: tool_bpftrace.py BUILD_DIR [ROW...]     LIMPET_LONG=1: all rows
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import common
from common import BUILD, LIMPET, ok

LONG = os.environ.get("LIMPET_LONG") == "1" or len(sys.argv) > 2
ONLY = sys.argv[2:]
TARGET = os.path.join(BUILD, "tests/integration/bpftrace_target")

HEX = (r"0x[0-9a-f]+", "0xN")
DEC = (r"\d+", "N")


def row(name, program, *replace, short=False, args=(), params=(), attach=False, linger=False, unordered=False, alone=False):
    return dict(name=name, program=program.replace("T:", TARGET + ":"), replace=replace, short=short, args=args,
                params=params, attach=attach, linger=linger, unordered=unordered, alone=alone)


ROWS = [
    row("begin", 'BEGIN { printf("hello\\n"); exit(); } END { printf("bye\\n"); }', short=True, alone=True),
    row("interval", 'interval:ms:50 { @++; printf("tick %d\\n", @); if (@ == 3) { exit(); } }', short=True, alone=True),
    row("interval hz", 'interval:hz:20 { @n = count(); @s++; if (@s == 4) { exit(); } }', alone=True),
    row("interval two", 'interval:ms:30 { @a++; } interval:ms:300 { printf("%d\\n", @a > 5 && @a < 12); exit(); }', alone=True),
    row("uprobe printf", 'uprobe:T:work { printf("%d %s %lx\\n", arg0, str(arg1), arg2); }', short=True),
    row("formats", 'uprobe:T:work { printf("%d %u %x %X %o %c|%5d|%-5d|%05d|%lld %llx %hhd %s|%10s|%-10s|%%\\n", '
        'arg0, arg0, arg2, arg2, arg0, 65 + arg0, arg0, arg0, arg0, arg2, arg2, arg2, str(arg1), str(arg1), str(arg1)); }'),
    row("negative", 'uprobe:T:more { printf("%d %ld %u %x\\n", (int32)arg2, (int64)arg2, (uint32)arg2, (uint8)arg2); }'),
    row("args", 'uprobe:T:more { printf("%d %d %d %d %d %d\\n", arg0, arg1, (int64)arg2, arg3, arg4, arg5); }'),
    row("count", 'uprobe:T:work { @ = count(); }', short=True),
    row("count by key", 'uprobe:T:work { @[arg0 % 3] = count(); }', unordered=True),
    row("count by string", 'uprobe:T:work { @[str(arg1)] = count(); }', unordered=True),
    row("multi-key", 'uprobe:T:work { @[arg0 % 2, str(arg1), comm] = count(); }', unordered=True),
    row("sum", 'uprobe:T:work { @ = sum(arg0); @m[arg0 % 2] = sum(arg0); }'),
    row("avg", 'uprobe:T:work { @ = avg(arg0); }'),
    row("min max", 'uprobe:T:work { @lo = min(arg0 + 3); @hi = max(arg0); }'),
    row("stats", 'uprobe:T:work { @ = stats(arg0); }'),
    row("hist", 'uprobe:T:work { @ = hist(arg2); }', short=True),
    row("hist by key", 'uprobe:T:work { @[arg0 % 2] = hist(arg0 * 100); }'),
    row("lhist", 'uprobe:T:work { @ = lhist(arg0, 0, 10, 2); }'),
    row("assign", 'uprobe:T:work { @last = arg0; @first[arg0] = arg0 * arg0; }'),
    row("increment", 'uprobe:T:work { @++; @down--; @x += 2; @y[arg0 & 1] -= arg0; }'),
    row("delete", 'uprobe:T:work { @[arg0] = arg0; delete(@[arg0 - 1]); }'),
    row("clear", 'uprobe:T:work { @[arg0] = arg0; } uprobe:T:last { clear(@); printf("cleared\\n"); }'),
    row("zero", 'uprobe:T:work { @[arg0 % 2] = count(); } uprobe:T:last { zero(@); }', unordered=True),
    row("print map", 'uprobe:T:work { @[arg0] = arg0 * 10; } uprobe:T:last { print(@); clear(@); }'),
    row("print top", 'uprobe:T:work { @[arg0] = arg0 * 10; } uprobe:T:last { print(@, 3); print(@, 0, 10); clear(@); }'),
    row("print value", 'uprobe:T:work { print(arg0); print((arg0, "x")); }'),
    row("filter", 'uprobe:T:work /arg0 > 6/ { printf("%d\\n", arg0); }', short=True),
    row("filter string", 'uprobe:T:work /str(arg1) == "beta"/ { printf("%d\\n", arg0); }'),
    row("strncmp", 'uprobe:T:work { if (strncmp("gam", str(arg1), 3) == 0) { printf("%d\\n", arg0); } }'),
    row("if else", 'uprobe:T:work { if (arg0 % 3 == 0) { printf("a%d\\n", arg0); } else { printf("b%d\\n", arg0); } }'),
    row("ternary", 'uprobe:T:work { printf("%s\\n", arg0 > 5 ? "big" : "small"); }'),
    row("unroll", 'uprobe:T:last { $i = 0; unroll(5) { printf("%d\\n", $i); $i = $i + 1; } }'),
    row("while", 'uprobe:T:work { $i = 0; $s = (uint64)0; while ($i < 10) { $s += $i * arg0; $i++; if ($i == 8) { break; } } printf("%d\\n", $s); }'),
    row("tuple", 'uprobe:T:work { $t = (arg0, "x", (uint8)3); @[$t.0, $t.2] = count(); print($t); }', unordered=True),
    row("tuple value", 'uprobe:T:work { @ = (arg0, arg0 * 2); }'),
    row("str length", 'uprobe:T:work { printf("%s|\\n", str(arg1, 4)); }'),
    row("buf", 'uprobe:T:work { printf("%r\\n", buf(arg1, 5)); }'),
    row("buf binary", 'uprobe:T:work { printf("%r\\n", buf(arg3, 8)); }'),
    row("pointer", 'uprobe:T:work { $p = (int32 *)arg3; printf("%d %d\\n", *$p, *($p + 1)); }'),
    row("struct", 'struct point { int x; int y; char name[16]; } uprobe:T:work { $p = (struct point *)arg3; '
        'printf("%d %d %s\\n", $p->x, $p->y, $p->name); }'),
    row("comm", 'uprobe:T:last { printf("%s\\n", comm); }'),
    row("pid tid", 'uprobe:T:last { printf("%d %d\\n", pid == tid, pid == cpid); }'),
    row("uid gid", 'uprobe:T:last { printf("%d %d %d\\n", uid, gid, username == "root" ? 1 : 0); }', args=()),
    row("cpu", 'uprobe:T:last { printf("%d\\n", cpu < 256); }'),
    row("nsecs", 'uprobe:T:work { @t[arg0] = nsecs; if (arg0 > 0) { printf("%d\\n", @t[arg0] >= @t[arg0 - 1]); } } END { clear(@t); }'),
    row("elapsed", 'uprobe:T:last { printf("%d\\n", elapsed > 0 && elapsed < 60000000000); }'),
    row("rand", 'uprobe:T:work { @ |= rand; } END { printf("%d\\n", @ > 0); clear(@); }'),
    row("reg", 'uprobe:T:work { printf("%d %d\\n", reg("di"), reg("di") == arg0); }'),
    row("sarg0", 'uprobe:T:many { printf("%d %d\\n", sarg1, sarg2); }'),
    row("func probe", 'uprobe:T:last { printf("%s %s\\n", func, probe); }', linger=True),
    row("ustack", 'uprobe:T:inner { printf("%s\\n", ustack(1)); }', linger=True),
    row("ustack map", 'uprobe:T:inner { @[ustack(2)] = count(); }', HEX),
    row("usym", 'uprobe:T:inner { printf("%s\\n", usym(reg("ip"))); }', linger=True),
    row("uaddr", f'uprobe:T:last {{ printf("%d\\n", *uaddr("counter")); }}'),
    row("wildcard", 'uprobe:T:w_* { @[func] = count(); }', HEX, unordered=True),
    row("several probes", 'uprobe:T:work,uprobe:T:more { @[func] = count(); }', HEX, unordered=True),
    row("offset", 'uprobe:T:work+4 { @ = count(); }'),
    row("library", 'uprobe:libc:strtol /comm == "bpftrace_target"/ { @ = count(); }'),
    row("positional", 'uprobe:T:work { @[str($1), $2] = count(); } END { printf("%d\\n", $#); }', params=("name", "42")),
    row("arrays of keys", 'uprobe:T:work { @a[arg0 % 2] = arg0; @b[arg0 % 2] = @a[arg0 % 2] + 1; }'),
    row("maps between probes", 'uprobe:T:work { @in[tid] = arg0; } uprobe:T:more { printf("%d\\n", @in[tid]); } END { clear(@in); }'),
    row("exit in the middle", 'uprobe:T:work { printf("%d\\n", arg0); if (arg0 == 4) { exit(); } }'),
    row("time", 'uprobe:T:last { time("%H:%M:%S\\n"); }', DEC),
    row("strftime", 'uprobe:T:last { printf("%s\\n", strftime("%Y", nsecs)); }', DEC),
    row("join", 'uprobe:T:last { join(uptr(*uaddr("list"))); }'),
    row("system", 'uprobe:T:last { system("echo %d from system", 7); }', args=("--unsafe",)),
    row("cat", 'uprobe:T:last { cat("/proc/sys/kernel/ostype"); }'),
    row("kstr", 'uprobe:T:last { printf("%s\\n", kstr(arg0)); }'),
    row("ntop", 'uprobe:T:last { printf("%s\\n", ntop(0x0100007f)); }'),
    row("macaddr", 'uprobe:T:last { printf("%s\\n", macaddr(*uaddr("mac"))); }'),
    row("json", 'uprobe:T:work { @[arg0 % 2] = count(); @h = hist(arg0); @s = stats(arg0); }', args=("-f", "json")),
    row("errors", 'uprobe:T:no_such_function { exit(); }'),
    row("syntax error", 'uprobe:T:work { printf("%d\\n" }'),
    row("pid", 'uprobe:T:work { printf("%d %s\\n", arg0, str(arg1)); } uprobe:T:last { exit(); }', attach=True),
    row("pid filter", 'uprobe:T:work /pid == $1/ { @ = count(); } uprobe:T:last { exit(); }', attach=True, params=("PID",)),
    row("uretprobe", 'uretprobe:T:work { printf("%d\\n", retval); }'),
    row("uretprobe time", 'uprobe:T:work { @s[tid] = nsecs; } uretprobe:T:work /@s[tid]/ { @n = count(); @ok = min(nsecs >= @s[tid]); delete(@s[tid]); }'),
    row("override of printf buffer", 'uprobe:T:work { $i = 0; while ($i < 50) { printf("%d.%d\\n", arg0, $i); $i++; } }'),
]

NOISE = ("RLIMIT_MEMLOCK", "uprobe_events", "failed to detach probe", "limpet:", "Attaching ")


class World:
    def __init__(self, name, env, prefix):
        self.name, self.env, self.prefix = name, env, prefix

    def run(self, r):
        params = list(r["params"])
        target = None
        argv = [*self.prefix, "bpftrace", *r["args"]]
        if r["attach"]:
            target = self.start_target()
            argv += ["-p", str(target)]
            params = [str(target) if p == "PID" else p for p in params]
        elif not r["alone"]:
            argv += ["-c", TARGET + (" - linger" if r["linger"] else "")]
        argv += ["-e", r["program"], *params]
        p = common.spawn(argv, self.env)
        try:
            if target:
                self.release(p)
            p.wait(20)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            return "did not end\n" + common.output(p)
        return common.output(p)

    def start_target(self):
        self.go = tempfile.mktemp(dir=self.env["TEST_FOLDER"])
        prefix = [LIMPET, "start"] if self.prefix else []
        self.target = common.spawn([*prefix, TARGET, self.go], self.env)
        pid = []

        def find():
            pid[:] = [p for p, line in common.alive(TARGET, self.go).items() if "limpet" not in line.split()[0]]
            return pid
        common.wait_for(find)
        return pid[0]

    def release(self, p):
        """Lets the target go when the tool has attached."""
        common.wait_for(lambda: "Attaching" in common.output(p) or p.poll() is not None)
        if self.prefix:
            common.wait_for(lambda: all(x.get("targets", 1) for x in common.listed(self.env).get("links", [])))
        time.sleep(1.5)
        open(self.go, "w").close()


def normal(r, text):
    lines = [line for line in text.splitlines() if not any(n in line for n in NOISE)]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    text = "\n".join(lines)
    for pattern, to in r["replace"]:
        text = re.sub(pattern, to, text)
    if r["unordered"]:
        text = "\n".join(sorted(text.splitlines()))
    return text


def kernel_serves():
    done = subprocess.run(["bpftrace", "-e", "BEGIN { exit(); }"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return os.geteuid() == 0 and done.returncode == 0


def compare(r, ours, kernel):
    got = normal(r, ours.run(r))
    if not kernel:
        return ok(r["name"], "ERROR" not in got and "did not end" not in got, got)
    want = normal(r, kernel.run(r))
    return ok(r["name"], got == want, f"limpet:\n{got}\nkernel:\n{want}")


def one_liners():
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en", TEST_FOLDER=work)
    ours = World("limpet", env, [LIMPET, "load"])
    kernel = World("kernel", env, []) if kernel_serves() else None
    if not kernel:
        print("# the kernel's bpf(2) is not to be had here: limpet's output is not compared")
    for r in ROWS:
        if ONLY and r["name"] not in ONLY:
            continue
        if LONG or r["short"]:
            compare(r, ours, kernel)


if __name__ == "__main__":
    if not shutil.which("bpftrace"):
        print("skip tool_bpftrace: bpftrace is not installed")
        sys.exit(0)
    sys.argv = sys.argv[:2]
    sys.exit(common.main(one_liners, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so",
                                           "tests/integration/bpftrace_target")))
