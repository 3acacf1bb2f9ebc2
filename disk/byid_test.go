package disk

import (
	"errors"
	"strings"
	"testing"
)

func TestByIDName(t *testing.T) {
	for _, good := range []string{
		"nvme-Samsung_SSD_970_EVO_500GB_S466NX0M712345A", "usb-SanDisk_Ultra_4C530001230101117392-0:0",
		"wwn-0x5000c500a1b2c3d4", "ata-X-part", "ata-partition-part1x",
	} {
		if name, err := ByIDName(ByIDFolder + good); err != nil || name != good {
			t.Errorf("ByIDName(%s) = %q, %v", good, name, err)
		}
	}
	for path, want := range map[string]string{
		"/dev/sda":                            "the kernel gives anew at each boot",
		"/dev/nvme0n1":                        "the kernel gives anew at each boot",
		"/dev/disk/by-path/pci-0000":          "is not in /dev/disk/by-id/",
		"/dev/disk/by-id/":                    "names no disk",
		"/dev/disk/by-id/..":                  "is not a name directly in",
		"/dev/disk/by-id/../../sda":           "is not a name directly in",
		"/dev/disk/by-id/a/b":                 "is not a name directly in",
		"/dev/disk/by-id/ata-X-part1":         "whole disks, which is /dev/disk/by-id/ata-X",
		"/dev/disk/by-id/ata-\x1b[31m":        "a character that no disk's name has",
		"/dev/disk/by-id/ata X":               "has a blank",
		"ata-X":                               "is not a path below",
		"":                                    "is not a path below",
		ByIDFolder + strings.Repeat("a", 256): "longer than a file name",
	} {
		_, err := ByIDName(path)
		var bad *ByIDError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hvinstall discover") {
			t.Errorf("ByIDName(%q): %v, want %q and the way out", path, err, want)
		}
	}
}

func FuzzByID(f *testing.F) {
	for _, seed := range []string{"/dev/disk/by-id/nvme-A_1", "/dev/sda", "/dev/disk/by-id/../sda", "/dev/disk/by-id/a-part1", "/dev/disk/by-id/\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		name, err := ByIDName(path)
		if err != nil {
			for _, r := range err.Error() {
				if r < ' ' {
					t.Errorf("the error about %q carries a control character", path)
				}
			}
			return
		}
		if ByIDFolder+name != path || strings.ContainsAny(name, "/\x00\n ") || name == ".." || partitionAlias.MatchString(name) {
			t.Errorf("ByIDName(%q) = %q", path, name)
		}
	})
}
