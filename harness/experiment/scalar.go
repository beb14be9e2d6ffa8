package experiment

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// wantError says why a text is no scalar of its type. What would be right is
// all it knows; the reader of the file adds the path and the position.
type wantError struct{ text, want string }

func (e *wantError) Error() string { return printable(e.text) + ": want " + e.want }

var (
	// plainNumber has no exponent, so that its exact value is never large to
	// compute.
	plainNumber = regexp.MustCompile(`^[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})$`)
	anyNumber   = regexp.MustCompile(`^[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?$`)
	// longDuration is what has the form of a duration, and is none only if it is too long.
	longDuration = regexp.MustCompile(`^[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$`)
	withUnit     = regexp.MustCompile(`^([+-]?[0-9.]+) ?([A-Za-z]*)$`)
)

const wantDuration = "a duration, such as 20ms, 1.5s or 1m"

// ParseDuration reads "20ms", "1.5s", "250us", "1m30s" or a bare 0. A sign is
// read too; whether it makes sense is for the field to say.
func ParseDuration(text string) (Duration, error) {
	if plainNumber.MatchString(text) {
		if strings.Trim(text, "+-.0") != "" {
			return 0, &wantError{text, "a unit behind the number, such as 20ms or 1.5s"}
		}
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil && longDuration.MatchString(text) {
		return 0, &wantError{text, "a shorter duration, at most 24h"}
	}
	if err != nil {
		return 0, &wantError{text, wantDuration}
	}
	return Duration(d), nil
}

// String gives the duration with its unit and without needless zeros.
func (d Duration) String() string {
	s := strings.Replace(time.Duration(d).String(), "µ", "u", 1)
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

const wantNanoseconds = "a duration, such as 1ns, 0.5ns or 1us"

var nanosecondUnits = map[string]float64{"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}

// ParseNanoseconds reads "0.5ns", "1.5us", "2ms", "1s" or a bare 0: one number
// and one unit.
func ParseNanoseconds(text string) (Nanoseconds, error) {
	if _, err := ParseDuration(text); err == nil && plainNumber.MatchString(text) {
		return 0, nil // a bare 0
	}
	number := strings.TrimRight(text, "nuµms")
	size, ok := nanosecondUnits[text[len(number):]]
	value, err := strconv.ParseFloat(number, 64)
	if !ok || !anyNumber.MatchString(number) || err != nil || math.IsInf(value*size, 0) {
		return 0, &wantError{text, wantNanoseconds}
	}
	return Nanoseconds(value * size), nil
}

// String gives the time in nanoseconds, with their unit.
func (n Nanoseconds) String() string { return decimal(float64(n)) + "ns" }

const wantRate = "requests a second, such as 20/s"

// ParseRate reads "20/s", "1.5/s" or "20": requests a second.
func ParseRate(text string) (Rate, error) {
	number := strings.TrimSuffix(text, "/s")
	rate, err := strconv.ParseFloat(number, 64)
	if !anyNumber.MatchString(number) || err != nil {
		return 0, &wantError{text, wantRate}
	}
	return Rate(rate), nil
}

// String gives the rate with its unit.
func (r Rate) String() string { return decimal(float64(r)) + "/s" }

// decimal writes a number exactly, with an exponent only where there would be
// many zeros.
func decimal(x float64) string {
	format := byte('f')
	if size := math.Abs(x); size >= 1e15 || size < 1e-6 {
		format = 'g'
	}
	return strconv.FormatFloat(x, format, -1, 64)
}

const wantBitRate = "bits a second, such as 1gbit, 10mbit or 64kbit, or unlimited"

var bitRateUnits = []unit{
	{"tbit", 1e12}, {"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1},
}

// ParseBitRate reads "1gbit", "10mbit", "1.5gbit", "64kbit", "9600bit" (units
// as tc's: powers of 1000 bits), "unlimited" or a bare 0. The "bps" units are
// refused: tc means bytes by them and others bits.
func ParseBitRate(text string) (BitRate, error) {
	if strings.EqualFold(text, "unlimited") {
		return 0, nil
	}
	lower := strings.ToLower(text)
	if number, ok := strings.CutSuffix(lower, "bps"); ok {
		prefix := strings.TrimLeft(number, "+-.0123456789 ")
		return 0, &wantError{text, "bits a second, such as 10" + prefix + "bit (by " + prefix + "bps tc means bytes a second and others bits)"}
	}
	n, ok := parseUnits(lower, bitRateUnits)
	if !ok || n != 0 && plainNumber.MatchString(text) {
		return 0, &wantError{text, wantBitRate}
	}
	if n == 0 && !plainNumber.MatchString(text) {
		return 0, &wantError{text, "from 1kbit to 1tbit, or unlimited"} // is 0mbit nothing, or no bound?
	}
	return BitRate(n), nil
}

// String gives the rate in the largest unit in which it has few decimals, or
// "unlimited".
func (r BitRate) String() string {
	if r == 0 {
		return "unlimited"
	}
	for _, u := range bitRateUnits {
		if s := inUnit(int64(r), u.size, 3); s != "" {
			return s + u.name
		}
	}
	return strconv.FormatInt(int64(r), 10) + "bit"
}

const wantProbability = "a probability from 0 to 1, such as 0.1% or 0.001"

// ParseProbability reads "0.1%" or "0.001".
func ParseProbability(text string) (Probability, error) {
	number := text
	if percent, ok := strings.CutSuffix(text, "%"); ok && plainNumber.MatchString(percent) {
		number = percent + "e-2" // exact, where a division by 100 would round twice
	}
	p, err := strconv.ParseFloat(number, 64)
	if !anyNumber.MatchString(number) || err != nil {
		return 0, &wantError{text, wantProbability}
	}
	return Probability(p), nil
}

// String gives a percentage, or the bare number where a percentage would not
// be read back as the same.
func (p Probability) String() string {
	percent := strconv.FormatFloat(float64(p)*100, 'g', 15, 64) + "%"
	if back, err := ParseProbability(percent); err == nil && back == p {
		return percent
	}
	return strconv.FormatFloat(float64(p), 'g', -1, 64)
}

const wantBytes = "a size, such as 16B, 4KiB or 1kB"

var byteUnits = []unit{
	{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

// ParseBytes reads "16B", "4KiB" (1024 bytes each), "1kB" (1000), likewise MiB,
// MB, GiB and GB, or a bare number of bytes.
func ParseBytes(text string) (Bytes, error) {
	n, ok := parseUnits(text, byteUnits)
	if !ok {
		return 0, &wantError{text, wantBytes}
	}
	return Bytes(n), nil
}

// String gives the size in the largest unit in which it is whole.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return "0B"
}

// unit is a unit's name and how many of the base unit it is.
type unit struct {
	name string
	size int64
}

// parseUnits reads a decimal number with one of the units, or without, that is
// a whole number of the base unit.
func parseUnits(text string, units []unit) (int64, bool) {
	parts := withUnit.FindStringSubmatch(text)
	if parts == nil || !plainNumber.MatchString(parts[1]) {
		return 0, false
	}
	size := int64(1)
	if parts[2] != "" {
		size = 0
		for _, u := range units {
			if u.name == parts[2] {
				size = u.size
			}
		}
	}
	number, ok := new(big.Rat).SetString(parts[1])
	if !ok || size == 0 {
		return 0, false
	}
	number.Mul(number, new(big.Rat).SetInt64(size))
	if !number.IsInt() || !number.Num().IsInt64() || number.Num().Int64() == math.MinInt64 {
		return 0, false
	}
	return number.Num().Int64(), true
}

// inUnit writes n in a unit of the given size, if n is at least one such unit
// and needs at most so many decimals; else it gives an empty string.
func inUnit(n, size int64, decimals int) string {
	magnitude := new(big.Int).Abs(big.NewInt(n))
	if magnitude.Cmp(big.NewInt(size)) < 0 {
		return ""
	}
	exact := big.NewRat(n, size)
	text := strings.TrimRight(strings.TrimRight(exact.FloatString(decimals), "0"), ".")
	if decimals == 0 || size == 1 {
		text = exact.FloatString(0)
	}
	back, _ := new(big.Rat).SetString(text)
	if back.Cmp(exact) != 0 {
		return ""
	}
	return text
}

// MarshalText writes the duration as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalText writes the time as String does.
func (n Nanoseconds) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// MarshalText writes the rate as String does.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// MarshalText writes the rate as String does.
func (r BitRate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// MarshalText writes the probability as String does.
func (p Probability) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalText writes the size as String does.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error { return unmarshal(d, text, ParseDuration) }

// UnmarshalText reads what ParseNanoseconds reads.
func (n *Nanoseconds) UnmarshalText(text []byte) error { return unmarshal(n, text, ParseNanoseconds) }

// UnmarshalText reads what ParseRate reads.
func (r *Rate) UnmarshalText(text []byte) error { return unmarshal(r, text, ParseRate) }

// UnmarshalText reads what ParseBitRate reads.
func (r *BitRate) UnmarshalText(text []byte) error { return unmarshal(r, text, ParseBitRate) }

// UnmarshalText reads what ParseProbability reads.
func (p *Probability) UnmarshalText(text []byte) error { return unmarshal(p, text, ParseProbability) }

// UnmarshalText reads what ParseBytes reads.
func (b *Bytes) UnmarshalText(text []byte) error { return unmarshal(b, text, ParseBytes) }

func unmarshal[T any](target *T, text []byte, parse func(string) (T, error)) error {
	value, err := parse(string(text))
	if err == nil {
		*target = value
	}
	return err
}
