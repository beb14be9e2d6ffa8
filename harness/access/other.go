//go:build !linux

package access

import (
	"errors"
	"os"

	"quorumlab/harness/engine"
)

// errOnLinux is met everywhere: without Linux there are no labs.
var errOnLinux = errors.New("labs are of Linux only")

// Serve serves nothing: without Linux there are no labs.
func Serve(engine.Lab, Description, func(what string)) (stop func(), err error) {
	return nil, errOnLinux
}

// List finds no labs.
func List() ([]Lab, error) { return nil, errOnLinux }

// Describe fails.
func (l Lab) Describe() (Description, error) { return Description{}, errOnLinux }

// CheckLink fails.
func (l Lab) CheckLink(string) error { return errOnLinux }

// Run fails.
func (l Lab) Run(Command, <-chan os.Signal) (status int, err error) { return 0, errOnLinux }

// Capture fails.
func (l Lab) Capture(string, *os.File, func(), <-chan struct{}) error { return errOnLinux }
