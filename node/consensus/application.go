package consensus

import (
	"crypto/sha256"
	"encoding/binary"
)

// StateMachine is the replicated application: deterministic, so that replicas
// that apply the same operations in the same order are in the same state.
type StateMachine interface {
	// Apply carries out an operation and returns its result. An operation that
	// can't be decoded changes nothing and has a result that says so.
	Apply(operation []byte) (result []byte)
	// Query answers an operation that only reads, as Apply would. One that
	// would change the state fails and changes nothing.
	Query(operation []byte) (result []byte)
	// Hash fingerprints the state: equal states have equal hashes.
	Hash() [32]byte
	// AppendSnapshot appends the whole state to dst: equal states give equal
	// bytes.
	AppendSnapshot(dst []byte) []byte
	// Restore replaces the state by a snapshot. It fails, and leaves the state
	// alone, if the bytes are none.
	Restore(snapshot []byte) error
}

// Application applies committed commands to a StateMachine, each at most once,
// whatever the protocol. It remembers, for each client, the results of commands
// that the client may still be waiting for.
type Application struct {
	machine  StateMachine
	sessions map[ClientID]*session
	slot     uint64
	// log fingerprints all commands in their order.
	log [sha256.Size]byte
	// buffer is what chain hashes, kept for reuse.
	buffer []byte
}

// session is what is remembered of one client.
type session struct {
	// firstUnanswered is the highest that the client has declared.
	firstUnanswered uint64
	results         map[uint64]Response
}

// NewApplication starts with the machine's state and no sessions.
func NewApplication(machine StateMachine) *Application {
	return &Application{machine: machine, sessions: map[ClientID]*session{}}
}

// Apply applies the command decided for a slot, or each command of a batch,
// unless it was applied before, and calls respond with the response to give its
// client. There is none for a command that the client has declared finished: it
// was answered or given up, and applying it now could undo what came after.
// Slots must come in order, without a gap; anything else is a driver's bug and
// panics.
func (a *Application) Apply(slot uint64, command Command, respond func(Response)) {
	if slot != a.slot+1 {
		panic("consensus: application: slots applied out of order")
	}
	a.slot = slot
	a.chain(command)
	if command.Kind != KindBatch {
		a.apply(0, command, respond)
		return
	}
	// What can't be decoded of a batch is skipped by all replicas alike.
	_ = command.Each(func(index uint32, command Command) { a.apply(index, command, respond) })
}

func (a *Application) apply(index uint32, command Command, respond func(Response)) {
	if command.Client == 0 { // a no-op of the protocol itself
		return
	}
	s := a.sessions[command.Client]
	if s == nil {
		s = newSession()
		a.sessions[command.Client] = s
	}
	s.forget(command.FirstUnanswered)
	if command.Sequence < s.firstUnanswered {
		return
	}
	response, known := s.results[command.Sequence]
	if !known {
		response = Response{Client: command.Client, Sequence: command.Sequence, Slot: a.slot, Index: index}
		if command.Kind != KindReconfigure {
			response.Result = a.machine.Apply(command.Operation)
		}
		s.results[command.Sequence] = response
	}
	respond(response)
}

// Read answers a command that only reads from the present state, without a
// slot. A command that isn't of that kind fails.
func (a *Application) Read(command Command) Response {
	return Response{
		Client: command.Client, Sequence: command.Sequence, Slot: a.slot, Index: IndexRead,
		Result: a.machine.Query(command.Operation),
	}
}

func newSession() *session { return &session{firstUnanswered: 1, results: map[uint64]Response{}} }

// Answer returns the response to a command that was applied before and may
// still be awaited. Drivers look here before they hand a command to a protocol,
// so that a client that asks again is answered without a slot.
func (a *Application) Answer(command Command) (response Response, ok bool) {
	if s := a.sessions[command.Client]; s != nil {
		response, ok = s.results[command.Sequence]
	}
	return response, ok
}

// forget drops the results below a sequence number.
func (s *session) forget(firstUnanswered uint64) {
	Forget(s.results, s.firstUnanswered, firstUnanswered)
	s.firstUnanswered = max(s.firstUnanswered, firstUnanswered)
}

// chain extends the log's fingerprint by a command.
func (a *Application) chain(command Command) {
	buffer := append(a.buffer[:0], a.log[:]...)
	buffer = append(buffer, byte(command.Kind))
	buffer = binary.BigEndian.AppendUint64(buffer, uint64(command.Client))
	buffer = binary.BigEndian.AppendUint64(buffer, command.Sequence)
	buffer = append(buffer, command.Operation...)
	a.log = sha256.Sum256(buffer)
	a.buffer = buffer
}

// Slot is the highest slot applied.
func (a *Application) Slot() uint64 { return a.slot }

// Prefix fingerprints the commands applied so far, in their order: replicas at
// the same slot have the same one, or have decided different commands.
func (a *Application) Prefix() [32]byte { return a.log }

// Hash fingerprints the state and every command that led to it, in order, so
// that replicas that applied different commands differ even if the commands
// change nothing.
func (a *Application) Hash() [32]byte {
	state := a.machine.Hash()
	return sha256.Sum256(append(state[:], a.log[:]...))
}
