package client

import (
	"fmt"
	"time"

	"quorumlab/node/application"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

// Config is what a Machine is made of.
type Config struct {
	// Self is the process that the client lives in, Name its name.
	Self consensus.NodeID
	Name string
	// First is true for the client that creates the keys.
	First bool
	// Targets are the processes that every request is sent to.
	Targets []consensus.NodeID
	Load    control.Load
	// Record takes each request once it is answered or given up, in the order
	// in which that happens.
	Record func(results.Row)
}

// pending is a request that has been sent.
type pending struct {
	due  Due
	sent consensus.Time
	done bool
}

// Machine is a client at work. It is a consensus.Machine: what it sends are
// consensus.Requests, what it receives consensus.Responses.
type Machine struct {
	config      Config
	application application.Application
	id          consensus.ClientID
	schedule    *Schedule
	next        Due
	more        bool
	// outstanding begins with the lowest sequence number that is neither
	// answered nor given up. It is the rest of requests, whose memory is used
	// again once most of it has been answered.
	outstanding []pending
	requests    []pending
	// operations is the memory that operations are taken from.
	operations []byte
	progress   control.Progress
	// latency sums those answered since the last call of Progress.
	latency  time.Duration
	answered int64
}

var wake = consensus.Timer{Kind: 1}

// New makes a client for a load. The error is CheckLoad's.
func New(config Config) (*Machine, error) {
	schedule, err := NewSchedule(config.Load, config.Name, config.First)
	if err != nil {
		return nil, err
	}
	app, err := application.Find(config.Load.Application)
	if err != nil {
		return nil, err
	}
	m := &Machine{config: config, application: app, id: consensus.NewClientID(config.Self, 1), schedule: schedule}
	m.next, m.more = schedule.Next()
	return m, nil
}

// Step consumes one input: the start, its timer, or a response, which may be a
// pointer to one.
func (m *Machine) Step(now consensus.Time, input consensus.Input, out *consensus.Outbox) {
	if input.Kind == consensus.InputMessage {
		switch response := input.Message.(type) {
		case consensus.Response:
			m.answer(now, &response)
		case *consensus.Response: // by the simulator, which spares an allocation
			m.answer(now, response)
		}
		return
	}
	m.expire(now)
	for m.more && m.at(m.next) <= now {
		m.send(now, out)
	}
	if wait, ok := m.wait(now); ok {
		out.SetTimer(wake, wait)
	}
}

// at is when a request is due.
func (m *Machine) at(due Due) consensus.Time {
	return consensus.Time(m.config.Load.StartNS).Add(due.At)
}

// deadline is when a request is given up.
func (m *Machine) deadline(due Due) consensus.Time {
	return m.at(due).Add(time.Duration(m.config.Load.TimeoutNS))
}

func (m *Machine) send(now consensus.Time, out *consensus.Outbox) {
	due := m.next
	m.next, m.more = m.schedule.Next()
	m.await(pending{due: due, sent: now})
	command := consensus.Command{
		Client: m.id, Sequence: due.Sequence, FirstUnanswered: m.outstanding[0].due.Sequence,
		Operation: m.operation(due.Operation),
	}
	if due.Reads {
		command.Kind = consensus.KindRead
	}
	out.Broadcast(m.config.Targets, consensus.Request{Command: command})
	m.progress.Sent++
	m.progress.LateNS = max(m.progress.LateNS, int64(now.Sub(m.at(due))))
}

// operationsBytes is how much memory is taken at a time for operations.
const operationsBytes = 4 << 10

// operation encodes an operation. Many share one allocation, for it is the
// simulator's speed that allocations cost.
func (m *Machine) operation(operation application.Operation) []byte {
	const spare = 64 // more than a kind and a key take
	if needed := len(operation.Value) + spare; cap(m.operations)-len(m.operations) < needed {
		m.operations = make([]byte, 0, max(operationsBytes, needed))
	}
	start := len(m.operations)
	longer, err := m.application.AppendOperation(m.operations, operation)
	if err != nil {
		panic("client: the schedule has an operation that CheckLoad refuses: " + err.Error())
	}
	m.operations = longer
	return longer[start:len(longer):len(longer)]
}

// await adds a request to those outstanding. Those before them are overwritten
// once they take up half of the memory: each is moved once at most, on average.
func (m *Machine) await(p pending) {
	if len(m.requests) == cap(m.requests) && len(m.outstanding) <= len(m.requests)/2 {
		m.requests = append(m.requests[:0], m.outstanding...)
	}
	m.requests = append(m.requests, p)
	m.outstanding = m.requests[len(m.requests)-len(m.outstanding)-1:]
}

// answer takes a response; only the first to a request counts.
func (m *Machine) answer(now consensus.Time, response *consensus.Response) {
	if response.Client != m.id || len(m.outstanding) == 0 {
		return
	}
	if m.expire(now); len(m.outstanding) == 0 {
		return
	}
	first := m.outstanding[0].due.Sequence
	if response.Sequence < first || response.Sequence-first >= uint64(len(m.outstanding)) {
		return
	}
	p := &m.outstanding[response.Sequence-first]
	if p.done {
		return
	}
	p.done = true
	m.progress.Answered++
	m.latency += now.Sub(m.at(p.due))
	m.answered++
	row := m.row(p)
	row.DoneNS = int64(now)
	row.Slot, row.Index = response.Slot, response.Index
	row.Outcome, row.Result = m.outcome(response.Result)
	m.config.Record(row)
	m.shrink()
}

// maxGarbledRunes is how much of a result that can't be decoded is recorded.
const maxGarbledRunes = 64

// outcome is what came of an answered request. A result that can't be decoded
// must not pass as the application's Failure, which a correct system may answer:
// it is recorded as one that succeeded and returned the bytes, in quotes, which
// no history explains.
func (m *Machine) outcome(raw []byte) (outcome, value string) {
	result, err := m.application.DecodeResult(raw)
	switch {
	case err != nil:
		return results.OutcomeOK, fmt.Sprintf("%.*q", maxGarbledRunes, raw)
	case !result.OK:
		return results.OutcomeFail, ""
	}
	return results.OutcomeOK, result.Value
}

// expire gives up what has waited for too long.
func (m *Machine) expire(now consensus.Time) {
	for i := range m.outstanding {
		p := &m.outstanding[i]
		if m.deadline(p.due) > now {
			break // the others are due later
		}
		if p.done {
			continue
		}
		p.done = true
		m.progress.TimedOut++
		row := m.row(p)
		row.Outcome = results.OutcomeTimeout
		m.config.Record(row)
	}
	m.shrink()
}

// shrink forgets the requests below the lowest that is still awaited.
func (m *Machine) shrink() {
	n := 0
	for n < len(m.outstanding) && m.outstanding[n].done {
		n++
	}
	m.outstanding = m.outstanding[n:]
}

func (m *Machine) row(p *pending) results.Row {
	return results.Row{
		Client: m.config.Name, Sequence: p.due.Sequence,
		Operation: p.due.Operation.Kind, Key: p.due.Operation.Key, Value: p.due.Operation.Value,
		IntendedNS: int64(m.at(p.due)), SentNS: int64(p.sent),
	}
}

// wait is how long there is nothing to do; false once the load is done.
func (m *Machine) wait(now consensus.Time) (time.Duration, bool) {
	var until consensus.Time
	switch {
	case m.more && len(m.outstanding) > 0:
		until = min(m.at(m.next), m.deadline(m.outstanding[0].due))
	case m.more:
		until = m.at(m.next)
	case len(m.outstanding) > 0:
		until = m.deadline(m.outstanding[0].due)
	default:
		return 0, false
	}
	return max(until.Sub(now), 0), true
}

// Done tells whether every request has been sent and answered or given up.
func (m *Machine) Done() bool { return !m.more && len(m.outstanding) == 0 }

// Progress is how far the load has come; MeanLatencyNS and LateNS are over the
// time since the last call.
func (m *Machine) Progress() control.Progress {
	p := m.progress
	if m.answered > 0 {
		p.MeanLatencyNS = int64(m.latency) / m.answered
	}
	m.latency, m.answered, m.progress.LateNS = 0, 0, 0
	return p
}

// Status has nothing to say that Progress doesn't.
func (m *Machine) Status() consensus.Status {
	return consensus.Status{Counters: map[string]uint64{
		"client.sent": m.progress.Sent, "client.answered": m.progress.Answered, "client.timed_out": m.progress.TimedOut,
	}}
}
