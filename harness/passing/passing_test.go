//go:build linux

package passing

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (a, b *Connection) {
	t.Helper()
	ours, theirs, err := Pair("test")
	if err != nil {
		t.Fatal(err)
	}
	if a, err = FromFile(ours); err != nil {
		t.Fatal(err)
	}
	if b, err = FromFile(theirs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close(); a.Drop(); b.Drop() })
	return a, b
}

type note struct {
	Text  string
	Files int
}

func TestLinesAndFilesArriveInTheirOrder(t *testing.T) {
	a, b := pair(t)
	sent := make(chan error, 1)
	// The third is longer than what is read at once, and than what a socket holds.
	texts := []string{"first", "with files", strings.Repeat("long ", 100_000), "with one more"}
	go func() {
		for i, text := range texts {
			var files []*os.File
			for range i % 2 * (4 - i) { // 0, 3, 0, 1
				read, write, err := os.Pipe()
				if err != nil {
					sent <- err
					return
				}
				fmt.Fprintf(write, "file of %d", i)
				write.Close()
				files = append(files, read)
			}
			err := a.Send(note{Text: text, Files: len(files)}, files...)
			for _, file := range files {
				file.Close()
			}
			if err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i, text := range texts {
		var n note
		if err := b.Receive(&n); err != nil {
			t.Fatal(err)
		}
		if n.Text != text || n.Files != i%2*(4-i) {
			t.Fatalf("line %d is %.20q with %d files", i, n.Text, n.Files)
		}
		taken, err := b.Take(n.Files)
		if err != nil {
			t.Fatal(err)
		}
		for _, descriptor := range taken {
			if flags, err := unix.FcntlInt(uintptr(descriptor), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("a file of line %d doesn't close on exec: %v", i, err)
			}
			file := os.NewFile(uintptr(descriptor), "taken")
			if data, err := io.ReadAll(file); string(data) != fmt.Sprintf("file of %d", i) || err != nil {
				t.Errorf("a file of line %d says %q, %v", i, data, err)
			}
			file.Close()
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if _, err := b.Take(1); err == nil {
		t.Error("a file that nobody sent was taken")
	}
}

func TestTheEndOfAConnectionIsSeen(t *testing.T) {
	a, b := pair(t)
	a.Close()
	var n note
	if err := b.Receive(&n); !errors.Is(err, ErrClosed) {
		t.Errorf("receiving from who is gone: %v", err)
	}
	if err := b.Send(note{}); !errors.Is(err, unix.EPIPE) {
		t.Errorf("sending to who is gone: %v", err)
	}
}

func TestTheKernelSaysWhoIsAtTheOtherEnd(t *testing.T) {
	a, _ := pair(t)
	peer, err := a.Peer()
	if err != nil || int(peer.Uid) != os.Geteuid() || int(peer.Pid) != os.Getpid() {
		t.Errorf("%+v, %v", peer, err)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("{\"Text\":\"a\"}\n{\"Text\":1}\n\n"))
	f.Add([]byte("no line"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs, err := Pair("fuzz")
		if err != nil {
			t.Fatal(err)
		}
		b, err := FromFile(theirs)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		data = data[:min(len(data), 10_000)]
		if _, err := ours.Write(data); err != nil {
			t.Fatal(err)
		}
		ours.Close()
		for range strings.Count(string(data), "\n") { // each is a line, of JSON or not
			if err := b.Receive(new(note)); errors.Is(err, ErrClosed) {
				t.Fatal("a line is missing")
			}
		}
		if err := b.Receive(new(note)); !errors.Is(err, ErrClosed) {
			t.Errorf("after the last line: %v", err)
		}
	})
}
