#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The tools that come with bpftrace and libbpf-tools for libraries' functions, with limpet and with the kernel: name
lookups, a shell that reads lines, a TLS exchange, threads, calls of a program's functions. All tools of a world watch the same
programs together; what they print must be the same but for pids, times and latencies.

usage: tool_user_scripts.py BUILD_DIR [TOOL...]     LIMPET_LONG=1: all tools
"""
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import time

import common
import worlds
from common import BUILD, ok

TARGET = os.path.join(BUILD, "tests/integration/bpftrace_target")
ONLY = sys.argv[2:]
LONG = os.environ.get("LIMPET_LONG") == "1" or ONLY


def timed(text):
    """Lines that begin with the time: the last words, without pid and latency."""
    lines = [line for line in text.splitlines() if re.match(r"\d\d:\d\d:\d\d", line)]
    return [re.sub(r"\s+", " ", re.sub(r"\b\d+(\.\d+)?\b", "N", line[8:])) for line in lines]


def exchange(text):
    """sslsnoop: who, what came out, and which function; how often it had to be asked again is left out, and the order of two processes."""
    rows = [line.split() for line in text.splitlines() if re.match(r"\d+ +\d+ +\w", line)]
    return sorted(f"{r[2]} {r[4]} {r[5]}" for r in rows if int(r[4]) > 0)


def latencies(text):
    """ssllatency: maps and their keys, and for those that succeed how many calls there were."""
    return sorted({re.sub(r"0x[0-9a-f]+", "0xN", m) for m in re.findall(r"^@(?:hist|stat)\[\w+\]", text, re.M)})


def threads(text):
    """threadsnoop: who makes threads; the function's name is found while the program is there, so sometimes not."""
    return [re.sub(r"(0x[0-9a-f]+|thread)$", "FUNCTION", re.sub(r"\s+", " ", line[18:])) for line in text.splitlines() if "bpftrace_target" in line and "bpftrace_target:" not in line]


def histogram(text):
    """funclatency: the unit, and how many calls."""
    calls = [int(n) for n in re.findall(r"^ *\d+ -> \d+ +: (\d+)", text, re.M)]
    return re.findall(r"^ *(\w+) +: count", text, re.M) + [str(sum(calls))]


def stamped(text):
    """funclatency -T -i: a table a second, with the time, of all calls so far."""
    return [str(len(re.findall(r"^\d\d:\d\d:\d\d$", text, re.M)) > 1)] + histogram(text[text.rfind("\n", 0, text.rfind("count")):])


def bt(name):
    return ["bpftrace", f"/usr/sbin/{name}"]


def tool(name, *options):
    return ["stdbuf", "-oL", f"/usr/sbin/{name}", *options]


# name: (command, what to compare, in the short form). PID: of the program that waits.
TOOLS = {
    "bashreadline.bt": (bt("bashreadline.bt"), timed, True),
    "gethostlatency.bt": (bt("gethostlatency.bt"), timed, True),
    "sslsnoop.bt": (bt("sslsnoop.bt"), exchange, True),
    "ssllatency.bt": (bt("ssllatency.bt"), latencies, False),
    "threadsnoop.bt": (["bpftrace", "-e", "THREADSNOOP"], threads, False),
    "gethostlatency": (tool("gethostlatency"), timed, True),
    "gethostlatency -l": (tool("gethostlatency", "-l", "/lib/x86_64-linux-gnu/libc.so.6"), timed, False),
    "gethostlatency -p": (tool("gethostlatency", "-p", "PID"), lambda text: timed(text) or ["none"], False),
    "bashreadline": (tool("bashreadline"), timed, False),
    "funclatency": (tool("funclatency", f"{TARGET}:work"), histogram, True),
    "funclatency -u": (tool("funclatency", "-u", f"{TARGET}:more"), histogram, False),
    "funclatency -m": (tool("funclatency", "-m", f"{TARGET}:more"), histogram, False),
    "funclatency -p :": (tool("funclatency", "-p", "PID", ":w_two"), histogram, False),
    "funclatency -p": (tool("funclatency", "-p", "PID", f"{TARGET}:outer"), histogram, False),
    "funclatency -d": (tool("funclatency", "-d", "9999", f"{TARGET}:fib"), histogram, False),
    "funclatency -T -i": (tool("funclatency", "-T", "-i", "1", f"{TARGET}:many"), stamped, False),
}


def command(words, pid):
    with open("/usr/sbin/threadsnoop.bt", encoding="utf-8") as f:
        script = f.read().replace("libpthread", "libc")  # glibc 2.34 moved it
    words = [script if w == "THREADSNOOP" else w for w in words]
    return [str(pid) if w == "PID" else w for w in words]


def chosen():
    return {n: t for n, t in TOOLS.items() if (n in ONLY if ONLY else LONG or t[2]) and
            (shutil.which("bpftrace") if t[0][0] == "bpftrace" else os.path.exists(t[0][2]))}


def typed(argv, env, lines):
    """Runs argv on a terminal and types the lines."""
    pid, fd = pty.fork()
    if not pid:
        os.execvpe(argv[0], argv, env)
    for line in lines:
        time.sleep(0.7)
        os.write(fd, line.encode() + b"\n")
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass
    os.waitpid(pid, 0)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def tls(world, certificate):
    """An openssl that answers lines backwards, and one that sends it one and stays until told to go."""
    port = free_port()
    server = common.spawn([*world.start, "openssl", "s_server", "-accept", str(port), "-key", certificate, "-cert", certificate,
                           "-rev", "-quiet"], world.env)
    common.wait_for(lambda: listens(port))
    client = subprocess.Popen([*world.start, "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet"], env=world.env,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    common.processes.append(client)
    client.out = server.out
    client.stdin.write(b"limpet\n")
    client.stdin.flush()
    answer = client.stdout.readline()
    time.sleep(1)  # for the names of its functions
    client.stdin.close()
    common.stop(client)
    common.stop(server)
    return answer == b"tepmil\n"


def observe(world, certificate):
    gate = os.path.join(common.folder(), "gate")
    target = common.spawn([*world.start, TARGET, gate], world.env)
    pid = []
    common.wait_for(lambda: pid.extend(p for p, line in common.alive(TARGET, gate).items() if line.startswith(TARGET)) or pid)
    tools = {n: world.tool(command(t[0], pid[0])) for n, t in chosen().items()}
    worlds.attached(world, tools.values())
    common.run([*world.start, "getent", "ahosts", "localhost"], world.env)
    typed([*world.start, "bash", "--norc", "--noprofile", "-i"], world.env, ["echo one_two", "exit"])
    ok(f"{world.name}: a TLS exchange", tls(world, certificate))
    with open(gate, "w", encoding="ascii"):
        pass
    target.wait(30)
    time.sleep(1.5)
    worlds.stop(tools.values())
    return {n: common.output(p) for n, p in tools.items()}


def tools_together():
    ours, kernel = worlds.both()
    certificate = os.path.join(common.folder(), "certificate.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", certificate, "-out", certificate + ".crt", "-days", "1",
                    "-subj", "/CN=localhost"], stderr=subprocess.DEVNULL, check=True)
    with open(certificate + ".crt", encoding="ascii") as crt, open(certificate, "a", encoding="ascii") as both:
        both.write(crt.read())
    said = observe(ours, certificate)
    theirs = observe(kernel, certificate) if kernel else said
    for name, (_, compared, _) in chosen().items():
        got, want = compared(said[name]), compared(theirs[name])
        ok(name, got and got == want, worlds.difference(got or [said[name]], want or [theirs[name]]))


if __name__ == "__main__":
    if not shutil.which("bpftrace") or not shutil.which("openssl"):
        print("skip tool_user_scripts: bpftrace or openssl is not installed")
        sys.exit(0)
    sys.argv = sys.argv[:2]
    sys.exit(common.main(tools_together, need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so",
                                               "tests/integration/bpftrace_target")))
