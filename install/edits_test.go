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
	"hvinstall/step"
)

// edits are the layout with one line changed each, as people change them: a
// line taken out, doubled, moved down, a number or a name changed, another of
// the machine's disks in a disk's place, two disks exchanged, ssd for hdd.
func edits(text string, f Facts) map[string]string {
	lines := strings.Split(text, "\n")
	all := map[string]string{}
	last := -1 // line that names a disk: in a layout that has one, a key stick
	for i, line := range lines {
		if _, named := namedIn(line); named {
			last = i
		}
	}
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
		if name, named := namedIn(line); named {
			is := func(other string) string { return strings.Replace(line, name, other, 1) }
			with("no such disk", i, is(name+"X"))
			for _, d := range f.Disks.Disks {
				if len(d.ByID) > 0 && d.Called() != name {
					with("is "+d.Called(), i, is(d.Called()))
				}
			}
			if other, _ := namedIn(lines[last]); i != last {
				exchanged := slices.Clone(lines)
				exchanged[i], exchanged[last] = is(other), strings.Replace(lines[last], other, name, 1)
				all[fmt.Sprintf("line %d, exchanged with line %d", i+1, last+1)] = strings.Join(exchanged, "\n")
			}
		}
	}
	return all
}

// namedIn is the by-id name in a line.
func namedIn(line string) (name string, named bool) {
	if _, name, named = strings.Cut(line, disk.ByIDFolder); !named || strings.HasPrefix(strings.TrimSpace(line), "#") {
		return "", false
	}
	if end := strings.IndexAny(name, ",} "); end >= 0 {
		name = name[:end]
	}
	return name, true
}

// closed is the machine as a live system sees it: nothing is open, and the host
// says nothing.
func closed(t *testing.T, f Facts) Facts {
	t.Helper()
	f = clone(t, f)
	f.Seed, f.Hostname, f.Disks.Filesystems, f.Disks.Swapfiles = "", "live", nil, nil
	for i := range f.Disks.Disks {
		d := &f.Disks.Disks[i]
		d.Holders, d.Live = nil, false
		for j := range d.Partitions {
			d.Partitions[j].Holders = nil
		}
	}
	return f
}

// harm is what a plan does, or advises, to a disk that a host's own work is on.
func harm(f Facts, plan disk.Plan, refusals []step.Refusal) []string {
	var found []string
	for _, dp := range plan.Disks {
		if isMade(dp.Disk) && (dp.Fate == disk.Create || dp.Fate == disk.Erase) {
			found = append(found, fmt.Sprintf("%s: %s", dp.ID, dp.Fate))
		}
	}
	for _, d := range f.Disks.Disks {
		if !isMade(d) {
			continue
		}
		for _, r := range append(slices.Clone(refusals), plan.Waits...) {
			said := r.What + " " + r.Hint
			_, offered, _ := strings.Cut(r.Hint, "name one that is there: ")
			about := slices.Contains(d.ByID, strings.TrimPrefix(r.Where, disk.ByIDFolder))
			switch {
			case about && (strings.Contains(said, "--erase") || strings.Contains(said, "holds data:") || strings.Contains(said, "did not make") || strings.Contains(said, "made anew")),
				slices.ContainsFunc(d.ByID, func(id string) bool {
					return strings.Contains(said, "--erase "+id) || strings.Contains(said, "--erase "+disk.ByIDFolder+id)
				}),
				strings.Contains(offered, d.Called()):
				found = append(found, fmt.Sprintf("of %s it is said: %s", d.Called(), said))
			}
		}
	}
	return found
}

// unchecked takes what else would refuse a disk out of the layout: its size,
// model, serial and kind.
func unchecked(l *configs.Layout) {
	if l.OS != nil {
		l.OS.Disk, l.OS.StorageMedia = configs.DiskRef{ID: l.OS.Disk.ID}, ""
	}
	for i := range l.Pools {
		l.Pools[i].StorageMedia = ""
		for j := range l.Pools[i].Disks {
			l.Pools[i].Disks[j] = configs.DiskRef{ID: l.Pools[i].Disks[j].ID}
		}
	}
}

// harms is harm of the layout on the machine at work and closed, without consent
// and with consent to every disk: in the live system, where what is consented to
// does not say whose it is, to every disk that is not kept.
func harms(t *testing.T, l *configs.Layout, open, closed Facts) []string {
	t.Helper()
	var found []string
	unchecked(l)
	for _, f := range []Facts{open, closed} {
		in := disk.Input{Layout: l, Facts: f.Disks, Target: TargetRoot, Hostname: f.Hostname, Seed: f.Seed}
		plan, refusals := disk.MakePlan(in)
		found = append(found, harm(f, plan, refusals)...)
		for _, dp := range plan.Disks {
			if len(dp.Disk.ByID) > 0 && (f.Seed != "" || dp.Fate != disk.Keep) {
				in.Erase = append(in.Erase, dp.ID)
			}
		}
		plan, refusals = disk.MakePlan(in)
		for _, what := range harm(f, plan, refusals) {
			found = append(found, fmt.Sprintf("consented to %d disks: %s", len(in.Erase), what))
		}
	}
	return found
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
// own disk is neither erased nor called data that may be erased, with consent and
// without, on the host at work and in a live system; planning is the same twice,
// and what a step would find foreign the plan refuses.
func TestEditsAreNeverDestructive(t *testing.T) {
	pairs, made := 0, 0
	layouts := filepath.Join(t.TempDir(), "layout.yaml")
	for name, f := range makeMachines(t) {
		path := filepath.Join(machinesFolder, name+".yaml")
		if _, err := os.Stat(path); err != nil {
			path = "../configs/examples/hypervisor.yaml"
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		inLive := closed(t, f)
		for _, d := range f.Disks.Disks {
			if isMade(d) {
				made++
			}
		}
		for edit, edited := range edits(string(text), f) {
			if err := os.WriteFile(layouts, []byte(edited), 0o600); err != nil {
				t.Fatal(err)
			}
			layout, err := configs.LoadFile(layouts, "")
			if err != nil {
				continue // the layout is refused before any machine is looked at
			}
			pairs++
			in := Input{Layout: layout, Facts: f}
			plan := Make(in)
			if again := Make(in); again.Digest != plan.Digest {
				t.Errorf("%s, %s: the digest is %s, then %s", name, edit, plan.Digest, again.Digest)
			}
			for _, what := range harm(f, plan.Disk, plan.Refusals) {
				t.Errorf("%s, %s: a host's own: %s", name, edit, what)
			}
			if found := foreign(plan); len(found) > 0 && len(plan.Refusals) == 0 {
				t.Errorf("%s, %s: not refused, and a step would stop: %s", name, edit, strings.Join(found, "; "))
			}
			if name == "hypervisor-first-round" && layout.Hostname != "hypervisor" {
				continue // a host without marks is known in a live system by its hostname alone
			}
			for _, what := range harms(t, layout, f, inLive) {
				t.Errorf("%s, %s, sizes and kinds not checked: a host's own: %s", name, edit, what)
			}
		}
	}
	if pairs < 300 || made < 60 {
		t.Errorf("%d pairs of a machine and an edit, want at least 300; %d disks that the makers wrote, want at least 60", pairs, made)
	}
	t.Logf("%d pairs, %d disks written by the makers", pairs, made)
}
