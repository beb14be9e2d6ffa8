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
	// killed is true from the moment that the harness kills it until it has been
	// started again.
	killed bool
	// deaths counts the lives that the harness has ended.
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
	m.byName[name].session, m.byName[name].killed = s, false
}

// live is the session of a process that the harness hasn't killed; nil if it
// has, or if there is no such process.
func (m *members) live(name string) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName[name] == nil || m.byName[name].killed {
		return nil
	}
	return m.byName[name].session
}

// dead counts the processes that the harness has killed and not started again.
func (m *members) dead() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	dead := 0
	for _, member := range m.byName {
		if member.killed {
			dead++
		}
	}
	return dead
}

// killing notes that a process is about to be killed; it returns its session and
// how many of its lives ended that way, this one included.
func (m *members) killing(name string) (*session, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	member := m.byName[name]
	switch {
	case member == nil:
		return nil, 0, fmt.Errorf("%s: there is no such process", name)
	case member.killed:
		return nil, 0, fmt.Errorf("%s was killed before and not started again", name)
	}
	member.killed = true
	member.deaths++
	return member.session, member.deaths, nil
}

// deaths counts the lives of a process that the harness has ended.
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
	for _, node := range t.cluster.Nodes {
		if err := os.MkdirAll(filepath.Join(t.nodesDir(), node.Name), 0o755); err != nil {
			return err
		}
		s, err := t.startNode(starting, node.Name)
		if err != nil {
			return err
		}
		t.members.born(node.Name, s)
	}
	for _, node := range t.cluster.Nodes {
		if err := t.greet(starting, node.Name, t.members.live(node.Name)); err != nil {
			return err
		}
	}
	return t.awaitReady(ctx)
}

// startNode runs a node in its folder, for the first time or again.
func (t *labTrial) startNode(ctx context.Context, name string) (*session, error) {
	file, err := filepath.Abs(t.clusterFile())
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(filepath.Dir(file), name)
	return t.startProcess(ctx, t.hosts[name], name, "run", "--cluster", file, "--name", name, "--dir", dir)
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
		case t.members.live(node.Name) != s: // killed meanwhile
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
