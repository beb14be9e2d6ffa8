package multipaxos

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"quorumlab/node/consensus"
)

// Scenarios are small runs with every message in its place, told in the files of
// testdata/scenarios; -rewrite writes anew what they expect. Links take 10 ms
// each way, so that a trace reads as a timing diagram. Processes are numbered:
// replicas from 1, leaders from 11, acceptors from 21; the client is 100. Pings
// and pongs are left out of traces unless asked for.
//
//	cluster replicas=N leaders=N acceptors=N [spare-leaders=N] [spare-acceptors=N]
//	        [sync=DURATION] [pings] [records]
//	OPTIONS                       makes a cluster; records are traced too
//	send SEQUENCE... to=(ID,...) [after=DURATION] [pad=BYTES]   a client's commands
//	read SEQUENCE key=SEQUENCE to=ID   a read of what command SEQUENCE created
//	reconfigure SEQUENCE to=ID [leaders=(ID,...)] [acceptors=(ID,...)]
//	run DURATION                  prints what happens meanwhile
//	crash ID..., restart ID...    what isn't synced is lost
//	cut [from=(ID,...)] [to=(ID,...)], heal    all links that match, one way
//	hold KIND [from=ID] [to=ID] [times=N]      keeps the next messages back
//	drop KIND ...                              or loses them
//	release                       sends what is held on its way again
//	checkpoint ID
//	state [ID...]                 prints what processes know
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		s := &scenario{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.execute(t, d) })
		if s.network != nil {
			s.oracle.crashed()
			s.oracle.replayReads()
		}
	})
}

type scenario struct {
	*network
	t     *testing.T
	pings bool
	// traps wait for messages; held are those that they kept back.
	traps []*trap
	held  []heldMessage
	cuts  []link
}

// trap catches the next messages that match.
type trap struct {
	link
	kind  string
	times int
	keep  bool
}

// link matches any process where it names none.
type link struct{ from, to []consensus.NodeID }

func (l link) matches(from, to consensus.NodeID) bool {
	return (len(l.from) == 0 || contains(l.from, from)) && (len(l.to) == 0 || contains(l.to, to))
}

type heldMessage struct {
	from, to consensus.NodeID
	message  consensus.Message
}

func (s *scenario) execute(t *testing.T, d *datadriven.TestData) string {
	if s.network != nil {
		s.network.t = t
	}
	switch d.Cmd {
	case "cluster":
		s.cluster(t, d)
	case "send":
		s.sendCommands(t, d)
	case "read":
		sequence := number64(t, d.CmdArgs[0].Key)
		s.oracle.sendsRead(sequence)
		s.send(readOf(sequence, argument(t, d, "key", uint64(0))), ids(t, d, "to")...)
	case "reconfigure":
		s.reconfigure(t, d)
	case "run":
		return s.trace(t, d)
	case "crash", "restart", "checkpoint":
		for _, a := range d.CmdArgs {
			s.process(d.Cmd, consensus.NodeID(number64(t, a.Key)))
		}
	case "cut":
		s.cuts = append(s.cuts, link{ids(t, d, "from"), ids(t, d, "to")})
	case "heal":
		s.cuts = nil
	case "hold", "drop":
		s.traps = append(s.traps, &trap{
			link: link{ids(t, d, "from"), ids(t, d, "to")}, kind: d.CmdArgs[0].Key, keep: d.Cmd == "hold",
			times: argument(t, d, "times", 1),
		})
	case "release":
		for _, h := range s.held {
			s.schedule(s.delay(), h.to, consensus.Input{Kind: consensus.InputMessage, From: h.from, Message: h.message})
		}
		s.held = nil
	case "state":
		return s.state(t, d)
	default:
		d.Fatalf(t, "unknown directive %s", d.Cmd)
	}
	return ""
}

func (s *scenario) cluster(t *testing.T, d *datadriven.TestData) {
	s.network = emptyNetwork(t, d.Input, 1)
	s.keep, s.pings, s.keepRecords = true, d.HasArg("pings"), d.HasArg("records")
	s.delay = func() time.Duration { return 10 * time.Millisecond }
	s.sync = span(t, argument(t, d, "sync", "0s"))
	s.network.cut = func(from, to consensus.NodeID) bool {
		for _, l := range s.cuts {
			if l.matches(from, to) {
				return true
			}
		}
		return false
	}
	s.catch = s.caught
	s.start(members(argument(t, d, "replicas", 1), argument(t, d, "leaders", 1), argument(t, d, "spare-leaders", 0),
		argument(t, d, "acceptors", 3), argument(t, d, "spare-acceptors", 0)))
}

func (s *scenario) caught(from, to consensus.NodeID, message consensus.Message) bool {
	for _, trap := range s.traps {
		if trap.times > 0 && trap.kind == message.Label().Kind && trap.matches(from, to) {
			trap.times--
			verb := "loses"
			if trap.keep {
				verb = "holds"
				s.held = append(s.held, heldMessage{from, to, message})
			}
			s.note("the network %s %v -> %v %s", verb, from, to, describe(message))
			return true
		}
	}
	return false
}

func (s *scenario) sendCommands(t *testing.T, d *datadriven.TestData) {
	for _, a := range d.CmdArgs {
		if len(a.Vals) > 0 {
			continue
		}
		command := update(number64(t, a.Key), 1)
		command.Operation = append(command.Operation, strings.Repeat(".", argument(t, d, "pad", 0))...)
		s.send(command, ids(t, d, "to")...)
	}
}

func (s *scenario) reconfigure(t *testing.T, d *datadriven.TestData) {
	var wanted change
	for _, id := range ids(t, d, "leaders") {
		wanted.Leaders = append(wanted.Leaders, RoleLeader+id.String())
	}
	for _, id := range ids(t, d, "acceptors") {
		wanted.Acceptors = append(wanted.Acceptors, RoleAcceptor+id.String())
	}
	s.send(s.reconfiguration(number64(t, d.CmdArgs[0].Key), wanted), ids(t, d, "to")...)
}

func (s *scenario) process(what string, id consensus.NodeID) {
	switch what {
	case "crash":
		s.crash(id)
	case "restart":
		s.boot(id)
	case "checkpoint":
		s.network.checkpoint(id)
	}
}

// trace runs and prints what happened, what goes to several processes at a time
// on one line.
func (s *scenario) trace(t *testing.T, d *datadriven.TestData) string {
	s.network.trace = nil
	s.run(span(t, d.CmdArgs[0].Key))
	var lines []string
	var last []string
	for _, text := range s.network.trace {
		m := delivery.FindStringSubmatch(text)
		if m != nil && !s.pings && pingOrPong.MatchString(m[3]) {
			continue
		}
		if m != nil && last != nil && m[1] == last[1] && m[3] == last[3] {
			last[2] += " " + m[2]
			lines[len(lines)-1] = last[1] + last[2] + " " + last[3]
			continue
		}
		lines, last = append(lines, text), m
	}
	return strings.Join(lines, "\n")
}

var (
	delivery   = regexp.MustCompile(`^( *\d+ms \d+ -> )(\d+) (.*)$`)
	pingOrPong = regexp.MustCompile(`^(ping|pong)\b`)
)

// state prints what processes know, all of them if none is named.
func (s *scenario) state(t *testing.T, d *datadriven.TestData) string {
	wanted := s.ids
	if len(d.CmdArgs) > 0 {
		wanted = nil
		for _, a := range d.CmdArgs {
			wanted = append(wanted, consensus.NodeID(number64(t, a.Key)))
		}
	}
	var lines []string
	for _, id := range wanted {
		if s.dead[id] {
			lines = append(lines, fmt.Sprintf("%v is dead", id))
			continue
		}
		m := s.machines[id]
		if m.replica != nil {
			lines = append(lines, fmt.Sprintf("%v %s", id, describeReplica(m.replica)))
		}
		for _, l := range m.leaders {
			lines = append(lines, fmt.Sprintf("%v %s", id, describeLeader(l)))
		}
		for _, a := range m.acceptors {
			lines = append(lines, fmt.Sprintf("%v %s", id, describeAcceptor(a)))
		}
		if m.replica == nil && len(m.leaders)+len(m.acceptors) == 0 {
			lines = append(lines, fmt.Sprintf("%v has nothing to do", id))
		}
	}
	return strings.Join(lines, "\n")
}

func describeReplica(r *replica) string {
	text := fmt.Sprintf("replica: slot_in %d, slot_out %d", r.slotIn, r.slotOut)
	for _, c := range r.requests.items[r.requests.head:] {
		text += ", request " + describeCommand(c)
	}
	for _, d := range r.displaced {
		text += fmt.Sprintf(", displaced %s until slot %d", describeCommand(d.command), d.until)
	}
	for slot := r.slots.first; slot < r.slots.end; slot++ {
		switch s := r.slots.at(slot); {
		case s.decision != nil:
			text += fmt.Sprintf(", decision %d %s", slot, describeCommand(s.decision.Command))
		case s.proposed:
			text += fmt.Sprintf(", proposal %d %s", slot, describeCommand(s.proposal))
		}
	}
	if c := r.latest(); c.Number > 0 {
		text += fmt.Sprintf(", configuration %d from slot %d", c.Number, c.First)
	}
	return text
}

func describeLeader(l *leader) string {
	text := fmt.Sprintf("leader: ballot %v", l.ballot)
	switch {
	case l.active:
		text += ", active"
	case l.scout != nil:
		text += ", scouting"
	case !l.watch.ballot.IsBottom():
		text += fmt.Sprintf(", watching %v", l.watch.ballot)
	}
	if l.end > 0 {
		text += fmt.Sprintf(", ends before slot %d", l.end)
	}
	for slot := l.slots.first; slot < l.slots.end; slot++ {
		if p := l.slots.at(slot); p.stage != unknown {
			text += fmt.Sprintf(", %s %d %s", [...]string{proposed: "proposed", commanded: "commanded", decided: "decided"}[p.stage], slot, describeCommand(p.command))
		}
	}
	return text + above(l.slots.first) + in(l.configuration.Number)
}

func describeAcceptor(a *acceptor) string {
	text := fmt.Sprintf("acceptor: ballot %v", a.ballot)
	for slot := a.accepted.first; slot < a.accepted.end; slot++ {
		if m := *a.accepted.at(slot); m != nil {
			text += fmt.Sprintf(", accepted %v %d %s", m.Ballot, slot, describeCommand(m.Command))
		}
	}
	return text + above(a.accepted.first) + in(a.configuration)
}

// argument is a directive's argument, or the default.
func argument[T int | uint64 | string](t *testing.T, d *datadriven.TestData, key string, value T) T {
	if !d.HasArg(key) {
		return value
	}
	d.ScanArgs(t, key, &value)
	return value
}

// ids are the processes that an argument lists; none if it is left out.
func ids(t *testing.T, d *datadriven.TestData, key string) []consensus.NodeID {
	var list []consensus.NodeID
	for _, a := range d.CmdArgs {
		if a.Key == key {
			for _, value := range a.Vals {
				list = append(list, consensus.NodeID(number64(t, value)))
			}
		}
	}
	return list
}

func number64(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func span(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
