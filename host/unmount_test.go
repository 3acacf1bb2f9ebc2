package host

import "testing"

func TestIsLeft(t *testing.T) {
	const prefix, own = "/run/hvinstall/btrfs-vm-", 7
	for folder, want := range map[string]bool{
		"/run/hvinstall/btrfs-vm-2266-463627061":   true,
		"/run/hvinstall/btrfs-vm-7-463627061":      false, // our own
		"/run/hvinstall/btrfs-vm-77-463627061":     true,
		"/run/hvinstall/btrfs-vm-2-7-463627061":    false, // of a pool called vm-2
		"/run/hvinstall/btrfs-vm-2266-463627061/x": false,
		"/run/hvinstall/btrfs-vm-2266-":            false,
		"/run/hvinstall/btrfs-vm":                  false,
		"/mnt/btrfs-vm-2266-463627061":             false,
	} {
		if have := isLeft(folder, prefix, own); have != want {
			t.Errorf("isLeft(%s) = %v, want %v", folder, have, want)
		}
	}
}
