package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Sizes of a reader's buffers.
const (
	bufferedBytes = 64 << 10
	// keptBytes is the largest frame buffer that is kept for the next frame.
	keptBytes = 1 << 20
)

// Reader reads frames from a connection.
type Reader struct {
	buffered *bufio.Reader
	// large holds a frame that doesn't fit the buffered reader.
	large []byte
	// consumed is how much of the buffered reader the last frame took up.
	consumed int
}

// NewReader reads frames from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{buffered: bufio.NewReaderSize(r, bufferedBytes)}
}

// Next returns the next frame. The payload is valid until the next call. At the
// end of the connection, between two frames, the error is io.EOF; otherwise it
// says what was wrong and wraps ErrBadFrame, ErrFrameTooLarge or the
// connection's own error.
func (r *Reader) Next() (Kind, []byte, error) {
	r.release()
	header, err := r.buffered.Peek(headerBytes)
	if err != nil {
		if err == io.EOF && len(header) == 0 {
			return 0, nil, io.EOF
		}
		return 0, nil, fmt.Errorf("reading a frame's header: %w", unexpected(err))
	}
	length := int(binary.BigEndian.Uint32(header))
	kind := Kind(header[4])
	switch {
	case length < 1:
		return 0, nil, fmt.Errorf("%w: length 0", ErrBadFrame)
	case length > MaxFrameBytes:
		return 0, nil, fmt.Errorf("%w: length %d, the limit is %d", ErrFrameTooLarge, length, MaxFrameBytes)
	case kind < KindHello || kind > KindSnapshot:
		return 0, nil, fmt.Errorf("%w: kind %d", ErrBadFrame, kind)
	}
	payload, err := r.payload(length - 1)
	if err != nil {
		return 0, nil, fmt.Errorf("reading a frame of %d bytes: %w", length, unexpected(err))
	}
	return kind, payload, nil
}

// Complete tells whether a whole frame has already been received, so that Next
// wouldn't wait.
func (r *Reader) Complete() bool {
	available := r.buffered.Buffered() - r.consumed
	if available < headerBytes {
		return false
	}
	header, err := r.buffered.Peek(r.consumed + 4)
	if err != nil {
		return false
	}
	return available-4 >= int(binary.BigEndian.Uint32(header[r.consumed:]))
}

// release gives up the frame returned last.
func (r *Reader) release() {
	if r.consumed > 0 {
		// What was peeked at can be discarded.
		_, _ = r.buffered.Discard(r.consumed)
		r.consumed = 0
	}
	if cap(r.large) > keptBytes {
		r.large = nil
	}
}

// payload reads the size bytes after the header: in place if they fit the
// buffered reader, else in steps that grow with what really came.
func (r *Reader) payload(size int) ([]byte, error) {
	if headerBytes+size <= bufferedBytes {
		frame, err := r.buffered.Peek(headerBytes + size)
		if err != nil {
			return nil, err
		}
		r.consumed = headerBytes + size
		return frame[headerBytes:], nil
	}
	if _, err := r.buffered.Discard(headerBytes); err != nil {
		return nil, err
	}
	r.large = r.large[:0]
	for len(r.large) < size {
		step := min(size-len(r.large), max(len(r.large), bufferedBytes))
		var room []byte
		r.large, room = extend(r.large, step)
		if _, err := io.ReadFull(r.buffered, room); err != nil {
			return nil, err
		}
	}
	return r.large, nil
}

// unexpected is for places where a connection must not end.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
