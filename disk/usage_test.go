package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anatol/smart.go"
)

func TestReadUsage(t *testing.T) {
	root, uuid := t.TempDir(), "b1ba88b7-a7b1-4d19-b655-425a03c8b485"
	for path, text := range map[string]string{
		"label":                          "bulk",
		"devinfo/1/missing":              "0",
		"devinfo/1/error_stats":          "write_errs 0\nread_errs 3\nflush_errs 0\ncorruption_errs 2\ngeneration_errs 0\n",
		"devinfo/2/missing":              "1",
		"devinfo/2/error_stats":          "(null)",
		"allocation/data/bytes_used":     "1000",
		"allocation/data/raid1/x":        "",
		"allocation/metadata/bytes_used": "200",
	} {
		path = filepath.Join(root, "sys/fs/btrfs", uuid, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	status := filepath.Join(root, "var/lib/btrfs/scrub.status."+uuid)
	if err := os.MkdirAll(filepath.Dir(status), 0o755); err != nil {
		t.Fatal(err)
	}
	// As btrfs-progs 6.2 writes it, a line a device.
	text := "scrub status:1\n" + uuid + ":1|data_extents_scrubbed:0|uncorrectable_errors:1|corrected_errors:4|t_start:1795500128|canceled:0|finished:1\n" +
		uuid + ":2|uncorrectable_errors:0|corrected_errors:0|t_start:1795500128|canceled:0|finished:0\n"
	if err := os.WriteFile(status, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := ReadUsage(root, uuid, "")
	if err != nil {
		t.Fatal(err)
	}
	if u.Label != "bulk" || u.Data != 1200 || strings.Join(u.Profiles, " ") != "raid1" || u.Missing() != 1 {
		t.Errorf("usage = %+v", u)
	}
	if e := u.Devices[0].Errors; e.Read != 3 || e.Corruption != 2 || e.Sum() != 5 {
		t.Errorf("errors = %+v, want 3 read and 2 corruption", e)
	}
	if s := u.Scrub; s == nil || s.Finished || s.Corrected != 4 || s.Uncorrectable != 1 || s.Started.Unix() != 1795500128 {
		t.Errorf("scrub = %+v, want one that is not finished on every device", s)
	}
	if _, err := ReadUsage(root, "not-mounted", ""); !os.IsNotExist(err) && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("ReadUsage of an unmounted file system = %v, want that it does not exist", err)
	}
}

func TestNVMeHealth(t *testing.T) {
	log := smart.NvmeSMARTLog{Temperature: 311, PercentUsed: 3}
	log.PowerOnHours.Val[0], log.MediaErrors.Val[0] = 12400, 2
	want := Health{Passed: true, TemperatureC: 38, PowerOnHours: 12400, WornPercent: 3, MediaErrors: 2}
	if got := nvmeHealth(&log); got != want {
		t.Errorf("nvmeHealth = %+v, want %+v", got, want)
	}
	log.CritWarning, log.Temperature = 1<<2, 0 // reliability degraded
	want.Passed, want.TemperatureC = false, 0
	if got := nvmeHealth(&log); got != want {
		t.Errorf("with a critical warning = %+v, want %+v", got, want)
	}
}

func TestParseHealth(t *testing.T) {
	for name, c := range map[string]struct {
		json string
		want Health
		err  string
	}{
		"ata": {
			`{"smart_status":{"passed":false},"temperature":{"current":31},"ata_smart_attributes":{"table":[
			{"id":5,"value":90,"raw":{"value":16}},{"id":197,"value":100,"raw":{"value":2}}]}}`,
			Health{TemperatureC: 31, Reallocated: 16, Pending: 2}, "",
		},
		"no permission": {`{"smartctl":{"messages":[{"string":"Smartctl open device: /dev/sda failed: Permission denied"}]}}`, Health{}, "Permission denied"},
		"no SMART":      {`{}`, Health{}, "no SMART"},
		"not JSON":      {`oops`, Health{}, "smartctl's output"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseHealth([]byte(c.json))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("parseHealth = %v, want an error that says %q", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("parseHealth = %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}
