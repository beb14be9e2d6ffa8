package check

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/results"
)

// served is the history of a server that carries out requests at a rate of one
// a microsecond for clients that wait for a hundred; it makes no garbage of its
// own, unlike generator.
func served(application string, requests, keys int, timeouts float64) []results.Row {
	random := rand.New(rand.NewPCG(1, 1))
	kinds := kindsOf[application][:len(kindsOf[application])-1] // no nops
	states := map[uint64]string{}
	rows := make([]results.Row, requests)
	for i := range rows {
		at := int64(i+1) * 1000
		row := results.Row{
			Client: fmt.Sprintf("client%d", i%100), Sequence: uint64(i/100 + 1), Operation: kinds[random.IntN(len(kinds))],
			Key: uint64(random.IntN(keys)), Value: fmt.Sprintf("client%d.%d", i%100, i/100+1),
			SentNS: at - random.Int64N(50_000), DoneNS: at + random.Int64N(50_000), Slot: uint64(i + 1),
		}
		if row.Operation == "read" && i%2 == 0 {
			row.Index = consensus.IndexRead
		}
		row.Outcome, row.Result = carryOut(application, states, row)
		if random.Float64() < timeouts {
			row.Outcome, row.Result, row.DoneNS, row.Slot, row.Index = results.OutcomeTimeout, "", 0, 0, 0
		}
		rows[i] = row
	}
	return rows
}

func BenchmarkAMillionOperations(b *testing.B) {
	for _, keys := range []int{10, 1000} {
		for _, application := range []string{"kv", "counter"} {
			for _, timeouts := range []float64{0, 0.001} {
				name := fmt.Sprintf("%s/keys=%d/timeouts=%g", application, keys, timeouts)
				b.Run(name, func(b *testing.B) { benchmark(b, application, served(application, 1_000_000, keys, timeouts)) })
			}
		}
	}
	b.Run("kv/keys=1000/places=unknown", func(b *testing.B) {
		benchmark(b, "kv", withoutPlaces(served("kv", 1_000_000, 1000, 0)))
	})
}

func benchmark(b *testing.B, application string, rows []results.Row) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		result, err := Linearizable(context.Background(), sequence(rows), Options{Application: application})
		if err != nil || result.Verdict != results.FindingOK {
			b.Fatalf("%+v %v", result, err)
		}
		b.ReportMetric(float64(result.Witnessed), "witnessed")
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N*len(rows)), "allocated-B/request")
}
