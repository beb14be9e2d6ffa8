//go:build linux

package link

import (
	"fmt"
	"slices"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// SetLink changes both directions of a link in place: what is inside keeps its time,
// and stays ahead of what follows unless frames may overtake each other. A generator
// of clustered losses begins again in its good state. It returns once the change is in
// force, which is when the frames that wait for their serialisation have left the queue.
// It fails with engine.ErrUnsupported, having changed nothing, where KernelSupports would
// refuse the parameters, where the link was built with devices that can't express
// them (see BuildKernel), or where the queue needs more than 5 s to empty.
func (k *Kernel) SetLink(link string, aToB, bToA topologies.Parameters) error {
	k.lock.Lock()
	defer k.lock.Unlock()
	for i := range k.topology.Links {
		if k.topology.Links[i].Name == link {
			if err := k.setLink(i, [2]topologies.Parameters{aToB, bToA}); err != nil {
				return fmt.Errorf("changing link %s: %w", link, err)
			}
			return nil
		}
	}
	return fmt.Errorf("changing link %s: the topology has no such link", link)
}

func (k *Kernel) setLink(link int, parameters [2]topologies.Parameters) error {
	var rates, lines, waiting []kernelStage
	for i, p := range parameters {
		if err := p.Check(); err != nil {
			return err
		}
		if reason := kernelRefuses(p, k.features); reason != "" {
			return fmt.Errorf("%w: %w: %s", engine.ErrUnsupported, ErrKernelCannot, reason)
		}
		if !k.segments && !p.DelayOnly() {
			return fmt.Errorf("%w: the lab wasn't built for links that change: its hosts send several segments a frame", engine.ErrUnsupported)
		}
		rate, line, err := k.directions[2*link+i].stages(p)
		if err != nil {
			return err
		}
		rates, lines = append(rates, rate...), append(lines, line...)
		if slices.ContainsFunc(line, k.changes) {
			waiting = append(waiting, rate...)
		}
	}
	queues, err := k.queues(waiting)
	if err != nil {
		return err
	}
	if err := k.apply(rates); err != nil {
		return err
	}
	if err := k.awaitEmpty(queues); err != nil {
		return err
	}
	if err := k.apply(lines); err != nil {
		return err
	}
	return k.readBack()
}

// kernelStage is a netem to set at a device.
type kernelStage struct {
	device  int
	options netemOptions
	// works is true if it does anything to frames.
	works bool
}

// stages are the netems of a direction, at most one of its rate and one of all else,
// or an engine.ErrUnsupported.
func (d *kernelDirection) stages(p topologies.Parameters) (rate, line []kernelStage, err error) {
	switch {
	case d.rate != 0:
		rate = append(rate, kernelStage{d.rate, rateStage(p), p.RateBPS > 0})
	case p.RateBPS > 0:
		return nil, nil, fmt.Errorf("%w: rate: the lab wasn't built for links that change", engine.ErrUnsupported)
	}
	switch {
	case d.line != 0:
		options, err := lineStage(p)
		if err != nil {
			return nil, nil, err
		}
		line = append(line, kernelStage{d.line, options, lineWorks(p)})
	case lineWorks(p):
		return nil, nil, fmt.Errorf("%w: %s: the lab wasn't built for links that change", engine.ErrUnsupported, impairment(p))
	}
	return rate, line, nil
}

// changes tells whether a stage isn't yet as it shall be.
func (k *Kernel) changes(stage kernelStage) bool {
	set, exists := k.set[stage.device]
	if !exists {
		return stage.works
	}
	return stage.options.differences(set) != "" || !slices.Equal(stage.options.table, set.table)
}

// maxEmptying is how long a change waits for a queue.
const maxEmptying = 5 * time.Second

// queues tells, of the devices of rates that have a queue, how many frames they will have
// sent when those that wait now are gone. The frames that wait were to meet what the link
// did when they came, so all but the rate changes when they are gone.
func (k *Kernel) queues(rates []kernelStage) (map[int]uint32, error) {
	found, err := k.qdiscs.netems()
	if err != nil {
		return nil, err
	}
	queues := map[int]uint32{}
	for _, stage := range rates {
		netem := found[stage.device]
		if netem.waiting == 0 {
			continue
		}
		takes := float64(netem.waitingBytes) / float64(netem.options.bytesPerSecond)
		if takes > maxEmptying.Seconds() {
			return nil, fmt.Errorf("%w: %d frames wait for their serialisation, which takes another %.1f s, and would meet the new delay and losses",
				engine.ErrUnsupported, netem.waiting, takes)
		}
		queues[stage.device] = netem.sent + netem.waiting
	}
	return queues, nil
}

// awaitEmpty waits until devices have sent so many frames.
func (k *Kernel) awaitEmpty(queues map[int]uint32) error {
	for deadline := time.Now().Add(2 * maxEmptying); len(queues) > 0; time.Sleep(time.Millisecond / 2) {
		found, err := k.qdiscs.netems()
		if err != nil {
			return err
		}
		for device, sent := range queues {
			// The counter wraps around.
			if int32(found[device].sent-sent) >= 0 {
				delete(queues, device)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for the frames in the queue: they aren't gone after %v", 2*maxEmptying)
		}
	}
	return nil
}

// apply sets the netems that change.
func (k *Kernel) apply(stages []kernelStage) error {
	for _, stage := range stages {
		_, exists := k.set[stage.device]
		if !k.changes(stage) {
			continue
		}
		if err := k.qdiscs.setNetem(stage.device, stage.options, exists); err != nil {
			return err
		}
		k.set[stage.device] = stage.options
	}
	return nil
}

// readBack compares the qdiscs with what was set. The kernel doesn't tell a jitter's
// table; it takes a table together with the rest or refuses both.
func (k *Kernel) readBack() error {
	got, err := k.qdiscs.netems()
	if err != nil {
		return err
	}
	for device, want := range k.set {
		netem, ok := got[device]
		if !ok {
			return fmt.Errorf("the netem of device %d is gone", device)
		}
		if differences := want.differences(netem.options); differences != "" {
			return fmt.Errorf("the kernel took other parameters at device %d: %s", device, differences)
		}
	}
	return nil
}
