package nixos

import (
	"fmt"
	"strings"
)

// Places of hvinstall on a NixOS host. They are outside what NixOS manages:
// nixos-rebuild neither writes nor removes them.
const (
	LayoutPath = "/etc/hvinstall/layout.yaml"
	BinaryPath = "/var/lib/hvinstall/bin/hvinstall"
)

// hvinstallNix runs the provisioner at boot and whenever the layout changes.
// The binary is not in the store: it is a single static file that hvinstall
// places itself, so that the flake's repository holds no binary and a newer
// hvinstall replaces it by running once.
func hvinstallNix(in Input) string {
	body := attrs{
		set("environment.systemPackages", list{raw(`(pkgs.writeShellScriptBin "hvinstall" ''exec ` + BinaryPath + ` "$@"'')`)},
			"hvinstall on the PATH. The binary itself is one static file outside the store,",
			"placed and renewed by hvinstall: sudo ./hvinstall --plan "+LayoutPath),
		after(set("systemd.services.hvinstall-vms", attrs{
			set("description", "libvirt VMs of "+LayoutPath),
			set("documentation", texts("file:"+LayoutPath)),
			set("wantedBy", texts("multi-user.target")),
			set("wants", texts("libvirtd.service", "network-online.target")),
			set("after", texts(afterUnits(in)...)),
			set("unitConfig.ConditionPathExists", texts(BinaryPath, LayoutPath), "Not yet installed by hvinstall: nothing to do, and no failed unit."),
			poolCondition(in),
			set("path", list{raw("pkgs.qemu_kvm"), raw("pkgs.xz")}, "qemu-img, and xz for images that come packed"),
			set("serviceConfig", attrs{
				set("Type", "oneshot"),
				set("ExecStart", BinaryPath+" --plan "+LayoutPath+" --only vms --yes"),
				set("TimeoutStartSec", "infinity", "Images are downloaded at the pace of the line."),
				set("Restart", "on-failure", "libvirtd may accept connections a moment after its unit is up."),
				set("RestartSec", "15s"),
			}),
			set("restartIfChanged", false, "nixos-rebuild switch does not wait for VMs."),
		}.without(), "Makes what libvirt_vms says true, after libvirtd, the pools and the network.")),
		after(set("systemd.paths.hvinstall-vms", attrs{
			set("wantedBy", texts("multi-user.target")),
			set("pathConfig.PathChanged", LayoutPath),
		}, "No timer: it runs at boot, and again when the layout has been written. A VM that the layout",
			"calls absent is then removed without a question; protected: true keeps it.")),
	}
	body = append(body, degradedMounts(in)...)
	return module{
		header: []string{"hvinstall on the running host: the VMs of layout.yaml, converged at boot and on every change."},
		args:   []string{"pkgs"},
		body:   body,
	}.String()
}

// without leaves out bindings that nothing was put in.
func (a attrs) without() attrs {
	var kept attrs
	for _, b := range a {
		if b.path != nil || b.rawPath != "" {
			kept = append(kept, b)
		}
	}
	return kept
}

func storeMount(in Input) string {
	root := in.Layout.VMStoreRoot
	for _, p := range in.Pools {
		for _, s := range p.Subvolumes {
			if root == s.Mountpoint || strings.HasPrefix(root, s.Mountpoint+"/") {
				return s.Mountpoint
			}
		}
	}
	return ""
}

// poolCondition keeps VMs from being made in the empty mount point of a pool
// that is not there.
func poolCondition(in Input) binding {
	mount := storeMount(in)
	if mount == "" {
		return binding{}
	}
	return set("unitConfig.ConditionPathIsMountPoint", mount, "libvirt_vmstore_root is on this pool; without it no VM is made.")
}

func afterUnits(in Input) []string {
	units := []string{"libvirtd.service", "network-online.target"}
	for _, p := range in.Pools {
		for _, s := range p.Subvolumes {
			units = append(units, mountUnit(s.Mountpoint))
		}
		if p.Degraded == "mount" {
			units = append(units, "hvinstall-degraded-"+p.Label+".service")
		}
	}
	return units
}

// mountUnit is systemd's name of the unit that mounts path, see
// systemd.unit(5), "String Escaping for Inclusion in Unit Names". A nofail
// mount is not ordered before local-fs.target, so what needs it names it.
func mountUnit(path string) string {
	path = strings.Trim(path, "/")
	if path == "" {
		return "-.mount"
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/':
			b.WriteByte('-')
		case c == '_' || c == ':' || c == '.' && i > 0, c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String() + ".mount"
}

// degradedMounts mount a pool with a disk missing, where the layout says so.
// The mount by UUID has had its 30 s and failed by then; never does an option
// in fstab let a pool come up degraded while its disk is only late.
func degradedMounts(in Input) attrs {
	var a attrs
	for _, p := range in.Pools {
		if p.Degraded != "mount" || len(p.Subvolumes) == 0 {
			continue
		}
		at := p.Subvolumes[0].Mountpoint
		options := strings.Join(append([]string{"degraded", "subvol=" + p.Subvolumes[0].Name}, p.Subvolumes[0].Options...), ",")
		a = append(a, after(binding{
			path:    []string{"systemd", "services", "hvinstall-degraded-" + p.Label},
			comment: []string{"degraded: mount of the pool " + p.Label},
			value: attrs{
				set("description", "pool "+p.Label+" with a disk missing"),
				set("wantedBy", texts("multi-user.target")),
				set("after", texts(mountUnit(at))),
				set("before", texts("libvirtd.service", "nfs-server.service", "hvinstall-exports.service")),
				set("unitConfig.ConditionPathIsMountPoint", "!"+at),
				set("path", raw("[ pkgs.util-linux ]")),
				set("serviceConfig", attrs{set("Type", "oneshot"), set("RemainAfterExit", true)}),
				set("script", block{
					"for device in " + strings.Join(p.Devices, " ") + "; do",
					"  [ -e \"$device\" ] && mount -t btrfs -o " + options + " \"$device\" " + at + " && exit 0",
					"done",
					"exit 1",
				}),
			},
		}))
	}
	return a
}
