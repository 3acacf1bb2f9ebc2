//go:build guest_inner

package install

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"hvinstall/crypt"
)

// TestBenchInner makes the seven-disk host twice in one guest: by a plain
// script of the usual programs with their defaults, one disk after the other,
// and by hvinstall. Then it opens all seven volumes by key.
func TestBenchInner(t *testing.T) {
	formatSecondStick(t)
	h := newHouse(t, sevenDisks)
	p := h.plan()
	if len(p.Refusals) > 0 {
		t.Fatal(p.Refusals)
	}
	key := t.TempDir() + "/key"
	sh(t, "head -c 4096 /dev/urandom >%s", key)
	started := time.Now()
	var script strings.Builder
	fmt.Fprintf(&script, "set -e; printf %%s '%s' >/tmp/pass\n", passphrase)
	mappings := map[string][]string{}
	for _, v := range p.Crypt.Volumes {
		if v.Pool == "" {
			fmt.Fprintf(&script, "sgdisk -n 1:0:+1G -t 1:ef00 -n 2:0:0 %s; udevadm settle; mkfs.vfat -F 32 -n ESP %s-part1\n", v.DiskID, v.DiskID)
		} else {
			fmt.Fprintf(&script, "sgdisk -n 2:0:0 %s; udevadm settle\n", v.DiskID)
		}
		discards := ""
		if v.AllowDiscards {
			discards = "--allow-discards"
		}
		fmt.Fprintf(&script, "cryptsetup luksFormat -q --key-file /tmp/pass %[1]s-part2\ncryptsetup luksAddKey -q --key-file /tmp/pass %[1]s-part2 %[2]s\n"+
			"cryptsetup open %[4]s --key-file /tmp/pass %[1]s-part2 %[3]s\n", v.DiskID, key, v.Mapping, discards)
		mappings[v.Pool] = append(mappings[v.Pool], v.Path())
	}
	fmt.Fprintf(&script, "mkfs.btrfs -q %s\nmkfs.btrfs -q -d raid1 -m raid1 %s\nmkfs.btrfs -q -K -d raid1 -m raid1 %s\n",
		strings.Join(mappings[""], " "), strings.Join(mappings["vmstore"], " "), strings.Join(mappings["bulk"], " "))
	sh(t, "%s", strings.ReplaceAll(script.String(), "%", "%%"))
	plain := time.Since(started).Seconds()
	teardown(t)
	formatSecondStick(t)

	ours := h.must()
	s := tell(ours.events)
	for _, id := range s.order { // as they ended, side by side
		t.Logf("  %-42s %5.1f s", id, s.took[id].Seconds())
	}
	mounted := h.plan()
	release(t)
	best := 0.0
	for range 3 {
		keys := []crypt.Key{{Name: "stick", Stick: mounted.Crypt.Keys[0].FSUUID, Secret: crypt.NewSecret([]byte(h.stickFile(mounted.Crypt.Keys[0])))}}
		started = time.Now()
		for _, o := range crypt.Unlock(context.Background(), mounted.Crypt.Volumes, keys) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
		}
		if took := time.Since(started).Seconds(); best == 0 || took < best {
			best = took
		}
		release(t)
	}
	t.Logf("\nseven disks, in a QEMU guest (TCG) of %d CPUs and 4 GiB\n"+
		"  plain script      %7.1f s\n"+
		"  hvinstall         %7.1f s   %.1f times as fast; peak memory %d MiB\n"+
		"  open all by key   %7.2f s   mappings made", runtime.NumCPU(), plain, ours.Seconds, plain/ours.Seconds, ours.RSS>>10, best)
}
