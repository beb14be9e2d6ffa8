//go:build linux

// Package passing carries JSON objects, one a line, over a Unix socket, and open files
// along with them. It promises that both arrive in the order in which they were sent,
// and no file after the line that it was sent with.
package passing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrClosed is what Receive returns once the other end is gone.
var ErrClosed = errors.New("the connection was closed")

// Connection is one end. Several goroutines may send; one receives.
type Connection struct {
	socket *net.UnixConn

	sending sync.Mutex

	received bytes.Buffer
	files    []int
}

// New takes over a socket.
func New(socket *net.UnixConn) *Connection { return &Connection{socket: socket} }

// FromFile takes over one end of a socket pair.
func FromFile(end *os.File) (*Connection, error) {
	defer end.Close()
	c, err := net.FileConn(end)
	if err != nil {
		return nil, fmt.Errorf("opening a connection: %w", err)
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("opening a connection: %s is no Unix socket", end.Name())
	}
	return New(socket), nil
}

// Pair makes the two ends of a connection, as files.
func Pair(name string) (ours, theirs *os.File, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making the %s connection: %w", name, err)
	}
	return os.NewFile(uintptr(ends[0]), name), os.NewFile(uintptr(ends[1]), name+", their end"), nil
}

// Close ends the connection; whoever waits in Receive, here or at the other end, returns.
func (c *Connection) Close() error { return c.socket.Close() }

// Peer is the process at the other end, as the kernel knows it.
func (c *Connection) Peer() (*unix.Ucred, error) {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("asking who is at the other end: %w", err)
	}
	var peer *unix.Ucred
	var failed error
	if err = raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err == nil {
		err = failed
	}
	if err != nil {
		return nil, fmt.Errorf("asking who is at the other end: %w", err)
	}
	return peer, nil
}

// Send writes one line; the files travel with it and stay the caller's.
func (c *Connection) Send(line any, files ...*os.File) error {
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encoding a line: %w", err)
	}
	data = append(data, '\n')
	fds := make([]int, len(files))
	for i, file := range files {
		fds[i] = int(file.Fd())
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	if len(files) > 0 {
		n, _, err := c.socket.WriteMsgUnix(data, unix.UnixRights(fds...), nil)
		if err != nil {
			return fmt.Errorf("sending a line: %w", err)
		}
		data = data[n:]
	}
	if len(data) > 0 {
		if _, err := c.socket.Write(data); err != nil {
			return fmt.Errorf("sending a line: %w", err)
		}
	}
	return nil
}

// Receive reads one line. Files that came with it wait for Take.
func (c *Connection) Receive(into any) error {
	chunk, control := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(maxFiles*4))
	searched := 0
	for {
		if i := bytes.IndexByte(c.received.Bytes()[searched:], '\n'); i >= 0 {
			if err := json.Unmarshal(c.received.Next(searched+i+1), into); err != nil {
				return fmt.Errorf("decoding a line: %w", err)
			}
			return nil
		}
		searched = c.received.Len()
		n, controlLen, _, _, err := c.socket.ReadMsgUnix(chunk, control)
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return ErrClosed
		}
		if err != nil {
			return fmt.Errorf("receiving a line: %w", err)
		}
		c.received.Write(chunk[:n])
		if err := c.keepFiles(control[:controlLen]); err != nil {
			return err
		}
	}
}

// maxFiles is how many may come in one piece; the kernel sends at most 253.
const maxFiles = 64

func (c *Connection) keepFiles(control []byte) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return fmt.Errorf("receiving files: %w", err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("receiving files: %w", err)
		}
		c.files = append(c.files, fds...)
	}
	return nil
}

// Take hands over the next n file descriptors. They close on exec.
func (c *Connection) Take(n int) ([]int, error) {
	if n < 0 || n > len(c.files) {
		return nil, fmt.Errorf("a line names %d files, %d came", n, len(c.files))
	}
	taken := c.files[:n:n]
	c.files = c.files[n:]
	return taken, nil
}

// Drop closes the files that came and were not taken.
func (c *Connection) Drop() {
	for _, fd := range c.files {
		unix.Close(fd)
	}
	c.files = nil
}
