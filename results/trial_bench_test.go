package results

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"testing"
)

// BenchmarkTrialFiles is what the files of a trial of 100 requests cost, with
// and without waiting for the disk.
func BenchmarkTrialFiles(b *testing.B) {
	for _, simulated := range []bool{true, false} {
		b.Run(fmt.Sprintf("simulated=%t", simulated), func(b *testing.B) {
			manifest := Manifest{Experiment: "x", Simulated: simulated}
			for i := range b.N {
				manifest.Plan = append(manifest.Plan, PlannedTrial{Trial: i + 1, Params: json.RawMessage(`{}`)})
			}
			folder, err := Create(filepath.Join(b.TempDir(), "run"), manifest)
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for i := range b.N {
				if err := writeTrial(folder, i+1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func writeTrial(folder *Folder, trial int) error {
	if _, err := folder.CreateTrial(trial); err != nil {
		return err
	}
	err := folder.WriteRequests(trial, func(w *RowWriter) error {
		for i := range 100 {
			row := Row{Client: "client1", Sequence: uint64(i), Operation: "read", IntendedNS: int64(i) * 1e9, SentNS: int64(i) * 1e9, Outcome: OutcomeOK}
			if err := w.Write(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = folder.WriteEvents(trial, func(w io.Writer) error {
		_, err := io.WriteString(w, `{"time_ns":1,"node":"leader1","role":"leader","kind":"scout"}`+"\n")
		return err
	})
	if err != nil {
		return err
	}
	if err := folder.WriteLinks(trial, Links{Executor: "model"}); err != nil {
		return err
	}
	return folder.WriteVerdict(Verdict{Trial: trial, Valid: true, Params: json.RawMessage(`{}`)})
}
