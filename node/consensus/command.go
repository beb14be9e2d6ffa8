package consensus

// ClientID identifies a client of the replicated service. Its upper half is
// the process that the client lives in, so that whoever applies a command knows
// where to send the result; its lower half tells clients of one process apart.
type ClientID uint64

// NewClientID names the index-th client of a process.
func NewClientID(node NodeID, index uint32) ClientID {
	return ClientID(uint64(node)<<32 | uint64(index))
}

// Node is the process that the client lives in.
func (c ClientID) Node() NodeID { return NodeID(c >> 32) }

// Command is what a client wants done: the triple (kappa, cid, op) of the
// dissertation, section 2.1.5.
type Command struct {
	// Client and Sequence identify the command; a client numbers its commands
	// from 1.
	Client   ClientID
	Sequence uint64
	// FirstUnanswered is the lowest sequence number whose answer the client
	// still awaited when it issued this command. Results below it may be
	// forgotten, and commands below it are never applied any more.
	FirstUnanswered uint64
	// Operation is the application's encoding of what to do. It is never
	// modified.
	Operation []byte
}

// Same tells whether both are the same command of the same client.
func (c Command) Same(other Command) bool {
	return c.Client == other.Client && c.Sequence == other.Sequence
}

// Request asks a replica to have a command decided and applied. Whatever the
// protocol, clients send it and drivers turn it into an InputCommand.
type Request struct {
	Command Command
}

// Label names the message.
func (Request) Label() Label { return Label{Kind: "request"} }

// Response gives a client the result of a command that has been applied.
type Response struct {
	Client   ClientID
	Sequence uint64
	// Slot is where the command was applied first.
	Slot   uint64
	Result []byte
}

// Label names the message.
func (r Response) Label() Label { return Label{Kind: "response", Slot: r.Slot} }
