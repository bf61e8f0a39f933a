// SPDX-License-Identifier: MIT
// A Go target for attach_killed_test.c: a goroutine for each state named, whatever its name, which calls probed() on a
// stack that grows and moves. usage: attach_go COUNTERS STATE...
package main

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// As struct attach_shared (attach_shared.h).
type shared struct {
	ready, stop, errors, interrupted, epolls, where, what int64
	calls                                                 [64]int64
}

//go:noinline
func probed(a, b int) int { return a + b }

//go:noinline
func deep(n int) int {
	var pad [100]byte
	if n == 0 {
		return probed(1, 2)
	}
	pad[n%100] = byte(n)
	return deep(n-1) + int(pad[(n+1)%100])
}

func run(s *shared, g int) {
	for i := 0; atomic.LoadInt64(&s.stop) == 0; i++ {
		done := make(chan int)
		go func() { done <- deep(i % 60) }()
		if <-done != 3 || probed(i, g) != i+g {
			atomic.StoreInt64(&s.where, int64(g))
			atomic.AddInt64(&s.errors, 1)
		}
		if i%200 == 0 {
			runtime.GC()
		}
		atomic.AddInt64(&s.calls[g], 1)
	}
}

func main() {
	f, err := os.OpenFile(os.Args[1], os.O_RDWR, 0)
	if err != nil {
		os.Exit(2)
	}
	page, err := syscall.Mmap(int(f.Fd()), 0, int(unsafe.Sizeof(shared{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		os.Exit(2)
	}
	s := (*shared)(unsafe.Pointer(&page[0]))
	var all sync.WaitGroup
	for g := range os.Args[2:] {
		all.Add(1)
		go func(g int) {
			defer all.Done()
			run(s, g)
		}(g)
	}
	atomic.StoreInt64(&s.ready, 1)
	all.Wait()
}
