//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
)

// unattended is what a person adds to the kernel's command line.
const unattended = "hvinstall.plan=layout.yaml hvinstall.yes hvinstall.passphrase_file=secret.txt hvinstall.then=poweroff"

// TestInstall installs the machine unattended, boots it from its own disk, and
// then lets things go wrong that go wrong in the life of a hypervisor.
func TestInstall(t *testing.T) {
	m := newMachine(t)
	m.writeLive(t, unattended, map[string]string{"layout.yaml": layout, "secret.txt": passphrase + "\n"})

	t.Run("install", func(t *testing.T) {
		vm := m.boot(t, 25*time.Minute, append(m.everything(), "live")...)
		expect(t, vm, 6*time.Minute, `unattended installation by the kernel's command line`)
		expectDone(t, vm, 15*time.Minute)
		if err := vm.Wait(slow(3 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		if said := vm.Transcript(); strings.Contains(said, passphrase) {
			t.Error("the passphrase is on the console")
		}
	})
	if t.Failed() {
		return
	}

	t.Run("boot", func(t *testing.T) {
		vm := m.boot(t, 15*time.Minute, m.everything()...)
		root := login(t, vm)
		root.healthy("vmstore", "bulk")
		root.has("the stick opened it", "cat /run/hvinstall/boot.json", `"unlocked_by": "stick`)
		root.has("seven volumes", "ls /dev/mapper | grep -c crypt", "7")
		root.has("the mounts' options", "findmnt -no OPTIONS /mnt/vmstore | cat", "subvol=/vmstore")
		root.has("the lease is on br0", "ip -4 -br addr show br0", "192.168.1.")
		root.hasNot("no address is on the NIC", "ip -4 -br addr show enp5s0", "192.168")
		root.has("exports", "exportfs -s", "/mnt/bulk/homeassistant-vm")
		root.has("libvirt by the group", "runuser -u snyssen -- virsh -c qemu:///system list --all", "Name")
		root.has("language", "locale", "LANG=en_GB.UTF-8")
		root.has("time zone", "timedatectl show -p Timezone --value", "Europe/Brussels")
		root.has("swap", "swapon --noheadings --show=NAME", "/swap/swapfile")
		root.has("scrub timers", "systemctl list-timers --all --no-pager --plain --no-legend --full | cat", "hvinstall-scrub@mnt-vmstore.timer")
		root.has("the plan, for root alone", "stat -c %a-%U /etc/hvinstall/layout.yaml", "600-root")
		root.has("the log of the run", "ls /var/log/hvinstall", ".")
		root.has("its own SSH keys", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", "root@hypervisor")
		root.has("sshd answers", "ss -Hltn", ":22 ")
		root.has("the firmware's entry", "efibootmgr", "hvinstall")
		root.has("the stick is not mounted", "findmnt -n -t vfat -o TARGET", "/efi")
		root.hasNot("the stick is not mounted", "findmnt -n -t vfat -o SOURCE", "sd")
		t.Log(root.run("systemd-analyze; systemd-analyze blame | head -15"))

		// A second run of the same plan has nothing to do.
		root.has("nothing to do", "hvinstall --plan /etc/hvinstall/layout.yaml; echo code $?", "code 0")

		// A kernel that apt-get would bring: another version, by the hooks.
		root.run(`old=$(uname -r); new=6.1.999-e2e; cp /boot/vmlinuz-$old /boot/vmlinuz-$new; cp -r /lib/modules/$old /lib/modules/$new; for hook in /etc/kernel/postinst.d/*; do $hook $new /boot/vmlinuz-$new || exit 1; done`)
		root.has("both kernels have entries", "ls /efi/loader/entries", "hvinstall-6.1.999-e2e-g1.conf")
		root.has("both kernels have entries", "ls /efi/loader/entries | wc -l", "2")
		root.powerOff()
	})

	t.Run("the new kernel boots, and can be removed", func(t *testing.T) {
		vm := m.boot(t, 15*time.Minute, m.everything()...)
		root := login(t, vm)
		root.healthy("vmstore", "bulk")
		root.has("the newer entry is the default", "bootctl status --no-pager", "hvinstall-6.1.999-e2e-g1.conf")
		root.run(`rm /boot/vmlinuz-6.1.999-e2e; rm -r /lib/modules/6.1.999-e2e; for hook in /etc/kernel/postrm.d/*; do $hook 6.1.999-e2e /boot/vmlinuz-6.1.999-e2e || exit 1; done`)
		root.hasNot("its entry went", "ls /efi/loader/entries", "6.1.999")
		root.powerOff()
	})

	t.Run("without the stick", func(t *testing.T) {
		vm := m.try(t, 15*time.Minute, m.everything("key")...)
		expect(t, vm, 4*time.Minute, `(?i)passphrase`)
		if err := vm.Send(passphrase + "\n"); err != nil {
			t.Fatal(err)
		}
		root := login(t, vm)
		root.healthy("vmstore", "bulk")
		root.has("one prompt opened all", "cat /run/hvinstall/boot.json", `"unlocked_by": "passphrase"`)
	})

	t.Run("with a wrong key", func(t *testing.T) {
		wrong := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(wrong, []byte(strings.Repeat("not the key ", 400)), 0o600); err != nil {
			t.Fatal(err)
		}
		i := len(m.drives) - 1
		key := m.drives[i]
		defer func() { m.drives[i] = key }()
		m.drives[i].Path = filepath.Join(t.TempDir(), "stick.img")
		command(t, "cp", "--sparse=always", key.Path, m.drives[i].Path)
		command(t, "mcopy", "-o", "-i", m.drives[i].Path+"@@1M", wrong, "::/hypervisor")
		vm := m.try(t, 15*time.Minute, m.everything()...)
		expect(t, vm, 4*time.Minute, `(?i)passphrase`)
		if err := vm.Send(passphrase + "\n"); err != nil {
			t.Fatal(err)
		}
		login(t, vm).healthy("vmstore", "bulk")
	})

	t.Run("with a bulk disk gone", func(t *testing.T) {
		vm := m.try(t, 15*time.Minute, m.everything("bulk3")...)
		root := login(t, vm)
		root.healthy("vmstore")
		root.hasNot("bulk is left out", "findmnt -no TARGET /mnt/bulk", "/mnt/bulk")
		root.has("and said so", "cat /run/hvinstall/boot.json", "ata-ST2000VN004_BULK2000B")
		root.has("nothing can be written to its place", "touch /mnt/bulk/x 2>&1; true", "not permitted")
	})
}

// expectDone waits for the end of an unattended installation. One that fails
// says so above the shell.
func expectDone(t *testing.T, vm *testvm.VM, timeout time.Duration) {
	t.Helper()
	if match := expect(t, vm, timeout, `Done: poweroff|The unattended installation did not go through`); match[0] != "Done: poweroff" {
		t.Fatalf("the installation failed:\n%s", vm.Tail(80))
	}
}

// console is a root shell on the host's console.
type console struct {
	t  *testing.T
	vm *testvm.VM
}

// login logs in as the user of the layout and becomes root.
func login(t *testing.T, vm *testvm.VM) console {
	t.Helper()
	say := func(text string) {
		t.Helper()
		if err := vm.Send(text + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, vm, 6*time.Minute, `hypervisor login: `)
	say("snyssen")
	expect(t, vm, time.Minute, `Password: `)
	say("letmein")
	expect(t, vm, 2*time.Minute, `snyssen@hypervisor:~\$ `)
	say("sudo -i")
	expect(t, vm, time.Minute, `password for snyssen: `)
	say("letmein")
	expect(t, vm, time.Minute, `root@hypervisor:~# `)
	say("stty -echo; bind 'set enable-bracketed-paste off'; PS1=; export SYSTEMD_PAGER= SYSTEMD_COLORS=0")
	return console{t, vm}
}

// run runs a command that must succeed.
func (c console) run(script string) string {
	c.t.Helper()
	out, code := shell(c.t, c.vm, 6*time.Minute, script)
	if code != 0 {
		c.t.Errorf("%s: exit code %d\n%s", script, code, out)
	}
	return out
}

func (c console) has(what, script, want string) {
	c.t.Helper()
	if out, _ := shell(c.t, c.vm, 6*time.Minute, script); !strings.Contains(out, want) {
		c.t.Errorf("%s: %s prints\n%s\nwithout %q", what, script, out, want)
	}
}

func (c console) hasNot(what, script, unwanted string) {
	c.t.Helper()
	if out, _ := shell(c.t, c.vm, 6*time.Minute, script); strings.Contains(out, unwanted) {
		c.t.Errorf("%s: %s prints\n%s\nwith %q", what, script, out, unwanted)
	}
}

// healthy is a host that is up, with these pools mounted.
func (c console) healthy(pools ...string) {
	c.t.Helper()
	if state, _ := shell(c.t, c.vm, 8*time.Minute, "systemctl is-system-running --wait"); strings.TrimSpace(state) != "running" {
		out, _ := shell(c.t, c.vm, time.Minute, "systemctl --failed --no-legend --plain; systemctl list-jobs; for u in $(systemctl --failed --no-legend --plain | cut -d' ' -f1); do journalctl -b --no-pager -n 15 -u $u; done")
		c.t.Errorf("the system is %s:\n%s", strings.TrimSpace(state), out)
	}
	for _, pool := range pools {
		c.has(pool+" is mounted", "findmnt -no FSTYPE,TARGET /mnt/"+pool, "btrfs")
	}
}

func (c console) powerOff() {
	c.t.Helper()
	if err := c.vm.Send("systemctl poweroff\n"); err != nil {
		c.t.Fatal(err)
	}
	if err := c.vm.Wait(slow(3 * time.Minute)); err != nil {
		c.t.Fatal(err)
	}
}
