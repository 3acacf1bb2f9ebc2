package install

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hvinstall/configs"
	"hvinstall/osimage"
	"hvinstall/step"
	"hvinstall/vmstore"
)

const canary = "C4n4ryHunter2"

const canaryLayout = `# ` + canary + ` in a comment
hostname: hypervisor
os:
  disk: /dev/disk/by-id/nvme-Samsung_SSD_970_EVO_500GB_S466NX0M712345A
  image: {url: "https://me:` + canary + `@example.org/root.squashfs?t=` + canary + `#` + canary + `", sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
users:
  - name: snyssen
    password_hash: "$6$` + canary + `$` + canary + `"
    ssh_authorized_keys: ['environment="T=` + canary + `" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ` + canary + `']
libvirt_vms:
  - name: one
    disk_image: {url: "https://me:` + canary + `@example.org/a.qcow2?t=` + canary + `", dest: /mnt/vmstore/one/a.qcow2, checksum: "sha256:https://example.org/sums?t=` + canary + `"}
    cloud_init: {user_data: "#cloud-config\npassword: ` + canary + `\n", meta_data: "a: ` + canary + `", network_config: "key: ` + canary + `"}
  - name: two
    iso_image: {url: "https://example.org/a.iso?t=` + canary + `", dest: /mnt/vmstore/two/a.iso}
`

// TestHostileCanaries: a secret in every text of a layout that may hold one, and
// then a sweep: nothing that a step says, no plan as JSON, no domain XML
// and no file that others can read, has one. What root alone reads has
// them, or the test would test nothing.
func TestHostileCanaries(t *testing.T) {
	file, err := os.Open(filepath.Join(machinesFolder, "hypervisor-blank.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	facts, err := LoadFacts(file)
	if err != nil {
		t.Fatal(err)
	}
	l, err := configs.Load("layout.yaml", []byte(canaryLayout))
	if err != nil {
		t.Fatal(err)
	}
	facts.VMs = &vmstore.Facts{Libvirt: vmstore.Libvirt{Local: true}}
	plan := Make(Input{Layout: l, Facts: facts})
	redactor := l.Redactor()
	clean := func(what, text string) {
		t.Helper()
		if at := strings.Index(text, canary); at >= 0 {
			t.Errorf("%s has a secret: %q", what, text[max(0, at-60):min(len(text), at+40)])
		}
	}
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	clean("the plan as JSON", string(redactor.JSON(text)))
	for _, r := range append(slices.Clone(plan.Refusals), plan.Waits...) {
		clean("a refusal", redactor.Text(r.Where+r.What+r.Hint))
	}
	for _, w := range plan.Warnings {
		clean("a warning", redactor.Text(w))
	}
	for _, vm := range plan.VMs.VMs {
		if vm.XML == "" {
			t.Fatalf("%s has no definition: %v", vm.Name, plan.Refusals)
		}
		clean("the definition of "+vm.Name, vm.XML)
	}
	clean("the public copy", string(configs.Public(l.Source)))
	kept, _, err := configs.Kept(l.Source)
	if err != nil {
		t.Fatal(err)
	}
	clean("the copy on a stick", strings.ReplaceAll(string(kept), "9GKJl "+canary, "")) // a key's comment is its name

	root := t.TempDir()
	before := unix.Umask(0) // whatever the caller's is
	defer unix.Umask(before)
	for path, content := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "etc/shadow": "root:*:20000:0:99999:7:::\n",
		"etc/group": "root:x:0:\n", "etc/gshadow": "root:*::\n",
	} {
		if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	steps := plan.OS.Steps(osimage.Env{Root: root, Binary: "/bin/true"})
	vms, err := plan.VMs.Steps(vmstore.Env{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, s := range append(steps, vms...) {
		clean("a step", redactor.Text(s.Title+strings.Join(s.Detail, "")))
		written := []string{"os/hostname", "os/fstab", "os/units", "os/plan", "vms/one/directory", "vms/one/seed"}
		if os.Geteuid() == 0 { // an account's home is its own
			written = append(written, "os/users")
		}
		if !slices.Contains(written, s.ID) {
			continue
		}
		ran++
		if err := s.Do(t.Context(), canaryReporter{clean}); err != nil {
			t.Errorf("%s: %v", s.ID, err)
		}
		if state, why, err := s.Check(t.Context()); err != nil || state != step.Done {
			t.Errorf("%s: %v, %s, %v", s.ID, state, why, err)
		}
	}
	if ran < 6 {
		t.Errorf("%d steps were run, of those that write files", ran)
	}
	secret := 0
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		has := strings.Contains(string(text), canary)
		if has {
			secret++
		}
		if has && info.Mode().Perm()&0o027 != 0 && !strings.HasSuffix(path, "/shadow") || info.Mode().Perm()&0o002 != 0 {
			t.Errorf("%s has mode %o; a secret in it: %v", strings.TrimPrefix(path, root), info.Mode().Perm(), has)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if secret < 2 {
		t.Errorf("%d files have a secret: the test tests nothing", secret)
	}
}

type canaryReporter struct{ clean func(what, text string) }

func (canaryReporter) Progress(int64, int64, string)     {}
func (c canaryReporter) Log(format string, args ...any)  { c.clean("a log", format) }
func (c canaryReporter) Warn(format string, args ...any) { c.clean("a warning", format) }
