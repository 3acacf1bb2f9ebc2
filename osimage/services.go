package osimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hvinstall/host"
	"hvinstall/step"
)

// servicesStep enables the units that the image has and leaves to the host.
func (p Plan) servicesStep(env Env, after []string) step.Step {
	return step.Step{
		ID: "os/services", Title: "enable the services", After: after, Detail: []string{strings.Join(p.Enable, " ")},
		Check: func(ctx context.Context) (step.State, string, error) {
			missing, err := p.notEnabled(ctx, env.Root)
			if err != nil {
				return step.Absent, "", err
			}
			if len(missing) > 0 {
				return step.Absent, "not enabled: " + strings.Join(missing, " "), nil
			}
			if left := p.scrubsLeft(env.Root); len(left) > 0 {
				return step.Absent, "of a pool that is gone or elsewhere: " + strings.Join(left, " "), nil
			}
			return step.Done, "", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			missing, err := p.notEnabled(ctx, env.Root)
			if err != nil {
				return err
			}
			where := "--root=" + env.Root
			if env.Root == "/" {
				where = "--now"
			}
			var todo [][]string
			if len(missing) > 0 {
				todo = append(todo, append([]string{"enable", where}, missing...))
			}
			if left := p.scrubsLeft(env.Root); len(left) > 0 {
				todo = append(todo, append([]string{"disable", where}, left...))
			}
			return systemctl(todo...)(ctx, report)
		},
	}
}

func (p Plan) notEnabled(ctx context.Context, root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, "etc/systemd/system")); err != nil {
		return p.Enable, nil //nolint:nilerr // nothing is unpacked yet
	}
	units := slices.DeleteFunc(slices.Clone(p.Enable), func(unit string) bool { return isWanted(root, unit) })
	if len(units) == 0 {
		return nil, nil
	}
	argv := []string{"systemctl", "is-enabled"}
	if root != "/" {
		argv = append(argv, "--root="+root)
	}
	out, err := host.Cmd{Argv: append(argv, units...)}.Output(ctx)
	var failed *host.CommandError
	if err != nil && (!errors.As(err, &failed) || failed.ExitCode() < 0) {
		return nil, err
	}
	// One line for each unit, in order, whatever the exit code; fewer lines
	// mean that a unit is not there.
	lines := strings.Fields(string(out))
	if len(lines) != len(units) {
		return units, nil
	}
	var missing []string
	for i, unit := range units {
		if lines[i] != "enabled" && lines[i] != "alias" {
			missing = append(missing, unit)
		}
	}
	return missing, nil
}

// scrubsLeft are the scrub timers that are enabled for places where the layout has
// no pool any more.
func (p Plan) scrubsLeft(root string) []string {
	links, err := filepath.Glob(filepath.Join(root, "etc/systemd/system/timers.target.wants", "hvinstall-scrub@*.timer"))
	if err != nil {
		return nil // of a bad pattern alone
	}
	var left []string
	for _, link := range links {
		if unit := filepath.Base(link); !slices.Contains(p.Enable, unit) {
			left = append(left, unit)
		}
	}
	return left
}

// isWanted reports whether another unit wants this one by a link, which is what
// enabling most units means (systemd.unit(5), WantedBy=). Asking systemctl
// takes longer than all else that is looked at.
func isWanted(root, unit string) bool {
	links, err := filepath.Glob(filepath.Join(root, "etc/systemd/system/*.wants", unit))
	return err == nil && slices.ContainsFunc(links, func(link string) bool {
		target, err := os.Readlink(link)
		return err == nil && target != os.DevNull
	})
}

// mountPointsStep makes the mount points, and those of the pools immutable:
// when a pool is not mounted, what is meant for it gets an error rather than
// room on the system disk.
func (p Plan) mountPointsStep(env Env, after []string) step.Step {
	return step.Step{
		ID: "os/mount-points", Title: "protect the pools' mount points", After: after,
		Check: func(context.Context) (state step.State, why string, err error) {
			if _, err := os.Stat(env.Root); errors.Is(err, fs.ErrNotExist) {
				return step.Absent, "nothing is mounted yet", nil
			}
			state = step.Done
			err = p.underneath(env.Root, func(path, target string) error {
				flags, err := fileFlags(path)
				if errors.Is(err, unix.ENOENT) {
					state, why = step.Absent, target+" is not there"
					return nil
				}
				if err == nil && flags&unix.STATX_ATTR_IMMUTABLE == 0 {
					state, why = step.Absent, target+" can be written to while the pool is not mounted"
				}
				return err
			})
			return state, why, err
		},
		Do: func(context.Context, step.Reporter) error {
			return p.underneath(env.Root, func(path, target string) error {
				if err := os.MkdirAll(path, 0o755); err != nil {
					return err
				}
				entries, err := os.ReadDir(path)
				if err != nil {
					return err
				}
				if len(entries) > 0 {
					return fmt.Errorf("%s on the system disk holds %s, which the pool hides once it is mounted; move it away", target, entries[0].Name())
				}
				return setImmutable(path)
			})
		},
	}
}

// underneath calls do with each pool's mount point as it lies on the root file
// system: through a second mount of that alone, what is mounted on it is not
// in the way.
func (p Plan) underneath(root string, do func(path, target string) error) error {
	if !slices.ContainsFunc(p.Mounts, func(m Mount) bool { return m.Pool }) {
		return nil
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("looking below the mounts of %s: %w", root, err)
	}
	defer unix.Close(tree)
	for _, m := range p.Mounts {
		if !m.Pool {
			continue
		}
		if err := do(fmt.Sprintf("/proc/self/fd/%d%s", tree, m.Target), m.Target); err != nil {
			return err
		}
	}
	return nil
}

// fileFlags are the attributes of statx(2).
func fileFlags(path string) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, 0, &st); err != nil {
		return 0, err
	}
	return st.Attributes, nil
}

// fsImmutable is FS_IMMUTABLE_FL of linux/fs.h.
const fsImmutable = 0x10

func setImmutable(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	flags, err := unix.IoctlGetInt(int(dir.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("reading the flags of %s: %w", path, err)
	}
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), unix.FS_IOC_SETFLAGS, flags|fsImmutable); err != nil {
		return fmt.Errorf("making %s immutable: %w", path, err)
	}
	return nil
}
