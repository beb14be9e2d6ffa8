package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestLinesOfManyGoroutinesAreWholeAndReadableWhileTheFileGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	file, err := Create(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	const writers, lines = 4, 1000
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range lines {
				file.Append(func(dst []byte) []byte { return fmt.Appendf(dst, "writer %d line %d\n", w, i) })
			}
		})
	}
	group.Wait()
	// The file's own goroutine writes them without being asked.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(content, []byte("\n")) == writers*lines {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes after 10 s", len(content))
		}
	}
	file.Append(func(dst []byte) []byte { return append(dst, "last\n"...) })
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	content, _ := os.ReadFile(path)
	next := make([]int, writers)
	for _, line := range bytes.Split(bytes.TrimSuffix(content, []byte("last\n")), []byte("\n")) {
		var w, i int
		if n, _ := fmt.Sscanf(string(line), "writer %d line %d", &w, &i); n == 2 {
			if i != next[w] {
				t.Fatalf("writer %d: line %d comes where %d was due", w, i, next[w])
			}
			next[w]++
		} else if len(line) > 0 {
			t.Fatalf("torn line %q", line)
		}
	}
}

func TestOpenGoesOnAfterTheLastWholeLine(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for name, c := range map[string]struct{ before, kept string }{
		"nothing":          {"", ""},
		"whole lines":      {"a\nb\n", "a\nb\n"},
		"a torn line":      {"a\nb\ntor", "a\nb\n"},
		"a long torn line": {"a\n" + long, "a\n"},
		"a long line":      {long + "\n" + "tor", long + "\n"},
		"only a torn line": {long, ""},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if c.before != "" {
			if err := os.WriteFile(path, []byte(c.before), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		file, err := Open(path, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		file.Append(func(dst []byte) []byte { return append(dst, "next\n"...) })
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if content, err := os.ReadFile(path); err != nil || string(content) != c.kept+"next\n" {
			t.Errorf("%s: %d bytes are left, want %d and the next line; %v", name, len(content), len(c.kept), err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent", "log"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("below no folder: %v", err)
	}
}

func TestAFullDiskIsReportedOnce(t *testing.T) {
	reported := make(chan error, 10)
	file, err := Create("/dev/full", func(err error) { reported <- err })
	if err != nil {
		t.Skip("no /dev/full here:", err)
	}
	line := func(dst []byte) []byte { return append(dst, "line\n"...) }
	file.Append(line)
	if err := file.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Flush: %v, want no space", err)
	}
	file.Append(line)
	if err := file.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close: %v, want the first error again", err)
	}
	if err := <-reported; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("reported %v", err)
	}
	if len(reported) > 0 {
		t.Errorf("reported again: %v", <-reported)
	}
}

func TestAFileThatCannotBeMadeIsAnError(t *testing.T) {
	_, err := Create(filepath.Join(t.TempDir(), "absent", "log"), nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
