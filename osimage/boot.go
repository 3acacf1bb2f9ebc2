package osimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// bootOf is the plan's way to boot, carried out at env.
func (p Plan) bootOf(env Env) Boot {
	return Boot{BootSettings: p.bootSettings(), Root: env.Root, Initrd: env.Initrd, KeyDigest: env.KeyDigest}
}

func (p Plan) bootSettings() BootSettings {
	return BootSettings{ESP: p.ESP, KernelArgs: p.KernelArgs}
}

// bootStep makes the host bootable: the loader, an entry for every kernel, and
// the firmware's variable. It refuses while the image is not whole.
func (p Plan) bootStep(env Env, after []string) step.Step {
	boot := p.bootOf(env)
	return step.Step{
		ID: BootStep, Title: "make the host bootable", After: after,
		Check: func(ctx context.Context) (step.State, string, error) {
			why, err := p.bootDiffers(ctx, boot)
			if err != nil || why != "" {
				return step.Absent, why, err
			}
			return step.Done, "", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			if _, whole, err := ReadInstalled(env.Root); err != nil {
				return err
			} else if !whole {
				return errors.New("the system is not whole, so it gets no boot entry; run the same command again")
			}
			if err := requireMounted(boot.esp()); err != nil {
				return err
			}
			versions, err := Kernels(env.Root)
			if err != nil {
				return err
			}
			if len(versions) == 0 {
				return errors.New("the image has no kernel in /boot")
			}
			for _, v := range versions {
				if err := boot.AddKernel(ctx, v, report); err != nil {
					return err
				}
			}
			if err := installLoader(env.Root, boot.esp()); err != nil {
				return err
			}
			bootVariable(ctx, boot.esp(), report)
			return syncFS(boot.esp())
		},
	}
}

func (p Plan) bootDiffers(ctx context.Context, boot Boot) (string, error) {
	versions, err := Kernels(boot.Root)
	if err != nil {
		return "", err
	}
	if len(versions) == 0 {
		return "there is no kernel yet", nil
	}
	for _, file := range []string{filepath.Join(boot.Root, BinaryPath), filepath.Join(boot.Root, "etc/hvinstall/boot.json")} {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return "nothing boots yet", nil
		}
	}
	if why, err := loaderMissing(boot.esp()); err != nil || why != "" {
		return why, err
	}
	for _, v := range versions {
		if why, err := boot.Differs(v); err != nil || why != "" {
			return why, err
		}
	}
	return "", nil
}

// requireMounted keeps kernels from being written into a folder of the root
// file system where the ESP is not mounted.
func requireMounted(esp string) error {
	mount, mounted, err := host.MountedAt(esp)
	if err != nil {
		return err
	}
	if !mounted || mount.FSType != "vfat" {
		return fmt.Errorf("the EFI system partition is not mounted at %s; mount it and run again", esp)
	}
	return nil
}

const bootLabel = "hvinstall"

// bootVariable makes the firmware's entry for this ESP, first in its order. A
// firmware that refuses it still finds the loader by the path for removable
// media, so this only warns.
func bootVariable(ctx context.Context, esp string, report step.Reporter) {
	if _, err := os.Stat("/sys/firmware/efi/efivars"); err != nil {
		report.Warn("this system was not started by UEFI, so no firmware boot entry is made; the firmware finds the disk's own EFI/BOOT/BOOTX64.EFI")
		return
	}
	if err := makeBootVariable(ctx, esp, report); err != nil {
		report.Warn("the firmware took no boot entry (%v); it should find EFI/BOOT/BOOTX64.EFI on the disk, else choose the disk in its setup", err)
	}
}

func makeBootVariable(ctx context.Context, esp string, report step.Reporter) error {
	mount, mounted, err := host.MountedAt(esp)
	if err != nil {
		return err
	}
	if !mounted {
		return fmt.Errorf("%s is not mounted", esp)
	}
	disk, number, guid, err := partition(mount.Device)
	if err != nil {
		return err
	}
	out, err := host.Cmd{Argv: []string{"efibootmgr", "--verbose"}}.Output(ctx)
	if err != nil {
		return err
	}
	if bootVariableIsThere(string(out), guid) {
		return nil
	}
	return host.Cmd{
		Argv:   []string{"efibootmgr", "--quiet", "--create", "--disk", disk, "--part", number, "--label", bootLabel, "--loader", `\EFI\systemd\systemd-bootx64.efi`},
		Log:    report.Log,
		Stdout: nil,
	}.Run(ctx)
}

var bootLine = regexp.MustCompile(`(?i)^Boot[0-9A-F]{4}\*? ` + bootLabel + `\s`)

// bootVariableIsThere finds an entry of ours for the partition in efibootmgr's
// list, which prints it as HD(1,GPT,<guid>,…).
func bootVariableIsThere(list, guid string) bool {
	for line := range strings.SplitSeq(list, "\n") {
		if bootLine.MatchString(line) && guid != "" && strings.Contains(strings.ToLower(line), strings.ToLower(guid)) {
			return true
		}
	}
	return false
}

// partition finds, by major:minor, the whole disk, the partition's number and
// its GUID.
func partition(device string) (disk, number, guid string, err error) {
	dir, err := filepath.EvalSymlinks("/sys/dev/block/" + device)
	if err != nil {
		return "", "", "", err
	}
	data, err := os.ReadFile(filepath.Join(dir, "partition"))
	if err != nil {
		return "", "", "", fmt.Errorf("%s is not a partition: %w", filepath.Base(dir), err)
	}
	// sysfs tells a partition's GUID only since Linux 6.7; udev always knows.
	links, err := filepath.Glob("/dev/disk/by-partuuid/*")
	if err != nil {
		return "", "", "", err
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && filepath.Base(target) == filepath.Base(dir) {
			guid = filepath.Base(link)
		}
	}
	return "/dev/" + filepath.Base(filepath.Dir(dir)), strings.TrimSpace(string(data)), guid, nil
}
