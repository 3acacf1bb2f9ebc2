//go:build libvirt && bench

package vmstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"
	"hvinstall/host/web"
	"hvinstall/step"

	"github.com/digitalocean/go-libvirt"
)

// TestBenchFiftyVMs measures 50 VMs: defining them, and finding nothing to do,
// each in a process of its own and within this one.
func TestBenchFiftyVMs(t *testing.T) {
	root := store(t)
	var vms []configs.VM
	for i := range 50 {
		vms = append(vms, blank(t, root, fmt.Sprintf("vm%02d", i)))
	}
	want := qemuPlan(root, vms...)
	mustRun(t, want, Env{}) // the files, which are not what is measured
	forgetAll(t)
	ctx := testContext(t)

	facts, err := Probe(ctx, want, "/")
	if err != nil {
		t.Fatal(err)
	}
	p, refusals := MakePlan(want, "testhost", facts, Options{})
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	steps, err := p.Steps(Env{})
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	runner := step.Runner{Side: 4}
	if _, err := runner.Run(ctx, steps); err != nil {
		t.Fatal(err)
	}
	ours := time.Since(started)
	texts := make([]string, 0, 50)
	for _, v := range p.VMs {
		texts = append(texts, v.XML)
	}
	forgetAll(t)
	dir := t.TempDir()
	var script strings.Builder
	for i, text := range texts {
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "define %s\nautostart %s\n", file, p.VMs[i].Name)
	}
	started = time.Now()
	cmd := exec.Command("virsh", "-q")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("virsh: %v: %s", err, out)
	}
	report(t, "50 VMs defined, target 0.5 s", ours, "one virsh with 50 define and autostart", time.Since(started))

	// What the process needs from its start to its end.
	var best, cpu time.Duration
	text, err := json.Marshal(job{Want: want})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), stageKey+"=child", "VMSTORE_JOB="+string(text))
		started := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if d := time.Since(started); best == 0 || d < best {
			best, cpu = d, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
		}
	}
	started = time.Now()
	for _, v := range p.VMs {
		if out, err := exec.Command("virsh", "-q", "dominfo", v.Name).CombinedOutput(); err != nil {
			t.Fatalf("virsh: %v: %s", err, out)
		}
	}
	report(t, "nothing to do for 50 VMs, target 0.15 s", best, "50 times virsh dominfo", time.Since(started))
	t.Logf("%-44s %8.3f s", "of it: processor time", cpu.Seconds())
	c, err := newConnection(defaultURI)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	started = time.Now()
	if err := c.do(ctx, func(l *libvirt.Libvirt) error { _, _, err := l.ConnectListAllDomains(1, 0); return err }); err != nil {
		t.Fatal(err)
	}
	t.Logf("%-44s %8.3f s", "of it: connecting and listing", time.Since(started).Seconds())
}

func report(t *testing.T, what string, ours time.Duration, peer string, theirs time.Duration) {
	t.Helper()
	t.Logf("%-44s %8.3f s   %-44s %8.3f s   ratio %.2f", what, ours.Seconds(), peer, theirs.Seconds(), ours.Seconds()/theirs.Seconds())
}

// TestBenchImages measures http → archive → qcow2 on disk against curl and the
// reference programs, from a server in another process, in turns.
func TestBenchImages(t *testing.T) {
	root := store(t)
	disk, err := os.MkdirTemp("/var/tmp", "bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(disk) })
	image := filepath.Join(root, "image.qcow2")
	makeImage(t, image, 256<<20)
	pack(t, "sh", "-c", fmt.Sprintf("cd %s && xz -T2 -1 -k --block-size=8MiB image.qcow2 && gzip -1 -k image.qcow2 && zstd -q -1 -k image.qcow2", root))
	base := serveFiles(t, root)
	for _, c := range []struct{ ext, peer string }{
		{"xz", "curl -sS %[1]s | xz -dc -T0 > %[2]s"},
		{"gz", "curl -sS -o %[2]s.gz %[1]s && gunzip -c %[2]s.gz > %[2]s"},
		{"zst", "curl -sS -o %[2]s.zst %[1]s && zstd -q -d -f -o %[2]s %[2]s.zst"},
	} {
		url := base + "/image.qcow2." + c.ext
		var ours, theirs []time.Duration
		for i := range 5 {
			out := filepath.Join(disk, fmt.Sprintf("ours%d.%s", i, c.ext))
			started := time.Now()
			f := fetcher{client: web.New("", 0), stall: time.Minute, backoff: time.Second, limit: unpackLimit}
			if err := f.fetch(testContext(t), Image{URL: url}, []string{out}, &news{}); err != nil {
				t.Fatal(err)
			}
			ours = append(ours, time.Since(started))
			if i == 0 {
				pack(t, "cmp", out, image)
			}
			os.Remove(out)
			out = filepath.Join(disk, fmt.Sprintf("theirs%d.%s", i, c.ext))
			started = time.Now()
			// Ours and its name are on the disk when it ends: so must theirs be.
			pack(t, "sh", "-ec", fmt.Sprintf(c.peer, url, out)+" && sync "+out+" "+disk)
			theirs = append(theirs, time.Since(started))
			pack(t, "sh", "-c", "rm -f "+out+"*")
		}
		report(t, "http → "+c.ext+" → qcow2 on disk, 256 MiB", slices.Min(ours), fmt.Sprintf(c.peer, "URL", "FILE"), slices.Min(theirs))
	}
}

// makeImage is a qcow2 with what appliances are made of: programs and
// libraries, here this machine's, and a quarter of nothing.
func makeImage(t *testing.T, path string, size int64) {
	t.Helper()
	raw, err := os.Create(path + ".raw")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(raw.Name())
	defer raw.Close()
	full := errors.New("full")
	at := int64(1 << 20)
	err = filepath.WalkDir("/usr/lib", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		n, err := io.Copy(io.NewOffsetWriter(raw, at), in)
		if at += n; at > size/4*3 {
			return full
		}
		return err
	})
	if err != nil && !errors.Is(err, full) {
		t.Fatal(err)
	}
	if err := raw.Truncate(max(at, size)); err != nil {
		t.Fatal(err)
	}
	pack(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw.Name(), path)
}

// serveFiles serves a folder from this process; both sides get the same.
func serveFiles(t *testing.T, dir string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String()
}
