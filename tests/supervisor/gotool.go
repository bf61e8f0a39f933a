// SPDX-License-Identifier: MIT

// A tool as Go programmers write them, on cilium/ebpf: maps, a ring buffer, a perf buffer, uprobes on a program it starts, pins,
// many goroutines. What it prints must be the same on the kernel and on limpet.
//
//	gotool TARGET        TARGET calls its function `probed` as many times as its argument says
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"sync"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
)

func must(err error, what string) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

func newMap(kind ebpf.MapType, key, value, entries uint32, name string) *ebpf.Map {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: name, Type: kind, KeySize: key, ValueSize: value, MaxEntries: entries})
	must(err, "map "+name)
	return m
}

func errno(err error) syscall.Errno {
	var e syscall.Errno
	errors.As(err, &e)
	return e
}

func elements() {
	m := newMap(ebpf.Hash, 4, 8, 64, "elements")
	defer m.Close()
	for k := uint32(1); k <= 5; k++ {
		must(m.Put(k, uint64(k)*100), "put")
	}
	var v uint64
	must(m.Lookup(uint32(3), &v), "lookup")
	fmt.Println("lookup", v)
	fmt.Println("absent", errors.Is(m.Lookup(uint32(9), &v), ebpf.ErrKeyNotExist))
	fmt.Println("there already", errors.Is(m.Update(uint32(3), v, ebpf.UpdateNoExist), ebpf.ErrKeyExist))
	must(m.Delete(uint32(3)), "delete")
	must(m.LookupAndDelete(uint32(4), &v), "lookup and delete")
	fmt.Println("taken", v)
	var k uint32
	var all []string
	for i := m.Iterate(); i.Next(&k, &v); {
		all = append(all, fmt.Sprint(k, "=", v))
	}
	sort.Strings(all)
	fmt.Println("iterate", all)
	_, err := ebpf.NewMap(&ebpf.MapSpec{Type: 9999, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	fmt.Println("no such type", int(errno(err)))
	info, err := m.Info()
	must(err, "info")
	fmt.Println("info", info.Type, info.KeySize, info.ValueSize, info.MaxEntries, info.Name)
}

func batches() {
	m := newMap(ebpf.Array, 4, 4, 100, "batches")
	defer m.Close()
	keys, values := make([]uint32, 100), make([]uint32, 100)
	for i := range keys {
		keys[i], values[i] = uint32(i), uint32(i*i)
	}
	n, err := m.BatchUpdate(keys, values, nil)
	must(err, "batch update")
	var next uint32
	gotK, gotV := make([]uint32, 60), make([]uint32, 60)
	c, err := m.BatchLookup(nil, &next, gotK, gotV, nil)
	must(err, "batch lookup")
	sum := uint32(0)
	for _, v := range gotV[:c] {
		sum += v
	}
	c2, err := m.BatchLookup(next, &next, gotK, gotV, nil)
	fmt.Println("batch", n, c, sum, c2, errors.Is(err, ebpf.ErrKeyNotExist))
}

func crowd() {
	m := newMap(ebpf.Hash, 4, 8, 1024, "crowd")
	defer m.Close()
	var wg sync.WaitGroup
	for g := uint32(0); g < 16; g++ {
		wg.Add(1)
		go func(g uint32) {
			defer wg.Done()
			for i := uint32(0); i < 32; i++ {
				var v uint64
				must(m.Put(g*32+i, uint64(g)), "put")
				must(m.Lookup(g*32+i, &v), "lookup")
				c, err := m.Clone()
				must(err, "clone")
				must(c.Close(), "close")
			}
		}(g)
	}
	wg.Wait()
	var k uint32
	var v, n, sum uint64
	for i := m.Iterate(); i.Next(&k, &v); n++ {
		sum += v
	}
	fmt.Println("crowd", n, sum)
}

func pins() {
	path := fmt.Sprintf("/sys/fs/bpf/limpet-gotool-%d", os.Getpid())
	m := newMap(ebpf.Array, 4, 4, 1, "pinned")
	must(m.Put(uint32(0), uint32(77)), "put")
	must(m.Pin(path), "pin")
	fmt.Println("again", int(errno(m.Pin(path))))
	must(m.Close(), "close")
	_, err := os.Stat(path)
	fmt.Println("stat", err)
	m, err = ebpf.LoadPinnedMap(path, nil)
	must(err, "pinned")
	var v uint32
	must(m.Lookup(uint32(0), &v), "lookup")
	must(m.Unpin(), "unpin")
	_, err = ebpf.LoadPinnedMap(path, nil)
	fmt.Println("pinned", v, "then", int(errno(err)))
	m.Close()
}

// Counts, and sends what it counted to the ring and to the perf buffer.
func program(counts, ring, events *ebpf.Map, name string) *ebpf.Program {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.Kprobe, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, counts.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
			asm.LoadMapPtr(asm.R1, ring.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -16),
			asm.Mov.Imm(asm.R3, 8),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnRingbufOutput.Call(),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.LoadMapPtr(asm.R2, events.FD()),
			asm.LoadImm(asm.R3, 0xffffffff, asm.DWord),
			asm.Mov.Reg(asm.R4, asm.RFP),
			asm.Add.Imm(asm.R4, -16),
			asm.Mov.Imm(asm.R5, 8),
			asm.FnPerfEventOutput.Call(),
			asm.Mov.Imm(asm.R0, 0).Sym("out"),
			asm.Return(),
		},
	})
	must(err, "program")
	return p
}

func runTarget(path string, calls int) {
	out, err := exec.Command(path, fmt.Sprint(calls)).Output()
	must(err, "target")
	fmt.Print("target says ", string(out))
}

func probes(target string) {
	counts := newMap(ebpf.Array, 4, 8, 1, "counts")
	ring := newMap(ebpf.RingBuf, 0, 0, 4096, "ring")
	events, err := ebpf.NewMap(&ebpf.MapSpec{Name: "events", Type: ebpf.PerfEventArray})
	must(err, "events")
	prog := program(counts, ring, events, "on_probed")
	ringReader, err := ringbuf.NewReader(ring)
	must(err, "ring reader")
	perfReader, err := perf.NewReader(events, 8192)
	must(err, "perf reader")
	exe, err := link.OpenExecutable(target)
	must(err, "executable")
	entry, err := exe.Uprobe("probed", prog, nil)
	must(err, "uprobe")
	ret, err := exe.Uretprobe("probed", prog, nil)
	must(err, "uretprobe")
	runTarget(target, 10)
	last, sum := uint64(0), uint64(0)
	for i := 0; i < 20; i++ {
		r, err := ringReader.Read()
		must(err, "ring")
		v := binary.LittleEndian.Uint64(r.RawSample)
		if v != last+1 {
			fmt.Println("ring: after", last, "comes", v)
		}
		last = v
	}
	for i := 0; i < 20; i++ {
		r, err := perfReader.Read()
		must(err, "perf")
		sum += binary.LittleEndian.Uint64(r.RawSample)
	}
	fmt.Println("ring", last, "perf", sum)
	must(ret.Close(), "close")
	runTarget(target, 5)
	must(entry.Close(), "close")
	runTarget(target, 5)
	var n uint64
	must(counts.Lookup(uint32(0), &n), "lookup")
	fmt.Println("counted", n)
	// a reader that waits is woken by Close
	done := make(chan error)
	for i := 0; i < 5; i++ {
		_, err := ringReader.Read()
		must(err, "ring")
	}
	go func() { _, err := ringReader.Read(); done <- err }()
	must(ringReader.Close(), "close ring reader")
	fmt.Println("woken", errors.Is(<-done, ringbuf.ErrClosed))
	must(perfReader.Close(), "close perf reader")
	_, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Kprobe, License: "GPL",
		Instructions: asm.Instructions{asm.LoadMem(asm.R0, asm.R1, 4096, asm.DWord), asm.Return()}})
	fmt.Println("rejected", int(errno(err)))
}

func main() {
	must(rlimit.RemoveMemlock(), "rlimit")
	elements()
	batches()
	crowd()
	pins()
	probes(os.Args[1])
}
