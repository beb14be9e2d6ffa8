//go:build linux

package netns

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// BenchmarkFaults is how long it takes until a fault is in force: a signal, as the kernel
// tells by the process's state or end, and a change of links and pairs.
func BenchmarkFaults(b *testing.B) {
	design := blueprint(10, topologies.Parameters{Delay: time.Millisecond})
	design.Changing = true
	built, err := netnsEngine{}.Build(b.Context(), design)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { built.Close() })
	l := built.(*lab)
	stay := start(b, l, "h1", "stay")
	must := func(b *testing.B, err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	timed := func(name string, do func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				do(b)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/1e3, "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100])/1e3, "p99-us")
		})
	}
	timed("state", func(b *testing.B) {
		_, err := stay.State(b.Context())
		must(b, err)
	})
	stop := syscall.SIGSTOP
	timed("stop or continue", func(b *testing.B) {
		must(b, stay.Signal(stop))
		stop = map[syscall.Signal]syscall.Signal{syscall.SIGSTOP: syscall.SIGCONT, syscall.SIGCONT: syscall.SIGSTOP}[stop]
	})
	must(b, stay.Signal(syscall.SIGCONT))
	b.Run("kill", func(b *testing.B) {
		var took []time.Duration
		for range b.N {
			p := start(b, l, "h1", "stay")
			began := time.Now()
			must(b, p.Signal(syscall.SIGKILL))
			<-p.Done()
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2])/1e3, "p50-us")
		b.ReportMetric(float64(took[len(took)*99/100])/1e3, "p99-us")
	})
	down := topologies.Parameters{Down: true}
	timed("link", func(b *testing.B) { must(b, l.SetLink(b.Context(), "h1-s1", down, down)) })
	timed("pair", func(b *testing.B) { must(b, l.SetPairs(b.Context(), onePair("h1", "h2", &down))) })
	var partition []engine.PairChange
	for from := range 5 {
		for to := range 5 {
			one, other := fmt.Sprintf("h%d", from+1), fmt.Sprintf("h%d", to+6)
			partition = append(partition, engine.PairChange{From: one, To: other, Parameters: &down}, engine.PairChange{From: other, To: one, Parameters: &down})
		}
	}
	timed("partition of ten", func(b *testing.B) { must(b, l.SetPairs(b.Context(), partition)) })
}
