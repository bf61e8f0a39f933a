#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Servers and other programs that run on, attached to and detached from while they work: redis-server under its
benchmark, nginx under ab, openssl's s_server and s_client, python3. What they answer is right, calls are counted
as often as the program's own counters say, of two tools one may leave, and a detach leaves nothing.

usage: servers.py BUILD_DIR
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from probing import Counter, LIBC, c, offset

ROUNDS = 200 if os.environ.get("LIMPET_LONG") else 4
LIB = "/usr/lib/x86_64-linux-gnu/"


def session():
    return c.environment(c.folder(place="/dev/shm"), lang="en")


def limpet(env, *words):
    return subprocess.run([c.LIMPET, *map(str, words)], env=env, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60)


def maps(pid):
    """What is mapped of files: a heap may have grown meanwhile."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        return sorted({line.split()[-1] for line in f if "/" in line})


def attach(env, pids):
    return [said for said in (limpet(env, "attach", pid) for pid in pids) if said.returncode]


def detach(env, pids):
    return [said for said in (limpet(env, "detach", pid) for pid in pids) if said.returncode]


def popen(argv, env, **more):
    p = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    c.processes.append(p)
    return p


class Load(threading.Thread):
    """A client's load, again and again; what it said and how it ended."""

    def __init__(self, call):
        super().__init__()
        self.call, self.over, self.results = call, threading.Event(), []
        self.start()

    def run(self):
        while not self.over.is_set():
            self.results.append(self.call())

    def finish(self):
        self.over.set()
        self.join()
        return self.results


def live(name, env, pids, probes, load, own, good):
    """Attaches and detaches under load; then two tools on the same functions, of which one leaves.

    probes: the first one's calls are what own() counts. load() makes some and says how it went, which good() judges."""
    before = {pid: maps(pid) for pid in pids}
    first = Counter(env, probes)
    if not c.ok(f"{name}_tool_loads", first.ready, "\n".join(first.said)):
        return
    under, failed = Load(load), []
    for i in range(ROUNDS):
        failed += attach(env, pids)
        time.sleep(0.02 * (i % 4))
        failed += detach(env, pids)
    results = under.finish()
    seen = first.counts()
    c.ok(f"{name}_attaches_and_detaches_under_load", not failed and seen[0][0] > 0, f"{failed} {seen}")
    c.ok(f"{name}_answers_rightly_meanwhile", results and all(map(good, results)), [r for r in results if not good(r)][:1])
    c.ok(f"{name}_nothing_stays", c.wait_for(lambda: {pid: maps(pid) for pid in pids} == before), f"{before}")

    def counted(counters):
        """By each, calls of the first function while the program counts `calls` of them."""
        at, start = own(), [k.counts() for k in counters]
        answer = load()
        calls = own() - at
        c.wait_for(lambda: all(n[0] - o[0] >= calls for k, s in zip(counters, start) for n, o in [(k.counts()[0], s[0])]), 2)
        return calls, [[tuple(n - o for n, o in zip(now, old)) for now, old in zip(k.counts(), s)] for k, s in zip(counters, start)], answer

    failed = attach(env, pids)
    second = Counter(env, [(("both" if kind == "entry" else kind), path, where) for kind, path, where in probes])
    c.wait_for(lambda: not json.loads(limpet(env, "list", "--json").stdout).get("waiting"), 2)
    time.sleep(0.3)
    calls, (a, b), answer = counted([first, second])
    c.ok(f"{name}_two_tools_count_every_call", not failed and calls and a[0][0] == calls and b[0][0] == calls and b[0][2] == calls,
         f"{failed} {calls} {a} {b}\n{limpet(env, 'list').stdout}")
    c.ok(f"{name}_answers_two_tools", good(answer), answer)
    first.close()
    calls, (b,), answer = counted([second])
    c.ok(f"{name}_one_leaves_the_other_counts", calls and b[0][0] == calls and b[0][2] == calls and good(answer), f"{calls} {b}")
    failed = detach(env, pids)
    seen = second.counts()
    answer = load()
    c.ok(f"{name}_detached_counts_nothing", not failed and good(answer) and second.counts() == seen, f"{failed} {second.counts()} {seen}")
    second.close()
    c.ok(f"{name}_nothing_stays_at_the_end", c.wait_for(lambda: {pid: maps(pid) for pid in pids} == before),
         f"{before} {[maps(pid) for pid in pids]}")


def redis():
    # The server and its checker are one program; the package of tools has it without a service.
    binary = os.path.realpath("/usr/bin/redis-server") if os.path.exists("/usr/bin/redis-server") else "/usr/bin/redis-check-rdb"
    if not os.path.exists(binary) or not os.path.exists("/usr/bin/redis-benchmark"):
        print("skip redis: redis-tools is not installed")
        return
    env, folder = session(), c.folder()
    place = f"{folder}/s"
    server = c.spawn(["redis-server", "--port", "0", "--unixsocket", place, "--save", "", "--appendonly", "no", "--dir", folder],
                     dict(env), executable=binary)

    def command(*words):
        return subprocess.run(["redis-cli", "-s", place, *words], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=30).stdout

    def load():
        done = subprocess.run(["redis-benchmark", "-s", place, "-n", "1000", "-c", "8", "-P", "3", "-q", "-t",
                               "set,get,incr,lpush,lpop,sadd,hset,zadd,mset"], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=100)
        return done.returncode, len(re.findall(r"requests per second", done.stdout)), "rror" in done.stdout

    def own():
        return int(re.search(r"total_commands_processed:(\d+)", command("INFO", "stats"))[1])

    if not c.ok("redis_starts", c.wait_for(lambda: "PONG" in command("PING")), c.output(server)):
        return
    jemalloc = LIB + "libjemalloc.so.2"
    probes = [("entry", binary, "call"), ("both", binary, "processCommand"), ("session", binary, "lookupKey"), ("twice", binary, "dictFind"),
              ("entry", binary, "dictFind+4"), ("both", LIBC, "read"), ("session", LIBC, "write"), ("both", LIBC, "memcpy"),
              ("return", LIBC, "pthread_mutex_lock"), *[("both", jemalloc, f) for f in ("malloc", "free") if os.path.exists(jemalloc)]]
    command("FLUSHALL")
    live("redis", env, [server.pid], probes, load, own, lambda r: r == load_plain)
    command("SET", "k", "v")
    c.ok("redis_lives_on", command("GET", "k").strip() == "v")
    command("SHUTDOWN", "NOSAVE")
    c.ok("redis_ends_well", server.wait(10) == 0, c.output(server))


load_plain = (0, 9, False)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listening(place):
    with open("/proc/net/tcp", encoding="ascii") as f:
        return f":{int(place.split(':')[1]):04X} 00000000:0000 0A" in f.read()


CONF = """
daemon off; worker_processes 2; pid {0}/pid; error_log stderr warn; {2}
events {{ worker_connections 64; }}
http {{ access_log off; client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;
  gzip on; gzip_types text/plain; gzip_min_length 100;
  server {{ listen 127.0.0.1:{1}; root {0}/www; default_type text/plain; location = /status {{ stub_status; }} }} }}
"""


def nginx():
    if not os.path.exists("/usr/sbin/nginx") or not os.path.exists("/usr/bin/ab"):
        print("skip nginx: nginx and apache2-utils are not installed")
        return
    env, folder, port = session(), c.folder(), free_port()
    os.mkdir(f"{folder}/www")
    text = "".join(f"{i} {'y' * (i % 40)}\n" for i in range(300))
    for name, content in {"conf": CONF.format(folder, port, "user root;" if os.getuid() == 0 else ""), "www/a": text}.items():
        with open(f"{folder}/{name}", "w", encoding="ascii") as f:
            f.write(content)
    master = c.spawn(["/usr/sbin/nginx", "-e", "stderr", "-c", f"{folder}/conf", "-p", folder], dict(env))

    def get(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=20) as r:
                return r.read().decode()
        except OSError as e:
            return str(e)

    def own():
        return int(get("status").splitlines()[2].split()[2])

    def load():
        done = subprocess.run(["ab", "-q", "-n", "600", "-c", "8", "-H", "Accept-Encoding: gzip", f"http://127.0.0.1:{port}/a"], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout
        return re.findall(r"(?:Complete|Failed) requests: +\d+|Non-2xx.*", done), get("a") == text

    if not c.ok("nginx_starts", c.wait_for(lambda: "Active" in get("status")), c.output(master)):
        return
    workers = [int(p) for p in subprocess.check_output(["pgrep", "-P", str(master.pid)], text=True).split()]
    probes = [("entry", "/usr/sbin/nginx", "ngx_http_create_request"), ("both", "/usr/sbin/nginx", "ngx_http_process_request"),
              ("session", "/usr/sbin/nginx", "ngx_palloc"), ("twice", "/usr/sbin/nginx", "ngx_http_finalize_request"),
              ("both", LIBC, "malloc"), ("session", LIBC, "free"), ("both", LIBC, "memcpy"), ("both", LIBC, "recv"), ("return", LIBC, "writev")]
    plain = load()
    live("nginx", env, workers, probes, load, own, lambda r: r == plain)
    master.send_signal(signal.SIGQUIT)
    c.ok("nginx_ends_well", master.wait(20) == 0, c.output(master))


def tls():
    if not os.path.exists("/usr/bin/openssl") or not os.path.exists(LIB + "libssl.so.3"):
        print("skip tls: openssl is not installed")
        return
    folder = c.folder()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2", "-keyout", f"{folder}/key",
                    "-out", f"{folder}/cert"], check=True, stderr=subprocess.DEVNULL)
    env = session()
    plain = exchange(folder, env, 0)
    c.ok("tls_plain_run", plain[2:] == (0, 0) and "60 from the client" in plain[0], plain)
    ssl = LIB + "libssl.so.3"
    probes = [("both", ssl, "SSL_write"), ("both", ssl, "SSL_read"), ("session", ssl, "SSL_write"), ("twice", ssl, "SSL_read"),
              ("both", LIBC, "malloc"), ("both", LIBC, "memcpy"), ("both", LIBC, "write")]
    counter = Counter(env, probes)
    if not c.ok("tls_tool_loads", counter.ready, "\n".join(counter.said)):
        return
    got = exchange(folder, env, 1, counter)
    c.ok("tls_started_same_output", got[:4] == plain, (got, plain))
    got = exchange(folder, env, 2, counter)
    c.ok("tls_attached_same_output", got[:4] == plain, (got, plain))
    counter.close()


def exchange(folder, env, limpet_way, counter=None):
    """Lines to and fro, one at a time: outputs and exit statuses of both. limpet_way 1: started, 2: attached to and detached from meanwhile."""
    start = [c.LIMPET, "start", "--"] if limpet_way == 1 else []
    place = f"127.0.0.1:{free_port()}"
    server = popen([*start, "openssl", "s_server", "-accept", place, "-cert", f"{folder}/cert", "-key", f"{folder}/key", "-quiet", "-tls1_2",
                    "-no_ticket", "-naccept", "1"], env)
    c.wait_for(lambda: listening(place) or server.poll() is not None)
    client = popen([*start, "openssl", "s_client", "-connect", place, "-quiet", "-no_ign_eof", "-tls1_2", "-verify_quiet"], env)
    heard = {server: "", client: ""}

    def line(one, other, text):
        one.stdin.write(text + "\n")
        one.stdin.flush()
        while True:
            got = other.stdout.readline()
            heard[other] += got
            if not got or got.rstrip("\n") == text:
                return

    def settled():
        """A line is there before its SSL_write has returned."""
        c.wait_for(lambda: counter.counts()[0][0] == counter.counts()[0][2])
        return counter.counts()

    def lines(first, last):
        before = settled() if counter else []
        for i in range(first, last):
            line(client, server, f"{i} from the client {'z' * (i * 37 % 400)}")
            line(server, client, f"{i} from the server {'w' * (i * 53 % 900)}")
        return [tuple(a - b for a, b in zip(now, old)) for now, old in zip(settled(), before)] if counter else []

    try:
        lines(0, 1)
    except BrokenPipeError:
        return heard[server], heard[client], client.poll(), server.poll()
    if limpet_way == 2:
        for first in (1, 21, 41):
            c.ok(f"tls_attach_{first}", not attach(env, (server.pid, client.pid)))
            check_written(lines(first, first + 15), 15)
            c.ok(f"tls_detach_{first}", not detach(env, (server.pid, client.pid)))
            lines(first + 15, first + 20)
    else:
        seen = lines(1, 61)
        if counter:
            check_written(seen, 60)
    client.stdin.close()
    heard[client] += client.stdout.read()
    server_end = server.stdout.read()
    return heard[server] + server_end, heard[client], client.wait(20), server.wait(20)


def check_written(seen, each_way):
    """Each line is one SSL_write of either side and one SSL_read at least of the other."""
    writes, n = seen[0], 2 * each_way
    c.ok("tls_every_write_is_counted", writes == (n, 0, n) and seen[2] == (n, 0, n), seen)
    reads = seen[1][0]
    c.ok("tls_every_read_is_counted", reads >= n and seen[1] == (reads, 0, reads) and seen[3] == (reads, reads, 0), seen)


PYTHON = """
import posix, sys
def f(x): return x + 1
for line in sys.stdin.buffer:
    posix.write(1, b"%d\\n" % sum(map(f, range(int(line)))))
"""


def python_at(path, label):
    env = session()
    if not path or not os.path.exists(path) or offset(path, "_PyEval_EvalFrameDefault") is None:
        print(f"skip {label}: no such python, or one without the symbol")
        return
    p = popen([path, "-S", "-E", "-c", PYTHON], env)

    def calls(n):
        p.stdin.write(f"{n}\n")
        p.stdin.flush()
        return p.stdout.readline().strip() == str(n * (n + 1) // 2)

    total = [0]

    def load():
        total[0] += 1000
        return calls(1000)

    load()
    # f is called from C, a frame evaluation each
    live(label, env, [p.pid], [("entry", path, "_PyEval_EvalFrameDefault"), ("both", LIBC, "malloc"), ("both", LIBC, "write"),
                               ("session", LIBC, "memcpy")], load, lambda: total[0], bool)
    p.stdin.close()
    c.ok(f"{label}_ends_well", p.wait(10) == 0)


def python():
    python_at(os.path.realpath("/usr/bin/python3"), "python")


def python_of_the_user():
    path = os.path.realpath(sys.executable)
    if path == os.path.realpath("/usr/bin/python3"):
        print("skip python_of_the_user: it is Debian's")
        return
    python_at(path, "python_of_the_user")


if __name__ == "__main__":
    sys.exit(c.main(redis, nginx, tls, python, python_of_the_user,
                    need=("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so", "tests/programs/count.bpf.o")))
