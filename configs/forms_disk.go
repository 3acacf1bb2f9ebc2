package configs

import (
	"fmt"
	"regexp"
	"strings"
)

const byID = "/dev/disk/by-id/"

var partition = regexp.MustCompile(`-part[0-9]+$`)

// checkDisk refuses links of by-id that are no whole disk.
func checkDisk(text string) (string, string) {
	name := strings.TrimPrefix(text, byID)
	if partition.MatchString(name) {
		return fmt.Sprintf("%s is a partition", short(name)), "name the whole disk: " + short(partition.ReplaceAllString(text, ""))
	}
	for _, kind := range []string{"dm-", "md-", "lvm-"} {
		if strings.HasPrefix(name, kind) {
			return fmt.Sprintf("%s is a device built on disks, not a disk", short(name)), "name the disk: hvinstall discover lists them"
		}
	}
	return notDots(name)
}

func fixDisk(text string) string {
	switch {
	case strings.HasPrefix(text, "/dev/disk/by-"):
		return "only by-id names stay with the disk: hvinstall discover lists them"
	case strings.HasPrefix(text, "/dev/"):
		return "kernel names change from boot to boot: hvinstall discover lists the by-id names"
	case !strings.HasPrefix(text, "/"):
		return "write " + byID + short(text)
	default:
		return "hvinstall discover lists the by-id names"
	}
}

// reservedPools are the names that something else of hvinstall has: the OS
// disk, its mapping (cryptroot), partition labels, key sticks.
var reservedPools = []string{"os", "root", "boot", "esp", "swap", "home", "nix", "key", "usb", "hvroot", "hvboot", "live"}

func checkPoolName(text string) (string, string) {
	for _, r := range reservedPools {
		if text == r {
			return fmt.Sprintf("%q cannot be a pool's name: hvinstall uses it itself", text), "choose another, such as store"
		}
	}
	return "", ""
}

// mountOptions are those of btrfs(5) and mount(8) that a layout may give.
var mountOptions = []string{
	"acl", "noacl", "autodefrag", "noautodefrag", "barrier", "nobarrier", "clear_cache", "commit", "compress", "compress-force",
	"datacow", "nodatacow", "datasum", "nodatasum", "discard", "nodiscard", "enospc_debug", "noenospc_debug", "fatal_errors", "flushoncommit", "noflushoncommit",
	"max_inline", "metadata_ratio", "rescue", "skip_balance", "space_cache", "nospace_cache", "ssd", "ssd_spread", "nossd", "thread_pool", "treelog", "notreelog", "usebackuproot", "user_subvol_rm_allowed",
	"atime", "noatime", "relatime", "norelatime", "strictatime", "lazytime", "nolazytime", "diratime", "nodiratime",
	"dev", "nodev", "exec", "noexec", "suid", "nosuid", "ro", "rw", "sync", "async", "nofail", "noauto", "auto", "defaults", "users", "nosymfollow",
}

// takenOptions are set by other keys, or would break what boots the host.
var takenOptions = map[string]string{
	"subvol":   "hvinstall mounts the subvolume itself",
	"subvolid": "hvinstall mounts the subvolume itself",
	"device":   "the pool's disks are under disks",
	"degraded": "write degraded: mount at the pool",
	"noauto":   "hvinstall has it mounted at boot",
	"ro":       "hvinstall writes to it",
}

// compression is a value of compress= in btrfs(5).
var compression = regexp.MustCompile(`^(?:zstd(?::-?[0-9]{1,2})?|zlib(?::[0-9])?|lzo|no|none)$`)

func checkMountOption(text string) (string, string) {
	word, value, _ := strings.Cut(text, "=")
	if why, taken := takenOptions[word]; taken {
		return fmt.Sprintf("%s is not for a layout", short(word)), why
	}
	if (word == "compress" || word == "compress-force") && value != "" && !compression.MatchString(value) {
		return fmt.Sprintf("%s is no compression of btrfs", quote(value)), "zstd, zstd:3, lzo, zlib or no"
	}
	// The kernel may know more than this list: only what looks like a slip of
	// the pen is refused.
	for _, known := range mountOptions {
		if word == known {
			return "", ""
		}
	}
	for _, known := range mountOptions {
		if len(word) > 4 && distance(word, known, 3) <= 2 {
			return fmt.Sprintf("unknown mount option %s", quote(text)), fmt.Sprintf("did you mean %s?", strings.Replace(text, word, known, 1))
		}
	}
	return "", ""
}
