package boot

import (
	"slices"
	"testing"
)

func TestMicrocodeOf(t *testing.T) {
	intel := "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 158\nmodel name\t: Xeon E3: v6\nstepping\t: 10\n\n"
	other := "processor\t: 1\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nstepping\t: 4\n\n"
	all := []string{"amd-ucode", "intel-ucode"}
	for name, c := range map[string]struct {
		cpuinfo string
		want    []string
	}{
		"Intel":               {intel + intel, []string{"intel-ucode/06-9e-0a", "intel-ucode/06-9e-0a.initramfs"}},
		"two kinds":           {intel + other, []string{"intel-ucode/06-55-04", "intel-ucode/06-55-04.initramfs", "intel-ucode/06-9e-0a", "intel-ucode/06-9e-0a.initramfs"}},
		"AMD":                 {"vendor_id\t: AuthenticAMD\ncpu family\t: 25\n\n", []string{"amd-ucode"}},
		"another":             {"vendor_id\t: CentaurHauls\n\n", all},
		"nothing":             {"", all},
		"stepping not stated": {"vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t: 158\nstepping\t: unknown\n\n", all},
	} {
		if got := microcodeOf(c.cpuinfo); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
