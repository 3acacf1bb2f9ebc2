package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"hvinstall/host"
	"hvinstall/step"
)

// Step IDs, by which other steps wait for these.
func (dp DiskPlan) TableStepID() string { return "disk/table/" + dp.Name }

// VFATStepID is the ID of the step that formats the disk's ESP or key stick.
func (dp DiskPlan) VFATStepID() string { return "disk/vfat/" + dp.Name }

// SealStepID is the ID of the step that completes the disk.
func (dp DiskPlan) SealStepID() string { return "disk/seal/" + dp.Name }

// Writes reports whether the disk is one that hvinstall makes or made, and not
// one that it adopted as it was.
func (dp DiskPlan) Writes() bool { return dp.Fate != Adopt && dp.Fate != Refuse && dp.Fate != Away }

// vfat is the disk's partition that holds a VFAT.
func (dp DiskPlan) vfat() (PartitionPlan, bool) {
	for _, p := range dp.Table.Partitions {
		if p.Format == "vfat" {
			return p, true
		}
	}
	return PartitionPlan{}, false
}

// HasVFAT reports whether the disk has an ESP or is a key stick.
func (dp DiskPlan) HasVFAT() bool {
	_, has := dp.vfat()
	return has
}

// Begun reports whether the disk carries the mark of a disk that is being
// made: nothing on it can be anybody's data yet.
func (dp DiskPlan) Begun() (bool, error) {
	file, err := os.Open(dp.ID)
	if err != nil {
		return false, err
	}
	defer file.Close()
	return isBegun(file, dp.Disk.Size, dp.Disk.LogicalSector, dp.Table.GUID)
}

// held keeps a partition of each newly partitioned disk open for the rest of
// the run; see reread.
var held sync.Map

// TableStep wipes the disk's old signatures and writes its partition table.
func (dp DiskPlan) TableStep(after ...string) step.Step {
	s := step.Step{ID: dp.TableStepID(), Title: "partition " + dp.Name + " (" + dp.Disk.Called() + ")", After: after}
	if dp.Fate == Create || dp.Fate == Erase {
		s.Wipes = []string{dp.ID}
	}
	for _, p := range dp.Table.Partitions {
		s.Detail = append(s.Detail, fmt.Sprintf("%d  %-24s %10s  %s", p.Number, p.Label, BinarySize(p.Size), p.Format))
	}
	s.Check = func(context.Context) (step.State, string, error) { return dp.checkTable() }
	s.Do = func(ctx context.Context, report step.Reporter) error { return dp.doTable(ctx, report) }
	return s
}

func (dp DiskPlan) checkTable() (step.State, string, error) {
	file, err := os.Open(dp.ID)
	if errors.Is(err, os.ErrNotExist) {
		return step.Foreign, "the disk is not there; plug it in", nil
	}
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	size, err := deviceSize(file)
	if err != nil {
		return 0, "", err
	}
	if size != dp.Disk.Size {
		return step.Foreign, fmt.Sprintf("the disk has %d bytes, and had %d when the plan was made", size, dp.Disk.Size), nil
	}
	found, why, err := dp.Table.findTable(file, size, dp.Disk.LogicalSector)
	switch {
	case err != nil:
		return 0, "", err
	case found == tableBroken:
		return step.Foreign, "the table is hvinstall's own and complete once, and now " + why + "; 'sgdisk -v' and 'sgdisk -e' repair tables", nil
	case found == tableBegun:
		return step.Absent, why, nil
	case found == tableNone && dp.Fate != Create && dp.Fate != Erase:
		return step.Foreign, "the partition table is not the one that the plan found", nil
	case found == tableNone:
		return step.Absent, why, nil
	}
	why, err = dp.unknown()
	if err != nil {
		return 0, "", err
	}
	if why != "" {
		return step.Absent, why, nil
	}
	return step.Done, "", nil
}

func (dp DiskPlan) doTable(ctx context.Context, report step.Reporter) error {
	file, err := openExclusive(ctx, dp.ID)
	if err != nil {
		return err
	}
	defer file.Close()
	found, _, err := dp.Table.findTable(file, dp.Disk.Size, dp.Disk.LogicalSector)
	if err != nil {
		return err
	}
	if found != tableWhole {
		if err := dp.recheck(ctx); err != nil {
			return err
		}
		writes, err := dp.Table.layOut(dp.Disk.Size, dp.Disk.LogicalSector)
		if err != nil {
			return err
		}
		if found == tableNone {
			report.Log("wiping old signatures on %s", dp.ID)
			if err := dp.wipe(file); err != nil {
				return err
			}
		}
		report.Log("writing the partition table of %s", dp.ID)
		if err := writes.put(file); err != nil {
			return err
		}
	}
	partition, err := dp.reread(ctx, file)
	if err != nil {
		return err
	}
	if old, there := held.Swap(dp.ID, partition); there {
		old.(*os.File).Close()
	}
	// udev looks at the disk only once its lock is gone.
	if err := file.Close(); err != nil {
		return err
	}
	return dp.waitForLinks(ctx)
}

// VFATStep formats the ESP, or the key stick's only partition.
func (dp DiskPlan) VFATStep(after ...string) step.Step {
	p, _ := dp.vfat()
	what := "ESP"
	if dp.Role == RoleKey {
		what = "key stick"
	}
	return step.Step{
		ID: dp.VFATStepID(), Title: fmt.Sprintf("format the %s of %s", what, dp.Name), After: append([]string{dp.TableStepID()}, after...),
		Detail: []string{fmt.Sprintf("VFAT %q, UUID %s", p.FSLabel, p.FSUUID)},
		Check: func(context.Context) (step.State, string, error) {
			found, err := p.foundVFAT()
			if err != nil {
				return 0, "", err
			}
			making := dp.Fate == Create || dp.Fate == Erase
			if !making {
				if making, err = dp.Begun(); err != nil {
					return 0, "", err
				}
			}
			switch {
			case found == p.FSUUID && (p.isNamed() || !making):
				return step.Done, "", nil
			case found == p.FSUUID:
				return step.Absent, "udev does not show it yet", nil
			case making:
				return step.Absent, "not formatted yet", nil
			case found != "":
				return step.Done, "formatted anew by somebody, UUID " + found, nil
			}
			return step.Foreign, fmt.Sprintf("partition %d of %s held a VFAT once, and holds none now; run fsck.vfat, or format it by mkfs.vfat -F 32 -i %s", p.Number, dp.ID, p.FSUUID), nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			found, err := p.foundVFAT()
			if err == nil && found != p.FSUUID {
				err = p.makeVFAT(ctx, report.Log)
			}
			if err != nil {
				return err
			}
			return p.name(ctx)
		},
	}
}

// SealStep completes the disk: from then on, what is on it is somebody's data.
func (dp DiskPlan) SealStep(after ...string) step.Step {
	return step.Step{
		ID: dp.SealStepID(), Title: "complete " + dp.Name, After: append([]string{dp.TableStepID()}, after...),
		Check: func(context.Context) (step.State, string, error) {
			if dp.Fate == Create || dp.Fate == Erase {
				// Until the table is written there is nothing to complete.
				if state, why, err := dp.checkTable(); err != nil || state == step.Absent {
					return step.Absent, why, err
				}
			}
			begun, err := dp.Begun()
			if err != nil || begun {
				return step.Absent, "the disk still has the mark of one that is being made", err
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error {
			file, err := os.OpenFile(dp.ID, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			sector := max(dp.Disk.LogicalSector, 512)
			err = zero(file, []span{{begunOffset(dp.Disk.Size, sector), uint64(sector)}})
			return errors.Join(err, file.Close())
		},
	}
}

// ESPMountStep mounts the ESP below the target root.
func (dp DiskPlan) ESPMountStep(root, mountpoint string, after ...string) step.Step {
	p, _ := dp.vfat()
	target := below(root, mountpoint)
	return step.Step{
		ID: MountStepID(mountpoint), Title: "mount the ESP at " + target, After: append([]string{dp.VFATStepID()}, after...),
		Check: func(context.Context) (step.State, string, error) {
			m, mounted, err := host.MountedAt(target)
			if err != nil || !mounted {
				return step.Absent, "not mounted", err
			}
			name, err := kernelName(p.Device())
			if err != nil {
				return 0, "", err
			}
			source, err := kernelName(m.Source)
			if errors.Is(err, os.ErrNotExist) || err == nil && source != name {
				return step.Foreign, fmt.Sprintf("%s is mounted at %s", m.Source, target), nil
			}
			return step.Done, "", err
		},
		Do: func(context.Context, step.Reporter) error {
			return host.MountFS(p.Device(), target, "vfat", "fmask=0077", "dmask=0077", "noatime")
		},
	}
}
