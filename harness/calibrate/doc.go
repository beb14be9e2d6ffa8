// Package calibrate measures the links of a lab against their declaration, each
// direction of each link by itself: it has frames sent from the one end to the other,
// stamped at both, and judges the delays, losses, duplicates, overtakings, rates and
// queues against what the pure link model does with the very same frames.
//
// It promises that a link that is as declared fails with a small probability that is
// set for all of a lab's links together, and that what couldn't be tested is said not to
// have been. The judgements are pure functions of what was sent and what came.
package calibrate
