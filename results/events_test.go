package results

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// files writes each content into a file of its own.
func files(t testing.TB, contents ...string) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, content := range contents {
		path := filepath.Join(dir, fmt.Sprintf("%d", i))
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func event(timeNS int64, node string) string {
	return fmt.Sprintf(`{"time_ns":%d,"node":%q}`, timeNS, node) + "\n"
}

func TestCollectEvents(t *testing.T) {
	tests := []struct {
		name   string
		files  []string
		want   string
		counts EventCounts
	}{
		{"none", nil, "", EventCounts{}},
		{"empty files", []string{"", "\n"}, "", EventCounts{}},
		{"merged, ties in the order of the files",
			[]string{event(1, "a") + event(5, "a") + event(9, "a"), event(2, "b") + event(5, "b"), event(-3, "c")},
			event(-3, "c") + event(1, "a") + event(2, "b") + event(5, "a") + event(5, "b") + event(9, "a"),
			EventCounts{Events: 6}},
		{"a killed node's torn line", []string{event(1, "a") + `{"time_ns":2,"no`, event(3, "b")},
			event(1, "a") + event(3, "b"), EventCounts{Events: 2, Torn: 1}},
		{"nothing but a torn line", []string{`{"ti`}, "", EventCounts{Torn: 1}},
		{"a whole last line without its end", []string{strings.TrimSpace(event(1, "a"))}, event(1, "a"), EventCounts{Events: 1}},
		{"a clock that went back", []string{event(5, "a") + event(4, "a"), event(6, "b")},
			event(5, "a") + event(4, "a") + event(6, "b"), EventCounts{Events: 3, Unordered: 1}},
		{"a long line", []string{event(1, strings.Repeat("x", 1<<17))}, event(1, strings.Repeat("x", 1<<17)), EventCounts{Events: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := create(t)
			if _, err := folder.CreateTrial(1); err != nil {
				t.Fatal(err)
			}
			counts, err := folder.CollectEvents(1, files(t, test.files...))
			if err != nil || counts != test.counts {
				t.Fatalf("counts %+v, %v; want %+v", counts, err, test.counts)
			}
			reader, err := folder.OpenEvents(1)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(reader)
			if err := errors.Join(err, reader.Close()); err != nil {
				t.Fatal(err)
			}
			if string(got) != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCollectEventsRefusesDamage(t *testing.T) {
	for name, content := range map[string]string{
		"in the middle":   event(1, "a") + "{\n" + event(2, "a"),
		"without a time":  `{"node":"a"}` + "\n" + event(2, "a"),
		"endless line":    strings.Repeat("x", maxEventBytes+1),
		"another's bytes": "\x00\x01\n" + event(2, "a"),
	} {
		folder := create(t)
		dir, err := folder.CreateTrial(1)
		if err != nil {
			t.Fatal(err)
		}
		paths := files(t, content)
		if _, err := folder.CollectEvents(1, paths); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), paths[0]+", line") {
			t.Errorf("%s: %q doesn't say where", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, eventsFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: half a file was left: %v", name, err)
		}
	}
}

func TestMergedEventsAreOrderedAndComplete(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		perNode := rapid.SliceOfN(rapid.SliceOf(rapid.Int64Range(0, 20)), 0, 5).Draw(rt, "times")
		var contents []string
		var want []int64
		for _, times := range perNode {
			slices.Sort(times)
			var content strings.Builder
			for _, timeNS := range times {
				content.WriteString(event(timeNS, "n"))
			}
			contents = append(contents, content.String())
			want = append(want, times...)
		}
		slices.Sort(want)
		var out bytes.Buffer
		if _, err := mergeEvents(&out, files(t, contents...)); err != nil {
			rt.Fatal(err)
		}
		var got []int64
		for line := range bytes.Lines(out.Bytes()) {
			timeNS, err := eventTime(line)
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, timeNS)
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
}

func FuzzMergeEvents(f *testing.F) {
	f.Add([]byte(event(1, "a")+event(2, "a")), []byte(event(1, "b")))
	f.Add([]byte(event(1, "a")+`{"time`), []byte("\n\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var out bytes.Buffer
		counts, err := mergeEvents(&out, files(t, string(a), string(b)))
		if err != nil {
			return
		}
		again, err := mergeEvents(io.Discard, files(t, out.String()))
		if err != nil || again.Events != counts.Events || again.Torn != 0 {
			t.Errorf("the merged file reads as %+v, %v; it was written as %+v", again, err, counts)
		}
	})
}
