package configs

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

func (c *checker) validateVMs() {
	if c.failed[&c.l.VMs] {
		return
	}
	if root := c.l.VMStoreRoot; c.good(&c.l.VMStoreRoot) && !below(root, "/mnt", "/srv", "/var/lib") {
		c.fail(fields(&c.l.VMStoreRoot), "for example /mnt/vmstore", "libvirt_vmstore_root %s does not lie below /mnt, /srv or /var/lib", root)
	}
	if c.good(&c.l.URI) {
		c.validateURI()
	}
	seen := seenInVMs{names: map[string]*string{}, macs: map[string]*VM{}, usb: map[string]*VM{}, files: map[string]*VM{}}
	for i := range c.l.VMs {
		vm := &c.l.VMs[i]
		if c.failed[vm] {
			continue
		}
		if c.good(&vm.Name) {
			if other := seen.names[vm.Name]; other != nil {
				c.fail(fields(&vm.Name), "", "the VM %s is given already, %s", vm.Name, c.line(other))
			}
			seen.names[vm.Name] = &vm.Name
		}
		if vm.State == "absent" {
			if vm.Protected {
				c.fail(fields(&vm.Protected), "remove protected first if the VM is really to be deleted", "protected: true and state: absent exclude each other")
			}
			continue
		}
		c.validateVM(vm)
		c.validateShared(vm, &seen)
	}
}

// validateURI reads the query as libvirt does: names in any place, values by
// their percent signs, and every number but 0 switches verification off. What
// cannot be read is not guessed at.
func (c *checker) validateURI() {
	_, query, _ := strings.Cut(c.l.URI, "?")
	values, err := url.ParseQuery(strings.ReplaceAll(query, ";", "&"))
	if err != nil {
		c.fail(fields(&c.l.URI), "write it as qemu+tls://host/system", "the query of libvirt_uri cannot be read")
		return
	}
	for name, all := range values {
		if strings.EqualFold(name, "no_verify") && slices.ContainsFunc(all, func(v string) bool { return v != "0" }) {
			c.fail(fields(&c.l.URI), "put the CA that signed the server's certificate into /etc/pki/CA/cacert.pem, and remove no_verify",
				"with no_verify whoever answers gets the VMs and their secrets")
		}
	}
}

// seenInVMs is what two VMs cannot both have.
type seenInVMs struct {
	names     map[string]*string
	macs, usb map[string]*VM
	files     map[string]*VM
}

func (c *checker) validateVM(vm *VM) {
	disk, iso := c.given(&vm.DiskImage), c.given(&vm.ISOImage)
	switch {
	case disk && iso:
		c.fail(fields(&vm.ISOImage), "disk_image is an appliance's disk, iso_image an installer: keep one", "disk_image and iso_image exclude each other")
	case !disk && !iso && !c.failed[&vm.State]:
		c.fail(fields(&vm.Name, vm), "add disk_image: {url: ..., dest: ...}, iso_image, or state: absent", "the VM %s has neither disk_image nor iso_image", vm.Name)
	}
	if d := vm.DiskImage; d != nil {
		c.validateDest(vm, &d.Dest, []string{".qcow2", ".img", ".raw"})
	}
	if i := vm.ISOImage; i != nil {
		c.validateDest(vm, &i.Dest, []string{".iso", ".img"})
	}
	// The kernel keeps this first byte for the host's end of a VM's cable;
	// libvirt refuses it at the VM's start.
	if c.good(&vm.MACAddress) && strings.HasPrefix(vm.MACAddress, "fe:") {
		c.fail(fields(&vm.MACAddress), "for example 52:54:00"+vm.MACAddress[8:], "libvirt cannot start a VM whose MAC begins with fe")
	}
	if vm.Firmware.SecureBoot && vm.Firmware.UEFI != nil && !*vm.Firmware.UEFI {
		c.fail(fields(&vm.Firmware.SecureBoot), "remove uefi: false", "secure_boot needs UEFI")
	}
	if cloud := vm.CloudInit; cloud != nil && !c.failed[&vm.CloudInit] && cloud.UserData == "" && cloud.MetaData == "" && cloud.NetworkConfig == "" &&
		!c.given(&cloud.UserData) && !c.given(&cloud.MetaData) && !c.given(&cloud.NetworkConfig) {
		c.fail(fields(&vm.CloudInit), "add user_data, or remove it", "cloud_init holds nothing")
	}
}

// archive is the end of a name that says that the file must be unpacked.
var archive = regexp.MustCompile(`\.(?:xz|gz|bz2|zst|zip|tar|tgz|txz)$`)

func (c *checker) validateDest(vm *VM, dest *string, suffixes []string) {
	if !c.good(dest) || !c.good(&vm.Name) || c.failed[&c.l.VMStoreRoot] {
		return
	}
	dir := path.Join(c.l.VMStoreRoot, vm.Name)
	name := path.Base(*dest)
	if !below(*dest, dir) {
		c.fail(fields(dest), "write "+path.Join(dir, name), "%s is not in the VM's own directory %s", *dest, dir)
		return
	}
	if name == "seed.iso" && c.given(&vm.CloudInit) {
		c.fail(fields(dest), "choose another name", "%s is where the cloud-init seed goes", *dest)
		return
	}
	for _, s := range suffixes {
		if strings.HasSuffix(strings.ToLower(name), s) && len(name) > len(s) {
			return
		}
	}
	hint := ""
	if archive.MatchString(name) {
		hint = "dest is the image as unpacked: " + strings.TrimSuffix(archive.ReplaceAllString(name, ""), ".tar")
	}
	c.fail(fields(dest), hint, "%s does not end in %s", name, strings.Join(suffixes, ", "))
}

func (c *checker) validateShared(vm *VM, seen *seenInVMs) {
	if c.good(&vm.MACAddress) {
		if n := c.l.Network; n != nil && c.good(&n.NIC.MAC) && strings.EqualFold(n.NIC.MAC, vm.MACAddress) {
			c.fail(fields(&vm.MACAddress), "each NIC on a LAN has its own", "the MAC is that of the host's NIC, %s", c.line(&n.NIC.MAC))
		}
		if other := seen.macs[vm.MACAddress]; other != nil {
			c.fail(fields(&vm.MACAddress), "each NIC on a LAN has its own", "the MAC is that of %s, %s", other.Name, c.line(&other.MACAddress))
		} else {
			seen.macs[vm.MACAddress] = vm
		}
	}
	for i := range vm.USBDevices {
		u := &vm.USBDevices[i]
		if !c.good(&u.VendorID) || !c.good(&u.ProductID) {
			continue
		}
		id := u.VendorID + ":" + u.ProductID
		if other := seen.usb[id]; other != nil {
			who := "the VM " + other.Name + " has it already"
			if other == vm {
				who = "it is given twice"
			}
			c.fail(fields(u), "a USB device is in one VM at a time", "the USB device %s: %s", id, who)
		} else {
			seen.usb[id] = vm
		}
	}
	for _, dest := range vm.dests() {
		if other := seen.files[*dest]; other != nil && other != vm {
			c.fail(fields(dest), "", "%s is the image of %s", *dest, other.Name)
		}
		if *dest != "" {
			seen.files[*dest] = vm
		}
	}
}

func (vm *VM) dests() []*string {
	var all []*string
	if vm.DiskImage != nil {
		all = append(all, &vm.DiskImage.Dest)
	}
	if vm.ISOImage != nil {
		all = append(all, &vm.ISOImage.Dest)
	}
	return all
}
