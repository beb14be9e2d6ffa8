//go:build linux

package link

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxCommandBytes bounds a line on standard input.
const maxCommandBytes = 64 << 10

// RunEmulator carries frames between the ports until the end of stdin. It prints
// an EmulatorReady line once it forwards, then answers each EmulatorCommand line
// with one line. It must run in a process of its own inside the fabric's network
// namespace: it turns the garbage collector off, keeps a thread to itself, and
// hears every interface of the namespace. Privileges beyond that namespace's
// CAP_NET_RAW only make it more punctual.
func RunEmulator(config EmulatorConfig, stdin io.Reader, stdout io.Writer) error {
	e, err := newEmulator(config)
	if err != nil {
		return err
	}
	defer e.close()
	defer quietMemory(config.BufferBytes)()

	baseline, err := e.droppedByInterfaces()
	if err != nil {
		return err
	}
	scheduling := make(chan string, 1)
	ended := make(chan error, 1)
	go func() { ended <- e.run(func(allowed string) { scheduling <- allowed }) }()
	served := make(chan error, 1)
	go func() {
		served <- e.serve(stdin, stdout, EmulatorReady{
			Ready: true, Scheduling: <-scheduling, ReceiveBufferBytes: e.socket.bufferBytes,
		}, baseline)
	}()
	select {
	case err := <-ended:
		// The loop failed. What serves stdin is left behind blocked: the process
		// ends now.
		return err
	case err := <-served:
		e.request(nil)
		return errors.Join(err, <-ended)
	}
}

// serve prints the ready line and answers commands until the end of stdin.
func (e *emulator) serve(stdin io.Reader, stdout io.Writer, ready EmulatorReady, baseline uint64) error {
	answers := json.NewEncoder(stdout)
	if err := answers.Encode(ready); err != nil {
		return fmt.Errorf("link emulator: saying that it is ready: %w", err)
	}
	commands := bufio.NewScanner(stdin)
	commands.Buffer(nil, maxCommandBytes)
	for commands.Scan() {
		report, err := e.execute(commands.Bytes(), baseline)
		if err != nil {
			report = EmulatorReport{Error: err.Error()}
		}
		if err := answers.Encode(report); err != nil {
			return fmt.Errorf("link emulator: answering a command: %w", err)
		}
	}
	if err := commands.Err(); err != nil {
		return fmt.Errorf("link emulator: reading commands: %w", err)
	}
	return nil
}

// execute does what one line of stdin asks.
func (e *emulator) execute(line []byte, baseline uint64) (EmulatorReport, error) {
	if err := parseCommand(line); err != nil {
		return EmulatorReport{}, err
	}
	answer := make(chan counters, 1)
	e.request(answer)
	counted := <-answer
	dropped, err := e.droppedByInterfaces()
	if err != nil {
		return EmulatorReport{}, err
	}
	// A kernel may tell of a frame that an interface dropped by the send's error,
	// by the interface's counter, or by both.
	counted.sendFailures += max(counted.interfaceDrops, dropped-min(dropped, baseline))
	return counted.report(e.topology), nil
}

// parseCommand checks a command line; only CommandReport exists.
func parseCommand(line []byte) error {
	var command EmulatorCommand
	if err := json.Unmarshal(line, &command); err != nil {
		return fmt.Errorf("link emulator: a command is not JSON: %w", err)
	}
	if command.Command != CommandReport {
		return fmt.Errorf("link emulator: the command is %q, want %q", command.Command, CommandReport)
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

// droppedByInterfaces sums the frames that the ports' interfaces took and then
// dropped, because the host's end was down or its backlog full.
func (e *emulator) droppedByInterfaces() (uint64, error) {
	devices, err := netlink.LinkList()
	if err != nil {
		return 0, fmt.Errorf("link emulator: reading the interfaces' counters: %w", err)
	}
	var dropped uint64
	for _, device := range devices {
		attributes := device.Attrs()
		if _, ours := e.byInterface[int32(attributes.Index)]; ours && attributes.Statistics != nil {
			dropped += attributes.Statistics.TxDropped
		}
	}
	return dropped, nil
}
