package ping

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// deaf is the address of a listener whose backlog is full: who dials it waits.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
	for range 10 {
		c, err := net.DialTimeout("tcp4", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("the backlog is never full")
	return ""
}

// The end of the context also ends what waits for a peer that doesn't answer.
func TestTheEndOfTheContextEndsDialling(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	o := order(TCP, deaf(t))
	o.TimeoutNS = int64(20 * time.Second)
	began := time.Now()
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if err := Measure(ctx, o, func([]Row) error { return nil }); !errors.Is(err, why) || time.Since(began) > 4*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// However long its timeout, a dead peer doesn't hold up the others for long.
func TestADeadPeerDoesNotHoldUpTheFirstProbeForLong(t *testing.T) {
	o := order(TCP, serve(t), deaf(t))
	o.Count, o.TimeoutNS = 3, int64(time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	enough := errors.New("enough")
	if err := Measure(ctx, o, func([]Row) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
}

// Whoever asks learns the context's cause, wherever that meets it.
func TestTheEndOfTheContextEndsAsking(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if err := Ask(ctx, deaf(t), order(UDP, "127.0.0.1:1"), nil); !errors.Is(err, why) {
		t.Errorf("while it dials: %v", err)
	}
	if err := Ask(ctx, serve(t), order(UDP, "127.0.0.1:1"), nil); !errors.Is(err, why) {
		t.Errorf("before it dials: %v", err)
	}
}
