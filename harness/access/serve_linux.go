package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/harness/passing"
)

const (
	// beginTimeout bounds the starting of a program or a capture, endTimeout the end of
	// a capture.
	beginTimeout = 20 * time.Second
	endTimeout   = 5 * time.Second
	// hangupGrace is how long a program may take to end once its user has gone.
	hangupGrace = time.Second
	// addressTries is how many addresses are tried if others have them: processes of
	// other PID namespaces may have this one's number.
	addressTries = 10
)

// labsServed numbers the labs that this process serves.
var labsServed atomic.Int64

// server serves one lab.
type server struct {
	lab         engine.Lab
	description Description
	onUse       func(what string)
	listener    *net.UnixListener
	handlers    sync.WaitGroup
	// stopped is closed by stop.
	stopped chan struct{}

	mutex       sync.Mutex
	connections map[*passing.Connection]bool
}

// Serve lets others into a lab until stop is called, which ends what they run there. Before
// anything of theirs begins, onUse is told who does what, such as
// `root ran "ping h2" on host h1`; it may be called from several goroutines at once. Stop
// may be called twice and returns once nobody is served any more; it must be called
// before the lab is closed.
func Serve(lab engine.Lab, description Description, onUse func(what string)) (stop func(), err error) {
	description.Name = plainName(description.Name)
	listener, err := listen(description.Name)
	if err != nil {
		return nil, fmt.Errorf("letting others into the lab: %w", err)
	}
	s := &server{
		lab: lab, description: description, onUse: onUse, listener: listener,
		stopped: make(chan struct{}), connections: map[*passing.Connection]bool{},
	}
	s.handlers.Go(s.accept)
	return sync.OnceFunc(s.stop), nil
}

// listen takes the next address for a lab of this name.
func listen(name string) (listener *net.UnixListener, err error) {
	for range addressTries {
		address := addressOf(os.Geteuid(), os.Getpid(), int(labsServed.Add(1)), name)
		listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: "@" + address, Net: "unix"})
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return listener, err
}

func (s *server) accept() {
	for {
		socket, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: others may end theirs
			select {
			case <-time.After(100 * time.Millisecond):
			case <-s.stopped:
			}
			continue
		}
		connection := passing.New(socket)
		if !s.admit(connection) {
			connection.Close()
			continue
		}
		s.handlers.Go(func() {
			s.handle(connection)
			connection.Close()
			s.mutex.Lock()
			delete(s.connections, connection)
			s.mutex.Unlock()
		})
	}
}

// admit takes a connection among those that stop closes; false once it does.
func (s *server) admit(c *passing.Connection) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	select {
	case <-s.stopped:
		return false
	default:
		s.connections[c] = true
		return true
	}
}

func (s *server) stop() {
	close(s.stopped)
	s.listener.Close()
	s.mutex.Lock()
	for connection := range s.connections {
		connection.Close()
	}
	s.mutex.Unlock()
	s.handlers.Wait()
}

// handle serves one client.
func (s *server) handle(c *passing.Connection) {
	defer c.Drop()
	peer, err := c.Peer()
	if err != nil || peer.Uid != 0 && peer.Uid != uint32(os.Geteuid()) {
		_ = c.Send(answer{Error: "the lab belongs to another user"})
		return
	}
	var r request
	if err := c.Receive(&r); err != nil {
		return // gone already, or not one of ours
	}
	switch {
	case r.Describe:
		err = c.Send(answer{Description: &s.description})
	case r.Program != nil:
		err = s.program(c, peer, *r.Program)
	case r.Capture != nil:
		err = s.capture(c, peer, *r.Capture)
	default:
		err = errors.New("the lab was asked for nothing it knows")
	}
	select {
	case <-s.stopped: // the client learns that from the end of the connection
		return
	default:
	}
	if err != nil {
		// If the client is gone, nobody is left to tell.
		_ = c.Send(answer{Error: err.Error(), Unknown: errors.Is(err, ErrUnknown), NotRunnable: errors.Is(err, ErrNotRunnable)})
	}
}

// take hands over the files that came with a request.
func take(c *passing.Connection, count int) ([]*os.File, error) {
	descriptors, err := c.Take(count)
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, count)
	for i, descriptor := range descriptors {
		files[i] = os.NewFile(uintptr(descriptor), fmt.Sprintf("file %d of a client", i))
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}

// program runs a program and tells how it ended.
func (s *server) program(c *passing.Connection, peer *unix.Ucred, q programRequest) error {
	files, err := take(c, 3)
	if err != nil {
		return err
	}
	defer closeAll(files)
	host, err := s.description.host(q.Host)
	if err != nil {
		return err
	}
	s.onUse(fmt.Sprintf("%s ran %q on host %s", who(peer), commandLine(q), host))
	ctx, cancel := s.within(beginTimeout)
	defer cancel()
	running, err := s.lab.Run(ctx, host, engine.Program{
		Path: string(q.Path), Arguments: passing.Strings(q.Arguments), Environment: passing.Strings(q.Environment),
		Dir: string(q.Dir), Terminal: q.Terminal, Stdin: files[0], Stdout: files[1], Stderr: files[2],
	})
	if errors.As(err, new(syscall.Errno)) {
		return fmt.Errorf("%w: %w", ErrNotRunnable, err)
	}
	if err != nil {
		return err
	}
	closeAll(files) // so that the client sees the end of what the program writes
	if err := c.Send(answer{Begun: true}); err != nil {
		s.hangUp(running)
		return err
	}
	gone := s.passSignals(c, running)
	select {
	case <-running.Done():
		status := statusOf(running.Exit())
		return c.Send(answer{Status: &status})
	case <-gone:
		s.hangUp(running)
		return nil
	}
}

// passSignals hands a client's signals to its program. The channel is closed once the
// client is gone, or the server stops.
func (s *server) passSignals(c *passing.Connection, running engine.Running) <-chan struct{} {
	gone := make(chan struct{})
	s.handlers.Go(func() {
		defer close(gone)
		for {
			var r request
			if err := c.Receive(&r); err != nil {
				return
			}
			if r.Signal != 0 {
				_ = running.Signal(r.Signal) // it may just have ended
			}
		}
	})
	return gone
}

// hangUp ends a program whose user has gone.
func (s *server) hangUp(running engine.Running) {
	_ = running.Signal(syscall.SIGHUP)
	timer := time.NewTimer(hangupGrace)
	defer timer.Stop()
	select {
	case <-running.Done():
		return
	case <-timer.C:
	case <-s.stopped:
	}
	_ = running.Signal(os.Kill)
}

// capture captures a link until the client says that it is enough, or goes.
func (s *server) capture(c *passing.Connection, peer *unix.Ucred, q captureRequest) error {
	files, err := take(c, 1)
	if err != nil {
		return err
	}
	defer closeAll(files)
	if err := s.description.link(q.Link); err != nil {
		return err
	}
	s.onUse(fmt.Sprintf("%s captured link %s", who(peer), q.Link))
	file, relayed, err := openable(files[0])
	if err != nil {
		return err
	}
	ctx, cancel := s.within(beginTimeout)
	defer cancel()
	err = s.lab.Capture(ctx, q.Link, file)
	file.Close()
	if err != nil {
		return err
	}
	said := c.Send(answer{Begun: true})
	for said == nil {
		var r request
		if c.Receive(&r) != nil || r.End {
			break
		}
	}
	ending, cancelEnding := context.WithTimeout(context.Background(), endTimeout)
	defer cancelEnding()
	if err := s.lab.EndCapture(ending, q.Link); err != nil {
		return err
	}
	select {
	case <-relayed:
	case <-s.stopped: // whatever the file takes now, nobody waits for it
	case <-ending.Done():
		return fmt.Errorf("capturing link %s: the file takes no more, and lacks the end", q.Link)
	}
	return c.Send(answer{Ended: true})
}

// openable is a file that the lab can open again, as it does for captures. Root's files
// and sockets it can't: then it is a pipe to the file, and relayed is closed once all that
// came through it is in the file.
func openable(file *os.File) (opened *os.File, relayed <-chan struct{}, err error) {
	done := make(chan struct{})
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		close(done)
		return again, done, nil
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("making a pipe: %w", err)
	}
	go func() {
		defer close(done)
		_, _ = io.Copy(file, from) // if the file takes no more, the pipe doesn't either
		from.Close()
	}()
	return to, done, nil
}

// within is a context that ends after a time, or once the server stops.
func (s *server) within(limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	go func() {
		select {
		case <-s.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// who names the user at the other end.
func who(peer *unix.Ucred) string {
	uid := strconv.FormatUint(uint64(peer.Uid), 10)
	if known, err := user.LookupId(uid); err == nil {
		return known.Username
	}
	return "user " + uid
}

// commandLine is what a program is called by, cut to what fits a line.
func commandLine(q programRequest) string {
	const most = 100
	line := strings.Join(passing.Strings(q.Arguments), " ")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "..."
	}
	return line
}

// statusOf is a program's status as shells count it.
func statusOf(exit engine.Exit) int {
	if number := unix.SignalNum(exit.Signal); number != 0 {
		return 128 + int(number)
	}
	return exit.Code
}
