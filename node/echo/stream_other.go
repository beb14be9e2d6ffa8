//go:build !linux

package echo

import (
	"context"
	"errors"

	"quorumlab/node/control"
)

// errNoStreams says why there are none here.
var errNoStreams = errors.New("one-way streams need the receive stamps of a Linux kernel")

// Streams are refused where there are no kernel's receive stamps.
type Streams struct{}

// NewStreams makes them.
func NewStreams(string) *Streams { return &Streams{} }

// Close does nothing.
func (*Streams) Close() {}

// Receive checks the order and refuses it.
func (*Streams) Receive(order control.Receive) (control.Receiving, error) {
	return control.Receiving{}, errors.Join(checkName(order.Stream), errNoStreams)
}

// Send checks the order and refuses it.
func (*Streams) Send(_ context.Context, order control.Send) (control.Sent, error) {
	return control.Sent{}, errors.Join(checkName(order.Stream), checkSend(order), errNoStreams)
}

// Finish refuses.
func (*Streams) Finish(context.Context, control.Finish) (control.Received, error) {
	return control.Received{}, errNoStreams
}
