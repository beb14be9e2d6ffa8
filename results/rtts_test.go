package results

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestRoundTripsAreReadAsTheyWereWritten(t *testing.T) {
	folder, err := Create(filepath.Join(t.TempDir(), "run"), Manifest{Kind: KindRTT, Plan: []PlannedTrial{{Trial: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.CreateTrial(1); err != nil {
		t.Fatal(err)
	}
	for _, err := range folder.RTTs(1) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("before they were written: %v", err)
		}
	}
	want := []RTTRow{{From: "h1", To: `odd, "name"`, Round: 0, SentNS: 1, RTTNS: 2}, {From: "h2", To: "h1", Round: 7, SentNS: 1e18, RTTNS: 0}}
	err = folder.WriteRTTs(1, func(write func(RTTRow) error) error {
		for _, row := range want {
			if err := write(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []RTTRow
	for row, err := range folder.RTTs(1) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, row)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzReadRTTs(f *testing.F) {
	f.Add("from,to,round,sent_ns,rtt_ns\nh1,h2,0,1,2\n")
	f.Add("from,to,round,sent_ns,rtt_ns\nh1,h2,x,1,2\n")
	f.Add("from,to,round,sent_ns,rtt_ns\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		ended := false
		for row, err := range ReadRTTs(strings.NewReader(text)) {
			if ended {
				t.Fatal("something came after an error")
			}
			if ended = err != nil; ended && !errors.Is(err, ErrRTTs) {
				t.Errorf("%v doesn't wrap ErrRTTs", err)
			}
			if err == nil && (row.RTTNS < 0 || row.Round < 0) {
				t.Errorf("row %+v", row)
			}
		}
	})
}
