//go:build linux

package link

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// GatewayMAC is the Ethernet address that hosts send all their frames to when
// the emulator carries them: each host has one route over the whole lab prefix
// through one permanent neighbour with this address. The emulator forwards by IPv4
// destination and writes the true destination address. (Hosts on kernel links
// need each other's true addresses as neighbours instead: see BuildKernel.)
var GatewayMAC = net.HardwareAddr{0x02, 0x71, 0x6c, 0x00, 0x00, 0x01}

// Port is where a host is plugged into the fabric namespace.
type Port struct {
	// Host is its name in the topology.
	Host string `json:"host"`
	// Interface is the fabric's end of the host's veth pair. It must be up when
	// the emulator starts and needs no address.
	Interface string `json:"interface"`
	// MAC is the Ethernet address of the host's own end, as in
	// "02:00:00:00:00:01".
	MAC string `json:"mac"`
}

// EmulatorConfig is all that the emulator needs to know.
type EmulatorConfig struct {
	Topology *topologies.Topology `json:"topology"`
	// Ports has one entry a host, in any order.
	Ports []Port `json:"ports"`
	// Seed makes what happens by chance repeatable, given the same frames.
	Seed uint64 `json:"seed"`
	// BufferBytes bounds the memory for frames in flight; 0 means 512 MiB. What
	// doesn't fit is counted in EmulatorReport.MemoryDrops.
	BufferBytes int64 `json:"buffer_bytes,omitempty"`
}

// EmulatorReady is the first line that the emulator prints, once it forwards
// frames.
type EmulatorReady struct {
	Ready bool `json:"ready"`
	// Scheduling is what the kernel allowed: "fifo", "nice", "slice" or
	// "default", best first.
	Scheduling string `json:"scheduling"`
	// ReceiveBufferBytes is what the kernel granted.
	ReceiveBufferBytes int `json:"receive_buffer_bytes"`
}

// Commands are the lines that RunEmulator reads.
const (
	// CommandReport asks what the links have done so far; an EmulatorReport answers.
	CommandReport = "report"
	// CommandSet changes both directions of a link; an EmulatorAnswer says that it is
	// in force.
	CommandSet = "set"
	// CommandSetPairs changes the stages of pairs of hosts, all at one moment; an
	// EmulatorAnswer says that they are in force.
	CommandSetPairs = "set_pairs"
	// CommandCapture writes a link's frames to a file from now on; an EmulatorAnswer
	// says that it has begun.
	CommandCapture = "capture"
	// CommandEndCapture ends that; an EmulatorAnswer says that the file is complete.
	CommandEndCapture = "end_capture"
)

// EmulatorCommand is a line on the emulator's standard input.
type EmulatorCommand struct {
	// Command is one of the constants above.
	Command string `json:"command"`
	// Link is the link's name, for CommandSet and captures.
	Link string `json:"link,omitempty"`
	// AToB and BToA are the link's parameters from now on, both for CommandSet.
	AToB *topologies.Parameters `json:"a_to_b,omitempty"`
	BToA *topologies.Parameters `json:"b_to_a,omitempty"`
	// Pairs are the changes of CommandSetPairs.
	Pairs []engine.PairChange `json:"pairs,omitempty"`
	// Path is the file for CommandCapture. It must exist; the emulator appends to it.
	Path string `json:"path,omitempty"`
}

// EmulatorAnswer is the answer to all commands but CommandReport.
type EmulatorAnswer struct {
	Done bool `json:"done"`
	// Error says why it wasn't done.
	Error string `json:"error,omitempty"`
}

// EmulatorReport is the answer to CommandReport: an engine.LinkReport with the
// causes of its EmulatorDrops, which sum to it. In the directions, Frames and
// Bytes count what was or will be delivered to the far end; the frames offered
// are Frames - Duplicates + LossDrops + QueueDrops + DownDrops. A frame that is on the
// link's capture at one end only, and no loss, counts in CaptureMissed once, one that is
// at neither end twice.
type EmulatorReport struct {
	engine.LinkReport
	// ReceiveDrops overflowed the emulator's receive buffer.
	ReceiveDrops uint64 `json:"receive_drops"`
	// SendFailures were refused by the kernel or the receiving interface.
	SendFailures uint64 `json:"send_failures"`
	// MemoryDrops found BufferBytes used up.
	MemoryDrops uint64 `json:"memory_drops"`
	// SegmentDrops were frames holding several segments (or longer than any
	// frame may be) that met a link which must treat each segment on its own; the
	// hosts' interfaces were not set up as NeedsSegments demands.
	SegmentDrops uint64 `json:"segment_drops"`
	// Strays counts frames that were not IPv4 or not for another host of the
	// topology. They are dropped, and harm no trial.
	Strays uint64 `json:"strays"`
	// Error is set instead of all else if the command was not understood.
	Error string `json:"error,omitempty"`
}

// Remote speaks to a RunEmulator in another process over its standard input
// and output. It is not safe for concurrent use.
type Remote struct {
	commands *json.Encoder
	answers  *bufio.Reader
}

// NewRemote takes the emulator's standard input and output. Closing the input
// ends the emulator.
func NewRemote(stdin io.Writer, stdout io.Reader) *Remote {
	return &Remote{commands: json.NewEncoder(stdin), answers: bufio.NewReader(stdout)}
}

// WaitReady blocks until the emulator forwards frames. It must be called once, before
// Report. It fails if the emulator ended (why is on its standard error).
func (r *Remote) WaitReady() (EmulatorReady, error) {
	var ready EmulatorReady
	if err := r.read(&ready); err != nil {
		return ready, fmt.Errorf("waiting for the link emulator to be ready: %w", err)
	}
	if !ready.Ready {
		return ready, fmt.Errorf("waiting for the link emulator to be ready: it said something else")
	}
	return ready, nil
}

// Report asks what the links have done so far.
func (r *Remote) Report() (EmulatorReport, error) {
	var report EmulatorReport
	if err := r.commands.Encode(EmulatorCommand{Command: CommandReport}); err != nil {
		return report, fmt.Errorf("asking the link emulator for its report: %w", err)
	}
	if err := r.read(&report); err != nil {
		return report, fmt.Errorf("reading the link emulator's report: %w", err)
	}
	if report.Error != "" {
		return report, fmt.Errorf("reading the link emulator's report: it answered %q", report.Error)
	}
	return report, nil
}

// SetLink changes both directions of a link. Frames that are on the way, or in the
// queue, keep their times; if a direction goes down or comes up, frames that come
// later take other paths. It returns once the change is in force, and fails, changing
// nothing, if there is no such link or the parameters make no sense. Parameters that
// do more than delay need hosts that send single segments: see NeedsSegments.
func (r *Remote) SetLink(link string, aToB, bToA topologies.Parameters) error {
	return r.ask("changing link "+link, EmulatorCommand{Command: CommandSet, Link: link, AToB: &aToB, BToA: &bToA})
}

// SetPairs has frames from one host to another pass a further stage, which works like one
// direction of a link, before the first link of their path; a change without parameters
// takes the stage away. Frames that have come before keep their times; those that follow
// don't overtake them unless the stage lets frames overtake each other. All pairs change
// at one moment, and that is once it returns. It fails, changing nothing, if a host is
// unknown or parameters make no sense. What SetLink says of single segments holds here too.
func (r *Remote) SetPairs(changes []engine.PairChange) error {
	return r.ask("changing "+pairNames(changes), EmulatorCommand{Command: CommandSetPairs, Pairs: changes})
}

// pairNames names what is changed, for errors.
func pairNames(changes []engine.PairChange) string {
	if len(changes) == 1 {
		return fmt.Sprintf("the pair %s>%s", changes[0].From, changes[0].To)
	}
	return fmt.Sprintf("%d pairs", len(changes))
}

// Capture writes the frames of a link, as they enter and leave it in both directions,
// to a file from now on, in the format pcapng, until EndCapture, until nobody reads the
// file (a pipe) any more, or until the emulator has ended. The file must exist, at a
// path that the emulator's process can open. A link has one capture at a time. What the
// capture missed is in the report.
func (r *Remote) Capture(link, path string) error {
	return r.ask("capturing link "+link, EmulatorCommand{Command: CommandCapture, Link: link, Path: path})
}

// EndCapture ends a link's capture, if it has one. The file then has all that was
// captured; an error says why it doesn't.
func (r *Remote) EndCapture(link string) error {
	return r.ask("ending the capture of link "+link, EmulatorCommand{Command: CommandEndCapture, Link: link})
}

// ask sends a command that is answered by an EmulatorAnswer.
func (r *Remote) ask(doing string, command EmulatorCommand) error {
	if err := r.commands.Encode(command); err != nil {
		return fmt.Errorf("%s: asking the link emulator: %w", doing, err)
	}
	var answer EmulatorAnswer
	if err := r.read(&answer); err != nil {
		return fmt.Errorf("%s: reading the link emulator's answer: %w", doing, err)
	}
	if !answer.Done {
		return fmt.Errorf("%s: %s", doing, answer.Error)
	}
	return nil
}

func (r *Remote) read(into any) error {
	line, err := r.answers.ReadBytes('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}
