package faults

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"quorumlab/topologies"
)

// Selector says whom a fault hits:
//
//	SELECTOR = SET | PICK of SET | PICK
//	SET      = the name of a node | a role in the plural | leader | followers | voters |
//	           all | region(NAME)
//	PICK     = random(K) | minority | majority
//
// A minority or majority without a set is one of the voters, random(K) without a set is
// of all. docs/faults.md says what each means.
type Selector struct {
	// Pick is empty, PickRandom, PickMinority or PickMajority; Count is PickRandom's K.
	Pick  string
	Count int
	// Set is the name of a node, a role in the plural, one of the Set constants, or
	// SetRegion with Region.
	Set    string
	Region string
}

// The words of selectors.
const (
	PickRandom   = "random"
	PickMinority = "minority"
	PickMajority = "majority"

	SetLeader    = "leader"
	SetFollowers = "followers"
	SetVoters    = "voters"
	SetAll       = "all"
	SetRegion    = "region"
)

// wantSelector says what a selector is, for those who wrote none.
const wantSelector = "a node, a role in the plural, leader, followers, voters, all or region(NAME), or of these random(K), minority or majority, as in random(2) of acceptors"

// ErrSelector is what all errors of ParseSelector are.
var ErrSelector = errors.New("no selector")

// ParseSelector reads a selector. Whether there are such nodes it can't know.
func ParseSelector(text string) (Selector, error) {
	refuse := func() (Selector, error) {
		return Selector{}, fmt.Errorf("%w: %q: want %s", ErrSelector, text, wantSelector)
	}
	var selector Selector
	words := strings.Fields(text)
	switch {
	case len(words) == 1 && selector.readPick(words[0]):
		selector.Set = SetVoters
		if selector.Pick == PickRandom {
			selector.Set = SetAll
		}
		return selector, nil
	case len(words) == 1 && selector.readSet(words[0]):
		return selector, nil
	case len(words) == 3 && words[1] == "of" && selector.readPick(words[0]) && selector.readSet(words[2]):
		return selector, nil
	}
	return refuse()
}

func (s *Selector) readPick(word string) bool {
	if word == PickMinority || word == PickMajority {
		s.Pick = word
		return true
	}
	digits, ok := argument(word, PickRandom)
	if !ok || len(digits) > 9 || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	count, err := strconv.Atoi(digits)
	if err != nil || count < 1 {
		return false
	}
	s.Pick, s.Count = PickRandom, count
	return true
}

func (s *Selector) readSet(word string) bool {
	if region, ok := argument(word, SetRegion); ok {
		s.Set, s.Region = SetRegion, region
		return topologies.CheckName("region", region) == nil
	}
	if word == PickRandom || word == PickMinority || word == PickMajority || word == SetRegion {
		return false
	}
	s.Set = word
	return topologies.CheckName("node", word) == nil
}

// argument is what stands in the brackets of word(argument).
func argument(text, word string) (string, bool) {
	inside, opened := strings.CutPrefix(text, word+"(")
	inside, closed := strings.CutSuffix(inside, ")")
	return inside, opened && closed
}

// String writes the selector as ParseSelector reads it.
func (s Selector) String() string {
	set := s.Set
	if set == SetRegion {
		set = fmt.Sprintf("%s(%s)", SetRegion, s.Region)
	}
	switch s.Pick {
	case "":
		return set
	case PickRandom:
		return fmt.Sprintf("%s(%d) of %s", PickRandom, s.Count, set)
	}
	return s.Pick + " of " + set
}

// mustSelectors parses what Check has let through.
func mustSelectors(texts []string) []Selector {
	var selectors []Selector
	for _, text := range texts {
		selector, err := ParseSelector(text)
		if err != nil {
			panic("faults: a selector that Check should have refused: " + err.Error())
		}
		selectors = append(selectors, selector)
	}
	return selectors
}
