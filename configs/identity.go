package configs

import (
	"fmt"
	"hash/fnv"

	"github.com/google/uuid"
)

// identities is the name space of every UUID that hvinstall derives (a random
// version 4 UUID, fixed for ever: changing it would orphan installed hosts).
var identities = uuid.MustParse("6f0e8f0c-3d0b-4f6e-9c58-0f3b1f6c2f6d")

// UUID derives the identity of one thing on the host from the layout's seed,
// so that an interrupted run finds its own work again: RFC 9562 version 5.
// purpose is a path such as "luks/vmstore/Samsung_SSD_970/S4EWNX0R".
func (l *Layout) UUID(purpose string) string {
	seed := l.Seed
	if seed == "" {
		seed = l.Hostname
	}
	return uuid.NewSHA1(uuid.NewSHA1(identities, []byte(seed)), []byte(purpose)).String()
}

// VolumeSerial derives a VFAT volume serial in the form 8B34-7D3C.
func (l *Layout) VolumeSerial(purpose string) string {
	h := fnv.New32a()
	h.Write([]byte(l.UUID(purpose)))
	n := h.Sum32()
	return fmt.Sprintf("%04X-%04X", n>>16, n&0xffff)
}
