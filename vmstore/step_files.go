package vmstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hvinstall/configs"
	"hvinstall/host"
	"hvinstall/step"

	"github.com/digitalocean/go-libvirt"
)

// directory makes the VM's directory. It is root's, and others may pass
// through it: QEMU opens the images as a user of its own.
func (w *worker) directory(v VM) step.Step {
	path := w.at(v.Spec.Dir)
	return step.Step{
		ID: w.id(v, "directory"), Title: "make " + v.Spec.Dir,
		Check: func(context.Context) (step.State, string, error) {
			info, err := os.Lstat(path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return step.Absent, "it is not there", nil
			case err != nil:
				return step.Absent, "", err
			case !info.IsDir():
				return step.Foreign, path + " is a " + kindOf(info.Mode()), nil
			case info.Mode()&0o011 == 0:
				return step.Absent, "the VMs' user cannot pass through it", nil
			}
			if !v.NoCOW {
				return step.Done, "", nil
			}
			marked, err := hasNoCOW(path)
			if err == nil && marked {
				return step.Done, "", nil
			}
			entries, err := os.ReadDir(path)
			if err != nil {
				return step.Absent, "", err
			}
			if len(entries) > 0 {
				// The flag has no effect on files that are there; a directory
				// that was in use before nocow was asked for stays as it is.
				return step.Done, "nocow comes too late: there are files in it", nil
			}
			return step.Absent, "it is not marked nocow", nil
		},
		Do: func(context.Context, step.Reporter) error {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return fmt.Errorf("making the directory: %w", err)
			}
			if err := os.Chmod(path, 0o755); err != nil {
				return err
			}
			if v.NoCOW {
				if err := setNoCOW(path); err != nil {
					return err
				}
			}
			return syncDir(filepath.Dir(path))
		},
	}
}

// image downloads an image to all the places that want it.
func (w *worker) image(image Image, after map[string][]string) step.Step {
	s := step.Step{
		ID:    "vms/" + image.VMs[0] + "/" + map[bool]string{true: "iso", false: "image"}[image.ISO],
		Title: "download " + filepath.Base(configs.PublicURL(image.URL)) + " for " + names(image.VMs),
	}
	s.Detail = []string{configs.PublicURL(image.URL)}
	if image.Size > 0 {
		s.Detail = append(s.Detail, gib(image.Size)+" to download")
	}
	if image.Checksum == "" {
		s.Detail = append(s.Detail, "without a checksum")
	}
	for _, name := range image.VMs {
		s.After = append(s.After, after[name]...)
	}
	missing := func() (paths []string, foreign string, err error) {
		for _, path := range image.Paths {
			file, err := inspect(w.at(path))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				paths = append(paths, w.at(path))
			case err != nil:
				return nil, "", err
			case file.Problem != "":
				return nil, path + " is no whole disk image: " + file.Problem, nil
			}
		}
		return paths, "", nil
	}
	s.Check = func(context.Context) (step.State, string, error) {
		paths, foreign, err := missing()
		switch {
		case err != nil:
			return step.Absent, "", err
		case foreign != "":
			return step.Foreign, foreign, nil
		case len(paths) > 0:
			return step.Absent, names(paths) + " is not there", nil
		}
		return step.Done, "", nil
	}
	s.Do = func(ctx context.Context, report step.Reporter) error {
		paths, _, err := missing()
		if err != nil {
			return err
		}
		f := fetcher{client: w.client, stall: w.Stall, backoff: w.Backoff, limit: image.Limit}
		return f.fetch(ctx, image, paths, report)
	}
	return s
}

// emptyDisk makes the disk that an installer installs to.
func (w *worker) emptyDisk(v VM) step.Step {
	path := w.at(v.Spec.Disk)
	return step.Step{
		ID: w.id(v, "disk"), Title: fmt.Sprintf("make an empty disk of %d GiB for %s", v.Spec.DiskGB, v.Name),
		Check: func(context.Context) (step.State, string, error) {
			file, err := inspect(path)
			switch {
			case errors.Is(err, fs.ErrNotExist) && v.From != "":
				return step.Foreign, path + " was there a moment ago: it is not made anew", nil
			case errors.Is(err, fs.ErrNotExist):
				return step.Absent, "it is not there", nil
			case err != nil:
				return step.Absent, "", err
			case file.Problem != "":
				return step.Foreign, path + " is no whole disk image: " + file.Problem, nil
			}
			return step.Done, "", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			unfinished := path + ".making"
			if err := removeIfThere(unfinished); err != nil {
				return err
			}
			cmd := host.Cmd{Argv: []string{"qemu-img", "create", "-q", "-f", "qcow2", unfinished, fmt.Sprintf("%dG", v.Spec.DiskGB)}, Log: report.Log}
			if err := cmd.Run(ctx); err != nil {
				return noRoomNow(path, err)
			}
			return publish(unfinished, path)
		},
	}
}

// ShrinkError is a disk that is larger than what it was to be set to. Shrinking
// cuts off the end of the guest's file system.
type ShrinkError struct {
	Path       string
	Have, Want int64
}

func (e *ShrinkError) Error() string {
	return fmt.Sprintf("%s has %s and would be cut to %s; a disk is never shrunk: raise disk_gb", e.Path, gib(e.Have), gib(e.Want))
}

// grow enlarges the VM's disk: through libvirt while the VM runs, by qemu-img
// otherwise.
func (w *worker) grow(v VM) step.Step {
	path, want := w.at(v.Spec.Disk), int64(v.Spec.DiskGB)<<30
	return step.Step{
		ID: w.id(v, "grow"), Title: fmt.Sprintf("grow the disk of %s to %d GiB", v.Name, v.Spec.DiskGB),
		Check: func(context.Context) (step.State, string, error) {
			file, err := inspectDisk(path, v.Spec.DiskFormat)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return step.Absent, "its disk is not there yet", nil
			case err != nil:
				return step.Absent, "", err
			case file.Virtual > want:
				return step.Done, "it has " + gib(file.Virtual) + ", and is never shrunk", nil
			case file.Virtual == want:
				return step.Done, "", nil
			}
			return step.Absent, "it has " + gib(file.Virtual), nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			if !w.plan.Stage {
				d, found, err := w.libvir.lookup(ctx, v.Name)
				if err != nil {
					return err
				}
				if found {
					state, err := w.libvir.stateOf(ctx, d)
					if err != nil {
						return err
					}
					if isActive(state) {
						return w.growOnline(ctx, d, v.Spec, want)
					}
				}
			}
			return growFile(ctx, path, v.Spec.DiskFormat, want, report)
		},
	}
}

// growOnline grows the disk of a running VM. libvirt would shrink it just as
// well, without a word, so the size is asked for first.
func (w *worker) growOnline(ctx context.Context, d libvirt.Domain, s Spec, want int64) error {
	return w.libvir.do(ctx, func(l *libvirt.Libvirt) error {
		_, have, _, err := l.DomainGetBlockInfo(d, s.DiskTarget, 0)
		if err != nil {
			return fmt.Errorf("asking for the disk's size: %w", err)
		}
		if int64(have) > want {
			return &ShrinkError{Path: s.Disk, Have: int64(have), Want: want}
		}
		if err := l.DomainBlockResize(d, s.DiskTarget, uint64(want), libvirt.DomainBlockResizeBytes); err != nil {
			return fmt.Errorf("growing the running VM's disk: %w", err)
		}
		return nil
	})
}

// growFile grows the disk of a VM that is off. QEMU's lock on the file makes
// it fail for one that was started meanwhile.
func growFile(ctx context.Context, path, format string, want int64, report step.Reporter) error {
	file, err := inspectDisk(path, format)
	if err != nil {
		return err
	}
	if file.Virtual > want {
		return &ShrinkError{Path: path, Have: file.Virtual, Want: want}
	}
	if overlay := overlayBeside(path); overlay != "" {
		return fmt.Errorf("%s builds on %s, which is not grown: to write to a base is to destroy what builds on it", overlay, path)
	}
	cmd := host.Cmd{Argv: []string{"qemu-img", "resize", "-q", "-f", format, path, fmt.Sprint(want)}, Log: report.Log}
	return cmd.Run(ctx)
}

// seed writes the NoCloud seed.
func (w *worker) seed(v VM) step.Step {
	path := w.at(v.Spec.Seed)
	return step.Step{
		ID: w.id(v, "seed"), Title: "write the cloud-init seed of " + v.Name,
		Check: look(func(context.Context) (string, error) {
			image, err := v.Seed.image()
			if err != nil {
				return "", err
			}
			same, err := host.FileIs(path, image, 0o600)
			if same || err != nil {
				return "", err
			}
			return "it is not there, or says something else", nil
		}),
		Do: func(context.Context, step.Reporter) error {
			image, err := v.Seed.image()
			if err != nil {
				return err
			}
			return host.WriteFile(path, image, 0o600)
		},
	}
}

// stagedFile leaves the definition to the first boot, which gives it to
// libvirt. One that is there is what the VM was, and stays.
func (w *worker) stagedFile(v VM) step.Step {
	path := w.at(filepath.Join(v.Spec.Dir, domainXMLName))
	return step.Step{
		ID: w.id(v, "xml"), Title: "write " + filepath.Join(v.Spec.Dir, domainXMLName),
		Check: look(func(context.Context) (string, error) {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
			return "it is not there", nil
		}),
		Do: func(context.Context, step.Reporter) error { return host.WriteFile(path, []byte(v.XML), 0o644) },
	}
}
