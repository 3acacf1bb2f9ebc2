package nixos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"hvinstall/host"
	"hvinstall/step"
)

// keptSteps place what later runs and the units need on the host: the plan,
// the binary and the accounts' password hashes. They come before the install,
// whose activation makes the accounts.
func (j Job) keptSteps() []step.Step {
	steps := []step.Step{
		// 0600: the layout may hold password hashes.
		j.fileStep("os/nixos/plan", "keep the plan in "+LayoutPath, LayoutPath, func() ([]byte, error) { return j.Layout, nil }, 0o600),
		j.binaryStep(),
	}
	for _, u := range j.Input.Layout.Users {
		if u.PasswordHash != "" {
			steps = append(steps, j.fileStep("os/nixos/password/"+u.Name, "keep the password hash of "+u.Name, PasswordsDir+"/"+u.Name,
				func() ([]byte, error) { return []byte(u.PasswordHash + "\n"), nil }, 0o600))
		}
	}
	return steps
}

// fileStep keeps a small file; its content is in no title, event or error.
func (j Job) fileStep(id, title, path string, content func() ([]byte, error), mode os.FileMode) step.Step {
	at := filepath.Join(j.Root, path)
	return step.Step{
		ID: id, Title: title, After: j.After,
		Check: func(context.Context) (step.State, string, error) {
			data, err := content()
			if err != nil {
				return step.Absent, "", err
			}
			same, err := host.FileIs(at, data, mode)
			if err != nil {
				return step.Absent, "", fmt.Errorf("looking at %s: %w", at, err)
			}
			if !same {
				return step.Absent, at + " is not there, or not as in the layout", nil
			}
			return step.Done, at + " is as in the layout", nil
		},
		Do: func(context.Context, step.Reporter) error {
			data, err := content()
			if err != nil {
				return err
			}
			return host.WriteFile(at, data, mode)
		},
	}
}

// binaryStep keeps hvinstall itself. Where it runs from that very place, there
// is nothing to do.
func (j Job) binaryStep() step.Step {
	at := filepath.Join(j.Root, BinaryPath)
	return step.Step{
		ID: "os/nixos/binary", Title: "keep hvinstall in " + BinaryPath, After: j.After,
		Check: func(context.Context) (step.State, string, error) {
			same, err := sameFile(j.Binary, at)
			switch {
			case err != nil:
				return step.Absent, "", err
			case !same:
				return step.Absent, at + " is not there, or another version", nil
			}
			return step.Done, at + " is this version", nil
		},
		Do: func(context.Context, step.Reporter) error {
			in, err := os.Open(j.Binary)
			if err != nil {
				return fmt.Errorf("reading hvinstall itself: %w", err)
			}
			defer in.Close()
			return host.Replace(at, 0o755, in)
		},
	}
}

// sameFile reports whether b is an executable file with a's content.
func sameFile(a, b string) (bool, error) {
	one, err := os.Open(a)
	if err != nil {
		return false, fmt.Errorf("reading hvinstall itself: %w", err)
	}
	defer one.Close()
	two, err := os.Open(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at %s: %w", b, err)
	}
	defer two.Close()
	oneInfo, err := one.Stat()
	if err != nil {
		return false, err
	}
	twoInfo, err := two.Stat()
	if err != nil {
		return false, err
	}
	if os.SameFile(oneInfo, twoInfo) {
		return true, nil
	}
	if oneInfo.Size() != twoInfo.Size() || twoInfo.Mode().Perm() != 0o755 {
		return false, nil
	}
	var left, right [1 << 16]byte
	for {
		n, err := io.ReadFull(one, left[:])
		if m, _ := io.ReadFull(two, right[:]); n != m || left != right {
			return false, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
