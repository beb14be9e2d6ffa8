package harness

import (
	"fmt"
	"sync"
	"time"

	"quorumlab/harness/access"
	"quorumlab/harness/engine"
	"quorumlab/results"
	"quorumlab/topologies"
	"quorumlab/topologies/draw"
)

// door is how others get into a trial's lab, and remembers who did. Its zero value is
// closed.
type door struct {
	stop func()

	mutex sync.Mutex
	uses  []string
}

// openDoor lets others into the trial's lab. Where that can't be, the trial goes on
// without: nobody can disturb it then.
func (t *labTrial) openDoor() {
	name := fmt.Sprintf("%s.trial%d", t.spec.Name, t.planned.Trial)
	description := describeLab(name, t.lab, t.topology, t.hosts)
	description.Measured = true
	stop, err := access.Serve(t.lab, description, t.door.used)
	if err != nil {
		fmt.Fprintln(t.labLog, "bench:", err)
		return
	}
	t.door.stop = stop
}

// closeDoor shows everybody out. It may be called twice, and if the door never opened.
func (t *labTrial) closeDoor() {
	if t.door.stop != nil {
		t.door.stop()
	}
}

func (d *door) used(what string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.uses = append(d.uses, what)
}

// judge voids a trial in whose lab somebody has been.
func (d *door) judge() []results.VoidReason {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if len(d.uses) == 0 {
		return nil
	}
	text := d.uses[0]
	if more := len(d.uses) - 1; more > 0 {
		text += fmt.Sprintf(" (and %s)", count(more, "more visit"))
	}
	return []results.VoidReason{{Code: voidExec, Mend: mendLeaveAlone, Text: text + " while the trial was measured"}}
}

// describeLab says what a lab is, with the processes by their hosts' names.
func describeLab(name string, lab engine.Lab, topology *topologies.Topology, hosts map[string]string) access.Description {
	executor, _ := lab.Links()
	d := access.Description{Name: name, Since: time.Now(), Executor: executor}
	processes := processesOn(hosts)
	for _, host := range topology.Hosts {
		if !host.Monitor {
			d.Hosts = append(d.Hosts, access.Host{Name: host.Name, Address: host.Address.String(), Processes: processes[host.Name]})
		}
	}
	for _, link := range topology.Links {
		d.Links = append(d.Links, access.Link{
			Name: link.Name, A: link.A, B: link.B, AToB: draw.Describe(link.AToB), BToA: draw.Describe(link.BToA),
		})
	}
	return d
}
