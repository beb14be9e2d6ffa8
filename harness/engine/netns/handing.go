//go:build linux

package netns

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"quorumlab/harness/passing"
)

// filesDescriptor is where an emulator finds the connection by which it is handed files.
const filesDescriptor = 3

// handing is a line of that connection. The controller sends a file with Open set, and
// later a line with Close set; the emulator answers each.
type handing struct {
	Open  bool `json:"open,omitempty"`
	Close bool `json:"close,omitempty"`
	// Descriptor is the file's in the emulator.
	Descriptor int `json:"descriptor"`
}

// takeFiles lets the controller hand files to this process, which then can open them by
// name, whatever their own name is.
func takeFiles() error {
	unix.CloseOnExec(filesDescriptor)
	c, err := passing.FromFile(os.NewFile(filesDescriptor, "files"))
	if err != nil {
		return err
	}
	go func() {
		defer c.Close()
		for {
			var h handing
			if err := c.Receive(&h); err != nil {
				return // the controller is gone, and so will be this process
			}
			if h.Close {
				unix.Close(h.Descriptor)
			} else if taken, err := c.Take(1); err == nil {
				h.Descriptor = taken[0]
			} else {
				return
			}
			if err := c.Send(handing{Descriptor: h.Descriptor}); err != nil {
				return
			}
		}
	}()
	return nil
}

// hand gives the emulator a file and returns a name by which it can open it, until
// release is called. Only who has the emulator's turn may call it.
func (e *emulator) hand(file *os.File) (name string, release func(), err error) {
	answer, err := e.tell(handing{Open: true}, file)
	if err != nil {
		return "", nil, fmt.Errorf("handing %s to the link emulator: %w", file.Name(), err)
	}
	release = func() {
		// Should that fail, the emulator is gone.
		_, _ = e.tell(handing{Close: true, Descriptor: answer.Descriptor})
	}
	return fmt.Sprintf("/proc/self/fd/%d", answer.Descriptor), release, nil
}

// tell sends a line and waits for the answer, which comes at once.
func (e *emulator) tell(h handing, files ...*os.File) (handing, error) {
	if err := e.files.Send(h, files...); err != nil {
		return h, err
	}
	var answer handing
	err := e.files.Receive(&answer)
	return answer, err
}
