package nfs

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hvinstall/configs"

	"github.com/google/go-cmp/cmp"
)

var bulk = Pool{Name: "bulk", Mountpoint: "/mnt/bulk", UUID: "7a1f0c52-77f5-4c1c-9d4e-0f6a3b8a1c11"}

// spec is the exports of the specification.
func spec() *configs.NFSExports {
	return &configs.NFSExports{LanCIDR: "192.168.1.0/24", Exports: []configs.NFSExport{
		{Path: "/mnt/bulk/apps-vm"},
		{Path: "/mnt/bulk/homeassistant-vm", Clients: []string{"192.168.1.0/24", "100.64.0.0/10"}},
		{Path: "/mnt/bulk/scrypted", Clients: []string{"fd00::/64", "192.168.1.0/24"}, Squash: "no_root_squash"},
	}}
}

func TestExportsFile(t *testing.T) {
	plan, refusals := MakePlan(spec(), []Pool{{Name: "vmstore", Mountpoint: "/mnt/vmstore"}, bulk})
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	id := func(i int) string { return plan.Exports[i].FSID }
	want := header +
		"/mnt/bulk/apps-vm 192.168.1.0/24(rw,sync,no_subtree_check,root_squash,fsid=" + id(0) + ",mountpoint=/mnt/bulk)\n" +
		"/mnt/bulk/homeassistant-vm 192.168.1.0/24(rw,sync,no_subtree_check,root_squash,fsid=" + id(1) + ",mountpoint=/mnt/bulk)" +
		" 100.64.0.0/10(rw,sync,no_subtree_check,root_squash,fsid=" + id(1) + ",mountpoint=/mnt/bulk)\n" +
		"/mnt/bulk/scrypted fd00::/64(rw,sync,no_subtree_check,no_root_squash,fsid=" + id(2) + ",mountpoint=/mnt/bulk)" +
		" 192.168.1.0/24(rw,sync,no_subtree_check,no_root_squash,fsid=" + id(2) + ",mountpoint=/mnt/bulk)\n"
	if diff := cmp.Diff(want, plan.exportsText()); diff != "" {
		t.Error(diff)
	}
	// The clients' mounts hang on this number: it may never change.
	if id(0) != "f04879ec-e0a9-5869-8fd7-1d1669ec5c5e" {
		t.Errorf("fsid = %s, want the one that it always was", id(0))
	}
	again, _ := MakePlan(spec(), []Pool{bulk})
	if id(0) != again.Exports[0].FSID || id(0) == id(1) {
		t.Errorf("fsid %s, then %s; another export has %s", id(0), again.Exports[0].FSID, id(1))
	}
}

func TestMakePlanRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		export configs.NFSExport
		says   string
	}{
		{"outside the pools", configs.NFSExport{Path: "/srv/x"}, "not below a pool's mount point"},
		{"the pool itself", configs.NFSExport{Path: "/mnt/bulk"}, "not below a pool's mount point"},
		{"a neighbour by prefix", configs.NFSExport{Path: "/mnt/bulkier/x"}, "not below"},
		{"out by dots", configs.NFSExport{Path: "/mnt/bulk/../../etc"}, "not below"},
		{"a client that is a name", configs.NFSExport{Path: "/mnt/bulk/x", Clients: []string{"*"}}, `client "*" is not a network`},
		{"a client with options", configs.NFSExport{Path: "/mnt/bulk/x", Clients: []string{"10.0.0.0/8(rw) *"}}, "is not a network"},
		{"an option that ends the list", configs.NFSExport{Path: "/mnt/bulk/x", Options: []string{"rw) *(rw"}}, "no option"},
		{"squash as an option", configs.NFSExport{Path: "/mnt/bulk/x", Options: []string{"no_root_squash"}}, "no option"},
		{"fsid", configs.NFSExport{Path: "/mnt/bulk/x", Options: []string{"fsid=0"}}, "no option"},
		{"two options in one", configs.NFSExport{Path: "/mnt/bulk/x", Options: []string{"rw,no_root_squash"}}, "no option"},
		{"squash", configs.NFSExport{Path: "/mnt/bulk/x", Squash: "none"}, "not known"},
		{"mode", configs.NFSExport{Path: "/mnt/bulk/x", Mode: "rwx"}, "not octal"},
	} {
		plan, refusals := MakePlan(&configs.NFSExports{Exports: []configs.NFSExport{c.export}}, []Pool{bulk})
		if len(refusals) != 1 || len(plan.Exports) != 0 || !strings.Contains(refusals[0].Error(), c.says) {
			t.Errorf("%s: refusals %v, want one saying %q", c.name, refusals, c.says)
		}
	}
	twice := &configs.NFSExports{Exports: []configs.NFSExport{{Path: "/mnt/bulk/x"}, {Path: "/mnt/bulk//x/"}}}
	if _, refusals := MakePlan(twice, []Pool{bulk}); len(refusals) != 1 {
		t.Errorf("twice: refusals %v, want one", refusals)
	}
}

func TestLines(t *testing.T) {
	plan, _ := MakePlan(spec(), []Pool{bulk})
	want := []string{
		"/mnt/bulk/apps-vm           to 192.168.1.0/24",
		"                            rw,sync,no_subtree_check; root_squash: a client's root is nobody here",
		"/mnt/bulk/homeassistant-vm  to 192.168.1.0/24, 100.64.0.0/10",
		"                            rw,sync,no_subtree_check; root_squash: a client's root is nobody here",
		"/mnt/bulk/scrypted          to fd00::/64, 192.168.1.0/24",
		"                            rw,sync,no_subtree_check; no_root_squash: a client's root is root here",
	}
	if diff := cmp.Diff(want, plan.Lines()); diff != "" {
		t.Error(diff)
	}
}

func TestEscape(t *testing.T) {
	for path, want := range map[string]string{
		"/mnt/bulk/apps-vm": "/mnt/bulk/apps-vm",
		"/mnt/a b":          `/mnt/a\040b`,
		"/mnt/a#\"\\":       `/mnt/a\043\042\134`,
		"/mnt/é":            `/mnt/\303\251`,
	} {
		if got := escape(path); got != want {
			t.Errorf("escape(%q) = %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{"/mnt/bulk": "mnt-bulk.mount", "/mnt/my-pool": `mnt-my\x2dpool.mount`, "/": "-.mount", "/mnt/a b": `mnt-a\x20b.mount`} {
		if got := mountUnit(path); got != want {
			t.Errorf("mountUnit(%q) = %s, want %s", path, got, want)
		}
	}
}

func TestWidest(t *testing.T) {
	var in []netip.Prefix
	for _, s := range []string{"192.168.1.7/32", "10.0.0.0/8", "192.168.1.0/24", "10.2.0.0/16", "192.168.1.0/24"} {
		in = append(in, netip.MustParsePrefix(s))
	}
	var got []string
	for _, p := range widest(in) {
		got = append(got, p.String())
	}
	if diff := cmp.Diff([]string{"10.0.0.0/8", "192.168.1.0/24"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNothingIsMadeWithoutThePool(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "mnt/bulk"), 0o755); err != nil {
		t.Fatal(err)
	}
	plan, _ := MakePlan(spec(), []Pool{bulk})
	_, _, err := plan.Exports[0].open(root, true, 0, 0)
	var missing *NotMounted
	if !errors.As(err, &missing) {
		t.Errorf("error %v, want NotMounted", err)
	}
	if _, err := os.Stat(filepath.Join(root, "mnt/bulk/apps-vm")); err == nil {
		t.Error("the directory was made on the bare mount point")
	}
	if why, err := plan.Exports[0].differs(root); err != nil || !strings.Contains(why, "nothing is mounted there") {
		t.Errorf("a look says %q, %v", why, err)
	}
}

func TestOwnersAreTheTargets(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"passwd": "root:x:0:0::/:/bin/sh\napps:x:4711:4712::/:/bin/sh\n", "group": "root:x:0:\nmedia:x:4713:apps\n"} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		owner, group string
		uid, gid     int
		says         string
	}{
		{"apps", "media", 4711, 4713, ""},
		{"1000", "root", 1000, 0, ""},
		{"nobody-here", "root", 0, 0, `no user "nobody-here"`},
		{"root", "apps", 0, 0, `no group "apps"`},
	} {
		uid, gid, err := Export{Path: "/x", Owner: c.owner, Group: c.group}.owner(root)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s:%s: error %v, want %q", c.owner, c.group, err, c.says)
			}
			continue
		}
		if err != nil || uid != c.uid || gid != c.gid {
			t.Errorf("%s:%s = %d:%d, %v; want %d:%d", c.owner, c.group, uid, gid, err, c.uid, c.gid)
		}
	}
}

// TestEveryoneIsNamed: a network that is no network is not shown as one.
func TestEveryoneIsNamed(t *testing.T) {
	for client, want := range map[string]string{
		"0.0.0.0/0": "EVERYONE", "::/0": "EVERYONE", "0.0.0.0/1": "LARGE PART", "2000::/3": "LARGE PART", "64.0.0.0/2": "LARGE PART",
		"10.0.0.0/8": "", "192.168.1.0/24": "", "100.64.0.0/10": "", "fd00::/8": "", "2a02:1234::/32": "", "203.0.113.7/32": "",
	} {
		got := Export{Clients: []string{client}}.ClientsInWords()[0]
		if !strings.HasPrefix(got, client) || !strings.Contains(got, want) || (want == "") != (got == client) {
			t.Errorf("%s is shown as %q, want %q in it", client, got, want)
		}
	}
}
