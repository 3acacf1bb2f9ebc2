//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
	"hvinstall/testvm/tour"
)

// TestHost installs the machine as a person does, lives with its VMs, and then
// lets things go wrong that go wrong in the life of a hypervisor.
func TestHost(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.CPUs = 2 // the longest of the three that run side by side
	images := filepath.Join(m.Dir, "images")
	if err := spechost.Images(t.Context(), images); err != nil {
		t.Fatal(err)
	}
	scannerIn(t, images)
	m.serve(t, images)
	m.writeLive(t, "", map[string]string{"layout.yaml": spechost.Layout + vmsWithCanaries(t)})

	if !t.Run("tour", func(t *testing.T) { m.tour(t) }) {
		return
	}
	t.Run("the host", func(t *testing.T) {
		c := m.boot(t, 15*time.Minute, m.All()...)
		c.must(c.LogIn(8 * time.Minute))
		c.healthy("vmstore", "bulk")
		c.restsTheAppliance()
		c.isAsTheLayoutWants()
		c.nobodyGetsIn()
		c.keepsSecrets()
		c.bringsAnotherKernel()
		c.powerOff()
	})
	t.Run("the new kernel boots, and can be removed", func(t *testing.T) {
		c := m.boot(t, 15*time.Minute, m.All()...)
		c.must(c.LogIn(8 * time.Minute))
		c.healthy("vmstore", "bulk")
		c.has("the newer entry is the default", "bootctl status --no-pager", "hvinstall-99.1.999-e2e-g1.conf")
		c.run(`rm /boot/vmlinuz-99.1.999-e2e; rm -r /lib/modules/99.1.999-e2e; for hook in /etc/kernel/postrm.d/*; do $hook 99.1.999-e2e /boot/vmlinuz-99.1.999-e2e || exit 1; done`)
		c.hasNot("its entry went", "ls /efi/loader/entries", "99.1.999")
		c.emergencyAsksWho()
		c.powerOff()
	})
	t.Run("a bad day", m.mishaps)
}

// mishaps are boots on a bad day, side by side.
func (m machine) mishaps(t *testing.T) {
	t.Run("without the stick", func(t *testing.T) {
		t.Parallel()
		c := m.try(t, 15*time.Minute, m.All("key")...)
		c.expect(4*time.Minute, `(?i)passphrase`)
		c.must(c.Type(spechost.Passphrase))
		c.must(c.LogIn(12 * time.Minute)) // argon2id, seven times
		c.healthy("vmstore", "bulk")
		c.has("one prompt opened all", "cat /run/hvinstall/boot.json", `"unlocked_by": "the passphrase"`)
		c.hasNot("nobody repeats the passphrase", "journalctl -b --no-pager", spechost.Passphrase)
	})
	t.Run("with a wrong key", func(t *testing.T) {
		t.Parallel()
		c := m.withWrongKey(t).try(t, 15*time.Minute, m.All()...)
		c.expect(4*time.Minute, `the key of stick \S+ opens none of the volumes`)
		c.expect(4*time.Minute, `(?i)passphrase for hypervisor`)
		c.PowerCut() // what the passphrase opens is seen without the stick
	})
	t.Run("renamed, on moved disks", m.movedAndRenamed)
	t.Run("with a bulk disk gone", func(t *testing.T) {
		t.Parallel()
		c := m.try(t, 15*time.Minute, m.All("bulk3")...)
		c.must(c.LogIn(6 * time.Minute))
		c.healthy("vmstore")
		c.hasNot("bulk is left out", "findmnt -no TARGET /mnt/bulk", "/mnt/bulk")
		c.has("and said so", "cat /run/hvinstall/boot.json", "ata-ST2000VN004_BULK2000B")
		c.has("in the journal, too", "journalctl -b --no-pager", "ata-ST2000VN004_BULK2000B")
		c.has("and in status", "hvinstall status", "ata-ST2000VN004_BULK2000B")
		c.has("nothing can be written to its place", "touch /mnt/bulk/x 2>&1; true", "not permitted")
	})
}

// tour is what 'make demo' shows.
func (m machine) tour(t *testing.T) {
	record := filepath.Join(testvm.Root(), "build/testvm/tour")
	if err := os.MkdirAll(record, 0o755); err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(record, "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	show, err := tour.NewShow(said, record)
	if err != nil {
		t.Fatal(err)
	}
	err = tour.Run(t.Context(), m.Machine, show)
	m.Mirror = nil
	t.Logf("\n%s", strings.ReplaceAll(show.Times(), "\r", ""))
	if err != nil {
		t.Fatalf("%v\nwhat was seen is in %s", err, said.Name())
	}
}

// restsTheAppliance changes the layout so that the appliance no longer boots with
// the host: under TCG in TCG that takes half of the time of each boot to come.
func (c console) restsTheAppliance() {
	c.t.Helper()
	c.has("the appliance runs again", "virsh domstate appliance", "running")
	c.run(`sed -i '/name: appliance/a\    running: false\n    autostart: false' /etc/hvinstall/layout.yaml`)
	c.run(watched("hvinstall --plan /etc/hvinstall/layout.yaml --yes"))
	c.has("it does not start by itself", "virsh dominfo appliance", "Autostart:      disable")
	c.run("virsh destroy appliance")
}

// isAsTheLayoutWants looks at the installed host by other programs than ours.
func (c console) isAsTheLayoutWants() {
	c.t.Helper()
	c.has("nothing to do", "hvinstall --plan /etc/hvinstall/layout.yaml", "nothing to do")
	c.has("the stick opened it", "cat /run/hvinstall/boot.json", `"unlocked_by": "stick`)
	c.has("seven volumes", "ls /dev/mapper | grep -c crypt", "7")
	c.has("the mounts' options", "findmnt -no OPTIONS /mnt/vmstore | cat", "subvol=/vmstore")
	c.has("the lease is on br0", "ip -4 -br addr show br0", "192.168.1.")
	c.hasNot("no address is on the NIC", "ip -4 -br addr show enp5s0", "192.168")
	c.has("exports", "exportfs -s", "/mnt/bulk/homeassistant-vm")
	c.has("libvirt by the group", "runuser -u snyssen -- virsh -c qemu:///system list --all", "appliance")
	c.has("language", "locale", "LANG=en_GB.UTF-8")
	c.has("time zone", "timedatectl show -p Timezone --value", "Europe/Brussels")
	c.has("swap", "swapon --noheadings --show=NAME", "/swap/swapfile")
	c.vmsWaitForNoLease()
	c.has("libvirt confines VMs", "cat /sys/kernel/security/apparmor/profiles", "libvirtd (enforce)")
	c.has("the journal is kept", "journalctl --header | grep -m1 'File path'", "/var/log/journal/")
	c.has("the ESP was looked at", "systemctl is-active 'systemd-fsck@*'", "active")
	c.has("scrub timers", "systemctl list-timers --all --no-pager --plain --no-legend --full | cat", "hvinstall-scrub@mnt-vmstore.timer")
	c.has("the plan, for root alone", "stat -c %a-%U /etc/hvinstall/layout.yaml", "600-root")
	c.has("the log of the run", "ls /var/log/hvinstall", ".jsonl")
	c.hasNot("no secret in the logs", "grep -rls '"+spechost.Passphrase+"' /var/log /etc /run", "/")
	c.has("its own SSH keys", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", "root@hypervisor")
	c.has("sshd answers", "ss -Hltn", ":22 ")
	c.has("the firmware's entry", "efibootmgr", "hvinstall")
	c.has("the stick is not mounted", "findmnt -n -t vfat -o TARGET", "/efi")
	c.hasNot("the stick is not mounted", "findmnt -n -t vfat -o SOURCE", "sd")
	c.has("the disks' health", "hvinstall status", "healthy, 50 °C")
	c.has("status without root", "runuser -u snyssen -- hvinstall status; true", "192.168.1.")
	c.has("the layout's secrets are root's", "runuser -u snyssen -- cat /etc/hvinstall/layout.public.yaml", "$y$hvinstall-left-out")
	c.t.Log(c.run("time hvinstall status >/dev/null; systemd-analyze; systemd-analyze blame | head -15"))
}

// vmsWaitForNoLease asks systemd for all that comes before what starts VMs, and
// what shuts them down.
func (c console) vmsWaitForNoLease() {
	c.t.Helper()
	before := c.run(`systemctl show --property=Id,After '*' | awk -v RS= -F '\n' '{ id = after = ""; for (i = 1; i <= NF; i++) { if (sub("^Id=", "", $i)) id = $i; if (sub("^After=", "", $i)) after = $i }; of[id] = after } ` +
		`END { n = split("hvinstall-vms.service libvirtd.service libvirt-guests.service", todo, " "); for (i = 1; i <= n; i++) if (!seen[todo[i]]++) { print todo[i]; m = split(of[todo[i]], more, " "); for (j = 1; j <= m; j++) todo[++n] = more[j] } }'`)
	for unit, want := range map[string]bool{"network.target": true, "nfs-server.service": true, "mnt-vmstore.mount": true, "network-online.target": false} {
		if got := slices.Contains(strings.Fields(before), unit); got != want {
			c.t.Errorf("VMs wait for %s: %v, want %v", unit, got, want)
		}
	}
}

// bringsAnotherKernel does what apt-get does with a new kernel: its files, and
// the hooks.
func (c console) bringsAnotherKernel() {
	c.t.Helper()
	c.run(`old=$(uname -r); new=99.1.999-e2e; cp /boot/vmlinuz-$old /boot/vmlinuz-$new; cp -r /lib/modules/$old /lib/modules/$new; for hook in /etc/kernel/postinst.d/*; do $hook $new /boot/vmlinuz-$new || break; done`)
	c.has("both kernels have entries", "ls /efi/loader/entries", "hvinstall-99.1.999-e2e-g1.conf")
	c.has("both kernels have entries", "ls /efi/loader/entries | wc -l", "2")
}

// emergencyAsksWho ends the host's services, as a mount that fails at boot does:
// its console is for who may become root, by password.
func (c console) emergencyAsksWho() {
	c.t.Helper()
	const user = `user: `
	c.must(c.Type("systemctl emergency"))
	c.must(c.Dialogue(3*time.Minute, `in emergency mode. What did not start`, "",
		user, "root", `Password: `, spechost.Password, `Authentication failure`, "",
		user, "nobody", `Password: `, spechost.Password, `Authentication failure`, "",
		user, spechost.User, `Password: `, "letmeout", `Authentication failure`, "",
		user, spechost.User, `Password: `, spechost.Password, `root@hypervisor:.*# `, ""))
	c.must(c.Settle())
	c.has("root's shell", "id -u; systemctl is-active emergency.target", "0\nactive")
}

// withWrongKey is the machine with another key stick, like its own but for what
// the key file holds.
func (m machine) withWrongKey(t *testing.T) machine {
	t.Helper()
	wrong := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(wrong, []byte(strings.Repeat("not the key ", 400)), 0o600); err != nil {
		t.Fatal(err)
	}
	other := *m.Machine
	other.Drives = slices.Clone(m.Drives)
	stick := other.Drive("key")
	right := stick.Path
	stick.Path = filepath.Join(t.TempDir(), "stick.img")
	for _, argv := range [][]string{
		{"cp", "--sparse=always", right, stick.Path},
		{"mcopy", "-o", "-i", stick.Path + "@@1M", wrong, "::/hypervisor"},
	} {
		if _, err := testvm.Command(t.Context(), argv...); err != nil {
			t.Fatal(err)
		}
	}
	return machine{&other}
}
