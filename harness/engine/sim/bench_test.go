package sim

import (
	"runtime/debug"
	"testing"
	"time"

	"quorumlab/harness/check"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	_ "quorumlab/node/multipaxos/wire"
	"quorumlab/results"
	"quorumlab/topologies"
)

// threeCoLocated is three processes with all roles, and a client at 100
// operations a second.
func threeCoLocated(b *testing.B, change func(*scenario)) {
	all := []string{multipaxos.RoleReplica, multipaxos.RoleLeader, multipaxos.RoleAcceptor}
	sc := newScenario(multipaxos.Name, topologies.Parameters{
		Delay: 20 * time.Millisecond, RateBPS: 1e9, QueueFrames: 10_000_000,
	}, 1, all, all, all)
	sc.Row, sc.Event = nil, nil
	const span = 1000 * time.Second
	sc.load(func(load *control.Load) {
		load.RateRPS, load.Keys, load.DurationNS = 100, 10, int64(span)
	})
	if change != nil {
		change(sc)
	}
	b.ReportAllocs()
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as package harness does
	before := cpuTime()
	var virtual time.Duration
	var operations, events uint64
	for b.Loop() {
		r := sc.run(b)
		agree(b, r)
		if sc.Row != nil {
			linearizable(b, sc.rows)
		}
		virtual += r.Elapsed
		operations += r.Statuses["n4"].Counters["client.answered"]
		events += r.Events
	}
	cpu := (cpuTime() - before).Seconds() // the garbage collector's too
	b.ReportMetric(virtual.Seconds()/cpu, "x_real_time")
	b.ReportMetric(cpu*1e6/float64(operations), "cpu-us/operation")
	b.ReportMetric(float64(events)/float64(operations), "events/operation")
}

// linearizable fails the test unless the history is.
func linearizable(b testing.TB, rows []results.Row) {
	history := func(yield func(results.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
	if result, err := check.Linearizable(b.Context(), history, check.Options{}); err != nil || result.Verdict != results.FindingOK {
		b.Fatalf("linearizable: %+v, %v", result, err)
	}
}

func BenchmarkThreeCoLocatedNodes(b *testing.B) {
	b.Run("hosts=3,rate=1gbit,history checked", func(b *testing.B) {
		threeCoLocated(b, func(sc *scenario) {
			sc.Row = func(row results.Row) { sc.rows = append(sc.rows, row) }
		})
	})
	b.Run("hosts=3,rate=1gbit", func(b *testing.B) { threeCoLocated(b, nil) })
	b.Run("hosts=3,rate=unlimited", func(b *testing.B) {
		threeCoLocated(b, func(sc *scenario) {
			sc.links(func(p *topologies.Parameters) { p.RateBPS = 0 })
		})
	})
	b.Run("hosts=1", func(b *testing.B) {
		threeCoLocated(b, func(sc *scenario) { sc.onHost(0, "n1", "n2", "n3") })
	})
	b.Run("hosts=3,storage=fsync", func(b *testing.B) {
		threeCoLocated(b, func(sc *scenario) { sc.Cluster.Storage = control.StorageFsync })
	})
	b.Run("hosts=3,loss=1%", func(b *testing.B) {
		threeCoLocated(b, func(sc *scenario) {
			sc.links(func(p *topologies.Parameters) { p.Loss = 0.01 })
		})
	})
}
