#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tracefs as limpet serves it to what runs under `limpet load`, against the kernel's own: the events of system
calls, the same names, the same format but for the ids; and the numbers of the calls, which tracefs does not
say, by counting one call of each with a perf event.

And uprobe_events: what it answers to lines written to it, and a program on an event that it defined.

usage: tracefs.py BUILD_DIR
"""
import ctypes
import os
import re
import struct
import subprocess
import sys

import common
from common import BUILD, LIMPET, MOUNTED, ok

sys.path.insert(0, os.path.join(common.SOURCE, "tools"))
import gen_syscalls  # noqa: E402

TRACEFS = "/sys/kernel/tracing"
SHOW = f"cat {TRACEFS}/events/syscalls/sys_e*/format {TRACEFS}/events/raw_syscalls/sys_e*/format"
IDS = f"cd /; for f in {TRACEFS}/events/*syscalls/sys_e*; do read id < $f/id; echo ${{f#{TRACEFS}/events/}} $id; done"


def read(argv, env=None):
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    # what `limpet load` says when a tool has run for a while without a target is not the tool's
    said = [line for line in done.stderr.decode().splitlines(True) if not line.startswith("limpet: no process is observed")]
    return done.returncode, done.stdout.decode() + "".join(said)


def normal(text):
    return re.sub(r"^ID: \d+$", "ID: N", text, flags=re.M)


def pairs(text):
    return dict(line.split() for line in text.splitlines())


def first_difference(a, b):
    for x, y in zip(a.splitlines(), b.splitlines()):
        if x != y:
            return f"limpet: {x}\nkernel: {y}"
    return f"{len(a)} and {len(b)} bytes"


def formats(ours):
    status, kernel = read([*MOUNTED, "sh", "-c", SHOW])
    if status:
        print("skip formats as the kernel's: tracefs cannot be mounted here")
        return
    got = read([*ours, "sh", "-c", SHOW])[1]
    ok("formats as the kernel's", normal(got) == normal(kernel), first_difference(normal(got), normal(kernel)))


def ids(ours):
    got = pairs(read([*ours, "sh", "-c", IDS])[1])
    ok("every event has an id of its own", len(set(got.values())) == len(got) > 700, got)
    shown = read([*ours, "cat", *[f"{TRACEFS}/events/{e}/format" for e in got]])[1]
    ok("the id in the format is the id", re.findall(r"ID: (\d+)", shown) == list(got.values()))
    again = read([*ours, "--", "cat", "/sys/kernel/debug/tracing/events/syscalls/sys_enter_openat/id"])[1]
    ok("the same under debugfs", again.strip() == got["syscalls/sys_enter_openat"], again)
    listed = read([*ours, "cat", f"{TRACEFS}/available_events"])[1].split()
    ok("available_events has them all", sorted(e.replace(":", "/") for e in listed) == sorted(got), len(listed))


def others(ours):
    code = f"""
import glob, os
t = "{TRACEFS}"
print(sorted(os.listdir(t + "/events")), len(glob.glob(t + "/events/syscalls/sys_enter_open*/format")))
print(os.path.exists(t + "/events/sched/sched_switch/id"), os.path.isdir(t + "/events/syscalls/sys_exit_read"))
for name, mode in (("events/syscalls/sys_enter_read/id", "w"), ("events/syscalls", "r"), ("current_tracer", "r")):
    try:
        open(t + "/" + name, mode)
        print("opened")
    except OSError as e:
        print(e.__class__.__name__)
print(repr(open(t + "/uprobe_events").read()))
"""
    status, got = read([*ours, "python3", "-c", code])
    want = "['raw_syscalls', 'syscalls'] 6\nFalse True\nPermissionError\nIsADirectoryError\nFileNotFoundError\n''\n"
    ok("what is there and what is not", status == 0 and got == want, got)


def perf_counts(libc, event, nr):
    """How many events one call of system call `nr`, with arguments that are no good, is; None: not to be had."""
    attr = struct.pack("IIQ", 2, 128, event).ljust(128, b"\0")
    fd = libc.syscall(298, attr, 0, -1, -1, 0)
    if fd < 0:
        return None
    libc.syscall(nr, -1, -1, -1, -1, -1, -1)
    count = struct.unpack("Q", os.read(fd, 8))[0]
    os.close(fd)
    return count


def numbers(ours):
    """Of those calls whose numbers are not in the system's headers under their own name."""
    status, text = read([*MOUNTED, "sh", "-c", IDS])
    got = pairs(read([*ours, "sh", "-c", IDS])[1])
    kernel = {} if status else pairs(text)
    libc = ctypes.CDLL(None, use_errno=True)
    for name, nr in {**gen_syscalls.OTHER_NAMES, **gen_syscalls.LATER}.items():
        event = kernel.get(f"syscalls/sys_enter_{name}")
        if "uprobe" in name or name == "uretprobe" or not event:
            continue  # those end a process that may not make them
        # once in thousands of times the kernel has not seen the call
        counts = [perf_counts(libc, int(event), nr) for _ in range(3)]
        count = max(n or 0 for n in counts)
        if counts[0] is None:
            print(f"skip number of {name}: no perf events here")
            continue
        ours_of = (int(got[f"syscalls/sys_enter_{name}"]) - 20001) // 2
        ok(f"number of {name}", count == 1 and ours_of == nr, (count, nr, ours_of))


LINES = """p:foo /bin/true:0x40
p:foo /bin/true:0x40
r:bar/baz /bin/true:0x60
p /bin/true:0x70
p:x /nonexistent:0x40
p:x /bin/true
p:x /bin/true:zz
p:9x /bin/true:0x40
q:x /bin/true:0x4
-:nope
p:x /tmp:0x4
p:far /bin/true:0x4000000000
r:ro /bin/true:0x90(0x10)
p:rp /bin/true:0x98(16)
# hi

p:y /bin/true:64
p:lib/a-b /bin/true:0x40
p:rel true:0x40"""
WRITE = f"""t={TRACEFS}
write() {{ printf '%s: ' "$1"; printf '%s\\n' "$1" >> $t/uprobe_events && echo done; }}
while read -r line; do write "$line"; done <<'EOF'
{LINES}
EOF
cat $t/uprobe_events
ls $t/events/bar $t/events/uprobes | grep -vE 'enable|filter'
cat $t/events/uprobes/foo/format $t/events/bar/baz/format
for l in -:foo -:bar/baz -:uprobes/none -:bar/; do write $l; done
cat $t/uprobe_events
grep uprobes $t/available_events | sort
printf 'p:aa /bin/true:0x80\\np:bb /bin/true:0x94\\nq:zz\\np:cc /bin/true:0x91' >> $t/uprobe_events
cat $t/uprobe_events
echo > $t/uprobe_events
cat $t/uprobe_events
ls $t/events/uprobes
"""


def uprobe_lines(ours):
    """By dash: it writes by write(2), not by libc's streams."""
    status, kernel = read([*MOUNTED, "dash", "-c", WRITE])
    if status not in (0, 2) or "foo" not in kernel:
        print("skip uprobe_events as the kernel's: tracefs cannot be mounted here")
        return
    got = read([*ours, "dash", "-c", WRITE])[1]
    ok("uprobe_events as the kernel's", normal(got) == normal(kernel), first_difference(normal(got), normal(kernel)))


RELATIVE = f"""cd {TRACEFS} && /bin/pwd
echo 'p:cwd/one /bin/true:0x2000' >> uprobe_events; grep -c cwd/one uprobe_events ./events/../uprobe_events
cd events/cwd/one && /bin/pwd
head -1 format; cat enable; [ -e ../one/id ] && echo there; [ -e nothing ] || echo not there
cd .. && /bin/pwd
head -1 one/format; rm one/id 2>/dev/null || echo stays; mkdir two 2>/dev/null || echo not made
cd ../../.. && /bin/pwd; [ -d tracing ] && echo directory
cd / && echo '-:cwd/one' >> sys/kernel/tracing/uprobe_events; cd /sys; grep -c cwd/one ./kernel/tracing/uprobe_events
cd /sys/kernel/debug/tracing && head -1 events/syscalls/sys_enter_openat/format
"""


def relative(ours):
    """Names from a directory in tracefs, by two shells and what they start."""
    for shell in ("dash", "bash"):
        got = read([*ours, shell, "-c", RELATIVE])[1]
        mine = read(["sh", "-c", f"grep cwd/one {TRACEFS}/uprobe_events"])[1]
        ok(f"{shell}: names from a directory in tracefs are not the kernel's", "p:cwd/one" not in mine, mine)
        status, kernel = read([*MOUNTED, shell, "-c", RELATIVE])
        if "cwd/one" not in kernel:
            print(f"skip {shell}: names from a directory in tracefs, against the kernel: it cannot be mounted here ({status})")
        else:
            ok(f"{shell}: names from a directory in tracefs", got == kernel, f"limpet\n{got}\nkernel\n{kernel}")


TOOL = r"""
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
/* Counts runs of the event of that id until its input ends. */
int main(int argc, char **argv)
{
	union bpf_attr m, p, e;
	struct perf_event_attr a = {.type = PERF_TYPE_TRACEPOINT, .size = sizeof(a), .config = strtoull(argv[1], NULL, 10)};
	unsigned key = 0;
	long value = -1;
	memset(&m, 0, sizeof(m));
	m.map_type = BPF_MAP_TYPE_ARRAY; m.key_size = 4; m.value_size = 8; m.max_entries = 1;
	int map = syscall(SYS_bpf, BPF_MAP_CREATE, &m, sizeof(m));
	struct bpf_insn insns[] = {
		{BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_VALUE, 0, map}, {0},
		{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1}, {BPF_STX | BPF_ATOMIC | BPF_DW, 1, 0, 0, BPF_ADD},
		{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0}, {BPF_JMP | BPF_EXIT}};
	memset(&p, 0, sizeof(p));
	p.prog_type = BPF_PROG_TYPE_KPROBE; p.insns = (long)insns; p.insn_cnt = 6; p.license = (long)"GPL";
	int prog = syscall(SYS_bpf, BPF_PROG_LOAD, &p, sizeof(p)), event = syscall(SYS_perf_event_open, &a, -1, 0, -1, 0);
	printf("%d\n", ioctl(event, PERF_EVENT_IOC_SET_BPF, prog));
	ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
	fflush(stdout);
	while (getchar() != EOF)
		;
	memset(&e, 0, sizeof(e));
	e.map_fd = map; e.key = (long)&key; e.value = (long)&value;
	syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &e, sizeof(e));
	printf("%ld\n", value);
	return 0;
}
"""
CALLEE = r"""
#include <stdio.h>
__attribute__((noinline)) int called(int n) { __asm__ volatile("nop; nop; nop; nop; nop" ::: "memory"); return n + 1; }
int main(void) { int n = 0; while (n < 7) n = called(n); return n != 7; }
"""


def counted(prefix, start, define, tool, callee, env):
    """What the tool says when the callee has run."""
    script = f"echo '{define}' > {TRACEFS}/uprobe_events; exec {tool} $(cat {TRACEFS}/events/uprobes/called/id)"
    p = subprocess.Popen([*prefix, "dash", "-c", script], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    common.processes.append(p)
    first = p.stdout.readline()
    subprocess.run([*start, callee], env=env, check=True)
    return (first + p.communicate()[0]).decode().split()


def uprobe_by_name(ours):
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en")
    tool, callee = os.path.join(work, "tool"), common.compile_c(CALLEE, os.path.join(work, "callee"), "-no-pie")
    common.compile_c(TOOL, tool, "-w")
    sym = re.search(r"(\w+) T called", subprocess.check_output(["nm", callee]).decode())[1]
    define = f"p:called {callee}:{int(sym, 16) - 0x400000:#x}"
    got = counted([LIMPET, "load"], [LIMPET, "start"], define, tool, callee, env)
    ok("a program on an event of uprobe_events runs", got == ["0", "7"], got)


def tracefs():
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en")
    ours = ["env", *[f"{k}={env[k]}" for k in ("LIMPET_DIR", "LIMPET_LANG")], LIMPET, "load"]
    for part in (formats, ids, others, numbers, uprobe_lines, relative, uprobe_by_name):
        part(ours)


if __name__ == "__main__":
    sys.exit(common.main(tracefs, need=("src/loader/liblimpet-shim.so",)))
