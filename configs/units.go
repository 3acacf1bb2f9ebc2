package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. In layout.yaml it is written with a unit:
// 1GiB (2^30), 1GB (10^9), or a plain number of bytes.
type Size uint64

// Duration is a time.Duration written as 10s, 1m30s, or a number of seconds.
type Duration time.Duration

var sizeUnits = []struct {
	name  string
	bytes uint64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"PiB", 1 << 50},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"PB", 1e15},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40},
	{"B", 1},
}

// sizePattern and durationPattern are what ParseSize and ParseDuration take,
// for the JSON Schema; a test holds the two against each other.
const (
	sizePattern     = `^[0-9]+$|^[0-9]+(?:\.[0-9]+)? ?(?:[KMGTP]iB|[kKMGTP]B|[KMGT]|B)$`
	durationPattern = `^[0-9]+$|^[0-9]{1,4}d$|^(?:[0-9]+(?:\.[0-9]+)?(?:h|m|s|ms))+$`
)

// ParseSize reads a size such as 500GB, 1.5TiB or 4096.
func ParseSize(s string) (Size, error) {
	text, factor, unit := s, uint64(1), false
	for _, u := range sizeUnits {
		if rest, found := strings.CutSuffix(s, u.name); found {
			text, factor, unit = strings.TrimSuffix(rest, " "), u.bytes, true
			break
		}
	}
	bad := fmt.Errorf("%s is not a size; write it like 500GB, 1GiB or 1.5TiB", quote(s))
	whole, fraction, dotted := strings.Cut(text, ".")
	if !isDigits(whole) || dotted && (!isDigits(fraction) || !unit) {
		return 0, bad
	}
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%s is larger than 8 EiB", quote(s))
	}
	if !dotted {
		return Size(n * factor), nil
	}
	part, err := strconv.ParseFloat("0."+fraction, 64)
	if err != nil {
		return 0, bad
	}
	size := n*factor + uint64(math.Round(part*float64(factor)))
	if size > math.MaxInt64 {
		return 0, fmt.Errorf("%s is larger than 8 EiB", quote(s))
	}
	return Size(size), nil
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// String gives the size as it would be written in a layout: in the largest
// unit, binary or decimal, that states it exactly.
func (s Size) String() string {
	for _, u := range []struct {
		name  string
		bytes uint64
	}{
		{"PiB", 1 << 50}, {"PB", 1e15}, {"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
		{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3},
	} {
		if s != 0 && uint64(s)%u.bytes == 0 {
			return fmt.Sprintf("%d%s", uint64(s)/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%dB", uint64(s))
}

// maxDuration is far beyond any wait; it keeps sums of durations in range.
const maxDuration = 365 * 24 * time.Hour

// ParseDuration reads 10s, 1m30s, 7d, or a plain number of seconds.
func ParseDuration(s string) (Duration, error) {
	d, err := time.Duration(0), error(nil)
	if days, inDays := strings.CutSuffix(s, "d"); isDigits(s) {
		d, err = time.ParseDuration(s + "s")
	} else if inDays && isDigits(days) && len(days) < 5 {
		if d, err = time.ParseDuration(days + "h"); err == nil {
			d *= 24
		}
	} else if s != "" && strings.Trim(s, "0123456789.hms") == "" {
		d, err = time.ParseDuration(s)
	} else {
		err = strconv.ErrSyntax
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s is not a time; write it like 10s, 2m or 7d", quote(s))
	}
	if d > maxDuration {
		return 0, fmt.Errorf("%s is more than a year", quote(s))
	}
	return Duration(d), nil
}

// String gives the duration in Go's form, without its zeros: 10s, 1m30s, 2m; and
// whole days as 7d.
func (d Duration) String() string {
	if day := Duration(24 * time.Hour); d > 0 && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
