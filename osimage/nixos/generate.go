package nixos

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"hvinstall/configs"
)

// DefaultRelease is followed where neither the layout nor the machine names
// a NixOS release.
const DefaultRelease = "26.05"

// Generate writes the modules of the host, in the order in which a person
// reads them. It is pure. Every value that Nix, its stage 1 or fstab would
// take for something else than text is refused by name.
func Generate(in Input) ([]File, error) {
	if err := check(in); err != nil {
		return nil, err
	}
	var files []File
	add := func(path, content string) {
		files = append(files, File{path, stamped(content)})
	}
	configuration, err := configurationNix(in)
	if err != nil {
		return nil, err
	}
	add("configuration.nix", configuration)
	add("hardware-configuration.nix", hardwareNix(in))
	add("luks.nix", luksNix(in))
	if in.Layout.Network != nil {
		add("network.nix", networkNix(in))
	}
	if len(in.Exports) > 0 {
		add("nfs.nix", nfsNix(in))
	}
	add("firewall.nix", firewallNix(in))
	add("libvirtd.nix", libvirtdNix(in))
	add("hvinstall.nix", hvinstallNix(in))
	if len(in.Layout.OS.NixOS.Options) > 0 {
		options, err := optionsNix(in.Layout.OS.NixOS.Options)
		if err != nil {
			return nil, err
		}
		add("options.nix", options)
	}
	add("disko.nix", diskoNix(in))
	if in.Layout.OS.NixOS.File == "" {
		for _, u := range in.Layout.Users {
			add("users/"+u.Name+".nix", userNix(in, u.Name))
		}
	}
	for _, f := range files {
		if strings.Contains(f.Content, "\x00") {
			return nil, fmt.Errorf("%s: a value of the layout holds a NUL byte, which Nix cannot write", f.Path)
		}
	}
	return files, nil
}

var (
	luksUUID  = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	fatUUID   = regexp.MustCompile(`^[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}$`)
	plainName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]*$`)
	ifname    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$`)
	account   = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	release   = regexp.MustCompile(`^[0-9]{2}\.[0-9]{2}$`)
	mountWord = regexp.MustCompile(`^[a-zA-Z0-9_./:=@%+-]+$`)
)

// check refuses what would not boot, or would be read as something else by a
// reader behind Nix: stage 1 puts the key file's path and the devices into a
// shell script unquoted, fstab and crypttab are split at white space.
func check(in Input) error {
	if in.Layout == nil || in.Layout.OS == nil || in.Layout.OS.NixOS == nil {
		return errors.New("the layout has no os.nixos; add it (os.nixos: {flake: \"/path/to/flake#host\"}) to get NixOS modules")
	}
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	l := in.Layout
	must(release.MatchString(in.Release), "the NixOS release %q is not of the form 26.05; set os.nixos.state_version", in.Release)
	must(plainName.MatchString(l.Hostname), "the host name %q is not one DNS label", l.Hostname)
	must(shellSafe.MatchString(keyName(in)) && !strings.Contains(keyName(in), "/"),
		"encryption.key_filename %q: NixOS' stage 1 takes only letters, digits and . _ : + - in it; rename the file on the stick", keyName(in))
	must(len(in.Volumes) > 0, "the plan has no LUKS volumes")
	for _, v := range in.Volumes {
		must(plainName.MatchString(v.Mapping), "the LUKS mapping %q is not a plain name", v.Mapping)
		must(luksUUID.MatchString(v.UUID), "the LUKS volume %s has the UUID %q, which is none", v.Mapping, v.UUID)
	}
	for _, s := range in.Sticks {
		must(fatUUID.MatchString(s.UUID), "the key stick %q has no volume serial of the form 8B34-7D3C", s.UUID)
	}
	must(fatUUID.MatchString(in.ESP.UUID), "the ESP's volume serial is %q, not of the form 8B34-7D3C", in.ESP.UUID)
	for _, fs := range append([]Filesystem{in.System}, in.Pools...) {
		// An adopted one's is not known before it is unlocked.
		must(luksUUID.MatchString(fs.UUID) || fs.UUID == "" && len(fs.Devices) > 0, "the btrfs %s has the UUID %q, which is none", fs.Label, fs.UUID)
		for _, d := range fs.Devices {
			must(mountWord.MatchString(d), "the device %q of %s is not a plain path", d, fs.Label)
		}
		for _, s := range fs.Subvolumes {
			must(strings.HasPrefix(s.Mountpoint, "/") && mountWord.MatchString(s.Mountpoint),
				"the mount point %q of %s: NixOS' scripts take an absolute path of letters, digits and . _ : = @ %% + -", s.Mountpoint, s.Name)
			must(mountWord.MatchString(s.Name), "the subvolume name %q cannot stand in fstab", s.Name)
			for _, o := range s.Options {
				must(mountWord.MatchString(o), "the mount option %q of %s cannot stand in fstab", o, s.Mountpoint)
			}
		}
	}
	must(slices.ContainsFunc(in.System.Subvolumes, func(s Subvolume) bool { return s.Mountpoint == "/" }), "no subvolume of the system disk is mounted at /")
	for _, u := range l.Users {
		must(account.MatchString(u.Name), "the user name %q is not one that NixOS takes", u.Name)
	}
	if l.Network != nil {
		must(ifname.MatchString(l.Network.Bridge), "the bridge name %q is no interface name", l.Network.Bridge)
		must(in.NIC.Name == "" || ifname.MatchString(in.NIC.Name), "the NIC name %q is no interface name", in.NIC.Name)
		must(in.NIC.Name != "" || in.NIC.MAC != "", "no NIC is known for the bridge; name it in network.nic, or run on the machine (or with --facts)")
	}
	if l.Network != nil {
		for _, text := range l.Network.OpenPorts {
			_, err := configs.ParsePorts(text)
			must(err == nil, "network.open_ports: %q is no protocol and port", text)
		}
	}
	for _, e := range in.Exports {
		for _, c := range e.Clients {
			must(shellSafe.MatchString(c), "the NFS client %q is not a network", c)
		}
		must(!strings.ContainsAny(e.Path, "\"\n\r\x00"), "the exported path %q cannot stand in exports(5)", e.Path)
	}
	return errors.Join(errs...)
}

// keyName is the key file's name in the stick's root.
func keyName(in Input) string {
	if name := in.Layout.Encryption.KeyFilename; name != "" {
		return name
	}
	return in.Layout.Hostname
}

// Warnings says what the files cannot settle and a person should know.
func Warnings(in Input) []string {
	var warnings []string
	n := in.Layout.OS.NixOS
	if n.StateVersion == "" {
		warnings = append(warnings, fmt.Sprintf("os.nixos.state_version is not set; %s is written as system.stateVersion and must not change later", in.Release))
	}
	login := slices.ContainsFunc(in.Layout.Users, func(u configsUser) bool { return u.PasswordHash != "" || len(u.SSHAuthorizedKeys) > 0 })
	if !login && len(n.Imports) == 0 {
		warnings = append(warnings, "no user has a password_hash or an ssh key: nobody can log in to the installed host, and NixOS refuses to build it; add users to the layout")
	}
	for _, u := range in.Layout.Users {
		if u.PasswordHash == "" && slices.Contains(u.Groups, "wheel") {
			warnings = append(warnings, u.Name+" is in wheel and has no password_hash: sudo will ask for a password that does not exist; set password_hash, or os.nixos.options: {security.sudo.wheelNeedsPassword: false}")
		}
	}
	if in.Facts.CPUVendor == "" {
		warnings = append(warnings, "the machine's CPU is not known: no microcode update and no KVM module is written; run on the machine, or with --facts")
	}
	if s := n.SystemdInitrd; s != nil && !*s && len(in.Pools) > 0 {
		warnings = append(warnings, "scripted stage 1 stops the boot when a pool's disk is missing, whatever degraded says; os.nixos.systemd_initrd: true does not")
	}
	return warnings
}
