package nixos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/step"
)

// rig is a target root, a flake's checkout, and stand-ins for nix and
// nixos-install on the PATH (testdata/standin says what they stand for).
type rig struct {
	*testing.T
	job     Job
	standin string
	lines   []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	base := t.TempDir()
	for _, dir := range []string{"bin", "target", "infra"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// nixos-install wants every folder above the root readable by all.
	for dir := base; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{T: t, standin: filepath.Join(base, "bin")}
	for name, from := range map[string]string{"nix": "nix", "nixos-install": "nixos-install", "nixos-enter": "nix"} {
		data, err := os.ReadFile(filepath.Join("testdata/standin", from))
		if err != nil {
			t.Fatal(err)
		}
		r.write(name, string(data))
		if err := os.Chmod(filepath.Join(r.standin, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"NIX_SSL_CERT_FILE", "SSL_CERT_FILE", "NIX_PATH", "NIX_CONFIG", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"} {
		if _, set := os.LookupEnv(name); set {
			t.Setenv(name, "") // put back afterwards
			os.Unsetenv(name)
		}
	}
	t.Setenv("PATH", r.standin+":"+os.Getenv("PATH"))
	in := hypervisor()
	in.Layout.OS.NixOS.Flake = filepath.Join(base, "infra") + "#hypervisor"
	binary := filepath.Join(base, "hvinstall")
	if err := os.WriteFile(binary, []byte(strings.Repeat("ELF", 50000)), 0o755); err != nil {
		t.Fatal(err)
	}
	r.job = Job{Input: in, Root: filepath.Join(base, "target"), Layout: []byte("hostname: hypervisor\n"), Binary: binary}
	r.source()
	r.write("metadata.json", fmt.Sprintf(`{"url": "git+file://%s?rev=0123456789abcdef0123456789abcdef01234567", "revision": "0123456789abcdef0123456789abcdef01234567", "locks": {}}`, base+"/infra"))
	r.evaluates(func(map[string]string) {}, "/dev/disk/by-uuid/"+in.System.UUID)
	return r
}

func (r *rig) source() {
	r.Helper()
	source, err := MakeSource(r.job.Input, r.job.Root, "/")
	if err != nil {
		r.Fatal(err)
	}
	r.job.Source = source
}

// write puts a file beside the stand-ins.
func (r *rig) write(name, content string) {
	r.Helper()
	if err := os.WriteFile(filepath.Join(r.standin, name), []byte(content), 0o644); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) remove(name string) { os.Remove(filepath.Join(r.standin, name)) }

// evaluates sets what the flake's host says about booting.
func (r *rig) evaluates(change func(luks map[string]string), root string) {
	r.Helper()
	luks := map[string]string{}
	for _, v := range r.job.Input.Volumes {
		luks[v.Mapping] = "/dev/disk/by-uuid/" + v.UUID
	}
	change(luks)
	data, err := json.Marshal(evaluated{luks, root})
	if err != nil {
		r.Fatal(err)
	}
	r.write("eval.json", string(data))
}

func (r *rig) steps() []step.Step {
	r.Helper()
	steps, err := r.job.Steps()
	if err != nil {
		r.Fatal(err)
	}
	return steps
}

func (r *rig) run(ctx context.Context) (int, error) {
	r.Helper()
	r.lines = nil
	runner := step.Runner{Side: 3, Events: func(e step.Event) {
		r.lines = append(r.lines, fmt.Sprintf("%s %s %s %d/%d", e.Kind, e.Step, e.Message, e.Done, e.Total))
	}}
	return runner.Run(ctx, r.steps())
}

func (r *rig) done() {
	r.Helper()
	found, err := step.Look(r.Context(), r.steps(), 4)
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range found {
		if f.State != step.Done {
			r.Errorf("%s is %s: %s", f.Step, f.State, f.Why)
		}
	}
}

func (r *rig) calls() string {
	data, _ := os.ReadFile(filepath.Join(r.standin, "calls"))
	return string(data)
}

func (r *rig) has(what string) {
	r.Helper()
	if all := strings.Join(r.lines, "\n"); !strings.Contains(all, what) {
		r.Errorf("the events lack %q:\n%s", what, all)
	}
}

func TestInstallFromCheckout(t *testing.T) {
	r := newRig(t)
	t.Setenv("NIX_PATH", "nixpkgs=/nixpkgs")
	t.Setenv("SECRET_OF_THE_SHELL", "not passed on")
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.done()
	if changed, err := r.run(t.Context()); changed != 0 || err != nil {
		t.Errorf("a second run changed %d steps, %v; want none", changed, err)
	}
	want := "argv --root " + r.job.Root + " --no-root-password --no-channel-copy --flake " + filepath.Dir(r.job.Root) + "/infra#hypervisor\n"
	if calls := r.calls(); strings.Count(calls, "argv") != 1 || !strings.Contains(calls, want) || !strings.Contains(calls, "NIX_PATH=nixpkgs=/nixpkgs") {
		t.Errorf("nixos-install was called as\n%swant once\n%s", calls, want)
	}
	for path, mode := range map[string]os.FileMode{LayoutPath: 0o600, BinaryPath: 0o755, PasswordsDir + "/snyssen": 0o600, MarkerPath: 0o644} {
		info, err := os.Stat(filepath.Join(r.job.Root, path))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s is %v, %v; want it with mode %v", path, info, err, mode)
		}
	}
	// A hash that the layout no longer has goes, and the others stay.
	gone := filepath.Join(r.job.Root, PasswordsDir, "former")
	if err := os.WriteFile(gone, []byte("$y$x$y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := r.run(t.Context()); changed != 1 || err != nil {
		t.Errorf("a former password changed %d steps, %v; want 1", changed, err)
	}
	if left, err := os.ReadDir(filepath.Dir(gone)); err != nil || len(left) != 1 || left[0].Name() != "snyssen" {
		t.Errorf("%s holds %v, %v", PasswordsDir, left, err)
	}
	if _, err := os.Stat(filepath.Dir(r.job.Root) + "/infra/nix/hosts/hypervisor/luks.nix"); err != nil {
		t.Error(err)
	}
	var marker Marker
	data, _ := os.ReadFile(filepath.Join(r.job.Root, MarkerPath))
	if err := json.Unmarshal(data, &marker); err != nil || marker.Revision != "0123456789abcdef0123456789abcdef01234567" || !strings.Contains(marker.System, "nixos-system-hypervisor") {
		t.Errorf("the marker is %s, %v", data, err)
	}
}

// nix's lines become a count and the log.
func TestInstallShowsProgress(t *testing.T) {
	r := newRig(t)
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.has("copying path '/nix/store/00000000000000000000000000000000-linux-6.12.58'")
	r.has("step-progress os/nixos/install  0/5")
	r.has("step-progress os/nixos/install  3/5")
	r.has("step-progress os/nixos/install  5/5")
	r.has("installation finished!")
}

// No password hash is in any event.
func TestHashStaysOutOfEvents(t *testing.T) {
	r := newRig(t)
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(r.lines, "\n") + r.calls(); strings.Contains(all, "$y$") {
		t.Errorf("the password hash is in the events:\n%s", all)
	}
}

// A build that fails is said with its last lines; the next run takes up what
// is built.
func TestInstallFailsAndResumes(t *testing.T) {
	for _, after := range []int{0, 2, 4} {
		r := newRig(t)
		r.write("fail", fmt.Sprint(after))
		_, err := r.run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "failed with exit code 2") || !strings.Contains(err.Error(), "run the same command again") {
			t.Fatalf("a failing build: %v, want nix's error and what to do", err)
		}
		r.remove("fail")
		if _, err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.done()
		copied := 0
		for _, l := range r.lines {
			if strings.Contains(l, "step-log") && (strings.Contains(l, " copying path ") || strings.Contains(l, " building '/nix")) {
				copied++
			}
		}
		if copied != 5-after {
			t.Errorf("after %d of 5 paths the second run made %d, want %d", after, copied, 5-after)
		}
	}
}

// The boot loader is the last thing; without it the install is not done.
func TestBootLoaderFails(t *testing.T) {
	r := newRig(t)
	r.write("bootloader-fails", "")
	if _, err := r.run(t.Context()); err == nil {
		t.Fatal("a failing boot loader went unnoticed")
	}
	state, why, err := r.job.installed()
	if err != nil || state != step.Absent || !strings.Contains(why, "did not come to its end") {
		t.Errorf("installed() = %v, %q, %v; want absent", state, why, err)
	}
	r.remove("bootloader-fails")
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.done()
}

// Ctrl-C in the middle of a build, then the same command again.
func TestInterruptedAndResumed(t *testing.T) {
	r := newRig(t)
	r.write("hang", "2")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for range 200 {
			if _, err := os.Stat(filepath.Join(r.standin, "hangs")); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		cancel(errors.New("interrupted"))
	}()
	if _, err := r.run(ctx); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Fatalf("an interrupted install: %v", err)
	}
	r.remove("hang")
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.done()
}

// A nixos-install that outlived a killed hvinstall is waited for.
func TestOrphanIsWaitedFor(t *testing.T) {
	r := newRig(t)
	lock := filepath.Join(r.job.Root, lockPath)
	if err := os.MkdirAll(filepath.Dir(lock), 0o755); err != nil {
		t.Fatal(err)
	}
	ended := filepath.Join(r.standin, "ended")
	orphan := exec.Command("flock", lock, "sh", "-c", "echo locked; sleep 0.7; touch "+ended)
	out, err := orphan.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := orphan.Start(); err != nil {
		t.Fatalf("flock: %v (apt-get install util-linux)", err)
	}
	defer orphan.Wait() //nolint:errcheck // it is only to end
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(ended)
	if err != nil {
		t.Fatal("nixos-install ran beside the one before")
	}
	if calls, err := os.Stat(filepath.Join(r.job.Root, MarkerPath)); err != nil || calls.ModTime().Before(first.ModTime()) {
		t.Errorf("the marker is %v, %v; want it after the orphan's end", calls, err)
	}
}

// A system that is adopted is not installed over.
func TestAdoptedSystemIsKept(t *testing.T) {
	r := newRig(t)
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(r.job.Root, MarkerPath)); err != nil {
		t.Fatal(err)
	}
	r.job.Input.Layout.OS.Adopt = true
	r.done()
}

// A configuration that would not find these disks is not installed.
func TestWouldNotBoot(t *testing.T) {
	for name, test := range map[string]struct {
		change func(map[string]string)
		root   string
		want   string
	}{
		"no mapping":   {func(l map[string]string) { delete(l, "crypt-bulk-1") }, "", "has no crypt-bulk-1"},
		"other volume": {func(l map[string]string) { l["cryptroot"] = "/dev/disk/by-partlabel/luks" }, "", "cryptroot is /dev/disk/by-partlabel/luks"},
		"other root":   {func(map[string]string) {}, "/dev/sda2", `fileSystems."/" is /dev/sda2`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			root := test.root
			if root == "" {
				root = "/dev/mapper/cryptroot"
			}
			r.evaluates(test.change, root)
			_, err := r.run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("run: %v, want an error with %q", err, test.want)
			}
			if strings.Contains(r.calls(), "argv") {
				t.Errorf("nixos-install was called all the same:\n%s", r.calls())
			}
		})
	}
	// A user's own disko layout, by partition labels, is as good.
	r := newRig(t)
	r.evaluates(func(l map[string]string) {
		for _, v := range r.job.Input.Volumes {
			l[v.Mapping] = "/dev/disk/by-partlabel/" + v.PartLabel
		}
	}, "/dev/mapper/cryptroot")
	if _, err := r.run(t.Context()); err != nil {
		t.Error(err)
	}
}

// Files that are the user's own are never overwritten.
func TestOwnFilesAreKept(t *testing.T) {
	r := newRig(t)
	own := filepath.Join(r.job.Source.Modules, "configuration.nix")
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte("{ ... }: { }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.has("step-warning os/nixos/modules " + own + " is kept as it is")
	if data, _ := os.ReadFile(own); string(data) != "{ ... }: { }\n" {
		t.Errorf("the user's own file is now:\n%s", data)
	}
	r.done()
}

// Without a flake there is no evaluation to rely on: the run stops.
func TestOwnFilesStopAnInstallWithoutFlake(t *testing.T) {
	r := newRig(t)
	r.job.Input.Layout.OS.NixOS.Flake = ""
	r.job.Input.Layout.OS.NixOS.File = filepath.Join(r.job.Root, "etc/nixos/configuration.nix")
	r.source()
	own := filepath.Join(r.job.Root, "etc/nixos/luks.nix")
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte("{ }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var foreign *step.ForeignError
	if _, err := r.run(t.Context()); !errors.As(err, &foreign) || !strings.Contains(foreign.Found, "luks.nix") {
		t.Fatalf("run: %v, want luks.nix foreign", err)
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.done()
	if !strings.HasSuffix(r.calls(), "argv --root "+r.job.Root+" --no-root-password --no-channel-copy\nNIXOS_CONFIG="+r.job.Source.File+"\n") {
		t.Errorf("nixos-install was called as\n%s", r.calls())
	}
}

// An edited layout renews the modules that nobody has touched.
func TestEarlierModulesAreRenewed(t *testing.T) {
	r := newRig(t)
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.job.Input.Layout.Locale.Timezone = "Europe/Paris"
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.has("configuration.nix is replaced")
	r.has(`+  time.timeZone = "Europe/Paris";`)
	r.done()
}

func TestFileAndChannels(t *testing.T) {
	r := newRig(t)
	n := r.job.Input.Layout.OS.NixOS
	n.Flake, n.Channel = "", "/nix/store/nixos-25.11"
	n.File = filepath.Join(r.job.Root, "../infra/configuration.nix")
	r.source()
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls := r.calls(); !strings.Contains(calls, "--channel /nix/store/nixos-25.11") || !strings.Contains(calls, "NIXOS_CONFIG="+r.job.Source.File) {
		t.Errorf("nixos-install was called as\n%s", calls)
	}
	r.done()

	r = newRig(t)
	n = r.job.Input.Layout.OS.NixOS
	n.Flake, n.Channel = "", "https://nixos.org/channels/nixos-25.11"
	n.File = filepath.Join(r.job.Root, "../infra/default.nix")
	if err := os.WriteFile(n.File, []byte("{ }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.source()
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls := r.calls(); !strings.Contains(calls, "--no-channel-copy --file "+r.job.Source.File) || strings.Contains(calls, "NIXOS_CONFIG") {
		t.Errorf("nixos-install was called as\n%s", calls)
	}
	if data, _ := os.ReadFile(filepath.Join(r.job.Root, "root/.nix-channels")); string(data) != n.Channel+" nixos\n" {
		t.Errorf(".nix-channels is %q", data)
	}
}

func TestForeignSystem(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(filepath.Join(r.job.Root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.job.Root, "etc/os-release"), []byte("ID=debian\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var foreign *step.ForeignError
	if _, err := r.run(t.Context()); !errors.As(err, &foreign) || foreign.Step != "os/nixos/install" {
		t.Errorf("run over a Debian: %v, want it foreign", err)
	}
}

// A flake in a git checkout consists of what git knows.
func TestModulesAreKnownToGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git is missing: apt-get install git")
	}
	r := newRig(t)
	git := func(args ...string) string {
		out, err := exec.Command("git", append([]string{"-C", r.job.Source.Checkout}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	git("init", "--quiet")
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if known := git("ls-files"); !strings.Contains(known, "nix/hosts/hypervisor/users/snyssen.nix") {
		t.Errorf("git knows %q, want the modules", known)
	}
	if staged := git("diff", "--cached", "--name-only"); staged != "" {
		t.Errorf("content is staged for a commit: %s", staged)
	}
	r.done()
}

func TestPreflight(t *testing.T) {
	codes := func(r *rig) string {
		var all []string
		for _, refusal := range r.job.Preflight(t.Context(), 400<<30) {
			all = append(all, refusal.Code)
			if refusal.Hint == "" || refusal.What == "" {
				t.Errorf("the refusal %+v lacks a reason or a way out", refusal)
			}
		}
		return strings.Join(all, " ")
	}
	r := newRig(t)
	if got := codes(r); got != "" {
		t.Errorf("Preflight = %s, want nothing", got)
	}
	r.job.Memory = 1 << 30
	r.remove("metadata.json")
	if got := codes(r); got != "nixos-memory nixos-flake" {
		t.Errorf("Preflight = %q, want memory and flake refused", got)
	}
	if got := r.job.Preflight(t.Context(), 1<<30); got[1].Code != "nixos-space" {
		t.Errorf("Preflight of a 1 GiB system = %v, want its size refused", got)
	}

	// A remote flake is evaluated before anything is written.
	r = newRig(t)
	r.job.Input.Layout.OS.NixOS.Flake = "github:me/infra#hypervisor"
	r.source()
	if r.job.Source.Modules != "" {
		t.Errorf("modules would be written to %q of a remote flake", r.job.Source.Modules)
	}
	if got := codes(r); got != "" {
		t.Errorf("Preflight of a remote flake that boots this machine = %q, want nothing", got)
	}
	r.evaluates(func(l map[string]string) { clear(l) }, "/dev/sda")
	got := r.job.Preflight(t.Context(), 400<<30)
	if len(got) != 1 || got[0].Code != "nixos-host" || !strings.Contains(got[0].Hint, "nix/hosts/hypervisor") {
		t.Errorf("Preflight of a remote flake without the modules = %v, want it refused with the way out", got)
	}

	// Nothing is asked for on the running host.
	r.job.Root = "/"
	if got := codes(r); got != "" {
		t.Errorf("Preflight on the running host = %q", got)
	}
	r = newRig(t)
	r.remove("nix")
	t.Setenv("PATH", r.standin)
	if got := codes(r); !strings.HasPrefix(got, "nixos-programs") && !hasNix() {
		t.Errorf("Preflight without nix = %q, want the program named", got)
	}
}

// hasNix: Debian's own nix may be on the path that host adds.
func hasNix() bool {
	_, err := os.Stat("/usr/bin/nix")
	return err == nil
}

func TestMakeSource(t *testing.T) {
	for flake, want := range map[string]Source{
		"/root/infra#h":                      {Flake: "/root/infra", Attr: "h", Checkout: "/root/infra", Modules: "/root/infra/nix/hosts/hypervisor"},
		"./infra#h":                          {Flake: "/plans/infra", Attr: "h", Checkout: "/plans/infra", Modules: "/plans/infra/nix/hosts/hypervisor"},
		".#":                                 {Flake: "/plans", Attr: "hypervisor", Checkout: "/plans", Modules: "/plans/nix/hosts/hypervisor"},
		"path:/root/infra#h":                 {Flake: "path:/root/infra", Attr: "h", Checkout: "/root/infra", Modules: "/root/infra/nix/hosts/hypervisor"},
		"git+file:///root/infra?dir=sub#h":   {Flake: "git+file:///root/infra?dir=sub", Attr: "h", Checkout: "/root/infra", Modules: "/root/infra/sub/nix/hosts/hypervisor"},
		"github:me/infra#h":                  {Flake: "github:me/infra", Attr: "h"},
		"git+ssh://git@example.org/infra#h":  {Flake: "git+ssh://git@example.org/infra", Attr: "h"},
		"infra#h":                            {Flake: "infra", Attr: "h"},
		"https://example.org/infra.tar.gz#h": {Flake: "https://example.org/infra.tar.gz", Attr: "h"},
	} {
		in := hypervisor()
		in.Layout.OS.NixOS.Flake = flake
		if got, err := MakeSource(in, "/mnt/target", "/plans"); err != nil || got != want {
			t.Errorf("MakeSource(%s) = %+v, %v, want %+v", flake, got, err, want)
		}
	}
	in := hypervisor()
	in.Layout.OS.NixOS.ModulesDir = "../../etc"
	if got, err := MakeSource(in, "/mnt/target", "/"); err == nil {
		t.Errorf("MakeSource with modules_dir ../../etc = %+v, want an error", got)
	}
	in = hypervisor()
	in.Layout.OS.NixOS.Flake = ""
	if _, err := MakeSource(in, "/mnt/target", "/"); err == nil || !strings.Contains(err.Error(), "file: /mnt/target/etc/nixos/configuration.nix") {
		t.Errorf("MakeSource without flake and file: %v, want the way out", err)
	}
	in.Layout.OS.NixOS.File = "/mnt/target/etc/nixos/configuration.nix"
	if got, err := MakeSource(in, "/mnt/target", "/"); err != nil || got != (Source{File: in.Layout.OS.NixOS.File, Modules: "/mnt/target/etc/nixos"}) {
		t.Errorf("MakeSource with a file = %+v, %v", got, err)
	}
}

// On the running host the steps keep things in place, and install nothing.
func TestRunningHost(t *testing.T) {
	r := newRig(t)
	r.job.Root = "/"
	var got []string
	for _, s := range r.steps() {
		got = append(got, s.ID)
	}
	if want := "os/nixos/plan os/nixos/binary os/nixos/former-passwords os/nixos/password/snyssen os/nixos/install"; strings.Join(got, " ") != want {
		t.Errorf("steps on the running host: %v, want %s", got, want)
	}
}
