package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"quorumlab/node/consensus"
)

// ignoreInputs compares what specs say, not the files that they have read.
var ignoreInputs = cmpopts.IgnoreUnexported(Spec{})

func pointer[T any](value T) *T { return &value }

// The tests know three protocols: one with the shape of Multi-Paxos, one with
// options of its own, and one that files of Coracle may name.
func init() {
	consensus.Register(&consensus.Protocol{
		Name: "multipaxos",
		Roles: []consensus.RoleSpec{
			{Name: "replica", Default: 2, Min: 1, Serves: true},
			{Name: "leader", Default: 2, Min: 1, Replaceable: true, Leads: true},
			{Name: "acceptor", Default: 3, Min: 1, Replaceable: true, Votes: true},
		},
		Events:      []consensus.EventSpec{{Kind: "adopted", Meaning: consensus.MeaningElected}, {Kind: "reconfigure"}},
		Messages:    []string{"phase1a", "phase2a", "phase2b"},
		Reconfigure: reconfigureTest,
	})
	consensus.Register(&consensus.Protocol{
		Name:           "testpaxos",
		Roles:          []consensus.RoleSpec{{Name: "server", Default: 3, Min: 3, Serves: true, Replaceable: true}},
		CheckOptions:   checkTestOptions,
		CheckConfig:    checkTestConfig,
		Reconfigure:    reconfigureTest,
		PredictLatency: predictTest,
	})
	consensus.Register(&consensus.Protocol{
		Name:         "dummy",
		Roles:        []consensus.RoleSpec{{Name: "node", Default: 3, Min: 2, Serves: true}},
		CheckOptions: checkDummyOptions,
	})
}

func reconfigureTest(consensus.Config, json.RawMessage) ([]byte, error) { return nil, nil }

// checkTestConfig refuses a quorum that the servers can't form.
func checkTestConfig(config consensus.Config) error {
	var options struct{ Quorum int }
	if len(config.Options) > 0 {
		if err := json.Unmarshal(config.Options, &options); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
	}
	switch servers := len(config.WithRole("server")); {
	case options.Quorum > servers:
		return &consensus.OptionError{Path: "quorum", Value: options.Quorum, Want: fmt.Sprintf("at most the %d servers", servers)}
	case servers > 100:
		return errors.New("more servers than it knows how to handle")
	}
	return nil
}

// checkDummyOptions knows those of Coracle's dummy, and a timeout.
func checkDummyOptions(raw json.RawMessage) error {
	var options map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &options); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
	}
	for key, value := range options {
		switch key {
		case "id":
			if id, ok := value.(float64); !ok || id < 1 {
				return &consensus.OptionError{Path: key, Value: value, Want: "the number of a node"}
			}
		case "timeout":
			if text, _ := value.(string); text == "" || text > "5" && len(text) == 6 {
				return &consensus.OptionError{Path: key, Value: value, Want: "below 5000ms"}
			}
		default:
			return &consensus.OptionError{Path: key, Value: "unknown", Want: "one of id, timeout"}
		}
	}
	return nil
}

func checkTestOptions(raw json.RawMessage) error {
	var options map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &options); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
	}
	for key, value := range options {
		switch key {
		case "window":
			if n, ok := value.(float64); !ok || n < 1 {
				return &consensus.OptionError{Path: "window", Value: value, Want: "a whole number of at least 1"}
			}
		case "backoff":
			object, _ := value.(map[string]any)
			if text, ok := object["max"].(string); ok {
				if _, err := time.ParseDuration(text); err != nil {
					return &consensus.OptionError{Path: "backoff.max", Value: text, Want: "a duration, such as 250ms"}
				}
			}
		case "quorum":
			if n, ok := value.(float64); !ok || n < 1 {
				return &consensus.OptionError{Path: "quorum", Value: value, Want: "a whole number of at least 1"}
			}
		case "broken":
			return errors.New("the options as a whole make no sense")
		}
	}
	for key := range options {
		if key != "window" && key != "backoff" && key != "quorum" {
			return &consensus.OptionError{Path: key, Value: "unknown", Want: "one of backoff, quorum, window"}
		}
	}
	return nil
}

// predictTest is a round trip to the first server, which asks the second, plus
// 1 ms for each number of the client, so that clients differ.
func predictTest(config consensus.Config, client consensus.NodeID, delay func(from, to consensus.NodeID) time.Duration) time.Duration {
	servers := config.WithRole("server")
	first, second := servers[0], servers[1]
	return delay(client, first) + delay(first, second) + delay(second, first) + delay(first, client) +
		time.Duration(client-servers[len(servers)-1])*time.Millisecond
}

// testOverrides know the engines netns, for at most 1,000 hosts, and sim.
func testOverrides() Overrides {
	return Overrides{
		Engines: []string{"netns", "sim"},
		Limits: func(engine string) (int, bool) {
			most, known := map[string]int{"netns": 1000, "sim": 5000}[engine]
			return most, known
		},
	}
}

// parse reads an experiment that must be good.
func parse(t *testing.T, text string, set ...string) *Source {
	t.Helper()
	overrides := testOverrides()
	overrides.Set = set
	source, err := Parse("dir/steady.yaml", []byte(text), overrides)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return source
}
