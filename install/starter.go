package install

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"hvinstall/disk"
	"hvinstall/net/bridge"
)

const (
	smallestStarterOS = 16 << 30  // bytes: ESP, a system, and room to update it
	largestStick      = 256 << 30 // bytes: larger USB disks hold data, not keys
	smallestPoolDisk  = 8 << 30   // bytes
)

// CanHoldKey reports whether a disk is a USB stick to keep a key on. The
// kernel takes sticks for rotating, so their size tells them from hard disks.
func CanHoldKey(d disk.Disk) bool {
	return d.Transport == "usb" && d.Size <= largestStick && !d.Live && !d.ReadOnly
}

// VFATs are the VFAT volumes of a disk that have a UUID.
func VFATs(d disk.Disk) []disk.Signature {
	var found []disk.Signature
	add := func(signatures []disk.Signature) {
		for _, s := range signatures {
			if s.Type == "vfat" && s.UUID != "" {
				found = append(found, s)
			}
		}
	}
	add(d.Signatures)
	for _, p := range d.Partitions {
		add(p.Signatures)
	}
	return found
}

// starter writes a layout line by line.
type starter struct {
	strings.Builder
	facts Facts
	names map[string]int // by-id alias → how many disks have it
}

func (s *starter) line(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// Starter writes a layout.yaml for the machine: what can be told is filled in,
// and what a person must decide is marked by CHOOSE. It names blank disks
// only; what holds data or is in use is listed as a comment. It is pure.
func Starter(f Facts) string {
	s := &starter{facts: f, names: map[string]int{}}
	for _, d := range f.Disks.Disks {
		for _, id := range d.ByID {
			s.names[id]++
		}
	}
	s.line("# layout.yaml for %s, written by 'hvinstall discover --layout'.", comment(s.machine()))
	s.line("# Decide what is marked CHOOSE, then: hvinstall check --plan layout.yaml")
	s.line("# and: hvinstall --plan layout.yaml --dry-run, which shows everything and changes nothing.")
	s.line("")
	s.line("hostname: %s  # CHOOSE: the host's name", s.hostname())
	free := s.free()
	s.system(&free)
	s.pools(free)
	s.keys()
	s.network()
	s.people()
	s.others()
	return s.String()
}

func (s *starter) machine() string {
	name := strings.TrimSpace(s.facts.Vendor + " " + s.facts.Product)
	return cmp.Or(name, "this machine")
}

var hostLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// hostname keeps an installed host's name; a live system's is that of its
// stick.
func (s *starter) hostname() string {
	name, _, _ := strings.Cut(strings.ToLower(s.facts.Hostname), ".")
	if s.facts.Live || name == "localhost" || !hostLabel.MatchString(name) || strings.Trim(name, "0123456789") == "" {
		return "hypervisor"
	}
	return name
}

// free are the disks that may be proposed, the smallest first: blank, unused,
// and with a name of their own.
func (s *starter) free() []disk.Disk {
	var free []disk.Disk
	for _, d := range s.facts.Disks.Disks {
		if d.Blank() && !d.Live && !d.ReadOnly && d.Transport != "usb" && !d.Removable && s.id(d) != "" {
			free = append(free, d)
		}
	}
	slices.SortStableFunc(free, func(a, b disk.Disk) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Called(), b.Called()))
	})
	return free
}

// id is the path by which the layout can name the disk: its telling alias, or
// another that no other disk has; "" where there is none.
func (s *starter) id(d disk.Disk) string {
	for _, alias := range append([]string{d.Called()}, d.ByID...) {
		path := disk.ByIDFolder + alias
		if _, err := disk.ByIDName(path); err == nil && slices.Contains(d.ByID, alias) && s.names[alias] == 1 {
			return path
		}
	}
	return ""
}

// system picks the smallest free SSD, else the smallest free disk, and takes
// it out of free.
func (s *starter) system(free *[]disk.Disk) {
	pick := -1
	for i, d := range *free {
		if d.Size < smallestStarterOS {
			continue
		}
		if pick < 0 || !d.Rotational && (*free)[pick].Rotational {
			pick = i
		}
	}
	s.line("")
	if pick < 0 {
		s.line("# os: left out. No blank disk of at least %s, other than USB, is there for the system.", disk.BinarySize(smallestStarterOS))
		s.line("# Disks that hold data are listed at the end; one of them can be named here, and is")
		s.line("# erased only with --erase.")
		return
	}
	d := (*free)[pick]
	*free = slices.Delete(*free, pick, pick+1)
	s.line("os:")
	s.line("  # CHOOSE: the system disk. This is the smallest blank one%s.", map[bool]string{false: " that is an SSD", true: ""}[d.Rotational])
	s.disk("  disk: ", d)
	if d.Rotational {
		s.line("  storage_media: hdd")
	}
	s.line("  # CHOOSE: what is installed, exactly one of image and nixos. This is the live stick's own image.")
	s.line("  image: {url: %q}", "file://"+liveImage)
	s.line("  # nixos: {flake: \"github:me/infra#%s\"}", s.hostname())
}

// disk writes a disk, below what is printed on its label.
func (s *starter) disk(before string, d disk.Disk) {
	indent := before[:len(before)-len(strings.TrimLeft(before, " "))]
	s.line("%s# %s", indent, comment(s.words(d)))
	s.line("%s%s", before, scalar(s.id(d)))
}

func (s *starter) words(d disk.Disk) string {
	words := disk.DecimalSize(d.Size)
	switch {
	case d.Transport == "nvme":
		words += " NVMe SSD"
	case d.Transport == "usb":
		words += " USB"
	case d.Rotational:
		words += " hard disk"
	default:
		words += " SSD"
	}
	if d.Serial != "" {
		words += ", serial " + d.Serial
	}
	return words
}

func (s *starter) pools(free []disk.Disk) {
	var ssds, hdds []disk.Disk
	for _, d := range free {
		switch {
		case d.Size < smallestPoolDisk:
		case d.Rotational:
			hdds = append(hdds, d)
		default:
			ssds = append(ssds, d)
		}
	}
	s.line("")
	if len(ssds) < 2 && len(hdds) < 2 {
		s.line("# pools: left out. A pool is RAID1 and needs two blank disks of a kind; %d SSD and %d hard", len(ssds), len(hdds))
		s.line("# disks are left beside the system's.")
		return
	}
	s.line("# CHOOSE: which disks make which pool. Each pool is btrfs RAID1 on LUKS: every block is on")
	s.line("# two disks, and any one may fail.")
	s.line("pools:")
	s.pool("vmstore", "ssd", "blank SSDs", ssds)
	s.pool("bulk", "hdd", "blank hard disks", hdds)
}

func (s *starter) pool(name, media, kind string, disks []disk.Disk) {
	if len(disks) < 2 {
		s.line("  # %s: left out, it needs two %s, and %d is left:", name, kind, len(disks))
		for _, d := range disks {
			s.line("  #   %s", comment(s.words(d)))
			s.line("  #   - %s", s.id(d))
		}
		return
	}
	var sizes []uint64
	for _, d := range disks {
		sizes = append(sizes, d.Size)
	}
	s.line("  %s:  # about %s can be stored", name, disk.DecimalSize(disk.UsableRAID1(sizes...)))
	s.line("    storage_media: %s", media)
	s.line("    disks:")
	for _, d := range disks {
		s.disk("      - ", d)
	}
}

// keys proposes the first stick with a VFAT, which keeps what is on it, else
// the first blank one.
func (s *starter) keys() {
	type key struct{ yaml, note string }
	var use, others []key
	for _, d := range s.facts.Disks.Disks {
		if !CanHoldKey(d) {
			continue
		}
		if fats := VFATs(d); len(fats) > 0 {
			for _, fat := range fats {
				use = append(use, key{"{uuid: " + scalar(fat.UUID) + "}", s.words(d) + ": the key file is added, nothing else is touched"})
			}
			continue
		}
		if id := s.id(d); id != "" {
			note := s.words(d) + ", " + d.Content() + ": it is formatted"
			if k := (key{"{disk: " + scalar(id) + "}", note}); d.Blank() {
				use = append(use, k)
			} else {
				others = append(others, k)
			}
		}
	}
	s.line("")
	s.line("encryption:")
	if len(use) == 0 {
		s.line("  # CHOOSE: a USB stick for the key. None was seen that is blank or VFAT; without one, each")
		s.line("  # boot waits for the passphrase. Plug one in, run discover again, and name it:")
		s.line("  # usb_keys:")
		s.line("  #   - {uuid: 8B34-7D3C}  # a stick with a VFAT that stays as it is")
		s.line("  fallback_to_password: true")
	} else {
		s.line("  # CHOOSE: the stick, or several; each gets a key of its own.")
		s.line("  usb_keys:")
		s.line("    # %s", comment(use[0].note))
		s.line("    - %s", use[0].yaml)
		others = append(use[1:], others...)
	}
	for _, k := range others {
		s.line("    # or %s", comment(k.note))
		s.line("    # - %s", k.yaml)
	}
}

// network proposes the card with the default route, else one with a carrier,
// else the first.
func (s *starter) network() {
	nics := s.facts.Network.NICs
	routed := map[string]bool{} // bridges and cards that have the default route
	for _, n := range nics {
		routed[n.Name] = len(n.Gateways) > 0
	}
	score := func(n bridge.NIC) int {
		switch {
		case n.Kind != "physical":
			return 0
		case routed[n.Name] || routed[n.Master]:
			return 3
		case n.Carrier:
			return 2
		}
		return 1
	}
	best := bridge.NIC{}
	for _, n := range nics {
		if score(n) > score(best) {
			best = n
		}
	}
	s.line("")
	if score(best) == 0 {
		s.line("# network: left out, no wired network card was seen. A bridge needs one; a wireless card")
		s.line("# cannot be its port.")
		return
	}
	why := map[int]string{3: "the default route goes through it", 2: "it has a link", 1: "no card has a link"}[score(best)]
	s.line("network:")
	s.line("  bridge: br0")
	s.line("  nic: %s  # CHOOSE: %s, %s; %s", scalar(best.Name), comment(cmp.Or(best.Driver, "unknown driver")), comment(best.MAC), why)
	for _, n := range nics {
		if n.Kind == "physical" && n.Name != best.Name {
			s.line("  #    %s  # %s, %s", comment(n.Name), comment(cmp.Or(n.Driver, "unknown driver")), comment(n.MAC))
		}
	}
	s.line("  dhcp: true  # CHOOSE: or addresses: [%s], gateway and dns", s.exampleAddress())
	if lan := s.lan(); lan != "" {
		s.line("")
		s.line("# CHOOSE: directories for the VMs, served to the LAN %s:", lan)
		s.line("# nfs_exports:")
		s.line("#   lan_cidr: %s", lan)
		s.line("#   exports:")
		s.line("#     - {path: /mnt/bulk/apps-vm}")
	}
}

func (s *starter) exampleAddress() string {
	for _, n := range s.facts.Network.NICs {
		if len(n.Gateways) > 0 && len(n.Addresses) > 0 {
			return comment(n.Addresses[0])
		}
	}
	return "192.168.1.10/24"
}

// lan is the IPv4 network of the default route.
func (s *starter) lan() string {
	for _, n := range s.facts.Network.NICs {
		for _, a := range n.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil && p.Addr().Is4() && len(n.Gateways) > 0 {
				return p.Masked().String()
			}
		}
	}
	return ""
}

func (s *starter) people() {
	s.line("")
	s.line("# CHOOSE: who may log in, by which key, and who may use the VMs:")
	s.line("# users:")
	s.line("#   - {name: me, groups: [wheel], ssh_authorized_keys: [\"ssh-ed25519 AAAA… me@desk\"]}")
	s.line("# libvirtd: {users: [me]}")
	if !s.facts.KVM {
		s.line("")
		s.line("# No usable KVM was seen: VMs are emulated, slowly. Where the firmware has virtualisation")
		s.line("# switched off, switch it on and take this line out.")
		s.line("libvirt_domain_type: qemu")
	}
	s.line("")
	s.line("# CHOOSE: the VMs. 'hvinstall schema' describes every key.")
	s.line("libvirt_vms: []")
}

// others lists every disk that was not proposed because somebody's data may be
// on it, or it cannot be named.
func (s *starter) others() {
	var lines []string
	for _, d := range s.facts.Disks.Disks {
		why := ""
		switch {
		case d.Live:
			why = "the running system runs from it"
		case len(d.AllHolders()) > 0:
			why = "in use: " + d.AllHolders()[0].String()
		case len(d.ByID) == 0:
			why = "it has no by-id name, so a layout cannot name it"
		case s.id(d) == "":
			why = "each of its by-id names belongs to another disk too"
		case !d.Blank() && !CanHoldKey(d):
			why = "holds " + d.Content()
		case d.ReadOnly:
			why = "it is write-protected"
		case d.Transport == "usb" && !CanHoldKey(d):
			why = "blank, and on USB: not a place for the system or a pool"
		}
		if why == "" {
			continue
		}
		name := disk.ByIDFolder + d.Called()
		if len(d.ByID) == 0 {
			name = d.Name + " (kernel name)"
		}
		lines = append(lines, fmt.Sprintf("#   %s\n#     %s: %s", comment(name), comment(s.words(d)), comment(why)))
	}
	if len(lines) == 0 {
		return
	}
	s.line("")
	s.line("# Disks left alone. One that holds data may be named above; it is erased only by a run with")
	s.line("# --erase and its name.")
	for _, l := range lines {
		s.line("%s", l)
	}
}

// comment makes text that stays on its line.
func comment(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, text)
}

var plainScalar = regexp.MustCompile(`^[/A-Za-z][A-Za-z0-9/_.+-]*([:][A-Za-z0-9/_.+-]+)*$`)

// scalar writes a value so that YAML reads it as this text.
func scalar(text string) string {
	if plainScalar.MatchString(text) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off"}, strings.ToLower(text)) {
		return text
	}
	return fmt.Sprintf("%q", text)
}
