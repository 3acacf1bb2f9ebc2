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

// ParseSize reads a size such as 500GB, 1.5TiB or 4096.
func ParseSize(s string) (Size, error) {
	text := strings.TrimSpace(s)
	factor := uint64(1)
	for _, u := range sizeUnits {
		if rest, found := strings.CutSuffix(text, u.name); found {
			text, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		if n > math.MaxInt64/factor {
			return 0, fmt.Errorf("size %q is larger than 8 EiB", s)
		}
		return Size(n * factor), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || math.IsNaN(f) {
		return 0, fmt.Errorf("size %q is not a number with a unit; write it like 500GB, 1GiB or 1.5TiB", s)
	}
	if f*float64(factor) >= math.MaxInt64 {
		return 0, fmt.Errorf("size %q is larger than 8 EiB", s)
	}
	return Size(math.Round(f * float64(factor))), nil
}

// String gives the size as it would be written in a layout: in the largest
// unit, binary or decimal, that states it exactly.
func (s Size) String() string {
	for _, u := range []struct {
		name  string
		bytes uint64
	}{
		{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
		{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3},
	} {
		if s != 0 && uint64(s)%u.bytes == 0 {
			return fmt.Sprintf("%d%s", uint64(s)/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%dB", uint64(s))
}

// ParseDuration reads 10s, 1m30s, or a plain number of seconds.
func ParseDuration(s string) (Duration, error) {
	if n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31); err == nil {
		return Duration(time.Duration(n) * time.Second), nil
	}
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("duration %q is not a time; write it like 10s or 2m", s)
	}
	return Duration(d), nil
}

// String gives the duration in Go's form: 10s, 1m30s.
func (d Duration) String() string { return time.Duration(d).String() }
