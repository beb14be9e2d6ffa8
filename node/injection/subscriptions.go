package injection

import (
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// MaxTracesPerSecond bounds what a subscription without a limit reports.
const MaxTracesPerSecond = 100

// Subscriptions choose what a node reports.
type Subscriptions struct {
	list       []subscription
	suppressed uint64
}

type subscription struct {
	control.Subscription
	// wanted is how many were reported: of a subscription without a limit, within the
	// second from since on.
	wanted int
	since  consensus.Time
}

// NewSubscriptions makes subscriptions that have reported nothing yet.
func NewSubscriptions(subscriptions []control.Subscription) *Subscriptions {
	s := &Subscriptions{}
	s.Set(subscriptions)
	return s
}

// Set puts subscriptions in the place of those before.
func (s *Subscriptions) Set(subscriptions []control.Subscription) {
	s.list = succeed(s.list, subscriptions,
		func(old *subscription, wanted control.Subscription) bool { return old.Subscription == wanted },
		func(wanted control.Subscription) subscription { return subscription{Subscription: wanted} })
}

// Any is false if nothing is subscribed to.
func (s *Subscriptions) Any() bool { return s != nil && len(s.list) > 0 }

// Wants decides whether to report what happens now, in real time: an event or a message
// by its label, a commit as Label{Kind: control.TraceCommit, Slot: slot}. It is to be asked once
// for each, and counts it against the limits of all subscriptions that are about it.
func (s *Subscriptions) Wants(now consensus.Time, label consensus.Label) bool {
	if s == nil {
		return false
	}
	matched, wanted := false, false
	for i := range s.list {
		if l := &s.list[i]; l.matches(label) {
			if l.Limit > 0 && l.wanted >= l.Limit {
				continue // all that it asked for was reported
			}
			matched = true
			wanted = l.count(now) || wanted
		}
	}
	if matched && !wanted {
		s.suppressed++
	}
	return wanted
}

// Suppressed counts what was wanted but came too fast, beyond MaxTracesPerSecond.
func (s *Subscriptions) Suppressed() uint64 {
	if s == nil {
		return 0
	}
	return s.suppressed
}

func (l *subscription) matches(label consensus.Label) bool {
	if l.Kind != label.Kind || l.Round != 0 && l.Round != label.Round {
		return false
	}
	return l.Slot == 0 || l.Slot == label.Slot || l.Kind == control.TraceCommit && label.Slot > l.Slot
}

// count takes one more, if there is room for it.
func (l *subscription) count(now consensus.Time) bool {
	if l.Limit == 0 {
		if now.Sub(l.since) >= time.Second {
			l.since, l.wanted = now, 0
		}
		if l.wanted >= MaxTracesPerSecond {
			return false
		}
	}
	l.wanted++
	return true
}
