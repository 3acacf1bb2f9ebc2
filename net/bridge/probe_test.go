package bridge

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// nicTree is /sys/class/net of a machine, in the form that Linux gives it.
func nicTree(t *testing.T, files, links map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, target := range links {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, full); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestSysNIC(t *testing.T) {
	root := nicTree(t, map[string]string{
		"devices/pci0000:00/0000:00:1c.4/0000:05:00.0/net/enp5s0/speed":      "1000\n",
		"devices/pci0000:00/0000:00:1c.5/0000:06:00.0/net/wlp6s0/phy80211/x": "",
		"devices/pci0000:00/0000:01:00.0/virtio1/net/enp1s0/speed":           "-1\n",
		"devices/virtual/net/br0/bridge/stp_state":                           "0\n",
		"bus/pci/drivers/igb/x":                                              "",
		"bus/pci/drivers/iwlwifi/x":                                          "",
		"bus/virtio/drivers/virtio_net/x":                                    "",
	}, map[string]string{
		"class/net/enp5s0": "../../devices/pci0000:00/0000:00:1c.4/0000:05:00.0/net/enp5s0",
		"class/net/wlp6s0": "../../devices/pci0000:00/0000:00:1c.5/0000:06:00.0/net/wlp6s0",
		"class/net/enp1s0": "../../devices/pci0000:00/0000:01:00.0/virtio1/net/enp1s0",
		"class/net/br0":    "../../devices/virtual/net/br0",
		"devices/pci0000:00/0000:00:1c.4/0000:05:00.0/net/enp5s0/device": "../../../0000:05:00.0",
		"devices/pci0000:00/0000:00:1c.5/0000:06:00.0/net/wlp6s0/device": "../../../0000:06:00.0",
		"devices/pci0000:00/0000:01:00.0/virtio1/net/enp1s0/device":      "../../../virtio1",
		"devices/pci0000:00/0000:00:1c.4/0000:05:00.0/driver":            "../../../../bus/pci/drivers/igb",
		"devices/pci0000:00/0000:00:1c.4/0000:05:00.0/subsystem":         "../../../../bus/pci",
		"devices/pci0000:00/0000:00:1c.5/0000:06:00.0/driver":            "../../../../bus/pci/drivers/iwlwifi",
		"devices/pci0000:00/0000:00:1c.5/0000:06:00.0/subsystem":         "../../../../bus/pci",
		"devices/pci0000:00/0000:01:00.0/virtio1/driver":                 "../../../../bus/virtio/drivers/virtio_net",
		"devices/pci0000:00/0000:01:00.0/virtio1/subsystem":              "../../../../bus/virtio",
		"devices/pci0000:00/0000:01:00.0/subsystem":                      "../../../bus/pci",
	})
	for _, want := range []NIC{
		{Name: "enp5s0", Kind: "physical", Driver: "igb", Bus: "pci-0000:05:00.0", SpeedMbit: 1000},
		{Name: "wlp6s0", Kind: "wireless", Driver: "iwlwifi", Bus: "pci-0000:06:00.0"},
		{Name: "enp1s0", Kind: "physical", Driver: "virtio_net", Bus: "pci-0000:01:00.0"},
		{Name: "br0"},
	} {
		got := sysNIC(root+"/class/net/", want.Name)
		if got.Name != want.Name || got.Kind != want.Kind || got.Driver != want.Driver || got.Bus != want.Bus || got.SpeedMbit != want.SpeedMbit {
			t.Errorf("%s = %+v, want %+v", want.Name, got, want)
		}
	}
}

func TestParseResolv(t *testing.T) {
	got := parseResolv("# stub\nnameserver 127.0.0.53\nnameserver 192.168.1.1\noptions edns0\nnameserver fe80::1%eth0\nnameserver 192.168.1.1\nnameserver x\n")
	if want := []string{"192.168.1.1", "fe80::1%eth0"}; !slices.Equal(got, want) {
		t.Errorf("DNS = %q, want %q: no local stub, none twice", got, want)
	}
}

// TestProbeHere: the probe runs anywhere, without root, and finds what the
// standard library finds.
func TestProbeHere(t *testing.T) {
	facts, err := Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range facts.NICs {
		if n.Name == "lo" || n.Name == "" || n.Kind == "" {
			t.Errorf("NIC %+v", n)
		}
	}
}
