package link

import "math/rand/v2"

// chain decides frame by frame whether something happens to it that happens to a share
// of all frames. With a correlation it is a Markov chain of two states, hit and missed,
// whose long-run share of hits is the probability.
type chain struct {
	// afterHit and afterMiss are the probabilities by what the frame before met, next
	// the one that holds for the next frame. The first frame has none before it.
	afterHit, afterMiss, next float64
	// drawn is true once there was a frame, hit if the last one was hit.
	drawn, hit bool
}

// with is the chain in its state, of another probability and correlation. A chain that
// hits nothing forgets its state.
func (c chain) with(probability, correlation float64) chain {
	changed := chain{
		afterHit:  probability + correlation*(1-probability),
		afterMiss: probability * (1 - correlation),
		next:      probability,
	}
	if probability > 0 && c.drawn {
		changed.drawn, changed.hit, changed.next = true, c.hit, changed.afterMiss
		if c.hit {
			changed.next = changed.afterHit
		}
	}
	return changed
}

// draw decides about the next frame.
func (c *chain) draw(random *rand.Rand) bool {
	c.drawn, c.hit = true, random.Float64() < c.next
	if c.next = c.afterMiss; c.hit {
		c.next = c.afterHit
	}
	return c.hit
}

// loses decides whether the next copy of a frame is lost.
func (m *Model) loses() bool {
	if m.parameters.Loss > 0 {
		return m.losses.draw(m.random)
	}
	g := m.parameters.GilbertElliott
	if g == nil {
		return false
	}
	loss, change := g.LossGood, g.GoodToBad
	if m.bad {
		loss, change = g.LossBad, g.BadToGood
	}
	lost := m.random.Float64() < loss
	if m.random.Float64() < change {
		m.bad = !m.bad
	}
	return lost
}
