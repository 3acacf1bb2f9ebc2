package configs

import (
	"math"
	"regexp"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want Size
		good bool
	}{
		{"0", 0, true},
		{"4096", 4096, true},
		{"4096B", 4096, true},
		{"1KiB", 1 << 10, true},
		{"1kB", 1000, true},
		{"1KB", 1000, true},
		{"500GB", 500e9, true},
		{"500 GB", 500e9, true},
		{"1GiB", 1 << 30, true},
		{"8G", 8 << 30, true},
		{"1.5TiB", 3 << 39, true},
		{"1.25TB", 1250e9, true},
		{"0.5GiB", 1 << 29, true},
		{"9223372036854775807", math.MaxInt64, true},
		{"9223372036854775808", 0, false},
		{"8192PiB", 0, false},
		{"8191.9PiB", 9223259446864091546, true},
		{"99999999999999999999TB", 0, false},
		{"", 0, false}, {"GB", 0, false}, {"-1GB", 0, false}, {"+1GB", 0, false}, {"1.5", 0, false}, {"1.GB", 0, false}, {".5GB", 0, false},
		{"1e3GB", 0, false}, {"0x10", 0, false}, {"1_000", 0, false}, {"InfGB", 0, false}, {"NaN", 0, false}, {" 1GB", 0, false}, {"1  GB", 0, false},
		{"1gb", 0, false}, {"1Gb", 0, false}, {"1 GB 2", 0, false}, {"1GB\n", 0, false}, {"1EB", 0, false},
	} {
		got, err := ParseSize(c.text)
		if got != c.want || (err == nil) != c.good {
			t.Errorf("ParseSize(%q) = %d, %v, want %d, good %v", c.text, got, err, c.want, c.good)
		}
		// What the schema lets through can only be too large.
		if matched := regexp.MustCompile(sizePattern).MatchString(c.text); c.good && !matched || matched && !c.good && len(c.text) < 7 {
			t.Errorf("sizePattern matches %q: %v, want %v", c.text, matched, c.good)
		}
	}
}

func TestSizeString(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0B", 1: "1B", 1000: "1kB", 1024: "1KiB", 1 << 30: "1GiB", 500e9: "500GB", 4e12: "4TB", 3 << 39: "1536GiB", 1 << 50: "1PiB", 4097: "4097B",
	} {
		if got := size.String(); got != want {
			t.Errorf("Size(%d).String() = %s, want %s", uint64(size), got, want)
		}
		if back, err := ParseSize(size.String()); back != size || err != nil {
			t.Errorf("ParseSize(%s) = %d, %v, want %d", size, back, err, uint64(size))
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration
		good bool
	}{
		{"0", 0, true}, {"10", 10 * time.Second, true}, {"10s", 10 * time.Second, true}, {"1m30s", 90 * time.Second, true},
		{"1.5s", 1500 * time.Millisecond, true}, {"250ms", 250 * time.Millisecond, true}, {"1h", time.Hour, true},
		{"", 0, false}, {"-1s", 0, false}, {"+1s", 0, false}, {"s", 0, false}, {"7d", 7 * 24 * time.Hour, true}, {"d", 0, false}, {"1.5d", 0, false}, {"1us", 0, false}, {"10 s", 0, false},
		{"99999999999", 0, false}, {"9000h", 0, false}, {"1e9s", 0, false}, {"1.5", 0, false},
	} {
		got, err := ParseDuration(c.text)
		if time.Duration(got) != c.want || (err == nil) != c.good {
			t.Errorf("ParseDuration(%q) = %s, %v, want %s, good %v", c.text, got, err, c.want, c.good)
		}
		if matched := regexp.MustCompile(durationPattern).MatchString(c.text); c.good && !matched || matched && !c.good && len(c.text) < 5 {
			t.Errorf("durationPattern matches %q: %v, want %v", c.text, matched, c.good)
		}
	}
	for d, want := range map[Duration]string{
		Duration(10 * time.Second): "10s", Duration(90 * time.Second): "1m30s", Duration(10 * time.Minute): "10m", Duration(time.Hour): "1h", Duration(30 * time.Minute): "30m", 0: "0s", Duration(168 * time.Hour): "7d",
	} {
		if got := d.String(); got != want {
			t.Errorf("Duration.String() = %s, want %s", got, want)
		}
	}
}
