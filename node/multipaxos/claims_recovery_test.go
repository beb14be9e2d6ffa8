package multipaxos

import (
	"fmt"
	"testing"
	"time"

	"quorumlab/node/consensus"
)

// Claims about what survives a crash, and about memory. Section 2.1.1 has
// processes that crash and recover; Paxos Made Simple, section 2.5, says what
// must be remembered.

// crashOnce crashes a process at its first visit to a boundary from a time on,
// and reports whether it did.
func crashOnce(n *network, id consensus.NodeID, at boundary, from time.Duration) *bool {
	done := new(bool)
	n.interrupt = func(visitor consensus.NodeID, here boundary) bool {
		if *done || visitor != id || here != at || n.now < consensus.Time(from) {
			return false
		}
		*done = true
		return true
	}
	return done
}

// A promise or acceptance is kept once it was sent, wherever the acceptor
// crashes; what wasn't synced is lost, and was never said. With one acceptor all
// hangs on it.
func TestWhatAnAcceptorSaysIsTrueAfterACrashAtAnyBoundary(t *testing.T) {
	for at := range boundaries {
		if at == afterApply {
			continue // is a replica's
		}
		for from := time.Duration(0); from < 600*time.Millisecond; from += 37 * time.Millisecond {
			n := newNetwork(t, 1, 2, 1, `{"watch": false, "resend": "200ms", "backoff": {"strategy": "random", "max": "100ms"}}`, uint64(from))
			n.sync = 5 * time.Millisecond
			crashed := crashOnce(n, 21, at, from)
			for sequence := uint64(1); sequence <= 5; sequence++ {
				n.send(update(sequence, 1), 1)
				n.run(100 * time.Millisecond)
			}
			n.run(20 * time.Second)
			n.oracle.crashed()
			n.agree()
			if len(n.answers) != 5 || !*crashed && at < afterPromise {
				t.Errorf("boundary %d from %v on: %d of 5 commands answered, crashed: %v", at, from, len(n.answers), *crashed)
			}
		}
	}
}

// A record that isn't synced is lost with the crash, and so is the answer that
// waited for it.
func TestWhatIsNotSyncedIsLostAndWasNeverSaid(t *testing.T) {
	n := newNetwork(t, 1, 1, 3, "", 1)
	n.run(time.Second)
	n.sync = time.Hour
	said := 0
	n.onSend = func(from, _ consensus.NodeID, message consensus.Message) {
		if _, ok := message.(*Phase2b); ok && from == 21 {
			said++
		}
	}
	n.send(update(1, 1), 1)
	n.run(time.Second)
	if d := n.disks[21]; len(d.unsynced) != 1 || said != 0 || len(n.answers) != 0 {
		t.Fatalf("%d records wait, %d acceptances said, %d commands answered", len(d.unsynced), said, len(n.answers))
	}
	n.crash(21)
	n.boot(21)
	n.run(0)
	if a := n.machines[21].acceptors[0]; a.accepted.first != a.accepted.end || a.ballot != ballot(0, 11) {
		t.Errorf("after the restart: %s", describeAcceptor(a))
	}
}

// A ballot belongs to one life of its leader: used again, it could have two
// commands chosen for a slot.
func TestARestartedLeaderUsesNoBallotAgain(t *testing.T) {
	for _, options := range []string{`{"watch": false, "resend": "200ms"}`, `{"resend": "200ms", "ping_timeout": "300ms"}`} {
		n := newNetwork(t, 1, 2, 3, options, 1)
		n.sync = 3 * time.Millisecond
		n.checkpointEvery = 4
		used := map[Ballot]int{}
		n.onSend = func(_, _ consensus.NodeID, message consensus.Message) {
			if m, ok := message.(*Phase1a); ok {
				if life, known := used[m.Ballot]; known && life != n.lives[m.Ballot.Leader] {
					t.Fatalf("ballot %v of life %d in life %d", m.Ballot, life, n.lives[m.Ballot.Leader])
				}
				used[m.Ballot] = n.lives[m.Ballot.Leader]
			}
		}
		for i := range 60 {
			id := consensus.NodeID(11 + i%2)
			n.crash(id)
			n.boot(id)
			n.send(update(uint64(i+1), 1), 1)
			n.run(time.Duration(i*i%97) * 10 * time.Millisecond)
		}
		n.run(time.Minute)
		if len(used) < 10 || len(n.answers) != 60 {
			t.Errorf("%s: %d ballots, %d of 60 commands answered", options, len(used), len(n.answers))
		}
	}
}

// What a replica has answered it may forget in a crash; the others, or the
// acceptors, haven't.
func TestAnAnsweredCommandSurvivesTheReplica(t *testing.T) {
	n := newNetwork(t, 1, 1, 3, `{"resend": "200ms"}`, 1)
	n.sync = 5 * time.Millisecond
	n.run(time.Second)
	done := crashOnce(n, 1, afterApply, 0)
	n.send(update(1, 1), 1)
	n.run(5 * time.Second)
	if !*done || len(n.answers) != 1 || n.apps[1].Slot() != 1 {
		t.Errorf("crashed: %v, %d answers, slot %d", *done, len(n.answers), n.apps[1].Slot())
	}
}

// held is how much a process remembers, in slots, requests and the like.
func held(m *Machine) int {
	size := len(m.announced)
	if r := m.replica; r != nil {
		size += r.requests.len() + len(r.displaced) + int(r.slots.end-r.slots.first) + len(r.configurations) + len(r.announcements)
		size += len(r.reading.waiting) + len(r.reading.asked) + len(r.reading.ready)
		for _, account := range r.decided {
			size += int(account.decided.end - account.decided.first)
		}
	}
	for _, l := range m.leaders {
		size += int(l.slots.end-l.slots.first) + len(l.reads.asking) + len(l.reads.waiting)
	}
	for _, a := range m.acceptors {
		size += int(a.accepted.end - a.accepted.first)
	}
	return size
}

// PMMC, section 4.2, lets memory grow while a replica is dead; RETAIN bounds it.
// A dead acceptor or leader costs nothing.
func TestMemoryIsBoundedWhoeverIsDead(t *testing.T) {
	for _, victim := range []consensus.NodeID{2, 12, 23} {
		t.Run(fmt.Sprint("process ", victim), func(t *testing.T) {
			n := newNetwork(t, 2, 2, 3, `{"retain": 100, "reads": "confirm"}`, 1)
			n.checkpointEvery = 500
			n.crash(victim)
			for sequence := uint64(1); sequence <= 3000; sequence++ {
				command := update(sequence, max(sequence, 21)-20)
				if sequence%3 == 0 {
					command = readOf(sequence, sequence-1)
					command.FirstUnanswered = max(sequence, 21) - 20
				}
				n.send(command, 1, 2)
				n.run(10 * time.Millisecond)
			}
			n.run(5 * time.Second)
			for _, id := range n.ids {
				if size := held(n.machines[id]); !n.dead[id] && size > 350 {
					t.Errorf("process %v holds %d entries after 3000 commands", id, size)
				}
				if records := len(n.disks[id].durable); records > 1500 {
					t.Errorf("the disk of process %v holds %d records", id, records)
				}
			}
			n.boot(victim)
			n.run(20 * time.Second)
			n.agree()
		})
	}
}
