package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
)

// pipeProcess is a process whose program is a function of this test.
type pipeProcess struct {
	stdin  *io.PipeWriter
	stdout *io.PipeReader
	done   chan struct{}
}

func startPipe(program func(in *bufio.Scanner, out io.Writer)) *pipeProcess {
	inReader, inWriter := io.Pipe()
	outReader, outWriter := io.Pipe()
	p := &pipeProcess{inWriter, outReader, make(chan struct{})}
	go func() {
		program(bufio.NewScanner(inReader), outWriter)
		outWriter.Close()
		inReader.Close()
		close(p.done)
	}()
	return p
}

func (p *pipeProcess) Name() string          { return "node1" }
func (p *pipeProcess) Stdin() io.WriteCloser { return p.stdin }
func (p *pipeProcess) Stdout() io.Reader     { return p.stdout }
func (p *pipeProcess) State(context.Context) (engine.ProcessState, error) {
	return engine.ProcessState{}, engine.ErrUnsupported
}
func (p *pipeProcess) Throttle(context.Context, float64) error { return engine.ErrUnsupported }
func (p *pipeProcess) Signal(os.Signal) error                  { return nil }
func (p *pipeProcess) Done() <-chan struct{}                   { return p.done }
func (p *pipeProcess) Exit() engine.Exit                       { return engine.Exit{Code: 7} }

func command(t *testing.T, line string) control.Command {
	var c control.Command
	if err := json.Unmarshal([]byte(line), &c); err != nil {
		t.Errorf("command %q: %v", line, err)
	}
	return c
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), 5*time.Second, errors.New("the test waited in vain"))
	t.Cleanup(cancel)
	return ctx
}

func TestAnswersFindTheirCommandsAmongOtherLines(t *testing.T) {
	s := newSession(startPipe(func(in *bufio.Scanner, out io.Writer) {
		fmt.Fprintln(out, "a foreign program's chatter")
		fmt.Fprintln(out, `{"type":"hello","hello":{"version":1,"name":"node1"}}`)
		var lines []control.Command
		for range 2 {
			in.Scan()
			lines = append(lines, command(t, in.Text()))
		}
		fmt.Fprintln(out, `{"type":"event","event":"progress"}`)
		for i := range lines { // in the other order
			c := lines[1-i]
			fmt.Fprintf(out, `{"type":"answer","id":%d,"status":{"slot":%d}}`+"\n", c.ID, c.ID)
		}
	}))
	if hello, err := s.greet(soon(t)); err != nil || hello.Name != "node1" {
		t.Fatalf("hello %+v, %v", hello, err)
	}
	answers := make(chan error, 2)
	for range 2 {
		go func() {
			line, err := s.call(soon(t), control.Command{Command: control.CommandStatus})
			if err == nil && line.Status.Slot != line.ID {
				err = fmt.Errorf("answer %d carries status %d", line.ID, line.Status.Slot)
			}
			answers <- err
		}()
	}
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if line := <-s.events; line.Event != control.EventProgress {
		t.Errorf("event %+v", line)
	}
}

func TestAProcessThatEndsIsNeverAwaited(t *testing.T) {
	s := newSession(startPipe(func(*bufio.Scanner, io.Writer) {}))
	if _, err := s.greet(soon(t)); err == nil || !strings.Contains(err.Error(), "status 7") {
		t.Errorf("greeting: %v", err)
	}
	s = newSession(startPipe(func(in *bufio.Scanner, _ io.Writer) { in.Scan() }))
	if _, err := s.call(soon(t), control.Command{Command: control.CommandStatus}); !errors.Is(err, errEnded) {
		t.Errorf("calling: %v, want errEnded", err)
	}
}

func TestARefusedCommandAndAnotherVersionAreErrors(t *testing.T) {
	s := newSession(startPipe(func(in *bufio.Scanner, out io.Writer) {
		fmt.Fprintln(out, `{"type":"hello","hello":{"version":99}}`)
		in.Scan()
		fmt.Fprintf(out, `{"type":"answer","id":%d,"error":"no such load"}`+"\n", command(t, in.Text()).ID)
	}))
	if _, err := s.greet(soon(t)); err == nil || !strings.Contains(err.Error(), "99") {
		t.Errorf("greeting: %v", err)
	}
	if _, err := s.call(soon(t), control.Command{Command: control.CommandLoad}); err == nil || !strings.Contains(err.Error(), "no such load") {
		t.Errorf("calling: %v", err)
	}
}
