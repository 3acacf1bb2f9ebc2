package vmstore

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/beevik/etree"
	"github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
)

// probeLibvirt asks libvirt for its domains and abilities. A libvirt that is
// not there is no error: it is a fact.
func probeLibvirt(ctx context.Context, c *connection, domainType string, facts *Facts) error {
	facts.Libvirt.URI, facts.Libvirt.Local = c.uri.Redacted(), isLocal(c.uri.String())
	l, err := c.get()
	facts.Libvirt.Reachable = err == nil
	if !facts.Libvirt.Reachable {
		facts.Libvirt.Why = err.Error()
		return nil
	}
	if v, err := l.ConnectGetLibVersion(); err == nil {
		facts.Libvirt.Version = fmt.Sprintf("%d.%d.%d", v/1000000, v/1000%1000, v%1000)
	}
	probeAbilities(l, domainType, facts)
	domains, _, err := l.ConnectListAllDomains(1, 0)
	if err != nil {
		return fmt.Errorf("listing the domains: %w", err)
	}
	for _, d := range domains {
		domain, err := probeDomain(ctx, c, d)
		if libvirt.IsNotFound(err) {
			continue // undefined while we looked
		}
		if err != nil {
			return fmt.Errorf("looking at domain %s: %w", d.Name, err)
		}
		facts.Domains = append(facts.Domains, domain)
	}
	return nil
}

// probeAbilities reads libvirt's own account of what a VM of this type may use.
func probeAbilities(l *libvirt.Libvirt, domainType string, facts *Facts) {
	ask := func(domainType string) (string, error) {
		return l.ConnectGetDomainCapabilities(nil, libvirt.OptString{"x86_64"}, libvirt.OptString{"q35"}, libvirt.OptString{domainType}, 0)
	}
	text, err := ask(domainType)
	if err != nil && domainType == "kvm" {
		// libvirt without a usable KVM says so by refusing the question.
		text, err = ask("qemu")
	}
	if err != nil {
		return
	}
	doc, err := readTree(text)
	if err != nil {
		return
	}
	caps := doc.Root()
	facts.Libvirt.CapabilitiesKnown = true
	facts.Libvirt.KVM = content(below(caps, "domain")) == "kvm"
	for _, e := range every(below(caps, "os"), "enum") {
		for _, v := range every(e, "value") {
			facts.Libvirt.UEFI = facts.Libvirt.UEFI || value(e, "name") == "firmware" && content(v) == "efi"
		}
	}
	for _, e := range every(below(caps, "os", "loader"), "enum") {
		for _, v := range every(e, "value") {
			facts.Libvirt.SecureBoot = facts.Libvirt.SecureBoot || value(e, "name") == "secure" && content(v) == "yes"
		}
	}
	for _, e := range every(below(caps, "devices", "tpm"), "enum") {
		for _, v := range every(e, "value") {
			facts.Libvirt.TPM = facts.Libvirt.TPM || value(e, "name") == "backendModel" && content(v) == "emulator"
		}
	}
}

func probeDomain(ctx context.Context, c *connection, d libvirt.Domain) (Domain, error) {
	out := Domain{Name: d.Name, UUID: uuid.UUID(d.UUID).String()}
	err := c.do(ctx, func(l *libvirt.Libvirt) error {
		state, reason, err := l.DomainGetState(d, 0)
		if err != nil {
			return err
		}
		out.State, out.Active = stateName(libvirt.DomainState(state)), isActive(libvirt.DomainState(state))
		out.Reason = troubleOf(libvirt.DomainState(state), reason)
		if out.Reason != "" {
			// The mock and old versions do not know them.
			failing, _, _ := l.DomainGetDiskErrors(d, 64, 0)
			for _, f := range failing {
				out.Failing = append(out.Failing, f.Disk)
			}
		}
		out.Persistent = true
		if out.Active {
			persistent, err := l.DomainIsPersistent(d)
			if err != nil {
				return err
			}
			out.Persistent = persistent != 0
		}
		if out.Persistent {
			autostart, err := l.DomainGetAutostart(d)
			if err != nil {
				return err
			}
			out.Autostart = autostart != 0
		}
		// Of a domain that runs without a definition, what its would be.
		if out.Inactive, err = l.DomainGetXMLDesc(d, libvirt.DomainXMLInactive); err != nil {
			return err
		}
		out.Suspended = ""
		if saved, err := l.DomainHasManagedSaveImage(d, 0); err == nil && saved != 0 {
			if out.Suspended, err = l.DomainManagedSaveGetXMLDesc(d, 0); err != nil {
				return err
			}
		}
		out.Live = ""
		if out.Active {
			if out.Live, err = l.DomainGetXMLDesc(d, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	return out, out.read()
}

// read takes from libvirt's descriptions what the plan looks at.
func (d *Domain) read() error {
	text := d.Inactive
	if text == "" {
		text = d.Live
	}
	doc, err := readTree(text)
	if err != nil {
		return err
	}
	if d.Inactive != "" {
		d.tree = doc
	}
	root := doc.Root()
	if d.UUID == "" {
		d.Name, d.UUID = content(below(root, "name")), content(below(root, "uuid"))
	}
	note, ours := readMetadata(root)
	d.Ours, d.Adopted, d.Devices, d.System = ours, note.adopted, note.devices, note.system
	d.Type, d.Machine = value(root, "type"), value(below(root, "os", "type"), "machine")
	d.RAMMB, d.VCPU = int(kib(below(root, "memory"))>>10), number(content(below(root, "vcpu")))
	os, loader := below(root, "os"), below(root, "os", "loader")
	d.UEFI = value(os, "firmware") == "efi" || value(loader, "type") == "pflash"
	d.SecureBoot = secureBoot(os)
	d.NVRAM = content(below(os, "nvram"))
	devices := below(root, "devices")
	d.TPM = below(devices, "tpm") != nil
	for _, e := range every(devices, "disk") {
		d.Disks = append(d.Disks, readDisk(e))
	}
	nic := layoutNIC(root, "", note)
	for _, e := range every(devices, "interface") {
		d.NICs = append(d.NICs, DomainNIC{
			MAC: value(below(e, "mac"), "address"), Model: value(below(e, "model"), "type"), Bridge: value(below(e, "source"), "bridge"),
			Layout: e == nic,
		})
	}
	for _, e := range every(devices, "hostdev") {
		if s := below(e, "source"); value(e, "type") == "usb" && below(s, "vendor") != nil {
			d.USB = append(d.USB, USB{Vendor: value(below(s, "vendor"), "id"), Product: value(below(s, "product"), "id")})
		}
	}
	if d.Live != "" {
		live, err := readTree(d.Live)
		if err != nil {
			return err
		}
		d.LiveRAMMB, d.LiveVCPU = int(kib(below(live.Root(), "memory"))>>10), number(content(below(live.Root(), "vcpu")))
	}
	return nil
}

func readDisk(e *etree.Element) DomainDisk {
	d := DomainDisk{
		Target: value(below(e, "target"), "dev"), Bus: value(below(e, "target"), "bus"),
		Device: value(e, "device"), Kind: value(e, "type"), Format: value(below(e, "driver"), "type"),
		Boot: number(value(below(e, "boot"), "order")),
	}
	source := below(e, "source")
	for _, name := range []string{"file", "dev"} {
		if d.Path == "" {
			d.Path = value(source, name)
		}
	}
	if d.Device == "" {
		d.Device = "disk"
	}
	switch d.Kind {
	case "volume":
		d.Source = value(source, "pool") + "/" + value(source, "volume")
	case "network":
		d.Source = value(source, "protocol") + ":" + value(source, "name")
	}
	return d
}

// name is what a person knows the disk by.
func (d DomainDisk) name() string { return cmp.Or(d.Path, d.Source, d.Target) }

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
