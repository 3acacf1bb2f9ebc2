package nfs

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"hvinstall/configs"
)

// readExports reads an exports file as nfs-utils does (support/nfs/exports.c,
// xgettok): a line is a path and clients, \ooo stands for a byte, # begins a
// comment, and " opens a quoted word.
func readExports(t *testing.T, text string) (paths []string, clients [][]string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		if strings.ContainsAny(line, "#\"\t\v\r") {
			t.Fatalf("a byte that means something stands bare: %q", line)
		}
		words := strings.Split(line, " ")
		path := ""
		for i := 0; i < len(words[0]); i++ {
			if words[0][i] != '\\' {
				path += string(words[0][i : i+1])
				continue
			}
			n, err := strconv.ParseUint(words[0][i+1:i+4], 8, 8)
			if err != nil {
				t.Fatalf("%q: %v", words[0], err)
			}
			path, i = path+string([]byte{byte(n)}), i+3
		}
		paths, clients = append(paths, path), append(clients, words[1:])
	}
	return paths, clients
}

// FuzzExports: whatever a path is called, the file has that path, its one
// client, and no line more.
func FuzzExports(f *testing.F) {
	for _, name := range []string{"a", "a b", "a\n/etc *(rw,no_root_squash)", `a" /etc "`, "a#b", `a\040b`, "a(rw)", "é", "\xff", "a,b='c'", "-", "a\t*(rw)"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		pool := Pool{Name: "bulk", Mountpoint: "/mnt/bulk"}
		plan, refusals := MakePlan(&configs.NFSExports{Exports: []configs.NFSExport{{Path: "/mnt/bulk/" + name, Clients: []string{"10.0.0.0/8"}}}}, []Pool{pool})
		if len(refusals) > 0 {
			return
		}
		paths, clients := readExports(t, plan.exportsText())
		if len(paths) != 1 || paths[0] != plan.Exports[0].Path || len(clients[0]) != 1 || !strings.HasPrefix(clients[0][0], "10.0.0.0/8(rw,sync,no_subtree_check,root_squash,fsid=") {
			t.Errorf("%q was read as %q to %q", plan.Exports[0].Path, paths, clients)
		}
		if strings.ContainsAny(mountUnit("/mnt/"+name), " \n\t\"'%$") {
			t.Errorf("the unit's name %q is not one word", mountUnit("/mnt/"+name))
		}
	})
}

// TestHostileMountUnit holds the unit's names against systemd's own.
func TestHostileMountUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-escape"); err != nil {
		t.Fatal("systemd-escape is missing; apt-get install systemd")
	}
	for _, path := range []string{"/mnt/bulk", "/mnt/a b", "/mnt/a\nb", "/mnt/.hidden", "/.hidden", `/mnt/"a"`, "/mnt/é", "/mnt/a-b", "/mnt/%n$HOME", "/"} {
		out, err := exec.Command("systemd-escape", "--path", "--suffix=mount", "--", path).Output()
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		if want := strings.TrimSuffix(string(out), "\n"); mountUnit(path) != want {
			t.Errorf("mountUnit(%q) = %s, want %s", path, mountUnit(path), want)
		}
	}
}

// TestHostileExports: what lets in more than its clients and its squash tell is
// refused or named.
func TestHostileExports(t *testing.T) {
	pool := Pool{Name: "bulk", Mountpoint: "/mnt/bulk"}
	makes := func(exports ...configs.NFSExport) (Plan, string) {
		plan, refusals := MakePlan(&configs.NFSExports{Exports: exports}, []Pool{pool})
		text := ""
		for _, r := range refusals {
			text += r.What + "\n"
		}
		return plan, text
	}
	for _, c := range []struct {
		export configs.NFSExport
		why    string
	}{
		{configs.NFSExport{Path: "/mnt/bulk/a", Clients: []string{"::ffff:0.0.0.0/96"}}, "written as IPv6"},
		{configs.NFSExport{Path: "/mnt/bulk/a", Clients: []string{"*"}}, "not a network"},
		{configs.NFSExport{Path: "/mnt/bulk/a", Options: []string{"rw", "no_root_squash"}}, "no option that may be given"},
		{configs.NFSExport{Path: "/mnt/bulk/a", Options: []string{"rw) *(rw"}}, "no option that may be given"},
		{configs.NFSExport{Path: "/mnt/bulk/a", Options: []string{"rw,no_root_squash"}}, "no option that may be given"},
		{configs.NFSExport{Path: "/mnt/bulk/../../etc"}, "not below a pool"},
		{configs.NFSExport{Path: "/mnt/bulk"}, "not below a pool"},
		{configs.NFSExport{Path: "/mnt/bulky/a"}, "not below a pool"},
	} {
		if _, why := makes(c.export); !strings.Contains(why, c.why) {
			t.Errorf("%+v: %q, want %q", c.export, why, c.why)
		}
	}
	plan, why := makes(configs.NFSExport{Path: "/mnt/bulk/a", Clients: []string{"10.0.0.0/8"}},
		configs.NFSExport{Path: "/mnt/bulk/a/secret", Clients: []string{"10.0.0.7/32"}, Options: []string{"rw", "anonuid=00"}, Squash: "all_squash"},
		configs.NFSExport{Path: "/mnt/bulk/ab", Clients: []string{"0.0.0.0/0"}})
	if why != "" {
		t.Fatal(why)
	}
	doors := strings.Join(plan.Doors(plan.Exports[1]), "\n")
	for _, want := range []string{"anonuid=00: who is squashed is root in it", "lies in /mnt/bulk/a, which is exported as well: to 10.0.0.0/8"} {
		if !strings.Contains(doors, want) {
			t.Errorf("the doors are %q, want %q", doors, want)
		}
	}
	if len(plan.Doors(plan.Exports[0])) > 0 || len(plan.Doors(plan.Exports[2])) > 0 {
		t.Error("an export that is as it is called has doors")
	}
	if lines := strings.Join(plan.Lines(), "\n"); !strings.Contains(lines, "EVERYONE") || !strings.Contains(lines, "who is squashed is root here") {
		t.Errorf("the lines are\n%s", lines)
	}
}
