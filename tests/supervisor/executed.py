#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Statically linked programs that a tool executes are served too, whichever way it does, and do not notice: what they see
of themselves is what they see without limpet.

usage: executed.py BUILD_DIR
"""
import difflib
import os
import random
import re
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import common  # noqa: E402
from common import BUILD, LIMPET, NOBODY, ok  # noqa: E402

STATE = os.path.join(BUILD, "tests/supervisor/state")
WAYS = r"""
import ctypes, os, signal, subprocess, sys
program = sys.argv[1]
os.environ.update(PATH="/bin:/usr/bin:" + os.path.dirname(program), KEPT="1")
name = os.path.basename(program)
libc = ctypes.CDLL(None)

def words(*args):
    return (ctypes.c_char_p * (len(args) + 1))(*[a.encode() for a in args], None)

def fork(what, how):
    print(what, flush=True)
    pid = os.fork()
    if not pid:
        try:
            how()
        finally:
            os._exit(98)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

def spawned(what, pid):
    print(what, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

def script(path, first):
    with open(path, "w") as f:
        f.write(first + "\n")
    os.chmod(path, 0o755)
    return path

def ignoring():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGCHLD])
    os.kill(os.getpid(), signal.SIGUSR1)
    os.setsid()
    os.execv(program, ["ignoring"])

def closed(fds):
    for fd in fds:
        os.close(fd)
    os.execv(program, ["closed", *[f"file={os.environ['OUT']}{len(fds)}{fd}" for fd in fds]])

print(subprocess.run([program, "run"]).returncode, flush=True)
print(subprocess.run([program, "empty"], env={}).returncode, flush=True)
print(subprocess.run([name, "cwd"], cwd="/", close_fds=False, preexec_fn=lambda: None).returncode, flush=True)
print(os.system(program + " system"), flush=True)
fork("execv", lambda: os.execv(program, ["zero", "a b", ""]))
fork("execve", lambda: os.execve(program, ["zero"], {"A": "b"}))
fork("execvp", lambda: os.execvp(name, ["zero"]))
fork("execveat", lambda: libc.execveat(os.open(os.path.dirname(program), os.O_RDONLY), name.encode(), words("at"), words("A=b"), 0))
fork("fexecve", lambda: libc.fexecve(os.open(program, os.O_RDONLY), words("fexecve"), words("A=b")))
fork("fexecve, open", lambda: libc.fexecve(os.dup2(os.open(program, os.O_RDONLY), 9), words("fexecve"), words("A=b")))
fork("by number", lambda: libc.syscall(59, program.encode(), words("number"), words("A=b")))
fork("execl", lambda: libc.execl(program.encode(), b"l", b"1", b"2", None))
spawned("posix_spawn", os.posix_spawn(program, ["spawn"], {"A": "b"}))
spawned("posix_spawnp", os.posix_spawnp(name, ["spawnp"], {"A": "b"}))
one = script("one", f"#!{program} argument")
fork("script", lambda: os.execv("./one", ["zero", "more"]))
fork("script of a script", lambda: os.execv(script("two", "#!./one"), ["zero"]))
fork("env", lambda: os.execv(script("three", f"#!/usr/bin/env {name}"), ["zero"]))
fork("ignoring", ignoring)
fork("standard input is closed", lambda: closed([0]))
fork("all are closed", lambda: closed([0, 1, 2]))
fork("nothing there", lambda: os.execv("./nothing", ["zero"]))
"""
WAYS_COUNT = 20


def ways():
    work = common.folder(place="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    env = common.environment(os.path.join(work, "sessions"), lang="en")
    program = shutil.copy(STATE, os.path.join(work, "state"))
    result = {}
    for how, argv in (("limpet", [LIMPET, "load"]), ("kernel", [])):
        place = os.path.join(work, how)
        os.mkdir(place)
        result[how] = common.run([*argv, "python3", "-c", WAYS, program], {**env, "OUT": os.path.join(place, "out")}, cwd=place, seconds=60)
        for name in ("out10", "out30", "out31", "out32"):
            path = os.path.join(place, name)
            if ok(f"{how}: with closed descriptors", os.path.exists(path), result[how][1]):
                result[how] = (result[how][0], result[how][1] + open(path, encoding="utf-8").read())
        text = "".join(line + "\n" for line in result[how][1].splitlines() if not line.startswith("limpet: no process"))
        result[how] = (result[how][0], text.replace(place, "PLACE"))
    served = result["limpet"][1].count("map: served")
    ok("each is served", result["limpet"][0] == 0 and served == result["limpet"][1].count("state of") == WAYS_COUNT and "map: kernel" not in result["limpet"][1],
       result["limpet"][1])
    plain = {how: re.sub(r"map: .*", "map", text) for how, (_, text) in result.items()}
    ok("and sees what it sees without limpet", plain["limpet"] == plain["kernel"],
       "\n".join(difflib.unified_diff(plain["kernel"].splitlines(), plain["limpet"].splitlines(), "without", "with", lineterm="")))
    ok("nobody is left", common.wait_for(lambda: not left(env)), left(env))


def left(env):
    """Supervisors and their guards of this session."""
    return common.named(env, "limpet-super", "limpet-guard")


def ends():
    """Signals reach the program, which is who it was; a killed supervisor takes it along."""
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en")
    for sig in (signal.SIGTERM, signal.SIGKILL):
        p = common.spawn([LIMPET, "load", "sh", "-c", f"{STATE} sleep & echo child $!; wait $!; echo status $?"], env)
        ok(f"{sig.name}: begins", common.wait_for(lambda p=p: "map: served" in common.output(p)), common.output(p))
        pid = int(re.search(r"child (\d+)", common.output(p)).group(1))
        ok(f"{sig.name}: it is the tool", [t["pid"] for t in common.listed(env)["tools"]] == [pid], common.listed(env))
        os.kill(pid, sig)
        ok(f"{sig.name}: ends it", p.wait(10) == 0 and f"status {128 + sig}" in common.output(p), common.output(p))
        ok(f"{sig.name}: nothing is left", common.wait_for(lambda: not left(env) and not common.listed(env)["maps"]), left(env))
    p = common.spawn([LIMPET, "load", "sh", "-c", f"{STATE} sleep; echo status $?"], env)
    ok("a supervisor's death: begins", common.wait_for(lambda: "map: served" in common.output(p)), common.output(p))
    os.kill(next(pid for pid, name in left(env) if name == "limpet-super"), signal.SIGKILL)
    ok("a supervisor's death ends the program", p.wait(10) == 0 and "status 137" in common.output(p) and "was killed" in common.output(p),
       common.output(p))
    ok("a supervisor's death: nothing is left", common.wait_for(lambda: not left(env) and not common.listed(env)["maps"]), left(env))


def who_may():
    if os.getuid():
        print("skip other users: not root")
        return
    work = common.folder()
    theirs = os.path.join(work, "theirs")
    os.mkdir(theirs)
    os.chown(theirs, NOBODY, NOBODY)
    program = shutil.copy(STATE, os.path.join(work, "state"))
    env = common.environment(os.path.join(theirs, "sessions"), lang="en")
    status, text = common.run([LIMPET, "load", "sh", "-c", f"{program}; exit 5"], env, user=NOBODY)
    ok("without root", status == 5 and "map: served" in text, text)
    os.chmod(program, 0o4755)
    status, text = common.run([LIMPET, "load", "sh", "-c", f"{program}; exit 5"], env, user=NOBODY)
    ok("a setuid program runs, and its user is told", status == 5 and "is setuid or setgid" in text and "map: served" not in text, text)
    status, text = common.run([LIMPET, "load", "sh", "-c", f"{STATE}; exit 5"], {**env, "LIMPET_DIR": os.path.join(work, "denied")}, deny=True)
    ok("where a filter answers bpf(2)", status == 5 and "seccomp filter around limpet" in text and "map: errno 1" in text, text)
    status, text = common.run([LIMPET, "load", "sh", "-c", f"LIMPET_COMMAND= ; {STATE}; exit 5"], env)
    ok("the variable is not asked for again", status == 5 and "map: served" in text, text)


def few_descriptors():
    """No limit makes anybody wait for ever, or crash; what cannot be done is said."""
    if not shutil.which("prlimit"):
        print("skip few descriptors: no prlimit")
        return
    env = common.environment(os.path.join(common.folder(), "sessions"), lang="en")
    for files in (5, 6, 7, 8, 9, 10, 12, 32):
        for what in ([LIMPET, "load", "sh", "-c", f"{STATE} quiet"], [LIMPET, "load", STATE, "quiet"], [LIMPET, "start", "/bin/true"]):
            status, text = common.run(["prlimit", f"--nofile={files}:{files}", *what], env, seconds=20)
            ok(f"{files} descriptors: {what[1]} {what[2]}", (status == 0 or 0 < status < 128) and (not status or "limpet: " in text),
               (status, text))


def killed():
    """Whoever is killed, in whatever moment: when its kin has gone nothing is left, and a target has run on."""
    env = common.environment(os.path.join(common.folder(), "sessions"), lang="en")
    rng = random.Random(int(os.environ.get("LIMPET_SEED", "1")))
    target = common.spawn([LIMPET, "start", os.path.join(common.DEMO, "target"), "-i", "5", "-q"], env)
    queue = os.path.join(common.DEMO, "uprobe_queue")
    ways = [[queue], ["--via", "seccomp", queue], ["sh", "-c", queue], ["sh", "-c", f"{STATE} sleep"], [STATE, "sleep"]]
    for _ in range(200 if os.environ.get("LIMPET_LONG") else 12):
        p = common.spawn([LIMPET, "load", *rng.choice(ways)], env, start_new_session=True)
        time.sleep(rng.random() * rng.choice([0.03, 0.15, 0.3]))
        mine = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if session_of(pid) == p.pid]
        for pid in [rng.choice(mine + [pid for pid, _ in left(env)])] + mine + [p.pid]:
            kill(pid)
        p.wait(10)
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if session_of(pid) == p.pid:
                kill(pid)
    clean = common.wait_for(lambda: not left(env) and not any(common.listed(env)[k] for k in ("maps", "programs", "links", "tools")), 20)
    ok("killed at random: nothing is left", clean, (left(env), common.listed(env)))
    ok("killed at random: the target runs on", target.poll() is None, common.output(target))
    common.stop(target, signal.SIGTERM)


def session_of(pid):
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def busy():
    """A thousand programs in turn and many at once: as many supervisors come and go."""
    work = common.folder()
    env = common.environment(os.path.join(work, "sessions"), lang="en")
    rounds = 50 if os.environ.get("LIMPET_LONG") else 4
    status, text = common.run([LIMPET, "load", "sh", "-c", f"i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); " + f"{STATE} quiet & " * 10 + "wait; done"], env, seconds=200)
    ok("many at once", status == 0 and text.count("map: served") == rounds * 10, (text.count("map: served"), text[-2000:]))
    ok("many at once: nobody is left", common.wait_for(lambda: not left(env) and not common.listed(env)["maps"]), left(env))


if __name__ == "__main__":
    sys.exit(common.main(ways, ends, who_may, few_descriptors, killed, busy, need=("tests/supervisor/state", "src/loader/liblimpet-shim.so", "examples/queue_demo/uprobe_queue")))
