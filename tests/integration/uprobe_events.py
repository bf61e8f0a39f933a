#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tracefs' uprobe_events under `limpet load` against the kernel's own: lines with arguments, each with its errno, the file
read back and the events' formats; and what shells and their commands write, by write(2) and by libc's streams.

usage: uprobe_events.py BUILD_DIR
"""
import os
import re
import shutil
import subprocess
import sys

import common
from common import LIMPET, MOUNTED, ok

TRACEFS = "/sys/kernel/tracing"
# What is to be seen there.


def deep(n, inner="%di"):
    return "+0(" * n + inner + ")" * n


PLACES = ["/bin/true:0x40(2)", "/bin/true:0x40(3)", "/bin/true:0x40()", "/bin/true:0x40(2", "/bin/true:0x40(2)x", "/bin/true:0x40%return",
          "/bin/true:0x40%foo", "/bin/true:0x40%return(8)", "/bin/true:0x40(8)%return", "/bin/true:010", "/bin/true:-1", "/bin/true:+1",
          "/bin/true:", ":0x40", "/bin/true:0x99999999999999999999", "/bin/true:0x40(0x99999999999999999999)", "/none:0x40 %no"]
ARGS = ["%di", "arg=%di:u64 str=+0(%si):string", "%rdi", "$retval", "$stack $stack0 $stack12 $comm", "@0x1234 x=@+0x10:u8", "@sym", "\\1 x=\\-1:s8 y=\\\"hello\"",
        "+8(-8(+16(%sp))):x32 +u0(%di):ustring", "%di:b4@2/8", "%di:b40@2/8", "+0(%di):u8[4]", "+0(%di):string[4]", "+0(%di):u8[65]", "%di:u8[4]",
        "%di:string", "%di:foo", "a=%di a=%si", "1a=%di", "common_pid=%di", "__probe_ip=%di", "=%di", "a" * 32 + "=%di", "a" * 33 + "=%di", "$arg1", "%di:char",
        "%di:symbol", "$comm:string", "$comm:u64", "$comm:ustring", "+0(%di", "+0%di", "+(%di)", "-0x10(%di):x16 +010(%di):u16", "a=", "+0(%di):string:string",
        "$foo", "+0(%di):u8[0]", "+0(%di):char[8] +0(%di):x64[2] +0(%di):s16[3]", "+0($comm):u8", "+0(\\1):u8", "$stack-1", "$stack99999",
        "+0(@0x10):string +0(@+0x10):u32", "+0(%di):b8@4/32 +0(%di):b3@5/8[2]", "%ip %flags %orig_ax %cs %ss %r15 %sp %bp", "%eax", "%ds", "\"a=%di\"",
        "  a=%di    b=%si", "%di:u64:x", "\\\"open", "x=\\0x10:u8", "x=\\\"a\":u8", "++0(%di)", "+0x(%di)", "$COMM", "$Retval", "@", "@+", "%", "$", "\\", "a-b=%di",
        "$comm[2]", deep(9), deep(13), deep(14), deep(15), deep(16), deep(14) + ":string", deep(13) + ":string", deep(14) + ":b3@2/8", deep(13) + ":b3@2/8[2]",
        deep(12) + ":b3@2/8[2]", deep(14) + ":u8[2]", "+0(\\\"abc\"):u8", "\\\"abc\":string", "\\\"abc\":string[1]", "%di:b0@0/8", "%di:b1@8/8", "%di:b64@0/64",
        "%di:b4@0/7", "%di:b4@0", "%di:b@2/8", "%di:b4@/8", "%di:b0x4@0x2/0x8", "$stack0:string", "+0(%di):u8[064]", "+0(%di):u8[1]x", "+0(%di):u8[1", "+0(%di):u8[+2]",
        "+0(%di):u8[-2]", "arg1=%di %si arg2=%dx", "arg2=%di %si", "+0x7fffffffffffffff(%di)", "+0x8000000000000000(%di)", "\\99999999999999999999", "\\abc",
        "$stack0x10", "$stack010", "$stack" + "9" * 24, "@010 @0xffffffffffffffff", "@-1", "@+-1", "@+0x10000000000000000", "+u(%di)", "%di:", ":u8", "\\\"a\\\"b\"", "\\\"\"",
        "%di=3", "\\\"a:b\"", "+0(%di)x", "+0(%di))", "+0((%di)", "+-8(%di)", "-+8(%di)", "--8(%di)", "\\1:string \\-5 \\+5", "\\-+5", "(%di)", "x=u", "+0(+u4(%di)):ustring",
        "+0(%di):u64[64] " * 8, " ".join(f"z{i}=%di" for i in range(40)), "\\-9223372036854775808", "\\-9223372036854775809", "%di # and so on"]
OTHERS = ["p:g/a /bin/true:0x40", "p:h/a /bin/true:0x41", "p:h/b /bin/true:0x42", "p:a /bin/true:0x43", "-:a", "p:h/c /bin/true:0x42", "-:h/", "p:h/c /bin/true:0x42", "-:/c", "-:", "-:/",
          "-:h/c/d", "-:h", "p:x /bin/true:0x42 %di", "-:x /bin/true:0x0000000000000042 arg1=%si", "-:x /bin/true:0x0000000000000042 %di",
          "-:x /bin/true:0x0000000000000042 arg1=%di", "-q", "-", "-:h/c", "r2:six /bin/true:0x44 $retval", "p9 /bin/true:0x45", "r /bin/true:0x46", "pp:x /bin/true:0x47", "q:x /bin/true:0x40",
          "r:ret /bin/true:0x48 $retval:s32 c=$comm s=+0($retval):string", "p:has /bin/true:0x40 %di", "p:has /bin/true:0x40 %di"]
LINES = [f"p:p{i} {place}" for i, place in enumerate(PLACES)] + [f"p:a{i} /bin/true:0x40 {args}" for i, args in enumerate(ARGS)] + OTHERS
WRITE = f"""
import errno, glob, os, re, sys
t = "{TRACEFS}"
for line in {LINES!r}:
    fd = os.open(t + "/uprobe_events", os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, (line + "\\n").encode())
        print("done", line)
    except OSError as e:
        print(errno.errorcode[e.errno], line)
    os.close(fd)
print(open(t + "/uprobe_events").read())
for group in ("uprobes", "g", "h"):
    for f in sorted(glob.glob(t + "/events/" + group + "/*/format")):
        print(re.sub("ID: .*", "", open(f).read()))
open(t + "/uprobe_events", "w").close()
"""
SHELL = f"""t={TRACEFS}
echo p:one /bin/true:0x40 >> $t/uprobe_events; echo $?
echo p:one /bin/true:0x40 >> $t/uprobe_events; echo $?
/bin/echo p:one /bin/true:0x40 >> $t/uprobe_events; echo $?
/bin/echo p:two /bin/true:0x42 >> $t/uprobe_events; echo $?
printf 'bad\\n' >> $t/uprobe_events || echo failed
cat >> $t/uprobe_events <<E
p:three /bin/true:0x40 %di
E
python3 -c 'print("p:four /bin/true:0x40")' >> $t/uprobe_events
perl -e 'print "p:five /bin/true:0x40\\n"' >> $t/uprobe_events
awk 'BEGIN {{ print "p:six /bin/true:0x40" >> "{TRACEFS}/uprobe_events" }}'
echo p:seven /bin/true:0x40 | sed 's/seven/eight/' >> $t/uprobe_events
cat $t/uprobe_events
{{ echo p:new /bin/true:0x40; echo p:newer /bin/true:0x42; }} > $t/uprobe_events
cat $t/uprobe_events
echo > $t/uprobe_events
cat $t/uprobe_events
"""


# Events that show what they find, without a program: the values of each at each call.
CALLEE = r"""
#include <stdio.h>
struct thing { int a; char letter, none; short c; const char *names[3]; unsigned char bytes[5]; struct thing *next; };
__attribute__((noinline)) long called(long n, const char *s, struct thing *p, int neg, unsigned long big, void *bad)
{
	__asm__ volatile("nop; nop; nop; nop; nop" :: "r"(s), "r"(p), "r"(neg), "r"(big), "r"(bad) : "memory");
	return n + 1;
}
__attribute__((noinline)) const char *named(int n) { __asm__ volatile("nop; nop; nop; nop; nop" ::: "memory"); return n & 1 ? "odd" : "even"; }
int main(void)
{
	struct thing x = {-5, 'q', 0, -3, {"one", "two", (char *)8}, {1, 2, 250, 4, 5}, 0};
	x.next = &x;
	for (int i = 0; i < 3; i++) {
		called(i, i ? "second string" : "hello \"world\"", &x, -7, 0xfedcba9876543210ul, (void *)16);
		named(i);
	}
	return 0;
}
"""
SHOWN = ["p:e/a CALLED n=%di:s64 s=+0(%si):string a=+0(%dx):s32 ch=+4(%dx):char c=+6(%dx):s16 neg=%cx:s32 big=%r8 bx=%r8:x16 s8=%r8:s8 ui=%cx:u32",
         "p:e/b CALLED by=+32(%dx):u8[5] names=+8(%dx):string[3] bits=+32(%dx):b4@2/8 hi=%r8:b12@52/64",
         "p:e/c CALLED bads=+0(%r9):string chain=+6(+40(+40(%dx))):s16 comm=$comm k=\\5 m=\\-1:s8",
         "p:e/d CALLED st=$stack0 elf=+1(@+0):string fo=@+0:string fx=@+0x18:x64 back=-8(+8(@+0x18)):x8",
         "r:e/r CALLED v=$retval c=$comm", "r:e/s NAMED v=+0($retval):string x=+0($retval):x8[4]", "p:e/none CALLED"]
EVENTS = "a b c d r s none"
# T: where events are enabled. On the kernel an instance, since the trace is everybody's.
ENABLE = f"""t={TRACEFS}
printf '%s\n' "$1" >> $t/uprobe_events || echo bad
cat $T/events/e/enable $T/events/e/a/enable
for e in {EVENTS}; do echo 1 > $T/events/e/$e/enable; done
echo 1 > $T/events/e/a/enable
cat $T/events/e/enable $T/events/e/a/enable
echo -:e/a >> $t/uprobe_events
echo > $t/uprobe_events
"""
DISABLE = f"""t={TRACEFS}
for w in 2 x -1 1x; do echo $w > $T/events/e/a/enable; done
echo 0 > $T/events/e/a/enable
cat $T/events/e/enable
echo 0 > $T/events/e/enable
cat $T/events/e/enable
echo -:e/a >> $t/uprobe_events
cat $T/events/e/a/enable
echo > $t/uprobe_events
"""
# One descriptor for both, and names with slashes to spare, as perf has them.
BOTH = f"""import os
T = "{TRACEFS}//uprobe_events"
def shown(text): return [line for line in text.splitlines() if ":both/" in line]
def say(what, call):
    try: print(what, call())
    except OSError as e: print(what, e.strerror)
for flags in (os.O_RDWR | os.O_APPEND, os.O_RDWR):
    fd = os.open(T, flags)
    say("before", lambda: shown(os.read(fd, 65536).decode()))
    say("write", lambda: os.write(fd, b"p:both/a /bin/bash:0x40\\n"))
    say("again", lambda: os.write(fd, b"p:both/b /bin/bash:0x50"))
    say("wrong", lambda: os.write(fd, b"p:both/c nowhere"))
    os.close(fd)
    print(shown(open("{TRACEFS}///uprobe_events").read()), os.path.exists("{TRACEFS}//events/both/a/id"))
    with open(T, "r+") as f:
        print(shown(f.read()))
        f.write("-:both/a\\n-:both/b\\n")
    print(shown(open(T).read()))
"""
PERF = """e='probe_bash:both_of_tests'
perf probe -q -x /bin/bash both_of_tests=readline && perf probe -l $e 2>/dev/null
perf probe -q -d $e 2>/dev/null; echo $?; perf probe -l $e 2>/dev/null"""
FIXED = f"""t={TRACEFS}
echo x > $t/events/none
echo x > $t/none
touch $t/none
mkdir $t/events/none
rmdir $t/events
rm $t/uprobe_events
mv $t/events $t/none
"""


def read(argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    # what `limpet load` says when a tool has run for a while without a target is not the tool's
    said = [line for line in done.stderr.decode().splitlines(True) if not line.startswith("limpet: no process is observed")]
    return done.returncode, done.stdout.decode() + "".join(said)


def first_difference(a, b):
    for x, y in zip(a.splitlines(), b.splitlines()):
        if x != y:
            return f"limpet: {x}\nkernel: {y}"
    return f"{len(a)} and {len(b)} bytes"


def hits(text):
    """The lines of trace_pipe, without who, where and when; the events at one place come in any order."""
    return sorted(re.sub(r"^ *(\S+)-\d+ .*?: (\w+: \(0x)", r"\1 \2", line).replace("\0", " ") for line in text.splitlines() if " e/" not in line and ": (0x" in line)


def enabled(ours, env, work):
    callee = common.compile_c(CALLEE, os.path.join(work, "callee"), "-O2", "-no-pie")
    at = dict(re.findall(r"(\w+) T (called|named)$", subprocess.check_output(["nm", callee]).decode(), re.M))
    at = {name: f"{callee}:{int(address, 16) - 0x400000:#x}" for address, name in at.items()}
    lines = "\n".join(SHOWN).replace("CALLED", at["called"]).replace("NAMED", at["named"])
    end = "timeout 1 cat $T/trace_pipe"
    instance = f"{TRACEFS}/instances/limpet-test-{os.getpid()}"
    script = f"T={instance}; mkdir $T || exit 1; {ENABLE}\n{callee}; {end}; echo END; {DISABLE}\nrmdir $T"
    status, kernel = read([*MOUNTED, "bash", "-c", script, "bash", lines])
    if status or "END" not in kernel:
        print("skip enabled: tracefs cannot be mounted here")
        return
    got = read([*ours, "bash", "-c", f"T={TRACEFS}; {ENABLE}", "bash", lines])[1]
    subprocess.run([LIMPET, "start", callee], env=env, check=True)
    shown = read([*ours, "bash", "-c", f"T={TRACEFS}; {end}"])[1]
    traced = subprocess.run([LIMPET, "trace", "--now"], env=env, stdout=subprocess.PIPE, check=False).stdout.decode()
    got += shown + "END\n" + read([*ours, "bash", "-c", f"T={TRACEFS}; {DISABLE}"])[1]
    want = hits(kernel)
    ok("enabled: lines of trace_pipe as the kernel's", len(want) == 21 and hits(shown) == want, first_difference("\n".join(hits(shown)), "\n".join(want)))
    ok("enabled: limpet trace shows them too", hits(traced) == want, traced)
    others = [[re.sub(r"line \d+", "", line).replace(instance, TRACEFS) for line in text.splitlines() if ": (0x" not in line] for text in (got, kernel)]
    ok("enabled: what enable says and answers", sorted(others[0]) == sorted(others[1]), others)


def fixed(ours):
    status, kernel = read([*MOUNTED, "bash", "-c", FIXED])
    got = read([*ours, "bash", "-c", FIXED])[1]
    if "Permission denied" not in kernel:
        print("skip nothing can be made in it: tracefs cannot be mounted here")
        return
    ok("nothing can be made in it", got == kernel, first_difference(got, kernel))


def uprobe_events():
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en")
    ours = ["env", *[f"{k}={env[k]}" for k in ("LIMPET_DIR", "LIMPET_LANG")], LIMPET, "load"]
    for name, argv in (("lines with arguments", ["python3", "-c", WRITE]), ("bash", ["bash", "-c", SHELL]), ("dash", ["dash", "-c", SHELL]),
                       ("read and written", ["python3", "-c", BOTH]), ("perf probe", ["sh", "-c", PERF])):
        if argv[-1] == PERF and not shutil.which("perf"):
            print(f"skip {name}: there is no perf")
            continue
        status, kernel = read([*MOUNTED, *argv])
        if status or not re.search(r"p:|of_tests", kernel):
            print(f"skip {name}: tracefs cannot be mounted here")
            continue
        got = read([*ours, *argv])[1]
        ok(f"{name}: as the kernel's", got == kernel, first_difference(got, kernel))
    enabled(ours, env, work)
    fixed(ours)


if __name__ == "__main__":
    sys.exit(common.main(uprobe_events, need=("src/loader/liblimpet-shim.so",)))
