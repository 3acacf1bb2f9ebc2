package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// qemu-bridge-helper, setuid root, attaches an unprivileged QEMU to the bridges
// that this file allows; it refuses to read it if others may write it.
const (
	qemuFile = "etc/qemu/bridge.conf"
	qemuMode = 0o644
)

func (p Plan) qemuStep(env Env) step.Step {
	file := filepath.Join(env.Root, qemuFile)
	return step.Step{
		ID:     "net/qemu",
		Title:  "allow QEMU's bridge helper to use " + p.Bridge,
		Detail: []string{"allow " + p.Bridge + " in /" + qemuFile},
		Check: func(context.Context) (step.State, string, error) {
			text, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return step.Absent, "", fmt.Errorf("reading QEMU's bridge list: %w", err)
			}
			switch helperAnswer(text, p.Bridge) {
			case "allow":
			case "deny":
				return step.Foreign, fmt.Sprintf("/%s denies %s; remove that line", qemuFile, p.Bridge), nil
			default:
				return step.Absent, p.Bridge + " is not in /" + qemuFile, nil
			}
			info, err := os.Stat(file)
			if err != nil {
				return step.Absent, "", err
			}
			if info.Mode().Perm()&0o022 != 0 {
				return step.Absent, fmt.Sprintf("/%s may be written by others (%04o)", qemuFile, info.Mode().Perm()), nil
			}
			return step.Done, "/" + qemuFile + " allows " + p.Bridge, nil
		},
		Do: func(context.Context, step.Reporter) error {
			text, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("reading QEMU's bridge list: %w", err)
			}
			mode := os.FileMode(qemuMode)
			if info, err := os.Stat(file); err == nil {
				// Others' choice stays, as 0640 root:kvm; only what the helper
				// would refuse is taken away.
				mode = info.Mode().Perm() &^ 0o022
			}
			if helperAnswer(text, p.Bridge) == "" {
				text = withAllowed(text, p.Bridge)
			}
			return writeKeepingOwner(file, text, mode)
		},
	}
}

// helperAnswer is what qemu-bridge-helper reads from the text about a bridge:
// "allow", "deny", or nothing. A deny anywhere wins.
func helperAnswer(text []byte, bridge string) string {
	result := ""
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) != 2 || (words[1] != bridge && words[1] != "all") {
			continue
		}
		switch words[0] {
		case "deny":
			return "deny"
		case "allow":
			result = "allow"
		}
	}
	return result
}

// withAllowed keeps every line and adds one.
func withAllowed(text []byte, bridge string) []byte {
	text = bytes.Clone(text)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return append(text, "allow "+bridge+"\n"...)
}

// writeKeepingOwner replaces a file that may belong to another group (kvm).
func writeKeepingOwner(file string, text []byte, mode os.FileMode) error {
	var uid, gid = 0, 0
	if info, err := os.Stat(file); err == nil {
		uid, gid = ownerOf(info)
	}
	if err := host.WriteFile(file, text, mode); err != nil {
		return err
	}
	if uid == os.Geteuid() && gid == os.Getegid() {
		return nil
	}
	if err := os.Chown(file, uid, gid); err != nil {
		return fmt.Errorf("keeping the owner of %s: %w", file, err)
	}
	return nil
}
