//go:build linux

package passing

import (
	"slices"
	"testing"
)

func TestTextsArriveAsTheyAre(t *testing.T) {
	a, b := pair(t)
	want := []string{"", "plain", "caf\xe9 \xff\xfe", "two\nlines"}
	if err := a.Send(Texts(want)); err != nil {
		t.Fatal(err)
	}
	var got []Text
	if err := b.Receive(&got); err != nil || !slices.Equal(Strings(got), want) {
		t.Errorf("%q, %v", got, err)
	}
}
