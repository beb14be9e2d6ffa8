// Package quorum says whose answers make a quorum: of majorities, of simple
// quorums of two sizes, of grids. It promises that each quorum of phase 1 has a
// process in common with each quorum of phase 2, which is all that Paxos needs
// to be safe (Howard, Malkhi and Spiegelman, Flexible Paxos: Quorum
// Intersection Revisited, 2016), and that a process is counted once, however
// often it answers.
//
// The n processes of a system are numbered from 0 to n-1, in ascending order of
// their identifiers. What people read counts them from 1.
package quorum

// Majority is the number of processes out of n such that any two sets of that
// many have a process in common.
func Majority(n int) int { return n/2 + 1 }
