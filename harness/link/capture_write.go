//go:build linux

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// end completes the file. The loop must have ended the capture before.
func (c *capture) end() error {
	close(c.stop)
	// A file that is no pipe knows no deadline, and needs none.
	_ = c.file.SetWriteDeadline(time.Now().Add(captureFarewell))
	<-c.done
	return c.err
}

// write writes what the loop puts into the ring until the capture ends.
func (c *capture) write() {
	defer close(c.done)
	pause := time.NewTicker(capturePause)
	defer pause.Stop()
	for stopping := false; ; {
		if pending := c.ring.next(captureWriteBytes); len(pending) > 0 {
			c.writeSome(pending)
			continue
		}
		if stopping {
			break
		}
		select {
		case <-c.stop:
			stopping = true
		case <-pause.C:
		}
	}
	if err := c.file.Close(); err != nil {
		c.fail(err)
	}
}

// writeSome writes the first bytes of what is in the ring. If the file takes no more,
// what is there is counted and forgotten.
func (c *capture) writeSome(pending []byte) {
	n := len(pending)
	if c.state.Load() == captureWrites {
		written, err := c.file.Write(pending)
		if err == nil {
			c.pass(uint64(n), false)
			c.ring.release(n)
			return
		}
		c.fail(err)
		c.pass(uint64(written), false)
		c.ring.release(written)
		n -= written
		if c.ring.read.Load() < c.blockEnd {
			c.forget() // the file has it in part
		}
	}
	c.pass(uint64(n), true)
	c.ring.release(n)
}

// fail notes why the file takes no more.
func (c *capture) fail(err error) {
	if errors.Is(err, unix.EPIPE) {
		c.state.Store(captureUnread)
		return
	}
	c.err = fmt.Errorf("writing a capture: %w", err)
	c.state.Store(captureFailed)
}

// pass goes through the blocks that begin in the next bytes, and may forget them.
func (c *capture) pass(bytes uint64, forgetting bool) {
	for until := c.ring.read.Load() + bytes; c.blockEnd < until; {
		var head [packetHeadBytes]byte
		c.ring.get(c.blockEnd, head[:])
		number := func(at int) uint32 { return binary.NativeEndian.Uint32(head[at:]) }
		c.blockPacket = number(0) == blockPacket
		if c.blockPacket {
			var flags [4]byte
			bytes := int(number(packetLengthAt))
			c.ring.get(c.blockEnd+uint64(packetHeadBytes+bytes+padding(bytes)+optionHeadBytes), flags[:])
			// What goes from A to B leaves A's interface and comes to B's.
			c.blockReverse = (number(packetInterfaceAt) == 0) == (binary.NativeEndian.Uint32(flags[:]) == flagInbound)
		}
		c.blockEnd += uint64(number(blockLengthAt))
		if forgetting {
			c.forget()
		}
	}
}

// forget counts a block that isn't in the file.
func (c *capture) forget() {
	if c.blockPacket && c.state.Load() == captureFailed {
		c.miss(c.blockReverse)
	}
}
