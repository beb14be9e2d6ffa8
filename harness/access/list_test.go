package access

import (
	"errors"
	"strings"
	"testing"
)

const table = `Num       RefCount Protocol Flags    Type St Inode Path
00000000fa46cc75: 00000002 00000000 00010000 0001 01 3406271 @quorumlab/1000/21459.1/quickstart
00000000fa46cc76: 00000003 00000000 00000000 0001 03 3406272 @quorumlab/1000/21459.1/quickstart
00000000fa46cc77: 00000002 00000000 00010000 0001 01 3406273 /tmp/quorumlab/1000/1.1/file
00000000fa46cc78: 00000002 00000000 00010000 0001 01 3406274 @/tmp/.X11-unix/X0
00000000fa46cc79: 00000002 00000000 00010000 0001 01 3406275
00000000fa46cc7a: 00000002 00000000 00010000 0001 01 3406276 @quorumlab/0/77.12/a.trial3
00000000fa46cc7b: 00000002 00000000 00010000 0001 01 3406277 @quorumlab/0/-77.1/bad
`

func TestOnlyListeningLabsAreFoundAmongTheSockets(t *testing.T) {
	labs := parseSockets(table)
	if len(labs) != 2 {
		t.Fatalf("labs %+v", labs)
	}
	if l := labs[0]; l.Name != "quickstart" || l.UID != 1000 || l.PID != 21459 || l.address != "quorumlab/1000/21459.1/quickstart" {
		t.Errorf("the first is %+v", l)
	}
	if l := labs[1]; l.Name != "a.trial3" || l.UID != 0 || l.PID != 77 {
		t.Errorf("the second is %+v", l)
	}
}

func TestALabIsChosenByNameOrPIDOrBecauseItIsTheOnlyOneOfTheUser(t *testing.T) {
	mine, slow, again, other := Lab{Name: "mine", UID: 5, PID: 10}, Lab{Name: "slow", UID: 5, PID: 11},
		Lab{Name: "mine", UID: 5, PID: 12}, Lab{Name: "other", UID: 6, PID: 13}
	for name, test := range map[string]struct {
		labs  []Lab
		which string
		want  int
		err   error
		says  string
	}{
		"the only one":         {[]Lab{mine}, "", 10, nil, ""},
		"the only own one":     {[]Lab{other, mine}, "", 10, nil, ""},
		"by name":              {[]Lab{mine, slow}, "slow", 11, nil, ""},
		"by pid":               {[]Lab{mine, again}, "12", 12, nil, ""},
		"another user's":       {[]Lab{other}, "other", 13, nil, ""},
		"own before another's": {[]Lab{{Name: "mine", UID: 6, PID: 14}, mine}, "mine", 10, nil, ""},
		"none":                 {nil, "", 0, ErrNoLab, "bench lab up"},
		"none of that name":    {[]Lab{mine}, "nine", 0, ErrNoLab, "mine (pid 10)"},
		"none own":             {[]Lab{other}, "", 0, ErrNoLab, "other (pid 13)"},
		"several":              {[]Lab{mine, slow}, "", 0, ErrSeveral, "mine (pid 10), slow (pid 11)"},
		"several of that name": {[]Lab{mine, again}, "mine", 0, ErrSeveral, "--lab NAME or PID"},
	} {
		got, err := choose(test.labs, test.which, 5)
		if got.PID != test.want || !errors.Is(err, test.err) || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	f.Add("quickstart", table)
	f.Add("", "a b c 10000 e f g @quorumlab/1/2.3/x")
	f.Add("ö/../@\x00 "+strings.Repeat("x", 200), "")
	f.Fuzz(func(t *testing.T, name, table string) {
		address := addressOf(1000, 42, 7, name)
		if len(address) > 107 {
			t.Errorf("%q is longer than an address may be", address)
		}
		if lab, ok := parseAddress(address); !ok || lab.UID != 1000 || lab.PID != 42 || lab.Name != plainName(name) {
			t.Errorf("%q is read as %+v, %v", address, lab, ok)
		}
		for _, lab := range parseSockets(table) {
			if again, ok := parseAddress(lab.address); !ok || again != lab {
				t.Errorf("%+v is read again as %+v", lab, again)
			}
		}
	})
}

func TestHostsAreFoundByTheirNamesAndByTheirProcesses(t *testing.T) {
	d := Description{Name: "x", Hosts: []Host{{Name: "h1", Processes: []string{"h2", "replica1"}}, {Name: "h2"}}, Links: []Link{{Name: "h1-s1"}}}
	for name, want := range map[string]string{"h1": "h1", "replica1": "h1", "h2": "h2", "h3": "", "": ""} {
		got, err := d.host(name)
		if got != want || (want == "") != errors.Is(err, ErrUnknown) {
			t.Errorf("%q is %q, %v", name, got, err)
		}
	}
	if d.link("h1-s1") != nil || !errors.Is(d.link("h1"), ErrUnknown) {
		t.Error("links:", d.link("h1-s1"), d.link("h1"))
	}
}

func TestALabsNameIsRefusedIfItCannotBeOrIsTaken(t *testing.T) {
	for _, name := range []string{"", "a/b", " a", "a ", "a\nb", ".a"} {
		if err := CheckName(name); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	labs := []Lab{{Name: "a-b", UID: 5, PID: 10}}
	if err := nameIsFree(labs, "a b", 5); !errors.Is(err, ErrName) || !strings.Contains(err.Error(), "pid 10") {
		t.Errorf("one that is taken: %v", err)
	}
	if nameIsFree(labs, "a b", 6) != nil || nameIsFree(labs, "c", 5) != nil {
		t.Error("a free name is refused")
	}
}
