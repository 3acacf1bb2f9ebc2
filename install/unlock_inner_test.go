//go:build guest_inner

package install

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/crypt"
)

// unlocks opens a host's volumes as its initramfs does: by passphrase, by a
// wrong one, by keys, twice, and with something in the way.
func (h house) unlocks(t *testing.T) {
	h.t = t
	volumes := h.plan().Crypt.Volumes
	stick := h.plan().Crypt.Keys[1]
	secret := crypt.NewSecret([]byte(h.stickFile(stick)))
	release(t)
	ctx := context.Background()
	typed := func(s string) []crypt.Key {
		return []crypt.Key{{Name: "the passphrase", Passphrase: true, Secret: crypt.NewSecret([]byte(s))}}
	}
	opened := func(what string, results []crypt.Opened, want int) {
		t.Helper()
		n := 0
		for _, o := range results {
			if o.Err == nil {
				n++
				if _, err := os.Stat("/dev/mapper/" + o.Mapping); err != nil {
					t.Errorf("%s: %s is open, and %v", what, o.Mapping, err)
				}
			}
		}
		if n != want {
			t.Errorf("%s opened %d volumes, want %d: %+v", what, n, want, results)
		}
	}

	wrong := crypt.Unlock(ctx, volumes, typed("not this one"))
	opened("a wrong passphrase", wrong, 0)
	tried := 0
	for _, o := range wrong {
		var noFit *crypt.NoKeyFitsError
		if !errors.As(o.Err, &noFit) {
			t.Errorf("a wrong passphrase: %v", o.Err)
		} else if len(noFit.Tried) > 0 {
			tried++
		}
	}
	if tried != 1 {
		t.Errorf("a wrong passphrase was tried on %d volumes, want one", tried)
	}
	opened("no key", crypt.Unlock(ctx, volumes, nil), 0)
	opened("another key", crypt.Unlock(ctx, volumes, []crypt.Key{{Name: "other", Secret: crypt.NewKey(4096)}}), 0)
	opened("the passphrase", crypt.Unlock(ctx, volumes, typed(passphrase)), len(volumes))
	for _, o := range crypt.Unlock(ctx, volumes, typed(passphrase)) {
		if !o.Already || o.Err != nil {
			t.Errorf("opened twice: %+v", o)
		}
	}
	keyDigests(t, volumes[:2], typed(passphrase))
	release(t)

	// One is open under a name of somebody's; one's disk is not there.
	file := t.TempDir() + "/key"
	write0600(t, file, string(secret.Bytes()))
	sh(t, "cryptsetup open --key-file %s %s mine", file, volumes[1].Device)
	missing := volumes[2]
	missing.Device += "-gone"
	results := crypt.Unlock(ctx, []crypt.VolumePlan{volumes[0], volumes[1], missing}, []crypt.Key{{Name: "stick", Stick: stick.FSUUID, Secret: secret}})
	opened("a key with one volume elsewhere and one gone", results, 1)
	var elsewhere *crypt.OpenElsewhereError
	if !errors.As(results[1].Err, &elsewhere) || elsewhere.Name != "mine" {
		t.Errorf("open elsewhere: %v", results[1].Err)
	}
	if err := results[2].Err; err == nil || !strings.Contains(err.Error(), "plug the disk in") {
		t.Errorf("a disk that is not there: %v", err)
	}
	if results[0].Slot != 1 {
		t.Errorf("the second stick's key opened slot %d, want its own, 1", results[0].Slot)
	}
	sh(t, "udevadm settle; cryptsetup close mine")
}

// keyDigests holds what an initramfs remembers of two open volumes: each has its
// own, a mapping's name alone gives none, and with the other's nothing opens.
func keyDigests(t *testing.T, volumes []crypt.VolumePlan, keys []crypt.Key) {
	t.Helper()
	digest := func(v crypt.VolumePlan) string {
		t.Helper()
		found, err := v.OpenKeyDigest()
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	a, b := volumes[0], volumes[1]
	a.KeyDigest, b.KeyDigest = digest(a), digest(b)
	if len(a.KeyDigest) != 64 || len(b.KeyDigest) != 64 || a.KeyDigest == b.KeyDigest {
		t.Errorf("digests %q and %q", a.KeyDigest, b.KeyDigest)
	}
	foreign := a
	foreign.UUID = b.UUID
	if found := digest(foreign); found != "" {
		t.Errorf("another host's volume called %s has the digest %q", a.Mapping, found)
	}
	release(t)
	if found := digest(a); found != "" {
		t.Errorf("%s is closed and has the digest %q", a.Mapping, found)
	}
	right := a
	a.KeyDigest = b.KeyDigest
	var other *crypt.OtherVolumeKeyError
	if o := crypt.Unlock(t.Context(), []crypt.VolumePlan{a}, keys)[0]; !errors.As(o.Err, &other) {
		t.Errorf("with another volume's digest: %+v", o)
	}
	if o := crypt.Unlock(t.Context(), []crypt.VolumePlan{right}, keys)[0]; o.Err != nil {
		t.Errorf("with its own digest: %v", o.Err)
	}
}

// opensBySecondCopy: with its header's first copy gone, a volume is opened by the
// second, to the same mapping; opening writes nothing, status says so, and the
// next run has the copy mended.
func (h house) opensBySecondCopy(t *testing.T) {
	h.t = t
	v := h.plan().Crypt.Volumes[1]
	keys := []crypt.Key{{Name: "the passphrase", Passphrase: true, Secret: crypt.NewSecret([]byte(passphrase))}}
	release(t)
	if o := crypt.Unlock(t.Context(), []crypt.VolumePlan{v}, keys)[0]; o.Err != nil || o.Damaged {
		t.Fatalf("with both copies: %+v", o)
	}
	table := sh(t, "dmsetup table --showkeys %s", v.Mapping)
	release(t)
	head := make([]byte, 4096)
	sh(t, "dd if=/dev/zero of=%s bs=4096 count=1 conv=fsync,notrunc 2>/dev/null", v.Device)

	opened := crypt.Unlock(context.Background(), []crypt.VolumePlan{v}, keys)[0]
	if opened.Err != nil || !opened.Damaged {
		t.Fatalf("with the first copy gone: %+v", opened)
	}
	// The two name the disk by its numbers; all else, the key included, is one.
	if again := sh(t, "dmsetup table --showkeys %s", v.Mapping); again != table {
		t.Errorf("the mapping by the second copy:\n%sby the first:\n%s", again, table)
	}
	sh(t, "blkid -p %s | grep -q btrfs", v.Path())
	readAt(t, v.Device, head, 0)
	if strings.Trim(string(head), "\x00") != "" {
		t.Error("opening wrote to the header")
	}
	layout, err := configs.LoadFile(h.layout, "")
	if err != nil {
		t.Fatal(err)
	}
	said, err := ReadStatus(context.Background(), layout)
	if err != nil {
		t.Fatal(err)
	}
	told := slices.ContainsFunc(said.Differs, func(d Difference) bool {
		return d.Where == v.Mapping && strings.Contains(d.What, "copies of its LUKS header is damaged")
	})
	if !told {
		t.Errorf("status does not tell of it: %+v", said.Differs)
	}
	h.must(childCost + "=1")
	if header, err := crypt.ReadHeader(v.Device); err != nil || header.Damaged {
		t.Errorf("after the next run: %+v, %v", header, err)
	}
	h.judge()
}
