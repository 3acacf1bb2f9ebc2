package install

import (
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/crypt"
	"hvinstall/disk"
	"hvinstall/initrd/boot"
)

// KeyDigest tells the key of a volume that is open on this machine, see
// crypt.Header.KeyDigest. A mapping of the same name that is another host's
// volume tells nothing of this one.
func KeyDigest(v boot.Volume) (string, error) {
	return crypt.VolumePlan{Mapping: v.Mapping, UUID: v.UUID}.OpenKeyDigest()
}

// BootConfig is what the initramfs of this host has to know: boot.json.
func (p Plan) BootConfig() boot.Config {
	l := p.Layout
	c := boot.Config{
		Hostname:           l.Hostname,
		KeyWait:            boot.Duration(l.Encryption.KeyWait),
		FallbackToPassword: l.Encryption.FallbackToPassword == nil || *l.Encryption.FallbackToPassword,
		Keymap:             l.Locale.Keymap,
	}
	for _, v := range p.Crypt.Volumes {
		c.Volumes = append(c.Volumes, boot.Volume{
			UUID: v.UUID, Mapping: v.Mapping, DiskID: strings.TrimPrefix(v.DiskID, disk.ByIDFolder),
			Pool: v.Pool, Device: v.Device, Adopted: v.Adopted,
			USB: slices.ContainsFunc(p.Facts.Disks.ByName(v.DiskID), func(d disk.Disk) bool { return d.Transport == "usb" }),
		})
	}
	for _, k := range p.Crypt.Keys {
		c.Keys = append(c.Keys, boot.Key{FSUUID: k.FSUUID, Filename: k.Filename, DiskID: strings.TrimPrefix(k.DiskID, disk.ByIDFolder)})
	}
	for _, fs := range p.Disk.Filesystems {
		if fs.Role == disk.RoleOS {
			c.Root = bootRoot(fs)
			continue
		}
		sub := fs.Subvols[0]
		c.Pools = append(c.Pools, boot.Pool{
			Name: fs.Label, FSUUID: fs.UUID, Members: len(fs.Devices), Subvolume: sub.Name, Mountpoint: sub.Mountpoint,
			Options: sub.Options, Degraded: boot.Degraded(degraded(l, fs.Label)),
		})
	}
	return c
}

func bootRoot(fs disk.FilesystemPlan) boot.Root {
	root := boot.Root{FSUUID: fs.UUID}
	for _, s := range fs.Subvols {
		switch s.Mountpoint {
		case "/":
			root.Subvolume, root.Options = s.Name, s.Options
		case "/nix":
			root.Early = append(root.Early, boot.Mount{Subvolume: s.Name, Mountpoint: s.Mountpoint, Options: s.Options})
		}
	}
	return root
}

// degraded is what the layout says of a pool with a member missing.
func degraded(l *configs.Layout, pool string) string {
	for _, p := range l.Pools {
		if p.Name == pool && p.Degraded != "" {
			return p.Degraded
		}
	}
	return string(boot.DegradedSkip)
}
