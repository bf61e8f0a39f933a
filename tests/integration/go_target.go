// SPDX-License-Identifier: MIT
// A Go program with small stacks that grow and move, and a collector that looks at all of them. For every line
// on standard input: eight goroutines call add() and deep() so often, and the sum is printed.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
)

type node struct{ value int }

//go:noinline
func add(a, b int) int { return a + b }

//go:noinline
func (n *node) get() int { return n.value }

//go:noinline
func deep(n int) int {
	var pad [100]byte
	if n == 0 {
		return 0
	}
	pad[n%100] = byte(n)
	return deep(n-1) + int(pad[(n+1)%100]) + 1
}

func recovered(n *node) (r int) {
	defer func() {
		if recover() != nil {
			r = -1
		}
	}()
	return n.get()
}

func round(n int) int {
	var wg sync.WaitGroup
	sums := make([]int, 8)
	for g := range sums {
		wg.Add(1)
		go func(g int) {
			defer wg.Done()
			for i := 0; i < n; i++ {
				sums[g] += deep(i%40) + add(i, 1)
				if i%500 == 0 {
					runtime.GC()
					sums[g] += recovered(nil)
				}
			}
		}(g)
	}
	wg.Wait()
	total := 0
	for _, s := range sums {
		total += s
	}
	return total
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		n, _ := strconv.Atoi(in.Text())
		fmt.Println(round(n))
	}
}
