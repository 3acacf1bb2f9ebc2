//go:build guest_inner

package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"hvinstall/configs"
	"hvinstall/crypt"
	"hvinstall/disk"
	"hvinstall/host"

	"golang.org/x/sys/unix"
)

const passphrase = "lentil orbit canyon velvet"

// house is a host in the guest: its layout and the disks it stands on.
type house struct {
	t      *testing.T
	layout string // path
	pass   string // path
}

func newHouse(t *testing.T, layout string) house {
	t.Helper()
	dir := t.TempDir()
	h := house{t, filepath.Join(dir, "layout.yaml"), filepath.Join(dir, "passphrase")}
	write0600(t, h.layout, layout)
	write0600(t, h.pass, passphrase+"\n")
	t.Cleanup(func() { teardown(t) })
	return h
}

func write0600(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// command is one run of the child, not started yet.
func (h house) command(env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin", childLayout + "=" + h.layout, childPass + "=" + h.pass}, env...)
	return cmd
}

// run runs the disk part to its end, or to its kill.
func (h house) run(env ...string) result {
	h.t.Helper()
	cmd := h.command(env...)
	var out, events bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &events
	if os.Getenv("INNER_VERBOSE") != "" {
		cmd.Stderr = io.MultiWriter(&events, os.Stderr)
	}
	err := cmd.Run()
	r := result{events: events.String(), err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, _ := exit.Sys().(syscall.WaitStatus)
		r.killed = status.Signal() == syscall.SIGKILL
		lines := strings.Split(strings.TrimSpace(r.events), "\n")
		r.err = errors.New(lines[len(lines)-1])
	}
	if err == nil {
		if err := json.Unmarshal(out.Bytes(), &r.childReport); err != nil {
			h.t.Fatalf("the run's report %q: %v", out.String(), err)
		}
	}
	return r
}

// must runs to the end, and fails the test if it does not get there.
func (h house) must(env ...string) result {
	h.t.Helper()
	r := h.run(env...)
	if r.err != nil {
		h.t.Fatalf("the run: %v\n%s", r.err, r.events)
	}
	return r
}

// plan is what a run would decide now.
func (h house) plan() Plan {
	h.t.Helper()
	layout, err := configs.LoadFile(h.layout, "")
	if err != nil {
		h.t.Fatal(err)
	}
	facts, err := Probe(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return Make(Input{Layout: layout, Facts: facts, Only: []Part{PartDisks}})
}

// sh runs a command line, and fails the test if it fails.
func sh(t *testing.T, format string, args ...any) string {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// mtype reads a file of a stick by mtools, another hand than the kernel. What
// they remark on stderr is no part of the file.
func mtype(t *testing.T, device, file string) string {
	t.Helper()
	device, err := filepath.EvalSymlinks(device)
	if err != nil {
		t.Fatal(err)
	}
	var content, said strings.Builder
	cmd := exec.Command("mtype", "-i", device, "::"+file)
	cmd.Stdout, cmd.Stderr = &content, &said
	err = cmd.Run()
	if said.Len() > 0 {
		t.Logf("mtype: %s", said.String())
	}
	if err != nil {
		t.Fatalf("reading %s: %v", file, err)
	}
	return content.String()
}

// release unmounts the target and closes the volumes.
func release(t *testing.T) {
	t.Helper()
	mounts, err := host.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(mounts)
	for _, m := range mounts {
		if strings.HasPrefix(m.Target, "/mnt/target") || strings.HasPrefix(m.Target, "/run/hvinstall/") {
			if err := unix.Unmount(m.Target, unix.MNT_DETACH); err != nil {
				t.Fatalf("unmounting %s: %v", m.Target, err)
			}
		}
	}
	sync := exec.Command("sh", "-c", "sync; for m in /dev/mapper/crypt*; do [ -e $m ] || continue; for i in 1 2 3 4 5 6 7 8 9; do cryptsetup close ${m##*/} 2>/dev/null && break; sleep 0.3; done; [ -e $m ] && exit 1; done; udevadm settle")
	if out, err := sync.CombinedOutput(); err != nil {
		t.Fatalf("closing the volumes: %v\n%s", err, out)
	}
}

// teardown makes every disk of the guest blank again.
func teardown(t *testing.T) {
	t.Helper()
	release(t)
	for _, d := range disks(t) {
		blank(t, d)
	}
	// The kernel remembers devices of file systems past; the next ones have the
	// same UUIDs and may get other device numbers.
	sh(t, "udevadm settle; btrfs device scan --forget")
}

// disks are the guest's disks by kernel name.
func disks(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("/sys/block/*")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range all {
		if n := filepath.Base(d); strings.HasPrefix(n, "nvme") || strings.HasPrefix(n, "sd") || strings.HasPrefix(n, "vd") {
			names = append(names, n)
		}
	}
	return names
}

func blank(t *testing.T, name string) {
	t.Helper()
	if strings.HasPrefix(name, "nvme") { // the others emulate it slowly
		sh(t, "blkdiscard -f /dev/%s", name)
	}
	file, err := os.OpenFile("/dev/"+name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, err := unix.IoctlGetInt(int(file.Fd()), unix.BLKGETSIZE64)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 6<<20)
	for _, at := range []int64{0, int64(size) - 4<<20} {
		n := min(int64(len(zeros)), int64(size)-at)
		if at > 0 {
			n = 4 << 20
		}
		if _, err := file.WriteAt(zeros[:n], at); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	sh(t, "blockdev --rereadpt /dev/%s || { udevadm settle; blockdev --rereadpt /dev/%s; }", name, name)
}

// writes are the block layer's own counts of writes and discards.
func writes(t *testing.T) map[string]string {
	t.Helper()
	all, err := filepath.Glob("/sys/block/*/stat")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]string{}
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(b))
		counts[strings.Split(file, "/")[3]] = "writes " + f[4] + ", sectors " + f[6] + ", discards " + f[11]
	}
	return counts
}

// identities is everything of the host that must come out the same however
// often the run was interrupted: tables, UUIDs, labels, slots, subvolumes.
func (h house) identities() string {
	h.t.Helper()
	var b strings.Builder
	p := h.plan()
	for _, d := range p.Disk.Disks {
		table := make([]byte, 34*512)
		readAt(h.t, d.ID, table, 0)
		fmt.Fprintf(&b, "%s table %x, sealed %v\n", d.Name, sha256.Sum256(table), !d.Disk.Begun)
		for _, part := range d.Table.Partitions {
			if part.Format == "vfat" {
				fmt.Fprintf(&b, "%s vfat %s", d.Name, sh(h.t, "blkid -p -o export %s | grep -E '^(UUID|LABEL|TYPE|VERSION)=' | tr '\\n' ' '", part.Device()))
				b.WriteString("\n")
			}
		}
	}
	for _, v := range p.Crypt.Volumes {
		header, err := crypt.ReadHeader(v.Device)
		if err != nil {
			h.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s %s %s %v %d %d\n", v.Mapping, header.UUID, header.Label, header.Subsystem, header.Flags, header.Sector, header.Offset)
		var lines []string
		for n, s := range header.Slots {
			lines = append(lines, fmt.Sprintf("  slot %d %s %d priority %d", n, s.KDF, s.Iterations, s.Priority))
		}
		for _, token := range header.Tokens {
			lines = append(lines, fmt.Sprintf("  token %+v", token))
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, "\n") + "\n")
	}
	for _, fs := range p.Disk.Filesystems {
		fmt.Fprintf(&b, "%s %s", fs.Label, sh(h.t, "blkid -p -o export %s | grep -E '^(UUID|LABEL|TYPE)=' | tr '\\n' ' '", fs.Devices[0]))
		for _, s := range fs.Subvols {
			fmt.Fprintf(&b, "\n  %s %s", s.Mountpoint, sh(h.t, "findmnt -n -o FSROOT,FSTYPE --target %s", filepath.Join(TargetRoot, s.Mountpoint)))
		}
	}
	return b.String()
}

func readAt(t *testing.T, path string, b []byte, at int64) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// judge has other hands look at what was made. It ends with everything
// unmounted and closed.
func (h house) judge() {
	t := h.t
	t.Helper()
	p := h.plan()
	for _, d := range p.Disk.Disks {
		if d.Fate != disk.Keep {
			t.Errorf("%s: a further run would decide %s (%v)", d.Name, d.Fate, p.Refusals)
		}
		if out := sh(t, "sgdisk -v %s", d.ID); !strings.Contains(out, "No problems found") {
			t.Errorf("sgdisk -v %s:\n%s", d.ID, out)
		}
	}
	for _, fs := range p.Disk.Filesystems {
		place := filepath.Join(TargetRoot, fs.Subvols[0].Mountpoint)
		usage := sh(t, "btrfs filesystem usage -b %s 2>&1", place)
		want := "Data,single"
		if fs.RAID1 {
			want = "Data,RAID1"
			if !strings.Contains(usage, "Metadata,RAID1") || !strings.Contains(usage, "System,RAID1") {
				t.Errorf("%s: metadata is not RAID1:\n%s", fs.Label, usage)
			}
		}
		if !strings.Contains(usage, want) {
			t.Errorf("%s: no %s:\n%s", fs.Label, want, usage)
		}
		if n := strings.Count(sh(t, "btrfs filesystem show --raw %s", place), "devid"); n != len(fs.Devices) {
			t.Errorf("%s has %d devices, want %d", fs.Label, n, len(fs.Devices))
		}
		for _, s := range fs.Subvols {
			options := sh(t, "findmnt -n -o OPTIONS --mountpoint %s", filepath.Join(TargetRoot, s.Mountpoint))
			if discards := strings.Contains(options, "discard=async"); discards != fs.Discard {
				t.Errorf("%s is mounted with %s, want discard %v", s.Mountpoint, options, fs.Discard)
			}
		}
	}
	for _, v := range p.Crypt.Volumes {
		dump := sh(t, "cryptsetup luksDump %s", v.Device)
		for _, want := range []string{"UUID:          \t" + v.UUID, "Label:         \t" + v.Mapping, "Subsystem:     \thvinstall"} {
			if !strings.Contains(dump, want) {
				t.Errorf("%s: luksDump lacks %q:\n%s", v.Mapping, want, dump)
			}
		}
		// A volume keeps the sectors that it was made with where its disk shows others
		// now, as behind a USB bridge.
		moved := slices.ContainsFunc(p.Disk.Disks, func(d disk.DiskPlan) bool { return d.Mapping == v.Mapping && d.Was != "" })
		if sector := "sector: " + strconv.Itoa(int(v.SectorSize)) + " [bytes]"; !moved && !strings.Contains(dump, sector) {
			t.Errorf("%s: luksDump lacks %q:\n%s", v.Mapping, sector, dump)
		}
		if strings.Contains(dump, "allow-discards") != v.AllowDiscards {
			t.Errorf("%s: allow-discards in the header, want %v:\n%s", v.Mapping, v.AllowDiscards, dump)
		}
		table := sh(t, "dmsetup table %s", v.Mapping)
		if strings.Contains(table, "allow_discards") != v.AllowDiscards {
			t.Errorf("%s: mapping %s, want discards %v", v.Mapping, table, v.AllowDiscards)
		}
		if n := strings.Count(dump, "PBKDF:      argon2id"); n != 1 {
			t.Errorf("%s has %d argon2id slots, want one", v.Mapping, n)
		}
		if n := strings.Count(dump, "Priority:   preferred"); n != len(p.Crypt.Keys) {
			t.Errorf("%s has %d preferred slots, want one for each of %d sticks", v.Mapping, n, len(p.Crypt.Keys))
		}
	}
	h.headersAreElsewhere(p)
	h.keysOpen(p)
	release(t)
	for _, d := range p.Disk.Disks {
		for _, part := range d.Table.Partitions {
			if part.Format == "vfat" {
				sh(t, "fsck.vfat -n %s", part.Device())
			}
		}
	}
	for _, v := range p.Crypt.Volumes {
		sh(t, "printf %%s '%s' | cryptsetup open --test-passphrase --key-file - %s", passphrase, v.Device)
		if err := exec.Command("sh", "-c", "printf wrong | cryptsetup open --test-passphrase --key-file - "+v.Device).Run(); err == nil {
			t.Errorf("%s opens with a wrong passphrase", v.Mapping)
		}
	}
	h.open(p)
	for _, fs := range p.Disk.Filesystems {
		sh(t, "btrfs check --readonly %s 2>&1", fs.Devices[0])
	}
	release(t)
}

// open opens every volume by the sticks, in pure Go.
func (h house) open(p Plan) []crypt.Opened {
	h.t.Helper()
	var keys []crypt.Key
	for _, k := range p.Crypt.Keys {
		keys = append(keys, crypt.Key{Name: "stick " + k.FSUUID, Stick: k.FSUUID, Secret: crypt.NewSecret([]byte(h.stickFile(k)))})
	}
	if len(keys) == 0 {
		keys = append(keys, crypt.Key{Name: "the passphrase", Passphrase: true, Secret: crypt.NewSecret([]byte(passphrase))})
	}
	opened := crypt.Unlock(context.Background(), p.Crypt.Volumes, keys)
	for _, o := range opened {
		if o.Err != nil {
			h.t.Errorf("unlocking: %v", o.Err)
		}
	}
	return opened
}

// stickFile reads a stick's key.
func (h house) stickFile(k crypt.KeyPlan) string {
	h.t.Helper()
	return mtype(h.t, k.Device(), k.Filename)
}

// keysOpen holds each stick's key against every volume, by cryptsetup.
func (h house) keysOpen(p Plan) {
	t := h.t
	t.Helper()
	seen := map[string]bool{}
	for _, k := range p.Crypt.Keys {
		key := h.stickFile(k)
		if len(key) != crypt.KeySize || seen[key] {
			t.Errorf("the stick %s has a key of %d bytes, the same as another's: %v", k.FSUUID, len(key), seen[key])
		}
		seen[key] = true
		file := filepath.Join(t.TempDir(), "key")
		write0600(t, file, key)
		for _, v := range p.Crypt.Volumes {
			sh(t, "cryptsetup open --test-passphrase --key-file %s %s", file, v.Device)
		}
	}
}

// headersAreElsewhere holds every header backup against where it may be, and
// looks for one on the sticks.
func (h house) headersAreElsewhere(p Plan) {
	t := h.t
	t.Helper()
	for _, v := range p.Crypt.Volumes {
		folder := filepath.Join(TargetRoot, headersOnOS)
		if v.Pool == "" {
			folder = filepath.Join(TargetRoot, p.Disk.Filesystems[1].Subvols[0].Mountpoint, headersOnPool)
		}
		info, err := os.Stat(folder)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the folder of header backups: %v, %v", info, err)
			continue
		}
		file := filepath.Join(folder, v.Mapping+".luks")
		info, err = os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the header backup of %s: %v, %v", v.Mapping, info, err)
			continue
		}
		if out := sh(t, "cryptsetup luksUUID %s", file); strings.TrimSpace(out) != v.UUID {
			t.Errorf("%s is a backup of %s", file, out)
		}
		sh(t, "printf %%s '%s' | cryptsetup open --test-passphrase --header %s --key-file - %s", passphrase, file, v.Device)
	}
	for _, k := range p.Crypt.Keys {
		if out := sh(t, "mdir -b -/ -i $(readlink -f %s) ::", k.Device()); strings.Contains(out, "luks") {
			t.Errorf("the stick %s has a header on it:\n%s", k.FSUUID, out)
		}
	}
}
