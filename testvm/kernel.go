package testvm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kernel is an installed Debian kernel.
type Kernel struct {
	Release string // as 6.1.0-56-amd64
	Image   string // /boot/vmlinuz-<release>
	Modules string // /lib/modules/<release>
}

// DebianKernel finds the newest installed kernel that has its modules.
func DebianKernel() (Kernel, error) {
	images, err := filepath.Glob("/boot/vmlinuz-*")
	if err != nil {
		return Kernel{}, err
	}
	var newest Kernel
	var when int64
	for _, image := range images {
		release := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		modules := "/lib/modules/" + release
		info, err := os.Stat(image)
		if err != nil {
			return Kernel{}, err
		}
		if _, err := os.Stat(modules + "/modules.dep"); err == nil && info.ModTime().UnixNano() > when {
			newest, when = Kernel{release, image, modules}, info.ModTime().UnixNano()
		}
	}
	if newest.Image == "" {
		return Kernel{}, errors.New("no kernel with modules in /boot: apt-get install linux-image-amd64")
	}
	return newest, nil
}

// closure is the files of the named modules and of all that they need, below
// Modules. A module that is built in needs no file.
func (k Kernel) closure(names []string) ([]string, error) {
	dep, err := os.Open(k.Modules + "/modules.dep")
	if err != nil {
		return nil, err
	}
	defer dep.Close()
	needs := map[string][]string{} // by name
	lines := bufio.NewScanner(dep)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		file, rest, _ := strings.Cut(lines.Text(), ":")
		needs[moduleName(file)] = append([]string{file}, strings.Fields(rest)...)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(k.Modules + "/modules.builtin")
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var files []string
	for _, name := range names {
		name = strings.ReplaceAll(name, "-", "_")
		if files = append(files, needs[name]...); needs[name] == nil && !strings.Contains(strings.ReplaceAll(string(builtin), "-", "_"), "/"+name+".ko") {
			return nil, fmt.Errorf("kernel %s has no module %s", k.Release, name)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}
