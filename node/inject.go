package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/node/storage"
)

// publishTimeout bounds how long a node that is to crash, stall or end waits for the
// controller to be told why.
const publishTimeout = 200 * time.Millisecond

// loadInjection reads what goes wrong from the start. No path is nothing.
func loadInjection(path string) (initially control.Initially, err error) {
	if path == "" {
		return initially, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return initially, fmt.Errorf("reading the injection: %w", err)
	}
	if initially, err = parseInjection(data); err != nil {
		return initially, fmt.Errorf("%s: %w", path, err)
	}
	return initially, nil
}

// parseInjection checks the contents of an injection file. The error wraps
// control.ErrInjection.
func parseInjection(data []byte) (initially control.Initially, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&initially); err != nil {
		return initially, fmt.Errorf("%w: %w", control.ErrInjection, err)
	}
	if decoder.More() {
		return initially, fmt.Errorf("%w: something follows the object", control.ErrInjection)
	}
	return initially, initially.Check()
}

// diskFaults are those of an injection.
func diskFaults(injection control.Injection) storage.Faults {
	return storage.Faults{
		SyncDelay: time.Duration(injection.SyncDelayNS), FailWrites: injection.FailWrites, FullDisk: injection.FullDisk,
	}
}

// inject is done once the injection is in force.
func (n *node) inject(injection control.Injection) error {
	if n.driver == nil {
		if reflect.ValueOf(injection).IsZero() {
			return nil
		}
		return fmt.Errorf("%s runs no machine that something could be injected into", n.self.Name)
	}
	n.disk.Set(diskFaults(injection))
	n.driver.Inject(injection)
	return nil
}

func (n *node) subscribe(subscriptions []control.Subscription) error {
	if n.driver == nil {
		if len(subscriptions) == 0 {
			return nil
		}
		return fmt.Errorf("%s runs no machine whose events could be subscribed to", n.self.Name)
	}
	n.driver.Subscribe(subscriptions)
	return nil
}

// standing asks the machine too, if there is one.
func (n *node) standing() *control.Standing {
	var standing control.Standing
	if n.driver != nil {
		standing = n.driver.Standing()
	}
	return n.complete(standing)
}

// complete adds what isn't the machine's.
func (n *node) complete(standing control.Standing) *control.Standing {
	if standing.ClockNS == 0 {
		standing.ClockNS = int64(clock.Now())
		standing.MachineNS = standing.ClockNS
	}
	connections, disk := n.transport.Counts(), n.disk.Counts()
	standing.Connected, standing.Peers = connections.Connected, connections.Peers
	standing.Injected.SlowSyncs, standing.Injected.LeastSyncNS = disk.SlowSyncs, int64(disk.LeastSync)
	standing.Injected.RefusedBytes = disk.RefusedBytes
	return &standing
}

// reportFailure tells the controller why the node ends. The machine isn't asked: it may be
// what doesn't answer.
func (n *node) reportFailure(err error) {
	n.publish(control.Line{
		Type: control.TypeEvent, Event: control.EventFailed, Error: err.Error(), Standing: n.complete(control.Standing{}),
	}, "the node ends")
}

// trace reports what was subscribed to.
func (n *node) trace(trace control.Trace) {
	n.channel.Send(control.Line{Type: control.TypeEvent, Event: control.EventTrace, Trace: &trace})
}

// reach tells of a failpoint that the driver has come to, and crashes there if it is to.
func (n *node) reach(failpoint control.Failpoint, reached control.Reached) {
	if err := n.flush(); err != nil {
		n.log.Printf("before the failpoint %s: %v", failpoint.ID, err)
	}
	n.log.Printf("reached the failpoint %s: %s at %s %s", failpoint.ID, failpoint.Action, failpoint.Place, describe(reached))
	line := control.Line{Type: control.TypeEvent, Event: control.EventFailpoint, Reached: &reached}
	n.publish(line, "the failpoint "+failpoint.ID+" was reached")
	if failpoint.Action != control.ActionCrash {
		return
	}
	if self, err := os.FindProcess(os.Getpid()); err != nil || self.Kill() != nil {
		panic(fmt.Sprintf("node: the kernel refuses to kill this process at a failpoint: %v", err))
	}
	select {} // nothing may happen until the signal has come
}

// publish sends a line that must not be dropped because others wait. It says that something
// has happened.
func (n *node) publish(line control.Line, what string) {
	if !n.channel.SendSoon(line, publishTimeout) {
		n.log.Printf("the controller doesn't know that %s", what)
	}
}

func describe(reached control.Reached) string {
	text := fmt.Sprintf("%s slot %d round %d", reached.Label.Kind, reached.Label.Slot, reached.Label.Round)
	if reached.To != "" {
		text += " to " + reached.To
	}
	return text
}

// names are those of all nodes.
func (c *Cluster) names() map[consensus.NodeID]string {
	names := map[consensus.NodeID]string{}
	for _, node := range c.Nodes {
		names[node.ID] = node.Name
	}
	return names
}
