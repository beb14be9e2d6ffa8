package tcp

import (
	"fmt"
	"time"

	"quorumlab/node/control"
)

// Config says how a process uses TCP.
type Config struct {
	// MSS is the payload of a full segment, in bytes.
	MSS int
	// UserTimeout is TCP_USER_TIMEOUT: how long retransmission goes on before a
	// connection is given up. DialTimeout bounds one attempt to connect.
	UserTimeout, DialTimeout time.Duration
	// MinRedial is the time from one attempt to connect to the next, doubled each
	// time up to MaxRedial. A connection that lived longer than StableAfter sets
	// it back.
	MinRedial, MaxRedial, StableAfter time.Duration
	// MaxQueuedMessages and MaxQueuedBytes bound what waits for a connection or
	// for its send buffer; the oldest goes first.
	MaxQueuedMessages, MaxQueuedBytes int
	// HelloBytes is the framed size of the first thing sent on a connection.
	HelloBytes int
	// Tick is the period of the kernel's timer interrupt, 1/CONFIG_HZ. Phase is
	// how long before virtual time 0 a multiple of all of its periods was; runs
	// may draw it, as the clocks of real runs aren't in phase with their load.
	Tick, Phase time.Duration
}

// Default is what node/driver does over Ethernet, on a kernel with the usual
// 250 ticks a second.
func Default() Config {
	return Config{
		MSS:               1448,
		UserTimeout:       control.MaxRoundTrip,
		DialTimeout:       3 * time.Second,
		MinRedial:         10 * time.Millisecond,
		MaxRedial:         200 * time.Millisecond,
		StableAfter:       time.Second,
		MaxQueuedMessages: 1 << 16,
		MaxQueuedBytes:    16 << 20,
		HelloBytes:        21,
		Tick:              4 * time.Millisecond,
	}
}

// check panics if a configuration makes no sense: it is the program that makes
// them, not its user.
func (c Config) check() {
	if c.MSS < 1 || c.UserTimeout <= 0 || c.DialTimeout <= 0 || c.MinRedial <= 0 || c.MaxRedial < c.MinRedial ||
		c.StableAfter < 0 || c.MaxQueuedMessages < 1 || c.MaxQueuedBytes < 1 || c.HelloBytes < 0 ||
		c.Tick < 100*time.Microsecond || c.Tick > 10*time.Millisecond || c.Phase < 0 {
		panic(fmt.Sprintf("tcp: impossible configuration %+v", c))
	}
}
