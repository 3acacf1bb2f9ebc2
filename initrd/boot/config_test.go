package boot

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	return Config{
		Hostname: "hypervisor", FallbackToPassword: true,
		Volumes: []Volume{
			{UUID: "u-1", Mapping: "cryptroot", DiskID: "nvme-1"},
			{UUID: "u-2", Mapping: "crypt-bulk-1", DiskID: "ata-1", Pool: "bulk"},
		},
		Keys:  []Key{{FSUUID: "8B34-7D3C", Filename: "hypervisor"}},
		Root:  Root{FSUUID: "fs-1", Subvolume: "root", Options: Options{"noatime"}},
		Pools: []Pool{{Name: "bulk", FSUUID: "fs-2", Members: 1, Subvolume: "bulk", Mountpoint: "/mnt/bulk", Degraded: DegradedMount}},
	}
}

func TestConfigRoundTrip(t *testing.T) {
	want := valid()
	want.KeyWait = Duration(90 * time.Second)
	data, err := want.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `"key_wait": "1m30s"`) {
		t.Errorf("key_wait is not written as 1m30s:\n%s", data)
	}
	got, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	want.PoolWait, want.PatientWait = Duration(DefaultPoolWait), Duration(DefaultPatientWait)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown field": {`{"hostname":"h","frobnicate":1}`, "frobnicate"},
		"not JSON":      {`hostname: h`, "boot.json"},
		"empty":         {`{}`, "no volume holds the OS"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func(*Config)
		want   string
	}{
		"uuid used twice":    {func(c *Config) { c.Volumes[1].UUID = "U-1" }, "uuid u-1 is used by two volumes"},
		"mapping used twice": {func(c *Config) { c.Volumes[1].Mapping = "cryptroot" }, "mapping cryptroot is used by two"},
		"mapping with slash": {func(c *Config) { c.Volumes[1].Mapping = "../x" }, "slash"},
		"pool not there":     {func(c *Config) { c.Volumes[1].Pool = "bulq" }, `pool "bulq"`},
		"no OS":              {func(c *Config) { c.Volumes[0].Pool = "bulk" }, "no volume holds the OS"},
		"no root":            {func(c *Config) { c.Root.FSUUID = "" }, "fs_uuid"},
		"key file elsewhere": {func(c *Config) { c.Keys[0].Filename = "../../etc/shadow" }, "not in the stick's root"},
		"no way to open":     {func(c *Config) { c.Keys, c.FallbackToPassword = nil, false }, "neither a key stick nor a passphrase"},
		"relative mount":     {func(c *Config) { c.Pools[0].Mountpoint = "mnt" }, "absolute"},
		"unknown policy":     {func(c *Config) { c.Pools[0].Degraded = "hope" }, `"hope"`},
	} {
		t.Run(name, func(t *testing.T) {
			conf := valid()
			c.breaks(&conf)
			if err := conf.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want %q in it", err, c.want)
			}
		})
	}
	if err := valid().Validate(); err != nil {
		t.Errorf("the valid one: %v", err)
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Second: "10s", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", 2 * time.Hour: "2h",
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
		var back Duration
		if err := back.UnmarshalText([]byte(want)); err != nil || back.Std() != d {
			t.Errorf("%q is read as %v, %v", want, back, err)
		}
	}
}

// FuzzConfig: what is read is valid, and written it says the same.
func FuzzConfig(f *testing.F) {
	data, err := valid().JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"hostname":"h","key_wait":"-1s","volumes":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		text, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%v of\n%s", err, text)
		}
		if second, err := again.JSON(); err != nil || string(second) != string(text) {
			t.Errorf("%v\n%s\n%s", err, text, second)
		}
	})
}
