package ping

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"quorumlab/node/control"
)

// A TCP connection to a server begins with a line: "echo BYTES", and each BYTES come
// back; or "measure" and an order in JSON, and rows come back as "row PEER ROUND
// SENT_NS RTT_NS", at last "done" or "error TEXT". Closing the connection ends what was
// ordered.
const (
	wordEcho    = "echo"
	wordMeasure = "measure"
	wordRow     = "row"
	wordDone    = "done"
	wordError   = "error"

	// An order has up to MaxPeers names and addresses.
	maxLineBytes = 1 << 20
	// helloTimeout is how long a connection may take to say what it wants.
	helloTimeout = 10 * time.Second
	// maxOrders bounds the orders that are carried out at once, maxConnections all that
	// is served.
	maxOrders      = 16
	maxConnections = 4096
	// takeTimeout is how long who ordered may take over a batch of rows.
	takeTimeout = 30 * time.Second
)

// Serve answers TCP probes, and measures for whoever asks, until the context ends, at
// a listener that it closes. Whoever reaches the listener can have this machine send at
// most 10,000 probes a second an order to addresses of their choice: it is meant for
// networks whose users are trusted.
func Serve(ctx context.Context, listener net.Listener) error {
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	s := &server{orders: make(chan struct{}, maxOrders), connections: make(chan struct{}, maxConnections)}
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("answering probes: %w", err)
		}
		if err != nil { // such as too many open files
			time.Sleep(10 * time.Millisecond)
			continue
		}
		select {
		case s.connections <- struct{}{}:
			serving.Go(func() {
				defer func() { <-s.connections }()
				s.serve(ctx, conn)
			})
		default:
			conn.Close()
		}
	}
}

type server struct{ orders, connections chan struct{} }

func (s *server) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_ = conn.SetReadDeadline(time.Now().Add(helloTimeout))
	reader := bufio.NewReaderSize(conn, 1<<12)
	line, err := readLine(reader)
	if err != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case wordEcho:
		if bytes, err := strconv.Atoi(rest); err == nil && bytes >= HeaderBytes && bytes <= MaxBytes {
			echoTCP(conn, reader, bytes)
			return
		}
		fmt.Fprintf(conn, "%s %s wants %d to %d bytes\n", wordError, wordEcho, HeaderBytes, MaxBytes)
	case wordMeasure:
		s.measure(ctx, conn, reader, rest)
	default:
		fmt.Fprintf(conn, "%s want %s or %s\n", wordError, wordEcho, wordMeasure)
	}
}

// readLine reads a line of bounded length.
func readLine(reader *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := reader.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return strings.TrimSpace(string(line)), nil
		}
		if err != bufio.ErrBufferFull || len(line) > maxLineBytes {
			return "", fmt.Errorf("reading a line: %w", err)
		}
	}
}

// echoTCP returns probe after probe.
func echoTCP(conn net.Conn, reader io.Reader, bytes int) {
	packet := make([]byte, bytes)
	for {
		if _, err := io.ReadFull(reader, packet); err != nil {
			return
		}
		if _, err := conn.Write(packet); err != nil {
			return
		}
	}
}

// measure carries out an order; the end of the connection ends it.
func (s *server) measure(ctx context.Context, conn net.Conn, reader io.Reader, text string) {
	var order control.Measure
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		fmt.Fprintf(conn, "%s the order is no JSON: %v\n", wordError, err)
		return
	}
	select {
	case s.orders <- struct{}{}:
		defer func() { <-s.orders }()
	default:
		fmt.Fprintf(conn, "%s %d orders are being carried out; try again later\n", wordError, maxOrders)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, reader)
		cancel()
	}()
	err := Measure(ctx, order, func(rows []Row) error { return writeRows(conn, rows) })
	if err != nil {
		fmt.Fprintf(conn, "%s %s\n", wordError, strings.ReplaceAll(err.Error(), "\n", " "))
	} else {
		fmt.Fprintln(conn, wordDone)
	}
}

// writeRows sends rows to whoever ordered them; who doesn't take them is let go.
func writeRows(conn net.Conn, rows []Row) error {
	_ = conn.SetWriteDeadline(time.Now().Add(takeTimeout))
	out := bufio.NewWriter(conn)
	for _, r := range rows {
		fmt.Fprintf(out, "%s %d %d %d %d\n", wordRow, r.Peer, r.Round, r.SentNS, r.RTTNS)
	}
	return out.Flush()
}

// ErrRefused is what a server answers that can't carry out an order.
var ErrRefused = errors.New("the order was refused")

// Ask has the server at an address carry out an order, and hands out its rows one by
// one. Names in the order's addresses are resolved there.
func Ask(ctx context.Context, address string, order control.Measure, row func(Row) error) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("asking %s to measure: %w", address, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	text, err := json.Marshal(order)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "%s %s\n", wordMeasure, text); err != nil && ctx.Err() == nil {
		return fmt.Errorf("asking %s to measure: %w", address, err)
	}
	reader := bufio.NewReader(conn)
	for {
		line, err := readLine(reader)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("awaiting round trips from %s: %w", address, err)
		}
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case wordRow:
			var r Row
			if _, err := fmt.Sscan(rest, &r.Peer, &r.Round, &r.SentNS, &r.RTTNS); err != nil || r.Peer < 0 || r.Peer >= len(order.Peers) {
				return fmt.Errorf("awaiting round trips from %s: it sent %q", address, line)
			}
			if err := row(r); err != nil {
				return err
			}
		case wordDone:
			return nil
		case wordError:
			return fmt.Errorf("%s: %w: %s", address, ErrRefused, rest)
		default:
			return fmt.Errorf("awaiting round trips from %s: it sent %q, is it a bench-node echo?", address, line)
		}
	}
}
