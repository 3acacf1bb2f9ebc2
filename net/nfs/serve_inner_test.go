//go:build guest_inner

package nfs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"
	"hvinstall/step"
)

// The clients are network namespaces, each on a link of its own with the server.
var clients = []struct{ name, server, address, server6, address6 string }{
	{"lan", "10.77.0.1", "10.77.0.2", "fd77::1", "fd77::2"},
	{"tailnet", "100.64.0.1", "100.64.0.5", "", ""},
	{"stranger", "172.16.9.1", "172.16.9.2", "fd99::1", "fd99::2"},
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// try is a command in a client; ok says whether it worked.
func try(client, script string) (output string, ok bool) {
	out, err := exec.Command("ip", "netns", "exec", client, "timeout", "60", "sh", "-ec", script).CombinedOutput()
	return strings.TrimSpace(string(out)), err == nil
}

// mount mounts an export in a client, reads the listing and unmounts.
func mount(client, server, path string) (string, bool) {
	return try(client, "mkdir -p /c; timeout "+patience(client)+" mount -t nfs4 -o retry=0,timeo=30,retrans=1,soft '"+server+":"+path+"' /c && { ls -la /c; umount /c; }")
}

// patience is how many seconds a mount may take: a stranger's packets are
// dropped, and it would wait for ever.
func patience(client string) string {
	if client == "stranger" {
		return "6"
	}
	return "30"
}

func apply(t *testing.T, plan Plan, env Env) (int, error) {
	t.Helper()
	var steps []step.Step
	for _, s := range plan.Steps(env) {
		if s.ID == "nfs/enable" {
			continue // the guest has no systemd
		}
		s.After = nil
		steps = append(steps, s)
	}
	runner := step.Runner{Events: func(e step.Event) {
		if e.Message != "" || e.Error != "" {
			t.Log(e.Kind, e.Step, e.Message, e.Error)
		}
	}}
	return runner.Run(context.Background(), steps)
}

func TestExports(t *testing.T) {
	for _, c := range clients {
		run(t, "ip", "netns", "add", c.name)
		run(t, "ip", "link", "add", "s-"+c.name, "type", "veth", "peer", "name", "eth0", "netns", c.name)
		run(t, "ip", "addr", "add", c.server+"/24", "dev", "s-"+c.name)
		run(t, "ip", "link", "set", "s-"+c.name, "up")
		run(t, "ip", "-n", c.name, "addr", "add", c.address+"/24", "dev", "eth0")
		run(t, "ip", "-n", c.name, "link", "set", "eth0", "up")
		run(t, "ip", "-n", c.name, "link", "set", "lo", "up")
		if c.server6 != "" {
			run(t, "ip", "addr", "add", c.server6+"/64", "dev", "s-"+c.name, "nodad")
			run(t, "ip", "-n", c.name, "addr", "add", c.address6+"/64", "dev", "eth0", "nodad")
		}
	}
	// The system's own disk, where an empty mount point would be served from.
	run(t, "mkfs.ext4", "-q", "/dev/disk/by-id/virtio-SYSTEM")
	run(t, "mkdir", "-p", "/mnt")
	run(t, "mount", "/dev/disk/by-id/virtio-SYSTEM", "/mnt")
	run(t, "rmdir", "/mnt/lost+found")
	const disk = "/dev/disk/by-id/virtio-POOL1"
	run(t, "mkfs.btrfs", "-q", "-L", "bulk", disk)
	uuid := run(t, "blkid", "-s", "UUID", "-o", "value", disk)
	run(t, "mkdir", "-p", "/mnt/bulk", "/var/lib/nfs/v4recovery", "/etc/exports.d", "/etc/nfs.conf.d", "/run/rpc_pipefs", "/srv")
	run(t, "touch", "/etc/exports", "/var/lib/nfs/etab", "/var/lib/nfs/rmtab")

	pools := []Pool{{Name: "bulk", Mountpoint: "/mnt/bulk", UUID: uuid}}
	want := configs.NFSExports{LanCIDR: "10.77.0.0/24", Exports: []configs.NFSExport{
		{Path: "/mnt/bulk/apps-vm"},
		{Path: "/mnt/bulk/homeassistant-vm", Clients: []string{"10.77.0.0/24", "100.64.0.0/10", "fd77::/64"}, Owner: "1000", Group: "1000", Mode: "0775"},
		{Path: "/mnt/bulk/deep/scrypted", Squash: "no_root_squash"},
		{Path: "/mnt/bulk/public", Squash: "all_squash", Mode: "0777"},
	}}
	plan, refusals := MakePlan(&want, pools)
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	env := Env{Root: "/", Live: true}

	// The pool is not mounted: an error, and nothing is made in its place.
	var missing *NotMounted
	if _, err := apply(t, plan, env); !errors.As(err, &missing) {
		t.Errorf("error %v, want NotMounted", err)
	}
	if left := run(t, "find", "/mnt/bulk", "/etc/exports.d", "-mindepth", "1"); left != "" {
		t.Errorf("something was made although the pool is not mounted: %s", left)
	}
	// Another file system in its place is no better.
	run(t, "mount", "-t", "tmpfs", "tmpfs", "/mnt/bulk")
	if _, err := apply(t, plan, env); !errors.As(err, &missing) || !strings.Contains(err.Error(), "tmpfs") {
		t.Errorf("error %v, want NotMounted for the tmpfs", err)
	}
	run(t, "umount", "/mnt/bulk")
	run(t, "mount", disk, "/mnt/bulk")
	wrong, _ := MakePlan(&want, []Pool{{Name: "bulk", Mountpoint: "/mnt/bulk", UUID: "00000000-0000-4000-8000-000000000000"}})
	if _, err := apply(t, wrong, env); !errors.As(err, &missing) || !strings.Contains(err.Error(), uuid) {
		t.Errorf("error %v, want NotMounted for another btrfs", err)
	}

	if _, err := apply(t, plan, env); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "stat", "-c", "%u:%g %a", "/mnt/bulk/homeassistant-vm", "/mnt/bulk/apps-vm", "/mnt/bulk/deep/scrypted", "/mnt/bulk/public"); got != "1000:1000 775\n0:0 755\n0:0 755\n0:0 777" {
		t.Errorf("owners and modes:\n%s", got)
	}
	// mountd opens its ports where it is not told that the server speaks version
	// 4 alone, and none where it is.
	must(t, os.Rename("/"+confFile, "/"+confFile+".aside"))
	run(t, "rpc.mountd")
	if !mountdListens() {
		t.Error("rpc.mountd without the file has no port, so that none with it shows nothing")
	}
	run(t, "busybox", "killall", "rpc.mountd")
	must(t, os.Rename("/"+confFile+".aside", "/"+confFile))
	startServer(t)
	if mountdListens() {
		t.Error("rpc.mountd listens")
	}

	served := map[string][]string{ // by client: what it may mount
		"lan":      {"/mnt/bulk/apps-vm", "/mnt/bulk/homeassistant-vm", "/mnt/bulk/deep/scrypted", "/mnt/bulk/public"},
		"tailnet":  {"/mnt/bulk/homeassistant-vm"},
		"stranger": {},
	}
	check(t, plan, served)
	// IPv6: the layout names fd77::/64 for one export only.
	if out, ok := mount("lan", "[fd77::1]", "/mnt/bulk/homeassistant-vm"); !ok {
		t.Errorf("the LAN cannot mount by IPv6: %s", out)
	}
	if _, ok := mount("lan", "[fd77::1]", "/mnt/bulk/apps-vm"); ok {
		t.Error("apps-vm can be mounted by IPv6, which is not among its clients")
	}

	// The server speaks NFSv4 alone, and the filter hides it from strangers.
	if versions := run(t, "cat", "/proc/fs/nfsd/versions"); !strings.Contains(versions, "-3") || !strings.Contains(versions, "+4.2") {
		t.Errorf("the server speaks %s", versions)
	}
	for _, address := range []string{"172.16.9.1", "fd99::1"} {
		if _, ok := try("stranger", "timeout 3 busybox nc "+address+" 2049 </dev/null"); ok {
			t.Errorf("a stranger reaches port 2049 at %s", address)
		}
	}
	if out, ok := try("lan", "timeout 3 busybox nc 10.77.0.1 2049 </dev/null"); !ok {
		t.Errorf("the LAN does not reach port 2049: %s", out)
	}
	// Without the filter, the exports still keep strangers out.
	run(t, "nft", "delete", "table", "inet", filterTable)
	for _, e := range plan.Exports[:1] {
		if out, ok := mount("stranger", "172.16.9.1", e.Path); ok {
			t.Errorf("without the filter a stranger mounts %s: %s", e.Path, out)
		}
	}
	if n, err := apply(t, plan, env); err != nil || n != 1 {
		t.Errorf("the filter was loaded again by %d steps, %v; want 1", n, err)
	}
	if n, err := apply(t, plan, env); err != nil || n != 0 {
		t.Errorf("the second run changed %d steps, %v", n, err)
	}

	squash(t)

	// The owner that a person gave a directory with default owner stays.
	run(t, "chown", "1234:1234", "/mnt/bulk/apps-vm")
	run(t, "chown", "1234:1234", "/mnt/bulk/homeassistant-vm")
	if _, err := apply(t, plan, env); err != nil {
		t.Error(err)
	}
	if got := run(t, "stat", "-c", "%u", "/mnt/bulk/apps-vm", "/mnt/bulk/homeassistant-vm"); got != "1234\n1000" {
		t.Errorf("owners %q, want 1234 kept and 1000 enforced", got)
	}

	// Other people's exports and tables stay what they are.
	run(t, "sh", "-c", "echo '/srv *(ro,fsid=77,no_subtree_check)' > /etc/exports; exportfs -ra; nft add table inet mine")
	if n, err := apply(t, plan, env); err != nil || n != 0 {
		t.Errorf("another export changed %d steps, %v", n, err)
	}

	// An export that is taken out is no longer served; its data stays.
	run(t, "sh", "-c", "echo data > /mnt/bulk/homeassistant-vm/file")
	fewer := want
	fewer.Exports = want.Exports[:1]
	less, _ := MakePlan(&fewer, pools)
	if _, err := apply(t, less, env); err != nil {
		t.Error(err)
	}
	check(t, less, map[string][]string{"lan": {"/mnt/bulk/apps-vm"}})
	if out, ok := mount("lan", "10.77.0.1", "/mnt/bulk/homeassistant-vm"); ok {
		t.Errorf("homeassistant-vm is still served: %s", out)
	}
	// All of them.
	if _, err := apply(t, Plan{}, env); err != nil {
		t.Error(err)
	}
	if out := run(t, "exportfs", "-s"); strings.Contains(out, "/mnt/bulk") || !strings.Contains(out, "/srv") {
		t.Errorf("exported at the end:\n%s", out)
	}
	if out := run(t, "nft", "list", "tables"); strings.Contains(out, filterTable) || !strings.Contains(out, "mine") {
		t.Errorf("tables at the end:\n%s", out)
	}
	if n, err := apply(t, Plan{}, env); err != nil || n != 0 {
		t.Errorf("the empty plan again changed %d steps, %v", n, err)
	}
	if got := run(t, "cat", "/mnt/bulk/homeassistant-vm/file"); got != "data" {
		t.Errorf("the data is %q", got)
	}

	// A pool that is not mounted is not served, although it is exported.
	if _, err := apply(t, plan, env); err != nil {
		t.Error(err)
	}
	run(t, "sh", "-c", "exportfs -f; sync; umount /mnt/bulk && mkdir -p /mnt/bulk/apps-vm")
	if out, ok := mount("lan", "10.77.0.1", "/mnt/bulk/apps-vm"); ok {
		t.Errorf("the empty mount point is served: %s", out)
	}
	run(t, "sh", "-c", "sed -i 's/,mountpoint=[^)]*//' /etc/exports.d/hvinstall.exports; exportfs -ra; exportfs -f")
	if out, ok := mount("lan", "10.77.0.1", "/mnt/bulk/apps-vm"); !ok {
		t.Errorf("without mountpoint= the empty mount point is not served either, so the check before shows nothing: %s", out)
	}
}

// startServer is what nfs-server.service does.
func startServer(t *testing.T) {
	t.Helper()
	run(t, "mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd")
	run(t, "exportfs", "-r")
	run(t, "rpc.mountd")
	run(t, "rpc.nfsd", "4")
	// Nobody has locks to reclaim.
	must(t, os.WriteFile("/proc/fs/nfsd/v4_end_grace", []byte("Y\n"), 0))
	time.Sleep(time.Second)
}

func check(t *testing.T, plan Plan, served map[string][]string) {
	t.Helper()
	for _, c := range clients {
		may, asked := served[c.name]
		if !asked {
			continue
		}
		for _, e := range plan.Exports {
			want := strings.Contains(" "+strings.Join(may, " ")+" ", " "+e.Path+" ")
			if c.name != "lan" && !strings.HasSuffix(e.Path, "-vm") {
				continue // one that it may mount and one that it may not are enough: each takes seconds
			}
			if c.name == "stranger" && e.Path != "/mnt/bulk/apps-vm" {
				continue
			}
			if out, ok := mount(c.name, c.server, e.Path); ok != want {
				t.Errorf("%s mounts %s: %v, want %v\n%s", c.name, e.Path, ok, want, out)
			}
		}
	}
}

// squash shows whose files a client's root makes.
func squash(t *testing.T) {
	t.Helper()
	for _, c := range []struct{ path, script, want string }{
		{"apps-vm", "touch /c/x 2>/dev/null && echo made || echo refused", "refused"}, // nobody may not write for root
		{"deep/scrypted", "touch /c/x; stat -c %u /c/x", "0"},
		{"public", "touch /c/x; stat -c %u /c/x", "65534"},
	} {
		script := "mkdir -p /c; mount -t nfs4 -o soft,timeo=50 10.77.0.1:/mnt/bulk/" + c.path + " /c; " + c.script + "; umount /c"
		if out, ok := try("lan", script); !ok || out != c.want {
			t.Errorf("%s: %q, %v; want %q", c.path, out, ok, c.want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
