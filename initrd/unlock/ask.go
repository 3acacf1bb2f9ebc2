package unlock

import (
	"fmt"
	"path"
	"strings"

	"hvinstall/initrd/boot"
)

// tell says what is missing, each thing once.
func (o *opening) tell(st step) {
	if st.noStick && len(o.config.Keys) > 0 && o.first("no stick") {
		var sticks []string
		for _, k := range o.config.Keys {
			sticks = append(sticks, k.FSUUID)
		}
		text := fmt.Sprintf("no key stick within %v (looked for VFAT %s, file %s)",
			o.config.KeyWait, strings.Join(sticks, " and "), o.config.Keys[0].Filename)
		if o.config.FallbackToPassword {
			o.con.important("%s", text)
		} else {
			o.con.warn("%s; the layout allows no passphrase: plug the stick in, it is waited for", text)
		}
	}
	if st.rootMissing {
		for _, v := range o.volumes {
			if v.Pool == "" {
				o.once("root", "the OS disk is missing: looked for %s (LUKS %s); it is waited for", diskName(v.DiskID), v.UUID)
			}
		}
	}
	if st.ask == askDisk {
		for _, v := range o.volumes {
			if v.Pool == "" && v.doubtful() && o.first("doubtful "+v.devices[0].name) {
				o.con.important("the OS disk %s is not there, and another disk carries its LUKS UUID: %s", diskName(v.DiskID), v.devices[0])
				o.con.important("a firmware or an enclosure may have renamed it; or somebody put a copy in its place. No key was tried on it")
			}
		}
	}
	if !st.membersMissing {
		return
	}
	for _, p := range o.config.Pools {
		for _, v := range o.volumes {
			if v.Pool != p.Name || v.open || len(v.devices) > 0 {
				continue
			}
			wait := o.config.PoolWait
			if p.Degraded == boot.DegradedWait {
				wait = o.config.PatientWait
			}
			if o.first("member " + v.Mapping) {
				o.con.important("pool %s: waiting up to %v for %s", p.Name, wait, diskName(v.DiskID))
			}
		}
	}
}

// question asks what there is to ask, or nothing.
func (o *opening) question(q question) {
	// While a passphrase is tried nothing changes, whatever the volumes say.
	if q == o.asked || o.typed != nil && q == askNothing && !o.rootOpen() {
		return
	}
	o.asked = q
	if q == askNothing {
		o.prompt.end()
		o.prompt = nil
		return
	}
	if o.prompt == nil {
		o.prompt = o.con.ask(o.promptText())
	} else {
		o.con.setPrompt(o.promptText())
	}
}

func (o *opening) promptText() string {
	switch {
	case o.asked == askDisk:
		return "Type yes if that is this machine's OS disk: "
	case o.asked == askPatience:
		return "Press Enter to go on without it: "
	case o.rootOpen():
		return fmt.Sprintf("Passphrase for %s (Enter: go on without): ", strings.Join(o.closed(), ", "))
	case len(o.config.Keys) == 0:
		return fmt.Sprintf("Passphrase for %s: ", o.config.Hostname)
	}
	return fmt.Sprintf("Passphrase for %s (or plug a key stick in): ", o.config.Hostname)
}

// closed are the mappings whose disks are there and that no key opened.
func (o *opening) closed() []string {
	var names []string
	for _, v := range o.volumes {
		if !v.open && len(v.devices) > 0 {
			names = append(names, v.Mapping)
		}
	}
	return names
}

// diskName is a disk's by-id name without its folder.
func diskName(id string) string { return path.Base(id) }
