//go:build linux

package link

import (
	"encoding/binary"
	"fmt"
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

// BenchmarkForward is what the loop does for a frame on a path of two links, but for system
// calls: with a stage of its pair, and without one while a thousand other pairs have some.
func BenchmarkForward(b *testing.B) {
	for _, c := range []struct {
		name   string
		stage  *topologies.Parameters
		others int
	}{
		{"no stage", nil, 0},
		{"others' stages", nil, 1000},
		{"stage that delays", &topologies.Parameters{Delay: time.Millisecond}, 0},
		{"stage that loses", &topologies.Parameters{Loss: 1e-6}, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := newOffline(b, topologies.Star(33, topologies.Parameters{Delay: time.Millisecond}))
			for pair := range c.others {
				if from, to := 1+pair/32, 1+pair%32; from != to {
					o.setPair(0, from, to, &topologies.Parameters{Down: true})
				}
			}
			if c.stage != nil {
				o.setPair(0, 0, 1, c.stage)
			}
			b.ReportAllocs()
			for now := int64(0); b.Loop(); now += 1000 {
				f := o.e.pool.get()
				f.bytes, f.to, f.way = 94, 1, o.e.paths[1]
				o.e.advance(f, now)
				for o.e.events.nextNS() < now {
					if next := o.e.events.pop(); int(next.frame.hop) < len(next.frame.way) {
						o.e.advance(next.frame, next.timeNS)
					} else {
						o.e.pool.put(next.frame)
					}
				}
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

// BenchmarkRoundTrip is the error of round trips over four emulated hops, beside the
// bare round trip over a kernel bridge, at 100 and at 5,000 messages a second. Run it
// with -benchtime 2000x or more; percentiles of fewer mean little.
func BenchmarkRoundTrip(b *testing.B) {
	for _, rate := range []int{100, 5000} {
		interval := time.Second / time.Duration(rate)
		b.Run(fmt.Sprintf("bridge/rate=%d", rate), func(b *testing.B) {
			l := newLab(b, topologies.Star(2, topologies.Parameters{}))
			l.buildKernel(KernelFeatures{Bridge: true})
			l.measure(b, 0, interval)
		})
		for _, delay := range []time.Duration{0, 250 * time.Microsecond, time.Millisecond, 20 * time.Millisecond} {
			b.Run(fmt.Sprintf("emulator/rate=%d/delay=%v", rate, delay), func(b *testing.B) {
				l := newLab(b, topologies.Star(2, topologies.Parameters{Delay: delay}))
				remote := l.emulate(EmulatorConfig{})
				l.measure(b, 4*delay, interval)
				if r := report(b, remote); r.EmulatorDrops != 0 {
					b.Errorf("the emulator dropped frames: %+v", r)
				}
			})
		}
	}
}

// measure sends b.N datagrams, an interval apart, and reports by how much their echoes
// were later than declared.
func (l *lab) measure(b *testing.B, declared, interval time.Duration) {
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
		time.Sleep(time.Until(base.Add(time.Duration(i) * interval)))
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
