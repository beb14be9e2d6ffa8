//go:build !linux

package driver

import (
	"net"
	"syscall"

	"quorumlab/node/control"
)

// socketInfo knows nothing here.
func socketInfo(*net.TCPConn) (control.Socket, bool) { return control.Socket{}, false }

// TCPSettings knows nothing here.
func TCPSettings() (congestionControl string, slowStartAfterIdle bool) { return "", false }

// unacknowledgedBytes knows nothing here.
func unacknowledgedBytes(syscall.RawConn) (bytes int, ok bool) { return 0, false }
