package vmstore

import (
	"context"
	"fmt"
	"strconv"

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
	text, err := l.ConnectGetDomainCapabilities(nil, libvirt.OptString{"x86_64"}, libvirt.OptString{"q35"}, libvirt.OptString{domainType}, 0)
	if err != nil {
		if domainType == "kvm" {
			// libvirt without a usable KVM says so by refusing the question.
			_, err = l.ConnectGetDomainCapabilities(nil, libvirt.OptString{"x86_64"}, libvirt.OptString{"q35"}, libvirt.OptString{"qemu"}, 0)
			facts.Libvirt.CapabilitiesKnown = err == nil
		}
		return
	}
	caps, err := parseXML(text)
	if err != nil {
		return
	}
	facts.Libvirt.CapabilitiesKnown = true
	facts.Libvirt.KVM = caps.at("domain").content() == "kvm"
	for _, e := range caps.at("os").all("enum") {
		for _, v := range e.all("value") {
			facts.Libvirt.UEFI = facts.Libvirt.UEFI || e.attr("name") == "firmware" && v.content() == "efi"
		}
	}
	for _, e := range caps.at("os", "loader").all("enum") {
		for _, v := range e.all("value") {
			facts.Libvirt.SecureBoot = facts.Libvirt.SecureBoot || e.attr("name") == "secure" && v.content() == "yes"
		}
	}
	for _, e := range caps.at("devices", "tpm").all("enum") {
		for _, v := range e.all("value") {
			facts.Libvirt.TPM = facts.Libvirt.TPM || e.attr("name") == "backendModel" && v.content() == "emulator"
		}
	}
}

func probeDomain(ctx context.Context, c *connection, d libvirt.Domain) (Domain, error) {
	out := Domain{Name: d.Name, UUID: uuid.UUID(d.UUID).String()}
	err := c.do(ctx, func(l *libvirt.Libvirt) error {
		state, _, err := l.DomainGetState(d, 0)
		if err != nil {
			return err
		}
		out.State, out.Active = stateName(libvirt.DomainState(state)), isActive(libvirt.DomainState(state))
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
			if out.Inactive, err = l.DomainGetXMLDesc(d, libvirt.DomainXMLInactive); err != nil {
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
	root, err := parseXML(text)
	if err != nil {
		return err
	}
	if m, ok := readMetadata(root); ok {
		d.Ours, d.Source, d.Devices, d.Adopted = true, m.source, m.devices, m.adopted
	}
	d.Machine = root.at("os", "type").attr("machine")
	d.RAMMB, d.VCPU = int(kib(root.at("memory"))>>10), number(root.at("vcpu").content())
	loader := root.at("os", "loader")
	d.UEFI = root.at("os").attr("firmware") == "efi" || loader.attr("type") == "pflash"
	d.SecureBoot = loader.attr("secure") == "yes"
	for _, f := range root.at("os", "firmware").all("feature") {
		if f.attr("name") == "secure-boot" {
			d.SecureBoot = f.attr("enabled") == "yes"
		}
	}
	d.NVRAM = root.at("os", "nvram").content()
	devices := root.at("devices")
	for _, e := range devices.all("disk") {
		source := e.at("source")
		path := source.attr("file")
		if path == "" {
			path = source.attr("dev")
		}
		device := e.attr("device")
		if device == "" {
			device = "disk"
		}
		d.Disks = append(d.Disks, DomainDisk{
			Target: e.at("target").attr("dev"), Bus: e.at("target").attr("bus"),
			Device: device, Kind: e.attr("type"), Path: path, Format: e.at("driver").attr("type"),
		})
	}
	for _, e := range devices.all("interface") {
		d.NICs = append(d.NICs, DomainNIC{
			MAC: e.at("mac").attr("address"), Model: e.at("model").attr("type"), Bridge: e.at("source").attr("bridge"),
		})
	}
	for _, e := range devices.all("hostdev") {
		if s := e.at("source"); e.attr("type") == "usb" && s.at("vendor") != nil {
			d.USB = append(d.USB, USB{Vendor: s.at("vendor").attr("id"), Product: s.at("product").attr("id")})
		}
	}
	if d.Live != "" {
		live, err := parseXML(d.Live)
		if err != nil {
			return err
		}
		d.LiveRAMMB, d.LiveVCPU = int(kib(live.at("memory"))>>10), number(live.at("vcpu").content())
	}
	return nil
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
