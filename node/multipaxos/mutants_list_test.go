package multipaxos

// mutant is a fault put into the source: a test of this module must see it.
type mutant struct {
	name string
	// file is relative to the package's folder.
	file  string
	edits []edit
	// packages and run say which tests are to see it; the cheapest that do.
	packages string
	run      string
}

// edit replaces a text that occurs once.
type edit struct{ before, after string }

const (
	chaosTests = "TestChaosIsSafe"
	here       = "."
)

var mutants = []mutant{
	// Acceptors.
	{"promise not persisted", "acceptor.go", []edit{{"a.counters.adoptedBallots++\n\t\tout.Persist(m)", "a.counters.adoptedBallots++"}}, here, chaosTests},
	{"acceptance not persisted", "acceptor.go", []edit{{"a.counters.accepted++\n\t\tout.Persist(m)", "a.counters.accepted++"}}, here, chaosTests},
	{"accepted value lost at restart", "recovery.go", []edit{{".recall(record)", ".accepted.forget(record.Floor)"}}, here, chaosTests},
	{"accepting below the promise", "acceptor.go", []edit{
		{"if a.ballot.Above(m.Ballot) {\n\t\treturn false\n\t}\n\ta.ballot = m.Ballot", "if m.Ballot.Above(a.ballot) {\n\t\ta.ballot = m.Ballot\n\t}"},
		{"reply.Ballot = a.ballot", "reply.Ballot = m.Ballot"},
	}, here, chaosTests},
	{"phase1b before its promise is durable", "acceptor.go", []edit{{"} // another refused leader has no use for pvalues\n\tout.SendAfterSync(", "}\n\tout.Send("}}, here, chaosTests},
	{"phase2b before its acceptance is durable", "acceptor.go", []edit{{"reply.Ballot = a.ballot\n\tout.SendAfterSync(", "reply.Ballot = a.ballot\n\tout.Send("}}, here, chaosTests},
	{"refusal of phase2a names the slot", "acceptor.go", []edit{{"reply.Slot = 0", "reply.Slot = m.Slot"}}, here, "TestARefusal|" + chaosTests},
	{"refusal of phase1a to the same leader without pvalues", "acceptor.go", []edit{{"case a.ballot.Leader == from:", "case from == 0:"}}, here, "TestARefusal"},
	{"refusal of confirm names the round", "acceptor.go", []edit{{"if a.ballot == m.Ballot { // else it may be", "if true { // else it may be"}}, here, "TestARefusal"},
	{"checkpoint forgets what was accepted", "acceptor.go", []edit{{"if m := *a.accepted.at(slot); m != nil {\n\t\t\tout.Persist(m)", "if m := *a.accepted.at(slot); m == nil {\n\t\t\tout.Persist(m)"}}, here, chaosTests},
	{"checkpoint forgets the promise", "acceptor.go", []edit{{"out.Persist(&Phase1a{Configuration: a.configuration, Ballot: a.ballot, Floor: a.accepted.first})", ""}}, here, chaosTests},
	{"recovery takes the last acceptance for the highest", "acceptor.go", []edit{{"(*entry == nil || !(*entry).Ballot.Above(m.Ballot))", "*entry == nil"}}, here, chaosTests},
	{"page of a phase1b lost", "phases.go", []edit{{"if m.Next > 0 {", "if m.Next > 1<<62 {"}}, here, "TestScenarios|TestALeaderAwaits"},
	{"acceptor that was away is mute", "acceptor.go", []edit{{"\ta.accepted.forget(m.Floor)\n\tif m.Slot >= a.accepted.first+maxSpan", "\tif m.Slot >= a.accepted.first+maxSpan"}}, here, "TestAnAcceptorThatWasAway"},

	// Leaders.
	{"ballot not persisted", "phases.go", []edit{{"\tout.Persist(message)\n", ""}}, here, chaosTests},
	{"phase1a before its ballot is durable", "phases.go", []edit{{"out.SendAfterSync(id, message)", "out.Send(id, message)"}}, here, chaosTests},
	{"checkpoint forgets the ballot", "leader.go", []edit{{"out.Persist(&Phase1a{Configuration: l.configuration.Number, Ballot: l.used})", ""}}, here, chaosTests},
	{"new leader prefers its own value", "leader.go", []edit{{"p != nil && p.stage != decided {\n\t\t\tp.stage", "p != nil && p.stage == unknown {\n\t\t\tp.stage"}}, here, chaosTests},
	{"value not of the highest ballot", "phases.go", []edit{{"!ok || pvalue.Ballot.Above(best.Ballot)", "!ok || best.Ballot.Above(pvalue.Ballot)"}}, here, "TestANewLeaderPrefers"},
	{"floor of the acceptors ignored", "leader.go", []edit{{"l.raiseFloor(s.floor)\n\tfor slot, pvalue", "for slot, pvalue"}}, here, "TestALeaderLearnsFromAcceptors"},
	{"acceptor's phase1b counted twice", "phases.go", []edit{{"if s.answers.Add(i) {", "if s.answers.Add(func() (n int) {\n\t\tfor s.answers.Has(n) {\n\t\t\tn++\n\t\t}\n\t\treturn n\n\t}()) {"}}, here, chaosTests},
	{"acceptor's phase2b counted twice", "phases.go", []edit{{"!p.answers.Add(i)", "!p.answers.Add(func() (n int) {\n\t\tfor p.answers.Has(n) {\n\t\t\tn++\n\t\t}\n\t\treturn n\n\t}())"}}, here, chaosTests},
	{"passive leader commands", "leader.go", []edit{{"if l.active {\n\t\tl.spawnCommander", "if l.scout == nil {\n\t\tl.spawnCommander"}}, here, chaosTests},
	{"pre-empted leader goes on", "phases.go", []edit{{"func (l *leader) phase2b(now consensus.Time, from consensus.NodeID, m *Phase2b, out *consensus.Outbox) {\n\tif m.Ballot.Above(l.ballot) {", "func (l *leader) phase2b(now consensus.Time, from consensus.NodeID, m *Phase2b, out *consensus.Outbox) {\n\tif m.Ballot.Above(l.ballot) && m.Slot > 0 {"}}, here, "TestScenarios"},
	{"retired too early", "leader.go", []edit{{"l.slots.first >= l.end", "l.decidedUpTo >= l.end"}}, here, chaosTests},
	{"first configuration taken up twice", "membership.go", []edit{{"next.Number == 0 || ", ""}}, here, chaosTests},

	// Quorums.
	{"majority off by one", "../quorum/quorum.go", []edit{{"n/2 + 1", "(n + 1) / 2"}}, here, chaosTests},
	{"flexible quorums with q1 + q2 = n", "../quorum/system.go", []edit{{"s); found {\n\t\treturn System{}, &DisjointError{Phase1: one, Phase2: two, Want: fmt", "s); found && phase1+phase2 < n {\n\t\treturn System{}, &DisjointError{Phase1: one, Phase2: two, Want: fmt"}}, "../quorum", "Test"},
	{"flexible quorums one short", "options.go", []edit{{"phase1 = n + 1 - phase2", "phase1 = max(n-phase2, 1)"}, {"phase2 = n + 1 - phase1", "phase2 = max(n-phase1, 1)"}}, here, chaosTests},
	{"quorums one short", "../quorum/rule.go", []edit{{"have.Len() >= h.size", "have.Len() >= max(h.size-1, 1)"}}, here, chaosTests},
	{"grid's column decides and elects", "../quorum/system.go", []edit{{"span(row*columns, 1, columns)", "span(row, columns, rows)"}}, here, chaosTests},

	// Replicas.
	{"executing past a gap", "replica.go", []edit{{
		"for s := r.slots.at(r.slotOut); s != nil && s.decision != nil; s = r.slots.at(r.slotOut) {\n\t\tr.commit(s, out)",
		"for s := r.slots.at(r.slotOut); s != nil && r.slotOut <= r.highest; s = r.slots.at(r.slotOut) {\n\t\tif s.decision == nil {\n\t\t\ts.decision = &Decision{Slot: r.slotOut}\n\t\t\tr.waiting++\n\t\t}\n\t\tr.commit(s, out)",
	}}, here, chaosTests},
	{"command chosen in two slots applied twice", "../consensus/application.go", []edit{{"if !known {", "if known = false; !known {"}}, here, chaosTests},
	{"displaced command forgotten", "replica.go", []edit{{"if command.Client != 0 && !r.decided.has(command) {", "if command.Client == 0 {"}}, here, chaosTests},
	{"progress reported before it is durable", "replica.go", []edit{{"out.SendAfterSync(id, message)", "out.Send(id, message)"}}, here, chaosTests},
	{"snapshot installed over newer state", "catchup.go", []edit{{"if m.Slot < r.slotOut {\n\t\treturn", "if m.Slot < 1 {\n\t\treturn"}}, here, chaosTests},
	{"read waits for the next decision after a snapshot", "catchup.go", []edit{{"r.report(out)\n\tr.answerReads(now, out)\n", "r.report(out)\n"}}, here, "TestAReadIsAnsweredOnceASnapshot"},

	// Configurations.
	{"WINDOW violated by a reconfiguration", "membership.go", []edit{{"slot+r.options.Window)", "slot+1)"}}, here, chaosTests},
	{"proposals beyond WINDOW", "replica.go", []edit{{"r.slotIn >= r.slotOut+r.options.Window:", "r.slotIn >= r.slotOut+2*r.options.Window:"}}, here, chaosTests},
	{"reconfiguration applied twice", "configuration.go", []edit{{"json.Unmarshal(operation, &next) != nil || next.Number != c.Number+1 {\n\t\treturn c, false\n\t}", "json.Unmarshal(operation, &next) != nil {\n\t\treturn c, false\n\t}\n\tnext.Number = c.Number + 1"}}, here, chaosTests},
	{"configuration known before its change", "catchup.go", []edit{{"ok && m.Configuration.First <= slot+r.options.Window {", "ok && m.Configuration.First > 0 {"}}, here, "TestAReplicaKnowsNoConfiguration"},
	{"configuration not announced after a restart", "catchup.go", []edit{{"r.willAnnounce(r.configurations[max(i, 1)-1], c)", ""}}, here, "TestARestartedReplica"},

	// Reads.
	{"read confirmed without a quorum", "reads.go", []edit{{"i < 0 || !r.answers.Add(i) {", "i < 0 || !r.answers.Add(i) && r.answers.Has(-1) {"}}, here, chaosTests},
	{"read ignores inherited slots", "leader.go", []edit{{"p.stage, p.command = proposed, pvalue.Command\n\t\t\tl.highest = max(l.highest, slot)", "p.stage, p.command = proposed, pvalue.Command"}}, here, "TestScenarios|TestARead"},
	{"read answered before its slots", "reads.go", []edit{{"if ready.slot >= r.slotOut {", "if ready.slot >= r.slotOut+2 {"}}, here, chaosTests},
	{"read answered by an old configuration", "reads.go", []edit{{"if ready.configuration != r.latest().Number {", "if ready.configuration > r.latest().Number {"}}, here, "TestScenarios"},
}
