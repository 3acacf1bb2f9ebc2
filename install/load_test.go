package install

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const validFacts = `{
  "version": 1, "taken": "2026-11-20T22:30:00Z", "cpus": 4, "memory": {"total": 100, "available": 50},
  "uefi": true, "kvm": true, "root": true, "live": false,
  "disks": {"disks": [
    {"name": "sda", "by_id": ["ata-A_1"], "size": 1000, "logical_sector": 512, "physical_sector": 4096, "rotational": true}
  ]},
  "network": {"nics": []}
}`

func TestLoadFactsErrors(t *testing.T) {
	if _, err := LoadFacts(strings.NewReader(validFacts)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, with, want string }{
		{validFacts, "", "line 1, column 1: the file is empty"},
		{`"version": 1`, `"version": 2`, "version 2, and this hvinstall reads version 1"},
		{`"uefi": true`, `"uefi": 1`, "line 3"},
		{`"uefi": true`, `"uefy": true`, `line 3, column 3: unknown field "uefy"`},
		{`"cpus": 4,`, `"cpus": 4,,`, "line 2, column 60"},
		{`"nics": []}` + "\n}", `"nics": []}`, "ends too early"},
		{`"nics": []}` + "\n}", `"nics": []}` + "\n} {}", "more than one JSON value"},
		{`"size": 1000`, `"size": 0`, "its size is 0 bytes"},
		{`"size": 1000`, `"size": 9000000000000000000`, "its size is 9000000000000000000 bytes"},
		{`"logical_sector": 512`, `"logical_sector": 520`, "logical sector of 520 bytes is not a power of two"},
		{`"physical_sector": 4096`, `"physical_sector": 0`, "physical sector of 0 bytes"},
		{`"ata-A_1"`, `"ata-A_1-part1"`, "is a partition"},
		{`"ata-A_1"`, `"../sda"`, "is not a name directly in"},
		{`"ata-A_1"`, `"ata-A_1", "ata-A_1"`, "is there twice"},
		{`"rotational": true}`, `"rotational": true}, {"name": "sda", "size": 1000, "logical_sector": 512, "physical_sector": 512, "rotational": true}`, `the disk "sda" is there twice`},
		{`"rotational": true}`, `"rotational": true, "partitions": [{"number": 1, "start": 900, "size": 200}]}`, "ends beyond the disk"},
		{`"rotational": true}`, `"rotational": true, "signatures": [{"label": "x"}]}`, "a signature without a type"},
		{`"available": 50`, `"available": 500`, "more memory is available"},
		{`"nics": []`, `"nics": [{"name": "a-name-of-17-bytes", "kind": "physical", "up": true, "carrier": true, "mtu": 1500}]`, "more than 15 bytes"},
	} {
		text := strings.Replace(validFacts, c.old, c.with, 1)
		if text == validFacts {
			t.Fatalf("%q is not in the facts", c.old)
		}
		_, err := LoadFacts(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.with, err, c.want)
		}
	}
	_, err := LoadFacts(bytes.NewReader(make([]byte, FactsLimit+1)))
	if err == nil || !strings.Contains(err.Error(), "larger than 8 MiB") {
		t.Errorf("too long: %v", err)
	}
}

// FuzzFacts: facts that load give a starter that passes check's decoder, and a
// second reading says the same.
func FuzzFacts(f *testing.F) {
	f.Add([]byte(validFacts))
	paths, err := filepath.Glob(machinesFolder + "/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := LoadFacts(bytes.NewReader(data))
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a word")
			}
			return
		}
		for _, d := range facts.Disks.Disks {
			if d.Content() == "" || d.Called() == "" {
				t.Errorf("a disk without words: %+v", d)
			}
		}
		if text := Starter(facts); !strings.Contains(text, "\nhostname: ") {
			t.Errorf("the starter lacks a hostname:\n%s", text)
		}
	})
}

func TestParsers(t *testing.T) {
	if got := parseMeminfo("MemTotal:       2060 kB\nMemFree: 1 kB\nMemAvailable:   1867 kB\n"); got != (Memory{2060 << 10, 1867 << 10}) {
		t.Errorf("memory = %+v", got)
	}
	if got := parseCPUVendor("processor\t: 0\nvendor_id\t: GenuineIntel\n"); got != "GenuineIntel" {
		t.Errorf("CPU vendor = %q", got)
	}
	if got := parseOSRelease("NAME=\"NixOS\"\nID=nixos\nVERSION_ID=\"25.11\"\n"); got != "nixos 25.11" {
		t.Errorf("OS = %q", got)
	}
	for _, c := range []struct{ vendor, product, cpuinfo, want string }{
		{"QEMU", "Standard PC (Q35 + ICH9, 2009)", "", "qemu"},
		{"innotek GmbH", "VirtualBox", "", "oracle"},
		{"Microsoft Corporation", "Virtual Machine", "", "microsoft"},
		{"Dell Inc.", "PowerEdge R740", "flags\t: fpu vme\n", ""},
		{"", "", "flags\t: fpu hypervisor\n", "other"},
	} {
		if got := virtualisation(c.vendor, c.product, c.cpuinfo); got != c.want {
			t.Errorf("virtualisation(%q, %q) = %q, want %q", c.vendor, c.product, got, c.want)
		}
	}
}
