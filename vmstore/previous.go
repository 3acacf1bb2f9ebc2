package vmstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"hvinstall/host"
	"hvinstall/step"

	"golang.org/x/sys/unix"
)

// previousDir is where the store keeps what VMs were, below
// libvirt_vmstore_root. No VM can have its name.
const previousDir = ".hvinstall/previous"

// keptFor is how long a definition, its firmware variables and its TPM's state
// are kept before something destroys them.
const keptFor = 90 * 24 * time.Hour

// largestState bounds what is taken for firmware variables or a TPM's state.
const largestState = 64 << 20

// Previous is what the store keeps of a VM, as entry.json has it.
type Previous struct {
	VM    string    `json:"vm"`
	Made  time.Time `json:"made"`
	Until time.Time `json:"until"`
	// DisksUntil is when the moved directory goes; zero where there is none.
	DisksUntil time.Time `json:"disks_until,omitzero"`
	// NVRAM and TPM are where the kept files were.
	NVRAM string `json:"nvram,omitempty"`
	TPM   string `json:"tpm,omitempty"`

	// Path is the entry's directory; Expired and DisksExpired are what the
	// probe's clock says.
	Path         string `json:"path"`
	Disks        bool   `json:"disks,omitempty"`
	Allocated    int64  `json:"allocated,omitempty"`
	Expired      bool   `json:"expired,omitempty"`
	DisksExpired bool   `json:"disks_expired,omitempty"`
}

const (
	entryFile  = "entry.json"
	movedDisks = "directory"
	keptNVRAM  = "nvram"
	keptTPM    = "tpm"
)

// readPrevious lists what the store keeps, the oldest first. What is no entry
// of ours is not touched.
func readPrevious(root, store string, now time.Time) []Previous {
	dir := filepath.Join(root, store, previousDir)
	entries, _ := os.ReadDir(dir)
	var found []Previous
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), partSuffix) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name(), entryFile))
		p := Previous{}
		if err != nil || json.Unmarshal(text, &p) != nil || p.VM == "" || p.Until.IsZero() {
			continue
		}
		p.Path = filepath.Join(store, previousDir, e.Name())
		p.Expired, p.Disks, p.DisksExpired, p.Allocated = now.After(p.Until), false, false, 0
		if d, there, err := probeDirectory(filepath.Join(dir, e.Name(), movedDisks), true); err == nil && there {
			p.Disks, p.Allocated = true, d.Allocated
			p.DisksExpired = !p.DisksUntil.IsZero() && now.After(p.DisksUntil)
			p.Expired = p.Expired && p.DisksExpired
		}
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b Previous) int { return a.Made.Compare(b.Made) })
	return found
}

// keep saves what a VM is before something destroys it.
func (w *worker) keep(v VM) step.Step {
	return step.Step{
		ID: w.id(v, "keep"), Title: "keep the definition, firmware variables and TPM state of " + v.Name,
		Detail: []string{"in " + filepath.Join(w.plan.Root, previousDir) + " for 90 days"},
		Check: look(func(ctx context.Context) (string, error) {
			text, err := w.definitionOf(ctx, v)
			if err != nil || text == "" {
				return "", err
			}
			if _, kept := w.kept(v.Name, text); kept {
				return "", nil
			}
			return "it is not kept yet", nil
		}),
		Do: func(ctx context.Context, _ step.Reporter) error {
			text, err := w.definitionOf(ctx, v)
			if err != nil {
				return err
			}
			return w.keepNow(v, text)
		},
	}
}

// definitionOf is what libvirt has, else what is beside the disk; empty where
// there is neither.
func (w *worker) definitionOf(ctx context.Context, v VM) (string, error) {
	if !w.plan.Stage {
		text, found, err := w.described(ctx, v.Name)
		if err != nil || found {
			return text, err
		}
	}
	text, err := readXMLFile(w.at(filepath.Join(v.Spec.Dir, domainXMLName)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return "", nil
	}
	return text, err
}

// kept finds the entry that has this definition.
func (w *worker) kept(name, text string) (Previous, bool) {
	all := readPrevious(w.at("/"), w.plan.Root, time.Now())
	for _, p := range slices.Backward(all) {
		have, err := readXMLFile(w.at(filepath.Join(p.Path, domainXMLName)))
		if err == nil && p.VM == name && !p.Disks && sameContents(have, text) {
			return p, true
		}
	}
	return Previous{}, false
}

// partSuffix ends the name of an entry that is being made.
const partSuffix = ".part"

const entryTime = "20060102T150405.000Z"

// keepNow makes an entry under another name, and renames it when it is whole.
func (w *worker) keepNow(v VM, text string) error {
	now := time.Now().UTC()
	p := Previous{VM: v.Name, Made: now, Until: now.Add(keptFor)}
	p.Path = filepath.Join(w.plan.Root, previousDir, v.Name+"-"+now.Format(entryTime))
	dir := w.at(p.Path) + partSuffix
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	// What an interrupted run left.
	others, _ := os.ReadDir(filepath.Dir(dir))
	for _, old := range others {
		made, isPart := strings.CutSuffix(old.Name(), partSuffix)
		made, isOurs := strings.CutPrefix(made, v.Name+"-")
		if _, err := time.Parse(entryTime, made); !isPart || !isOurs || err != nil {
			continue
		}
		if err := removeDirectory(filepath.Dir(dir), old.Name()); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if text != "" {
		doc, err := readTree(text)
		if err != nil {
			return err
		}
		if p.NVRAM = content(below(doc.Root(), "os", "nvram")); p.NVRAM == "" && value(below(doc.Root(), "os", "loader"), "type") == "pflash" {
			p.NVRAM = "/var/lib/libvirt/qemu/nvram/" + v.Name + "_VARS.fd" // libvirt's own choice
		}
		if err := copyState(w.at(p.NVRAM), filepath.Join(dir, keptNVRAM)); p.NVRAM != "" && err != nil {
			return fmt.Errorf("keeping the firmware variables of %s: %w", v.Name, err)
		}
		if below(doc.Root(), "devices", "tpm") != nil {
			p.TPM = filepath.Join("/var/lib/libvirt/swtpm", content(below(doc.Root(), "uuid")))
			if err := copyStates(w.at(p.TPM), filepath.Join(dir, keptTPM)); err != nil {
				return fmt.Errorf("keeping the TPM's state of %s: %w", v.Name, err)
			}
		}
		if err := host.WriteFile(filepath.Join(dir, domainXMLName), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := writeEntry(dir, p); err != nil {
		return err
	}
	if err := os.Rename(dir, w.at(p.Path)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func writeEntry(dir string, p Previous) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFile(filepath.Join(dir, entryFile), append(text, '\n'), 0o600)
}

// copyState copies one small file; one that is not there yet is nothing to keep.
func copyState(from, to string) error {
	in, info, err := openAnything(from)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is a %s", from, kindOf(info.Mode()))
	case info.Size() > largestState:
		return fmt.Errorf("%s has %s, which is no such state", from, gib(info.Size()))
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, likeThat(info, to), out.Sync(), out.Close())
}

// likeThat gives a copy the mode and the owner of what was copied: QEMU and
// swtpm run as users of their own.
func likeThat(info fs.FileInfo, path string) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return errors.Join(os.Lchown(path, int(st.Uid), int(st.Gid)), os.Chmod(path, info.Mode().Perm()))
}

// copyStates copies a directory of small files.
func copyStates(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		switch {
		case e.IsDir():
			info, err := e.Info()
			if err != nil {
				return err
			}
			return errors.Join(os.Mkdir(target, 0o700), likeThat(info, target))
		case e.Type().IsRegular():
			return copyState(path, target)
		}
		return nil // sockets and locks of a TPM that runs
	})
}

// moveAside puts the directory of a VM that is absent into an entry, by one
// rename: no room is taken, and until purge_after has passed it can come back.
func (w *worker) moveAside(v VM) error {
	text, err := readXMLFile(w.at(filepath.Join(v.Spec.Dir, domainXMLName)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p, kept := w.newest(v.Name)
	if !kept {
		if err := w.keepNow(v, text); err != nil {
			return err
		}
		if p, kept = w.newest(v.Name); !kept {
			return fmt.Errorf("%s has no entry for %s", previousDir, v.Name)
		}
	}
	p.DisksUntil = time.Now().UTC().Add(v.PurgeAfter)
	if p.Until.Before(p.DisksUntil) {
		p.Until = p.DisksUntil
	}
	if err := writeEntry(w.at(p.Path), p); err != nil {
		return err
	}
	return moveDirectory(w.at(w.plan.Root), v.Name, filepath.Join(strings.TrimPrefix(p.Path, w.plan.Root+"/"), movedDisks))
}

// newest is the last entry of a VM that has no directory yet: the step before
// made it.
func (w *worker) newest(name string) (Previous, bool) {
	for _, p := range slices.Backward(readPrevious(w.at("/"), w.plan.Root, time.Now())) {
		if p.VM == name && !p.Disks {
			return p, true
		}
	}
	return Previous{}, false
}

// moveDirectory renames a directory within the store. Nothing is replaced, no
// link is followed, and no mount is crossed.
func moveDirectory(root, from, to string) error {
	base, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(base)
	parents := [2]int{}
	for i, path := range []string{from, to} {
		how := within
		if parents[i], err = unix.Openat2(base, filepath.Dir(path), &how); err != nil {
			return fmt.Errorf("opening %s: %w", filepath.Join(root, filepath.Dir(path)), err)
		}
		defer unix.Close(parents[i])
	}
	how := within
	fd, err := unix.Openat2(parents[0], filepath.Base(from), &how)
	if err != nil {
		return &OutsideError{filepath.Join(root, from), "is not a directory of the store"}
	}
	unix.Close(fd)
	if err := unix.Renameat2(parents[0], filepath.Base(from), parents[1], filepath.Base(to), unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("moving %s to %s: %w", filepath.Join(root, from), filepath.Join(root, to), err)
	}
	return errors.Join(unix.Fsync(parents[0]), unix.Fsync(parents[1]))
}

// expire deletes what was kept long enough.
func (w *worker) expire(old []Previous) step.Step {
	s := step.Step{ID: "vms/previous", Title: "delete what was kept of former VMs and has expired"}
	for _, p := range old {
		s.Detail = append(s.Detail, p.line())
	}
	left := func() []Previous {
		return slices.DeleteFunc(readPrevious(w.at("/"), w.plan.Root, time.Now()), func(p Previous) bool {
			return !p.due() || !slices.ContainsFunc(old, func(o Previous) bool { return o.Path == p.Path })
		})
	}
	s.Check = look(func(context.Context) (string, error) {
		if n := len(left()); n > 0 {
			return fmt.Sprintf("%d have expired", n), nil
		}
		return "", nil
	})
	s.Do = func(context.Context, step.Reporter) error {
		var failures []error
		for _, p := range left() {
			if err := w.unreferenced(VM{Name: p.VM, Spec: Spec{Dir: p.Path}}); err != nil {
				failures = append(failures, err)
				continue
			}
			if p.Expired {
				failures = append(failures, removeDirectory(filepath.Dir(w.at(p.Path)), filepath.Base(p.Path)))
			} else {
				failures = append(failures, removeDirectory(w.at(p.Path), movedDisks))
			}
		}
		return errors.Join(failures...)
	}
	return s
}

// due says whether something of the entry is to go.
func (p Previous) due() bool { return p.Expired || p.DisksExpired }

func (p Previous) line() string {
	what := "the definition"
	if p.Disks {
		what = fmt.Sprintf("the disks (%s)", gib(p.Allocated))
	}
	return fmt.Sprintf("%s of %s, kept since %s", what, p.VM, p.Made.Format("2006-01-02"))
}
