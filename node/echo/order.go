package echo

import (
	"fmt"
	"regexp"
	"time"

	"quorumlab/node/control"
)

// Suffixes of the files of a stream's rows.
const (
	SentSuffix     = ".sent.csv"
	ReceivedSuffix = ".received.csv"
)

// Bounds of streams.
const (
	// MinFrameBytes and MaxFrameBytes bound the size of a stream's frames on a link.
	MinFrameBytes = 64
	MaxFrameBytes = 1514
	// MaxStreamFrames bounds the frames of a stream.
	MaxStreamFrames = 1_000_000
)

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

// checkName refuses what can't be the name of a stream's files.
func checkName(stream string) error {
	if !streamName.MatchString(stream) {
		return fmt.Errorf("the stream's name is %q, want 1 to 100 letters, digits, dots, dashes, underscores", stream)
	}
	return nil
}

func checkSend(order control.Send) error {
	if order.Count < 1 || order.Count > MaxStreamFrames || order.IntervalNS < 0 || order.IntervalNS > int64(time.Hour) ||
		order.FrameBytes < MinFrameBytes || order.FrameBytes > MaxFrameBytes {
		return fmt.Errorf("send: count %d, interval_ns %d, frame_bytes %d: want a count from 1 to %d, an interval from 0 to an hour, frames of %d to %d bytes",
			order.Count, order.IntervalNS, order.FrameBytes, MaxStreamFrames, MinFrameBytes, MaxFrameBytes)
	}
	return nil
}
