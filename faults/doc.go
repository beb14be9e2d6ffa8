// Package faults says what can break in an experiment, whom it hits, when, and for how
// long. It is pure: it decides and records; engines carry out and prove.
//
//	Fault       one entry of an experiment's schedule
//	Check       what is wrong with a schedule, as far as that is known before it runs
//	Director    one trial's schedule under way: time and what nodes report go in,
//	            Orders come out, what the orders did goes in again, Records come out
//	Order       the states that nodes, links and pairs of hosts shall be in from now on
//
// A fault is a Kind of the catalogue (Register, Lookup), which turns the nodes, links
// or hosts that it hits into Effects. Several faults may hit one thing. Its state
// is then made of all effects that are active, in the order in which they fired:
//
//   - a node that several faults have ended, paused or slowed is down while any has ended
//     it, else paused while any pauses it, else has the least of their shares;
//   - a link is down while any fault has it down; other parameters are laid over those
//     declared, later faults over earlier ones;
//   - frames between two hosts are lost while any fault cuts them, else the latest stage
//     holds;
//   - a fault of a process that is down hits nobody;
//   - all faults but a crash without a duration are healed when the load ends.
//
// A Selector says whom a fault hits; it is resolved when the fault fires. Where one fault
// hides the evidence of another, Director.Moot tells. docs/faults.md is for users.
//
// It promises that the same schedule, world and seed, with the same inputs at the
// same times, give the same orders. Times are counted from the load's beginning.
package faults
