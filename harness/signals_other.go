//go:build !linux

package harness

import "os"

// stopSignal and continueSignal are never sent: labs need Linux.
var (
	stopSignal     = os.Kill
	continueSignal = os.Kill
)
