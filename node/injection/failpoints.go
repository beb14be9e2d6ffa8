package injection

import (
	"slices"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// Failpoints are places where a driver crashes or stalls. Each is reached once.
type Failpoints struct {
	points []failpoint
}

type failpoint struct {
	control.Failpoint
	matches int
	reached bool
}

// NewFailpoints makes failpoints of which none has been reached.
func NewFailpoints(points []control.Failpoint) *Failpoints {
	f := &Failpoints{}
	f.Set(points)
	return f
}

// Set puts failpoints in the place of those before.
func (f *Failpoints) Set(points []control.Failpoint) {
	f.points = succeed(f.points, points,
		func(old *failpoint, point control.Failpoint) bool { return old.Failpoint == point },
		func(point control.Failpoint) failpoint { return failpoint{Failpoint: point} })
}

// Watches tells whether At is worth asking about a place.
func (f *Failpoints) Watches(place string) bool {
	return f != nil && slices.ContainsFunc(f.points, func(p failpoint) bool { return p.Place == place && !p.reached })
}

// At counts what has come to a place: a record or a message by its label and, of a
// message, its receiver's name; a command that is applied by its slot. It returns the
// failpoint that is reached now, if one is. Where several would be at once, the first one
// counts, and the others are reached with the next match.
func (f *Failpoints) At(place string, label consensus.Label, to string) (reached control.Failpoint, hit bool) {
	if f == nil {
		return reached, false
	}
	for i := range f.points {
		p := &f.points[i]
		if p.reached || p.Place != place || !p.matchesLabel(label, to) {
			continue
		}
		p.matches++
		if !hit && p.matches >= max(p.Count, 1) {
			p.reached, hit = true, true
			reached = p.Failpoint
		}
	}
	return reached, hit
}

// matchesLabel knows that applied commands have a slot only.
func (p *failpoint) matchesLabel(label consensus.Label, to string) bool {
	if p.Slot != 0 && p.Slot != label.Slot {
		return false
	}
	if p.Place == control.BeforeApply || p.Place == control.AfterApply {
		return true
	}
	return (p.Kind == "" || p.Kind == label.Kind) && (p.Round == 0 || p.Round == label.Round) && (p.To == "" || p.To == to)
}

// Has tells whether there is a failpoint of that ID, reached or not: whoever stalls at it
// goes on once there isn't.
func (f *Failpoints) Has(id string) bool {
	return f != nil && slices.ContainsFunc(f.points, func(p failpoint) bool { return p.ID == id })
}

// Matches is how often the failpoint of that ID was matched.
func (f *Failpoints) Matches(id string) int {
	if f == nil {
		return 0
	}
	for i := range f.points {
		if f.points[i].ID == id {
			return f.points[i].matches
		}
	}
	return 0
}
