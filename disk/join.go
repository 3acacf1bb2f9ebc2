package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hvinstall/host"
	"hvinstall/step"
)

// A pool's file system outlives its disks. Where the layout names a disk that
// the file system does not have yet, the disk takes a missing one's place, or
// is one more. Nothing is done to disks that the layout does not name.

// JoinStepID is the ID of the step that takes new disks into the pool.
func (fs FilesystemPlan) JoinStepID() string { return "disk/join/" + fs.Label }

// JoinStep makes the pool's file system stand on exactly the plan's devices,
// with two copies of everything. It needs the pool mounted.
func (fs FilesystemPlan) JoinStep(root string, after ...string) step.Step {
	mountpoint := below(root, fs.Subvols[0].Mountpoint)
	return step.Step{
		ID: fs.JoinStepID(), Title: fmt.Sprintf("take new disks into %q", fs.Label), After: after,
		Detail: []string{"a missing disk's place is taken by btrfs replace, else the pool grows by btrfs device add"},
		Check: func(context.Context) (step.State, string, error) {
			m, err := fs.membership(mountpoint)
			if err != nil {
				return 0, "", err
			}
			return m.state(fs)
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			return fs.join(ctx, mountpoint, report)
		},
	}
}

// membership compares the mounted file system with the plan.
type membership struct {
	closed  []string    // planned devices that are not open
	fresh   []string    // planned devices that the file system does not have, and that the plan makes
	strange []string    // planned devices that it does not have although they are complete: never written to
	missing []btrfsInfo // devices that it has and that are gone
	others  []btrfsInfo // devices that it has, that are there, and that the plan does not name
	single  bool        // it has chunks of one copy, written while a disk was missing
	mounted bool
}

func (fs FilesystemPlan) membership(mountpoint string) (membership, error) {
	var m membership
	members, err := fs.members()
	if err != nil {
		return m, err
	}
	fsid, _, err := filesystemAt(mountpoint)
	m.mounted = err == nil && (fsid == fs.UUID || fs.UUID == "")
	if !m.mounted {
		return m, nil //nolint:nilerr // another file system's place, or none: not mounted
	}
	devices, err := btrfsDevices(mountpoint)
	if err != nil {
		return m, err
	}
	has := func(path string) bool {
		return slices.ContainsFunc(devices, func(d btrfsInfo) bool { return d.id != 0 && !d.missing && sameDevice(d.path, path) })
	}
	for _, member := range members {
		switch {
		case member.closed:
			m.closed = append(m.closed, member.path)
		case !has(member.path) && !slices.Contains(fs.Joins, strings.TrimPrefix(member.path, "/dev/mapper/")):
			m.strange = append(m.strange, member.path)
		case !has(member.path):
			m.fresh = append(m.fresh, member.path)
		}
	}
	for _, d := range devices {
		switch {
		case d.id == 0: // a replace is under way
		case d.missing:
			m.missing = append(m.missing, d)
		case !fs.isMember(d.path):
			m.others = append(m.others, d)
		}
	}
	m.single = hasSingle(fsid)
	return m, nil
}

func (m membership) state(fs FilesystemPlan) (step.State, string, error) {
	switch {
	case !m.mounted:
		return step.Absent, "the pool is not mounted", nil
	case len(m.closed) > 0:
		return step.Absent, m.closed[0] + " is not open", nil
	case len(m.strange) > 0:
		return step.Foreign, fmt.Sprintf("%s is the pool's by its name, and no member of its file system: it may be a former member or a copy; "+
			"nothing is written to it. Take its line out of the layout, or look at it with 'btrfs inspect-internal dump-super %s'", m.strange[0], m.strange[0]), nil
	case len(m.others) > 0:
		other := m.others[0]
		hint := fmt.Sprintf("'btrfs device remove %d %s' empties it", other.id, fs.Subvols[0].Mountpoint)
		if len(m.fresh) > 0 {
			hint = fmt.Sprintf("'btrfs replace start %d %s %s' moves its content, or take the disk out and run again", other.id, m.fresh[0], fs.Subvols[0].Mountpoint)
		}
		return step.Foreign, fmt.Sprintf("the pool has %s (devid %d), which the layout does not name; %s", other.path, other.id, hint), nil
	case len(m.fresh) > 0:
		return step.Absent, strings.Join(m.fresh, ", ") + " is not part of the pool yet", nil
	case len(m.missing) > 0:
		return step.Absent, fmt.Sprintf("device %d of the pool is missing", m.missing[0].id), nil
	case m.single:
		return step.Absent, "a part of the pool has one copy", nil
	}
	return step.Done, "", nil
}

// join goes from whatever an earlier run left to two copies on the plan's
// devices.
func (fs FilesystemPlan) join(ctx context.Context, mountpoint string, report step.Reporter) error {
	if err := finishReplace(ctx, mountpoint, report); err != nil {
		return err
	}
	if err := giveUpBalance(ctx, mountpoint, report); err != nil {
		return err
	}
	m, err := fs.membership(mountpoint)
	if err != nil {
		return err
	}
	if len(m.strange) > 0 {
		return fmt.Errorf("%s is no member of the pool, and complete: it is not taken in", m.strange[0])
	}
	run := func(argv ...string) error { return host.Cmd{Argv: argv, Log: report.Log}.Run(ctx) }
	for _, device := range m.fresh {
		size, err := sizeOf(device)
		if err != nil {
			return err
		}
		// btrfs replaces only by a device that is no smaller.
		at := slices.IndexFunc(m.missing, func(lost btrfsInfo) bool { return lost.size <= size })
		if at >= 0 {
			if err := replace(ctx, m.missing[at], device, mountpoint, report); err != nil {
				return err
			}
			m.missing = slices.Delete(m.missing, at, at+1)
			continue
		}
		// On a disk that is still being made, --force overwrites nothing but
		// what an earlier attempt left.
		if err := run("btrfs", "device", "add", "--force", device, mountpoint); err != nil {
			return err
		}
	}
	// Those that are still missing were larger than what came: their copies are
	// made anew on all devices together.
	for range m.missing {
		if err := run("btrfs", "device", "remove", "missing", mountpoint); err != nil {
			return err
		}
	}
	// soft: what has two copies already is not touched.
	if err := run("btrfs", "balance", "start", "-dconvert=raid1,soft", "-mconvert=raid1,soft", mountpoint); err != nil {
		return err
	}
	return run("btrfs", "filesystem", "sync", mountpoint)
}

// giveUpBalance ends a balance that an earlier run began: the kernel goes on
// with it after a power cut, or keeps it paused, and lets nothing else begin.
// What it has moved stays moved.
func giveUpBalance(ctx context.Context, mountpoint string, report step.Reporter) error {
	err := host.Cmd{Argv: []string{"btrfs", "balance", "status", mountpoint}}.Run(ctx)
	var failed *host.CommandError
	// btrfs-balance(8): 1 means that there is one, running or paused.
	if !errors.As(err, &failed) || failed.ExitCode() != 1 {
		return err
	}
	err = host.Cmd{Argv: []string{"btrfs", "balance", "cancel", mountpoint}, Log: report.Log}.Run(ctx)
	if errors.As(err, &failed) && failed.ExitCode() == 2 { // it has ended meanwhile
		return nil
	}
	return err
}

// replace puts a device in a missing one's place, and tells how far it is.
func replace(ctx context.Context, lost btrfsInfo, device, mountpoint string, report step.Reporter) error {
	ended := make(chan error, 1)
	go func() {
		ended <- host.Cmd{Argv: []string{"btrfs", "replace", "start", "-B", "-f", fmt.Sprint(lost.id), device, mountpoint}, Log: report.Log}.Run(ctx)
	}()
	tick := time.NewTicker(replacePoll)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			if s, err := replaceStatus(ctx, mountpoint); err == nil && s.running {
				report.Progress(s.tenths, 1000, "‰")
			}
		}
	}
}
