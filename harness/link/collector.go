//go:build linux

package link

import (
	"runtime"
	"runtime/metrics"
)

// garbageBytes is how much may be allocated between two collections: at a hundred
// changes a second, one comes in some ten seconds.
const garbageBytes = 32 << 20

// collector keeps the memory of an emulator flat, whose garbage collector is off,
// however many commands it is given.
type collector struct {
	sample [1]metrics.Sample
	// collected is what had been allocated at the latest collection.
	collected uint64
}

func newCollector() *collector {
	c := &collector{}
	c.sample[0].Name = "/gc/heap/allocs:bytes"
	c.collected = c.allocated()
	return c
}

func (c *collector) allocated() uint64 {
	metrics.Read(c.sample[:])
	return c.sample[0].Value.Uint64()
}

// collect has garbage collected if there may be much. Little lives, and what holds
// frames isn't looked into, so that takes a processor for a millisecond or so; the next
// command doesn't wait for it.
func (c *collector) collect() {
	if now := c.allocated(); now-c.collected >= garbageBytes {
		c.collected = now
		go runtime.GC()
	}
}
