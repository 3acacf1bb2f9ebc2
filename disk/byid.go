package disk

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// ByIDError is a name that does not name a disk by its id.
type ByIDError struct {
	Name string
	Why  string
}

func (e *ByIDError) Error() string {
	return fmt.Sprintf("%q %s; 'hvinstall discover' lists each disk's /dev/disk/by-id name", e.Name, e.Why)
}

var (
	partitionAlias = regexp.MustCompile(`-part[0-9]+$`)
	bootTimeName   = regexp.MustCompile(`^/dev/(sd[a-z]+|nvme[0-9]+n[0-9]+|vd[a-z]+|hd[a-z]+|mmcblk[0-9]+|dm-[0-9]+|md[0-9]+|loop[0-9]+|disk[0-9]+)`)
)

// ByIDName checks that path is /dev/disk/by-id/NAME of a whole disk, and
// returns NAME. It does not look at the machine.
func ByIDName(path string) (string, error) {
	bad := func(why string) (string, error) { return "", &ByIDError{Name: path, Why: why} }
	name, found := strings.CutPrefix(path, ByIDFolder)
	switch {
	case strings.ContainsFunc(path, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }):
		return bad("has a character that no disk's name has")
	case !found && bootTimeName.MatchString(path):
		return bad("is a name that the kernel gives anew at each boot, perhaps to another disk")
	case !found && strings.HasPrefix(path, "/dev/disk/"):
		return bad("is not in " + ByIDFolder)
	case !found:
		return bad("is not a path below " + ByIDFolder)
	case name == "":
		return bad("names no disk")
	case strings.Contains(name, "/") || name == "." || name == "..":
		return bad("is not a name directly in " + ByIDFolder)
	case strings.ContainsFunc(name, unicode.IsSpace):
		return bad("has a blank, which udev never writes into a name")
	case len(name) > 255:
		return bad("is longer than a file name can be")
	case partitionAlias.MatchString(name):
		return bad("is a partition; a layout names whole disks, which is " + ByIDFolder + partitionAlias.ReplaceAllString(name, ""))
	}
	return name, nil
}
