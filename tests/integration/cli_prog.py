#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""limpet prog: list and dump of the queue demo's programs, against clang's own view of the object.

usage: cli_prog.py BUILD_DIR
"""
import json
import os
import re
import shutil
import subprocess
import sys

from common import DEMO, LIMPET, compile_bpf, environment, folder, main, ok, spawn, stop, wait_for

WORK = folder("limpet-prog-")
ENV = environment(os.path.join(WORK, "sessions"), "en")


def limpet(*args, **env):
    done = subprocess.run([LIMPET, *map(str, args)], env=dict(ENV, **env), stdin=subprocess.DEVNULL, timeout=30,
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def opcodes_by_clang():
    """Opcode bytes of target_function_entry in the object, as llvm-objdump decodes them."""
    text = subprocess.run(["llvm-objdump", "-d", os.path.join(DEMO, "uprobe_queue.bpf.o")], capture_output=True,
                          text=True, check=False).stdout
    body = re.search(r"<target_function_entry>:\n(.*?)(\n[0-9a-f]+ <(?!LBB)|\nDisassembly|\Z)", text, re.S)
    return re.findall(r"^\s*\d+:\s+([0-9a-f]{2}) ", body[1], re.M) if body else []


def insn_lines(text):
    return [line for line in text.splitlines() if re.match(r" *\d+: \([0-9a-f]{2}\) ", line)]


def same_code(shown):
    """As clang wrote it; a load of a constant may have become that constant."""
    wrote = opcodes_by_clang()
    return len(shown) == len(wrote) and all(a == b or (a in ("b4", "b7") and b in ("61", "69", "71", "79"))
                                            for a, b in zip(shown, wrote))


def dumps(prog):
    status, text, err = limpet("prog", "dump", prog["id"])
    lines, insns = text.splitlines(), insn_lines(text)
    ok("dump shows every instruction", status == 0 and same_code([i.split("(")[1][:2] for i in insns]), text + err)
    ok("dump begins with the function's name", bool(lines) and lines[0] == "target_function_entry:", lines[:2])
    ok("dump shows source lines", sum(line.startswith("; ") for line in lines) > 5, text)
    ok("dump names maps", bool(re.search(r"= map\[id:\d+\]\(events\)", text)), text)
    ok("dump names global data", bool(re.search(r"= map\[id:\d+\]\(\S*\.rodata\)\[0\]\+\d+", text)), text)
    ok("dump names helpers", "call bpf_map_push_elem#87" in text, text)
    status, text, err = limpet("prog", "dump", "--json", prog["name"])
    table = json.loads(text)
    ok("dump by name, as JSON", status == 0 and [i["text"] for i in table] == [i.split(": ", 1)[1] for i in insns], text + err)
    ok("JSON has source, file and line", any("source" in i and i["line"] > 0 and i["file"].endswith(".h") for i in table), text)


def against_bpftool(prog):
    """bpftool, run as a tool of the session, prints the same but for the names of maps."""
    bpftool = shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not bpftool:
        print("skip dump against bpftool: it is not installed")
        return
    theirs = insn_lines(limpet("load", bpftool, "prog", "dump", "xlated", "id", prog["id"])[1])
    ours = insn_lines(re.sub(r"(map\[id:\d+\])\([^)]*\)", r"\1", limpet("prog", "dump", prog["id"])[1]))
    ok("dump is what bpftool prints", len(ours) > 40 and ours == theirs, "\n".join(ours + ["---"] + theirs))


def jited(prog):
    status, text, err = limpet("prog", "dump", prog["id"], "--jited")
    if status == 1 and ("no compiler" in err or "without Zydis" in err):
        print(f"skip dump --jited: {err.strip()}")
        return
    ok("--jited shows machine code", status == 0 and "ret" in text and len(text.splitlines()) > 30, text + err)
    ok("--jited explains what it calls", "bpf_map_push_elem" in text, text)
    ok("--jited shows branches as offsets", bool(re.search(r": j\w+ 0x0{10}", text)) and
       bool(re.search(r"; map\[id:\d+\]\(counters\)\[1\]\+0", text)), text)
    status, text, err = limpet("prog", "dump", "-x", "-j", prog["id"])
    table = json.loads(text)
    end = table[-1]["offset"] + len(table[-1]["bytes"]) // 2
    ok("--jited as JSON is gapless", status == 0 and sum(len(i["bytes"]) // 2 for i in table) == end, err)


def verifies():
    status, out, err = limpet("prog", "verify", os.path.join(DEMO, "uprobe_queue.bpf.o"))
    ok("verify accepts the demo's programs", status == 0 and out.count(": accepted\n") == len(out.splitlines()) > 0, out + err)
    status, out, err = limpet("prog", "verify", "--json", os.path.join(DEMO, "../../tests/unit/lib/sample.bpf.o"))
    refused = {p["name"]: p["log"] for p in json.loads(out or "[]") if not p["accepted"]}
    ok("verify says what is wrong", status == 1 and "invalid func unknown#60000" in refused.get("no_helper", ""), out + err)
    network = os.path.join(os.path.dirname(os.path.abspath(__file__)), "network.bpf.c")
    status, out, err = limpet("prog", "verify", compile_bpf(network, os.path.join(WORK, "network.bpf.o")))
    ok("verify says which type only the kernel runs, and what to do", status == 1 and not err and
       re.search(r"^program type xdp \(packets\) needs .*limpet load --with-kernel`\nreceive: refused: Invalid argument$", out, re.M) and
       "program type sched_cls (packets)" in out and "libbpf" not in out, out + err)
    status, out, err = limpet("prog", "verify", os.path.join(DEMO, "../../tests/unit/lib/core.bpf.o"))
    ok("verify names a CO-RE relocation that fails", status == 1 and
       re.search(r"failed to resolve CO-RE relocation <byte_off> \[\d+\] struct thing\.b ", out), out + err)
    ok("verify leaves no session behind", not [n for n in os.listdir(os.path.join(WORK, "sessions")) if n.startswith("verify-")])
    limpet("load", "-s", "unverified", "--no-verify", "--", "true")
    ok("list says that programs are not verified", "not verified" in limpet("list", "-s", "unverified")[1])
    limpet("load", "-s", "unverified", "--", "true")
    ok("the next load verifies again", "not verified" not in limpet("list", "-s", "unverified")[1])


def errors():
    for name, args, status, say in [
            ("no verb", ["prog"], 2, "say list, dump or verify"),
            ("unknown verb", ["prog", "show"], 2, "say list, dump or verify"),
            ("no id", ["prog", "dump"], 2, "missing"),
            ("no object", ["prog", "verify"], 2, "which object file?"),
            ("no such object", ["prog", "verify", "/no/such.bpf.o"], 1, "cannot read /no/such.bpf.o"),
            ("two ids", ["prog", "dump", "1", "2"], 2, "too many"),
            ("unknown id", ["prog", "dump", "4711"], 1, "no program 4711"),
            ("unknown name", ["prog", "dump", "nobody"], 1, "no program nobody"),
            ("list with --jited", ["prog", "list", "--jited"], 2, "--jited goes with dump"),
            ("no session", ["prog", "dump", "-s", "absent", "1"], 1, "no session")]:
        got, out, err = limpet(*args)
        ok(f"error: {name}", got == status and say in err and err.count("\n") == 1 and not out, (got, err, out))
    ok("list without a session is empty", limpet("prog", "list", "-s", "absent", "--json") == (0, "[]\n", ""))
    got, out, _ = limpet("prog", "--help", LIMPET_LANG="zh")
    ok("help in Chinese", got == 0 and "用法：limpet prog list" in out, out)


def spoilt(prog):
    """A damaged file is told, not followed."""
    path = os.path.join(WORK, "sessions/default", f"bpf-prog.{prog['id']}")
    with open(path, "r+b") as f:
        data = f.read(4096)
        f.seek(56)
        f.write(b"\xff" * 8)  # counts
        f.flush()
        status, out, err = limpet("prog", "dump", prog["id"])
        ok("a damaged program is refused", status == 1 and "damaged" in err, (status, out, err))
        f.seek(0)
        f.write(data)
    ok("restored, it is shown again", limpet("prog", "dump", prog["id"])[0] == 0)


def programs():
    """Of the demo's tool, once it runs."""
    status, text, _ = limpet("prog", "list", "--json")
    progs = json.loads(text) if status == 0 else []
    return progs if len(progs) == 2 else None


def prog_commands():
    tool = spawn([LIMPET, "load", os.path.join(DEMO, "uprobe_queue")], ENV)
    wait_for(programs)
    progs = programs() or []
    ok("list --json has both programs", sorted(p["name"] for p in progs) == ["secondary_funct", "target_function"], progs)
    prog = next(p for p in progs if p["name"] == "target_function")
    ok("list says what it is", prog["type"] == "kprobe" and prog["gpl_compatible"] and len(prog["map_ids"]) >= 2, prog)
    status, text, _ = limpet("prog", "list")
    ok("list in bpftool's form", status == 0 and f"{prog['id']}: kprobe  name target_function  tag {prog['tag']}  gpl" in text,
       text)
    dumps(prog)
    against_bpftool(prog)
    jited(prog)
    verifies()
    errors()
    spoilt(prog)
    stop(tool)


if __name__ == "__main__":
    sys.exit(main(prog_commands))
