package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/results"
)

// fuzzRow makes a request of a few bytes: often a sensible one.
func fuzzRow(data []byte, sequence int) results.Row {
	names := []string{"nop", "create", "update", "read", "remove", "increment", "decrement", "?"}
	outcomes := []string{results.OutcomeOK, results.OutcomeOK, results.OutcomeFail, results.OutcomeTimeout, "?"}
	row := results.Row{
		Client: strconv.Itoa(int(data[0] >> 6)), Sequence: uint64(sequence), Operation: names[data[0]%8],
		Key: uint64(data[0] >> 3 % 4), Outcome: outcomes[data[1]%5], Value: strconv.Itoa(int(data[1] >> 5)),
		Result: strconv.Itoa(int(data[2]%8) - 1), SentNS: int64(data[3]), Slot: uint64(data[5] >> 3), Index: uint32(data[5] % 8),
	}
	row.DoneNS = row.SentNS + int64(data[4]%32)
	switch name := row.Operation; {
	case data[2] == 255:
		row.Result = string(data)
	case name == "create" || name == "update" || name == "remove": // they return nothing
		row.Result = ""
	}
	if data[5]%8 == 7 {
		row.Index = consensus.IndexRead
	}
	if data[4] == 255 { // any times at all
		row.SentNS = int64(binary.LittleEndian.Uint64(bytes.Repeat(data[:4], 2)))
		row.DoneNS = int64(binary.LittleEndian.Uint64(bytes.Repeat(data[1:5], 2)))
	}
	return row
}

// FuzzAnyRows hands the checker rows that no system ever made: it must neither
// panic nor contradict itself.
func FuzzAnyRows(f *testing.F) {
	f.Add(false, []byte("create, then read and update: any bytes will do here"))
	f.Add(true, []byte{5, 0, 2, 0, 10, 9, 5, 0, 3, 20, 10, 17, 3, 0, 4, 40, 1, 25})
	f.Add(false, []byte{1, 0, 2, 0, 10, 9, 2, 35, 3, 20, 10, 17, 3, 0, 1, 40, 1, 25, 3, 4, 255, 1, 255, 1})
	f.Fuzz(func(t *testing.T, count bool, data []byte) {
		application := "kv"
		if count {
			application = "counter"
		}
		var rows []results.Row
		for ; len(data) >= 6 && len(rows) < 24; data = data[6:] {
			rows = append(rows, fuzzRow(data, len(rows)+1))
		}
		result, err := Linearizable(context.Background(), sequence(rows), Options{Application: application, Timeout: time.Second})
		if err != nil {
			if !errors.Is(err, ErrHistory) || result != nil {
				t.Fatalf("%v, %+v", err, result)
			}
			return
		}
		if (result.Verdict == results.FindingViolation) != (result.Violation != nil) || (result.Verdict == results.FindingOK) != (result.Reason == "") {
			t.Fatalf("%+v", result)
		}
		if result.Violation != nil {
			if err := result.Violation.Write(t.TempDir()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
