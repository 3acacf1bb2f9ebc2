package configs

import "testing"

func TestNearest(t *testing.T) {
	vm := (shapes{}).keys(typeOfVM)
	for word, want := range map[string]string{
		"mac_adress": "mac_address", "macAddress": "mac_address", "mac-address": "mac_address", "mac": "mac_address",
		"memory": "ram_mb", "ram": "ram_mb", "cpus": "vcpu", "vcpus": "vcpu", "diskgb": "disk_gb", "disk_imgae": "disk_image",
		"iso": "iso_image", "autostrat": "autostart", "protect": "protected", "usb": "usb_devices",
		"colour": "", "x": "", "zzzzzzzzzz": "", "": "",
	} {
		if got := nearest(word, vm); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b   string
		enough int
		want   int
	}{
		{"", "", 3, 0}, {"a", "", 3, 1}, {"abc", "abc", 3, 0}, {"abc", "acb", 3, 1}, {"abc", "axc", 3, 1}, {"abc", "xyz", 9, 3},
		{"abcdef", "a", 3, 3}, {"kitten", "sitting", 9, 3}, {"ca", "abc", 9, 3},
	} {
		if got := distance(c.a, c.b, c.enough); got != c.want {
			t.Errorf("distance(%q, %q, %d) = %d, want %d", c.a, c.b, c.enough, got, c.want)
		}
	}
}
