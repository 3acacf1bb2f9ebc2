package osimage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"hvinstall/host"
	"hvinstall/step"
)

var machineIDPattern = regexp.MustCompile(`^[0-9a-f]{32}\n?$`)

// machineIDStep gives the host an identity of its own, see machine-id(5): a
// version 4 UUID without dashes.
func machineIDStep(env Env, after []string) step.Step {
	path := filepath.Join(env.Root, "/etc/machine-id")
	return step.Step{
		ID: "os/machine-id", Title: "give the host a machine ID", After: after,
		Check: func(context.Context) (step.State, string, error) {
			data, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return step.Absent, "", err
			}
			if !machineIDPattern.Match(data) {
				return step.Absent, "there is none", nil
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error {
			var id [16]byte
			if _, err := rand.Read(id[:]); err != nil {
				return err
			}
			id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
			return host.WriteFile(path, []byte(hex.EncodeToString(id[:])+"\n"), 0o444)
		},
	}
}

// hostKeyTypes are those that sshd looks for by default, see sshd_config(5).
var hostKeyTypes = []string{"rsa", "ecdsa", "ed25519"}

// sshKeysStep makes the host's SSH keys.
func sshKeysStep(env Env, after []string) step.Step {
	return step.Step{
		ID: "os/ssh-keys", Title: "make the SSH host keys", After: after,
		Check: func(context.Context) (step.State, string, error) {
			for _, t := range hostKeyTypes {
				path := filepath.Join("/etc/ssh", "ssh_host_"+t+"_key")
				for _, suffix := range []string{"", ".pub"} {
					info, err := os.Stat(filepath.Join(env.Root, path+suffix))
					// A power cut can leave a file without its content.
					if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
						return step.Absent, path + suffix + " is not there", nil
					}
					if err != nil {
						return step.Absent, "", err
					}
				}
			}
			return step.Done, "", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			for _, t := range hostKeyTypes {
				path := filepath.Join(env.Root, "/etc/ssh", "ssh_host_"+t+"_key")
				private, public := fileSize(path), fileSize(path+".pub")
				if private > 0 && public > 0 {
					continue
				}
				for _, half := range []string{path, path + ".pub"} {
					if err := os.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
						return err
					}
				}
				// Made below another name: a key that is there is whole.
				cmd := host.Cmd{Argv: []string{"ssh-keygen", "-q", "-N", "", "-C", "root@" + hostnameOf(env.Root), "-t", t, "-f", path + ".new"}, Log: report.Log}
				for _, half := range []string{path + ".new", path + ".new.pub"} {
					if err := os.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
						return err
					}
				}
				if err := cmd.Run(ctx); err != nil {
					return err
				}
				if err := syncFS(filepath.Dir(path)); err != nil {
					return err
				}
				if err := os.Rename(path+".new.pub", path+".pub"); err != nil {
					return err
				}
				if err := os.Rename(path+".new", path); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

func hostnameOf(root string) string {
	data, err := os.ReadFile(filepath.Join(root, "etc/hostname"))
	if err != nil || len(data) == 0 {
		return "localhost"
	}
	return string(data[:len(data)-1])
}

// binaryStep puts the running hvinstall on the host.
func binaryStep(env Env, after []string) step.Step {
	target := filepath.Join(env.Root, BinaryPath)
	return step.Step{
		ID: "os/hvinstall", Title: "put hvinstall on the host", After: after,
		Check: func(context.Context) (step.State, string, error) {
			same, err := sameContent(target, env.Binary)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return step.Absent, BinaryPath + " is not there", nil
			case err != nil:
				return step.Absent, "", err
			case !same:
				return step.Absent, "another version is there", nil
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error {
			data, err := os.ReadFile(env.Binary)
			if err != nil {
				return fmt.Errorf("reading the running hvinstall: %w", err)
			}
			return host.WriteFile(target, data, 0o755)
		},
	}
}

// BinaryPath is where hvinstall lies on the host; the kernel hooks call it.
const BinaryPath = "/usr/local/bin/hvinstall"
