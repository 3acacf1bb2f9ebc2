//go:build guest_inner

package testvm

import (
	"os"
	"testing"
)

func TestInsideTheGuest(t *testing.T) {
	if os.Getuid() != 0 {
		t.Errorf("uid = %d, want 0", os.Getuid())
	}
	if got := os.Getenv("GREETING"); got != "it's me" {
		t.Errorf("GREETING = %q", got)
	}
	if _, err := os.Stat("/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NV001"); err != nil {
		t.Error(err)
	}
}
