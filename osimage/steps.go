package osimage

import (
	"context"

	"hvinstall/initrd/boot"
	"hvinstall/step"
)

// Env is where a plan is carried out.
type Env struct {
	Root   string // the file tree of the host: /mnt/target, or / on the host itself
	Binary string // the running hvinstall, which is put on the host
	// After are steps of others that come before anything is written below
	// Root: the mounts.
	After []string
	// KeepBoot leaves the boot entries, and what they are made from, as they are.
	KeepBoot bool
	// Initrd builds the initramfs of the kernel version from the system at
	// root into the file output.
	Initrd func(ctx context.Context, root, version, output string) error
	// KeyDigest tells the key of an open volume.
	KeyDigest func(boot.Volume) (string, error)
}

// Programs are what the steps run, all of them in the live system.
func Programs() []string {
	return []string{"unsquashfs", "setfacl", "chroot", "ssh-keygen", "systemctl", "efibootmgr", "findmnt"}
}

// Steps makes the system what the plan says, in this order. The last one,
// BootStep (not there with KeepBoot), is to come after everything else of an
// installation.
func (p Plan) Steps(env Env) []step.Step {
	image := p.unpackStep(env, env.After)
	unpacked := []string{image.ID}
	steps := []step.Step{
		image,
		editStep(env.Root, "os/hostname", "name the host "+p.Hostname, unpacked, p.hostnameEdits()...),
		machineIDStep(env, unpacked),
		p.localeStep(env, unpacked),
		p.timezoneStep(env, unpacked),
		sshKeysStep(env, unpacked),
		rootSecretStep(env, unpacked),
		p.usersStep(env, unpacked),
		editStep(env.Root, "os/fstab", "write fstab", unpacked, p.fstabEdit()),
		p.mountPointsStep(env, unpacked),
		p.unitsStep(env, unpacked),
		binaryStep(env, unpacked),
		filesStep(env, unpacked),
		editStep(env.Root, "os/plan", "keep the plan on the host", unpacked, p.ownEdits(env.KeepBoot)...),
		sshStep(env, unpacked),
		silentStep(env, unpacked),
		p.servicesStep(env, []string{"os/units", "os/files", "os/ssh", "os/silent"}),
	}
	if env.KeepBoot {
		return steps
	}
	var all []string
	for _, s := range steps {
		all = append(all, s.ID)
	}
	return append(steps, p.bootStep(env, all))
}
