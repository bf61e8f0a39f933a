# SPDX-License-Identifier: MIT
"""What the whole-tool tests share: case lines, a session of one's own, processes that do not outlive
the test, the seccomp filter that denies the kernel's eBPF, an unprivileged user.
"""
import concurrent.futures
import ctypes
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.path.abspath(sys.argv[1])
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
LIMPET = os.path.join(BUILD, "src/cli/limpet")
DEMO = os.path.join(BUILD, "examples/queue_demo")
NOBODY = 65534
# What the kernel's own tools need, in a mount namespace of their own.
MOUNT_KERNELS = """
umount -q /sys/kernel/tracing /sys/kernel/debug
mount -t tracefs none /sys/kernel/tracing && mount -t debugfs none /sys/kernel/debug || exit
"""
MOUNTED = ["unshare", "-m", "sh", "-c", MOUNT_KERNELS + "exec \"$@\"", "sh"]
failures = []
processes = []
folders = []
printing = threading.Lock()


def ok(name, good, seen=""):
    lines = [("ok " if good else "not ok ") + name]
    if not good:
        failures.append(name)
        lines = ["# " + line for line in str(seen).splitlines()[-25:]] + lines
    with printing:  # parts may run side by side
        print("\n".join(lines), flush=True)
    return good


def folder(prefix="limpet-test-", place=None):
    """A temporary folder that everybody may enter."""
    path = tempfile.mkdtemp(prefix=prefix, dir=place)
    os.chmod(path, 0o755)
    folders.append(path)
    return path


def environment(sessions, lang="zh", **more):
    """What a fresh login has, with limpet's own things as given."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "LIMPET_", "LD_"))}
    env.update({"LIMPET_DIR": sessions, "LIMPET_LANG": lang, **more})
    return {k: v for k, v in env.items() if v is not None}


def deny_kernel_bpf():
    """From here on bpf(2) and perf_event_open(2) answer EPERM to this process and its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    prog = [(0x20, 0, 0, 0), (0x15, 1, 0, 321), (0x15, 0, 1, 298), (0x06, 0, 0, 0x50001),
            (0x06, 0, 0, 0x7fff0000)]
    code = b"".join(struct.pack("HBBI", *i) for i in prog)
    buf = ctypes.create_string_buffer(code)
    fprog = struct.pack("HxxxxxxQ", len(prog), ctypes.addressof(buf))
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.c_char_p(fprog), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def spawn(argv, env, deny=False, user=None, cwd=None, **kw):
    """Output and errors go to one file, which output() reads."""
    out = tempfile.TemporaryFile()

    def prepare():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        if deny:
            deny_kernel_bpf()

    p = subprocess.Popen([str(a) for a in argv], env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out,
                         stderr=subprocess.STDOUT, preexec_fn=prepare, **kw)
    p.out = out
    processes.append(p)
    return p


def output(p):
    """All of it so far. The file position is shared with those who write, and must stay theirs."""
    fd = p.out.fileno()
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")


def run(argv, env, seconds=30, **kw):
    p = spawn(argv, env, **kw)
    try:
        p.wait(seconds)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
    return p.returncode, output(p)


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
    return p.returncode


def named(env, *names):
    """(pid, name) of the processes called so that belong to this session."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                name = f.read().strip()
            with open(f"/proc/{pid}/environ", "rb") as f:
                ours = env["LIMPET_DIR"].encode() in f.read()
        except OSError:
            continue
        if name in names and ours:
            found.append((int(pid), name))
    return found


def listed(env, *options):
    return json.loads(subprocess.run([LIMPET, "list", "--json", *options], env=env, check=True,
                                     stdout=subprocess.PIPE).stdout)


def alive(*words):
    """Living processes whose command line has all the words."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if line and int(pid) != os.getpid() and all(w in line for w in words):
            found[int(pid)] = line
    return found


def copy(source, to):
    """By a process of its own: a child forked meanwhile would hold our descriptor, and the copy be busy."""
    subprocess.run(["cp", source, to], check=True)


def compile_c(text, path, *options):
    subprocess.run(["cc", "-O2", "-xc", "-", "-o", path, *options], input=text.encode(), check=True)
    return path


def compile_bpf(source, path, *options):
    """An object for BPF from a file, or from text."""
    text = None if os.path.exists(source) else source.encode()
    multiarch = subprocess.run(["gcc", "-print-multiarch"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["clang", "-target", "bpf", "-O2", "-g", f"-I/usr/include/{multiarch}", *options, "-xc", "-" if text else source,
                    "-c", "-o", path], input=text, check=True)
    return path


def clean_up():
    """Ends what was spawned and whatever still works on the test's folders, then removes these."""
    for p in processes:
        stop(p, signal.SIGKILL)
    for path in folders:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    ours = path.encode() in f.read()
                if ours and int(pid) != os.getpid():
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                continue
        shutil.rmtree(path, ignore_errors=True)


def together(*calls):
    """Runs them side by side, since they mostly wait; their results in order."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(c) for c in calls]]


def main(*parts, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so",
                       "examples/queue_demo/uprobe_queue")):
    name = os.path.basename(sys.argv[0])
    missing = [p for p in need if not os.path.exists(os.path.join(BUILD, p))]
    if missing:
        print(f"skip {name}: {missing[0]} is not built")
        return 0
    try:
        together(*[p for p in parts if len(sys.argv) < 3 or p.__name__ in sys.argv[2:]])
    finally:
        clean_up()
    return 1 if failures else 0
