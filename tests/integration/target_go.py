# SPDX-License-Identifier: MIT
"""Go programs as targets: entries and the middle of functions are counted exactly, on goroutines' small stacks, while
they grow, move and are collected; what would not be safe is refused with the reason."""
import os
import subprocess
import sys

import common
import kinds
from common import LIMPET, ok

GO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "go_target.go")
ROUNDS = 2000
DEEP = 8 * sum(i % 40 + 1 for i in range(ROUNDS))


class Program:
    def __init__(self, env, *argv):
        self.p = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        common.processes.append(self.p)

    def round(self, n=ROUNDS):
        self.p.stdin.write(f"{n}\n".encode())
        self.p.stdin.flush()
        return int(self.p.stdout.readline())


def instructions(path, name):
    """Offsets of a function's instructions."""
    text = subprocess.check_output(["objdump", "-d", f"--disassemble={name}", path]).decode()
    at = [int(line.split(":")[0], 16) for line in text.splitlines() if line.startswith("  ")]
    return [a - at[0] for a in at]


def reasons(env, links):
    """Of probes that were refused, by the number of the link."""
    out = subprocess.run([LIMPET, "list"], env=env, stdout=subprocess.PIPE, check=True).stdout.decode()
    found = {}
    for line in out.splitlines():
        f = line.split(":", 2)
        if line.startswith("    link "):
            found[int(f[0].split()[1]) - links] = f[2]
    return found


def first_link(env):
    return min(link["id"] for link in common.listed(env)["links"])


def counted(name, program, table, prefix):
    place = common.folder()
    env = common.environment(place, lang="en")
    middle = instructions(table, "main.deep")[3]
    tool = kinds.Counter(env, *[kinds.symbol(program, *what, table=table)
                                for what in (("main.add",), ("main.deep",), ("main.deep", middle))])
    target = Program(env, *prefix, program)
    if not prefix:
        want = target.round()
        attach = common.run([LIMPET, "attach", str(target.p.pid)], env)
        ok(f"{name}_attaches", not attach[0], attach)
    else:
        want = int(subprocess.run([program], input=f"{ROUNDS}\n".encode(), stdout=subprocess.PIPE, check=True).stdout)
    got, counts = target.round(), tool.counts()
    ok(f"{name}_gives_the_same_result", got == want, (got, want))
    ok(f"{name}_counts", counts[0] == 8 * ROUNDS and counts[2] == DEEP and counts[1] >= DEEP, (counts, DEEP))
    if not prefix:
        common.run([LIMPET, "detach", str(target.p.pid)], env)
        ok(f"{name}_detaches", target.round() == want and tool.counts() == counts, tool.counts())
    target.p.stdin.close()
    ok(f"{name}_ends", target.p.wait(10) == 0)
    tool.end()


def refused(program):
    place = common.folder()
    env = common.environment(place, lang="en")
    tool = kinds.Counter(env, kinds.symbol(program, "main.deep"), kinds.symbol(program, "main.deep") + "r",
                         kinds.symbol(program, "runtime.memmove"), kinds.symbol(program, "main.(*node).get"))
    target = Program(env, LIMPET, "start", program)
    first = first_link(env)
    want = int(subprocess.run([program], input=b"1000\n", stdout=subprocess.PIPE, check=True).stdout)
    got, why, counts = target.round(1000), reasons(env, first), tool.counts()
    ok("go_refuses_return_probes", "return addresses" in why.get(1, ""), why)
    ok("go_refuses_where_no_stack_is_sure", "stack" in why.get(2, ""), why)
    ok("go_refuses_what_panics", "faults" in why.get(3, ""), why)
    ok("go_entry_stays_beside_a_refused_return", counts[0] > 0 and not counts[1] and got == want, (counts, got, want))
    target.p.stdin.close()
    target.p.wait(10)
    tool.end()


def go():
    place = common.folder()
    env = {**os.environ, "GOCACHE": os.path.join(place, "cache")}
    program, stripped = os.path.join(place, "program"), os.path.join(place, "stripped")
    try:
        subprocess.run(["go", "build", "-o", program, GO], env=env, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"skip go: no Go compiler (tools/setup.sh --long): {e}")
        return
    subprocess.run(["strip", "-o", stripped, program], check=True)
    counted("go_started", program, program, [LIMPET, "start"])
    counted("go_attached", program, program, [])
    counted("go_stripped", stripped, program, [LIMPET, "start"])
    refused(program)
    if os.environ.get("LIMPET_LONG"):
        pie = os.path.join(place, "pie")
        subprocess.run(["go", "build", "-buildmode=pie", "-o", pie, GO], env=env, check=True)
        counted("go_pie", pie, pie, [LIMPET, "start"])


if __name__ == "__main__":
    sys.exit(common.main(go))
