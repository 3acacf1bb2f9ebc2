package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/install"

	"github.com/google/go-cmp/cmp"
)

const (
	machines       = "../../testdata/machines"
	exampleOfSpec  = "../../configs/examples/hypervisor.yaml"
	blankOfTheSpec = "hypervisor-blank"
)

// erased are the disks that --erase names on a machine.
var erased = map[string][]string{
	"windows": {"nvme-SAMSUNG_MZVLB512HAJQ-000L7_S3TNNX0K123456"},
	"zfs":     {"ata-WDC_WD40EFRX-68N32N0_WD-WCC7K1A2B3C4", "ata-WDC_WD40EFRX-68N32N0_WD-WCC7K1A2B3C5"},
	"md-raid": {"ata-HGST_HUS724020ALA640_PN2134P6A1B2CX", "ata-HGST_HUS724020ALA640_PN2134P6A1B2DX"},
}

func planOf(t testing.TB, machine string) install.Plan {
	t.Helper()
	layoutPath := filepath.Join(machines, machine+".yaml")
	if _, err := os.Stat(layoutPath); err != nil {
		layoutPath = exampleOfSpec
	}
	layout, err := configs.LoadFile(layoutPath, "")
	if err != nil {
		t.Fatal(err)
	}
	layout.Path = filepath.Base(layoutPath)
	file, err := os.Open(filepath.Join(machines, machine+".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	facts, err := install.LoadFacts(file)
	if err != nil {
		t.Fatal(err)
	}
	return install.Make(install.Input{Layout: layout, Facts: facts, Erase: erased[machine]})
}

// golden compares got with the file, or rewrites it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test ./cmd/hvinstall -update writes it", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-want +got); if this is meant, go test ./cmd/hvinstall -update:\n%s", path, diff)
	}
}

// TestGoldenPlans holds the preview of every captured machine.
func TestGoldenPlans(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(machines, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 12 {
		t.Fatalf("%d captured machines, want at least 12", len(files))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			writePreview(&out, style{width: 100}, planOf(t, name))
			golden(t, filepath.Join(machines, name+".plan.txt"), out.String())
		})
	}
}

// TestPreviewFits holds the example host's preview in colour and at 80
// columns: colours change nothing but colour, and no line is too wide that
// could be narrower.
func TestPreviewFits(t *testing.T) {
	plan := planOf(t, blankOfTheSpec)
	var plain, coloured, narrow bytes.Buffer
	writePreview(&plain, style{width: 100}, plan)
	writePreview(&coloured, style{width: 100, colour: true}, plan)
	writePreview(&narrow, style{width: 80}, plan)
	golden(t, filepath.Join(machines, blankOfTheSpec+".plan.colour.txt"), coloured.String())
	golden(t, filepath.Join(machines, blankOfTheSpec+".plan.80.txt"), narrow.String())
	if got := withoutColour(coloured.String()); got != plain.String() {
		t.Errorf("without its colours the coloured preview differs from the plain one:\n%s", cmp.Diff(plain.String(), got))
	}
	for width, text := range map[int]string{100: plain.String(), 80: narrow.String()} {
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if len([]rune(line)) > width && len(strings.Fields(line)) > 2 {
				t.Errorf("at %d columns this line has %d:\n%s", width, len([]rune(line)), line)
			}
		}
	}
}

func withoutColour(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		before, after, found := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !found {
			break
		}
		_, s, _ = strings.Cut(after, "m")
	}
	return b.String()
}

// TestDigestNamesOneState: the digest is the same for the same state, and
// differs once the layout, a disk or what is on it has changed.
func TestDigestNamesOneState(t *testing.T) {
	first := planOf(t, blankOfTheSpec)
	if again := planOf(t, blankOfTheSpec); again.Digest != first.Digest {
		t.Errorf("digest = %s, then %s", first.Digest, again.Digest)
	}
	for name, change := range map[string]func(*install.Input){
		"another hostname":  func(in *install.Input) { in.Layout.Hostname = "other" },
		"a disk swapped":    func(in *install.Input) { in.Facts.Disks.Disks[1].Serial = "OTHER" },
		"a disk grown":      func(in *install.Input) { in.Facts.Disks.Disks[1].Size += 1 << 30 },
		"only some parts":   func(in *install.Input) { in.Only = []install.Part{install.PartDisks} },
		"another VM memory": func(in *install.Input) { in.Layout.VMs[0].RAMMB++ },
	} {
		plan := planOf(t, blankOfTheSpec)
		in := install.Input{Layout: plan.Layout, Facts: plan.Facts}
		change(&in)
		if got := install.Make(in).Digest; got == first.Digest {
			t.Errorf("%s: the digest stays %s", name, got)
		}
	}
	plan := planOf(t, blankOfTheSpec)
	in := install.Input{Layout: plan.Layout, Facts: plan.Facts}
	in.Facts.Memory.Available -= 1 << 20
	in.Facts.Disks.Disks[1].Name = "nvme9n1"
	if got := install.Make(in).Digest; got != first.Digest {
		t.Error("the digest changes with free memory or a kernel name, which mean nothing")
	}
}

// BenchmarkDryRun is --facts … --dry-run on the machine of 24 disks with 500
// VMs, without the process' own start.
func BenchmarkDryRun(b *testing.B) {
	dir := b.TempDir()
	layout := filepath.Join(dir, "layout.yaml")
	text, err := os.ReadFile(filepath.Join(machines, "24-disks.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	var vms strings.Builder
	vms.WriteString("libvirt_vms:\n")
	for i := range 500 {
		name := "vm" + strings.Repeat("x", i%3) + string(rune('a'+i%26)) + strconv.Itoa(i)
		vms.WriteString("  - name: " + name + "\n    disk_image: {url: \"https://images.example/" + name + ".qcow2.xz\", dest: /mnt/vmstore/" + name + "/disk.qcow2}\n    ram_mb: 64\n    vcpu: 1\n")
	}
	if err := os.WriteFile(layout, append(text, vms.String()...), 0o600); err != nil {
		b.Fatal(err)
	}
	args := []string{"--plan", layout, "--facts", filepath.Join(machines, "24-disks.json"), "--dry-run"}
	for b.Loop() {
		var out, errs bytes.Buffer
		if code := run(b.Context(), terminal{strings.NewReader(""), &out, &errs}, args); code != exitDone {
			b.Fatalf("exit code %d:\n%s%s", code, out.String(), errs.String())
		}
	}
}

// TestReadmeShowsTheRealPreview: what the README pastes is what is printed.
func TestReadmeShowsTheRealPreview(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	writePreview(&out, style{width: 100}, planOf(t, blankOfTheSpec))
	if !bytes.Contains(readme, out.Bytes()) {
		t.Error("the preview in README.md is not what is printed; paste testdata/machines/hypervisor-blank.plan.txt again")
	}
}
