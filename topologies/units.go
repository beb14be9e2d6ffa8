package topologies

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseDelay reads a delay of a file: a number of milliseconds, or one with a unit
// (20ms, 1.5 s).
func parseDelay(text string) (time.Duration, error) {
	const want = "a delay from 0 to 1h in milliseconds, or with a unit, such as 20ms"
	if ms, err := strconv.ParseFloat(text, 64); err == nil {
		if !(ms >= 0 && ms <= float64(MaxDelay/time.Millisecond)) {
			return 0, fmt.Errorf("want %s", want)
		}
		return time.Duration(math.Round(ms * 1e6)), nil
	}
	delay, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	if err != nil || delay < 0 || delay > MaxDelay {
		return 0, fmt.Errorf("want %s", want)
	}
	return delay, nil
}

// prefixes are those of rates, in powers of 1,000.
var prefixes = map[string]float64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}

// parseRate reads a rate of a file: a number of plainBPS each, or one with a unit
// (10mbit, 10 Mbit/s, 1Gbps).
func parseRate(text string, plainBPS float64) (int64, error) {
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/ ")
	unit := strings.TrimSpace(text[len(number):])
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	scale := plainBPS
	if unit != "" {
		prefix, known := bitsUnit(unit)
		if !known {
			return 0, fmt.Errorf("want a rate in bits a second, such as 10mbit or 1 Gbit/s")
		}
		scale = prefixes[prefix]
	}
	bps := value * scale
	if err != nil || !(bps >= MinRateBPS && bps <= MaxRateBPS) {
		return 0, fmt.Errorf("want a rate from 1kbit to 1tbit, such as 10mbit")
	}
	return int64(math.Round(bps)), nil
}

// bitsUnit takes a unit such as Mbit/s apart; bytes aren't known.
func bitsUnit(unit string) (prefix string, known bool) {
	if strings.Contains(unit, "B") {
		return "", false
	}
	unit = strings.ToLower(unit)
	for _, suffix := range []string{"bit/s", "bits/s", "b/s", "bits", "bit", "bps", "b", ""} {
		if prefix, ok := strings.CutSuffix(unit, suffix); ok {
			if _, known := prefixes[prefix]; known {
				return prefix, true
			}
		}
	}
	return "", false
}

// parseShare reads a probability: 0.001 or 0.1%.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		share /= 100
	}
	if err != nil || !isShare(share) {
		return 0, fmt.Errorf("want a probability from 0 to 1, such as 0.001 or 0.1%%")
	}
	return share, nil
}

// parseCount reads a whole number up to a bound.
func parseCount(text string, most int64) (int64, error) {
	count, err := strconv.ParseInt(text, 10, 64)
	if err != nil || count < 0 || count > most {
		return 0, fmt.Errorf("want a whole number from 0 to %d", most)
	}
	return count, nil
}

// fibreKMPerSecond is the speed of light in fibre: two thirds of that in vacuum.
const fibreKMPerSecond = 299_792.458 * 2 / 3

// fibreDelay is how long light in fibre takes along the great circle between two places
// given in degrees, on a sphere of the Earth's mean radius. Real ways are longer.
func fibreDelay(latitudeA, longitudeA, latitudeB, longitudeB float64) time.Duration {
	const radiusKM, degree = 6371.0088, math.Pi / 180
	sinLatitude := math.Sin((latitudeB - latitudeA) * degree / 2)
	sinLongitude := math.Sin((longitudeB - longitudeA) * degree / 2)
	haversine := sinLatitude*sinLatitude + math.Cos(latitudeA*degree)*math.Cos(latitudeB*degree)*sinLongitude*sinLongitude
	km := 2 * radiusKM * math.Asin(math.Sqrt(min(haversine, 1)))
	return time.Duration(math.Round(km / fibreKMPerSecond * 1e9))
}
