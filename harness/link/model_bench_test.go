package link

import (
	"testing"
	"time"

	"quorumlab/topologies"
)

// BenchmarkImpairments is what each impairment costs a frame, on a link that else only
// delays.
func BenchmarkImpairments(b *testing.B) {
	trace := &topologies.Trace{Align: topologies.AlignStart, Gap: topologies.GapHold, GapAfter: time.Second, Period: 100_000 * time.Millisecond}
	for i := range 100_000 {
		trace.Times = append(trace.Times, time.Duration(i)*time.Millisecond)
		trace.Excess = append(trace.Excess, time.Duration(i%7)*time.Millisecond)
	}
	table := &topologies.Table{Excess: make([]time.Duration, 1000)}
	const delay, jitter = 20 * time.Millisecond, time.Millisecond
	for _, c := range []struct {
		name string
		p    topologies.Parameters
	}{
		{"down", topologies.Parameters{Down: true}},
		{"uniform", topologies.Parameters{Delay: delay, Jitter: jitter, JitterDistribution: topologies.JitterUniform}},
		{"normal", topologies.Parameters{Delay: delay, Jitter: jitter, JitterDistribution: topologies.JitterNormal}},
		{"exponential", topologies.Parameters{Delay: delay, Jitter: jitter, JitterDistribution: topologies.JitterExponential}},
		{"pareto", topologies.Parameters{Delay: delay, Jitter: jitter, JitterDistribution: topologies.JitterPareto}},
		{"table", topologies.Parameters{Delay: delay, JitterDistribution: topologies.JitterTable, JitterTable: table}},
		{"trace", topologies.Parameters{Delay: delay, Trace: trace}},
		{"loss", topologies.Parameters{Delay: delay, Loss: 0.01}},
		{"correlated loss", topologies.Parameters{Delay: delay, Loss: 0.01, LossCorrelation: 0.25}},
		{"gilbert-elliott", topologies.Parameters{Delay: delay, GilbertElliott: &topologies.GilbertElliott{GoodToBad: 0.01, BadToGood: 0.2, LossBad: 1}}},
		{"duplicate", topologies.Parameters{Delay: delay, Duplicate: 0.01}},
		{"corrupt", topologies.Parameters{Delay: delay, Corrupt: 0.01}},
		{"reorder", topologies.Parameters{Delay: delay, Reorder: 0.25, ReorderGap: 5, ReorderCorrelation: 0.5}},
		{"rate", topologies.Parameters{Delay: delay, RateBPS: 1e9}},
		{"queue of bytes", topologies.Parameters{Delay: delay, RateBPS: 1e9, QueueBytes: 1 << 20}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			m := NewModel(c.p, 1, 0)
			now := int64(0)
			for b.Loop() {
				now += 13_000
				m.Transmit(now, 1514)
			}
		})
	}
}
