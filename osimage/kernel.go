package osimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"hvinstall/host"
	"hvinstall/initrd/boot"
	"hvinstall/step"
)

// Kernels are the versions of the kernels of the system at root, newest first:
// those that have both an image and modules.
func Kernels(root string) ([]string, error) {
	images, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, image := range images {
		version := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		if _, err := os.Stat(filepath.Join(root, "lib/modules", version)); err == nil {
			versions = append(versions, version)
		}
	}
	slices.SortFunc(versions, func(a, b string) int { return host.CompareNatural(b, a) })
	return versions, nil
}

// Boot is how the host boots: what a kernel's entry is made from. What becomes
// /init is the hvinstall that is on the host.
type Boot struct {
	BootSettings
	Root   string // the file tree of the host
	Initrd func(ctx context.Context, root, version, output string) error
	// KeyDigest tells the key of an open volume; what Initrd builds has those
	// of all.
	KeyDigest func(boot.Volume) (string, error)
}

// BootSettings are kept on the host for the kernel hooks, so that those need
// neither layout.yaml nor a look at the disks.
type BootSettings struct {
	ESP        string   `json:"esp"` // where the ESP is mounted
	KernelArgs []string `json:"kernel_args,omitempty"`
}

// bootSettingsPath is where they are kept.
const bootSettingsPath = "/etc/hvinstall/kernel.json"

// ReadBootSettings reads them from the host at root.
func ReadBootSettings(root string) (BootSettings, error) {
	var s BootSettings
	data, err := os.ReadFile(filepath.Join(root, bootSettingsPath))
	if err != nil {
		return s, fmt.Errorf("how this host boots: %w; run hvinstall --plan with its layout", err)
	}
	if err := json.Unmarshal(data, &s); err != nil || s.ESP == "" {
		return s, fmt.Errorf("%s is damaged; run hvinstall --plan with this host's layout", bootSettingsPath)
	}
	return s, nil
}

func (s BootSettings) json() string {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("strings that JSON cannot hold: %v", err))
	}
	return string(data) + "\n"
}

func (b Boot) esp() string { return filepath.Join(b.Root, b.ESP) }

func (b Boot) image(version string) string {
	return filepath.Join(b.Root, "boot/vmlinuz-"+version)
}

// options is the kernel's command line.
func (b Boot) options() string {
	return strings.Join(append([]string{"rw"}, b.KernelArgs...), " ")
}

// inputs is computed anew each time: from boot.json, the command line, the
// volumes' keys, the root's secret, and the content of the kernel, its modules'
// index, the binary and these processors' microcode.
func (b Boot) inputs(version string) (string, error) {
	config, err := os.ReadFile(filepath.Join(b.Root, "etc/hvinstall/boot.json"))
	if err != nil {
		return "", err
	}
	parts := [][]byte{config, []byte(b.options())}
	// A boot.json that cannot be read has no volumes, and no entry is made from it.
	if plan, err := boot.Parse(config); err == nil && b.KeyDigest != nil {
		for _, v := range plan.Volumes {
			digest, err := b.KeyDigest(v)
			if err != nil {
				return "", err
			}
			parts = append(parts, []byte(digest))
		}
	}
	proof, err := RootProof(b.Root)
	if err != nil {
		return "", err
	}
	parts = append(parts, []byte(proof))
	for _, file := range []string{b.image(version), filepath.Join(b.Root, "lib/modules", version, "modules.dep"), filepath.Join(b.Root, BinaryPath)} {
		have, err := contentSum(file)
		if err != nil {
			return "", err
		}
		if have == "" {
			return "", fmt.Errorf("%s: %w", file, fs.ErrNotExist)
		}
		parts = append(parts, []byte(have))
	}
	for _, name := range boot.Microcode() {
		have, err := contentSum(filepath.Join(b.Root, "lib/firmware", name))
		if err != nil {
			return "", err
		}
		parts = append(parts, []byte(have))
	}
	return inputsOf(parts...), nil
}

// Differs says why a kernel has no current entry; empty: it has one.
func (b Boot) Differs(version string) (string, error) {
	all, err := entries(b.esp())
	if err != nil {
		return "", err
	}
	e, found := newest(all, version)
	if !found {
		return "kernel " + version + " has no boot entry", nil
	}
	want, err := b.inputs(version)
	if err != nil {
		return "", err
	}
	if e.Inputs != want {
		return "the boot entry of " + version + " was made from something else", nil
	}
	return "", nil
}

// AddKernel gives a kernel a boot entry, and keeps the entry before it. One
// whose entry is current already is left alone.
func (b Boot) AddKernel(ctx context.Context, version string, report step.Reporter) error {
	all, err := entries(b.esp())
	if err != nil {
		return err
	}
	e := Entry{Version: version, Generation: 1}
	if e.Inputs, err = b.inputs(version); err != nil {
		return err
	}
	if last, found := newest(all, version); found {
		if last.Inputs == e.Inputs {
			return nil
		}
		e.Generation = last.Generation + 1
	}
	if err := requireMounted(b.esp()); err != nil {
		return err
	}
	if err := b.tidy(all); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "hvinstall-initrd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	initrd := filepath.Join(work, "initrd")
	if err := b.Initrd(ctx, b.Root, version, initrd); err != nil {
		return fmt.Errorf("building the initramfs of %s: %w", version, err)
	}
	for _, f := range []struct{ from, to string }{{b.image(version), "linux"}, {initrd, "initrd"}} {
		data, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return fmt.Errorf("%s is empty", f.from)
		}
		if err := writeESP(filepath.Join(b.esp(), e.folder(), f.to), data); err != nil {
			return fmt.Errorf("%w; the ESP may be full: df %s", err, b.ESP)
		}
	}
	if err := writeESP(filepath.Join(b.esp(), e.confPath()), []byte(e.text(prettyName(b.Root), machineID(b.Root), b.options()))); err != nil {
		return err
	}
	report.Log("boot entry %s", e.name())
	if all, err = entries(b.esp()); err != nil {
		return err
	}
	for _, old := range superfluous(all, bootedEntry()) {
		if err := old.remove(b.esp()); err != nil {
			return err
		}
		report.Log("removed boot entry %s", old.name())
	}
	return syncFS(b.esp())
}

// RemoveKernel removes the entries of a kernel that is gone, unless no other
// kernel has one: a host that cannot boot is worse than an entry too many.
func (b Boot) RemoveKernel(version string, report step.Reporter) error {
	if err := requireMounted(b.esp()); err != nil {
		return err
	}
	all, err := entries(b.esp())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(e Entry) bool { return e.Version != version }) {
		report.Warn("kernel %s keeps its boot entry: there is no other", version)
		return nil
	}
	for _, e := range all {
		if e.Version != version {
			continue
		}
		if err := e.remove(b.esp()); err != nil {
			return err
		}
		report.Log("removed boot entry %s", e.name())
	}
	return syncFS(b.esp())
}

// tidy removes what an interrupted run left on the ESP.
func (b Boot) tidy(all []Entry) error {
	left, err := orphans(b.esp(), all)
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(filepath.Join(b.esp(), dir)); err != nil {
			return err
		}
	}
	return nil
}

// prettyName is PRETTY_NAME of os-release(5).
func prettyName(root string) string {
	data, err := os.ReadFile(filepath.Join(root, "etc/os-release"))
	if err != nil {
		return "Linux"
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if rest, found := strings.CutPrefix(line, "PRETTY_NAME="); found {
			return strings.Trim(rest, `"`)
		}
	}
	return "Linux"
}

func machineID(root string) string {
	data, err := os.ReadFile(filepath.Join(root, "etc/machine-id"))
	if err != nil || !machineIDPattern.Match(data) {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// bootedEntry is the entry that systemd-boot started, without .conf; empty
// where there is none, as in the live system. See the Boot Loader Interface:
// four bytes of attributes, then UTF-16.
func bootedEntry() string {
	data, err := os.ReadFile("/sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
	if errors.Is(err, fs.ErrNotExist) || err != nil || len(data) < 4 {
		return ""
	}
	var units []uint16
	for i := 4; i+1 < len(data); i += 2 {
		if u := uint16(data[i]) | uint16(data[i+1])<<8; u != 0 {
			units = append(units, u)
		}
	}
	return strings.TrimSuffix(string(utf16.Decode(units)), ".conf")
}
