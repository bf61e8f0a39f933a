# SPDX-License-Identifier: MIT
"""Processes in places of their own as targets: in containers, of other users, traced, started with little, or with a
session where nothing may be executed. Every call is counted, under the pid that the process has for itself.
"""
import ctypes
import json
import os
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys

import common
import kinds
from common import LIMPET, NOBODY, ok

FLAGS = ["-O1", "-pthread", "-fno-optimize-sibling-calls"]
HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "children_target.c")
PIDS = os.path.join(HERE, "pids.bpf.c")
WAYS = ["self", "thread", "fork", "thread-fork", "probed-fork", "vfork", "clone-vm", "clone-vm-files", "clone", "bare-thread",
        "clone3", "clone3-vm", "clone3-thread", "daemon"]
MULTIARCH = subprocess.check_output(["gcc", "-print-multiarch"], text=True).strip()
MDWE, NO_NEW_PRIVS = 65, 38


def built(place, name="target"):
    path = os.path.join(place, name)
    subprocess.run(["cc", *FLAGS, SOURCE, "-o", path], check=True)
    return path


def root_folder():
    """A root of its own: the target, what it needs, and /proc to be mounted on. Fifos go to /run."""
    root = common.folder()
    for name in ("proc", "run"):
        os.mkdir(f"{root}/{name}")
    os.chmod(f"{root}/run", 0o777)
    path = built(root)
    for library in re.findall(r"(/\S+) \(0x", subprocess.check_output(["ldd", path], text=True)):
        os.makedirs(root + os.path.dirname(library), exist_ok=True)
        shutil.copy(library, root + library)
    return root, path


class Target(kinds.Target):
    """A children_target under `prefix`; `root`: what it sees as its root."""

    def __init__(self, env, place, program, prefix=(), root="", prepare=None, user=None):
        self.fifo = []
        names = [f"{place}/{len(os.listdir(root + place)) + i}.fifo" for i in range(2)]
        for name in names:
            os.mkfifo(root + name)
            os.chmod(root + name, 0o666)
            self.fifo.append(os.open(root + name, os.O_RDWR | os.O_CLOEXEC))
        self.p = subprocess.Popen([*prefix, program, *names], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  preexec_fn=prepare, user=user, group=user, extra_groups=[] if user else None)
        common.processes.append(self.p)
        self.ready = self.answer(b"ready")
        self.expected = {}

    def work(self, way, calls=50):
        """Notes who called how often, as the target itself tells it."""
        os.write(self.fifo[0], f"{way} {calls}\n".encode())
        got = b""
        while not got.endswith(b"\n") and select.select([self.fifo[1]], [], [], 20)[0]:
            got += os.read(self.fifo[1], 64)
        who = tuple(int(word) for word in got.split())
        self.expected[who] = self.expected.get(who, 0) + calls
        return who

    def end(self):
        """Its exit status, told to end."""
        os.write(self.fifo[0], b"end\n")
        try:
            return self.p.wait(10)
        except subprocess.TimeoutExpired:
            return None


def namespace(pid="self"):
    """As bpf_get_ns_current_pid_tgid() takes it."""
    st = os.stat(f"/proc/{pid}/ns/pid")
    return os.major(st.st_dev) << 20 | os.minor(st.st_dev), st.st_ino


class Pids:
    """pids.bpf.c on a target's file, run by `limpet run`."""

    def __init__(self, env, path, ns=None, user=None):
        obj = os.path.join(common.folder(), "pids.bpf.o")
        dev, ino = ns or namespace()
        subprocess.run(["clang", "-target", "bpf", "-O2", "-g", f"-I/usr/include/{MULTIARCH}", f'-DTARGET="{path}"',
                        f"-DNS_DEV={dev}ULL", f"-DNS_INO={ino}ULL", "-c", PIDS, "-o", obj], check=True)
        self.env, self.user = env, user
        self.p = common.spawn([LIMPET, "run", obj], env, user=user)
        common.wait_for(lambda: json.loads(self.limpet("list", "--json") or "{}").get("links"))

    def limpet(self, *words):
        return common.run([LIMPET, *words], self.env, user=self.user)[1]

    def seen(self):
        """{(pid, tid, pid in the namespace, tid there): calls}"""
        return {struct.unpack("4I", bytes.fromhex(m["key"])): struct.unpack("Q", bytes.fromhex(m["value"]))[0]
                for m in json.loads(self.limpet("map", "dump", "--json", "calls"))}


def everything(name, env, target, tool, attach=True, same_namespace=True, user=None, ways=("self", "fork", "thread", "vfork")):
    """Attach, count by process and thread, detach, and it is left as it was; twice."""
    if not ok(f"{name}_runs", target.ready, target.p.poll()):
        return
    pid = target.pid()
    before = maps(pid)
    for turn in range(2 if attach else 1):
        done = common.run([LIMPET, "attach", str(pid)], env, user=user) if attach else (0, "")
        for way in ways:
            target.work(way)
        expected = {(p, t, *((p, t) if same_namespace else (0, 0))): n for (p, t), n in target.expected.items()}
        seen = tool.seen()
        ok(f"{name}_counts_by_thread_{turn}", not done[0] and seen == expected, [done, seen, expected, common.output(tool.p)])
        if not attach:
            continue
        done = common.run([LIMPET, "detach", str(pid)], env, user=user)
        target.work("self", 0)
        ok(f"{name}_is_left_as_it_was_{turn}", not done[0] and [m for m in maps(pid) if m not in before] == [],
           [done, [m for m in maps(pid) if m not in before]])
    ok(f"{name}_ends_well", target.end() == 0, target.p.poll())
    common.stop(tool.p)


def maps(pid):
    """Without what a C library's allocator may do, and the stacks of the target's threads."""
    with open(f"/proc/{pid}/maps") as f:
        return [line.split()[0::5] + line.split()[1:2] for line in f if len(line.split()) > 5 and "[heap]" not in line]


def children():
    """Threads and processes made in every way, of a started target and of one that is attached."""
    path = built(common.folder())
    for start in (True, False):
        place = common.folder()
        env = common.environment(place, lang="en")
        tool = Pids(env, path)
        target = Target(env, place, path, [LIMPET, "start", "--"] if start else [])
        everything("children_of_a_started" if start else "children_of_an_attached", env, target, tool, attach=not start, ways=WAYS)


def containers():
    """In other pid, mount, user, network, IPC and UTS namespaces, below a root of its own."""
    root, path = root_folder()
    for name, more in (("container", []), ("container_with_users", ["-U", "--map-root-user"])):
        inside = ["unshare", "-fpmuin", *more, f"--mount-proc={root}/proc", "chroot", root]
        if subprocess.run([*inside[:-2], "true"], check=False, stderr=subprocess.DEVNULL).returncode:
            print(f"skip {name}: unshare(2) is not allowed here")
            continue
        for own in (True, False):  # the helper answers in the caller's own namespace only
            env = common.environment(common.folder(), lang="en")
            target = Target(env, "/run", "/target", inside, root)
            tool = Pids(env, path, namespace(target.pid()) if own else None)
            everything(f"{name}_{'own' if own else 'other'}_ids", env, target, tool, same_namespace=own)


def users():
    """Root's limpet and a user's process, one of a user whom it is not dumpable to, and a user's own container."""
    if os.getuid():
        print("skip users: not root")
        return
    root, path = root_folder()
    env = common.environment(common.folder(), lang="en")
    everything("another_users", env, Target(env, root, path, user=NOBODY), Pids(env, path))
    setuid = f"{root}/setuid"
    shutil.copy(path, setuid)
    os.chmod(setuid, 0o4755)
    env = common.environment(common.folder(), lang="en")
    everything("setuid", env, Target(env, root, setuid, user=NOBODY), Pids(env, setuid))
    env = common.environment(common.folder(), lang="en")
    os.chown(env["LIMPET_DIR"], NOBODY, NOBODY)
    target = Target(env, root, setuid, user=NOBODY)
    status, out = common.run([LIMPET, "attach", str(target.pid())], env, user=NOBODY)
    ok("setuid_is_refused_to_its_user", status == 1 and out.count("\n") == 1 and str(target.pid()) in out, (status, out))
    ok("setuid_goes_on", target.work("fork") != (-1, -1) and target.end() == 0)
    inside = ["unshare", "-U", "--map-root-user", "-fpm", f"--mount-proc={root}/proc", "chroot", root]
    if subprocess.run([*inside[:-2], "true"], check=False, stderr=subprocess.DEVNULL, user=NOBODY, group=NOBODY,
                      extra_groups=[]).returncode:
        print("skip a_users_container: user namespaces are not allowed to users here")
        return
    target = Target(env, "/run", "/target", inside, root, user=NOBODY)
    everything("a_users_container", env, target, Pids(env, path, namespace(target.pid()), NOBODY), user=NOBODY)


def tracer(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"TracerPid:\s+(\d+)", f.read())[1])


def straced():
    """Refused while strace has it, and not afterwards; a program that strace starts under limpet has its probes."""
    if not shutil.which("strace"):
        print("skip straced: no strace")
        return
    place = common.folder()
    path = built(place)
    env = common.environment(place, lang="en")
    tool, target = Pids(env, path), Target(env, place, path)
    strace = common.spawn(["strace", "-f", "-o", "/dev/null", "-p", str(target.pid())], env)
    common.wait_for(lambda: tracer(target.pid()))
    status, out = common.run([LIMPET, "attach", str(target.pid())], env)
    ok("a_straced_process_is_refused", status == 1 and "traces it (a debugger?)" in out and out.count("\n") == 1, (status, out))
    target.work("fork", 0)
    common.stop(strace)
    common.wait_for(lambda: not tracer(target.pid()))
    target.expected = {}
    everything("straced_before", env, target, tool)
    env = common.environment(common.folder(), lang="en")
    tool = Pids(env, path)  # before: there is no way in later
    target = Target(env, place, path, ["strace", "-f", "-o", "/dev/null", LIMPET, "start", "--"])
    everything("started_under_strace", env, target, tool, attach=False)


def little():
    """Started with descriptors closed, signals blocked, few rights, little address space."""
    libc = ctypes.CDLL(None)

    def closed():
        for fd in range(3):
            os.close(fd)

    def mdwe():
        if libc.prctl(MDWE, 1, 0, 0, 0):
            raise OSError("mdwe")

    ways = {"closed": closed, "blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()), "mdwe": mdwe,
            "no_new_privs": lambda: libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "filtered": common.deny_kernel_bpf,
            "address_space": lambda: resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20)),
            "descriptors": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))}
    path = built(common.folder())
    for name, prepare in ways.items():
        place = common.folder()
        env = common.environment(place, lang="en")
        tool = Pids(env, path)
        try:
            target = Target(env, place, path, [LIMPET, "start", "--"], prepare=prepare)
        except subprocess.SubprocessError:
            print(f"skip started_{name}: the kernel does not have it")
            continue
        everything(f"started_{name}", env, target, tool, attach=False)


def noexec():
    """A session on a file system where nothing may be executed."""
    place, libc = common.folder(), ctypes.CDLL(None, use_errno=True)
    if os.getuid() or libc.unshare(0x20000):  # this thread's mounts, from here on
        print("skip noexec: mounting is not allowed here")
        return
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,nosuid,nodev", "none", place], check=True)
    path = built(common.folder())
    env = common.environment(place, lang="en")
    everything("noexec_started", env, Target(env, place, path, [LIMPET, "start", "--"]), Pids(env, path), attach=False)
    everything("noexec_attached", env, Target(env, place, path), Pids(env, path))


if __name__ == "__main__":
    sys.exit(common.main(children, containers, users, straced, little, noexec))
