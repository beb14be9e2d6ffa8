//go:build linux

package link

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"quorumlab/topologies"
)

const (
	// captureBytes is how much of a capture may wait for being written.
	captureBytes = 8 << 20
	// captureWriteBytes bounds one write, and so for how long it keeps a processor.
	captureWriteBytes = 128 << 10
	// capturePause is how long the writer sleeps when there is nothing to write.
	capturePause = 10 * time.Millisecond
	// captureFarewell bounds how long a pipe may take the rest at the end.
	captureFarewell = time.Second
)

// captureComment tells who opens a capture what its stamps mean.
const captureComment = "A link as quorumlab's emulator carried it: frames as they enter at one end and as they leave at the other. " +
	"Stamps are the link model's times, not those of system calls: on entry when the frame was put onto the link, " +
	"on exit when it arrives by the model. Lost frames appear where they entered only, with the cause as a comment. " +
	"Frames still on the link when the capture ended have no exit. " +
	"Each frame stands here twice: for one end only, as without retransmissions that are none, filter by frame.interface_id == 0 (or 1)."

// remark says in a capture what befell a frame.
type remark uint8

const (
	remarkNone remark = iota
	remarkLoss
	remarkQueue
	remarkDown
	remarkCorrupted
	remarkReordered
	remarkDuplicate
	remarks
)

func (r remark) String() string {
	return [remarks]string{
		"", LostByLoss.String(), LostByQueue.String(), LostByDown.String(), "corrupted", "reordered", "duplicate",
	}[r]
}

// remarkOnLoss is what a capture says of a verdict.
func remarkOnLoss(v Verdict) remark {
	return [...]remark{Delivered: remarkNone, LostByLoss: remarkLoss, LostByQueue: remarkQueue, LostByDown: remarkDown}[v]
}

// What a capture's file does.
const (
	captureWrites = iota
	// captureFailed files lack what comes, and that counts.
	captureFailed
	// captureUnread is a pipe that nobody reads any more.
	captureUnread
)

// capture writes the frames of one link to a file. Its interfaces are the link's ends,
// A first. The loop puts blocks of pcapng into the ring; a goroutine of its own writes
// them.
type capture struct {
	file *os.File
	ring *byteRing
	// offsetNS is what to add to a time of the loop for CLOCK_REALTIME. It stays, so
	// that a capture's times differ as the model's do.
	offsetNS int64
	// options are the packets' options, by flags and remark, and the end of the block.
	options [3][remarks][]byte

	// missed counts the frames that the file lacks, A to B first.
	missed [2]atomic.Uint64
	// state is set by the writer.
	state atomic.Int32
	stop  chan struct{}
	done  chan struct{}
	// err is why the file lacks something, once done is closed.
	err error

	// blockEnd is where in the ring the block ends that is being written, of the
	// direction blockReverse if it is a packet's.
	blockEnd                  uint64
	blockPacket, blockReverse bool
}

// openCapture begins to write a link's capture to a file, which must exist.
func openCapture(link topologies.Link, path string, offsetNS int64) (*capture, error) {
	// A pipe without a reader is an error rather than a reason to wait.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	c := &capture{
		file: file, ring: newByteRing(captureBytes), offsetNS: offsetNS,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	for flags := range c.options {
		for r := range remarks {
			c.options[flags][r] = packetOptions(byte(flags), r.String())
		}
	}
	header := captureHeader(captureComment, []string{link.Name + " at " + link.A, link.Name + " at " + link.B})
	c.ring.publish(c.ring.put(0, header))
	go c.write()
	return c, nil
}

// entered records a frame at the near end of its direction.
func (c *capture) entered(f *frame, reverse bool, timeNS int64, verdict Verdict) {
	near := 0
	if reverse {
		near = 1
	}
	c.record(f, near, flagOutbound, reverse, timeNS, remarkOnLoss(verdict))
}

// left records a frame at the far end of the direction that it came by.
func (c *capture) left(f *frame, timeNS int64) {
	far := 1
	if f.reverse {
		far = 0
	}
	c.record(f, far, flagInbound, f.reverse, timeNS, f.remark)
}

// record puts a frame into the ring, with its checksum.
func (c *capture) record(f *frame, interfaceNumber, flags int, reverse bool, timeNS int64, what remark) {
	options := c.options[flags][what]
	total := packetHeadBytes + f.bytes + padding(f.bytes) + len(options) + blockTrailBytes
	switch state := c.state.Load(); {
	case state == captureUnread:
		return
	case state == captureFailed, c.ring.free() < total:
		c.miss(reverse)
		return
	}
	head := packetHead(total, interfaceNumber, timeNS+c.offsetNS, f.bytes)
	data := c.ring.put(c.ring.written.Load(), head[:])
	position := data
	for from := 0; from < f.bytes; {
		part := f.part(from, f.bytes)
		position = c.ring.put(position, part)
		from += len(part)
	}
	if at, value, missing := f.checksum(); missing {
		c.ring.put(data+uint64(at), []byte{byte(value >> 8), byte(value)})
	}
	var zeros [4]byte
	position = c.ring.put(position, zeros[:padding(f.bytes)])
	position = c.ring.put(position, options)
	c.ring.publish(c.ring.put(position, head[blockLengthAt:blockLengthAt+blockTrailBytes]))
}

func (c *capture) miss(reverse bool) {
	direction := 0
	if reverse {
		direction = 1
	}
	c.missed[direction].Add(1)
}
