package measure

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

// brokenTrial is what a trial with faults recorded; times are absolute.
type brokenTrial struct {
	// startNS is when the load began, measureNS when the measured phase did; requests fell
	// due until endNS.
	startNS, measureNS, endNS int64
	faults                    []results.Fault
	hosts                     map[string]string
	// requests are those of all clients, in the order in which they were due; clients
	// has each client's.
	requests []request
	clients  []*client
	// events are those with a meaning, and what was heard; servers all processes but
	// clients. hasEvents is false where the protocol isn't known.
	events    []happening
	servers   []string
	hasEvents bool
	// pathNS is the least one-way delay between two hosts, as far as it is known.
	pathNS map[[2]string]int64
	normal *baseline
}

// request is one of a client's; doneNS is math.MaxInt64 for one that was never answered.
type request struct {
	dueNS, sentNS, doneNS int64
}

const never = math.MaxInt64

func (r request) answered() bool { return r.doneNS != never }

// happening is an event that recovery is made of.
type happening struct {
	atNS int64
	node string
	// meaning is consensus's, or consensus.EventHeard.
	meaning string
	round   uint64
	leader  consensus.NodeID
	// peer was heard after so long.
	peer      string
	silenceNS int64
}

// readBroken reads a trial's records; nil if it had no schedule of faults, or no load.
func readBroken(folder *results.Folder, verdict results.Verdict) (*brokenTrial, error) {
	faults, err := readFaults(folder, verdict)
	if err != nil || faults == nil {
		return nil, err
	}
	t := &brokenTrial{
		startNS: faults.StartNS, measureNS: verdict.MeasureStartNS, endNS: verdict.MeasureEndNS,
		faults: faults.Faults, hosts: faults.Hosts,
	}
	if t.endNS <= t.startNS {
		return nil, nil
	}
	if err := t.readRequests(folder, verdict.Trial); err != nil {
		return nil, fmt.Errorf("trial %d: %w", verdict.Trial, err)
	}
	if err := t.readEvents(folder, verdict); err != nil {
		return nil, fmt.Errorf("trial %d: %w", verdict.Trial, err)
	}
	if err := t.readPaths(folder, verdict.Trial); err != nil {
		return nil, err
	}
	t.normal = newBaseline(t)
	return t, nil
}

func (t *brokenTrial) readRequests(folder *results.Folder, trial int) error {
	byName := map[string]*client{}
	for row, err := range folder.Requests(trial) {
		if err != nil {
			return err
		}
		r := request{dueNS: row.IntendedNS, sentNS: row.SentNS, doneNS: row.DoneNS}
		if row.Outcome == results.OutcomeTimeout {
			r.doneNS = never
		}
		c := byName[row.Client]
		if c == nil {
			c = &client{}
			byName[row.Client] = c
			t.clients = append(t.clients, c)
		}
		c.requests = append(c.requests, r)
		t.requests = append(t.requests, r)
	}
	sortByDue(t.requests)
	for _, c := range t.clients {
		c.arrange()
	}
	return nil
}

func sortByDue(requests []request) {
	slices.SortStableFunc(requests, func(a, b request) int { return cmp.Compare(a.dueNS, b.dueNS) })
}

// readCluster tells how events are to be read.
func readCluster(folder *results.Folder, trial int) (*control.Cluster, error) {
	data, err := os.ReadFile(filepath.Join(folder.NodesDir(trial), "cluster.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading run folder: %w", err)
	}
	var cluster control.Cluster
	if err := json.Unmarshal(data, &cluster); err != nil {
		return nil, fmt.Errorf("reading cluster.json: %w", err)
	}
	return &cluster, nil
}

func (t *brokenTrial) readEvents(folder *results.Folder, verdict results.Verdict) error {
	cluster, err := readCluster(folder, verdict.Trial)
	if err != nil || cluster == nil {
		return err
	}
	names := map[consensus.NodeID]string{}
	for _, node := range cluster.Nodes {
		names[node.ID] = node.Name
		if !node.Has(roleClient) {
			t.servers = append(t.servers, node.Name)
		}
	}
	meanings := map[string]string{}
	protocol, known := consensus.Lookup(cluster.Protocol)
	if known {
		for _, event := range protocol.Events {
			meanings[event.Kind] = event.Meaning
		}
	}
	events, err := folder.OpenEvents(verdict.Trial)
	if errors.Is(err, os.ErrNotExist) {
		return missingFile(verdict, err)
	}
	if err != nil {
		return err
	}
	defer events.Close()
	t.hasEvents = known
	return t.scanEvents(events, names, meanings)
}

// roleClient is the role of processes that generate load.
const roleClient = "client"

// scanEvents keeps what has a meaning, of lines that are in the order of their times.
func (t *brokenTrial) scanEvents(events io.Reader, names map[consensus.NodeID]string, meanings map[string]string) error {
	reader := bufio.NewReaderSize(events, 1<<16)
	for {
		line, readErr := reader.ReadBytes('\n')
		if readErr != nil && readErr != io.EOF {
			return fmt.Errorf("reading events: %w", readErr)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			var event struct {
				TimeNS int64  `json:"time_ns"`
				Node   string `json:"node"`
				consensus.Event
			}
			if err := json.Unmarshal(line, &event); err != nil {
				return fmt.Errorf("reading events: %w", err)
			}
			meaning := meanings[event.Kind]
			switch {
			case event.Role == consensus.RoleTransport && event.Kind == consensus.EventHeard:
				meaning = consensus.EventHeard
			case event.Role == consensus.RoleTransport || event.Role == consensus.RoleApplication:
				meaning = ""
			}
			if meaning != "" {
				t.events = append(t.events, happening{
					atNS: event.TimeNS, node: event.Node, meaning: meaning, round: event.Round, leader: event.Leader,
					peer: names[event.Peer], silenceNS: event.SilenceNS,
				})
			}
		}
		if readErr == io.EOF {
			return nil
		}
	}
}

// readPaths takes half of each round trip that was predicted, else measured.
func (t *brokenTrial) readPaths(folder *results.Folder, trial int) error {
	links, err := folder.ReadLinks(trial)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t.pathNS = map[[2]string]int64{}
	for _, rtt := range links.RTTs {
		if roundTripNS := cmp.Or(rtt.PredictedNS, rtt.LeastNS); roundTripNS > 0 {
			t.pathNS[[2]string{rtt.From, rtt.To}] = roundTripNS / 2
			t.pathNS[[2]string{rtt.To, rtt.From}] = roundTripNS / 2
		}
	}
	return nil
}
