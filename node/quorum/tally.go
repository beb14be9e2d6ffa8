package quorum

// Tally gathers the answers of one round. The zero Tally is never complete.
type Tally struct {
	rule     Rule
	have     Set
	complete bool
}

// NewTally awaits a quorum of the rule.
func NewTally(rule Rule) Tally { return Tally{rule: rule} }

// Add counts a process's answer. It returns true if this answer completed the
// quorum: once at most. An index below 0 stands for a process that isn't of the
// system; it doesn't count.
func (t *Tally) Add(index int) (completed bool) {
	if index < 0 || !t.have.Add(index) || t.complete || t.rule == nil {
		return false
	}
	t.complete = t.rule.Satisfied(t.have)
	return t.complete
}

// Has tells whether the process has answered.
func (t *Tally) Has(index int) bool { return t.have.Has(index) }
