#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command line with real tools and targets (the queue demo's): statuses and signals passed through,
load in the background and as bpftime, attach with a tool, twice and to a wrong process, detach, list
and map on what is there.

usage: cli_run.py BUILD_DIR
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
DEMO = os.path.join(BUILD, "examples/queue_demo")
WORK = tempfile.mkdtemp(prefix="limpet-cli-")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "LIMPET_", "LD_"))}
ENV.update(LIMPET_DIR=os.path.join(WORK, "sessions"), LIMPET_LANG="en")
failures = []
children = []


def ok(name, good, seen=""):
    if not good:
        failures.append(name)
        print(f"# {seen}")
    print(("ok " if good else "not ok ") + name, flush=True)


def limpet(*args, exe=LIMPET):
    done = subprocess.run([exe, *map(str, args)], env=ENV, cwd=DEMO, stdin=subprocess.DEVNULL, timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def start(*args):
    p = subprocess.Popen([*map(str, args)], env=ENV, cwd=DEMO, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    children.append(p)
    return p


def listed():
    return json.loads(limpet("list", "--json")[1])


def wait_for(condition, seconds=8):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def passing_through():
    for verb in ("load", "start"):
        ok(f"{verb} passes the status on", limpet(verb, "sh", "-c", "exit 37")[0] == 37)
        ok(f"{verb}: 128 + signal", limpet(verb, "sh", "-c", "kill -KILL $$")[0] == 137)
        p = start(LIMPET, verb, "--", "sh", "-c", "trap 'exit 9' USR1; echo up; while :; do sleep 0.05; done")
        p.stdout.readline()
        p.send_signal(signal.SIGUSR1)
        ok(f"{verb} passes a signal on", p.wait(5) == 9, p.returncode)
    got, out, err = limpet("load", "-b", "sh", "-c", "echo went wrong; exit 5")
    ok("load -b reports an early end with its output", got == 5 and "went wrong" in err and "status 5" in err,
       (got, out, err))
    got, out, err = limpet("load", "-b", "./uprobe_queue", "--help")
    ok("load -b of a tool that only prints", got == 0 and "--overwrite" in out and not err, (got, out, err))
    quick = start(LIMPET, "load", "sleep", "3")
    ok("load without a target says what to do", quick.wait(8) == 0
       and b"limpet start" in quick.stderr.read())


def background():
    bpftime = os.path.join(WORK, "bpftime")
    os.symlink(LIMPET, bpftime)
    began = time.time()
    got, out, err = limpet("load", "./uprobe_queue", exe=bpftime)
    facts = listed()
    ok("as bpftime, load returns once links exist", got == 0 and time.time() - began < 8
       and len(facts["links"]) == 2 and len(facts["tools"]) == 1, (got, out, err, facts))
    target = start("./target")
    time.sleep(0.3)
    view = start(LIMPET, "attach", target.pid, "./uprobe_queue")
    ok("attach makes it a target", wait_for(lambda: target.pid in [t["pid"] for t in listed()["targets"]]))
    got, out, err = limpet("attach", target.pid)
    ok("attaching again is no error", got == 0, (got, out, err))
    ok("hits are counted", wait_for(lambda: any(x["hits"] for x in listed()["links"])), listed())
    time.sleep(1.5)
    view.send_signal(signal.SIGINT)
    shown = view.communicate(timeout=5)
    ok("attach with the running tool shows its output", b"PID:%d" % target.pid in shown[0], shown)
    ok("Ctrl-C ends only the view", view.returncode in (130, -2) and len(listed()["tools"]) == 1,
       (view.returncode, listed()))
    counters = limpet("map", "dump", "--json", "counters")
    ok("map dump", counters[0] == 0 and int(json.loads(counters[1])[0]["value"][:2], 16) > 0, counters)
    got, out, err = limpet("detach", "--all")
    ok("detach --all", got == 0 and str(target.pid) in out and not listed()["targets"]
       and target.poll() is None, (got, out, err))
    got, out, err = limpet("detach", target.pid)
    ok("detach of no target says so", got == 1 and "not a target" in err and err.count("\n") == 1, err)
    os.kill(listed()["tools"][0]["pid"], signal.SIGINT)
    ok("a tool that ends takes its links along", wait_for(
        lambda: not listed()["tools"] and limpet("gc")[0] == 0 and not listed()["links"]), listed())


def held():
    """A target that somebody else traces when links come: list says what it waits for, detach what to do."""
    first, target = start(LIMPET, "load", "./uprobe_queue"), start("./target")
    wait_for(lambda: listed()["links"])
    got = limpet("attach", target.pid)
    ok("a target that is in line waits for nothing", got[0] == 0 and not any("waits" in t for t in listed()["targets"]), (got, listed()))
    tracer = os.fork()
    if not tracer:
        ctypes.CDLL(None).ptrace(0x4206, target.pid, 0, 0)  # PTRACE_SEIZE
        time.sleep(60)
        os._exit(0)
    wait_for(lambda: f"TracerPid:\t{tracer}" in open(f"/proc/{target.pid}/status", encoding="ascii").read())
    second = start(LIMPET, "load", "./uprobe_stack")
    why = f"process {tracer} traces it"
    ok("list says what a target waits for", wait_for(lambda: [t.get("waits") for t in listed()["targets"]] == [why]), listed())
    ok("and in its tables", f"{target.pid}: target waiting:" in limpet("list")[1] and why in limpet("list")[1], limpet("list"))
    got, out, err = limpet("detach", target.pid)
    ok("detach of a traced target says what to do", got == 1 and not out and f"{why}; end that first" in err, (got, out, err))
    os.kill(tracer, signal.SIGKILL)
    os.waitpid(tracer, 0)
    ok("then it gets its probes", wait_for(lambda: not any("waits" in t for t in listed()["targets"])), listed())
    ok("and can be detached", limpet("detach", target.pid)[0] == 0)
    for p in (first, second, target):
        p.terminate()
        p.wait(10)
    began = time.time()
    for pid, word in ((target.pid, "no such process"), (os.getpid(), "not a target")):
        got, out, err = limpet("detach", pid)
        ok(f"detach: {word}", got == 1 and not out and word in err and time.time() - began < 5, (got, out, err))


def fifo():
    """Queue operations from outside, on the map of a monitor whose reading is stopped."""
    tool = start(LIMPET, "load", "./uprobe_queue")
    wait_for(lambda: len(listed()["links"]) == 2)
    pid = listed()["tools"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    size = [m for m in listed()["maps"] if m["name"] == "events"][0]["value_size"]
    ok("map pop of an empty queue", limpet("map", "pop", "events")[0] == 1)
    for n in (1, 2):
        ok(f"map push {n}", limpet("map", "push", "events", f"u64:{n}", "hex:" + "00" * (size - 8))[0] == 0)
    ok("map push of a wrong length", limpet("map", "push", "events", "1")[0] == 2)
    values = [json.loads(limpet("map", verb, "--json", "events")[1])["value"][:2] for verb in ("peek", "pop", "pop")]
    ok("map peek and pop keep the order", values == ["01", "01", "02"], values)
    ok("map dump of a queue says what to use", "peek" in limpet("map", "dump", "events")[2])
    events = [m["id"] for m in listed()["maps"] if m["name"] == "events"][0]
    path = os.path.join(ENV["LIMPET_DIR"], f"default/bpf-map.{events}")
    with open(path, "r+b") as f:
        f.seek(-4096, os.SEEK_END)
        kept = f.read(4096)
        f.seek(-4096, os.SEEK_END)
        f.write(b"\xa5" * 4096)
    damaged = [m for m in listed()["maps"] if m["id"] == events]
    ok("list of a damaged map", damaged and "damaged" in damaged[0].get("error", ""), damaged)
    got, out, err = limpet("map", "pop", events)
    ok("map pop of a damaged map", got == 1 and "damaged" in err and err.count("\n") == 1 and not out, err)
    with open(path, "r+b") as f:
        f.seek(-4096, os.SEEK_END)
        f.write(kept)
    os.kill(pid, signal.SIGCONT)
    tool.send_signal(signal.SIGTERM)
    tool.wait(5)


def keyed():
    """Maps with keys: the array `counters` (u32 -> u64) and the frozen .rodata of a monitor."""
    tool = start(LIMPET, "load", "./uprobe_queue", "--interval", "60000")
    wait_for(lambda: len(listed()["links"]) == 2)

    def value(*key):
        got, out, _ = limpet("map", "lookup", "--json", "counters", *key)
        return json.loads(out)["value"] if not got else None

    ok("map lookup by a number, typed bytes and plain bytes",
       value(1) == value("u32:1") == value(1, 0, 0, 0) == value("hex:01000000") == "00" * 8, value(1))
    for given, want in (((1, 5), "0500000000000000"), ((1, 0, 0, 0, "u64:0x1234"), "3412000000000000"),
                        (("u32:1", "-2"), "fe" + "ff" * 7), ((1, "str:12345678"), "3132333435363738")):
        ok(f"map update {given}", limpet("map", "update", "counters", *given)[0] == 0 and value(1) == want, value(1))
    for args, status, word in ((("lookup", "counters", 1, 0, 0), 2, "4 bytes"), (("lookup", "counters", 9), 1, "no such key"),
                               (("lookup", "counters", 1, 0, 0, 0, 0), 2, "too many"), (("delete", "counters", 1), 1, "type of map"),
                               (("update", "counters", 1, "str:ab"), 2, "8 bytes"), (("update", "counters", 1 << 40, 1), 2, "too large"),
                               (("update", "counters", 1, "12x"), 2, "not a value"), (("update", "counters", 7, 1), 1, "beyond"),
                               (("update", "uprobe_q.rodata", 0, 1), 1, "frozen"), (("lookup", "events", 1), 1, "queue or stack"),
                               (("lookup", "nothing", 1), 1, "no map nothing"), (("push", "counters", 1), 1, "neither")):
        got, out, err = limpet("map", *args)
        ok(f"map {args[0]} {args[1:]} is refused", got == status and not out and err.count("\n") == 1 and word in err, err)
    ok("map dump shows values by their BTF", "push_flags = 0" in limpet("map", "dump", "uprobe_q.rodata")[1])
    typed = json.loads(limpet("map", "lookup", "--json", "counters", 1)[1])
    ok("map lookup --json has key and value by their BTF", (typed.get("typed_key"), typed.get("typed_value"))
       == ("1", str(int.from_bytes(b"12345678", "little"))), typed)
    ok("map show names type and sizes", all(w in limpet("map", "show", "counters")[1] for w in ('"array"', "key_size: 4", "value_size: 8")))
    tool.send_signal(signal.SIGTERM)
    tool.wait(5)


def kinds():
    """Hash and per-CPU maps, made and pinned by bpftool as a tool."""
    bpftool = shutil.which("bpftool", path="/usr/bin:/usr/sbin:/usr/local/sbin")
    if not bpftool:
        print("skip hash and per-CPU maps: no bpftool")
        return
    cpus = os.sysconf("SC_NPROCESSORS_CONF")
    for kind in ("hash", "percpu_hash", "percpu_array"):
        made = limpet("load", "--", bpftool, "map", "create", f"/sys/fs/bpf/{kind}", "type", kind, "key", "4", "value", "8",
                      "entries", "2", "name", "m_" + kind)
        if not any(m["name"] == "m_" + kind for m in listed()["maps"]):
            ok(f"{kind}: bpftool makes one under limpet load", False, made)
            continue
        size = 8 * cpus if "percpu" in kind else 8

        def values(*args):
            found = json.loads(limpet("map", "--json", *args)[1])
            return [[v["value"] for v in e["values"]] if "values" in e else [e["value"]] * (size // 8)
                    for e in (found if isinstance(found, list) else [found])]

        limpet("map", "update", "m_" + kind, 1, 5)
        limpet("map", "update", "m_" + kind, 0, "u64:7")
        want = [["0500000000000000"] * (size // 8)]
        ok(f"{kind}: update, lookup and dump", values("lookup", "m_" + kind, 1) == want and len(values("dump", "m_" + kind)) == 2)
        got, out, err = limpet("map", "update", "m_" + kind, 9, 1)
        ok(f"{kind}: full", got == 1 and "full" in err and err.count("\n") == 1, err)
        got, out, err = limpet("map", "delete", "m_" + kind, 1)
        if kind == "percpu_array":
            ok(f"{kind}: nothing can be deleted", got == 1 and "type of map" in err, err)
        else:
            ok(f"{kind}: delete", got == 0 and len(values("dump", "m_" + kind)) == 1
               and "no such key" in limpet("map", "lookup", "m_" + kind, 1)[2], err)
    got, out, err = limpet("trace", "--now")
    ok("trace --now of a session without messages", (got, out, err) == (0, "", ""), (got, out, err))


def versions():
    """A session of another version: kept while somebody uses it, replaced otherwise; only by what makes sessions."""
    def session(name, lay=None):
        path = os.path.join(ENV["LIMPET_DIR"], name, "session")
        with open(path, "r+b") as f:
            f.seek(8)
            old = f.read(4)
            if lay:
                f.seek(8)
                f.write(lay)
        return old

    limpet("start", "-s", "old", "true")
    user = start(LIMPET, "start", "-s", "old", "sleep", "60")
    wait_for(lambda: json.loads(limpet("list", "-s", "old", "--json")[1])["targets"])
    mine = session("old", b"\xfe\xff\0\0")
    got, out, err = limpet("start", "-s", "old", "true")
    ok("another version's session that is in use is left alone", got == 1 and "another version" in err, (got, err))
    session("old", mine)
    user.send_signal(signal.SIGTERM)
    user.wait(5)
    session("old", b"\xfe\xff\0\0")
    os.truncate(os.path.join(ENV["LIMPET_DIR"], "old", "session"), 64)  # theirs may be shorter
    got, out, err = limpet("list", "-s", "old")
    ok("list does not replace it", got == 1 and "another version" in err, (got, err))
    replaced = wait_for(lambda: limpet("start", "-s", "old", "true")[0] == 0)
    ok("start does, when nobody uses it", replaced and session("old") == mine and not [
        f for f in os.listdir(ENV["LIMPET_DIR"]) if ".old-" in f], os.listdir(ENV["LIMPET_DIR"]))


def main():
    need = [os.path.join(BUILD, p) for p in ("src/loader/liblimpet-shim.so", "src/agent/liblimpet-agent.so",
                                             "examples/queue_demo/uprobe_queue")]
    missing = [p for p in need if not os.path.exists(p)]
    if missing:
        print(f"skip cli_run: {missing[0]} is not built")
        return 0
    try:
        for part in (passing_through, background, held, fifo, keyed, kinds, versions):
            part()
    finally:
        for tool in listed()["tools"]:
            os.kill(tool["pid"], signal.SIGKILL)
        for p in children:
            p.kill()
            p.wait()
        shutil.rmtree(WORK, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
