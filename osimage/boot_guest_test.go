//go:build guest

package osimage

import (
	"testing"
	"time"

	"hvinstall/testvm"
)

// TestInGuest runs this package's guest_inner tests, which need a kernel with
// VFAT: the ESP.
func TestInGuest(t *testing.T) {
	testvm.RunTests(t, testvm.Guest{
		Config:   testvm.Config{Timeout: 10 * time.Minute, Drives: []testvm.Drive{{ID: "esp", Model: testvm.Virtio, Serial: "ESP", Size: 512 << 20}}},
		Programs: []string{"mkfs.vfat", "fsck.vfat"},
		Modules:  []string{"vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1"},
		Files:    map[string]string{loaderSource: loaderSource},
	}, []string{"./osimage"})
}
