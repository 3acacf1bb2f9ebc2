package osimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hvinstall/configs"
	"hvinstall/host"
	"hvinstall/step"
)

// SumError is an image that is not the one that the plan names.
type SumError struct {
	URL        string
	Have, Want string
}

func (e *SumError) Error() string {
	return fmt.Sprintf("%s has sha256 %s, and the plan says %s; nothing of it was kept: fetch the image again, or correct os.image.sha256", e.URL, e.Have, e.Want)
}

// unpackStep unpacks the image below root. It is done when the mark of a whole,
// verified image is there; what an interrupted run left is removed first.
func (p Plan) unpackStep(env Env, after []string) step.Step {
	return step.Step{
		ID: "os/image", Title: "unpack the system", After: after,
		Detail: []string{configs.PublicURL(p.Image.URL), "sha256 " + p.Image.SHA256},
		Memory: 256 << 20,
		Check: func(context.Context) (step.State, string, error) {
			installed, found, err := ReadInstalled(env.Root)
			if err != nil {
				return step.Absent, "", err
			}
			if found {
				// A host that runs is kept current by its package manager: a newer
				// image in the plan is for the next host.
				return step.Done, "from the image " + installed.SHA256[:12], nil
			}
			if _, err := os.Lstat(filepath.Join(env.Root, startedMark)); err == nil {
				return step.Absent, "an earlier run began and did not finish", nil
			}
			if env.Root == "/" {
				return step.Foreign, "the system that runs here was not unpacked by hvinstall (" + doneMark + " is not there)", nil
			}
			foreign, err := strangers(env.Root)
			if err != nil {
				return step.Absent, "", err
			}
			if foreign != "" {
				return step.Foreign, fmt.Sprintf("%s is in the way of the system's files", filepath.Join(env.Root, foreign)), nil
			}
			return step.Absent, "nothing is unpacked", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error { return p.unpack(ctx, env, report) },
	}
}

// strangers names something in root that is neither a mount point nor a folder
// on the way to one.
func strangers(root string) (string, error) {
	mounts, err := host.Mounts()
	if err != nil {
		return "", err
	}
	points := map[string]bool{}
	for _, m := range mounts {
		for dir := m.Target; len(dir) > len(root); dir = filepath.Dir(dir) {
			points[dir] = true
		}
	}
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		path := filepath.Join(root, e.Name())
		if points[path] || (e.IsDir() && holdsOnlyOurs(root, path)) {
			continue
		}
		return e.Name(), nil
	}
	return "", nil
}

// ownFolders are hvinstall's on the host. Other steps may have written to them
// before the system is unpacked: the headers' backups, and the log.
var ownFolders = []string{"var/lib/hvinstall", "var/log/hvinstall"}

// holdsOnlyOurs reports whether there is nothing but folders (mount points that
// are not mounted, or made for it) and hvinstall's own.
func holdsOnlyOurs(root, dir string) bool {
	only := true
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if rel, relErr := filepath.Rel(root, path); relErr == nil && slices.Contains(ownFolders, rel) {
			return fs.SkipDir
		}
		if err != nil || !d.IsDir() {
			only = false
			return fs.SkipAll
		}
		return nil
	})
	return err == nil && only
}

func (p Plan) unpack(ctx context.Context, env Env, report step.Reporter) error {
	root := env.Root
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	// The mark of a whole image goes before anything of it does.
	if err := os.Remove(filepath.Join(root, doneMark)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := host.WriteFile(filepath.Join(root, startedMark), []byte("hvinstall: this system is not whole\n"), 0o600); err != nil {
		return err
	}
	if err := wipe(root, startedMark, downloadName); err != nil {
		return fmt.Errorf("removing what an earlier run left: %w", err)
	}
	image, err := p.fetch(ctx, root, report)
	if err != nil {
		return err
	}
	have, err := unpackVerified(ctx, image, root, p.Image.SHA256, report)
	if err != nil {
		return err
	}
	if have != p.Image.SHA256 {
		if err := wipe(root, startedMark); err != nil {
			return err
		}
		return &SumError{URL: p.Image.URL, Have: have, Want: p.Image.SHA256}
	}
	if err := restoreACLs(ctx, root, report); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(root, downloadName)); err != nil {
		return err
	}
	if err := syncFS(root); err != nil {
		return err
	}
	if err := writeInstalled(root, Installed{URL: configs.PublicURL(p.Image.URL), SHA256: have}); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(root, startedMark)); err != nil {
		return err
	}
	return syncFS(root)
}

// unpackVerified unpacks the image while its sum is computed: both read the
// same pages, once from the medium. The sum decides afterwards.
func unpackVerified(ctx context.Context, image, root, want string, report step.Reporter) (string, error) {
	group, ctx := errgroup.WithContext(ctx)
	var have string
	group.Go(func() error {
		var err error
		if have, err = host.SHA256(ctx, image); err == nil && have != want {
			// No need to unpack the rest.
			err = errWrongSum
		}
		return err
	})
	group.Go(func() error { return unsquash(ctx, image, root, report) })
	err := group.Wait()
	if errors.Is(err, errWrongSum) || (err != nil && have != "" && have != want) {
		return have, nil
	}
	return have, err
}

var errWrongSum = errors.New("wrong sum")

// unsquash unpacks with owners, modes, xattrs (capabilities among them), hard
// links and holes, which is what unsquashfs is the reference for.
func unsquash(ctx context.Context, image, root string, report step.Reporter) error {
	cmd := host.Cmd{
		Argv:   []string{"unsquashfs", "-force", "-strict-errors", "-dest", root, image},
		Stdout: &progressBar{report: report},
		Log:    report.Log,
	}
	if err := cmd.Run(ctx); err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	return nil
}

// progressBar reads the bar that unsquashfs draws: "[==== ] 123/4567  2%".
type progressBar struct {
	report step.Reporter
	rest   []byte
	done   int64
}

var barPattern = regexp.MustCompile(`\]\s+(\d+)/(\d+)\s+\d+%`)

func (b *progressBar) Write(p []byte) (int, error) {
	b.rest = append(b.rest, p...)
	matches := barPattern.FindAllSubmatch(b.rest, -1)
	if len(matches) > 0 {
		last := matches[len(matches)-1]
		done, _ := strconv.ParseInt(string(last[1]), 10, 64)
		total, _ := strconv.ParseInt(string(last[2]), 10, 64)
		if done > b.done {
			b.done = done
			b.report.Progress(done, total, "blocks")
		}
	}
	if i := bytes.LastIndexByte(b.rest, '\r'); i >= 0 {
		b.rest = bytes.Clone(b.rest[i:])
	}
	if len(b.rest) > 4096 {
		b.rest = b.rest[len(b.rest)-1024:]
	}
	return len(p), nil
}

// restoreACLs sets the ACLs that the image brings as a file, because squashfs
// has no place for them.
func restoreACLs(ctx context.Context, root string, report step.Reporter) error {
	list, err := os.Open(filepath.Join(root, "usr/lib/hvinstall/acls"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer list.Close()
	if info, err := list.Stat(); err != nil || info.Size() == 0 {
		return err
	}
	cmd := host.Cmd{Argv: []string{"setfacl", "--restore=-"}, Stdin: list, Dir: root, Log: report.Log}
	if err := cmd.Run(ctx); err != nil {
		return fmt.Errorf("restoring ACLs: %w", err)
	}
	return nil
}

// wipe removes what is in root, other than hvinstall's own folders and the names
// kept. It stays on root's own file system: subvolumes mounted below, which may
// hold the user's data, are left alone.
func wipe(root string, keep ...string) error {
	var st unix.Stat_t
	if err := unix.Lstat(root, &st); err != nil {
		return err
	}
	return wipeDir(root, "", st.Dev, slices.Concat(keep, ownFolders))
}

// wipeDir removes what is in the folder rel of root; keep is relative to root.
func wipeDir(root, rel string, dev uint64, keep []string) error {
	entries, err := os.ReadDir(filepath.Join(root, rel))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(rel, e.Name())
		if slices.Contains(keep, name) {
			continue
		}
		path := filepath.Join(root, name)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Dev != dev {
			continue
		}
		if e.IsDir() {
			if err := wipeDir(root, name, dev, keep); err != nil {
				return err
			}
			err := unix.Rmdir(path)
			// Not empty: it leads to a mount point, or to what is kept. Busy: it is
			// a mount point of the same file system. Not permitted: the immutable
			// mount point of a pool.
			if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EPERM) {
				return fmt.Errorf("removing %s: %w", path, err)
			}
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// syncFS writes a file system's data to its disks.
func syncFS(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("syncing %s: %w", path, err)
	}
	return nil
}
