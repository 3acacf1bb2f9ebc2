package disk

import (
	"fmt"
	"strings"
)

// DecimalSize is a size as disks are sold: 500 GB, 1 TB.
func DecimalSize(bytes uint64) string { return scaled(bytes, 1000, "B", "kB", "MB", "GB", "TB", "PB") }

// BinarySize is a size as file systems count: 931.5 GiB.
func BinarySize(bytes uint64) string {
	return scaled(bytes, 1024, "B", "KiB", "MiB", "GiB", "TiB", "PiB")
}

func scaled(bytes uint64, base float64, units ...string) string {
	f, i := float64(bytes), 0
	for f >= base && i < len(units)-1 {
		f /= base
		i++
	}
	digits := 2
	if f >= 100 {
		digits = 0
	} else if f >= 10 {
		digits = 1
	}
	s := fmt.Sprintf("%.*f", digits, f)
	if digits > 0 {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s + " " + units[i]
}
