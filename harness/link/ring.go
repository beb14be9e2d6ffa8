//go:build linux

package link

import "sync/atomic"

// byteRing hands bytes from one goroutine to another without locks, so that neither
// ever waits for the other.
type byteRing struct {
	bytes []byte // its length is a power of two
	// written and read count bytes since the beginning.
	written, read atomic.Uint64
}

func newByteRing(size int) *byteRing { return &byteRing{bytes: make([]byte, size)} }

// free is how many bytes the writer may put.
func (r *byteRing) free() int {
	return len(r.bytes) - int(r.written.Load()-r.read.Load())
}

// put copies data to a position, which is written or after it, and returns the position
// behind. There must be room. The reader sees it once the writer has published it.
func (r *byteRing) put(position uint64, data []byte) uint64 {
	at := int(position) & (len(r.bytes) - 1)
	n := copy(r.bytes[at:], data)
	copy(r.bytes, data[n:])
	return position + uint64(len(data))
}

// publish hands all up to a position to the reader.
func (r *byteRing) publish(position uint64) { r.written.Store(position) }

// next is a piece of what was published and not released, of at most so many bytes;
// none if there is nothing.
func (r *byteRing) next(most int) []byte {
	read := r.read.Load()
	at := int(read) & (len(r.bytes) - 1)
	n := min(int(r.written.Load()-read), most, len(r.bytes)-at)
	return r.bytes[at : at+n]
}

// get copies what was published at a position and not released.
func (r *byteRing) get(position uint64, into []byte) {
	at := int(position) & (len(r.bytes) - 1)
	n := copy(into, r.bytes[at:])
	copy(into[n:], r.bytes)
}

// release gives the first bytes of what was published back to the writer.
func (r *byteRing) release(n int) { r.read.Add(uint64(n)) }
