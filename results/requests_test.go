package results

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
)

var sampleRows = []Row{
	{Client: "client1", Sequence: 1, Operation: "create", Key: 3, Value: "v", IntendedNS: 10, SentNS: 11, DoneNS: 20, Outcome: OutcomeOK},
	{Client: "client1", Sequence: 2, Operation: "read", Key: 18446744073709551615, IntendedNS: 15, SentNS: 15, DoneNS: 30, Outcome: OutcomeOK, Result: "a,\"b\"\nc"},
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

func FuzzRowReader(f *testing.F) {
	var out bytes.Buffer
	writeRows(f, &out, sampleRows)
	f.Add(out.Bytes())
	f.Add([]byte("client,seq\n"))
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
