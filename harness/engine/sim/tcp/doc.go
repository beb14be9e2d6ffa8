// Package tcp models how messages travel from one process to another over TCP,
// so that in the simulator too a lost frame costs what it costs over TCP. It
// follows Linux, whose rules are what a real run is subject to: Reno, SACK,
// timestamps, TCP_NODELAY, and the defaults otherwise.
//
//   - Loss is found by RACK and tail loss probes (RFC 8985), and by the
//     retransmission timeout (RFC 6298, the variance at least 200 ms, initially
//     1 s, doubled each time). Timers expire on the kernel's ticks, as its timer
//     wheel rounds them: late by up to an eighth.
//   - The congestion window is Reno's (RFC 5681) from 10 segments, with
//     proportional rate reduction (RFC 6937), restart after idle times (RFC 2861)
//     and the undoing of false alarms by timestamps, D-SACK and F-RTO (RFC 5682).
//   - The receiver acknowledges what the process reads, at once for small
//     messages, out-of-order data and every second full segment, else within
//     40 ms; with up to three SACK blocks.
//   - Connections are dialled, given up and dialled again as node/driver does.
//
// A Connection is a pure state machine in virtual time. Whoever drives it
//
//  1. puts the frames of each Output onto the network, in their order and at
//     the time of the call, and hands those that arrive to Receive;
//  2. calls Expire when the time that Deadline tells has come;
//  3. tells it when either process dies or starts.
//
// Equal calls give equal outputs. Nothing is allocated for a message once the
// buffers have grown to what is in flight.
//
// Not modelled: the compression of selective acknowledgements, which delays some by
// up to a millisecond; the kernel's cache of round trips of earlier connections,
// which only serves the first timeout of the next; and the frames that close a
// connection when all has arrived. The receive window never binds.
package tcp
