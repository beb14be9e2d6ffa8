package experiment

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

type scalarCase struct {
	text string
	// value is what it reads as, canonical what String makes of that.
	value     any
	canonical string
}

func TestScalarsReadWhatTheyPromise(t *testing.T) {
	for _, c := range []scalarCase{
		{"20ms", Duration(20 * time.Millisecond), "20ms"},
		{"1.5s", Duration(1500 * time.Millisecond), "1.5s"},
		{"250us", Duration(250 * time.Microsecond), "250us"},
		{"250µs", Duration(250 * time.Microsecond), "250us"},
		{"1m", Duration(time.Minute), "1m"},
		{"60s", Duration(time.Minute), "1m"},
		{"10m", Duration(10 * time.Minute), "10m"},
		{"2h", Duration(2 * time.Hour), "2h"},
		{"1h30m", Duration(90 * time.Minute), "1h30m"},
		{"3600.5s", Duration(time.Hour + 500*time.Millisecond), "1h0m0.5s"},
		{"0", Duration(0), "0s"}, {"0.0", Duration(0), "0s"}, {"0ms", Duration(0), "0s"},
		{"-20ms", Duration(-20 * time.Millisecond), "-20ms"},

		{"1ns", Nanoseconds(1), "1ns"}, {"0.5ns", Nanoseconds(0.5), "0.5ns"}, {"1.5us", Nanoseconds(1500), "1500ns"},
		{"1.5µs", Nanoseconds(1500), "1500ns"}, {"2ms", Nanoseconds(2e6), "2000000ns"}, {"1s", Nanoseconds(1e9), "1000000000ns"},
		{"0", Nanoseconds(0), "0ns"}, {"-1ns", Nanoseconds(-1), "-1ns"}, {"1e-9ns", Nanoseconds(1e-9), "1e-09ns"},

		{"20/s", Rate(20), "20/s"}, {"20", Rate(20), "20/s"}, {"1.5/s", Rate(1.5), "1.5/s"},
		{"1e4", Rate(10000), "10000/s"}, {"0", Rate(0), "0/s"}, {"-3/s", Rate(-3), "-3/s"},

		{"1gbit", BitRate(1e9), "1gbit"}, {"10mbit", BitRate(1e7), "10mbit"},
		{"64kbit", BitRate(64000), "64kbit"}, {"1.5gbit", BitRate(15e8), "1.5gbit"},
		{"1500mbit", BitRate(15e8), "1.5gbit"}, {"9600bit", BitRate(9600), "9.6kbit"},
		{"1Gbit", BitRate(1e9), "1gbit"}, {"1 gbit", BitRate(1e9), "1gbit"},
		{"1234567bit", BitRate(1234567), "1234.567kbit"}, {"1tbit", BitRate(1e12), "1tbit"},
		{"unlimited", BitRate(0), "unlimited"}, {"0", BitRate(0), "unlimited"},
		{"7bit", BitRate(7), "7bit"}, {"-1mbit", BitRate(-1e6), "-1mbit"},

		{"0.1%", Probability(0.001), "0.1%"}, {"0.001", Probability(0.001), "0.1%"},
		{"7%", Probability(0.07), "7%"}, {"100%", Probability(1), "100%"}, {"1", Probability(1), "100%"},
		{"0", Probability(0), "0%"}, {"1e-3", Probability(0.001), "0.1%"}, {"110%", Probability(1.1), "110%"},
		{"0.29", Probability(0.29), "29%"}, {"1e-30", Probability(1e-30), "1e-30"},

		{"16B", Bytes(16), "16B"}, {"4KiB", Bytes(4096), "4KiB"}, {"1kB", Bytes(1000), "1kB"},
		{"1MiB", Bytes(1 << 20), "1MiB"}, {"2MB", Bytes(2e6), "2MB"}, {"1.5KiB", Bytes(1536), "1536B"},
		{"100", Bytes(100), "100B"}, {"1GiB", Bytes(1 << 30), "1GiB"}, {"0", Bytes(0), "0B"}, {"3 GB", Bytes(3e9), "3GB"},
	} {
		t.Run(fmt.Sprintf("%T %s", c.value, c.text), func(t *testing.T) {
			got, err := parseLike(c.value, c.text)
			if err != nil || got != c.value {
				t.Fatalf("read %v, %v; want %#v", got, err, c.value)
			}
			if s := fmt.Sprint(got); s != c.canonical {
				t.Errorf("String gives %s, want %s", s, c.canonical)
			}
		})
	}
}

func TestScalarsRefuseTheRest(t *testing.T) {
	for _, c := range []struct {
		like  any
		texts string
		want  string
	}{
		{Duration(0), "20 -5 1.5", "a unit behind the number"},
		{Duration(0), "fast 20m/s 20msec 1d ms . - 1e3s NaN", "a duration, such as 20ms"},
		{Duration(0), "9999999h -9999999h 1h99999999999h", "a shorter duration, at most 24h"},
		{Nanoseconds(0), "1 fast ns 1m 1h 1nsns 1e300s 1_0ns .ns NaNns infs 1m30s", "a duration, such as 1ns"},
		{Rate(0), "fast 20/m 20/s/s /s 0x10/s NaN inf 1_000 1e999 20ms", "requests a second"},
		{BitRate(0), "1000 1 fast 1gb 10mb 1kibit gbit 0.5bit 1.0000000001gbit 99999999999tbit 1e3kbit infinite", "bits a second, such as 1gbit"},
		{BitRate(0), "0mbit 0.0gbit 0bit -0kbit", "from 1kbit to 1tbit, or unlimited"},
		{BitRate(0), "10mbps 10Mbps", "10mbit (by mbps tc means bytes"},
		{BitRate(0), "bps 10bps", "10bit (by bps"},
		{Probability(0), "none % 1%% 1e-3% 0.1.1 half 5permille NaN", "a probability from 0 to 1"},
		{Bytes(0), "16K 16KB 16b 1.5B B many 1e3B 99999999999GB 16Kib", "a size, such as 16B"},
	} {
		for _, text := range append(strings.Fields(c.texts), "") {
			if text == "" && c.want != wantFor(c.like) {
				continue
			}
			got, err := parseLike(c.like, text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%T %q reads as %v, %v; want an error with %q", c.like, text, got, err, c.want)
			}
		}
	}
}

// wantFor is the general description of a type, given for an empty text.
func wantFor(like any) string {
	_, err := parseLike(like, "")
	return strings.SplitN(err.Error(), "want ", 2)[1]
}

func parseLike(like any, text string) (any, error) {
	switch like.(type) {
	case Duration:
		return boxed(ParseDuration(text))
	case Nanoseconds:
		return boxed(ParseNanoseconds(text))
	case Rate:
		return boxed(ParseRate(text))
	case BitRate:
		return boxed(ParseBitRate(text))
	case Probability:
		return boxed(ParseProbability(text))
	case Bytes:
		return boxed(ParseBytes(text))
	}
	panic(fmt.Sprintf("not a scalar: %T", like))
}

func boxed[T any](value T, err error) (any, error) { return value, err }

// scalars is a document with one of each.
type scalars struct {
	Duration    Duration    `yaml:"duration" json:"duration"`
	Nanoseconds Nanoseconds `yaml:"nanoseconds" json:"nanoseconds"`
	Rate        Rate        `yaml:"rate" json:"rate"`
	BitRate     BitRate     `yaml:"bit_rate" json:"bit_rate"`
	Probability Probability `yaml:"probability" json:"probability"`
	Bytes       Bytes       `yaml:"bytes" json:"bytes"`
}

func TestScalarsSurviveJSONAndYAML(t *testing.T) {
	want := scalars{Duration(1500 * time.Microsecond), 0.5, 0.1, 1.5e9, 0.001, 4096}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	const wantText = `{"duration":"1.5ms","nanoseconds":"0.5ns","rate":"0.1/s","bit_rate":"1.5gbit","probability":"0.1%","bytes":"4KiB"}`
	if string(text) != wantText {
		t.Errorf("JSON is %s, want %s", text, wantText)
	}
	var got scalars
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("JSON comes back as %+v, %v", got, err)
	}
	if text, err = yaml.Marshal(want); err != nil {
		t.Fatal(err)
	}
	const wantYAML = "duration: 1.5ms\nnanoseconds: 0.5ns\nrate: 0.1/s\nbit_rate: 1.5gbit\nprobability: 0.1%\nbytes: 4KiB\n"
	if string(text) != wantYAML {
		t.Errorf("YAML is %s, want %s", text, wantYAML)
	}
	got = scalars{}
	if err := yaml.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("YAML comes back as %+v, %v", got, err)
	}
}

// FuzzScalars reads any text as each of the scalars: what is read, is read again
// from what String writes.
func FuzzScalars(f *testing.F) {
	for _, text := range []string{"20ms", "1h0m0.5s", "0.5ns", "20/s", "1.5gbit", "0.1%", "1e-30", "4KiB", "10mbps", "unlimited", "-0", "+.5s", "9223372036854775807B"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, like := range []any{Duration(0), Nanoseconds(0), Rate(0), BitRate(0), Probability(0), Bytes(0)} {
			value, err := parseLike(like, text)
			if err != nil {
				continue
			}
			written, err := value.(encoding.TextMarshaler).MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			again, err := parseLike(like, string(written))
			if err != nil || again != value {
				t.Errorf("%T %q is written as %s and read as %v, %v", like, text, written, again, err)
			}
		}
	})
}

func TestBitRateShowsAnyValueExactly(t *testing.T) {
	for _, rate := range []BitRate{1, 999, 1001, 123456789, math.MaxInt64, -math.MaxInt64} {
		if back, err := ParseBitRate(rate.String()); err != nil || back != rate {
			t.Errorf("%d is shown as %s and read as %d, %v", int64(rate), rate, back, err)
		}
	}
}
