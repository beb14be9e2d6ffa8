package experiment

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"quorumlab/faults"
	"quorumlab/node/control"
	"quorumlab/topologies"
)

// Schedule is what breaks, as package faults has it. The experiment must have been read by
// Load or Parse.
func (s *Spec) Schedule() []faults.Fault {
	schedule, err := s.schedule()
	if err != nil {
		panic("experiment: a fault that Load should have refused: " + err.Error())
	}
	return schedule
}

// World is what the schedule is for, on an engine, which may be empty where it isn't
// known yet; the seed is the trial's. The experiment must have been read by Load or Parse.
func (s *Spec) World(seed uint64, engine string) faults.World {
	network, arrangement, err := s.network()
	if err != nil {
		panic("experiment: a topology that Load should have refused: " + err.Error())
	}
	return s.world(network, arrangement, seed, engine)
}

func (s *Spec) world(network *topologies.Topology, a arrangement, seed uint64, engine string) faults.World {
	world := faults.World{
		Cluster: control.Cluster{
			Protocol: s.System.Protocol, Options: s.System.Options,
			Application: s.System.Application, Storage: s.System.Storage, Seed: seed,
		},
		Protocol: s.protocol(), Topology: network, Hosts: map[string]string{},
		Load: time.Duration(s.Phases.Warmup + s.Phases.Measure), Engine: engine,
	}
	for _, placement := range s.deploy(a) {
		world.Cluster.Nodes = append(world.Cluster.Nodes, placement.Node)
		world.Hosts[placement.Name] = placement.Host
	}
	return world
}

// schedule makes the entries; the error is a *problem.
func (s *Spec) schedule() ([]faults.Fault, error) {
	var schedule []faults.Fault
	for i, id := range s.faultIDs() {
		path := join(faultsKey, strconv.Itoa(i))
		f := s.Faults[i]
		link, err := s.layer(path, f.link())
		if err != nil {
			return nil, err
		}
		fault := faults.Fault{
			ID: id, Kind: f.Name, Whom: f.Whom, Parameters: f.parameters(),
			Trigger: f.trigger(), For: f.For.span(), Optional: f.Optional,
		}
		if link.link.given() {
			fault.Parameters.Link = link.degrade
		}
		if f.Change != nil {
			if fault.Change, err = json.Marshal(f.Change); err != nil {
				return nil, &problem{path: join(path, "change"), message: fmt.Sprintf("%s has no JSON: %v", join(path, "change"), err), err: err}
			}
		}
		schedule = append(schedule, fault)
	}
	return schedule, nil
}

// degrade lays what a fault says over what a link is like.
func (l layer) degrade(p topologies.Parameters) topologies.Parameters {
	p = l.over(p)
	if p.Jitter > 0 && p.JitterDistribution == "" {
		p.JitterDistribution = topologies.JitterNormal // as by default, which a link without jitter has lost
	}
	return settled(p)
}

// link is what links are like meanwhile: nothing where the keys mean something else.
func (f Fault) link() Link {
	link := f.Link
	if !f.ofLinks() {
		link.Delay = nil
		return link
	}
	if f.Rate != nil {
		if rate, err := ParseBitRate(string(*f.Rate)); err == nil {
			link.Rate = &rate
		}
	}
	return link
}

// parameters are those but Link and Change.
func (f Fault) parameters() faults.Parameters {
	p := faults.Parameters{
		Disk: f.Disk, Messages: f.Messages, From: f.From, To: f.To, Links: f.Links, Groups: f.Groups,
		Switch: f.Switch, Role: f.Role, Fault: f.Fault,
	}
	if len(f.Links) > 0 || f.takes(faults.ParameterEnds) && !f.takes(faults.ParameterFrom) {
		p.From, p.LinksFrom = nil, f.From
	}
	if f.Share != nil {
		share := float64(*f.Share)
		p.Share = &share
	}
	if !f.ofLinks() {
		if f.Link.Delay != nil {
			p.Delay = time.Duration(f.Link.Delay.Constant)
		}
		if f.Rate != nil {
			p.Rate, _ = f.Rate.clock()
		}
	}
	if f.Jump != nil {
		p.Jump = time.Duration(*f.Jump)
	}
	return p
}

// trigger is when it fires; several are left for Check to refuse.
func (f Fault) trigger() faults.Trigger {
	t := faults.Trigger{Every: or(f.Every), Times: value(f.Times), Until: or(f.Until)}
	if f.At != nil {
		at := time.Duration(*f.At)
		t.At = &at
	}
	if a := f.After; a != nil {
		t.After = &faults.After{ID: a.Fault, Healed: a.From == fromHealed, By: time.Duration(a.By)}
	}
	if o := f.On; o != nil {
		t.On = &faults.On{
			Event: o.Event, Slot: value(o.Slot), Round: value(o.Round), Nodes: o.Node,
			Count: max(1, value(o.Count)), Delay: time.Duration(o.Delay),
		}
		if o.Commits != nil {
			t.On.Event, t.On.Slot = control.TraceCommit, *o.Commits
		}
		if o.Times != nil {
			t.Times = *o.Times
		}
	}
	if p := f.Failpoint; p != nil {
		t.Failpoint = &control.Failpoint{
			Place: p.Place, Kind: p.Kind, Slot: value(p.Slot), Round: value(p.Round), To: p.To, Count: max(1, value(p.Count)),
		}
	}
	if r := f.Random; r != nil {
		t.Random = &faults.Random{Mean: time.Duration(r.Mean), From: time.Duration(r.From)}
	}
	return t
}

// span is what it says; nothing for nil.
func (s *Span) span() faults.Span {
	switch {
	case s == nil:
		return faults.Span{}
	case s.Exponential != nil:
		return faults.Span{Mean: time.Duration(*s.Exponential)}
	case len(s.Uniform) == 2:
		return faults.Span{Least: time.Duration(s.Uniform[0]), Most: time.Duration(s.Uniform[1])}
	}
	return faults.Span{Least: time.Duration(s.Fixed), Most: time.Duration(s.Fixed)}
}

// value is what was said, or zero.
func value[T any](said *T) (v T) {
	if said != nil {
		v = *said
	}
	return v
}

func or(d *Duration) time.Duration { return time.Duration(value(d)) }
