package multipaxos

import (
	"fmt"
	"strings"

	"quorumlab/node/consensus"
)

// describe is how a message reads in a trace: its name in the papers and what
// it is about.
func describe(message consensus.Message) string {
	switch m := message.(type) {
	case *Propose:
		return fmt.Sprintf("propose(%d, %s)", m.Slot, describeCommand(m.Command)) + in(m.Configuration)
	case *Decision:
		return fmt.Sprintf("decision(%d, %s)", m.Slot, describeCommand(m.Command))
	case *Progress:
		return fmt.Sprintf("progress(slot_out %d)", m.SlotOut)
	case *Phase1a:
		text := fmt.Sprintf("phase1a(%v)", m.Ballot)
		if m.From > m.Floor {
			text += fmt.Sprintf(" from slot %d", m.From)
		}
		return text + above(m.Floor) + in(m.Configuration)
	case *Phase1b:
		return describePhase1b(m)
	case *Phase2a:
		return fmt.Sprintf("phase2a(%v, %d, %s)", m.Ballot, m.Slot, describeCommand(m.Command)) + above(m.Floor) + in(m.Configuration)
	case *Phase2b:
		if m.Slot == 0 {
			return fmt.Sprintf("phase2b(%v, refused)", m.Ballot) + in(m.Configuration)
		}
		return fmt.Sprintf("phase2b(%v, %d)", m.Ballot, m.Slot) + in(m.Configuration)
	case *Pong:
		if m.Stalled {
			return fmt.Sprintf("pong(%v, stalled)", m.Ballot) + in(m.Configuration)
		}
		return fmt.Sprintf("pong(%v)", m.Ballot) + in(m.Configuration)
	case *Ping:
		return "ping" + in(m.Configuration)
	}
	return describeOther(message)
}

func describeOther(message consensus.Message) string {
	switch m := message.(type) {
	case *Configure:
		return "configure" + describeConfiguration(m.Configuration)
	case *Configured:
		return fmt.Sprintf("configured(%d)", m.Number)
	case *Retire:
		return fmt.Sprintf("retire(%d)", m.Configuration)
	case *Behind:
		return fmt.Sprintf("behind(floor %d)", m.Floor)
	case *Fetch:
		return fmt.Sprintf("fetch(slot_out %d)", m.SlotOut)
	case *ReadRequest:
		return "read_request" + in(m.Configuration)
	case *Confirm:
		return fmt.Sprintf("confirm(%v, round %d)", m.Ballot, m.Round) + in(m.Configuration)
	case *Confirmed:
		if m.Round == 0 {
			return fmt.Sprintf("confirmed(%v, refused)", m.Ballot) + in(m.Configuration)
		}
		return fmt.Sprintf("confirmed(%v, round %d)", m.Ballot, m.Round) + in(m.Configuration)
	case *ReadReady:
		return fmt.Sprintf("read_ready(slot %d)", m.Slot) + in(m.Configuration)
	case *consensus.Snapshot:
		text := fmt.Sprintf("snapshot(slot %d)", m.Slot)
		for _, with := range m.With {
			text += " " + describe(with)
		}
		return text
	}
	return message.Label().Kind
}

func describePhase1b(m *Phase1b) string {
	text := fmt.Sprintf("phase1b(%v, {", m.Ballot)
	for i, p := range m.Accepted {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%v %d %s", p.Ballot, p.Slot, describeCommand(p.Command))
	}
	text += "})"
	if m.Next > 0 {
		text += fmt.Sprintf(" and more from slot %d", m.Next)
	}
	return text + above(m.Floor) + in(m.Configuration)
}

// above says from where on a message's sender remembers, unless it has forgotten
// nothing.
func above(floor uint64) string {
	if floor <= 1 {
		return ""
	}
	return fmt.Sprintf(" floor %d", floor)
}

// in says to which configuration a message belongs, unless it is the first.
func in(configuration uint64) string {
	if configuration == 0 {
		return ""
	}
	return fmt.Sprintf(" in configuration %d", configuration)
}

func describeConfiguration(c Configuration) string {
	return fmt.Sprintf("(%d from slot %d, leaders %v, acceptors %v)", c.Number, c.First, c.Leaders, c.Acceptors)
}

func describeCommand(c consensus.Command) string {
	switch {
	case c.Kind == consensus.KindBatch:
		var inner []string
		_ = c.Each(func(_ uint32, command consensus.Command) { inner = append(inner, describeCommand(command)) })
		return "[" + strings.Join(inner, " ") + "]"
	case c.Client == 0:
		return "no-op"
	case c.Kind == consensus.KindReconfigure || c.Client == administrator:
		return fmt.Sprintf("reconfigure #%d", c.Sequence)
	case c.Kind == consensus.KindRead:
		return fmt.Sprintf("read #%d", c.Sequence)
	}
	return fmt.Sprintf("#%d", c.Sequence)
}

func describeEvent(e consensus.Event) string {
	text := e.Role + " " + e.Label.Kind
	if e.Leader != 0 {
		text += fmt.Sprintf(" (%d, %v)", e.Round, e.Leader)
	} else if e.Slot != 0 {
		text += fmt.Sprintf(" to configuration %d from slot %d", e.Round, e.Slot)
	}
	return text
}
