//go:build guest_inner

package install

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"hvinstall/crypt"
)

// TestInnerUnlock opens a host's volumes as its initramfs does: by passphrase,
// by a wrong one, by keys, twice, and with something in the way.
func TestInnerUnlock(t *testing.T) {
	formatSecondStick(t)
	h := newHouse(t, smallHost)
	h.must(childCost + "=1")
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
