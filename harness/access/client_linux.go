package access

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"quorumlab/harness/passing"
)

// List finds the labs that run on this machine, of all users, oldest process first
// as the kernel lists them.
func List() ([]Lab, error) {
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, fmt.Errorf("listing the labs: %w", err)
	}
	return parseSockets(string(table)), nil
}

// dial connects to a lab whose server is the user that its address names.
func (l Lab) dial() (*passing.Connection, error) {
	socket, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "@" + l.address, Net: "unix"})
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("reaching lab %s: %w", l.Name, ErrEnded)
	}
	if err != nil {
		return nil, fmt.Errorf("reaching lab %s: %w", l.Name, err)
	}
	c := passing.New(socket)
	peer, err := c.Peer()
	own := uint32(os.Geteuid())
	if err == nil && (peer.Uid != uint32(l.UID) || own != 0 && peer.Uid != own) {
		err = fmt.Errorf("it is served by user %d", peer.Uid)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("reaching lab %s: %w", l.Name, err)
	}
	return c, nil
}

// receive reads a lab's next answer; what failed there is an error.
func (l Lab) receive(c *passing.Connection) (answer, error) {
	var a answer
	if err := c.Receive(&a); err != nil {
		return a, fmt.Errorf("lab %s: %w", l.Name, ErrEnded)
	}
	switch {
	case a.Unknown:
		return a, &remoteError{a.Error, ErrUnknown}
	case a.NotRunnable:
		return a, &remoteError{fmt.Sprintf("lab %s: %s", l.Name, a.Error), ErrNotRunnable}
	case a.Error != "":
		return a, fmt.Errorf("lab %s: %s", l.Name, a.Error)
	}
	return a, nil
}

// remoteError is a lab's error with its cause.
type remoteError struct {
	text  string
	cause error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.cause }

const (
	// describeLimit and beginLimit are how long a lab may take to describe itself, and
	// to begin what it was asked: longer than it gives itself. One whose process was
	// stopped would never answer.
	describeLimit = 5 * time.Second
	beginLimit    = beginTimeout + 10*time.Second
)

// firstAnswer is receive with a limit.
func (l Lab) firstAnswer(c *passing.Connection, limit time.Duration) (answer, error) {
	timer := time.AfterFunc(limit, func() { c.Close() })
	a, err := l.receive(c)
	if !timer.Stop() && errors.Is(err, ErrEnded) {
		err = fmt.Errorf("lab %s doesn't answer: pid %d may be stopped", l.Name, l.PID)
	}
	return a, err
}

// Describe asks a lab what it is.
func (l Lab) Describe() (Description, error) {
	c, err := l.dial()
	if err != nil {
		return Description{}, err
	}
	defer c.Close()
	if err := c.Send(request{Describe: true}); err != nil {
		return Description{}, fmt.Errorf("asking lab %s: %w", l.Name, err)
	}
	a, err := l.firstAnswer(c, describeLimit)
	if err != nil {
		return Description{}, err
	}
	if a.Description == nil {
		return Description{}, fmt.Errorf("asking lab %s: it said something else", l.Name)
	}
	return *a.Description, nil
}

// CheckLink tells whether a lab has a link: nil, ErrUnknown, or that it can't be asked.
func (l Lab) CheckLink(name string) error {
	d, err := l.Describe()
	if err != nil {
		return err
	}
	return d.link(name)
}

// run runs a program until it ends and returns its status. Signals are passed on.
func (l Lab) run(q programRequest, stdio [3]*os.File, begun func(), signals <-chan os.Signal) (status int, err error) {
	c, err := l.dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.Send(request{Program: &q}, stdio[:]...); err != nil {
		return 0, fmt.Errorf("asking lab %s: %w", l.Name, err)
	}
	if _, err := l.firstAnswer(c, beginLimit); err != nil {
		return 0, err
	}
	begun()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				if number, ok := s.(syscall.Signal); ok {
					_ = c.Send(request{Signal: number}) // it may just have ended
				}
			case <-ended:
				return
			}
		}
	}()
	a, err := l.receive(c)
	if err == nil && a.Status == nil {
		err = fmt.Errorf("asking lab %s: it said something else", l.Name)
	}
	if err != nil {
		return 0, err
	}
	return *a.Status, nil
}

// Capture writes what passes a link to a file, in the format pcapng, until stop is
// closed, nobody reads the file any more (of a pipe) or the lab ends, which is ErrEnded.
// begun is called once frames are captured.
func (l Lab) Capture(link string, file *os.File, begun func(), stop <-chan struct{}) error {
	c, err := l.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Send(request{Capture: &captureRequest{Link: link}}, file); err != nil {
		return fmt.Errorf("asking lab %s: %w", l.Name, err)
	}
	if _, err := l.firstAnswer(c, beginLimit); err != nil {
		return err
	}
	begun()
	ended := make(chan error, 1)
	go func() {
		_, err := l.receive(c)
		ended <- err
	}()
	polls := time.NewTicker(pipePoll)
	defer polls.Stop()
	for enough := false; !enough; {
		select {
		case err := <-ended:
			return err
		case <-stop:
			enough = true
		case <-polls.C:
			enough = unread(file)
		}
	}
	if err := c.Send(request{End: true}); err != nil {
		return fmt.Errorf("lab %s: %w", l.Name, ErrEnded)
	}
	return <-ended
}
