//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"os"

	"quorumlab/harness/engine"
	"quorumlab/harness/link"
	"quorumlab/topologies"
)

// ErrNoLink is met by calls that name a link that the lab doesn't have.
var ErrNoLink = errors.New("the lab has no such link")

func (l *lab) checkLink(name string) error {
	for _, link := range l.topology.Links {
		if link.Name == name {
			return nil
		}
	}
	return fmt.Errorf("%w: %q", ErrNoLink, name)
}

// SetLink has the change made by whoever executes the links.
func (l *lab) SetLink(ctx context.Context, name string, aToB, bToA topologies.Parameters) error {
	if err := l.checkSet(name, aToB, bToA); err != nil {
		return fmt.Errorf("changing link %s: %w", name, err)
	}
	if l.emulator == nil {
		_, err := l.init.call(ctx, request{Set: &setRequest{Link: name, AToB: aToB, BToA: bToA}})
		return err
	}
	return l.emulator.command(ctx, "changing link "+name, func(r *link.Remote) error {
		return r.SetLink(name, aToB, bToA)
	})
}

func (l *lab) checkSet(name string, directions ...topologies.Parameters) error {
	if err := l.checkLink(name); err != nil {
		return err
	}
	for _, p := range directions {
		if err := l.checkParameters(p); err != nil {
			return err
		}
	}
	return nil
}

// checkParameters tells why nothing can be changed to them.
func (l *lab) checkParameters(p topologies.Parameters) error {
	if err := p.Check(); err != nil {
		return err
	}
	// What is down treats all frames alike.
	p.Down = false
	if !l.segments && !p.DelayOnly() {
		return fmt.Errorf("%w: the lab was built for delays that change, nothing else (Blueprint.Changing)", engine.ErrUnsupported)
	}
	return nil
}

// Capture has the emulator write a link's frames to a file.
func (l *lab) Capture(ctx context.Context, name string, file *os.File) error {
	if err := l.checkCapture(name); err != nil {
		return fmt.Errorf("capturing link %s: %w", name, err)
	}
	return l.emulator.command(ctx, "capturing link "+name, func(r *link.Remote) error {
		// The emulator can't open the file by its own name, if it has one.
		handed, release, err := l.emulator.hand(file)
		if err != nil {
			return fmt.Errorf("capturing link %s: %w", name, err)
		}
		defer release()
		return r.Capture(name, handed)
	})
}

// EndCapture has the emulator complete the file.
func (l *lab) EndCapture(ctx context.Context, name string) error {
	if err := l.checkCapture(name); err != nil {
		return fmt.Errorf("ending the capture of link %s: %w", name, err)
	}
	return l.emulator.command(ctx, "ending the capture of link "+name, func(r *link.Remote) error {
		return r.EndCapture(name)
	})
}

func (l *lab) checkCapture(name string) error {
	if err := l.checkLink(name); err != nil {
		return err
	}
	if l.emulator == nil {
		return fmt.Errorf("%w: the kernel executes the links, only the emulator sees their frames (--links userspace)", engine.ErrUnsupported)
	}
	return nil
}
