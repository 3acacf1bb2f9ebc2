package vmstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"hvinstall/configs"
	"hvinstall/host/web"

	"golang.org/x/sys/unix"
)

// Probe looks at libvirt, at the files below libvirt_vmstore_root and at what
// the machine can do. It writes nothing. root is where the installed system
// is: "/" on itself, the mount point in the live system, whose libvirt is not
// asked. A libvirt that does not answer is a fact, not an error.
func Probe(ctx context.Context, want configs.VMPlan, root string) (Facts, error) {
	want = defaults(want)
	facts := Facts{Files: map[string]File{}, Directories: map[string]Directory{}, Sources: map[string]Source{}, Saved: map[string]Saved{}, Texts: map[string]string{}}
	staging := root != "" && root != "/"
	if staging {
		facts.Libvirt = Libvirt{URI: want.URI, Local: true, Why: "not asked in the live system"}
	} else {
		c, err := newConnection(want.URI)
		if err != nil {
			return facts, err
		}
		defer c.close()
		if err := probeLibvirt(ctx, c, cmp.Or(want.DomainType, defaultType), &facts); err != nil {
			return facts, err
		}
	}
	for _, name := range []string{want.DiskTemplate, want.ISOTemplate} {
		if name == "" {
			continue
		}
		if text, err := os.ReadFile(name); err == nil {
			facts.Texts[name] = string(text)
		}
	}
	facts.Seeds = probeSeeds(want)
	if !facts.Libvirt.Local {
		return facts, nil
	}
	if err := probeFiles(want, root, &facts); err != nil {
		return facts, err
	}
	removes := slices.ContainsFunc(want.VMs, func(vm configs.VM) bool { return vm.State == "absent" })
	probeLinks(root, want.VMStoreRoot, removes, &facts)
	facts.Previous = readPrevious(root, want.VMStoreRoot, time.Now())
	probeHost(want, root, &facts)
	probeSources(ctx, want, root, &facts)
	return facts, nil
}

// probeFiles looks at the images that the layout or a domain names, and at the
// directories of VMs that are to go.
func probeFiles(want configs.VMPlan, root string, facts *Facts) error {
	paths := map[string]bool{}
	for _, vm := range want.VMs {
		dir := filepath.Join(want.VMStoreRoot, vm.Name)
		if badName(vm.Name) != "" {
			continue
		}
		if d, there, err := probeDirectory(filepath.Join(root, dir), vm.State == "absent"); err != nil {
			return err
		} else if there {
			facts.Directories[vm.Name] = d
		}
		if saved, there := readSaved(filepath.Join(root, dir, domainXMLName)); there && vm.State != "absent" {
			facts.Saved[vm.Name] = saved
			if d, from, _ := facts.existing(want, vm.Name); from == InFile {
				for _, disk := range d.Disks {
					if disk.Path != "" && disk.Device != "cdrom" {
						paths[disk.Path] = true
					}
				}
			}
		}
		paths[filepath.Join(dir, vm.Name+".qcow2")] = true
		if vm.DiskImage != nil {
			paths[filepath.Clean(vm.DiskImage.Dest)] = true
		}
		if vm.ISOImage != nil {
			paths[filepath.Clean(vm.ISOImage.Dest)] = true
		}
	}
	for _, d := range facts.Domains {
		for _, disk := range d.Disks {
			if disk.Path != "" && disk.Device == "disk" {
				paths[disk.Path] = true
			}
		}
	}
	for path := range paths {
		file, err := inspect(filepath.Join(root, path))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			file.Problem = err.Error()
		}
		facts.Files[path] = file
	}
	return nil
}

// probeDirectory looks at an entry of the root, and into it where its size is
// wanted.
func probeDirectory(path string, count bool) (d Directory, there bool, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	d.Kind = kindOf(info.Mode())
	if !info.IsDir() {
		return d, true, nil
	}
	d.NoCOW, _ = hasNoCOW(path)
	if !count {
		return d, true, nil
	}
	err = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		d.Files++
		d.Allocated += allocated(info)
		return nil
	})
	return d, true, err
}

// probeSources asks the servers of missing images whether they have them, and
// how large they are: a wrong URL belongs into the list of what is wrong, and
// not into the middle of a run.
func probeSources(ctx context.Context, want configs.VMPlan, root string, facts *Facts) {
	missing := map[string]string{} // the checksum, by URL
	for _, vm := range want.VMs {
		from, to, sum := "", "", ""
		switch {
		case vm.State == "absent":
			continue
		case vm.DiskImage != nil:
			from, to, sum = vm.DiskImage.URL, vm.DiskImage.Dest, vm.DiskImage.Checksum
			if d, _, _ := facts.existing(want, vm.Name); d != nil {
				continue // it has its disk
			}
		case vm.ISOImage != nil && isTrue(vm.ISOImage.EnableMount, true):
			from, to, sum = vm.ISOImage.URL, vm.ISOImage.Dest, vm.ISOImage.Checksum
		}
		if _, there := facts.Files[filepath.Clean(to)]; !there && from != "" {
			missing[from] = sum
		}
	}
	if len(missing) == 0 {
		return
	}
	client := web.New(root, 0)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var wait sync.WaitGroup
	var mu sync.Mutex
	for from, sum := range missing {
		wait.Go(func() {
			source := probeSource(ctx, client, from)
			source.addSum(ctx, client, from, sum)
			mu.Lock()
			facts.Sources[from] = source
			mu.Unlock()
		})
	}
	wait.Wait()
}

// addSum reads the list of sums that a checksum names, so that what is consented
// to is the sum and not the list.
func (s *Source) addSum(ctx context.Context, client *web.Client, from, named string) {
	sum, err := parseChecksum(named)
	if err != nil || sum.list == "" || s.Problem != "" {
		return // the layout's errors are reported elsewhere
	}
	if sum, err = sum.resolve(ctx, client, from, 15*time.Second); err != nil {
		s.Problem = err.Error()
		return
	}
	s.Checksum, s.Sum = named, sum.algorithm+":"+sum.sum
}

// probeSeeds sums the files of cloud-init that the layout names.
func probeSeeds(want configs.VMPlan) map[string]string {
	seeds := map[string]string{}
	for _, vm := range want.VMs {
		if vm.CloudInit == nil || vm.State == "absent" {
			continue
		}
		for _, path := range []string{vm.CloudInit.UserData, vm.CloudInit.MetaData, vm.CloudInit.NetworkConfig} {
			if !isFile(path) {
				continue
			}
			seeds[path] = "not read"
			if text, err := textOrFile(path); err == nil {
				seeds[path] = sumOf(text)
			}
		}
	}
	return seeds
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func probeSource(ctx context.Context, client *web.Client, from string) Source {
	u, err := url.Parse(from)
	if err != nil {
		return Source{Problem: err.Error()}
	}
	if u.Scheme == "file" {
		info, err := os.Stat(u.Path)
		if err != nil {
			return Source{Problem: err.Error()}
		}
		return Source{Size: info.Size()}
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return Source{Problem: "only http, https and file URLs can be downloaded"}
	}
	reply, err := client.Head(ctx, from)
	if err != nil {
		return Source{Problem: err.Error()}
	}
	reply.Body.Close()
	switch {
	case reply.StatusCode == http.StatusOK:
		return Source{Size: max(reply.ContentLength, 0)}
	case reply.StatusCode == http.StatusNotFound, reply.StatusCode == http.StatusGone:
		return Source{Problem: "the server answers " + reply.Status}
	}
	// Some servers know no HEAD, or sign their URLs for GET only.
	return Source{}
}
