//go:build linux

package netns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
)

// request goes from the controller to a lab's init. Exactly one of the
// pointers is set.
type request struct {
	ID     uint64         `json:"id"`
	Probe  *probeRequest  `json:"probe,omitempty"`
	Build  *buildRequest  `json:"build,omitempty"`
	Start  *startRequest  `json:"start,omitempty"`
	Signal *signalRequest `json:"signal,omitempty"`
	Report *reportRequest `json:"report,omitempty"`
	// Files is the number of file descriptors that came with the request.
	Files int `json:"files,omitempty"`
}

// probeRequest asks what works in a lab made here.
type probeRequest struct{}

// reportRequest asks what the kernel's links did.
type reportRequest struct{}

// startRequest starts a process. Its files are standard input, output and
// error; without the last, the init's own is used.
type startRequest struct {
	// Process is the number that the controller gave it.
	Process uint64 `json:"process"`
	// Host is empty for the fabric.
	Host      string   `json:"host,omitempty"`
	Path      string   `json:"path"`
	Arguments []string `json:"arguments"`
	// Child is the mode of RunIfChild, if it is to be one.
	Child string `json:"child,omitempty"`
}

type signalRequest struct {
	Process uint64         `json:"process"`
	Signal  syscall.Signal `json:"signal"`
}

// message goes from a lab's init to the controller: the answer to the request
// with the same ID or, with ID 0, something unasked.
type message struct {
	ID uint64 `json:"id,omitempty"`
	// Error says why a request failed; Errno is its cause, if the kernel's.
	Error  string             `json:"error,omitempty"`
	Errno  syscall.Errno      `json:"errno,omitempty"`
	Hello  *hello             `json:"hello,omitempty"`
	Probed *probed            `json:"probed,omitempty"`
	Report *engine.LinkReport `json:"report,omitempty"`
	Exited *exited            `json:"exited,omitempty"`
}

// hello is an init's first message.
type hello struct {
	// Failed names the first thing that the init could not do in its own
	// namespaces, and Errno why; empty if all is well.
	Failed string        `json:"failed,omitempty"`
	Errno  syscall.Errno `json:"errno,omitempty"`
}

// exited tells of a process's end.
type exited struct {
	Process uint64      `json:"process"`
	Exit    engine.Exit `json:"exit"`
}

// connection carries requests or messages, a JSON object a line, and file
// descriptors along with them.
type connection struct {
	socket *net.UnixConn

	sending sync.Mutex

	received bytes.Buffer
	files    []int
}

// newConnection takes over one end of a socket pair.
func newConnection(end *os.File) (*connection, error) {
	defer end.Close()
	c, err := net.FileConn(end)
	if err != nil {
		return nil, fmt.Errorf("opening the lab's control connection: %w", err)
	}
	return &connection{socket: c.(*net.UnixConn)}, nil
}

// send writes one line; the files travel with it and stay the caller's.
func (c *connection) send(line any, files ...*os.File) error {
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encoding a line of the lab's control connection: %w", err)
	}
	data = append(data, '\n')
	c.sending.Lock()
	defer c.sending.Unlock()
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, file := range files {
			fds[i] = int(file.Fd())
		}
		n, _, err := c.socket.WriteMsgUnix(data, unix.UnixRights(fds...), nil)
		if err != nil {
			return fmt.Errorf("writing to the lab's control connection: %w", err)
		}
		data = data[n:]
	}
	if len(data) > 0 {
		if _, err := c.socket.Write(data); err != nil {
			return fmt.Errorf("writing to the lab's control connection: %w", err)
		}
	}
	return nil
}

// receive reads one line. File descriptors that came with it wait for take:
// the stream keeps lines and descriptors each in order, and no descriptor
// arrives after the line that it was sent with.
func (c *connection) receive(into any) error {
	chunk, control := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(64*4))
	for {
		if i := bytes.IndexByte(c.received.Bytes(), '\n'); i >= 0 {
			if err := json.Unmarshal(c.received.Next(i+1), into); err != nil {
				return fmt.Errorf("decoding a line of the lab's control connection: %w", err)
			}
			return nil
		}
		n, controlLen, _, _, err := c.socket.ReadMsgUnix(chunk, control)
		if err != nil {
			return err
		}
		if n == 0 {
			return errClosed
		}
		c.received.Write(chunk[:n])
		if err := c.keepFiles(control[:controlLen]); err != nil {
			return err
		}
	}
}

// errClosed is what receive returns once the other end is gone.
var errClosed = errors.New("the lab's control connection was closed")

func (c *connection) keepFiles(control []byte) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return fmt.Errorf("reading file descriptors from the lab's control connection: %w", err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("reading file descriptors from the lab's control connection: %w", err)
		}
		c.files = append(c.files, fds...)
	}
	return nil
}

// take hands over the next n file descriptors.
func (c *connection) take(n int) ([]int, error) {
	if n < 0 || n > len(c.files) {
		return nil, fmt.Errorf("a request names %d file descriptors, %d came", n, len(c.files))
	}
	taken := c.files[:n:n]
	c.files = c.files[n:]
	return taken, nil
}
