package osimage

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"hvinstall/host"
	"hvinstall/initrd/boot"
	"hvinstall/step"
)

// RootProof is by what the initramfs knows the system at root, see
// boot.RootProof; empty: the system has no secret yet.
func RootProof(root string) (string, error) {
	file := filepath.Join(root, boot.RootSecretPath)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return boot.RootProof(data)
}

// rootSecretStep leaves in the system what proves to its initramfs that it is
// the host's. It is made once: a boot entry of before would refuse another.
func rootSecretStep(env Env, after []string) step.Step {
	path := filepath.Join(env.Root, boot.RootSecretPath)
	return step.Step{
		ID: "os/root-secret", Title: "let the system prove itself to its initramfs", After: after,
		Check: func(context.Context) (step.State, string, error) {
			info, err := os.Lstat(path)
			if errors.Is(err, fs.ErrNotExist) {
				return step.Absent, boot.RootSecretPath + " is not there", nil
			}
			if err != nil {
				return step.Absent, "", err
			}
			// What cannot be read is made anew.
			if proof, damaged := RootProof(env.Root); damaged != nil || proof == "" {
				return step.Absent, boot.RootSecretPath + " is damaged", nil //nolint:nilerr // said
			}
			if !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
				return step.Absent, boot.RootSecretPath + " is not for root alone", nil
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error {
			secret, err := os.ReadFile(path)
			if _, damaged := boot.RootProof(secret); err != nil || damaged != nil {
				var random [48]byte
				if _, err := rand.Read(random[:]); err != nil {
					return err
				}
				secret = boot.RootSecret(random)
			}
			return host.WriteFile(path, secret, 0o600)
		},
	}
}
