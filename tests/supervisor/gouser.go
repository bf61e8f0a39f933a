// SPDX-License-Identifier: MIT

// A tool on cilium/ebpf that loads an object file: constants rewritten, maps replaced and pinned, links with every option, a
// tracepoint; readers that are closed while they wait; what the features package finds. The same on the kernel and on
// limpet, but for the features that limpet does not have.
//
//	gouser OBJECT TARGET
package main

import (
	"bufio"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
)

type objects struct {
	Called *ebpf.Program `ebpf:"called"`
	Wrote  *ebpf.Program `ebpf:"wrote"`
	Counts *ebpf.Map     `ebpf:"counts"`
	Ring   *ebpf.Map     `ebpf:"ring"`
	Data   *ebpf.Map     `ebpf:".bss"`
}

func must(err error, what string) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

func errno(err error) syscall.Errno {
	var e syscall.Errno
	errors.As(err, &e)
	return e
}

func load(path, target string) *objects {
	var o objects
	spec, err := ebpf.LoadCollectionSpec(path)
	must(err, "spec")
	name := make([]byte, 16)
	copy(name[:15], filepath.Base(target))
	must(spec.RewriteConstants(map[string]interface{}{"step": uint32(3), "name": binary.LittleEndian.Uint64(name)}), "constants")
	fmt.Println("no such constant:", spec.RewriteConstants(map[string]interface{}{"none": uint32(1)}) != nil)
	pins, err := os.MkdirTemp("/sys/fs/bpf", "limpet_gouser_")
	must(err, "folder")
	defer os.RemoveAll(pins)
	spec.Maps["counts"].Pinning = ebpf.PinByName
	must(spec.LoadAndAssign(&o, &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: pins}}), "load")
	fmt.Println("pinned", o.Counts.IsPinned())
	again, err := ebpf.NewMapWithOptions(spec.Maps["counts"], ebpf.MapOptions{PinPath: pins})
	must(err, "the pinned map")
	must(again.Put(uint64(99), uint64(1)), "put")
	var v uint64
	must(o.Counts.Lookup(uint64(99), &v), "the same map")
	must(o.Counts.Delete(uint64(99)), "delete")
	must(again.Close(), "close")
	other := spec.Maps["counts"].Copy()
	other.MaxEntries = 17
	_, err = ebpf.NewMapWithOptions(other, ebpf.MapOptions{PinPath: pins})
	fmt.Println("another shape:", errors.Is(err, ebpf.ErrMapIncompatible))
	must(o.Counts.Pin(filepath.Join(pins, "elsewhere")), "pin again")
	_, err = os.Stat(filepath.Join(pins, "counts"))
	fmt.Println("moved:", errors.Is(err, os.ErrNotExist))
	must(o.Counts.Unpin(), "unpin")
	info, err := o.Called.Info()
	must(err, "info")
	fmt.Println("program", info.Name, info.Type)
	return &o
}

type observed struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// The target, before its calls.
func start(path string, calls int) *observed {
	o := &observed{cmd: exec.Command(path, fmt.Sprint(calls), "wait")}
	in, err := o.cmd.StdinPipe()
	must(err, "pipe")
	out, err := o.cmd.StdoutPipe()
	must(err, "pipe")
	must(o.cmd.Start(), "start")
	o.in, o.out = in, bufio.NewReader(out)
	line, err := o.out.ReadString('\n')
	must(err, "target")
	fmt.Print("target ", line)
	return o
}

func (o *observed) finish() {
	o.in.Close()
	rest, err := io.ReadAll(o.out)
	must(err, "target")
	must(o.cmd.Wait(), "target")
	fmt.Print("target says ", string(rest))
}

// Address of a symbol, and its place in the file.
func symbol(path, name string) (uint64, uint64) {
	f, err := elf.Open(path)
	must(err, "elf")
	defer f.Close()
	symbols, err := f.Symbols()
	must(err, "symbols")
	for _, s := range symbols {
		if s.Name != name {
			continue
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && p.Vaddr <= s.Value && s.Value < p.Vaddr+p.Memsz {
				return s.Value, s.Value - p.Vaddr + p.Off
			}
		}
	}
	fmt.Println("no symbol", name)
	os.Exit(1)
	return 0, 0
}

func show(m *ebpf.Map) {
	var key, value uint64
	var lines []string
	for i := m.Iterate(); i.Next(&key, &value); {
		lines = append(lines, fmt.Sprintf("%d: %d", key, value))
	}
	sort.Strings(lines)
	fmt.Println("counts", lines)
}

func uprobes(o *objects, target string) {
	exe, err := link.OpenExecutable(target)
	must(err, "executable")
	_, at := symbol(target, "probed")
	_, semaphore := symbol(target, "probed_semaphore")
	for _, options := range []link.UprobeOptions{
		{Cookie: 2}, {Address: at, Cookie: 3}, {Address: at - 16, Offset: 16, Cookie: 4}, {Cookie: 5, RefCtrOffset: semaphore}, {Cookie: 1},
	} {
		options := options
		l, err := exe.Uprobe("probed", o.Called, &options)
		must(err, "uprobe")
		start(target, 4).finish()
		must(l.Close(), "close")
	}
	_, err = exe.Uprobe("no_such_function", o.Called, nil)
	fmt.Println("no such symbol:", errors.Is(err, link.ErrNoSymbol))
	_, err = exe.Uprobe("probed", o.Wrote, nil)
	fmt.Println("another type:", err != nil)
	one, two := start(target, 5), start(target, 6)
	l, err := exe.Uprobe("probed", o.Called, &link.UprobeOptions{PID: two.cmd.Process.Pid, Cookie: 6})
	must(err, "uprobe of a process")
	time.Sleep(2 * time.Second) // limpet's probes come to processes that run already a moment later
	one.finish()
	two.finish()
	fmt.Println("update:", errors.Is(l.Update(o.Called), link.ErrNotSupported))
	must(l.Close(), "close")
	ret, err := exe.Uretprobe("probed", o.Called, &link.UprobeOptions{Cookie: 7})
	must(err, "uretprobe")
	start(target, 3).finish()
	must(ret.Close(), "close")
	start(target, 3).finish()
	show(o.Counts)
}

func tracepoints(o *objects, target string) {
	l, err := link.Tracepoint("syscalls", "sys_enter_write", o.Wrote, &link.TracepointOptions{Cookie: 8})
	must(err, "tracepoint")
	start(target, 1).finish()
	must(l.Close(), "close")
	start(target, 1).finish()
	_, err = link.Tracepoint("syscalls", "sys_enter_none", o.Wrote, nil)
	fmt.Println("no such tracepoint:", errors.Is(err, os.ErrNotExist))
	var writes uint64
	must(o.Data.Lookup(uint32(0), &writes), "data")
	fmt.Println("writes", writes)
	show(o.Counts)
}

// What uprobes() has left there, then a reader that waits when it is closed.
func readers(o *objects) {
	seen := map[uint64]int{}
	r, err := ringbuf.NewReader(o.Ring)
	must(err, "ring reader")
	for i := 0; i < 4*4+6+3; i++ {
		record, err := r.Read()
		must(err, "read")
		seen[binary.LittleEndian.Uint64(record.RawSample)]++
	}
	fmt.Println("records", seen)
	done := make(chan error)
	go func() { _, err := r.Read(); done <- err }()
	time.Sleep(20 * time.Millisecond)
	must(r.Close(), "close")
	fmt.Println("ring, closed while it waits:", errors.Is(<-done, ringbuf.ErrClosed))
	_, err = r.Read()
	fmt.Println("ring, closed before:", errors.Is(err, ringbuf.ErrClosed))
	events, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerfEventArray})
	must(err, "events")
	p, err := perf.NewReaderWithOptions(events, 4096, perf.ReaderOptions{Watermark: 100})
	must(err, "perf reader")
	fmt.Println("pause and resume:", p.Pause(), p.Resume())
	go func() { _, err := p.Read(); done <- err }()
	time.Sleep(20 * time.Millisecond)
	must(p.Close(), "close")
	fmt.Println("perf, closed while it waits:", errors.Is(<-done, perf.ErrClosed))
	_, err = ringbuf.NewReader(events)
	fmt.Println("no ring:", err != nil)
}

func interrupted() {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{asm.LoadImm(asm.R0, 0, asm.DWord), asm.Return()}})
	must(err, "program")
	defer prog.Close()
	value, _, err := prog.Test(make([]byte, 14))
	fmt.Println("test", value, err)
	duration, took, err := prog.Benchmark(make([]byte, 14), 1000, nil)
	fmt.Println("benchmark", duration, took > 0, err)
}

func say(what string, err error) {
	switch {
	case err == nil:
		fmt.Println("feature", what, "there")
	case errors.Is(err, ebpf.ErrNotSupported):
		fmt.Println("feature", what, "not there")
	default:
		fmt.Println("feature", what, "unknown")
	}
}

func look() {
	for t := ebpf.Hash; t <= ebpf.TaskStorage; t++ {
		say("map "+t.String(), features.HaveMapType(t))
	}
	for t := ebpf.SocketFilter; t <= ebpf.Syscall; t++ {
		say("program "+t.String(), features.HaveProgramType(t))
	}
	for _, t := range []ebpf.ProgramType{ebpf.Kprobe, ebpf.TracePoint, ebpf.RawTracepoint, ebpf.PerfEvent, ebpf.SocketFilter} {
		for f := asm.FnMapLookupElem; f <= asm.FnLoop; f++ {
			say("helper "+t.String()+" "+f.String(), features.HaveProgramHelper(t, f))
		}
	}
	say("large instructions", features.HaveLargeInstructions())
	say("bounded loops", features.HaveBoundedLoops())
	say("v2", features.HaveV2ISA())
	say("v3", features.HaveV3ISA())
}

func main() {
	must(rlimit.RemoveMemlock(), "rlimit")
	o := load(os.Args[1], os.Args[2])
	uprobes(o, os.Args[2])
	readers(o)
	tracepoints(o, os.Args[2])
	interrupted()
	look()
}
