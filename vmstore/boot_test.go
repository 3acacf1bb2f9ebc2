//go:build libvirt

package vmstore

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"hvinstall/configs"
	"hvinstall/step"
	"hvinstall/vmstore/appliance"

	"github.com/digitalocean/go-libvirt"
)

// theAppliance is built once for all tests.
var theAppliance = sync.OnceValues(func() (appliance.Appliance, error) {
	if err := os.MkdirAll("/mnt/appliance", 0o755); err != nil {
		return appliance.Appliance{}, err
	}
	return appliance.Build(context.Background(), "/mnt/appliance", "haos")
})

func applianceImages(t testing.TB) appliance.Appliance {
	t.Helper()
	a, err := theAppliance()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// store is an empty libvirt_vmstore_root of one test.
func store(t testing.TB) string {
	t.Helper()
	root := filepath.Join("/mnt", strings.NewReplacer("/", "_").Replace(t.Name()))
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		forgetAll(t)
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	return root
}

// forgetAll leaves no domain to the next test.
func forgetAll(t testing.TB) {
	c, err := newConnection(defaultURI)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	l, err := c.get()
	if err != nil {
		t.Fatal(err)
	}
	domains, _, err := l.ConnectListAllDomains(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range domains {
		_ = l.DomainDestroy(d)
		_ = l.DomainUndefineFlags(d, libvirt.DomainUndefineNvram|libvirt.DomainUndefineManagedSave|libvirt.DomainUndefineSnapshotsMetadata|libvirt.DomainUndefineTpm)
	}
}

// run is one run of hvinstall over the VMs, as the command makes it.
type run struct {
	plan     Plan
	refusals []step.Refusal
	changed  int
	events   []step.Event
}

func (r run) did() []string {
	var ids []string
	for _, e := range r.events {
		if e.Kind == step.StepDone {
			ids = append(ids, e.Step)
		}
	}
	return ids
}

func tryRun(ctx context.Context, want configs.VMPlan, env Env) (r run, err error) {
	facts, err := Probe(ctx, want, env.Root)
	if err != nil {
		return r, err
	}
	r.plan, r.refusals = MakePlan(want, "testhost", facts, Options{Stage: env.Root != ""})
	if len(r.refusals) > 0 {
		return r, r.refusals[0]
	}
	steps, err := r.plan.Steps(env)
	if err != nil {
		return r, err
	}
	runner := step.Runner{Side: 4, Events: func(e step.Event) { r.events = append(r.events, e) }}
	r.changed, err = runner.Run(ctx, steps)
	return r, err
}

func mustRun(t testing.TB, want configs.VMPlan, env Env) run {
	t.Helper()
	r, err := tryRun(testContext(t), want, env)
	if err != nil {
		t.Fatalf("%v\nrefusals: %v", err, r.refusals)
	}
	return r
}

func virsh(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("virsh", append([]string{"-q"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("virsh %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// console reads a running VM's serial console until it says what is expected.
func console(t testing.TB, name, expression string, limit time.Duration) string {
	t.Helper()
	tty := virsh(t, "ttyconsole", name)
	file, err := os.OpenFile(tty, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := regexp.MustCompile(expression)
	var said strings.Builder
	got := make(chan string, 1)
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := file.Read(buffer)
			said.Write(buffer[:n])
			if m := want.FindString(said.String()); m != "" || err != nil {
				got <- m
				return
			}
		}
	}()
	select {
	case m := <-got:
		return m
	case <-time.After(limit):
		t.Fatalf("%s did not say %q within %v; it said:\n%s", name, expression, limit, said.String())
	}
	return ""
}

func pack(t testing.TB, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
}

func qemuPlan(root string, vms ...configs.VM) configs.VMPlan {
	return configs.VMPlan{VMStoreRoot: root, DefaultBridge: "br0", URI: defaultURI, DomainType: "qemu", VMs: vms}
}

// TestApplianceBoots is the whole way: an xz of a raw image from a server, to
// a running VM that says so on its console, and a second run that does
// nothing.
func TestApplianceBoots(t *testing.T) {
	a, root, web := applianceImages(t), store(t), newServer(t)
	pack(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", a.Disk, filepath.Join(root, "haos_ova.qcow2"))
	pack(t, "xz", "-T0", "-1", filepath.Join(root, "haos_ova.qcow2"))
	data, err := os.ReadFile(filepath.Join(root, "haos_ova.qcow2.xz"))
	if err != nil {
		t.Fatal(err)
	}
	url := web.put("/haos_ova.qcow2.xz", &served{data: data, etag: `"1"`})
	want := qemuPlan(root, configs.VM{
		Name: "haos", VCPU: 1, RAMMB: 256, MACAddress: "52:54:00:12:34:56", DiskGB: 1,
		DiskImage: &configs.VMDisk{URL: url, Dest: filepath.Join(root, "haos/haos.qcow2")},
	})
	first := mustRun(t, want, Env{})
	t.Logf("did %v", first.did())
	console(t, "haos", `appliance: haos is up`, 90*time.Second)
	second := mustRun(t, want, Env{})
	if second.changed != 0 || second.plan.VMs[0].Action != Keep {
		t.Errorf("second run changed %d, action %s, did %v; want nothing", second.changed, second.plan.VMs[0].Action, second.did())
	}
}
