package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/results"
)

// Files in a node's folder.
const (
	requestsFile = "requests.csv"
	eventsFile   = "events.jsonl"
	storageDir   = "storage"
)

var errNotMeasured = errors.New("the links were not measured in time")

// members are the processes of a trial's cluster, through all their lives. The
// zero value has none.
type members struct {
	mu     sync.Mutex
	byName map[string]*member
}

// member is one process.
type member struct {
	// session is that of its present life, or of its last one.
	session *session
	// fallen is true once a fault has ended it, until it has been started again.
	fallen bool
	// deaths counts the lives that faults have ended.
	deaths int
}

// born notes that a process lives, for the first time or again.
func (m *members) born(name string, s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName == nil {
		m.byName = map[string]*member{}
	}
	if m.byName[name] == nil {
		m.byName[name] = &member{}
	}
	m.byName[name].session, m.byName[name].fallen = s, false
}

// live is the session of a process that no fault has ended; nil if one has, or if
// there is no such process.
func (m *members) live(name string) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName[name] == nil || m.byName[name].fallen {
		return nil
	}
	return m.byName[name].session
}

// dead counts the processes that faults have ended and nobody has started again.
func (m *members) dead() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	dead := 0
	for _, member := range m.byName {
		if member.fallen {
			dead++
		}
	}
	return dead
}

// ended notes that a life has ended as a fault wanted; it returns how many of the
// process's lives ended that way, this one included, and false if that was known.
func (m *members) ended(name string, s *session) (deaths int, news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	member := m.byName[name]
	if member == nil || member.session != s || member.fallen {
		return 0, false
	}
	member.fallen = true
	member.deaths++
	return member.deaths, true
}

// deaths counts the lives of a process that faults have ended.
func (m *members) deaths(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName[name] == nil {
		return 0
	}
	return m.byName[name].deaths
}

// start runs the nodes and waits until they are connected and one leads.
func (t *labTrial) start(ctx context.Context) error {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if t.breaker != nil {
		streams, err := t.streams()
		if err != nil {
			return err
		}
		if err := t.breaker.run(ctx, streams); err != nil {
			return err
		}
	}
	for _, node := range t.cluster.Nodes {
		if err := os.MkdirAll(filepath.Join(t.nodesDir(), node.Name), 0o755); err != nil {
			return err
		}
		s, err := t.startNode(starting, node.Name, control.Injection{})
		if err != nil {
			return err
		}
		t.members.born(node.Name, s)
		t.breaker.listen(node.Name, s)
	}
	for _, node := range t.cluster.Nodes {
		if err := t.greet(starting, node.Name, t.members.live(node.Name)); err != nil {
			return err
		}
	}
	return t.awaitReady(ctx)
}

// startNode runs a node in its folder, for the first time or again. In trials with faults
// the injection is in force from its first step on.
func (t *labTrial) startNode(ctx context.Context, name string, injection control.Injection) (*session, error) {
	file, err := filepath.Abs(t.clusterFile())
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(filepath.Dir(file), name)
	arguments := []string{"run", "--cluster", file, "--name", name, "--dir", dir}
	if t.breaker != nil {
		given := filepath.Join(dir, injectionFile)
		data, err := json.Marshal(control.Initially{Injection: injection, Subscriptions: t.breaker.subscriptions[name]})
		if err == nil {
			err = os.WriteFile(given, data, 0o644)
		}
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, "--injection", given)
	}
	return t.startProcess(ctx, t.hosts[name], name, arguments...)
}

// greet awaits that a node listens.
func (t *labTrial) greet(ctx context.Context, name string, s *session) error {
	if _, err := s.greet(ctx); err != nil {
		return fmt.Errorf("%w (its log: %s)", err, filepath.Join(t.nodesDir(), name+".log"))
	}
	return nil
}

// awaitReady waits until every node is connected to its peers and one leads.
func (t *labTrial) awaitReady(ctx context.Context) error {
	began := time.Now()
	for {
		statuses, err := t.askStatuses(ctx)
		if err != nil {
			return err
		}
		leading := false
		for _, s := range statuses {
			leading = leading || s.Leading
		}
		missing := t.unconnected(statuses)
		waited := time.Since(began)
		if missing == "" && (leading || waited > leaderTimeout) {
			return nil
		}
		if missing != "" && waited > startTimeout {
			t.void(results.VoidReason{Code: voidUnconnected, Mend: mendReadLog,
				Text: fmt.Sprintf("the nodes were not connected after %v: %s", startTimeout, missing)})
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// unconnected names a node that lacks connections to live peers; empty if none
// does.
func (t *labTrial) unconnected(statuses map[string]control.Status) string {
	dead := t.members.dead()
	for _, node := range t.cluster.Nodes {
		if s, alive := statuses[node.Name]; alive && s.Connected < s.Peers-dead {
			return fmt.Sprintf("%s has %d of %d connections", node.Name, s.Connected, s.Peers)
		}
	}
	return ""
}

// askStatuses asks every live node where it stands; one that has ended by
// itself, or doesn't answer, is noted as a reason to void, once.
func (t *labTrial) askStatuses(ctx context.Context) (map[string]control.Status, error) {
	statuses := map[string]control.Status{}
	for _, node := range t.cluster.Nodes {
		s := t.members.live(node.Name)
		if s == nil {
			continue
		}
		asking, cancel := answering(ctx)
		status, err := s.status(asking)
		cancel()
		switch {
		case err == nil:
			statuses[node.Name] = status
		case t.members.live(node.Name) != s: // ended by a fault meanwhile
		case errors.Is(err, errEnded):
			t.noteEnded(node.Name, s)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		default:
			t.noteOnce(results.VoidReason{Code: voidSilent, Text: err.Error(), Mend: mendReadLog})
		}
	}
	return statuses, nil
}

func (t *labTrial) noteEnded(name string, s *session) {
	t.noteOnce(results.VoidReason{Code: voidEnded, Mend: mendReadLog,
		Text: fmt.Sprintf("%s ended before the trial was over: %s", name, s.howEnded())})
}

// stop asks every process to end and notes how it did.
func (t *labTrial) stop() {
	nodes := map[string]*session{}
	all := []*session{}
	for _, node := range t.cluster.Nodes {
		if s := t.members.live(node.Name); s != nil {
			nodes[node.Name] = s
			all = append(all, s)
		}
	}
	for _, s := range t.echoes {
		all = append(all, s)
	}
	for _, s := range all {
		s.process.Stdin().Close()
	}
	patience, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for _, s := range all {
		select {
		case <-s.process.Done():
		case <-patience.Done(): // Close ends it
		}
	}
	for name, s := range nodes {
		select {
		case <-s.process.Done():
			t.writeExit(name+".exit.json", s.process.Exit())
		default:
		}
	}
}

// writeExit writes how a node ended. A missing exit status is no reason to lose
// a trial.
func (t *labTrial) writeExit(name string, exit engine.Exit) {
	if data, err := json.MarshalIndent(exit, "", "  "); err == nil {
		_ = os.WriteFile(filepath.Join(t.nodesDir(), name), append(data, '\n'), 0o644)
	}
}

// eventFiles are the files of events of all lives of a node, in order.
func (t *labTrial) eventFiles(name string) []string {
	dir := filepath.Join(t.nodesDir(), name)
	var files []string
	for life := range t.members.deaths(name) {
		files = append(files, existing(filepath.Join(dir, earlier(eventsFile, life+1)))...)
	}
	return append(files, existing(filepath.Join(dir, eventsFile))...)
}

// earlier is the name under which a file of an earlier life is kept.
func earlier(file string, life int) string { return fmt.Sprintf("life%d.%s", life, file) }
