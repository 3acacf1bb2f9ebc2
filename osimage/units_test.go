package osimage

import (
	"strings"
	"testing"
)

// TestSmartdConf: Debian's line gets the tests, an owner's stays.
func TestSmartdConf(t *testing.T) {
	for have, want := range map[string]string{
		"":                                 smartdTests + "\n",
		"# a\n" + smartdDebian + "\n# b\n": "# a\n" + smartdTests + "\n# b\n",
		"DEVICESCAN -a\n":                  "DEVICESCAN -a\n",
		smartdTests + "\n":                 smartdTests + "\n",
	} {
		if got := string(smartdConf([]byte(have))); got != want {
			t.Errorf("smartdConf(%q) = %q, want %q", have, got, want)
		}
	}
}

// TestShutdownOrder: the mount units of all pools are named, by systemd's names.
func TestShutdownOrder(t *testing.T) {
	v := values()
	v.Mounts = append(v.Mounts, Mount{Source: "UUID=3333", Target: "/mnt/my-pool", FSType: "btrfs", Pool: true})
	p, _ := MakePlan(v, "")
	want := map[string]string{
		"/etc/systemd/system/libvirt-guests.service.d/hvinstall.conf": "\nAfter=libvirtd.service nfs-server.service mnt-vmstore.mount mnt-my\\x2dpool.mount\n",
		"/etc/systemd/system/machine.slice.d/hvinstall.conf":          "\nAfter=mnt-vmstore.mount mnt-my\\x2dpool.mount\n",
	}
	for _, e := range p.shutdownEdits() {
		if got := string(e.want(nil)); !strings.Contains(got, want[e.path]) || want[e.path] == "" {
			t.Errorf("%s = %q, want %q in it", e.path, got, want[e.path])
		}
		delete(want, e.path)
	}
	if len(want) > 0 {
		t.Errorf("not written: %v", want)
	}
	p.Mounts = p.Mounts[:3]
	if edits := p.shutdownEdits(); len(edits) != 1 || strings.Contains(string(edits[0].want(nil)), "mount") {
		t.Errorf("without pools: %v", edits)
	}
}
