package crypt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hvinstall/host"

	"github.com/anatol/devmapper.go"
	"golang.org/x/sys/unix"
)

// MappingTakenError is a mapping name that belongs to something else.
type MappingTakenError struct{ Mapping, UUID string }

func (e *MappingTakenError) Error() string {
	return fmt.Sprintf("/dev/mapper/%s is something else (%s); close it with 'cryptsetup close %s' or dmsetup", e.Mapping, e.UUID, e.Mapping)
}

// OpenElsewhereError is a volume that is open under another name.
type OpenElsewhereError struct{ Mapping, Name string }

func (e *OpenElsewhereError) Error() string {
	return fmt.Sprintf("the volume of %s is open already as /dev/mapper/%s; close it with 'cryptsetup close %s'", e.Mapping, e.Name, e.Name)
}

// isOpen reports whether the volume's mapping is there and is this volume's.
// The mapping's UUID is CRYPT-LUKS2-<UUID without dashes>-<name>, as
// cryptsetup's dm_prepare_uuid() makes it.
func (v VolumePlan) isOpen() (bool, error) {
	info, err := devmapper.InfoByName(v.Mapping)
	if errors.Is(err, unix.ENXIO) {
		return false, nil
	}
	if errors.Is(err, os.ErrNotExist) { // no device mapper yet: nothing is open
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for %s: %w", v.Mapping, err)
	}
	if !v.owns(info.UUID) {
		return false, &MappingTakenError{v.Mapping, info.UUID}
	}
	return info.Flags&unix.DM_ACTIVE_PRESENT_FLAG != 0, nil
}

// dropUnfinished removes what is left of an opening that was killed between
// the mapping's making and its table's loading: a name that leads nowhere, and
// that nobody can have opened.
func (v VolumePlan) dropUnfinished() error {
	info, err := devmapper.InfoByName(v.Mapping)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking for %s: %w", v.Mapping, err)
	}
	if !v.owns(info.UUID) || info.Flags&unix.DM_ACTIVE_PRESENT_FLAG != 0 || info.OpenCount > 0 {
		return nil
	}
	if err := devmapper.Remove(v.Mapping); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("removing what a run that was cut short left of %s: %w", v.Mapping, err)
	}
	return nil
}

func (v VolumePlan) owns(dmUUID string) bool {
	uuid := strings.ReplaceAll(v.UUID, "-", "")
	return strings.HasPrefix(dmUUID, "CRYPT-LUKS2-"+uuid+"-") || strings.HasPrefix(dmUUID, "CRYPT-LUKS1-"+uuid+"-")
}

// openElsewhere is the name under which the device is open, other than the
// plan's, or "". Device mapper would open it a second time without a word, and
// btrfs would see one device twice.
func (v VolumePlan) openElsewhere(device string) string {
	holders, err := filepath.Glob("/sys/class/block/" + filepath.Base(device) + "/holders/*/dm")
	if err != nil {
		return ""
	}
	for _, dm := range holders {
		uuid, err := os.ReadFile(dm + "/uuid")
		if err != nil {
			continue // closed meanwhile
		}
		name, err := os.ReadFile(dm + "/name")
		if err == nil && v.owns(string(uuid)) && strings.TrimSpace(string(name)) != v.Mapping {
			return strings.TrimSpace(string(name))
		}
	}
	return ""
}

// Close removes the mapping; one that is not there is no error.
func (v VolumePlan) Close() error {
	open, err := v.isOpen()
	if err != nil || !open {
		return err
	}
	if err := devmapper.Remove(v.Mapping); err != nil {
		return fmt.Errorf("closing %s: %w", v.Mapping, err)
	}
	// udev removes its link; without udev the link is ours.
	if !udevRuns() {
		if err := os.Remove(v.Path()); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

func udevRuns() bool { return unix.Access("/run/udev/control", unix.F_OK) == nil }

// nodeTimeout is how long udev gets to name a device that is there.
const nodeTimeout = 30 * time.Second

// waitForNode returns once /dev/mapper/<mapping> leads to the mapping. Where
// udev runs, it makes the link; elsewhere (an initramfs) this does.
func (v VolumePlan) waitForNode(ctx context.Context) error {
	info, err := devmapper.InfoByName(v.Mapping)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", v.Mapping, err)
	}
	leads := func() bool {
		var stat unix.Stat_t
		return unix.Stat(v.Path(), &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFBLK && stat.Rdev == info.DevNo
	}
	if !udevRuns() {
		if leads() {
			return nil
		}
		target, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(info.DevNo), unix.Minor(info.DevNo)))
		if err != nil {
			return fmt.Errorf("looking for %s: %w", v.Mapping, err)
		}
		if err := os.Remove(v.Path()); err != nil && !os.IsNotExist(err) {
			return err
		}
		return os.Symlink("../"+filepath.Base(target), v.Path())
	}
	ctx, cancel := context.WithTimeoutCause(ctx, nodeTimeout, fmt.Errorf("udev did not make %s within %v", v.Path(), nodeTimeout))
	defer cancel()
	return host.WaitInFolder(ctx, "/dev/mapper", leads)
}
