package testvm

import (
	"slices"
	"strings"
	"testing"
)

// TestNICBehindItsPort holds the placed NIC against the ports before it: bus 5
// is the fifth port's only when the firmware finds four others first.
func TestNICBehindItsPort(t *testing.T) {
	args := nicArgs([]NIC{{PCIBus: 5, MAC: "52:54:00:12:34:56"}})
	ports := 0
	for _, a := range args {
		if strings.HasPrefix(a, "pcie-root-port,") {
			ports++
		}
	}
	if ports != 5 {
		t.Errorf("%d root ports, want 5", ports)
	}
	if want := "virtio-net-pci,id=nic0,netdev=net0,romfile=,mac=52:54:00:12:34:56,bus=port5"; !slices.Contains(args, want) {
		t.Errorf("no %q in %q", want, args)
	}
	if want := "user,id=net0,restrict=on"; !slices.Contains(args, want) {
		t.Errorf("no %q in %q: a guest's network must end at this machine", want, args)
	}
}

func TestDriveEscapesCommas(t *testing.T) {
	d := Drive{ID: "a", Model: NVMe, Path: "/tmp/a,readonly=off.img", Format: "raw"}
	if got := d.backend(); !strings.Contains(got, "file=/tmp/a,,readonly=off.img") {
		t.Errorf("backend = %q", got)
	}
}

func TestReportFindsVerdicts(t *testing.T) {
	report(t, "=== RUN   TestA\n--- PASS: TestA (0.00s)\nPASS\n")
}
