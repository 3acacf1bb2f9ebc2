package disk

import (
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// identities is the name space of every UUID that hvinstall derives (a random
// version 4 UUID, fixed for ever: changing it would orphan disks half made).
var identities = uuid.MustParse("6f0e8f0c-3d0b-4f6e-9c58-0f3b1f6c2f6d")

// seed is what the identities of a host's new disks are derived from (RFC 9562
// version 5), so that an interrupted run finds its own work again. It says
// nothing of a disk that is made: that one carries what it is, see mark.go.
type seed string

func (s seed) uuid(purpose ...string) string {
	return uuid.NewSHA1(uuid.NewSHA1(identities, []byte(s)), []byte(strings.Join(purpose, "/"))).String()
}

// volumeSerial derives a VFAT volume serial in the form 8B34-7D3C.
func (s seed) volumeSerial(purpose string, d Disk) string {
	h := fnv.New32a()
	h.Write([]byte(s.uuid(purpose, d.Identity())))
	n := h.Sum32()
	return fmt.Sprintf("%04X-%04X", n>>16, n&0xffff)
}

// part is the identity of a part of the disk: its table, a partition. It comes
// from the disk itself and not from its place in the layout: a disk put in
// another's place must not get the other's identity.
func (s seed) part(part string, role Role, pool string, d Disk) string {
	return s.uuid(part, string(role), pool, d.Identity())
}

// volume is the UUID of the disk's LUKS volume.
func (s seed) volume(role Role, pool string, d Disk) string { return s.part("luks", role, pool, d) }

// filesystem is the UUID of the system's btrfs or a pool's. The system's is new
// where it is made on other disks: btrfs takes two of one UUID for one.
func (s seed) filesystem(role Role, pool string, disks []Disk) string {
	if role == RolePool {
		return s.uuid("btrfs/pool", pool)
	}
	var names []string
	for _, d := range disks {
		names = append(names, d.Identity())
	}
	slices.Sort(names)
	return s.uuid("btrfs/os", strings.Join(names, ","))
}

// draw makes the seed of a host that has none, when it is installed for the
// first time. It is not random: the preview and the run, and the next run after
// one that was cut short, must come to the same. The first disk makes it
// another than that of a host of the same name elsewhere.
func draw(hostname, first string) seed {
	sum := sha256.Sum256([]byte("hvinstall seed\x00" + hostname + "\x00" + first))
	return seed(fmt.Sprintf("%s-%x", hostname, sum[:6]))
}
