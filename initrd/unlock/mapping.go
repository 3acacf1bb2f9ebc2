package unlock

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// rememberMapping leaves in udev's database that a mapping was set up rightly.
// The rules of device mapper (55-dm.rules, 10-dm.rules) ignore a mapping at
// coldplug otherwise, and systemd would wait in vain for /dev/disk/by-uuid of
// the file system on it: no udevd was there to see the kernel's own event.
func rememberMapping(mapping string) error {
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	if err != nil {
		return err
	}
	for _, file := range names {
		name, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(name)) != mapping {
			continue
		}
		number, err := os.ReadFile(filepath.Join(filepath.Dir(file), "../dev"))
		if err != nil {
			return fmt.Errorf("remembering %s: %w", mapping, err)
		}
		if err := os.MkdirAll("/run/udev/data", 0o755); err != nil {
			return fmt.Errorf("remembering %s: %w", mapping, err)
		}
		entry := "E:DM_UDEV_PRIMARY_SOURCE_FLAG=1\nE:DM_ACTIVATION=1\nE:DM_NAME=" + mapping + "\n"
		return os.WriteFile("/run/udev/data/b"+strings.TrimSpace(string(number)), []byte(entry), 0o644)
	}
	return fmt.Errorf("remembering %s: the mapping is gone", mapping)
}
