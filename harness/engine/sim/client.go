package sim

import (
	"time"

	"quorumlab/node/client"
	"quorumlab/node/consensus"
	"quorumlab/results"
)

// load is the client of a process, at work.
type load struct {
	// machine is nil until the load begins.
	machine *client.Machine
	record  func(results.Row)
	timeout int64
	done    bool
	// stopped clients send no more; they are done once nothing that they sent
	// before is awaited.
	// expired is true once a stopped client has given up what it awaited.
	stopped, expired bool
	// reported is the number of answers that Live was told last.
	reported uint64
}

// lastLook is the timer at which a stopped client gives up its last requests.
var lastLook = timerKey{timer: consensus.Timer{Kind: 0xff}, client: true}

// noResponse answers nothing, but has a client look at its deadlines.
func noResponse(p *process) *consensus.Response {
	return &consensus.Response{Client: consensus.NewClientID(p.node.ID, 1)}
}

// stepClient has a client handle an input.
func (s *trial) stepClient(p *process, input *consensus.Input) {
	c := &p.client
	if c.machine == nil || c.done {
		return
	}
	if c.stopped && input.Kind != consensus.InputMessage {
		// Any other input would make it send. All that it sent before it was stopped
		// is given up now.
		c.expired = true
		input = &consensus.Input{Kind: consensus.InputMessage, From: p.node.ID, Message: noResponse(p)}
	}
	c.machine.Step(consensus.Time(s.now), *input, &s.out)
	s.setTimers(p, s.out.Timers, true)
	s.out.Timers = s.out.Timers[:0]
}

// lookAtClient notes whether a client has done its load.
func (s *trial) lookAtClient(p *process) {
	c := &p.client
	if c.machine == nil || c.done {
		return
	}
	if c.machine.Done() || c.expired || c.stopped && c.outstanding() == 0 {
		s.clientDone(p)
	}
}

func (c *load) outstanding() uint64 {
	counters := c.machine.Status().Counters
	return counters["client.sent"] - counters["client.answered"] - counters["client.timed_out"]
}

// clientDone counts a client that has nothing more to do.
func (s *trial) clientDone(p *process) {
	p.client.done = true
	if s.working--; s.working == 0 {
		s.endLoad()
	}
}

// stopClients ends sending: what is outstanding is still awaited.
func (s *trial) stopClients() {
	s.stopped = true
	for _, p := range s.processes {
		c := &p.client
		if c.machine == nil || c.done {
			continue
		}
		c.stopped = true
		p.timers.CancelFunc(func(key timerKey) bool { return key.client })
		p.timers.Set(lastLook, p.local(s.now).Add(time.Duration(c.timeout)))
		s.setTimer(p)
		s.lookAtClient(p)
	}
}
