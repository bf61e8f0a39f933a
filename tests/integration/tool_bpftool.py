#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bpftool on a limpet session and on the kernel: the same commands, the same output. Some on maps as bpftool
makes them, others on an object with maps of all kinds, types and programs (bpftool_objects.bpf.c).

Each side pins what it makes under /sys/fs/bpf (the kernel's in a mount namespace of its own). Ids,
sizes in memory, translated sizes and times are blanked before comparing; the kernel side is skipped
where it may not be used, and then only limpet's exit statuses are held against what is expected.

usage: tool_bpftool.py BUILD_DIR
"""
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(sys.argv[1])
LIMPET = os.path.join(BUILD, "src/cli/limpet")
OBJECT = os.path.join(BUILD, "examples/queue_demo/uprobe_queue.bpf.o")
PIN = "/sys/fs/bpf/limpet_test_"
OBJECTS_O = [""]
KEY1, VALUE = "key 1 0 0 0", "value 1 2 3 4 5 6 7 8"

# (expected failure, arguments; PIN is put before names that begin with @)
COMMANDS = [
    (0, "map create @arr type array key 4 value 8 entries 4 name lt_arr"),
    (1, "map create @arr type array key 4 value 8 entries 4 name lt_arr"),
    (1, "map create @bad type array key 3 value 8 entries 4 name lt_bad"),
    (1, "map create @bad type array key 4 value 8 entries 4 name lt_bad flags 0x80000000"),
    (1, "map create @no.dots type array key 4 value 8 entries 4 name lt_bad"),
    (0, f"map update pinned @arr {KEY1} {VALUE}"),
    (0, f"map lookup pinned @arr {KEY1}"),
    (1, "map lookup pinned @arr key 9 0 0 0"),
    (1, f"map update pinned @arr {KEY1} {VALUE} noexist"),
    (0, "map getnext pinned @arr"),
    (0, f"map getnext pinned @arr {KEY1}"),
    (1, "map getnext pinned @arr key 3 0 0 0"),
    (0, "map dump pinned @arr"),
    (0, "-j map dump pinned @arr"),
    (0, "-p map dump pinned @arr"),
    (1, f"map delete pinned @arr {KEY1}"),
    (0, "map show pinned @arr"),
    (0, "-j map show pinned @arr"),
    (0, "map freeze pinned @arr"),
    (1, "map freeze pinned @arr"),
    (1, f"map update pinned @arr {KEY1} {VALUE}"),
    (0, "map show pinned @arr"),
    (0, "map create @q type queue key 0 value 4 entries 2 name lt_q"),
    (0, "map enqueue pinned @q value 1 0 0 0"),
    (0, "map enqueue pinned @q value 2 0 0 0"),
    (1, "map enqueue pinned @q value 3 0 0 0"),
    (0, "map peek pinned @q"),
    (0, "map dequeue pinned @q"),
    (0, "-j map dequeue pinned @q"),
    (1, "map dequeue pinned @q"),
    (0, "map create @s type stack key 0 value 4 entries 2 name lt_s"),
    (0, "map push pinned @s value 1 0 0 0"),
    (0, "map push pinned @s value 2 0 0 0"),
    (0, "map pop pinned @s"),
    (0, "map peek pinned @s"),
    (0, "map create @h type hash key 4 value 8 entries 3 name lt_h"),
    (0, f"map update pinned @h {KEY1} {VALUE}"),
    (0, "map dump pinned @h"),
    (0, f"map delete pinned @h {KEY1}"),
    (1, f"map delete pinned @h {KEY1}"),
    (0, "map dump pinned @h"),
    (0, f"prog loadall {OBJECT} @progs"),
    (1, f"prog loadall {OBJECT} @progs"),
    (0, "prog show pinned @progs/target_function_entry"),
    (0, "-j prog show pinned @progs/target_function_entry"),
    (0, "prog show name secondary_function_entry"),
    (1, "prog run pinned @progs/target_function_entry"),
    (1, "prog show pinned @none"),
    (1, "prog pin id 2147483000 @none"),
    (1, "map show id 2147483000"),
    (1, "btf show id 2147483000"),
]
# The same for an object with maps and programs of all kinds. WORK: a folder with inputs; VAL: a struct val in hexadecimal.
OBJECT_COMMANDS = [
    (0, "prog loadall OBJECTS @p2 pinmaps @m"),
    (0, "map show pinned @m/h"),
    (0, "map update pinned @m/h key hex 01 00 00 00 02 00 61 62 63 00 00 00 value hex VAL"),
    (0, "map dump pinned @m/h"),
    (0, "-j map dump pinned @m/h"),
    (0, "-p map dump pinned @m/h"),
    (0, "map lookup pinned @m/h key hex 01 00 00 00 02 00 61 62 63 00 00 00"),
    (0, "-j map lookup pinned @m/h key hex 01 00 00 00 02 00 61 62 63 00 00 00"),
    (0, "map getnext pinned @m/h"),
    (0, "-j map getnext pinned @m/h"),
    (0, "map update pinned @m/pa key 0 0 0 0 value 1 2 3 4 5 6 7 8"),
    (0, "map dump pinned @m/pa"),
    (0, "-j map dump pinned @m/pa"),
    (0, "-p map dump pinned @m/pa"),
    (0, "map lookup pinned @m/pa key 1 0 0 0"),
    (0, "map dump pinned @m/ph"),
    (0, "map update pinned @m/ph key 0 0 0 0 value hex VAL"),
    (0, "map dump pinned @m/ph"),
    (0, "-j map dump pinned @m/ph"),
    (0, "map delete pinned @m/ph key 0 0 0 0"),
    (1, "map dump pinned @m/rb"),
    (0, "map show pinned @m/rb"),
    (0, "map dump pinned @m/pe"),
    (0, "map show pinned @m/pe"),
    (0, "map dump pinned @m/st"),
    (0, "map show pinned @m/st"),
    (0, "map dump pinned @m/lpm"),
    (0, "map update pinned @m/lpm key 16 0 0 0 10 1 0 0 value 1 0 0 0 0 0 0 0"),
    (1, "map update pinned @m/lpm key 99 0 0 0 10 1 0 0 value 1 0 0 0 0 0 0 0"),
    (0, "map lookup pinned @m/lpm key 32 0 0 0 10 1 2 3"),
    (0, "map dump pinned @m/lpm"),
    (0, "map getnext pinned @m/lpm"),
    (0, "map update pinned @m/pr key 1 0 0 0 value pinned @p2/up"),
    (0, "map dump pinned @m/pr"),
    (0, "-j map dump pinned @m/pr"),
    (0, "map lookup pinned @m/pr key 1 0 0 0"),
    (0, "map delete pinned @m/pr key 1 0 0 0"),
    (1, "map update pinned @m/pr key 1 0 0 0 value pinned @p2/filter"),
    (0, "map show pinned @m/pr"),
    (0, "map show pinned @m/hom"),
    (0, "map update pinned @m/hom key 1 0 0 0 value pinned @m/in1"),
    (0, "map dump pinned @m/hom"),
    (0, "map lookup pinned @m/hom key 1 0 0 0"),
    (1, "map update pinned @m/hom key 1 0 0 0 value pinned @m/h"),
    (0, "map delete pinned @m/hom key 1 0 0 0"),
    (0, "map show pinned @m/bl"),
    (0, "map push pinned @m/bl value 1 0 0 0"),
    (1, "map peek pinned @m/bl value 1 0 0 0"),
    (1, "map dump pinned @m/bl"),
    (0, "map push pinned @m/sk value 5 0 0 0"),
    (1, "map dump pinned @m/sk"),
    (0, "map lookup pinned @m/sk"),
    (0, "map pop pinned @m/sk"),
    (1, "map getnext pinned @m/sk"),
    (0, "map update pinned @m/lru key 1 0 0 0 value 1 0 0 0 0 0 0 0 any"),
    (0, "map update pinned @m/lru key 1 0 0 0 value 1 0 0 0 0 0 0 0 exist"),
    (1, "map update pinned @m/lru key 2 0 0 0 value 1 0 0 0 0 0 0 0 exist"),
    (0, "map dump pinned @m/lru"),
    (0, "map show name t.rodata"),
    (0, "-j map show name t.data"),
    (1, "map dump pinned @m/nosuch"),
    (0, "prog show pinned @p2/up"),
    (0, "prog show pinned @p2/filter"),
    (0, "prog show pinned @p2/raw"),
    (0, "prog dump xlated pinned @p2/filter"),
    (0, "prog dump xlated pinned @p2/raw"),
    (0, "prog dump xlated pinned @p2/up file WORK/x.bin"),
    (1, "prog run pinned @p2/raw ctx_in WORK/ctx.bin"),
    (1, "prog run pinned @p2/raw"),
    (1, "prog run pinned @p2/raw ctx_in WORK/ctx.bin repeat 5"),
    (0, "prog run pinned @p2/filter data_in WORK/pkt.bin"),
    (0, "prog run pinned @p2/filter data_in WORK/pkt.bin data_out - repeat 3"),
    (1, "prog run pinned @p2/filter data_in WORK/small.bin"),
    (1, "prog run pinned @p2/filter"),
    (1, "prog run pinned @p2/up data_in WORK/pkt.bin"),
    (1, "prog run pinned @p2/uses"),
    (0, "prog pin pinned @p2/up @again"),
    (0, "prog show pinned @again"),
    (1, "prog pin pinned @p2/up @again"),
    (0, "prog load OBJECTS @one"),
    (0, "prog load OBJECTS @three map name h pinned @m/h"),
    (1, "prog load WORK/nosuch.o @five"),
    (1, "prog attach pinned @p2/filter sk_msg_verdict pinned @m/h"),
    (1, "prog attach pinned @p2/filter flow_dissector"),
    (1, "prog detach pinned @p2/filter flow_dissector"),
    (1, "cgroup attach /sys/fs/cgroup ingress pinned @p2/filter"),
    (1, "net attach xdp pinned @p2/filter dev lo"),
    (1, "link pin id 999999 @link"),
    (1, "link detach id 999999"),
    (1, "link show id 999999"),
    (1, "iter pin OBJECTS @iter"),
    (1, "struct_ops register OBJECTS"),
    (1, "struct_ops unregister name x"),
    (1, "struct_ops dump name x"),
    (0, "map create @c1 type percpu_array key 4 value 8 entries 4 name c1"),
    (0, "map create @c2 type lru_hash key 4 value 8 entries 4 name c2"),
    (0, "map create @c3 type hash_of_maps key 4 value 4 entries 4 name c3 inner_map pinned @c1"),
    (0, "map create @c4 type array_of_maps key 4 value 4 entries 4 name c4 inner_map name c1"),
    (0, "map create @c5 type ringbuf key 0 value 0 entries 4096 name c5"),
    (0, "map create @c8 type cgroup_array key 4 value 4 entries 4 name c8"),
    (0, "map create @c10 type perf_event_array key 4 value 4 entries 4 name c10"),
    (0, "map create @c12 type bloom_filter key 0 value 4 entries 10 name c12"),
    (0, "map create @c13 type stack_trace key 4 value 80 entries 10 name c13"),
    (0, "map create @c14 type user_ringbuf key 0 value 0 entries 4096 name c14"),
    (0, "map create @c15 type lpm_trie key 8 value 4 entries 10 name c15 flags 1"),
    (0, "map create @c16 type prog_array key 4 value 4 entries 10 name c16"),
    (1, "map create @c17 type nonsense key 4 value 4 entries 10 name c16"),
    (0, "map pin pinned @c1 @c1b"),
    (0, "map pin name c1 @c1c"),
    (0, "map show name c1"),
    (0, "btf dump file OBJECTS"),
    (0, "btf dump file OBJECTS format c"),
    (0, "btf dump map pinned @m/h"),
    (0, "btf dump map pinned @m/h key"),
    (0, "btf dump map pinned @m/h value"),
    (0, "btf dump map pinned @m/h kv"),
    (0, "btf dump map pinned @m/h all"),
    (0, "btf dump prog pinned @p2/up"),
    (0, "btf dump prog pinned @p2/up format c"),
    (0, "-j btf dump map pinned @m/h key"),
    (0, "-f map show pinned @m/h"),
    (0, "-f prog show pinned @p2/up"),
    (0, "-j -f prog show pinned @p2/up"),
    (1, "prog load OBJECTS @typed type nonsense"),
    (1, "prog load OBJECTS @typed dev lo"),
    (1, "prog load OBJECTS @auto autoattach"),
    (1, "batch file WORK/batch"),
    (1, "batch file WORK/batch2"),
    (1, "batch file WORK/nosuch"),
    (1, "-j batch file WORK/batch2"),
    (1, "prog show tag 0000000000000000"),
    (1, "prog show nonsense"),
    (1, "prog pin tag 0000000000000000 @pinned2"),
    (0, "prog run pinned @p2/filter data_in WORK/pkt.bin data_out WORK/out.bin"),
    (1, "prog run pinned @p2/filter data_in WORK/pkt.bin data_size_out 10 data_out -"),
    (1, "prog run pinned @p2/filter data_in WORK/nosuch"),
    (1, "prog attach pinned @p2/filter stream_verdict pinned @m/h"),
    (1, "prog attach pinned @p2/filter nonsense"),
    (1, "map show pinned @m"),
    (1, "map show name nosuch"),
    (1, "map list name nosuch"),
    (1, "map show nonsense"),
    (1, "map update pinned @m/h key 1 value 1"),
    (1, "map update pinned @m/h key hex zz value 1"),
    (1, "map update pinned @m/h key 300"),
    (1, "map getnext pinned @m/h key hex 01 00 00 00 02 00 61 62 63 00 00 00"),
    (0, "map getnext pinned @m/pa"),
    (1, "map getnext pinned @m/rb"),
    (1, "map getnext pinned @m/bl"),
    (1, "map lookup pinned @m/rb key 1"),
    (1, "map peek pinned @m/h"),
    (1, "map pop pinned @m/h"),
    (1, "map push pinned @m/h value 1"),
    (1, "map dequeue pinned @m/sk"),
    (0, "map enqueue pinned @m/sk value 1 0 0 0"),
    (0, "-j map peek pinned @m/sk"),
    (0, "-p map pop pinned @m/sk"),
    (1, "map delete pinned @m/pa key 0 0 0 0"),
    (1, "map delete pinned @m/st key 0 0 0 0"),
    (1, "map lookup pinned @m/st key 0 0 0 0"),
    (1, "map lookup pinned @m/pe key 0 0 0 0"),
    (1, "map update pinned @m/pe key 0 0 0 0 value 1 0 0 0"),
    (1, "map event_pipe pinned @m/h"),
    (1, "map event_pipe pinned @m/pe cpu 0"),
    (0, "map freeze pinned @m/rb"),
    (1, "map freeze pinned @m/nosuch"),
    (1, "map pin id 99999999 @h3"),
    (0, "map create @m1 type hash key 4 value 8 entries 4 name waytoolongnameforamap"),
    (1, "map create @m2 type hash key 0 value 8 entries 4 name m2"),
    (1, "map create @m3 type hash key 4 value 8 entries 0 name m3"),
    (1, "map create @m5 type hash key 4 value 8"),
    (1, "map create @m6 type hash key 4 value 8 entries 4 name m6 dev lo"),
    (1, "map create @m7 type hash key 4 value 8 entries 4 name m7 dev nosuchdev"),
    (0, "map create @m8 type hash key 4 value 8 entries 4 name m8 flags 1"),
    (1, "map create @m10 type struct_ops key 4 value 4 entries 1 name m10"),
    (1, "map create @m11 type inode_storage key 4 value 4 entries 0 name m11 flags 1"),
    (1, "map create @m12 type queue key 4 value 4 entries 4 name m12"),
    (1, "map create @m13 type ringbuf key 0 value 0 entries 4095 name m13"),
    (1, "map create @m14 type hash_of_maps key 4 value 4 entries 4 name m14"),
    (1, "map create @m15 type lpm_trie key 8 value 4 entries 10 name m15"),
    (1, "map create @m16 type stack_trace key 4 value 7 entries 10 name m16"),
    (1, "link pin id 1 @l"),
    (1, "link pin pinned @nosuch @l"),
    (1, "link detach pinned @nosuch"),
    (1, "link show pinned @p2/up"),
    (1, "net show dev nosuch"),
    (1, "net attach xdpgeneric pinned @p2/filter dev lo"),
    (1, "perf nonsense"),
    (1, "struct_ops show name x"),
    (1, "iter pin OBJECTS @it map pinned @m/h"),
    (1, "iter nonsense"),
    (0, "gen skeleton OBJECTS"),
    (0, "gen skeleton OBJECTS name abc"),
    (0, "gen subskeleton OBJECTS name abc"),
    (0, "gen object WORK/linked.o OBJECTS"),
    (1, "gen object WORK/linked.o OBJECTS OBJECTS"),
    (1, "gen object WORK/linked.o WORK/nosuch.o"),
    (0, "gen min_core_btf /sys/kernel/btf/vmlinux WORK/min.btf OBJECTS"),
    (1, "gen min_core_btf WORK/nosuch WORK/min.btf OBJECTS"),
    (0, "btf dump file WORK/min.btf"),
    (1, "btf dump file WORK/nosuch"),
    (1, "btf dump file OBJECTS format nonsense"),
    (0, "-j btf dump file OBJECTS"),
    (0, "btf dump file OBJECTS format raw"),
    (0, "btf dump map pinned @m/h format c"),
    (1, "btf dump map pinned @m/sk"),
    (1, "btf dump id 99999999"),
    (1, "btf show id 99999999"),
    (1, "btf list id 99999999"),
    (0, "-B /sys/kernel/btf/vmlinux btf dump file WORK/min.btf"),
    (0, "-V"),
    (1, "feature nonsense"),
    (1, "nonsense"),
    (1, "-j nonsense"),
    (1, "--nonsense"),
    (0, "prog run pinned @p2/filter data_in WORK/pkt.bin ctx_in WORK/ctx.bin ctx_out -"),
]
VAL = ("02 00 00 00 00 00 00 00 05 00 00 00 00 00 00 00 61 62 63 00 ff 00 00 00 01 00 00 00 02 00 00 00 "
       "03 00 00 00 00 00 00 00 10 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00")
BLANK = [(r"\b\d+: (?=[a-z_]+  name|name)", "N: "), (r'"id":\d+', '"id":0'),
         (r"memlock \d+B", "memlock"), (r'"bytes_memlock":\d+', '"bytes_memlock":0'),
         (r"xlated \d+B  jited \d+B", "xlated"), (r'"bytes_xlated":\d+', '"bytes_xlated":0'),
         (r'"jited":true,"bytes_jited":\d+', '"jited":0'), (r"loaded_at \S+", "loaded_at"),
         (r'"loaded_at":\d+', '"loaded_at":0'), (r"map_ids [\d,]+", "map_ids"),
         (r'"map_ids":\[[\d,]*\]', '"map_ids":[]'), (r"btf_id \d+", "btf_id"), (r'"btf_id":\d+', '"btf_id":0'),
         (r"(?m)^limpet: .*\n", ""), (r"(?m)^ +\d+: \([0-9a-f]{2}\) .*\n", ""), (r"duration[^:]*: \d+ns", "duration"),
         (r"owner jited", "owner is jited")]
# what maps of programs and of maps show is ids
IDS = [(r"value: (\w\w ){3}\w\w(?=\n|$)", "value: ID"), (r'"value":\["0x..","0x..","0x..","0x.."\]', '"value":"ID"')]


def bpftool():
    return shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def blank(text, command):
    for pattern, to in BLANK + (IDS if "@m/pr" in command or "@m/hom" in command else []):
        text = re.sub(pattern, to, text)
    return text


def run(prefix, env, command):
    words = command.replace("VAL", VAL).replace("WORK", env.get("TEST_FOLDER", "")).split()
    words = [w.replace("@", PIN, 1) if w.startswith("@") else OBJECTS_O[0] if w == "OBJECTS" else w for w in words]
    done = subprocess.run(prefix + [bpftool()] + words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    return done.returncode, blank(done.stdout.decode(errors="replace"), command)


def compile_objects(folder):
    """False where there is no compiler."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpftool_objects.bpf.c")
    OBJECTS_O[0] = os.path.join(folder, "t.bpf.o")
    if not shutil.which("clang"):
        return False
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-D__TARGET_ARCH_x86", "-I/usr/include/x86_64-linux-gnu",
                    "-c", source, "-o", OBJECTS_O[0]], check=True)
    with open(os.path.join(folder, "batch"), "w", encoding="utf-8") as f:
        f.write(f"# a comment\nmap show pinned {PIN}c1\nmap lookup pinned {PIN}c2 key 0 0 0 0\nversion\n")
    with open(os.path.join(folder, "batch2"), "w", encoding="utf-8") as f:
        f.write(f"map update pinned {PIN}c2 key 0 0 0 0 value 1 0 0 0 0 0 0 0\nmap dump pinned {PIN}c2\nmap nonsense\nversion\n")
    for name, size in (("ctx.bin", 64), ("pkt.bin", 100), ("small.bin", 4)):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(bytes(size))
    return True


def own_bpffs():
    """bpffs where only this process and its children see it; false where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    return (os.geteuid() == 0 and not libc.unshare(0x20000) and
            not libc.mount(None, b"/", None, 0x44000, None) and
            not libc.mount(b"bpf", b"/sys/fs/bpf", b"bpf", 0, None) and
            not run([], dict(os.environ), "map create @try type array key 4 value 8 entries 4 name lt")[0])


def main():
    if not bpftool() or not os.path.exists(OBJECT):
        print("skip bpftool: it, or the demo's object, is not there")
        return 0
    folder = tempfile.mkdtemp(prefix="limpet-test-", dir="/dev/shm")
    work = tempfile.mkdtemp(prefix="limpet-test-")
    env = dict(os.environ, LIMPET_DIR=folder, LIMPET_LANG="en", TEST_FOLDER=work)
    env.pop("LIMPET_SESSION_DIR", None)
    failures, kernel = 0, own_bpffs()
    try:
        for fails, command in COMMANDS + (OBJECT_COMMANDS if compile_objects(work) else []):
            ours = run([LIMPET, "load", "--"], env, command)
            want = run([], env, command) if kernel else ours
            good = ours == want and bool(ours[0]) == bool(fails)
            print(("ok " if good else "not ok ") + "bpftool " + command.replace(OBJECT, "OBJECT"))
            if not good:
                failures += 1
                print(f"# limpet {ours}\n# kernel {want}, expected failure {fails}")
        gc = subprocess.run([LIMPET, "gc", "--all"], env=env, stdout=subprocess.PIPE, check=False)
        left = [f for f in os.listdir(os.path.join(folder, "default")) if re.match(r"(bpf-|btf\.|perf-)", f)]
        print(("ok " if not gc.returncode and not left else "not ok ") + "limpet gc --all removes all pins")
        failures += bool(gc.returncode or left)
        if not kernel:
            print("skip bpftool against the kernel: no bpffs of its own, or no bpf(2), here")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
