package install

import (
	"fmt"
	"os"
	"slices"

	"hvinstall/crypt"
)

// VolumeStatus is one LUKS volume.
type VolumeStatus struct {
	Mapping    string      `json:"mapping"`
	Device     string      `json:"device"`
	Open       bool        `json:"open"`
	Passphrase bool        `json:"passphrase"`       // it has a passphrase slot
	Sticks     []string    `json:"sticks,omitempty"` // of the layout, that have a slot
	Former     []StickSlot `json:"former,omitempty"` // sticks that have a slot, and are not in the layout
	Discards   bool        `json:"discards"`
	Damaged    bool        `json:"damaged,omitempty"` // one of the header's two copies
	Unseen     string      `json:"unseen,omitempty"`  // why its header could not be read
}

// StickSlot is a stick that opens a volume by a slot of its own.
type StickSlot struct {
	Stick string `json:"stick"`
	Slot  int    `json:"slot"`
}

func volumeStatus(v crypt.VolumePlan, keys []crypt.KeyPlan) VolumeStatus {
	s := VolumeStatus{Mapping: v.Mapping, Device: v.Device}
	if _, err := os.Stat(v.Path()); err == nil {
		s.Open = true
	}
	header, err := crypt.ReadHeader(v.Device)
	if err != nil {
		s.Unseen = err.Error()
		return s
	}
	s.Passphrase, s.Discards, s.Damaged = header.PassphraseSlot() >= 0, header.AllowsDiscards(), header.Damaged
	for _, stick := range header.Sticks() {
		if slices.ContainsFunc(keys, func(k crypt.KeyPlan) bool { return k.FSUUID == stick }) {
			s.Sticks = append(s.Sticks, stick)
		} else {
			s.Former = append(s.Former, StickSlot{stick, header.KeySlot(stick)})
		}
	}
	return s
}

func (s VolumeStatus) differs(add func(where, what, hint string)) {
	for _, f := range s.Former {
		add(s.Mapping, fmt.Sprintf("is opened by the stick %s, which is not in the layout", f.Stick),
			fmt.Sprintf("if that stick is lost: cryptsetup luksKillSlot %s %d", s.Device, f.Slot))
	}
	if s.Damaged {
		add(s.Mapping, "one of the two copies of its LUKS header is damaged", "hvinstall --plan mends it from the other; look after the disk")
	}
}
