package results

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

var sampleRows = []Row{
	{Client: "client1", Sequence: 1, Operation: "create", Key: 3, Value: "v", IntendedNS: 10, SentNS: 11, DoneNS: 20, Outcome: OutcomeOK, Slot: 7},
	{Client: "client1", Sequence: 2, Operation: "read", Key: 18446744073709551615, IntendedNS: 15, SentNS: 15, DoneNS: 30, Outcome: OutcomeOK, Result: "a,\"b\"\nc", Slot: 1 << 40, Index: math.MaxUint32},
	{Client: " client 2", Sequence: 1, Operation: "nop", IntendedNS: -5, Outcome: OutcomeTimeout},
}

func writeRows(t testing.TB, w io.Writer, rows []Row) {
	t.Helper()
	writer := NewRowWriter(w)
	for _, row := range rows {
		if err := writer.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	var plain, zipped bytes.Buffer
	writeRows(t, &plain, sampleRows)
	z := gzip.NewWriter(&zipped)
	writeRows(t, z, sampleRows)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"requests.csv": plain.Bytes(), "requests.csv.gz": zipped.Bytes()} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		reader, err := OpenRows(path)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for row, err := range reader.All() {
			if err != nil || row != sampleRows[i] {
				t.Errorf("%s, row %d: %+v, %v, want %+v", name, i, row, err, sampleRows[i])
			}
			i++
		}
		if i != len(sampleRows) {
			t.Errorf("%s: %d rows, want %d", name, i, len(sampleRows))
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAFileWithoutRowsHasItsHeader(t *testing.T) {
	var out bytes.Buffer
	writeRows(t, &out, nil)
	if _, err := NewRowReader(&out).Read(); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want EOF", err)
	}
}

// The header and a row of the first published runs.
const rowsWithoutSlots = "client,seq,op,key,value,intended_ns,sent_ns,done_ns,outcome,result\n" +
	"client1,1,create,0,client1.1,10,11,20,ok,\n"

func TestFilesOfOtherVersionsCanBeRead(t *testing.T) {
	want := Row{Client: "client1", Sequence: 1, Operation: "create", Value: "client1.1",
		IntendedNS: 10, SentNS: 11, DoneNS: 20, Outcome: OutcomeOK}
	withSlot := want
	withSlot.Slot, withSlot.Index = 5, 3
	header, row, _ := strings.Cut(rowsWithoutSlots, "\n")
	row = strings.TrimSuffix(row, "\n")
	for name, c := range map[string]struct {
		file string
		want Row
	}{
		"without slots":     {rowsWithoutSlots, want},
		"with slots":        {header + ",slot,index\n" + row + ",5,3\n", withSlot},
		"with more to come": {header + ",slot,index,term\n" + row + ",5,3,x\n", withSlot},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := NewRowReader(strings.NewReader(c.file)).Read()
			if err != nil || got != c.want {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestFilesThatAreNoRequestsAreRefused(t *testing.T) {
	header, row, _ := strings.Cut(rowsWithoutSlots, "\n")
	row = strings.TrimSuffix(row, "\n")
	for name, c := range map[string]struct{ file, says string }{
		"a column is missing":      {"client,seq\na,1\n", "2 columns"},
		"a column is another":      {strings.Replace(rowsWithoutSlots, "key", "id", 1), `column 4 is "id"`},
		"an added one is another":  {header + ",ballot\n" + row + ",1\n", `column 11 is "ballot", want "slot"`},
		"a row is short":           {header + ",slot,index\n" + row + "\n", "wrong number of fields"},
		"a row is long":            {header + "\n" + row + ",1,0\n", "wrong number of fields"},
		"a slot is no number":      {header + ",slot,index\n" + row + ",-1,0\n", `line 2: slot is "-1"`},
		"an index is out of range": {header + ",slot,index\n" + row + ",1,4294967296\n", `line 2: index is "4294967296"`},
		"a time is no number":      {strings.Replace(rowsWithoutSlots, "11", "1.5", 1), `sent_ns is "1.5"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewRowReader(strings.NewReader(c.file)).Read(); !errors.Is(err, ErrRequests) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want ErrRequests that says %s", err, c.says)
			}
		})
	}
}

func FuzzRowReader(f *testing.F) {
	var out bytes.Buffer
	writeRows(f, &out, sampleRows)
	f.Add(out.Bytes())
	f.Add([]byte("client,seq\n"))
	f.Add([]byte(rowsWithoutSlots))
	f.Add([]byte("client,seq,op,key,value,intended_ns,sent_ns,done_ns,outcome,result\nc,x,nop,1,,1,1,1,ok,\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for row, err := range NewRowReader(bytes.NewReader(data)).All() {
			if err != nil && !errors.Is(err, ErrRequests) {
				t.Errorf("error %v isn't ErrRequests", err)
			}
			if err == nil {
				var again bytes.Buffer
				writeRows(t, &again, []Row{row})
				if back, err := NewRowReader(&again).Read(); err != nil || back != row {
					t.Errorf("%+v came back as %+v, %v", row, back, err)
				}
			}
		}
	})
}

func BenchmarkRowWriter(b *testing.B) {
	writer := NewRowWriter(io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		if err := writer.Write(sampleRows[0]); err != nil {
			b.Fatal(err)
		}
	}
}
