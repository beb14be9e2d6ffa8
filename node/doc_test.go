package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

// documentedEvent is a line of events.jsonl.
type documentedEvent struct {
	TimeNS int64  `json:"time_ns"`
	Node   string `json:"node"`
	consensus.Event
}

// strictly decodes all JSON values of the text; a field that v hasn't is an
// error.
func strictly(text string, newValue func() any) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	for {
		if err := decoder.Decode(newValue()); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestTheExamplesInTheDocumentAreWhatNodesSpeak(t *testing.T) {
	document, err := os.ReadFile("../docs/node-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]func() any{
		"command": func() any { return &control.Command{} },
		"line":    func() any { return &control.Line{} },
		"cluster": func() any { return &control.Cluster{} },
		"event":   func() any { return &documentedEvent{} },
		// What a node is started with.
		"initially": func() any { return &control.Initially{} },
	}
	seen := map[string]int{}
	commands := map[string]bool{}
	for _, block := range regexp.MustCompile("(?s)```json (\\w+)\n(.*?)```").FindAllStringSubmatch(string(document), -1) {
		kind, text := block[1], block[2]
		seen[kind]++
		newValue, known := kinds[kind]
		if !known {
			t.Errorf("unknown kind of example: %s", kind)
			continue
		}
		if err := strictly(text, newValue); err != nil {
			t.Errorf("example of a %s: %v\n%s", kind, err, text)
		}
		if kind == "initially" {
			if _, err := parseInjection([]byte(text)); err != nil {
				t.Errorf("a node would refuse %s: %v", text, err)
			}
		}
		if kind == "command" {
			var command control.Command
			_ = json.Unmarshal([]byte(text), &command)
			commands[command.Command] = true
			if _, err := control.ParseCommand([]byte(text)); err != nil && command.ID != 7 { // 7 is the bad example
				t.Errorf("a node would refuse %s: %v", text, err)
			}
		}
	}
	if strings.Count(string(document), "```json") != seen["command"]+seen["line"]+seen["cluster"]+seen["event"]+seen["initially"] {
		t.Error("some example of JSON has no kind, so it wasn't checked")
	}
	for kind := range kinds {
		if seen[kind] == 0 {
			t.Errorf("no example of a %s", kind)
		}
	}
	for _, command := range []string{control.CommandStatus, control.CommandLoad, control.CommandProbe, control.CommandMeasure, control.CommandReconfigure, control.CommandSockets, control.CommandReceive, control.CommandSend, control.CommandFinish, control.CommandMeasure, control.CommandInject, control.CommandSubscribe, control.CommandStanding, control.CommandStop} {
		if !commands[command] {
			t.Errorf("no example of the command %s", command)
		}
	}
}

// Every field of the channel's types must be mentioned.
func TestTheDocumentMentionsEveryField(t *testing.T) {
	document, err := os.ReadFile("../docs/node-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []any{
		control.Command{Load: &control.Load{Application: "a"}, Reconfigure: json.RawMessage("{}"), Probe: &control.Probe{Peers: []control.Peer{{}}}, Receive: &control.Receive{}, Send: &control.Send{}, Finish: &control.Finish{}, Measure: &control.Measure{File: "f"}, ID: 1},
		control.Line{
			ID: 1, Error: "e", Event: "e", Sockets: &control.Sockets{Connections: []control.Socket{{Node: "n"}}}, Hello: &control.Hello{}, Progress: &control.Progress{}, Probe: &control.Probed{},
			Receiving: &control.Receiving{}, Sent: &control.Sent{}, Received: &control.Received{}, Measured: &control.Measured{},
			Status: &control.Status{Status: consensus.Status{Configuration: 1, Counters: map[string]uint64{}}, StateHash: "h"},
		},
		control.Initially{
			Injection: control.Injection{
				Ignore: []control.Ignore{{Kinds: []string{"k"}, From: []string{"f"}}}, ClockRate: 1, ClockJumpNS: 1, SyncDelayNS: 1,
				FailWrites: true, FullDisk: true,
				Failpoints: []control.Failpoint{{Kind: "k", Slot: 1, Round: 1, To: "t", Count: 1}},
			},
			Subscriptions: []control.Subscription{{Slot: 1, Round: 1, Limit: 1}},
		},
		control.Line{
			Trace: &control.Trace{Label: consensus.Label{Slot: 1, Round: 1, Leader: 1}, To: "t"}, Reached: &control.Reached{To: "t", Unacknowledged: true},
			Standing: &control.Standing{Round: 1, Slot: 1, Configuration: 1, Injected: control.Injected{
				Ignored: 1, Considered: 1, SlowSyncs: 1, LeastSyncNS: 1, RefusedBytes: 1, SuppressedTraces: 1,
			}},
		},
		control.Cluster{
			Options: map[string]any{"": 1}, Application: "a", Storage: "s",
			Nodes: []control.Node{{Member: consensus.Member{Spare: true}}},
		},
	} {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range regexp.MustCompile(`"([a-z_]+)":`).FindAllSubmatch(data, -1) {
			if !bytes.Contains(document, field[1]) {
				t.Errorf("%T has the field %s, which the document doesn't mention", value, field[1])
			}
		}
	}
}

func TestTheDocumentsRowsAreReadable(t *testing.T) {
	document, err := os.ReadFile("../docs/node-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```csv\n(.*?)```").FindSubmatch(document)
	if block == nil {
		t.Fatal("no example of requests.csv")
	}
	outcomes := map[string]int{}
	for row, err := range results.NewRowReader(bytes.NewReader(block[1])).All() {
		if err != nil {
			t.Fatal(err)
		}
		outcomes[row.Outcome]++
	}
	if fmt.Sprint(outcomes) != "map[fail:1 ok:2 timeout:1]" {
		t.Errorf("outcomes %v", outcomes)
	}
}
