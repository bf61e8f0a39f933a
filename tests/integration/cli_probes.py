#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the command line says about probes that were refused and functions nobody calls, and about
processes that may not be traced: Yama's levels, capabilities, other architectures, no room for maps.

usage: cli_probes.py BUILD_DIR [PART...]
"""
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from common import BUILD, DEMO, LIMPET, NOBODY, alive, compile_c, copy, environment, folder, listed, main, ok, output, run, \
    spawn, stop, wait_for

WORK = folder(place="/dev/shm")
TARGET = """#include <unistd.h>
__asm__(".text\\n.globl target_function\\n.type target_function,@function\\ntarget_function: nopl 0x100(%rax)\\n ret\\n"
        ".size target_function,.-target_function\\n"
        ".globl secondary_function\\n.type secondary_function,@function\\n.byte 0x90\\nsecondary_function: SECOND\\n"
        ".size secondary_function,.-secondary_function\\n");
void target_function(int, const char *); void secondary_function(void);
int main(int argc, char **argv) { for (;;) { if (argc > 1) target_function(1, ""); if (argc > 2) return 0; usleep(20000); } }
"""
# A system call cannot be moved from its place.
REFUSED = TARGET.replace("SECOND", "syscall\\n ret")
PLAIN = TARGET.replace("SECOND", "nopl 0x100(%rax)\\n ret")


@functools.cache
def own_mounts():
    """Can a command be run with mounts of its own?"""
    able = not subprocess.run(["unshare", "--mount", "true"], check=False, stderr=subprocess.DEVNULL).returncode
    if not able:
        print("skip mounts: not root, or the root directory is no mount point")
    return able


def env(name, lang):
    return environment(os.path.join(WORK, name), lang)


def probes():
    """A refused probe is told by load, start, attach and list, each once and in words."""
    path = compile_c(REFUSED, os.path.join(WORK, "refused"))
    for lang, word in (("en", "secondary_function in process %d is not observed: "), ("zh", "无法观测进程 %d 中的 secondary_function：")):
        where = env("refused-" + lang, lang)
        tool = spawn([LIMPET, "load", os.path.join(DEMO, "uprobe_queue"), "--binary", path], where)
        wait_for(lambda: "Ctrl" in output(tool))
        target = spawn([LIMPET, "start", path, "call"], where)
        wait_for(lambda: listed(where)["targets"])
        pid = listed(where)["targets"][0]["pid"]
        for name, p in (("load", tool), ("start", target)):
            seen = wait_for(lambda: word % pid in output(p), 20)
            ok(f"{name}: a refused probe, in {lang}", seen and output(p).count(word % pid) == 1, output(p))
        states = {p["offset"]: (p["state"], p["reason"]) for p in listed(where)["targets"][0]["probes"]}
        ok(f"list --json: state and reason, in {lang}", sorted(s for s, _ in states.values()) == ["attached", "refused"]
           and len({r for _, r in states.values()}) == 2, states)
        text = run([LIMPET, "list"], where)[1]
        ok(f"list: the reason below the target, in {lang}", re.search(rf"{pid}: refused\n +\S.*(：|: ).+", text), text)
        plain = spawn([path, "call"], where)
        got, text = run([LIMPET, "attach", plain.pid], where)
        ok(f"attach: a refused probe, in {lang}", got == 0 and text.count(word % plain.pid) == 1, text)
        for p in (plain, target, tool):
            stop(p)


def refused_alike():
    """Five functions that are refused for one reason are one message, with three names."""
    if not shutil.which("bpftrace"):
        print("skip refused alike: bpftrace is not installed")
        return
    names = [f"alike_{i}" for i in range(5)]
    text = "\n".join(f'asm(".globl {n}\\n.type {n}, @function\\n{n}: syscall\\n ret\\n .size {n}, . - {n}");' for n in names)
    path = compile_c("#include <unistd.h>\n" + text + "\nint main(void) { for (;;) usleep(20000); }\n", os.path.join(WORK, "alike"))
    for lang, words in (("en", r"(alike_\d), (alike_\d), (alike_\d) and 2 more in process \d+ are not observed: "),
                        ("zh", r"无法观测进程 \d+ 中的 (alike_\d), (alike_\d), (alike_\d) 等，另有 2 处：")):
        where = env("alike-" + lang, lang)
        target = spawn([LIMPET, "start", path], where)
        wait_for(lambda: listed(where)["targets"])
        tool = spawn([LIMPET, "load", "bpftrace", "-e", f"uprobe:{path}:alike_* {{ @ = count(); }}"], where)
        seen = wait_for(lambda: re.search(words, output(tool)), 20)
        ok(f"load: probes refused for one reason are told at once, in {lang}",
           seen and len(set(re.search(words, output(tool)).groups())) == 3 and output(tool).count("alike_") == 3, output(tool))
        for p in (tool, target):
            stop(p)


def short_lived():
    """A target that is gone before anybody looks at it leaves word of a refused probe; one without any says nothing."""
    path = compile_c(REFUSED, os.path.join(WORK, "short"))
    for lang, word in (("en", r"secondary_function in process (\d+) is not observed: .*cannot be moved"),
                       ("zh", r"无法观测进程 (\d+) 中的 secondary_function：.*无法搬移")):
        where = env("short-" + lang, lang)
        tool = spawn([LIMPET, "load", os.path.join(DEMO, "uprobe_queue"), "--binary", path], where)
        wait_for(lambda: "Ctrl" in output(tool))
        before = time.time()
        got, text = run([LIMPET, "start", path, "call", "once"], where)
        told = re.findall(word, text)
        ok(f"start: a refused probe in a short-lived target, in {lang}", got == 0 and len(told) == 1, text)
        if time.time() - before > 1:
            print("# it was not short-lived: the machine is busy")
        seen = wait_for(lambda: re.findall(word, output(tool)) == told, 20)
        ok(f"load: the same, once, in {lang}", seen and not wait_for(lambda: re.findall(word, output(tool)) != told, 1.5), output(tool))
        quiet = [run([LIMPET, "start", "true"], where) for _ in range(10)]
        ok(f"start: nothing is said of short programs, in {lang}", quiet == [(0, "")] * 10, quiet)
        stop(tool)


def idle():
    """Probes are there, nothing calls: said once, after 5 s, by load. Not when something is called."""
    path = compile_c(PLAIN, os.path.join(WORK, "plain"))
    runs = []
    for name, args in (("silent", []), ("calling", ["call"])):
        where = env(name, "en")
        tool = spawn([LIMPET, "load", os.path.join(DEMO, "uprobe_queue"), "--binary", path], where)
        wait_for(lambda: "Ctrl" in output(tool))
        runs.append((tool, spawn([LIMPET, "start", path, *args], where)))
    silent, calling = runs
    words = "target_function, secondary_function: attached in process"
    ok("no calls for 5 s: said, with the functions' names", wait_for(
        lambda: words in output(silent[0]) and "inlined" in output(silent[0]), 25), output(silent[0]))
    stop(silent[1], signal.SIGTERM)
    ok("not said where functions are called", words not in output(calling[0]), output(calling[0]))
    before = output(calling[0]).count("no process is observed")
    stop(calling[1], signal.SIGTERM)
    time.sleep(2.5)
    ok("that nothing is observed yet is not said when a target has ended", output(calling[0]).count("no process is observed") == before,
       output(calling[0]))
    stop(silent[0])
    ok("said once", output(silent[0]).count(words) == 1, output(silent[0]))
    for p in calling:
        stop(p)


def as_nobody(*argv):
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all", *argv]


def yama():
    """The kernel's file is covered by one of ours, in a mount namespace: levels 1 to 3 and no Yama."""
    if os.geteuid() or not shutil.which("setpriv"):
        print("skip Yama's levels: needs root and setpriv")
        return
    for part in ("src/cli/limpet", "src/agent/liblimpet-agent.so"):
        os.makedirs(os.path.join(WORK, "copy", os.path.dirname(part)), exist_ok=True)
        copy(os.path.join(BUILD, part), os.path.join(WORK, "copy", part))
    limpet = os.path.join(WORK, "copy/src/cli/limpet")
    # Of the same user, but with a capability that the caller does not have: ptrace says no.
    more = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=+sys_time",
            "--ambient-caps=+sys_time", "sleep", "60"]
    victim = spawn(more, env("yama", "en"))
    wait_for(lambda: "sleep" in open(f"/proc/{victim.pid}/comm", encoding="utf-8").read())
    for level, words in ((0, "missing CAP_SYS_PTRACE"), (1, "only its ancestors"), (2, "only CAP_SYS_PTRACE"), (3, "nobody may")):
        fake = os.path.join(WORK, f"level{level}/yama")
        os.makedirs(fake)
        if level:
            with open(fake + "/ptrace_scope", "w", encoding="utf-8") as f:
                f.write(f"{level}\n")
        for lang in ("en", "zh") if own_mounts() else ():
            got, text = run(["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /proc/sys/kernel && shift && exec "$@"', "sh",
                             os.path.dirname(fake), *as_nobody(limpet, "attach", str(victim.pid))], env("yama", lang))
            ok(f"attach under Yama's level {level}, in {lang}", got == 1 and text.count("\n") == 1 and "limpet start" in text
               and (words in text if lang == "en" else "无法附加" in text), text)
    stop(victim, signal.SIGKILL)


def architecture():
    """A process of 32-bit code: pause() for ever, by hand."""
    path = os.path.join(WORK, "elf32")
    code = bytes.fromhex("b81d000000cd80ebf7")  # mov $29,%eax; int $0x80; jmp back
    head = b"\x7fELF\x01\x01\x01" + bytes(9) + bytes.fromhex(
        "0200030001000000" "54800408" "34000000" "00000000" "00000000" "3400" "2000" "0100" "0000" "0000" "0000")
    program = bytes.fromhex("01000000" "00000000" "00800408" "00800408" "5d000000" "5d000000" "05000000" "00100000")
    with open(path, "wb") as f:
        f.write(head + program + code)
    os.chmod(path, 0o755)
    try:
        p = spawn([path], env("arch", "en"))
    except OSError:
        print("skip attach to 32-bit code: this kernel runs none")
        return
    for lang, word in (("en", "64-bit x86"), ("zh", "64 位 x86")):
        got, text = run([LIMPET, "attach", p.pid], env("arch", lang))
        ok(f"attach: another architecture, in {lang}", got == 1 and text.count("\n") == 1 and word in text, text)
    ok("it lives on", p.poll() is None)
    stop(p, signal.SIGKILL)


def no_room():
    """/dev/shm is full, or cannot be written."""
    if os.geteuid():
        print("skip a full /dev/shm: needs root")
        return
    where = env("bystander", "en")
    tool = spawn([LIMPET, "load", os.path.join(DEMO, "uprobe_queue")], where)
    wait_for(lambda: "Ctrl" in output(tool))
    target = spawn([LIMPET, "start", os.path.join(DEMO, "target"), "-q", "-i", "10"], where)
    wait_for(lambda: "PID:" in output(tool))
    for lang, word in (("en", "no room"), ("zh", "空间不足")) if own_mounts() else ():
        got, text = run(["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"', "sh",
                         LIMPET, "load", os.path.join(DEMO, "uprobe_queue")],
                        environment(None, lang))
        ok(f"load without room for maps, in {lang}", got != 0 and word in text and "LIMPET_DIR" in text, text)
    seen = output(tool).count("PID:")
    ok("it does not go to the kernel's uprobes, which would spoil other targets", wait_for(
        lambda: output(tool).count("PID:") > seen + 50) and target.poll() is None, target.poll())
    for p in (target, tool):
        stop(p)
    for lang, word in (("en", "cannot open session"), ("zh", "无法打开会话")):
        got, text = run([LIMPET, "load", "true"], environment("/proc/nothing", lang))
        ok(f"load where no session can be made, in {lang}", got == 1 and text.count("\n") == 1 and word in text, text)


def filtered():
    """A target under a seccomp filter, and so its keeper: not to be changed once it runs, and that is said."""
    for lang, word in (("en", "load the tool first"), ("zh", "请先加载工具")):
        where = env("filtered-" + lang, lang)
        target = spawn([LIMPET, "start", os.path.join(DEMO, "target"), "-q"], where, deny=True)
        wait_for(lambda: listed(where)["targets"])
        tool = spawn([LIMPET, "load", os.path.join(DEMO, "uprobe_queue")], where, deny=True)
        for name, p in (("start", target), ("load", tool)):
            ok(f"{name}: a target that may not be changed, in {lang}",
               wait_for(lambda: word in output(p), 20) and output(p).count(word) == 1 and p.poll() is None, output(p))
        got, text = run([LIMPET, "attach", listed(where)["targets"][0]["pid"]], where, deny=True)
        ok(f"attach: a target that may not be changed, in {lang}", got == 1 and word in text and text.count("\n") == 1, text)
        stop(tool)
        stop(target)


def hidden():
    """A target that nobody may look at any more, since it is not dumpable: `start` says so when a tool comes."""
    if os.geteuid() or not shutil.which("setpriv"):
        print("skip a target that is not dumpable: needs root and setpriv")
        return
    tree = os.path.join(WORK, "all")
    for part in ("src/cli/limpet", "src/agent/liblimpet-agent.so", "src/loader/liblimpet-shim.so"):
        os.makedirs(os.path.join(tree, os.path.dirname(part)), exist_ok=True)
        shutil.copy(os.path.join(BUILD, part), os.path.join(tree, part))
    limpet = os.path.join(tree, "src/cli/limpet")
    monitor = shutil.copy(os.path.join(DEMO, "uprobe_queue"), tree)
    path = compile_c(PLAIN.replace("{ for", "{ prctl(PR_SET_DUMPABLE, 0); for").replace(
        "#include", "#include <sys/prctl.h>\n#include", 1), os.path.join(tree, "hidden"))
    for lang, word in (("en", "is not dumpable"), ("zh", "不可转储")):
        sessions = folder(place=WORK)
        os.chown(sessions, NOBODY, NOBODY)
        where = environment(sessions, lang)
        early = spawn(as_nobody(limpet, "load", monitor, "--binary", path), where)
        wait_for(lambda: "Ctrl" in output(early))
        target = spawn(as_nobody(limpet, "start", path, "call"), where)
        ok(f"start: the probes that were there first work when it is not dumpable, in {lang}",
           wait_for(lambda: "PID:" in output(early)) and word not in output(target), (output(early), output(target), target.poll(), alive(path)))
        late = spawn(as_nobody(limpet, "load", monitor, "--binary", path), where)
        ok(f"start: a target that hides is named when a tool is loaded, in {lang}",
           wait_for(lambda: word in output(target), 20) and output(target).count("\n") == 1, output(target) + output(late))
        for p in (late, early, target):
            stop(p)


def attach_words():
    """What `$(pgrep ...)` can turn into."""
    where = env("words", "en")
    monitor = os.path.join(DEMO, "uprobe_queue")
    sleeper = spawn(["sleep", "60"], where)
    got, text = run([LIMPET, "attach", sleeper.pid, os.getpid(), monitor], where)
    ok("several pids", got == 2 and text.count("\n") == 1 and "choose one" in text and str(sleeper.pid) in text, text)
    got, text = run([LIMPET, "attach", monitor], where)
    ok("no pid, no target", got == 2 and text.count("\n") == 1 and "PID is missing" in text, text)
    target = spawn([LIMPET, "start", os.path.join(DEMO, "target"), "-q"], where)
    wait_for(lambda: listed(where)["targets"])
    view = spawn([LIMPET, "attach", monitor], where)
    pid = listed(where)["targets"][0]["pid"]
    ok("no pid, one target: that is taken", wait_for(lambda: f"PID:{pid}" in output(view)),
       (pid, target.poll(), output(target), output(view), run([LIMPET, "list"], where)))
    ok("the keeper's name is not the tool's", wait_for(lambda: run(["pgrep", "-f", "limpet: keeper of " + where["LIMPET_DIR"]],
                                                                   where)[0] == 0))
    for p in (view, target, sleeper):
        stop(p, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(probes, refused_alike, short_lived, idle, yama, architecture, no_room, filtered, hidden, attach_words))
