package osimage

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
)

// FuzzWritten: whatever a mount point, an option, a kernel argument and a host
// are called, fstab and the boot entry have these and no line and no word more;
// or the layout is refused.
func FuzzWritten(f *testing.F) {
	for _, s := range [][4]string{
		{"/mnt/bulk", "noatime", "quiet", "a"},
		{"/mnt/a b", "compress=zstd", "a b", "a-b"},
		{"/mnt/a\n/dev/sda / ext4 rw 0 0", "noatime\nx", "a\noptions init=/bin/sh", "a\nlinux /evil"},
		{"/mnt/a\\040b", "x,y", `"a`, "A"},
		{"/mnt/#", "#", "#", "#"},
		{"/mnt/é", "suid", "init=/bin/sh", "\xff"},
		{"/mnt/a\t", "user_subvol_rm_allowed", "a\u0085b", "a\u2028b"},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	f.Fuzz(func(t *testing.T, target, option, argument, hostname string) {
		q := func(s string) string {
			text, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		l, err := configs.Load("layout.yaml", []byte(fmt.Sprintf(`hostname: %s
os: {disk: /dev/disk/by-id/nvme-A, kernel_args: [%s], image: {url: "file:///run/hvinstall/live/hvinstall/root.squashfs"}}
pools: {bulk: {disks: [/dev/disk/by-id/ata-B, /dev/disk/by-id/ata-C], storage_media: hdd, mountpoint: %s, mount_options: [%s]}}
`, q(hostname), q(argument), q(target), q(option))))
		if err != nil {
			return
		}
		pool := l.Pools[0]
		p := Plan{Hostname: l.Hostname, Mounts: []Mount{{Source: "UUID=1", Target: pool.Mountpoint, FSType: "btrfs", Options: pool.MountOptions, Pool: true}}}
		old := "UUID=0 /mine ext4 defaults 0 0\n"
		rows := readFstab(t, string(block(block([]byte(old), p.fstab()), p.fstab())))
		if len(rows) != 2 || rows[0][1] != "/mine" || rows[1][1] != pool.Mountpoint || !slices.Equal(rows[1][:1], []string{"UUID=1"}) ||
			rows[1][3] != strings.Join(append(slices.Clone(pool.MountOptions), "noauto", "nofail", "x-systemd.device-timeout=5s"), ",") {
			t.Errorf("fstab is read as %q", rows)
		}
		boot := Boot{BootSettings: BootSettings{KernelArgs: l.OS.KernelArgs}}
		entry := Entry{Version: "6.1.0-1-amd64", Generation: 1, Inputs: "x"}.text("Debian on "+l.Hostname, "", boot.options())
		keys := map[string]string{}
		for line := range strings.SplitSeq(strings.TrimSuffix(entry, "\n"), "\n") {
			if strings.HasPrefix(line, "#") {
				continue
			}
			key, value, _ := strings.Cut(line, " ")
			if _, twice := keys[key]; twice || !slices.Contains([]string{"title", "version", "sort-key", "linux", "initrd", "options"}, key) {
				t.Errorf("the entry has the line %q", line)
			}
			keys[key] = strings.TrimSpace(value)
		}
		if words := strings.Fields(keys["options"]); len(words) != 2 || words[0] != "rw" || words[1] != l.OS.KernelArgs[0] || keys["linux"] != "/hvinstall/6.1.0-1-amd64-g1/linux" {
			t.Errorf("the kernel gets %q of %q", words, keys)
		}
	})
}

// readFstab reads as getmntent(3) does.
func readFstab(t *testing.T, text string) (rows [][]string) {
	t.Helper()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimLeft(line, " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
		if len(fields) != 6 {
			t.Errorf("fstab has the line %q", line)
			return nil
		}
		for i := range fields {
			fields[i] = unescape.Replace(fields[i])
		}
		rows = append(rows, fields)
	}
	return rows
}
