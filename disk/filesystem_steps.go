package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// FormatStepID is the ID of the step that makes the file system.
func (fs FilesystemPlan) FormatStepID() string { return "disk/btrfs/" + fs.Label }

// SwapStepID is the ID of the step that makes the swapfile.
func (fs FilesystemPlan) SwapStepID() string { return "disk/swapfile/" + fs.Label }

// MountStepID is the ID of the step that mounts something at a place of the
// installed host.
func MountStepID(mountpoint string) string { return "disk/mount" + mountpoint }

// FormatStep makes the btrfs over its volumes. begun says whether the disk of a
// device is still being made, so that a missing file system is one not made
// yet, and not one that was lost.
func (fs FilesystemPlan) FormatStep(begun func(device string) (bool, error), after ...string) step.Step {
	return step.Step{
		ID: fs.FormatStepID(), Title: fmt.Sprintf("make %s %q", fs.Words(), fs.Label), After: after,
		Detail: []string{fmt.Sprintf("UUID %s, %s usable", fs.UUID, BinarySize(fs.Usable))},
		Check:  func(context.Context) (step.State, string, error) { return fs.check(begun) },
		Do: func(ctx context.Context, report step.Reporter) error {
			// A device that was closed at the check says nothing of what it holds.
			members, err := fs.members()
			if err != nil {
				return err
			}
			for _, m := range members {
				if m.closed {
					return fmt.Errorf("%s is not open", m.path)
				}
			}
			switch state, why, err := fs.check(begun); {
			case err != nil:
				return err
			case state == step.Foreign:
				return errors.New(why)
			case state == step.Done:
				return nil
			}
			return fs.make(ctx, report.Log)
		},
	}
}

func (fs FilesystemPlan) check(begun func(device string) (bool, error)) (step.State, string, error) {
	members, err := fs.members()
	if err != nil {
		return 0, "", err
	}
	var without []string
	fsid := fs.UUID
	for _, m := range members {
		switch {
		case m.closed:
			return step.Absent, m.path + " is not open", nil
		case !m.found:
			without = append(without, m.path)
		case fsid == "": // adopted: the members say which file system it is
			fsid = m.super.fsid
		case m.super.fsid != fsid:
			return step.Foreign, fmt.Sprintf("%s holds another btrfs, %q (UUID %s)", m.path, m.super.label, m.super.fsid), nil
		}
	}
	lost, err := notBegun(without, begun)
	if err != nil {
		return 0, "", err
	}
	if lost != "" {
		return step.Foreign, fmt.Sprintf("%s held a part of %q once, and its superblock is gone; 'btrfs rescue super-recover %s' may bring it back", lost, fs.Label, lost), nil
	}
	complete, err := notBegun(fs.Devices, begun)
	if err != nil {
		return 0, "", err
	}
	making, err := anyBegun(fs.Devices, begun)
	if err != nil {
		return 0, "", err
	}
	switch n := members[0].super.devices; {
	case complete != "" && making:
		return step.Done, "it is there, and new disks are taken into it when it is mounted", nil
	case len(without) > 0:
		// mkfs.btrfs finishes one device after the other, so a kill can leave some
		// that look whole. While every disk is still being made, none of it counts.
		return step.Absent, "not made yet", nil
	case n != uint64(len(members)):
		return step.Foreign, fmt.Sprintf("the file system %q has %d devices, and the layout names %d; where one of them is gone for good, "+
			"name a new disk in its place; 'btrfs device remove' takes one away", fs.Label, n, len(members)), nil
	}
	return step.Done, "", nil
}

// notBegun is the first of the devices whose disk is complete, or "".
func notBegun(devices []string, begun func(device string) (bool, error)) (string, error) {
	for _, device := range devices {
		if ok, err := begun(device); err != nil || !ok {
			return device, err
		}
	}
	return "", nil
}

// anyBegun reports whether the disk of one of the devices is still being made.
func anyBegun(devices []string, begun func(device string) (bool, error)) (bool, error) {
	for _, device := range devices {
		if ok, err := begun(device); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// mounts are the subvolumes to mount, the outer places before the inner ones.
func (fs FilesystemPlan) mounts() []SubvolumePlan {
	all := slices.Clone(fs.Subvols)
	if fs.Swap != nil {
		all = append(all, SubvolumePlan{Name: fs.Swap.Subvolume, Mountpoint: "/" + fs.Swap.Subvolume, Options: []string{"noatime"}})
	}
	slices.SortStableFunc(all, func(a, b SubvolumePlan) int {
		return strings.Count(strings.TrimSuffix(a.Mountpoint, "/"), "/") - strings.Count(strings.TrimSuffix(b.Mountpoint, "/"), "/")
	})
	return all
}

// MountSteps make each subvolume, where it is not there, and mount it below the
// target root, the outer places before the inner ones.
func (fs FilesystemPlan) MountSteps(root string, after ...string) []step.Step {
	var steps []step.Step
	var places []string
	for _, s := range fs.mounts() {
		target := below(root, s.Mountpoint)
		waits := append([]string{fs.FormatStepID()}, after...)
		for _, outer := range places {
			if within(s.Mountpoint, outer) {
				waits = append(waits, MountStepID(outer))
			}
		}
		places = append(places, s.Mountpoint)
		remounted := false // once is enough: an option that the kernel does not take comes with the next boot, or not at all
		steps = append(steps, step.Step{
			ID: MountStepID(s.Mountpoint), Title: fmt.Sprintf("mount %s of %q at %s", s.Name, fs.Label, target), After: waits,
			Detail: []string{strings.Join(s.Options, ",")},
			Check: func(context.Context) (step.State, string, error) {
				state, why, err := fs.checkMount(s, target)
				switch {
				case err != nil:
				case state == step.Done && !remounted:
					return checkOptions(s, target)
				case state == step.Absent && root == "/": // while the host is installed, what is there was put there by an earlier run
					return checkHides(target, why)
				}
				return state, why, err
			},
			Do: func(context.Context, step.Reporter) error {
				if state, _, err := fs.checkMount(s, target); err != nil {
					return err
				} else if state == step.Done {
					remounted = true
					return host.RemountFS(target, s.Options...)
				}
				source, options, err := fs.source()
				if err != nil {
					return err
				}
				mount := func() error {
					return host.MountFS(source, target, "btrfs", slices.Concat([]string{"subvol=" + s.Name}, s.Options, options)...)
				}
				err = mount()
				if errors.Is(err, os.ErrNotExist) {
					err = errors.Join(fs.atTop(func(top string) error { return createSubvolume(top, s.Name) }), mount())
				}
				return err
			},
		})
	}
	return steps
}

func within(path, outer string) bool {
	return path != outer && strings.HasPrefix(path, strings.TrimSuffix(outer, "/")+"/")
}

func (fs FilesystemPlan) checkMount(s SubvolumePlan, target string) (step.State, string, error) {
	m, mounted, err := host.MountedAt(target)
	if err != nil {
		return 0, "", err
	}
	if !mounted {
		return step.Absent, "not mounted", nil
	}
	if m.FSType != "btrfs" {
		return step.Foreign, fmt.Sprintf("%s (%s) is mounted at %s", m.Source, m.FSType, target), nil
	}
	fsid, _, err := filesystemAt(target)
	if err != nil {
		return 0, "", err
	}
	switch {
	case fs.UUID != "" && fsid != fs.UUID, fs.UUID == "" && !fs.isMember(m.Source):
		return step.Foreign, fmt.Sprintf("the btrfs %s is mounted at %s", fsid, target), nil
	case m.Root != "/"+s.Name:
		return step.Foreign, fmt.Sprintf("the subvolume %s is mounted at %s", m.Root, target), nil
	}
	return step.Done, "", nil
}

// checkOptions compares those options that the kernel shows as they were given.
func checkOptions(s SubvolumePlan, target string) (step.State, string, error) {
	m, mounted, err := host.MountedAt(target)
	if err != nil || !mounted {
		return step.Absent, "not mounted", err
	}
	have := strings.Split(m.Options, ",")
	for _, o := range s.Options {
		key, value, _ := strings.Cut(o, "=")
		begins := func(prefix string) bool {
			return slices.ContainsFunc(have, func(h string) bool { return h == prefix || strings.HasPrefix(h, prefix+":") })
		}
		right := true
		switch key {
		case "noatime", "relatime":
			right = slices.Contains(have, o)
		case "compress", "compress-force":
			right = begins(o) // zstd is shown with its level
			if value == "" || value == "no" || value == "none" {
				continue
			}
		case "discard":
			right = slices.ContainsFunc(have, func(h string) bool { return h == o || value == "" && strings.HasPrefix(h, o) })
		case "nodiscard":
			right = !slices.ContainsFunc(have, func(h string) bool { return h == "discard" || strings.HasPrefix(h, "discard=") })
		}
		if !right {
			return step.Absent, "mounted without " + o, nil
		}
	}
	return step.Done, "", nil
}

// checkHides stops before a mount that would hide files.
func checkHides(target, why string) (step.State, string, error) {
	entries, err := os.ReadDir(target)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return step.Absent, why, nil
	case err != nil:
		return 0, "", err
	case len(entries) > 0:
		return step.Foreign, fmt.Sprintf("%s holds files (%s), which a mount there would hide; move them away, or choose another mountpoint", target, entries[0].Name()), nil
	}
	return step.Absent, why, nil
}
