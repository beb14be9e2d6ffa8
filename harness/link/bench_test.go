//go:build linux

package link

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"quorumlab/topologies"
)

func BenchmarkModel(b *testing.B) {
	for _, c := range []struct {
		name string
		p    topologies.Parameters
	}{
		{"delay", topologies.Parameters{Delay: 20e6}},
		{"rate", topologies.Parameters{Delay: 20e6, RateBPS: 1e9, QueueFrames: 1000}},
		{"everything", topologies.Parameters{Delay: 20e6, Jitter: 1e6, JitterDistribution: "normal", Loss: 0.01, RateBPS: 1e9, QueueFrames: 1000}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			m := NewModel(c.p, 1, 0)
			now := int64(0)
			for b.Loop() {
				now += 11_000
				m.Transmit(now, 1514)
			}
		})
	}
}

func BenchmarkHeap(b *testing.B) {
	const inFlight = 10_000
	b.ReportAllocs()
	generator := rand.New(rand.NewPCG(1, 2))
	var h eventHeap
	for range inFlight {
		h.push(generator.Int64N(40e6), nil)
	}
	for b.Loop() {
		popped := h.pop()
		h.push(popped.timeNS+generator.Int64N(40e6), nil)
	}
}

// BenchmarkRoundTrip compares the error of round trips over four emulated hops of 20
// ms with the bare round trip over a kernel bridge, at 100 messages a second. Run
// it with -benchtime 500x; percentiles of fewer mean little.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("bridge", func(b *testing.B) {
		l := newLab(b, topologies.Star(2, topologies.Parameters{}))
		l.buildKernel(KernelFeatures{Bridge: true})
		l.measure(b, 0)
	})
	b.Run("emulator", func(b *testing.B) {
		l := newLab(b, topologies.Star(2, topologies.Parameters{Delay: 20 * time.Millisecond}))
		remote := l.emulate(EmulatorConfig{})
		l.measure(b, 80*time.Millisecond)
		r := report(b, remote)
		b.Logf("lateness %+v", r.Lateness)
		if r.EmulatorDrops != 0 {
			b.Errorf("the emulator dropped frames: %+v", r)
		}
	})
}

// measure sends b.N datagrams, 10 ms apart, and reports by how much their echoes
// were later than declared.
func (l *lab) measure(b *testing.B, declared time.Duration) {
	b.Helper()
	go echo(l.listenUDP(1))
	client := l.listenUDP(0)
	roundTrip(b, client, l.address(1))
	base := time.Now()
	errorsUS := make([]float64, 0, b.N)
	done := make(chan error, 1)
	go func() {
		buffer := make([]byte, 64)
		for range b.N {
			_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := client.Read(buffer); err != nil {
				done <- err
				return
			}
			sent := time.Duration(binary.NativeEndian.Uint64(buffer))
			errorsUS = append(errorsUS, float64(time.Since(base)-sent-declared)/1e3)
		}
		done <- nil
	}()
	b.ResetTimer()
	message := make([]byte, 64)
	for i := range b.N {
		time.Sleep(time.Until(base.Add(time.Duration(i) * 10 * time.Millisecond)))
		binary.NativeEndian.PutUint64(message, uint64(time.Since(base)))
		if _, err := client.WriteToUDPAddrPort(message, l.address(1)); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	slices.Sort(errorsUS)
	b.ReportMetric(errorsUS[len(errorsUS)/2], "p50-us")
	b.ReportMetric(errorsUS[len(errorsUS)*99/100], "p99-us")
	b.ReportMetric(errorsUS[len(errorsUS)-1], "max-us")
	b.ReportMetric(errorsUS[0], "min-us")
}
