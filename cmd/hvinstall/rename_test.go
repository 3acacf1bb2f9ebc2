package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hvinstall/disk"
	"hvinstall/install"
	"hvinstall/step"
)

const renameCases = "../../testdata/cases/rename"

// TestRenamedIsNotForeign: a host renamed, a disk whose model string changed,
// a disk left out or in another pool's place are known for what they carry, and
// no word of the preview advises to erase them.
func TestRenamedIsNotForeign(t *testing.T) {
	installed := filepath.Join(machines, "hypervisor-installed.json")
	first := filepath.Join(machines, "hypervisor-first-round.json")
	changed := filepath.Join(renameCases, "model-changed.json")
	lost := filepath.Join(machines, "header-lost-moved.json")
	labelled := filepath.Join(machines, "label-changed.json")
	example, err := os.ReadFile(exampleOfSpec)
	if err != nil {
		t.Fatal(err)
	}
	const (
		ssd = "nvme-WDC_WDS100T2B0C-00PXH0_20473A800123, size: 1TB"
		hdd = "ata-ST2000VN004-2E4164_Z523C4D5, size: 2TB"
		usb = "usb-JMicron_Tech_DD56419883891-0:0"

		usbKey = "usb-SanDisk_Ultra_4C530001230101117392-0:0"
	)
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(string(example)) }
	layoutOf := func(name string) string {
		text, err := os.ReadFile(filepath.Join(renameCases, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, c := range []struct {
		name, layout, facts string
		code                int
		says                []string
	}{
		{
			"hostname changed", layoutOf("hostname-changed.yaml"), installed, exitDone,
			[]string{"was hypervisor, is hv1 from the next boot on", "8 disks: 8 kept"},
		},
		{
			"hostname changed, host of the first round", layoutOf("hostname-changed.yaml"), first, exitDone,
			[]string{"was hypervisor, is hv1 from the next boot on", "8 disks: 8 kept"},
		},
		{
			"another seed on a running host", edit("hostname: hypervisor", "hostname: hypervisor\nseed: other"), installed, exitRefused,
			[]string{"this host's disks were made from the seed hypervisor-", "REFUSED: 1 reason."},
		},
		{
			"hostname changed, seed kept", edit("hostname: hypervisor", "hostname: hv1\nseed: hypervisor"), first, exitDone,
			[]string{"8 disks: 8 kept"},
		},
		{"model changed", layoutOf("model-changed.yaml"), changed, exitDone, []string{"8 disks: 8 kept"}},
		{
			"model changed, line kept", string(example), changed, exitDone,
			[]string{
				"was nvme-Samsung_SSD_970_EVO_1TB_S467NX0M801234B, is nvme-Samsung_SSD_970_EVO_Plus_1TB_S467NX0M801234B now",
				"Change the line in the layout to /dev/disk/by-id/nvme-Samsung_SSD_970_EVO_Plus_1TB_S467NX0M801234B", "8 disks: 8 kept",
			},
		},
		{
			"header lost and moved, line kept", string(example), lost, exitDone,
			[]string{usb + " held crypt-bulk-2 once, and its LUKS header is gone", "bring the header back from its backup (docs/recovery.md) and change this line"},
		},
		{
			"header lost and moved", edit(hdd, usb), lost, exitRefused,
			[]string{"partition 1 held the volume crypt-bulk-2 once, and its LUKS header is gone", "REFUSED: 1 reason."},
		},
		{
			"label changed and moved", edit(hdd, usb), labelled, exitRefused,
			[]string{"carries the volume crypt-bulk-2, number 2 of the pool bulk, and its mark says crypt-bulk-2 and its label mydata", "REFUSED: 1 reason."},
		},
		{"label changed and moved, line kept", string(example), labelled, exitRefused, []string{usb, "crypt-bulk-2"}},
		{
			"the copy named, the original in", edit("nvme-Samsung_SSD_970_EVO_1TB_S467NX0M801234B", "nvme-Samsung_SSD_980_PRO_1TB_S5Y1NJ0R998877C"),
			filepath.Join(machines, "cloned.json"), exitRefused, []string{"are copies of each other", "REFUSED: 1 reason."},
		},
		{
			"the key stick in a pool's place", edit(hdd, usbKey+", media: hdd", "  usb_keys:\n", "  usb_keys: []\n", "    - {disk: /dev/disk/by-id/"+usbKey+"}\n", ""), installed, exitRefused,
			[]string{"it is a key stick of this host, and opens its volumes"},
		},
		{
			"pool shrunk", layoutOf("pool-shrunk.yaml"), installed, exitRefused,
			[]string{"the layout leaves out nvme-KINGSTON_SA2000M8500G_50026B7683A1B2C3", "REFUSED: 1 reason."},
		},
		{
			"two disks swapped", edit(ssd, hdd, hdd, ssd), installed, exitRefused,
			[]string{"below pools.vmstore.disks", "below pools.bulk.disks"},
		},
		{
			"pool renamed", edit("  vmstore:\n", "  fast:\n"), installed, exitRefused,
			[]string{"the volume crypt-vmstore-1, number 1 of 3 of the pool vmstore, of this host", "give it its name back"},
		},
		{
			"esp_size changed", edit("esp_size: 1GiB", "esp_size: 2GiB"), installed, exitRefused,
			[]string{"the EFI partition of the system disk has 1 GiB, and the layout says 2GiB", "say esp_size: 1GiB again", "REFUSED: 1 reason."},
		},
		{
			"swap_size changed", edit("swap_size: 8GiB", "swap_size: 16GiB"), installed, exitDone,
			[]string{"16 GiB in /swap/swapfile, which has 8 GiB and is made anew", "8 disks: 8 kept"},
		},
		{
			"swap_size left out", edit("  swap_size: 8GiB", "  # swap_size: 8GiB"), installed, exitDone,
			[]string{"the swapfile /swap/swapfile (8 GiB) stays where it is, and is not used from the next boot on"},
		},
		{
			"the pool's mountpoint changed", edit("mountpoint: /mnt/vmstore", "mountpoint: /srv/vmstore", "dest: /mnt/vmstore", "dest: /srv/vmstore", "root: /mnt/vmstore", "root: /srv/vmstore"), installed, exitRefused,
			[]string{"the pool vmstore is mounted at /mnt/vmstore, and the layout says /srv/vmstore", "say mountpoint: /mnt/vmstore again: the VMs haos, testvm would not find their files", "REFUSED: 1 reason."},
		},
		{
			"the exports' pool moved", edit("storage_media: hdd", "storage_media: hdd\n    mountpoint: /srv/bulk", "path: /mnt/bulk", "path: /srv/bulk"), installed, exitRefused,
			[]string{"the exports /srv/bulk/apps-vm, /srv/bulk/homeassistant-vm, /srv/bulk/scrypted would not find their files", "REFUSED: 1 reason."},
		},
		{
			"another subvolume at /home", edit("home: /home", "data: /home"), installed, exitRefused,
			[]string{"at /home is the subvolume home, and the layout says data", "say 'home: /home' again, and give data another place", "REFUSED: 1 reason."},
		},
		{
			"/home left out", edit(", home: /home", ""), installed, exitRefused,
			[]string{"the layout leaves out the subvolume home, which is mounted at /home", "say 'home: /home' again", "REFUSED: 1 reason."},
		},
		{
			"a subvolume elsewhere", edit("home: /home", "home: /users"), installed, exitRefused,
			[]string{"the subvolume home is mounted at /home, and the layout says /users", "REFUSED: 1 reason."},
		},
		{"a subvolume more", edit("home: /home", "home: /home, srv: /srv"), installed, exitDone, []string{"8 disks: 8 kept"}},
		{
			"the bridge renamed", edit("bridge: br0", "bridge: lan0"), installed, exitRefused,
			[]string{"write bridge: br0 in the layout", "REFUSED: 1 reason."},
		},
		{
			"media insisted", edit("size: 4TB}", "size: 4TB, media: ssd}", "size: 2TB}", "size: 2TB, media: ssd}", "storage_media: hdd", "storage_media: ssd"),
			filepath.Join(machines, "hypervisor-blank.json"), exitDone,
			[]string{"taken for an SSD as the layout says, the kernel says that it rotates"},
		},
		{
			"the VMs' pool dropped", regexp.MustCompile(`(?s)\n  vmstore:\n.*?(\n  bulk:\n)`).ReplaceAllString(string(example), "$1"), installed, exitRefused,
			[]string{"the VMs haos, testvm would not find their files", "REFUSED: 1 reason."},
		},
		{
			"a pool dropped with its exports", withoutPool(string(example)), installed, exitDone,
			[]string{"the pool bulk is not in the layout: its disks (ata-ST4000VN008-2DR166_ZGY0A1B2,", "nothing on them is erased"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := filepath.Join(t.TempDir(), "layout.yaml")
			if err := os.WriteFile(plan, []byte(c.layout), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			code := run(t.Context(), terminal{strings.NewReader(""), &out, &errs}, []string{"--plan", plan, "--facts", c.facts, "--dry-run"})
			if code != c.code {
				t.Errorf("exit code = %d, want %d:\n%s%s", code, c.code, &out, &errs)
			}
			text := strings.Join(strings.Fields(out.String()+errs.String()), " ")
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("the preview does not say %q:\n%s%s", want, &out, &errs)
				}
			}
			if strings.Contains(text, "--erase") {
				t.Errorf("the preview advises --erase:\n%s%s", &out, &errs)
			}
		})
	}
}

// withoutPool is the example's layout without the pool bulk and what it serves.
func withoutPool(layout string) string {
	cut := func(from, to string) {
		before, rest, _ := strings.Cut(layout, from)
		_, after, _ := strings.Cut(rest, to)
		layout = before + to + after
	}
	cut("  bulk:\n", "# All of these disks")
	cut("nfs_exports:\n", "locale:")
	return layout
}

// TestOwnVolumeIsNeverErased: --erase is no consent for a volume that the
// running host has open, whatever place the layout gives its disk.
func TestOwnVolumeIsNeverErased(t *testing.T) {
	plan := planOf(t, "hypervisor-installed")
	in := install.Input{Layout: plan.Layout, Facts: plan.Facts}
	in.Layout.Pools[0].Name = "fast"
	for _, ref := range in.Layout.Pools[0].Disks {
		in.Erase = append(in.Erase, ref.ID)
	}
	for _, d := range install.Make(in).Disk.Disks {
		if d.Pool == "fast" && d.Fate != disk.Refuse {
			t.Errorf("%s: %s, want refuse", d.ID, d.Fate)
		}
	}
}

// TestRestGoesOn: with one disk of a pool missing, or the key stick taken out,
// the running host's plan is not refused; nothing of the pool is touched, and
// what does not need it has its steps.
func TestRestGoesOn(t *testing.T) {
	has := func(plan install.Plan, id string) bool {
		steps, err := plan.Steps(install.Env{})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(steps, func(s step.Step) bool { return strings.HasPrefix(s.ID, id) })
	}
	plan := planOf(t, "member-missing")
	if len(plan.Refusals) > 0 || len(plan.Waits) != 2 {
		t.Fatalf("refusals %v, waits %v; want none and 2", plan.Refusals, plan.Waits)
	}
	for id, want := range map[string]bool{
		"disk/btrfs/bulk": false, "disk/mount/mnt/bulk": false, "disk/join/": false, "disk/table/bulk-2": false, "crypt/format/crypt-bulk-2": false, "os/boot": false, "os/users": true, "os/plan": true,
		"disk/btrfs/vmstore": true, "nfs/directory/mnt/bulk/apps-vm": true, "nfs/exports": true, "vm": true,
	} {
		if got := has(plan, id); got != want {
			t.Errorf("steps %s: %v, want %v", id, got, want)
		}
	}
	if text := plan.Waits[0].Hint; strings.Contains(text, "DataTraveler") {
		t.Errorf("a stick of 4 GB is suggested for a disk of 2 TB: %s", text)
	}

	whole := planOf(t, "hypervisor-installed")
	facts := whole.Facts
	facts.Disks.Disks = slices.DeleteFunc(slices.Clone(facts.Disks.Disks), func(d disk.Disk) bool { return d.Transport == "usb" })
	plan = install.Make(install.Input{Layout: whole.Layout, Facts: facts})
	if len(plan.Refusals) > 0 || len(plan.Waits) != 1 || plan.Crypt.Keys[0].FSUUID != whole.Crypt.Keys[0].FSUUID || plan.Crypt.Keys[0].Format {
		t.Errorf("without the stick: refusals %v, waits %v, keys %+v", plan.Refusals, plan.Waits, plan.Crypt.Keys)
	}
	if !has(plan, "os/") || has(plan, "disk/vfat/key") {
		t.Error("without the stick the system's steps are not there, or the stick's are")
	}
}

// TestFoldedPreview: on a host that stands, what the steps find as it should be
// takes one line, what changes is shown whole, and --all shows everything.
func TestFoldedPreview(t *testing.T) {
	plan := planOf(t, "hypervisor-installed")
	show := func(p preview) string {
		var out bytes.Buffer
		p.plan, p.width = plan, 100
		p.write(&out, func(w io.Writer) { _, _ = io.WriteString(w, "\nTO DO\n") })
		return out.String()
	}
	settled := show(preview{looked: true})
	changed := show(preview{looked: true, todo: []string{"nfs/exports", "os/users"}})
	all := show(preview{looked: true, style: style{all: true}})
	for text, want := range map[string]map[string]bool{
		settled: {"8 disks, as they should be": true, "to 192.168.1.0/24": false, "users ": false},
		changed: {"8 disks, as they should be": true, "to 192.168.1.0/24": true, "users ": true},
		all:     {"kept as it is": true, "to 192.168.1.0/24": true, "users ": true},
	} {
		for words, there := range want {
			if strings.Contains(text, words) != there {
				t.Errorf("%q: %v, want %v in:\n%s", words, !there, there, text)
			}
		}
	}
	if strings.Index(settled, "TO DO") > strings.Index(settled, "DISKS") {
		t.Errorf("the changes do not come first:\n%s", settled)
	}
}
