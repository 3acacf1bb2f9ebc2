package install

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/disk"
)

// edits are the layout with one line changed each, as people change them: a
// line taken out, doubled, moved down, a number or a name changed, another of
// the machine's disks in a disk's place, ssd for hdd.
func edits(text string, f Facts) map[string]string {
	lines := strings.Split(text, "\n")
	all := map[string]string{}
	with := func(what string, at int, replaced ...string) {
		all[fmt.Sprintf("line %d, %s", at+1, what)] = strings.Join(slices.Replace(slices.Clone(lines), at, at+1, replaced...), "\n")
	}
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		with("taken out", i)
		with("doubled", i, line, line)
		if i+1 < len(lines) && strings.TrimSpace(lines[i+1]) != "" {
			swapped := slices.Clone(lines)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			all[fmt.Sprintf("line %d, moved down", i+1)] = strings.Join(swapped, "\n")
		}
		for _, pair := range [][2]string{
			{"ssd", "hdd"}, {"hdd", "ssd"}, {"GiB", "TiB"}, {"1GiB", "2GiB"}, {"8GiB", "16GiB"}, {"hypervisor", "hv1"}, {"/mnt/", "/srv/"},
			{"vmstore:", "fast:"}, {"bulk:", "slow:"}, {"br0", "br1"}, {"192.168.1", "10.0.0"}, {"true", "false"}, {"TB}", "TB, serial: X}"},
			{"zstd", "lzo"}, {"noatime", "relatime"}, {"home: /home", "home: /home, srv: /srv"}, {"home: /home", "data: /home"},
		} {
			if strings.Contains(line, pair[0]) {
				with(pair[0]+" is "+pair[1], i, strings.ReplaceAll(line, pair[0], pair[1]))
			}
		}
		if at := strings.Index(line, disk.ByIDFolder); at >= 0 {
			name, rest := line[at+len(disk.ByIDFolder):], ""
			if end := strings.IndexAny(name, ",} "); end >= 0 {
				name, rest = name[:end], name[end:]
			}
			with("no such disk", i, line[:at]+disk.ByIDFolder+name+"X"+rest)
			for _, d := range f.Disks.Disks {
				if len(d.ByID) > 0 && d.Called() != name {
					with("is "+d.Called(), i, line[:at]+disk.ByIDFolder+d.Called()+rest)
				}
			}
		}
	}
	return all
}

// foreign is what the disks' steps would find in another's place when they ran
// on these facts: the plan must have found it before.
func foreign(plan Plan) []string {
	var found []string
	for _, dp := range plan.Disk.Disks {
		if dp.Fate != disk.Keep || dp.Mapping == "" {
			continue
		}
		if c, carries := dp.Disk.Carried(); !carries || c.UUID != dp.VolumeUUID || c.Mapping != dp.Mapping {
			found = append(found, fmt.Sprintf("%s holds %v, and the plan opens %s as %s", dp.ID, c, dp.VolumeUUID, dp.Mapping))
		}
	}
	for _, fs := range plan.Disk.Filesystems {
		found = append(found, fewer(plan, fs)...)
		for _, have := range plan.Facts.Disks.Filesystems {
			members, ours := 0, 0
			for _, d := range have.Devices {
				members++
				if d.Mapping != "" && slices.Contains(fs.Devices, "/dev/mapper/"+d.Mapping) {
					ours++
				}
			}
			for _, place := range have.Places {
				for _, s := range fs.Subvols {
					if ours > 0 && filepath.Join(plan.Root, s.Mountpoint) == place.Mountpoint && s.Name != place.Subvolume {
						found = append(found, fmt.Sprintf("the subvolume %s is mounted at %s, and the plan says %s", place.Subvolume, place.Mountpoint, s.Name))
					}
				}
			}
			switch {
			case ours == 0:
				for _, s := range fs.Subvols {
					if slices.Contains(have.Mounts, s.Mountpoint) && !plan.Installing() {
						found = append(found, fmt.Sprintf("%s is mounted at %s, which is %s's", have.Label, s.Mountpoint, fs.Label))
					}
				}
			case fs.Fate != disk.Keep && fs.Fate != disk.Resume:
			case fs.UUID != have.UUID:
				found = append(found, fmt.Sprintf("%s has the UUID %s, and the plan says %s", have.Label, have.UUID, fs.UUID))
			case ours < members && len(fs.Joins) == 0:
				found = append(found, fmt.Sprintf("%s has %d devices, and the plan %d of them", have.Label, members, ours))
			}
		}
	}
	return found
}

// fewer is what mkfs' step would find of a pool that is closed now, once it is
// open: members as of the last run, and fewer in the layout.
func fewer(plan Plan, fs disk.FilesystemPlan) []string {
	closed := !slices.ContainsFunc(plan.Facts.Disks.Filesystems, func(have disk.Btrfs) bool { return have.UUID == fs.UUID })
	for _, dp := range plan.Disk.Disks {
		if c, carries := dp.Disk.Carried(); closed && carries && fs.Fate == disk.Keep && dp.Role == disk.RolePool && dp.Pool == fs.Label && c.Of > len(fs.Devices) {
			return []string{fmt.Sprintf("%s had %d members, and the plan %d", fs.Label, c.Of, len(fs.Devices))}
		}
	}
	return nil
}

// TestEditsAreNeverDestructive: whatever line of its layout is edited, a host's
// own volume is never called data that may be erased, planning is the same
// twice, and what a step would find foreign the plan refuses.
func TestEditsAreNeverDestructive(t *testing.T) {
	pairs := 0
	for name, f := range allMachines(t) {
		path := filepath.Join(machinesFolder, name+".yaml")
		if _, err := os.Stat(path); err != nil {
			path = "../configs/examples/hypervisor.yaml"
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for edit, edited := range edits(string(text), f) {
			file := filepath.Join(t.TempDir(), "layout.yaml")
			if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
				t.Fatal(err)
			}
			layout, err := configs.LoadFile(file, "")
			if err != nil {
				continue // the layout is refused before any machine is looked at
			}
			pairs++
			in := Input{Layout: layout, Facts: f}
			plan := Make(in)
			if again := Make(in); again.Digest != plan.Digest {
				t.Errorf("%s, %s: the digest is %s, then %s", name, edit, plan.Digest, again.Digest)
			}
			for _, r := range plan.Refusals {
				for _, d := range f.Disks.ByName(r.Where) {
					_, carries := d.Carried()
					if said := r.What + " " + r.Hint; carries && (strings.Contains(said, "--erase") || strings.Contains(said, "holds data:") || strings.Contains(said, "did not make")) {
						t.Errorf("%s, %s: of a host's own volume it is said: %s", name, edit, said)
					}
				}
			}
			if found := foreign(plan); len(found) > 0 && len(plan.Refusals) == 0 {
				t.Errorf("%s, %s: not refused, and a step would stop: %s", name, edit, strings.Join(found, "; "))
			}
		}
	}
	if pairs < 300 {
		t.Errorf("%d pairs of a machine and an edit, want at least 300", pairs)
	}
	t.Logf("%d pairs", pairs)
}
