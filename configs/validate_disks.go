package configs

import (
	"path"
	"strings"
)

func (c *checker) validateOS() {
	os := c.l.OS
	if os == nil || c.failed[&c.l.OS] {
		return
	}
	image, nixos := c.given(&os.Image), c.given(&os.NixOS)
	switch {
	case image && nixos:
		c.fail(fields(&os.NixOS, &c.l.OS), "keep one", "image and nixos exclude each other")
	case !image && !nixos:
		c.fail(fields(&c.l.OS), "add image: {url: ...} or nixos: {flake: ...}", "os needs image or nixos: what is to be installed")
	}
	if i := os.Image; i != nil && !c.given(&i.SHA256) && c.good(&i.URL) && !strings.HasPrefix(i.URL, "file://") {
		c.fail(fields(&i.URL), "add sha256: and the sum", "an image from the network needs its sha256")
	}
	if n := os.NixOS; n != nil && !c.failed[&os.NixOS] {
		flake, file := c.given(&n.Flake), c.given(&n.File)
		switch {
		case flake && file:
			c.fail(fields(&n.File), "keep one", "flake and file exclude each other")
		case !flake && !file:
			c.fail(fields(&os.NixOS), "add flake: REFERENCE#HOST or file: /path/configuration.nix", "nixos needs flake or file")
		}
	}
	c.validateSubvolumes(os)
}

func (c *checker) validateSubvolumes(os *OS) {
	if !c.given(&os.Subvolumes) {
		return
	}
	root := false
	at := map[string]*Subvolume{}
	for i := range os.Subvolumes {
		s := &os.Subvolumes[i]
		if s.Name == "swap" && os.SwapSize != 0 {
			c.fail(fields(&s.Name), "choose another name, or leave swap_size out", "the subvolume swap is the swapfile's, as swap_size is given")
		}
		if !c.good(&s.Mountpoint) {
			continue
		}
		root = root || s.Mountpoint == "/"
		if other := at[s.Mountpoint]; other != nil {
			c.fail(fields(&s.Mountpoint), "", "%s is where %s is mounted already", s.Mountpoint, other.Name)
		}
		at[s.Mountpoint] = s
		for _, taken := range []string{"/boot", "/efi", "/dev", "/proc", "/sys", "/run", "/tmp", "/swap", "/usr", "/etc", "/bin", "/lib", "/sbin"} {
			if inside(s.Mountpoint, taken) && (taken != "/swap" || os.SwapSize != 0) && (taken != "/tmp" || s.Mountpoint != "/tmp") {
				c.fail(fields(&s.Mountpoint), "", "no subvolume of its own can be mounted at %s", s.Mountpoint)
			}
		}
	}
	if !root && !c.failed[&os.Subvolumes] {
		c.fail(fields(&os.Subvolumes), "add root: /", "no subvolume is mounted at /")
	}
}

func (c *checker) validatePools() {
	for i := range c.l.Pools {
		p := &c.l.Pools[i]
		if c.given(&p.Disks) && !c.failed[&p.Disks] && len(p.Disks) < 2 {
			c.fail(fields(&p.Disks), "RAID1 keeps two copies of everything, on two disks", "the pool %s has %d disk; RAID1 needs two or more", p.Name, len(p.Disks))
		}
	}
}

// validateDisks finds a disk that is used twice.
func (c *checker) validateDisks() {
	used := map[string]*string{}
	use := func(id *string) {
		if !c.good(id) {
			return
		}
		name := sameDisk(*id)
		if other := used[name]; other != nil {
			hint := "each disk has one place"
			if *other != *id {
				hint = "both are names of one disk: " + strings.TrimPrefix(*other, byID)
			}
			c.fail(fields(id), hint, "the disk is used already, %s", c.line(other))
			return
		}
		used[name] = id
	}
	if c.l.OS != nil {
		use(&c.l.OS.Disk.ID)
	}
	for i := range c.l.Pools {
		for j := range c.l.Pools[i].Disks {
			use(&c.l.Pools[i].Disks[j].ID)
		}
	}
	for i := range c.l.Encryption.USBKeys {
		use(&c.l.Encryption.USBKeys[i].Disk)
	}
}

// sameDisk takes off what udev adds to a second link of the same NVMe disk,
// the namespace's number. Other pairs of names show only in the machine.
func sameDisk(id string) string {
	if strings.HasPrefix(id, byID+"nvme-") && !strings.HasPrefix(id, byID+"nvme-eui.") {
		return strings.TrimSuffix(id, "_1")
	}
	return id
}

// validateMountpoints finds pools that lie outside the places for data, on
// each other, or on a subvolume of the OS.
func (c *checker) validateMountpoints() {
	type mount struct {
		at   string
		what string
		from any
	}
	var mounts []mount
	if os := c.l.OS; os != nil {
		for i := range os.Subvolumes {
			mounts = append(mounts, mount{os.Subvolumes[i].Mountpoint, "the subvolume " + os.Subvolumes[i].Name, &os.Subvolumes[i].Mountpoint})
		}
	}
	for i := range c.l.Pools {
		p := &c.l.Pools[i]
		if c.failed[&p.Mountpoint] || c.failed[&p.Name] {
			continue
		}
		where := fields(&p.Mountpoint, &p.Name)
		if !below(p.Mountpoint, "/mnt", "/srv", "/var/lib") {
			c.fail(where, "for example /mnt/"+p.Name, "the pool %s cannot be mounted at %s: pools go below /mnt, /srv or /var/lib", p.Name, p.Mountpoint)
			continue
		}
		if inside(p.Mountpoint, "/mnt/target") {
			c.fail(where, "for example /mnt/"+p.Name, "/mnt/target is where hvinstall mounts the system while it installs")
		}
		for _, m := range mounts {
			switch {
			case m.at == p.Mountpoint:
				c.fail(where, "", "%s is where %s is mounted, %s", p.Mountpoint, m.what, c.line(m.from))
			case m.at != "/" && m.at != "" && inside(p.Mountpoint, m.at), inside(m.at, p.Mountpoint):
				c.fail(where, "mount them beside each other", "%s and the mountpoint of %s, %s, lie inside each other", p.Mountpoint, m.what, m.at)
			}
		}
		mounts = append(mounts, mount{p.Mountpoint, "the pool " + p.Name, &p.Mountpoint})
	}
}

func (c *checker) validateEncryption() {
	e := &c.l.Encryption
	serials := map[string]*string{}
	for i := range e.USBKeys {
		k := &e.USBKeys[i]
		disk, uuid := c.given(&k.Disk), c.given(&k.UUID)
		switch {
		case c.failed[k]:
		case disk && uuid:
			c.fail(fields(&k.UUID), "disk formats the stick, uuid keeps what is on it: keep one", "disk and uuid exclude each other")
		case !disk && !uuid:
			c.fail(fields(k), "disk: /dev/disk/by-id/usb-... formats the stick; uuid: 8B34-7D3C keeps what is on it", "a USB key needs disk or uuid")
		}
		if c.good(&k.UUID) {
			id := strings.ToUpper(k.UUID)
			if other := serials[id]; other != nil {
				c.fail(fields(&k.UUID), "", "the stick is given already, %s", c.line(other))
			}
			serials[id] = &k.UUID
		}
	}
	if len(e.USBKeys) == 0 && c.good(&e.FallbackToPassword) && !*e.FallbackToPassword && (c.l.OS != nil || len(c.l.Pools) > 0) {
		c.fail(fields(&e.FallbackToPassword), "add usb_keys, or leave fallback_to_password true", "without a USB key and without the passphrase nothing could ever be unlocked")
	}
}

// inside is true for a directory and everything below it.
func inside(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// below is true for what is inside one of the directories, but not for these.
func below(p string, dirs ...string) bool {
	for _, dir := range dirs {
		if p != dir && inside(p, dir) && path.Clean(p) == p {
			return true
		}
	}
	return false
}
