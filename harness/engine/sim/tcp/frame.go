package tcp

// Frame is an Ethernet frame with a TCP segment. It may be copied, kept,
// duplicated and compared; what is in it besides the exported fields is for
// Receive.
type Frame struct {
	// ToReceiver tells where the frame goes: to the receiver of the messages, or
	// back to their sender.
	ToReceiver bool
	// Bytes is the frame's size, Ethernet header included, checksum not.
	Bytes int

	kind   kind
	push   bool
	blocks uint8
	// duplicate is set if the first block is a D-SACK (RFC 2883).
	duplicate bool
	stream    uint32
	// seq and end are the bytes carried, ack what is acknowledged; all count
	// from the connection's first.
	seq, end, ack int64
	// stampMS and echoMS are the timestamps option (RFC 7323).
	stampMS, echoMS int64
	sack            [maxBlocks]block
}

// kind is what a frame's TCP header says.
type kind uint8

const (
	kindData kind = iota
	kindAck
	kindSYN
	kindSYNACK
	kindFIN
	kindRST
)

// Sizes of frames, in bytes: Ethernet, IPv4, TCP and its options.
const (
	headerBytes   = 14 + 20 + 20
	stampBytes    = 12
	dataBytes     = headerBytes + stampBytes // and the payload
	synBytes      = headerBytes + 20
	sackBytes     = 4 // and blockBytes for each block
	blockBytes    = 8
	nanosecondsMS = 1_000_000
	maxBlocks     = 3 // beside timestamps
)

// block is a range of bytes.
type block struct{ start, end int64 }

// Output collects what comes of a call. Calls append to it; the caller empties
// it, and may keep its buffers.
type Output struct {
	// Frames go onto the network now, in this order.
	Frames []Frame
	// Delivered are the messages that the receiver's process now has whole, in
	// the order of sending.
	Delivered []uint64
	// Dropped counts messages that will never be delivered: those from full
	// queues, of dead processes, or lost with a connection.
	Dropped int
}

// Reset empties an output and keeps its buffers.
func (o *Output) Reset() {
	o.Frames, o.Delivered, o.Dropped = o.Frames[:0], o.Delivered[:0], 0
}
