//go:build linux

package link

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// maxCommandBytes bounds a line on standard input: parameters may hold tables and traces
// of topologies.MaxRows rows.
const maxCommandBytes = 256 << 20

// RunEmulator carries frames between the ports until the end of stdin. It prints
// an EmulatorReady line once it forwards, then answers each EmulatorCommand line
// with one line. It must run in a process of its own inside the fabric's network
// namespace: it turns the garbage collector off, keeps a thread to itself, and
// hears every interface of the namespace. Privileges beyond that namespace's
// CAP_NET_RAW only make it more punctual. Captures are complete once it returns.
func RunEmulator(config EmulatorConfig, stdin io.Reader, stdout io.Writer) error {
	e, err := newEmulator(config)
	if err != nil {
		return err
	}
	defer e.close()
	defer quietMemory(config.BufferBytes)()

	commander, err := newCommander(e)
	if err != nil {
		return err
	}
	scheduling := make(chan string, 1)
	ended := make(chan error, 1)
	go func() { ended <- e.run(func(allowed string) { scheduling <- allowed }) }()
	served := make(chan error, 1)
	go func() {
		served <- commander.serve(stdin, stdout, EmulatorReady{
			Ready: true, Scheduling: <-scheduling, ReceiveBufferBytes: e.socket.bufferBytes,
		})
	}()
	select {
	case err := <-ended:
		// The loop failed. What serves stdin is left behind blocked: the process
		// ends now.
		return err
	case err := <-served:
		err = errors.Join(err, commander.endCaptures())
		e.request(nil)
		return errors.Join(err, <-ended)
	}
}

// serve prints the ready line and answers commands until the end of stdin.
func (c *commander) serve(stdin io.Reader, stdout io.Writer, ready EmulatorReady) error {
	answers := json.NewEncoder(stdout)
	if err := answers.Encode(ready); err != nil {
		return fmt.Errorf("link emulator: saying that it is ready: %w", err)
	}
	commands := bufio.NewScanner(stdin)
	commands.Buffer(nil, maxCommandBytes)
	garbage := newCollector()
	for commands.Scan() {
		answer, err := c.execute(commands.Bytes())
		if err != nil {
			answer = EmulatorAnswer{Error: err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			return fmt.Errorf("link emulator: answering a command: %w", err)
		}
		garbage.collect()
	}
	if err := commands.Err(); err != nil {
		return fmt.Errorf("link emulator: reading commands: %w", err)
	}
	return nil
}

// refused counts a frame that the kernel didn't take.
func (c *counters) refused(errno unix.Errno) {
	if errno == unix.ENOBUFS {
		c.interfaceDrops++
		return
	}
	c.sendFailures++
}
