package osimage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"hvinstall/host"
)

// Entry is a boot entry of hvinstall's: a kernel and an initramfs in a folder
// of their own, and a file that names them, see the Boot Loader Specification.
//
// A rebuilt initramfs makes a new generation beside the old one, so that what
// booted last time is still there to be chosen. systemd-boot shows entries of
// one sort-key by version, newest first; the generation is part of it.
type Entry struct {
	Version    string // the kernel's
	Generation int
	Inputs     string // what the files were made from, see inputsOf
}

func (e Entry) name() string { return fmt.Sprintf("hvinstall-%s-g%d", e.Version, e.Generation) }

func (e Entry) confPath() string { return "loader/entries/" + e.name() + ".conf" }

// folder is on the ESP.
func (e Entry) folder() string { return fmt.Sprintf("hvinstall/%s-g%d", e.Version, e.Generation) }

const inputsPrefix = "# made from "

// text is the entry's file.
func (e Entry) text(title, machineID, options string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by hvinstall: do not edit, the next one is written anew.\n%s%s\n", inputsPrefix, e.Inputs)
	fmt.Fprintf(&b, "title      %s\n", title)
	fmt.Fprintf(&b, "version    %s-g%d\n", e.Version, e.Generation)
	if machineID != "" {
		fmt.Fprintf(&b, "machine-id %s\n", machineID)
	}
	fmt.Fprintf(&b, "sort-key   hvinstall\n")
	fmt.Fprintf(&b, "linux      /%s/linux\n", e.folder())
	fmt.Fprintf(&b, "initrd     /%s/initrd\n", e.folder())
	fmt.Fprintf(&b, "options    %s\n", options)
	return b.String()
}

var entryPattern = regexp.MustCompile(`^hvinstall-(.+)-g(\d+)\.conf$`)

// entries are hvinstall's whole entries on the ESP: those whose kernel and
// initramfs are there. Newest generation first within a version.
func entries(esp string) ([]Entry, error) {
	files, err := os.ReadDir(filepath.Join(esp, "loader/entries"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []Entry
	for _, f := range files {
		m := entryPattern.FindStringSubmatch(f.Name())
		if m == nil {
			continue
		}
		generation, err := strconv.Atoi(m[2])
		if err != nil {
			continue
		}
		e := Entry{Version: m[1], Generation: generation}
		data, err := os.ReadFile(filepath.Join(esp, e.confPath()))
		if err != nil {
			return nil, err
		}
		for line := range strings.SplitSeq(string(data), "\n") {
			if rest, found := strings.CutPrefix(line, inputsPrefix); found {
				e.Inputs = rest
			}
		}
		if fileSize(filepath.Join(esp, e.folder(), "linux")) <= 0 || fileSize(filepath.Join(esp, e.folder(), "initrd")) <= 0 {
			continue
		}
		all = append(all, e)
	}
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].Version != all[j].Version {
			return host.CompareNatural(all[i].Version, all[j].Version) > 0
		}
		return all[i].Generation > all[j].Generation
	})
	return all, nil
}

// newest is the entry of the highest generation of a kernel version.
func newest(all []Entry, version string) (Entry, bool) {
	i := slices.IndexFunc(all, func(e Entry) bool { return e.Version == version })
	if i < 0 {
		return Entry{}, false
	}
	return all[i], true
}

// superfluous are the entries that may go once the newest of version is there:
// of each kernel version the two newest stay, and so does the one that the host
// was booted from, which is known to work.
func superfluous(all []Entry, booted string) []Entry {
	count := map[string]int{}
	var old []Entry
	for _, e := range all {
		count[e.Version]++
		if count[e.Version] > 2 && e.name() != booted {
			old = append(old, e)
		}
	}
	return old
}

// remove takes the entry's file first, so that no entry names files that are
// gone.
func (e Entry) remove(esp string) error {
	if err := os.Remove(filepath.Join(esp, e.confPath())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(filepath.Join(esp, e.folder()))
}

// orphans are folders of kernels that no entry names: an interrupted run's.
func orphans(esp string, all []Entry) ([]string, error) {
	folders, err := os.ReadDir(filepath.Join(esp, "hvinstall"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, f := range folders {
		dir := path.Join("hvinstall", f.Name())
		if !slices.ContainsFunc(all, func(e Entry) bool { return e.folder() == dir }) {
			found = append(found, dir)
		}
	}
	return found, nil
}

// inputsOf names what an entry is made from: when it is the same, so is the
// entry. Versions of the parts are hashed rather than the result, because
// building an initramfs only to compare it takes a while.
func inputsOf(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
