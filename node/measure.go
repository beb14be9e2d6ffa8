package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"

	"quorumlab/node/control"
	"quorumlab/node/echo"
	"quorumlab/node/ping"
)

var measureFile = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

// measure carries out an order of the controller; the rows go to a file of the
// process's folder.
func (e *echoProcess) measure(ctx context.Context, order control.Measure) (measured control.Measured, err error) {
	if e.dir == "" || !measureFile.MatchString(order.File) {
		return measured, fmt.Errorf("measuring round trips: the file is %q in the folder %q, want a name and a folder", order.File, e.dir)
	}
	file, err := os.Create(filepath.Join(e.dir, order.File))
	if err != nil {
		return measured, fmt.Errorf("measuring round trips: %w", err)
	}
	rows := bufio.NewWriter(file)
	defer func() { err = errors.Join(err, rows.Flush(), file.Close()) }()
	_, _ = rows.WriteString("peer,round,sent_ns,rtt_ns\n")
	err = ping.Measure(ctx, order, func(batch []ping.Row) error {
		for _, r := range batch {
			measured.Sent++
			if r.RTTNS > 0 {
				measured.Answered++
			}
			fmt.Fprintf(rows, "%d,%d,%d,%d\n", r.Peer, r.Round, r.SentNS, r.RTTNS)
		}
		return rows.Flush() // so that an end at any time leaves nearly all
	})
	return measured, err
}

// ServeEcho answers probes by UDP and TCP at an address, and measures for whoever asks,
// until the context ends. Ready is called once it does, with the address
// and the port that it got.
func ServeEcho(ctx context.Context, address string, ready func(address string)) error {
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("listening for probes: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 2)
	go func() { failed <- ping.Serve(ctx, listener) }()
	// The same port by both, even if the system chose it.
	go func() {
		failed <- echo.Serve(ctx, listener.Addr().String(), func() { ready(listener.Addr().String()) })
	}()
	err = <-failed
	cancel()
	return errors.Join(err, <-failed)
}
