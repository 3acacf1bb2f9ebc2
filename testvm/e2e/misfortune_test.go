//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
)

// TestBadLuck installs the machine at the live system's console on a bad day.
// Each misfortune ends with one clear answer; nothing that the layout does not
// name is touched; and in the end the same command installs the host.
func TestBadLuck(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	photos := m.addPhotos(t)
	m.Drives = append(m.Drives, testvm.Drive{ID: "wrong", Model: testvm.USB, Serial: "WRONG01", Size: 4e9, Path: filepath.Join(m.Dir, "wrong.img")})
	server := m.serve(t, filepath.Join(testvm.Root(), "build/os-image"))
	m.writeLive(t, "", map[string]string{"draft.yaml": fromServer(t)})

	t.Run("the first day", func(t *testing.T) {
		m.Drive("key").Later = true
		defer func() { m.Drive("key").Later = false }()
		c := m.boot(t, 40*time.Minute, append(m.All(), spechost.LiveStick)...)
		c.must(c.Live(8 * time.Minute))
		c.liveSystem()
		c.run("cp /run/hvinstall/live/draft.yaml layout.yaml; (umask 077; echo '" + spechost.Passphrase + "' >pass)")

		c.wrongStick()
		c.plugKey()
		c.diskWithData()
		c.ctrlCAtTheQuestions()
		server.Pace(4 << 20)
		c.secondStart()
		c.cableOut(server)
		c.serverDies(server)
		c.ctrlCInTheMiddle()
		c.hasNot("nobody repeats the passphrase", "journalctl -b --no-pager; cat first.log /run/hvinstall/log/*", spechost.Passphrase)
		c.PowerCut()
	})
	t.Run("the second day", func(t *testing.T) {
		c := m.boot(t, 40*time.Minute, append(m.All("wrong"), spechost.LiveStick)...)
		c.expect(8*time.Minute, `layout    /run/hvinstall/live/layout.yaml, valid`)
		c.expect(time.Minute, `begun     hypervisor, at .*, and did not come to its end`)
		c.expect(time.Minute, `root@hvinstall:~# `)
		c.must(c.Settle())
		c.has("the layout on the stick, without the password's hash", "grep -c hvinstall-left-out-1 /run/hvinstall/live/layout.yaml; grep -c e2e /run/hvinstall/live/layout.yaml*; true", "1\n0")
		c.must(c.Type("hvinstall --plan /run/hvinstall/live/layout.yaml"))
		c.must(c.Dialogue(3*time.Minute, `password_hash of snyssen: `, spechost.Password, `the same once more: `, spechost.Password))
		c.must(c.Dialogue(3*time.Minute, `TO DO: \d+ of \d+ steps`, "", `Type yes to go on: `, "yes"))
		out, code, err := c.Result(15 * time.Minute)
		c.must(err)
		if code != 0 || !strings.Contains(out, "hypervisor is installed") {
			t.Fatalf("exit code %d:\n%s", code, out)
		}
		c.has("the log and the times in the installed system", "ls /mnt/target/var/log/hvinstall", ".txt")
		c.powerOff()
	})
	if after := testvm.Sum(t, m.Drive("photos").Path); after != photos {
		t.Error("the disk that the layout does not name was written to")
	}
	t.Run("boot", func(t *testing.T) {
		c := m.try(t, 15*time.Minute, m.All("wrong", "photos")...)
		c.must(c.LogIn(6 * time.Minute))
		c.healthy("vmstore", "bulk")
	})
}

// fromServer is the layout with the system's image from the server.
func fromServer(t *testing.T) string {
	t.Helper()
	image := filepath.Join(testvm.Root(), "build/os-image/hvinstall-debian.squashfs")
	return strings.Replace(spechost.Layout, `"`+spechost.ImageURL+`"`,
		fmt.Sprintf("%q, sha256: %s", spechost.ServerURL+"/"+filepath.Base(image), testvm.Sum(t, image)), 1)
}

// addPhotos adds a disk with an ext4 of somebody's, and returns its sum.
func (m machine) addPhotos(t *testing.T) string {
	t.Helper()
	album := t.TempDir()
	if err := os.WriteFile(filepath.Join(album, "wedding.jpg"), []byte("not to be lost"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(m.Dir, "photos.img")
	if err := testvm.Sparse(path, 64<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := testvm.Command(t.Context(), "mkfs.ext4", "-q", "-d", album, "-L", "photos", path); err != nil {
		t.Fatal(err)
	}
	m.Drives = append(m.Drives, testvm.Drive{ID: "photos", Model: testvm.Virtio, Serial: "PHOTOS", Path: path})
	return testvm.Sum(t, path)
}

// liveSystem is what a person finds in the live system.
func (c console) liveSystem() {
	c.t.Helper()
	c.healthy()
	if out := strings.TrimSpace(c.run("ss -Hltun | grep -v -e '127.0.0.5[34]' -e '\\[::1\\]' -e ':68 ' -e ':546 '; true")); out != "" {
		c.t.Errorf("the live system listens:\n%s", out)
	}
	c.has("an address from the LAN's DHCP", "timeout 120 sh -c 'until hostname -I | grep -q 192.168; do sleep 0.2; done'; hostname -I", "192.168.1.")
	c.has("the disks", "hvinstall discover", "ST4000VN008_BULK4000")
	c.has("a first layout", "hvinstall discover --layout", "nvme-QEMU_NVMe_Ctrl_OS500")
	if out, code := c.shell(time.Minute, "touch /run/hvinstall/live/x"); code == 0 {
		c.t.Errorf("the medium is writable:\n%s", out)
	}
}

// refused runs a command that must be refused with these words.
func (c console) refused(what, command string, words ...string) {
	c.t.Helper()
	out, code := c.shell(3*time.Minute, command)
	if code != 3 {
		c.t.Errorf("%s: exit code %d, want 3:\n%s", what, code, out)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			c.t.Errorf("%s: the refusal lacks %q:\n%s", what, word, out)
		}
	}
}

const plan = "hvinstall --plan layout.yaml"

// unattendedPlan is the same without a person.
const unattendedPlan = plan + " --yes --passphrase-file pass"

func (c console) wrongStick() {
	c.t.Helper()
	c.refused("the wrong stick", plan, "usb-QEMU_QEMU_HARDDISK_KEY001-0:0", "plug")
}

func (c console) plugKey() {
	c.t.Helper()
	c.must(c.Plug("key"))
	c.run("timeout 60 sh -c 'until test -e /dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_KEY001-0:0; do sleep 0.2; done'; udevadm settle")
}

func (c console) diskWithData() {
	c.t.Helper()
	c.run("sed 's,{id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM500.*},/dev/disk/by-id/virtio-PHOTOS,' layout.yaml >wrong.yaml")
	c.refused("a disk that holds data", "hvinstall --plan wrong.yaml --yes --passphrase-file pass", "virtio-PHOTOS", "ext4", "photos", "--erase")
}

// ctrlCAtTheQuestions presses Ctrl-C where hvinstall waits for an answer.
func (c console) ctrlCAtTheQuestions() {
	c.t.Helper()
	for _, before := range [][]string{{`Type yes to go on: `, ""}, {`Type yes to go on: `, "yes", `Passphrase for every volume: `, ""}} {
		c.must(c.Type(plan))
		c.must(c.Dialogue(3*time.Minute, before...))
		c.must(c.Send("\x03"))
		out, code, err := c.Result(time.Minute)
		c.must(err)
		if code != 130 || !strings.Contains(out, "nothing was written") {
			c.t.Errorf("Ctrl-C at %q: exit code %d, want 130, and that nothing was written:\n%s", before[len(before)-2], code, out)
		}
	}
	c.hasNot("no table was written", "blkid -p /dev/nvme0n1; true", "gpt")
}

// secondStart leaves the first run in the background.
func (c console) secondStart() {
	c.t.Helper()
	c.run(unattendedPlan + " >first.log 2>&1 &")
	c.run("timeout 120 sh -c 'until grep -q ✓ first.log; do sleep 0.5; done'")
	c.refused("a second start", plan, "another run is under way: PID", "layout.yaml")
}

// cableOut pulls the network cable out while the image is fetched.
func (c console) cableOut(server *spechost.Server) {
	c.t.Helper()
	c.served(server, 8<<20)
	c.must(c.Cable(0, false))
	c.run("timeout 60 sh -c 'until grep -q 0 /sys/class/net/enp5s0/carrier; do sleep 0.2; done'; sleep 10")
	at := server.Served()
	c.must(c.Cable(0, true))
	c.served(server, at+8<<20)
}

// served waits until the server has sent so much.
func (c console) served(server *spechost.Server, bytes int64) {
	c.t.Helper()
	late := time.After(spechost.Slow(8 * time.Minute))
	for server.Served() < bytes {
		select {
		case <-late:
			out, _ := c.shell(time.Minute, "tail -n 30 first.log")
			c.t.Fatalf("the server has sent %d bytes of %d:\n%s", server.Served(), bytes, out)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// serverDies ends the first run.
func (c console) serverDies(server *spechost.Server) {
	c.t.Helper()
	server.BreakAfter(1)
	c.run("timeout 400 sh -c 'while kill -0 $1 2>/dev/null; do sleep 1; done' sh $!")
	out, code := c.shell(time.Minute, "tail -n 12 first.log; wait $!")
	server.BreakAfter(0)
	server.Pace(0)
	if code != 1 || !strings.Contains(out, "/hvinstall-debian.squashfs: ") || !strings.Contains(out, "Run the same command again") {
		c.t.Errorf("the server died: exit code %d, want 1, the URL, and what to do:\n%s", code, out)
	}
}

// ctrlCInTheMiddle runs again at the console, which goes on with the image
// where it stopped, and ends it in the middle. The volumes are open: nobody is
// asked for a passphrase.
func (c console) ctrlCInTheMiddle() {
	c.t.Helper()
	c.must(c.Type(plan))
	c.must(c.Dialogue(3*time.Minute, `TO DO: \d+ of \d+ steps`, "", `Type yes to go on: `, "yes",
		`The layout is kept on the stick`, "", `unpack the system .*[1-9]%`, ""))
	c.must(c.Send("\x03"))
	out, code, err := c.Result(3 * time.Minute)
	c.must(err)
	if code != 130 || !strings.Contains(out, "run the same command again to go on") {
		c.t.Errorf("Ctrl-C in the middle: exit code %d, want 130 and what to do:\n%s", code, out)
	}
}
