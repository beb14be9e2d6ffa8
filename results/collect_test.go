package results

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// csvOf writes rows as a client does.
func csvOf(t interface{ Fatal(...any) }, rows ...Row) string {
	var out bytes.Buffer
	writer := NewRowWriter(&out)
	for _, row := range rows {
		if err := writer.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func rowOf(client string, sequence uint64) Row {
	return Row{Client: client, Sequence: sequence, Operation: "update", Key: 3, Value: `a,"b"`,
		IntendedNS: 10, SentNS: 11, DoneNS: 12, Outcome: OutcomeOK, Result: "line\nline"}
}

func TestCollectRequests(t *testing.T) {
	a1, a2, b1 := rowOf("a", 1), rowOf("a", 2), rowOf("b", 1)
	tests := []struct {
		name   string
		files  []string
		want   []Row
		counts RequestCounts
	}{
		{"no clients", nil, nil, RequestCounts{}},
		{"in the order of the clients", []string{csvOf(t, a1, a2), csvOf(t, b1)}, []Row{a1, a2, b1}, RequestCounts{Rows: 3}},
		{"a client that sent nothing", []string{csvOf(t), csvOf(t, b1)}, []Row{b1}, RequestCounts{Rows: 1}},
		{"a client killed before the header", []string{"", "client,se", csvOf(t, b1)}, []Row{b1}, RequestCounts{Rows: 1, Torn: 1}},
		{"a killed client's torn line", []string{csvOf(t, a1) + "a,2,update,3,x,10,11,12,ok,va", csvOf(t, b1)},
			[]Row{a1, b1}, RequestCounts{Rows: 2, Torn: 1}},
		{"a long torn line", []string{csvOf(t, a1) + "a,2,update,3," + strings.Repeat("x", 10000)}, []Row{a1}, RequestCounts{Rows: 1, Torn: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := create(t)
			if _, err := folder.CreateTrial(1); err != nil {
				t.Fatal(err)
			}
			counts, err := folder.CollectRequests(1, files(t, test.files...))
			if err != nil || counts != test.counts {
				t.Fatalf("counts %+v, %v; want %+v", counts, err, test.counts)
			}
			var got []Row
			for row, err := range folder.Requests(1) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, row)
			}
			if len(got) != len(test.want) {
				t.Fatalf("got %+v, want %+v", got, test.want)
			}
			for i := range got {
				if got[i] != test.want[i] {
					t.Errorf("row %d is %+v, want %+v", i, got[i], test.want[i])
				}
			}
		})
	}
}

func TestCollectRequestsRefusesDamage(t *testing.T) {
	good := csvOf(t, rowOf("a", 1))
	for name, content := range map[string]string{
		"a bad line in the middle": good + "a,2\n" + strings.SplitN(good, "\n", 2)[1],
		"another header":           "time,latency\n1,2\n",
		"not a number":             strings.Replace(good, ",10,", ",ten,", 1),
	} {
		folder := create(t)
		dir, err := folder.CreateTrial(1)
		if err != nil {
			t.Fatal(err)
		}
		paths := files(t, content)
		if _, err := folder.CollectRequests(1, paths); !errors.Is(err, ErrRequests) || !strings.Contains(err.Error(), paths[0]) {
			t.Errorf("%s: %v, want ErrRequests and the file's name", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, requestsFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: half a file was left: %v", name, err)
		}
	}
}

func TestRequestsThatWereNeverCollected(t *testing.T) {
	for row, err := range create(t).Requests(1) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v, %v", row, err)
		}
	}
}

func TestTornFileKeepsItsWholeLines(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := rapid.IntRange(0, 5).Draw(rt, "rows")
		var all []Row
		for i := range rows {
			row := rowOf("a", uint64(i))
			row.Value, row.Result = "plain", ""
			all = append(all, row)
		}
		content := csvOf(rt, all...)
		cut := rapid.IntRange(0, len(content)).Draw(rt, "cut")
		content = content[:cut]
		var counts RequestCounts
		var out bytes.Buffer
		if err := counts.copyRows(NewRowWriter(&out), files(t, content)[0]); err != nil {
			rt.Fatal(err)
		}
		if want := max(0, strings.Count(content, "\n")-1); counts.Rows != want {
			rt.Fatalf("%d rows of %q, want %d", counts.Rows, content, want)
		}
	})
}
