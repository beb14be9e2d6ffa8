package faults

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// seconds writes a time without needless units: 60s, 1.5s, 250ms.
func seconds(d time.Duration) string {
	if d.Abs() < time.Second {
		return d.String()
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'g', 6, 64) + "%" }

// text writes a value of a user's file.
func text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	return fmt.Sprint(value)
}

// list names some things, the first of them if there are many.
func list(names []string) string {
	const most = 12
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
