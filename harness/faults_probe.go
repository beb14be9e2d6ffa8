package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorumlab/node/control"
	"quorumlab/node/echo"
)

// probeBytes is the size of the frames that faults are proved with; those of trains that
// measure a rate are as large as frames get.
const (
	probeBytes = echo.MinFrameBytes
	trainBytes = echo.MaxFrameBytes
)

// train is what one host sends to another.
type train struct {
	from, to string
	frames   int
	interval time.Duration
	bytes    int
	// patience is how long after the last frame those that haven't come are lost.
	patience time.Duration
}

// came is what came of a train.
type came struct {
	sent int
	// delays are those of the frames that came, in the order of their sending; of two
	// copies the first counts.
	delays []time.Duration
	// doubled frames came twice, overtaking ones before one that was sent earlier.
	// damaged ones were delivered with other bytes.
	doubled, overtaking, damaged int
	// spacing is the mean time from one arrival to the next.
	spacing time.Duration
}

func (c came) lost() int { return c.sent - len(c.delays) }

// send has a train sent, one way, from host to host. Sent is called once the last frame
// has left, unless it is nil; its error counts as that of sending.
func (b *breaker) send(ctx context.Context, t train, sent func() error) (came, error) {
	sender, receiver := b.t.echoes[t.from], b.t.echoes[t.to]
	if sender == nil || receiver == nil {
		return came{}, fmt.Errorf("no echo process on %s or %s", t.from, t.to)
	}
	name := fmt.Sprintf("fault-%d", b.trains.Add(1))
	asking, cancel := answering(ctx)
	defer cancel()
	line, err := receiver.call(asking, control.Command{Command: control.CommandReceive, Receive: &control.Receive{Stream: name}})
	if err == nil && line.Receiving == nil {
		err = errors.New("receive: an answer without a port")
	}
	if err != nil {
		return came{}, err
	}
	line, err = sender.call(asking, control.Command{Command: control.CommandSend, Send: &control.Send{
		Stream: name, Address: net.JoinHostPort(b.address(t.to), strconv.Itoa(line.Receiving.Port)),
		Count: t.frames, IntervalNS: int64(t.interval), FrameBytes: t.bytes,
	}})
	if err == nil && line.Sent == nil {
		err = errors.New("send: an answer without a count")
	}
	if err == nil && sent != nil {
		err = sent()
	}
	// Whatever came of it, the receiver must not go on listening.
	finishing, cancelFinish := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancelFinish()
	received, failed := receiver.call(finishing, control.Command{Command: control.CommandFinish, Finish: &control.Finish{
		Stream: name, Count: t.frames, WaitNS: int64(t.patience),
	}})
	if failed == nil && received.Received == nil {
		failed = errors.New("finish: an answer without a count")
	}
	if err = errors.Join(err, failed); err != nil {
		return came{}, err
	}
	offset := b.offsets[t.to] - b.offsets[t.from]
	c, err := readTrain(filepath.Join(b.streams, name), offset)
	c.damaged = received.Received.Damaged
	return c, err
}

// batch is probes from one host that are sent together: each command takes its time, and
// of many pairs at once there is little.
type batch struct {
	peers []string
	done  chan struct{}
	// Valid once done is closed.
	answered map[string]int
	err      error
}

// batchTime is how long a batch waits for others to join.
const batchTime = 2 * time.Millisecond

// probe sends cutFrames probes from host to host and counts those that are answered.
func (b *breaker) probe(ctx context.Context, from, to string) (answered int, err error) {
	b.batching.Lock()
	joined := b.batches[from]
	if joined == nil {
		joined = &batch{done: make(chan struct{})}
		b.batches[from] = joined
		b.working.Go(func() {
			defer close(joined.done)
			_ = sleep(b.ctx, batchTime) // at the end of all probing says why it fails
			b.batching.Lock()
			delete(b.batches, from)
			b.batching.Unlock()
			joined.answered, joined.err = b.probeAll(b.ctx, from, joined.peers)
		})
	}
	if !slices.Contains(joined.peers, to) {
		joined.peers = append(joined.peers, to)
	}
	b.batching.Unlock()
	select {
	case <-joined.done:
		return joined.answered[to], joined.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (b *breaker) probeAll(ctx context.Context, from string, to []string) (map[string]int, error) {
	prober := b.t.echoes[from]
	if prober == nil {
		return nil, fmt.Errorf("no echo process on %s", from)
	}
	whole := &networkState{topology: b.t.network}
	order := &control.Probe{Count: cutFrames, IntervalNS: int64(frameInterval)}
	for _, host := range to {
		order.Peers = append(order.Peers, control.Peer{Name: host, Address: net.JoinHostPort(b.address(host), strconv.Itoa(echoPort))})
		there, _ := whole.stages(from, host)
		back, _ := whole.stages(host, from)
		trip, _, _ := delayOf(slices.Concat(there, back), echo.FrameBytes)
		order.TimeoutNS = max(order.TimeoutNS, int64(2*trip+lostAfter))
	}
	asking, cancel := context.WithTimeout(ctx, answerTimeout+time.Duration(order.TimeoutNS))
	defer cancel()
	line, err := prober.call(asking, control.Command{Command: control.CommandProbe, Probe: order})
	if err == nil && line.Probe == nil {
		err = errors.New("probe: an answer without round trips")
	}
	if err != nil {
		return nil, err
	}
	answered := map[string]int{}
	for host, trips := range line.Probe.RTTs {
		answered[host] = len(trips)
	}
	return answered, nil
}

// address is a host's.
func (b *breaker) address(host string) string {
	for _, h := range b.t.network.Hosts {
		if h.Name == host {
			return h.Address.String()
		}
	}
	return ""
}

// readTrain reads the rows of a train, and removes them; offset is by how much the
// receiver's clock is ahead of the sender's.
func readTrain(path string, offset time.Duration) (came, error) {
	sent, err := readTrainRows(path+echo.SentSuffix, 2)
	if err != nil {
		return came{}, err
	}
	received, err := readTrainRows(path+echo.ReceivedSuffix, 3)
	if err != nil {
		return came{}, err
	}
	slices.SortStableFunc(received, func(x, y [3]int64) int { return int(x[2] - y[2]) })
	c := came{sent: len(sent)}
	delays, highest := map[int64]time.Duration{}, int64(-1)
	for _, row := range received {
		if _, twice := delays[row[0]]; twice {
			c.doubled++
			continue
		}
		delays[row[0]] = time.Duration(row[2]-row[1]) - offset
		highest = max(highest, row[0])
	}
	overtaken := highest + 1
	for _, row := range slices.Backward(received) {
		if row[0] > overtaken {
			c.overtaking++
		}
		overtaken = min(overtaken, row[0])
	}
	for _, row := range sent {
		if delay, ok := delays[row[0]]; ok {
			c.delays = append(c.delays, delay)
		}
	}
	if n := len(received); n > 1 {
		c.spacing = time.Duration(received[n-1][2]-received[0][2]) / time.Duration(n-1)
	}
	return c, nil
}

// readTrainRows reads a file of so many numbers a row, and removes it.
func readTrainRows(path string, columns int) ([][3]int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows [][3]int64
	for text := range strings.Lines(string(data)) {
		var row [3]int64
		fields := strings.Split(strings.TrimSuffix(text, "\n"), ",")
		if len(fields) != columns {
			return nil, fmt.Errorf("%s: %q isn't a row of %d numbers", path, text, columns)
		}
		for i, field := range fields {
			if row[i], err = strconv.ParseInt(field, 10, 64); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		rows = append(rows, row)
	}
	return rows, os.Remove(path)
}
