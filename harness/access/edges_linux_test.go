package access

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/harness/passing"
)

// listenAt listens where a lab of this process would.
func listenAt(t *testing.T, address string) *net.UnixListener {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@" + address, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func TestALabWhoseAddressIsTakenHasAnother(t *testing.T) {
	name := unique(t)
	listenAt(t, addressOf(os.Geteuid(), os.Getpid(), int(labsServed.Load())+1, plainName(name)))
	stop, err := Serve(nil, Description{Name: name}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	stop()
}

func TestWhoComesAsTheLabStopsIsShownOut(t *testing.T) {
	address := addressOf(os.Geteuid(), os.Getpid(), 0, plainName(unique(t)))
	s := &server{listener: listenAt(t, address), stopped: make(chan struct{}), connections: map[*passing.Connection]bool{}}
	close(s.stopped) // stop has begun, and the listener isn't closed yet
	s.handlers.Go(s.accept)
	client, err := net.Dial("unix", "@"+address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("who came late read %v, want the end", err)
	}
	client.Close()
	s.listener.Close()
	s.handlers.Wait()
}

func TestALabThatDoesNotAnswerIsNotAwaitedForEver(t *testing.T) {
	address := addressOf(os.Geteuid(), os.Getpid(), 0, plainName(unique(t)))
	listenAt(t, address) // and nobody accepts
	lab, ok := parseAddress(address)
	if !ok {
		t.Fatalf("%s is no address", address)
	}
	c, err := lab.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := lab.firstAnswer(c, 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), "doesn't answer") {
		t.Errorf("a lab that says nothing: %v", err)
	}
}

// A reader that neither reads nor goes must not keep the lab from ending.
func TestACaptureThatNobodyReadsDoesNotKeepTheLab(t *testing.T) {
	lab, _, stop := serve(t, unique(t))
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "ours"), os.NewFile(uintptr(ends[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	for chunk := make([]byte, 64<<10); len(chunk) > 0; chunk = chunk[:len(chunk)/2] {
		for err = nil; err == nil; {
			err = unix.Sendto(ends[1], chunk, unix.MSG_DONTWAIT, nil)
		}
		if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
	}
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- lab.Capture("h1-s1", theirs, func() { close(begun) }, nil) }()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("it didn't begin: %v", err)
	}
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(30 * time.Second):
		ours.Close()
		t.Fatal("the lab waits for a reader that doesn't read")
	}
	if err := <-ended; !errors.Is(err, ErrEnded) {
		t.Errorf("the capture's end: %v", err)
	}
}

func TestAProgramsArgumentsMayBeAnyBytes(t *testing.T) {
	lab, _, _ := serve(t, unique(t))
	if got, status, err := shell(t, lab, "h1", "printf %s 'caf\xe9'", ""); got != "caf\xe9" || status != 0 || err != nil {
		t.Errorf("printed %q, status %d, %v", got, status, err)
	}
}

func TestAProgramThatTheKernelRefusesIsToldFromAnEndedLab(t *testing.T) {
	lab, _, _ := serve(t, unique(t))
	file := filepath.Join(t.TempDir(), "no-program")
	if err := os.WriteFile(file, []byte("echo no interpreter"), 0o700); err != nil {
		t.Fatal(err)
	}
	read, write := pipe(t)
	_, err := lab.Run(Command{Host: "h1", Path: file, Arguments: []string{file}, Dir: "/", Stdin: read, Stdout: write, Stderr: write}, nil)
	if !errors.Is(err, ErrNotRunnable) || !strings.Contains(err.Error(), syscall.ENOEXEC.Error()) {
		t.Errorf("%v", err)
	}
}
