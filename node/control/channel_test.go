package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestCommandsAreHandledAndAnsweredUntilStop(t *testing.T) {
	input, commands := io.Pipe()
	output, write := io.Pipe()
	channel := NewChannel(input, write)
	served := make(chan error, 1)
	go func() {
		err := channel.Serve(func(command Command) Line {
			return Line{Status: &Status{Peers: int(command.ID)}}
		})
		channel.Close()
		write.Close()
		served <- err
	}()
	scanner := bufio.NewScanner(output)
	answers := map[uint64]Line{}
	read := func() bool {
		if !scanner.Scan() {
			return false
		}
		var line Line
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil || line.Type != TypeAnswer {
			t.Fatalf("%q is no answer: %v", scanner.Bytes(), err)
		}
		answers[line.ID] = line
		return true
	}
	go io.WriteString(commands, `
{"id": 1, "command": "status"}

{"id": 2, "command": "dance"}
this is no JSON
{"id": 3, "command": "load"}
{"id": 7, "command": "reconfigure"}
{"id": 8, "command": "reconfigure", "reconfigure": {"leaders": []}}
{"id": 4, "command": "status", "a_later_version": "has more fields"}
`)
	for range 7 {
		read()
	}
	go io.WriteString(commands, `{"id": 5, "command": "stop"}
{"id": 6, "command": "status"}
`)
	for read() {
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	input.Close()
	for id, isError := range map[uint64]bool{0: true, 1: false, 2: true, 3: true, 4: false, 5: false, 7: true, 8: false} {
		answer, answered := answers[id]
		if !answered || (answer.Error != "") != isError {
			t.Errorf("command %d: answered %v: %+v", id, answered, answer)
		}
	}
	if answers[4].Status == nil || answers[4].Status.Peers != 4 {
		t.Errorf("the answer to 4 is %+v", answers[4])
	}
	if _, answered := answers[6]; answered {
		t.Error("a command after stop was answered")
	}
}

func TestTheEndOfTheInputEndsServing(t *testing.T) {
	channel := NewChannel(strings.NewReader(""), io.Discard)
	if err := channel.Serve(nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestALineThatIsTooLongIsAnError(t *testing.T) {
	channel := NewChannel(strings.NewReader(strings.Repeat("x", maxLineBytes+1)), io.Discard)
	if err := channel.Serve(nil); !errors.Is(err, bufio.ErrTooLong) {
		t.Errorf("got %v", err)
	}
}

// A controller that doesn't read must not hold up the node.
func TestLinesThatNobodyReadsAreDroppedAndCounted(t *testing.T) {
	output, write := io.Pipe() // nobody reads: the first write waits
	channel := NewChannel(strings.NewReader(""), write)
	const sent = maxWaitingLines + 100
	for i := range sent {
		channel.Send(Line{Type: TypeEvent, ID: uint64(i)})
	}
	dropped := int(channel.Dropped())
	// One line, or none yet, is with the writer.
	if dropped != 99 && dropped != 100 {
		t.Errorf("%d dropped, want 99 or 100", dropped)
	}
	channel.Close() // gives up, as nobody reads
	go func() {
		channel.lines <- nil
		<-channel.written
		write.Close()
	}()
	arrived := 0
	for scanner := bufio.NewScanner(output); scanner.Scan(); arrived++ {
	}
	if arrived < sent-dropped {
		t.Errorf("%d lines arrived of %d that weren't dropped", arrived, sent-dropped)
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte(`{"id":1,"command":"status"}`))
	f.Add([]byte(`{"id":2,"command":"load","load":{"start_ns":1}}`))
	f.Add([]byte(`{"id":3,"command":"probe","probe":{"peers":[{"name":"h"}]}}`))
	f.Add([]byte(`{"id":4,"command":"reconfigure","reconfigure":{"acceptors":["n1"]}}`))
	f.Add([]byte(`{"id":5,"command":"reconfigure","reconfigure":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		command, err := ParseCommand(line)
		if err != nil {
			if !errors.Is(err, errNoCommand) {
				t.Errorf("%v isn't errNoCommand", err)
			}
			return
		}
		if command.Command == CommandLoad && command.Load == nil || command.Command == CommandProbe && command.Probe == nil ||
			command.Command == CommandReconfigure && !json.Valid(command.Reconfigure) {
			t.Error("a command without its orders was let through")
		}
	})
}
