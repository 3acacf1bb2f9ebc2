package nixos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"hvinstall/host"
	"hvinstall/step"

	"golang.org/x/sys/unix"
)

// What evaluating and fetching a NixOS needs of the live system, and an
// installed one of its disk. Evaluation alone takes about 1 GiB; the sources
// of nixpkgs land in the live system's store, which is memory there.
const (
	needMemory = 2 << 30
	needStore  = 1 << 30
	needDisk   = 16 << 30
)

var nixFlags = []string{"nix", "--extra-experimental-features", "nix-command flakes"}

// Preflight finds what would stop the install, before anything is erased for
// it: programs, memory, space, the flake and the host in it. systemSize is the
// size of the system's file system in bytes.
func (j Job) Preflight(ctx context.Context, systemSize uint64) []step.Refusal {
	if j.Root == "/" {
		return nil
	}
	var refusals []step.Refusal
	refuse := func(code, what, hint string) {
		refusals = append(refusals, step.Refusal{Code: code, Where: "os.nixos", What: what, Hint: hint})
	}
	programs := []string{"flock", "nixos-install", "nixos-enter", "nix"}
	if j.Source.Checkout != "" && inGit(j.Source.Checkout) {
		programs = append(programs, "git")
	}
	missing := host.Missing(programs...)
	if len(missing) > 0 {
		refuse("nixos-programs", strings.Join(missing, ", ")+" not found", "boot the NixOS installer, which has them; git is in it by 'nix-shell -p git'")
	}
	if j.Memory > 0 && j.Memory < needMemory {
		refuse("nixos-memory", fmt.Sprintf("%d MiB of memory are free, evaluating NixOS takes %d", j.Memory>>20, uint64(needMemory)>>20), "add memory, or install from a machine that has it with 'nixos-rebuild --target-host'")
	}
	if systemSize > 0 && systemSize < needDisk {
		refuse("nixos-space", fmt.Sprintf("the system's file system has %d GiB, NixOS with libvirtd takes %d", systemSize>>30, uint64(needDisk)>>30), "use a larger disk for the system")
	}
	var store unix.Statfs_t
	if err := unix.Statfs("/nix/store", &store); err == nil {
		if free := store.Bavail * uint64(store.Bsize); free < needStore { //nolint:gosec // a block size is positive
			refuse("nixos-store", fmt.Sprintf("the live system's /nix/store has %d MiB left, the sources take %d", free>>20, uint64(needStore)>>20), "mount -o remount,size=80% /nix/.rw-store, or add memory")
		}
	}
	if j.Source.File != "" {
		if _, err := os.Stat(j.Source.File); err != nil && !(j.module() && j.Source.Modules != "") {
			refuse("nixos-file", err.Error(), "name the file by its path in the live system, or use a flake")
		}
	}
	if j.Source.Flake == "" || slices.Contains(missing, "nix") {
		return refusals
	}
	if _, err := j.metadata(ctx, nil); err != nil {
		refuse("nixos-flake", err.Error(), "check the reference and the network; a private repository needs its key in this live system")
		return refusals
	}
	if j.Source.Checkout != "" {
		return refusals // its modules are written first, and judged then
	}
	if err := j.bootable(ctx, nil); err != nil {
		refuse("nixos-host", err.Error(), fmt.Sprintf("a remote flake cannot be written to: 'hvinstall nixos --plan ... -o CHECKOUT/%s', commit and push, or name a checkout on this machine as os.nixos.flake", HostDir(j.Input)))
	}
	return refusals
}

// metadata is what nix flake metadata --json tells, of which this is used.
type metadata struct {
	URL      string `json:"url"` // locked
	Revision string `json:"revision"`
}

func (j Job) metadata(ctx context.Context, log func(string, ...any)) (metadata, error) {
	argv := append(slices.Clone(nixFlags), "flake", "metadata", "--json", "--", j.Source.Flake)
	out, err := host.Cmd{Argv: argv, Env: j.environment(), Log: log}.Output(ctx)
	if err != nil {
		return metadata{}, fmt.Errorf("asking for the flake %s: %w", j.Source.Flake, err)
	}
	var m metadata
	if err := json.Unmarshal(out, &m); err != nil {
		return m, fmt.Errorf("nix flake metadata said something else than JSON: %w", err)
	}
	return m, nil
}

// evaluated is what the host's configuration says about booting.
type evaluated struct {
	Luks map[string]string `json:"luks"` // mapping: device
	Root string            `json:"root"`
}

const bootExpression = `c: { luks = builtins.mapAttrs (_: d: d.device) c.boot.initrd.luks.devices; root = c.fileSystems."/".device; }`

// bootable evaluates the host and compares what it opens and mounts at boot
// with the plan. A configuration may be the generated modules or the user's
// own, with disko or without; what counts is that it finds these disks.
func (j Job) bootable(ctx context.Context, log func(string, ...any)) error {
	argv := append(slices.Clone(nixFlags), "eval", "--json", j.Source.installable()+".config", "--apply", bootExpression)
	out, err := host.Cmd{Argv: argv, Env: j.environment(), Log: log}.Output(ctx)
	if err != nil {
		return fmt.Errorf("evaluating %s: %w", j.Source.called(), err)
	}
	var have evaluated
	if err := json.Unmarshal(out, &have); err != nil {
		return fmt.Errorf("nix eval said something else than JSON: %w", err)
	}
	return have.boots(j.Input)
}

// boots compares.
func (have evaluated) boots(in Input) error {
	var errs []error
	for _, v := range in.Volumes {
		device, there := have.Luks[v.Mapping]
		switch {
		case !there:
			errs = append(errs, fmt.Errorf("boot.initrd.luks.devices has no %s", v.Mapping))
		case !v.at(device):
			errs = append(errs, fmt.Errorf("boot.initrd.luks.devices.%s is %s; on the disk it is %s", v.Mapping, device, v.device()))
		}
	}
	if !in.System.at(have.Root) {
		errs = append(errs, fmt.Errorf(`fileSystems."/" is %s; on the disk it is %s`, have.Root, in.System.Devices[0]))
	}
	if len(errs) > 0 {
		return fmt.Errorf("the configuration would not boot this machine: %w", errors.Join(errs...))
	}
	return nil
}

// at reports whether a configuration's device is the volume.
func (v Volume) at(device string) bool {
	switch {
	case strings.EqualFold(device, "/dev/disk/by-uuid/"+v.UUID):
		return true
	case v.PartUUID != "" && strings.EqualFold(device, "/dev/disk/by-partuuid/"+v.PartUUID):
		return true
	case v.PartLabel != "" && device == "/dev/disk/by-partlabel/"+v.PartLabel:
		return true
	}
	return v.DiskID != "" && strings.HasPrefix(device, v.DiskID)
}

func (f Filesystem) at(device string) bool {
	return f.UUID != "" && strings.EqualFold(device, "/dev/disk/by-uuid/"+f.UUID) || slices.Contains(f.Devices, device) || device == "/dev/disk/by-label/"+f.Label
}
