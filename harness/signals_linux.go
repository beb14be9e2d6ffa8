package harness

import "syscall"

// stopSignal stops a process, continueSignal has it go on.
const (
	stopSignal     = syscall.SIGSTOP
	continueSignal = syscall.SIGCONT
)
