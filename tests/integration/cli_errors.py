#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command line's error lines, exit statuses and help texts, in both languages; sessions that are
missing, damaged or not ours; tools/install.sh. Needs neither shim nor agent.

usage: cli_errors.py BUILD_DIR
"""
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
INSTALL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/install.sh")
COMMANDS = ["load", "start", "attach", "detach", "list", "map", "trace", "gc", "version", "help"]
failures = []
children = []
WORK = tempfile.mkdtemp(prefix="limpet-cli-")


def limpet(*args, lang="en", env=None, exe=LIMPET, user=None, cwd=None):
    full = {k: v for k, v in os.environ.items()
            if not k.startswith(("LC_", "LANG", "LIMPET_", "LD_"))}
    full.update({"LIMPET_DIR": os.path.join(WORK, "sessions"), "LIMPET_LANG": lang})
    full.update(env or {})
    full = {k: v for k, v in full.items() if v is not None}
    done = subprocess.run([exe, *map(str, args)], env=full, stdin=subprocess.DEVNULL, timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, user=user, cwd=cwd)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def ok(name, good, seen=""):
    if not good:
        failures.append(name)
        print(f"# {seen}")
    print(("ok " if good else "not ok ") + name)


def error(name, args, status, *words, **kw):
    """One line on stderr with the words, nothing on stdout, in English; one line in Chinese."""
    got, out, err = limpet(*args, **kw)
    good = (got == status and not out and err.count("\n") == 1 and err.startswith("limpet: ")
            and all(w in err for w in words))
    zh_got, zh_out, zh_err = limpet(*args, lang="zh_CN.UTF-8", **kw)
    good_zh = (zh_got == status and not zh_out and zh_err.count("\n") == 1
               and any("\u4e00" <= c <= "\u9fff" for c in zh_err))
    ok(name, good and good_zh, (got, out, err, zh_got, zh_err))


def child(*args, **kw):
    p = subprocess.Popen(args, stdin=subprocess.DEVNULL, **kw)
    children.append(p)
    return p


def usage():
    error("no command", [], 2, "limpet help")
    error("unknown command", ["frob"], 2, "'frob'", "limpet help")
    error("unknown option", ["list", "--frob"], 2, "--frob", "limpet list --help")
    error("session without name", ["list", "-s"], 2, "-s")
    error("bad session name", ["list", "-s", "a/b"], 2, "a/b")
    error("load of nothing", ["load"], 2, "limpet load --help")
    error("start of nothing", ["start"], 2, "limpet start --help")
    error("attach without pid", ["attach"], 2, "PID")
    error("attach to an empty pid (pgrep found none)", ["attach", ""], 2, "PID")
    error("detach of nothing", ["detach"], 2, "--all")
    error("map without verb", ["map"], 2, "peek")
    error("map dump without map", ["map", "dump"], 2, "missing")
    error("too many arguments", ["map", "pop", "a", "b"], 2, "too many")
    error("list takes no argument", ["list", "x"], 2, "list")
    for verb in ("attach", "detach"):
        for bad in ("12x", "0x10", "+5", "999999999999999999999"):
            error(f"{verb} {bad}", [verb, bad], 2, bad)


def programs():
    plain = os.path.join(WORK, "plain")
    with open(plain, "w", encoding="utf-8") as f:
        f.write("x")
    small = os.path.join(WORK, "elf32")
    with open(small, "wb") as f:
        f.write(b"\x7fELF\x01\x01\x01" + b"\0" * 9 + b"\x02\0\x03\0" + b"\0" * 80)
    os.chmod(small, 0o755)
    for verb in ("load", "start"):
        error(f"{verb}: not found", [verb, "/no/such"], 127, "/no/such")
        error(f"{verb}: not found in PATH", [verb, "no-such-program"], 127, "no-such-program")
        error(f"{verb}: in this folder, but not in PATH", [verb, "elf32"], 127, "./elf32", cwd=WORK)
        error(f"{verb}: not executable", [verb, plain], 126, plain, "chmod")
        error(f"{verb}: a directory", [verb, WORK], 126, "directory")
        error(f"{verb}: another architecture", [verb, small], 126, "x86")
    cc = shutil.which("cc")
    static = os.path.join(WORK, "static")
    built = cc and subprocess.run([cc, "-static", "-o", static, "-xc", "-"], input=b"int main(){}",
                                  stderr=subprocess.DEVNULL, check=False).returncode == 0
    if built:
        error("load: static", ["load", "--via", "preload", static], 126, "static")
    else:
        print("skip static programs: no static libc")


def processes():
    error("attach: no such process", ["attach", 4194303], 1, "no such process", "limpet start")
    if os.path.exists("/proc/2/stat") and b"kthreadd" in open("/proc/2/stat", "rb").read():
        error("attach: kernel thread", ["attach", 2], 1, "kernel thread")
    else:
        print("skip kernel thread: none visible here")
    error("attach: limpet itself", ["-c", 'exec "$0" attach $$', LIMPET], 1, "limpet itself", "another process", exe="/bin/sh")
    zombie = os.fork()
    if not zombie:
        os._exit(0)
    time.sleep(0.1)
    error("attach: zombie", ["attach", zombie], 1, "has ended")
    os.waitpid(zombie, 0)
    sleeper = child("sleep", "60")
    if os.geteuid() == 0:
        os.chmod(WORK, 0o755)
        nobody = os.path.join(WORK, "limpet")
        shutil.copy(LIMPET, nobody)
        error("attach: other user", ["attach", sleeper.pid], 1, "user 0", exe=nobody, user=65534)
        hidden = os.fork()
        if not hidden:
            os.setgid(65534)
            os.setuid(65534)  # the kernel makes it non-dumpable for that
            time.sleep(30)
            os._exit(0)
        time.sleep(0.2)
        error("attach: non-dumpable", ["attach", hidden], 1, "not dumpable", "limpet start",
              exe=nobody, user=65534)
        os.kill(hidden, signal.SIGKILL)
        os.waitpid(hidden, 0)
    else:
        print("skip other user: needs root to become one")
    libc = ctypes.CDLL(None)
    tracer = os.fork()
    if not tracer:
        libc.ptrace(0x4206, sleeper.pid, 0, 0)  # PTRACE_SEIZE
        time.sleep(30)
        os._exit(0)
    time.sleep(0.3)
    error("attach: traced", ["attach", sleeper.pid], 1, f"process {tracer} traces it", "limpet start")
    os.kill(tracer, signal.SIGKILL)
    os.waitpid(tracer, 0)
    task = child(sys.executable, "-c", "import threading,time\n"
                 "threading.Thread(target=time.sleep,args=(60,)).start()\nprint(1,flush=True)\ntime.sleep(60)",
                 stdout=subprocess.PIPE)
    task.stdout.readline()
    tid = max(int(t) for t in os.listdir(f"/proc/{task.pid}/task"))
    error("attach: a thread", ["attach", tid], 1, f"thread of process {task.pid}")


def sessions():
    got, out, err = limpet("list")
    ok("list of no session is empty", (got, out, err) == (0, "", ""), (got, out, err))
    got, out, err = limpet("list", "--json")
    ok("list --json of no session", got == 0 and json.loads(out)["maps"] == [], out)
    got, out, err = limpet("gc")
    ok("gc of no session", got == 0 and "0" in out, out)
    for args in (["detach", "5"], ["detach", "--all"], ["map", "show"], ["trace"]):
        error(f"{' '.join(args)}: no session", args, 1, "no session", "limpet load")
    bad = os.path.join(WORK, "sessions", "bad")
    os.makedirs(bad, 0o700)
    with open(os.path.join(bad, "session"), "wb") as f:
        f.write(b"no session file" * 1000)
    error("damaged session", ["list", "-s", "bad"], 1, "damaged", "-s NAME")
    open_dir = os.path.join(WORK, "sessions", "open")
    os.makedirs(open_dir)
    os.chmod(open_dir, 0o777)
    error("session others may write", ["list", "-s", "open"], 1, "LIMPET_DIR")
    if os.geteuid() == 0:
        locked = os.path.join(WORK, "sessions", "locked")
        os.makedirs(locked)
        os.chown(locked, 65534, 65534)
        os.chmod(locked, 0)
        error("unreadable session", ["list", "-s", "locked"], 1, "Permission denied", "LIMPET_DIR",
              exe=os.path.join(WORK, "limpet"), user=65534)
    else:
        print("skip unreadable session: needs root to become another user")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([LIMPET, "version"], stdout=full, stderr=subprocess.PIPE, check=False)
    ok("output that cannot be written", done.returncode == 1, done)


def texts():
    for c in COMMANDS:
        en, zh = limpet(c, "--help"), limpet(c, "--help", lang="zh")
        ok(f"{c} --help in both languages", en[0] == zh[0] == 0 and en[1].startswith("usage: limpet " + c)
           and zh[1].startswith("用法：limpet " + c) and not en[2] and not zh[2]
           and en[1].isascii() and limpet("help", c) == en, (en, zh))
    got, out, _ = limpet("--help")
    ok("overview lists all", got == 0 and all(f"  {c} " in out for c in COMMANDS), out)
    ok("--version", limpet("--version") == limpet("version") and limpet("version")[0] == 0)
    for env, chinese in (({"LIMPET_LANG": None, "LANG": "zh_CN.UTF-8"}, True),
                         ({"LIMPET_LANG": None, "LANG": "zh_CN", "LC_MESSAGES": "en_US"}, False),
                         ({"LIMPET_LANG": None, "LC_ALL": "zh_TW", "LC_MESSAGES": "en_US"}, True),
                         ({"LIMPET_LANG": "en", "LC_ALL": "zh_CN"}, False),
                         ({"LIMPET_LANG": None}, False)):
        out = limpet("help", env=env)[1]
        ok(f"language of {env}", ("用法" in out) == chinese, out)


def install():
    env = dict(os.environ, BUILD=os.path.join(WORK, "build"), PREFIX="/usr", DESTDIR=os.path.join(WORK, "root"))
    root = os.path.join(WORK, "root/usr")

    def run(*args):
        return subprocess.run([INSTALL, *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              preexec_fn=lambda: os.umask(0o077), check=False)

    ok("install without a build", run().returncode == 1 and not os.path.exists(root))
    for name in ("src/cli/limpet", "src/agent/liblimpet-agent.so", "src/loader/liblimpet-shim.so"):
        path = os.path.join(env["BUILD"], name)
        os.makedirs(os.path.dirname(path))
        shutil.copy(LIMPET, path)
    done = run()
    installed = os.path.join(root, "bin/bpftime")
    ok("install, also as bpftime", done.returncode == 0 and os.readlink(installed) == "limpet"
       and os.path.exists(root + "/lib/limpet/liblimpet-shim.so"), done)
    modes = [oct(os.stat(os.path.join(root, p)).st_mode & 0o777) for p in (
        "bin", "lib/limpet", "bin/limpet", "lib/limpet/liblimpet-agent.so")]
    ok("for all users, whatever the umask", modes == ["0o755", "0o755", "0o755", "0o644"], modes)
    ok("installing again", run().returncode == 0)
    ok("the installed command runs", limpet("version", exe=installed)[0] == 0)
    done = run("--remove")
    ok("remove", done.returncode == 0 and not any(f for _, _, f in os.walk(root)), done)
    with open(installed, "w", encoding="utf-8") as f:
        f.write("a real one")
    done = run()
    ok("a real bpftime is left alone", done.returncode == 0 and b"left" in done.stderr
       and open(installed, encoding="utf-8").read() == "a real one", done)
    run("--remove")
    ok("and by --remove too", os.path.exists(installed) and not os.path.exists(root + "/bin/limpet"))


def main():
    try:
        for part in (usage, programs, processes, sessions, texts, install):
            part()
    finally:
        for p in children:
            p.kill()
            p.wait()
        shutil.rmtree(WORK, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
