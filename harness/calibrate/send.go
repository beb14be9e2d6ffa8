package calibrate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"quorumlab/node/control"
	"quorumlab/node/echo"
)

// send has the frames of a task sent, and reads what came of it. The clocks may be off
// against each other by uncertainty.
func (m *measurer) send(ctx context.Context, t task, try int) (r *record, uncertainty time.Duration, err error) {
	d := &m.directions[t.direction]
	sender, receiver := m.lab.Echoes[d.sender], m.lab.Echoes[d.receiver]
	if sender == nil || receiver == nil {
		return nil, 0, fmt.Errorf("no echo process on %s or %s", d.sender, d.receiver)
	}
	name := streamName(d, t, try)
	line, err := receiver.Call(ctx, control.Command{Command: control.CommandReceive, Receive: &control.Receive{Stream: name}})
	if err != nil {
		return nil, 0, err
	}
	if line.Receiving == nil {
		return nil, 0, fmt.Errorf("receive: %w", errNoAnswer)
	}
	line, err = sender.Call(ctx, control.Command{Command: control.CommandSend, Send: &control.Send{
		Stream: name, Address: net.JoinHostPort(m.addresses[d.receiver], strconv.Itoa(line.Receiving.Port)),
		Count: t.order.frames, IntervalNS: int64(t.order.interval), FrameBytes: t.order.bytes,
	}})
	if err != nil {
		return nil, 0, err
	}
	if line.Sent == nil {
		return nil, 0, fmt.Errorf("send: %w", errNoAnswer)
	}
	wait := patience(d.declared, nominal(t.order))
	finish := &control.Finish{Stream: name, Count: line.Sent.Frames, WaitNS: int64(wait)}
	if d.declared.Duplicate > 0 {
		finish.Count = 0 // the second copy of the last may be on the way yet
	}
	if line, err = receiver.Call(ctx, control.Command{Command: control.CommandFinish, Finish: finish}); err != nil {
		return nil, 0, err
	}
	if line.Received == nil {
		return nil, 0, fmt.Errorf("finish: %w", errNoAnswer)
	}
	r, uncertainty, err = m.read(ctx, d, name, wait)
	if err == nil {
		r.bytes, r.intervalNS = t.order.bytes, int64(t.order.interval)
		r.damaged, r.overflowed = line.Received.Damaged, int(line.Received.Overflowed)
	}
	return r, uncertainty, err
}

// streamName is that of the files of a task's rows.
func streamName(d *direction, t task, try int) string {
	link := strings.Map(func(r rune) rune {
		if r < 128 && (r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return '_'
	}, d.link)
	return fmt.Sprintf("%d-%.40s-%s-%d", t.direction, link, t.order.kind, try)
}

// read reads the rows of a stream, on the clock of this process.
func (m *measurer) read(ctx context.Context, d *direction, name string, wait time.Duration) (*record, time.Duration, error) {
	offsetFrom, uncertainFrom, err := m.lab.ClockOffset(ctx, d.sender)
	if err != nil {
		return nil, 0, err
	}
	offsetTo, uncertainTo, err := m.lab.ClockOffset(ctx, d.receiver)
	if err != nil {
		return nil, 0, err
	}
	sent, err := readRows(filepath.Join(m.lab.Dir, name+echo.SentSuffix), 2)
	if err != nil {
		return nil, 0, err
	}
	received, err := readRows(filepath.Join(m.lab.Dir, name+echo.ReceivedSuffix), 3)
	if err != nil {
		return nil, 0, err
	}
	r := &record{}
	number := map[int64]int{}
	for i, row := range sent {
		number[row[0]] = i
		r.sentNS = append(r.sentNS, row[1]-int64(offsetFrom))
	}
	if len(sent) > 0 {
		r.cutNS = r.sentNS[len(sent)-1] + int64(wait)
	}
	for _, row := range received {
		i, known := number[row[0]]
		if at := row[2] - int64(offsetTo); known && at <= r.cutNS {
			r.arrivals = append(r.arrivals, arrival{i, at})
		}
	}
	return r, uncertainFrom + uncertainTo, nil
}

// readRows reads a file of so many numbers a row, and removes it.
func readRows(path string, columns int) ([][3]int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rows, err := parseRows(string(data), columns)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, os.Remove(path)
}

var errRow = errors.New("not a row of a stream")

func parseRows(text string, columns int) ([][3]int64, error) {
	var rows [][3]int64
	number := 0
	for line := range strings.Lines(text) {
		number++
		var row [3]int64
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ",")
		if len(fields) != columns || !strings.HasSuffix(line, "\n") {
			return nil, fmt.Errorf("line %d: %q: %w", number, line, errRow)
		}
		for i, field := range fields {
			value, err := strconv.ParseInt(field, 10, 64)
			if err != nil || value < 0 {
				return nil, fmt.Errorf("line %d: %q: %w", number, line, errRow)
			}
			row[i] = value
		}
		rows = append(rows, row)
	}
	return rows, nil
}
