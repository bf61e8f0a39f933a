#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tools that nothing can be preloaded into, served by the supervisor: a Go program on cilium/ebpf, libbpf linked statically,
musl; against the kernel's output where bpf(2) is allowed. How tools and supervisors end.

usage: supervised.py BUILD_DIR [PART...]
"""
import difflib
import os
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import common  # noqa: E402
from common import BUILD, LIMPET, NOBODY, ok  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
MADE = os.path.join(BUILD, "tests/supervisor")
LIFE = os.path.join(MADE, "life")
# what limpet has beyond the kernel (docs/helpers.md)
BEYOND = {f"feature helper {p} Fn{h}" for p in ("Kprobe", "TracePoint", "RawTracepoint", "PerfEvent")
          for h in ("KtimeGetCoarseNs", "ProbeWriteUser", "OverrideReturn")}
GOCODE = "/usr/share/gocode"


def setting(name):
    """An environment with sessions of its own, below `name`, which everybody may enter."""
    place = common.folder(f"limpet-{name}-", "/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    return place, common.environment(os.path.join(place, "sessions"), lang="en")


def without_notes(text):
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith("limpet"))


def against_kernel(name, argv, env, change=lambda text: text):
    """On a busy machine either side may see its events later than the tool waits for them: one of three runs must agree."""
    for attempt in range(3):
        status, ours = common.run([LIMPET, "load", *argv], env, seconds=60)
        ours = change(without_notes(ours))
        if not ok(f"{name} runs on limpet", status == 0, ours):
            return
        status, kernel = common.run(argv[argv.index("--") + 1:] if "--" in argv else argv, env, seconds=60)
        if status:
            print(f"# the kernel's bpf(2) is not to be had here: {name}'s output is not compared")
            return
        if ours == (kernel := change(kernel)):
            break
    ok(f"{name}: the same on the kernel", ours == kernel,
       "\n".join(difflib.unified_diff(kernel.splitlines(), ours.splitlines(), "kernel", "limpet", lineterm="")))


def go_tool(name="gotool", cgo="0", options=(), source="gotool.go"):
    """Its path, built when it is not there, or older than its source; None with the reason printed."""
    source, made = os.path.join(HERE, source), os.path.join(MADE, name)
    if os.path.exists(made) and os.path.getmtime(made) > os.path.getmtime(source):
        return made
    if not shutil.which("go") or not os.path.isdir(os.path.join(GOCODE, "src/github.com/cilium/ebpf")):
        print("skip go: golang-go and golang-github-cilium-ebpf-dev are not installed")
        return None
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": GOCODE, "CGO_ENABLED": cgo, "GOFLAGS": "-p=2",
           "GOCACHE": os.path.join(MADE, "gocache")}
    done = subprocess.run(["go", "build", *options, "-o", made, source], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return made if ok(f"{name} builds", done.returncode == 0, done.stdout) else None


def go():
    tool = go_tool()
    if not tool:
        return
    place, env = setting("go")
    target = shutil.copy(os.path.join(MADE, "supervised_target"), place)
    tool = shutil.copy(tool, place)
    against_kernel("go", [tool, target], env)
    dynamic = go_tool("gotool_dynamic", "1", ["-ldflags=-linkmode=external"])
    if dynamic:
        against_kernel("go, linked dynamically", [shutil.copy(dynamic, place), target], env)
    if os.getuid():
        return
    theirs = os.path.join(place, "nobody")
    os.mkdir(theirs)
    os.chown(theirs, NOBODY, NOBODY)
    status, text = common.run([LIMPET, "load", tool, target], common.environment(theirs, lang="en"), user=NOBODY, seconds=60)
    ok("go: without root", status == 0 and "counted 25" in text, text)


def features_of(text):
    return {line.rsplit(" ", 2 if line.endswith("not there") else 1)[0]: line.endswith(" there") and not line.endswith("not there")
            for line in text.splitlines() if line.startswith("feature ")}


def go_user():
    """An object file, links with every option, and features: what limpet says it has the kernel has, and limpet does."""
    tool = go_tool("gouser", source="gouser.go")
    if not tool or not os.path.exists(os.path.join(MADE, "gouser.bpf.o")):
        return
    place, env = setting("gouser")
    argv = [shutil.copy(tool, place), os.path.join(MADE, "gouser.bpf.o"), shutil.copy(os.path.join(MADE, "supervised_target"), place)]
    status, ours = common.run([LIMPET, "load", *argv], env, seconds=100)
    ok("an object file in Go", status == 0, ours)
    ours = without_notes(ours)
    mine = features_of(ours)
    wanted = [f"map {m}" for m in ("Hash", "Array", "RingBuf", "LRUHash", "LPMTrie", "Queue", "Stack", "PerCPUHash", "PerfEventArray", "StackTrace")] + [
        f"program {p}" for p in ("Kprobe", "TracePoint", "RawTracepoint", "PerfEvent")] + [
        f"helper Kprobe Fn{h}" for h in ("MapLookupElem", "GetCurrentPidTgid", "RingbufOutput", "ProbeReadUserStr", "GetAttachCookie", "Loop")]
    ok("features that are there", all(mine.get("feature " + f) for f in wanted), [f for f in wanted if not mine.get("feature " + f)])
    status, kernel = common.run([*common.MOUNTED, *argv], env, seconds=100) if not os.getuid() else (1, "")
    if status:
        print("# the kernel's bpf(2), or tracefs, is not to be had here: gouser's output is not compared")
        return
    lines = lambda text: [line for line in text.splitlines() if not line.startswith("feature ")]  # noqa: E731
    ok("an object file in Go: the same on the kernel", lines(ours) == lines(kernel),
       "\n".join(difflib.unified_diff(lines(kernel), lines(ours), "kernel", "limpet", lineterm="")))
    theirs = features_of(kernel)
    beyond = {f for f, there in mine.items() if there and not theirs.get(f)}
    ok("features that the kernel does not have, or forbids here", beyond <= BEYOND, beyond - BEYOND)


def libbpf():
    _, env = setting("libbpf")
    static = os.path.join(MADE, "perf_buffer_static")
    if os.path.exists(static):
        against_kernel("libbpf, linked statically", [static], env)
    else:
        print("skip libbpf, linked statically: there is no libelf.a")
    # mprotect() of a mapping is not seen by the supervisor
    against_kernel("ring buffers", ["--via", "seccomp", "--", os.path.join(BUILD, "tests/ring/ring_tool"),
                                    os.path.join(BUILD, "tests/ring/ring.bpf.o"), "500"], env,
                   lambda text: "".join(line + "\n" for line in text.splitlines()
                                        if not line.startswith("mmap")))
    ring = os.path.join(BUILD, "tests/ring")
    against_kernel("poll and select", ["--via", "seccomp", "--", os.path.join(ring, "ring_ready"), os.path.join(ring, "ready.bpf.o")], env,
                   lambda text: "".join(line + "\n" for line in text.splitlines()
                                        if re.match(r"\w+ (poll|ppoll|select|pselect)\b", line)))


def descriptors():
    place, env = setting("fds")
    status, text = common.run([LIMPET, "load", LIFE, "cut"], env)
    ok("a map's file cut short", status == 0 and "cut 0 0\nthen 1 poll 1 another 0 6" in text, (status, text))
    number = lambda text: re.sub(r"map \d+", "map N", text)  # noqa: E731
    against_kernel("descriptors", [LIFE, "descriptors"], env, number)
    for life in (LIFE, os.path.join(MADE, "life_dynamic")):
        against_kernel("runs that a signal ends", [life, "interrupt"], env, number)
    if os.path.ismount("/sys/fs/bpf") or os.getuid():
        against_kernel("pins that are moved", [LIFE, "moves"], env, number)
        against_kernel("pins that are moved, by libc", [os.path.join(MADE, "life_dynamic"), "moves"], env, number)
    else:
        print("skip pins that are moved: no bpffs is mounted")
    if not shutil.which("musl-gcc"):
        print("skip musl: musl-tools is not installed")
        return
    musl = os.path.join(place, "life-musl")
    subprocess.run(["musl-gcc", "-static", "-O2", "-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu",
                    "-o", musl, os.path.join(HERE, "life.c")], check=True)
    ours = common.run([LIMPET, "load", LIFE, "descriptors"], env)
    ok("musl: as with glibc", ours == common.run([LIMPET, "load", musl, "descriptors"], env), ours)


def supervisors(env):
    """Those of this session."""
    return [pid for pid, _ in common.named(env, "limpet-super")]


def maps(env):
    return [m["name"] for m in common.listed(env)["maps"]]


def begin(env, *argv):
    """A tool that has made its map."""
    p = common.spawn([LIMPET, "load", *argv], env)
    ok(f"{argv[-1]}: begins", common.wait_for(lambda: "map " in common.output(p)), common.output(p))
    return p


def gone(env):
    return common.wait_for(lambda: not supervisors(env) and maps(env) == [])


def endings():
    _, env = setting("ends")
    for how, wanted in (("status", 3), ("abort", 128 + signal.SIGABRT)):
        status, text = common.run([LIMPET, "load", LIFE, how], env)
        ok(f"exit status: {how}", status == wanted, (status, text))
        ok(f"exit status: {how}: nothing is left", gone(env), (supervisors(env), maps(env)))
    p = begin(env, LIFE, "sleep")
    tools = common.listed(env)["tools"]
    ok("the tool is listed, not its supervisor", len(tools) == 1 and tools[0]["pid"] not in supervisors(env), tools)
    os.kill(tools[0]["pid"], signal.SIGKILL)
    ok("a killed tool", p.wait(10) == 128 + signal.SIGKILL and gone(env), (p.returncode, maps(env)))
    p = begin(env, LIFE, "sleep")
    ok("SIGTERM is passed on", common.stop(p, signal.SIGTERM) == 128 + signal.SIGTERM and gone(env), p.returncode)
    p = begin(env, LIFE, "sleep")
    os.kill(supervisors(env)[0], signal.SIGINT)
    ok("what is sent to the supervisor, too", p.wait(10) == 128 + signal.SIGINT and gone(env), p.returncode)


def killed_supervisor():
    _, env = setting("killed")
    for how in ("sleep", "spin"):
        p = begin(env, LIFE, how)
        tool = common.listed(env)["tools"][0]["pid"]
        os.kill(supervisors(env)[0], signal.SIGKILL)
        status = p.wait(10)
        text = common.output(p)
        ok(f"a killed supervisor: {how}", status == 128 + signal.SIGKILL and "was killed, and the tool with it" in text,
           (status, text))
        ok(f"a killed supervisor: {how}: the tool and its objects are gone",
           gone(env) and common.wait_for(lambda: not os.path.exists(f"/proc/{tool}")), (maps(env), tool))


def left_behind():
    place, env = setting("left")
    seen = os.path.join(place, "seen")
    status, text = common.run([LIMPET, "load", LIFE, "leave", seen], env)
    ok("what the tool leaves is not its end", status == 7, (status, text))
    ok("it is served still", common.wait_for(lambda: os.path.exists(seen) and open(seen).read() == "5 0 6\n"),
       os.path.exists(seen) and open(seen).read())
    ok("and its end is the supervisor's", gone(env), (supervisors(env), maps(env)))


def background():
    _, env = setting("back")
    status, text = common.run([LIMPET, "load", "-b", "--via=seccomp", os.path.join(common.DEMO, "uprobe_queue")], env)
    ok("-b returns", status == 0 and "runs in the background" in text, text)
    pid = int(re.search(r"pid (\d+)", text).group(1))
    ok("-b says the tool's pid", [t["pid"] for t in common.listed(env)["tools"]] == [pid], text)
    status, text = common.run([LIMPET, "start", os.path.join(common.DEMO, "target"), "-n", "10", "-i", "0", "-q"], env)
    show = subprocess.run([LIMPET, "map", "show", "events"], env=env, stdout=subprocess.PIPE, text=True, check=False).stdout
    ok("a target's events come", status == 0 and "events" in show, text + show)
    os.kill(pid, signal.SIGTERM)
    ok("kill ends it", gone(env), (supervisors(env), maps(env)))


LINES = r"""
import os
target, name = os.environ["TARGET"], f"limpet_{os.getpid()}"
f = os.open("/sys/kernel/tracing/uprobe_events", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
print("written", os.write(f, f"p:{name}/here {target}:0x40\n".encode()))
try:
    os.write(f, b"p:nonsense\n")
except OSError as e:
    print("nonsense", e.errno)
with open("/sys/kernel/tracing/uprobe_events") as lines:
    print([line.split()[0].replace(name, "NAME") for line in lines if name in line])
print("id", int(open(f"/sys/kernel/tracing/events/{name}/here/id").read()) > 0)
print("removed", os.write(f, f"-:{name}/here\n".encode()))
os.close(f)
print("stays closed", os.path.exists(f"/proc/self/fd/{f}"))
"""


def text_interface():
    _, env = setting("lines")
    env["TARGET"] = os.path.join(MADE, "supervised_target")
    status, ours = common.run([LIMPET, "load", "--via", "seccomp", sys.executable, "-c", LINES], env)
    ours = without_notes(ours)
    wanted = "nonsense 22\n['p:NAME/here']\nid True\nremoved"
    ok("uprobe_events", status == 0 and wanted in ours and "stays closed False" in ours, ours)
    if os.access("/sys/kernel/tracing/uprobe_events", os.W_OK):
        status, kernel = common.run([sys.executable, "-c", LINES], env)
        digits = lambda text: re.sub(r"(written|removed) \d+", r"\1", text)  # noqa: E731
        ok("uprobe_events: the same on the kernel", status != 0 or digits(ours) == digits(kernel), ours + kernel)


def where_it_cannot():
    _, env = setting("cannot")
    status, text = common.run([LIMPET, "load", LIFE, "status"], env, deny=True)
    ok("an outer filter that forbids bpf(2)", status == 126 and "seccomp filter around limpet" in text, (status, text))
    status, text = common.run([LIMPET, "load", LIFE, "shell", f"{LIMPET} load {LIFE} status"], env)
    ok("a supervisor inside another", status == 126 and "another supervisor" in text, (status, text))
    status, text = common.run([LIMPET, "load", "--via", "preload", LIFE], env)
    ok("--via preload on a static tool", status == 126 and "nothing can be preloaded" in text, (status, text))
    status, text = common.run([LIMPET, "load", "--via", "other", LIFE], env)
    ok("--via something else", status == 2 and "preload or seccomp" in text, (status, text))
    status, text = common.run([LIMPET, "load", LIFE, "shell", "exec /nowhere/at/all"], env)
    ok("what it starts goes on in the kernel", status == 127, (status, text))


if __name__ == "__main__":
    sys.exit(common.main(go, go_user, libbpf, descriptors, endings, killed_supervisor, left_behind, background, text_interface, where_it_cannot,
                         need=("tests/supervisor/life", "src/agent/liblimpet-agent.so", "examples/queue_demo/uprobe_queue")))
