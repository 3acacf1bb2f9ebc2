package osimage

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hvinstall/host"

	"github.com/google/go-cmp/cmp"
)

func TestEntryText(t *testing.T) {
	e := Entry{Version: "6.1.0-56-amd64", Generation: 2, Inputs: "cafe"}
	want := `# Written by hvinstall: do not edit, the next one is written anew.
# made from cafe
title      Debian GNU/Linux
version    6.1.0-56-amd64-g2
machine-id 0123
sort-key   hvinstall
linux      /hvinstall/6.1.0-56-amd64-g2/linux
initrd     /hvinstall/6.1.0-56-amd64-g2/initrd
options    rw quiet
`
	if diff := cmp.Diff(want, e.text("Debian GNU/Linux", "0123", "rw quiet")); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
}

// place writes an entry's files as AddKernel does.
func place(t *testing.T, esp string, e Entry, files ...string) {
	t.Helper()
	for _, f := range files {
		if err := writeESP(filepath.Join(esp, e.folder(), f), []byte(f)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeESP(filepath.Join(esp, e.confPath()), []byte(e.text("T", "", "rw"))); err != nil {
		t.Fatal(err)
	}
}

func TestEntries(t *testing.T) {
	esp := t.TempDir()
	one, two := Entry{"6.1.0-9-amd64", 1, "a"}, Entry{"6.1.0-9-amd64", 2, "b"}
	ten, half := Entry{"6.1.0-10-amd64", 1, "c"}, Entry{"6.1.0-11-amd64", 1, "d"}
	for _, e := range []Entry{one, two, ten} {
		place(t, esp, e, "linux", "initrd")
	}
	place(t, esp, half, "linux") // a power cut before its initramfs was there
	if err := os.WriteFile(filepath.Join(esp, "loader/entries/windows.conf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := entries(esp)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Entry{ten, two, one}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	left, err := orphans(esp, got)
	if err != nil || !slices.Equal(left, []string{half.folder()}) {
		t.Errorf("orphans = %v, %v; want the half one", left, err)
	}
	if e, found := newest(got, "6.1.0-9-amd64"); !found || e != two {
		t.Errorf("newest = %v, %v; want generation 2", e, found)
	}
	if err := two.remove(esp); err != nil {
		t.Fatal(err)
	}
	if got, _ := entries(esp); len(got) != 2 {
		t.Errorf("after removing one: %v", got)
	}
}

func TestSuperfluous(t *testing.T) {
	all := []Entry{{"6.2", 1, ""}, {"6.1", 5, ""}, {"6.1", 4, ""}, {"6.1", 3, ""}, {"6.1", 2, ""}}
	if got, want := superfluous(all, "hvinstall-6.1-g2"), []Entry{{"6.1", 3, ""}}; !slices.Equal(got, want) {
		t.Errorf("superfluous = %v, want %v: the two newest and the booted one stay", got, want)
	}
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"5.10.0-28-amd64", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-10-cloud-amd64", "6.12.1"}
	for i := range ordered[1:] {
		if host.CompareNatural(ordered[i], ordered[i+1]) >= 0 || host.CompareNatural(ordered[i+1], ordered[i]) <= 0 {
			t.Errorf("%s is not before %s", ordered[i], ordered[i+1])
		}
	}
}

func TestInputsTellPartsApart(t *testing.T) {
	if inputsOf([]byte("ab"), []byte("c")) == inputsOf([]byte("a"), []byte("bc")) {
		t.Error("inputsOf joins its parts")
	}
}

func TestInstallLoader(t *testing.T) {
	root, esp := t.TempDir(), t.TempDir()
	loader := []byte("MZ...#### LoaderInfo: systemd-boot 252 ####")
	path := filepath.Join(root, loaderSource)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, loader, 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(esp, "EFI/BOOT/BOOTX64.EFI")
	if err := writeESP(other, []byte("MZ grub")); err != nil {
		t.Fatal(err)
	}
	if why, err := loaderMissing(esp); err != nil || why == "" {
		t.Errorf("loaderMissing = %q, %v on an ESP without it", why, err)
	}
	if err := installLoader(root, esp); err != nil {
		t.Fatal(err)
	}
	if why, err := loaderMissing(esp); err != nil || why != "" {
		t.Errorf("loaderMissing = %q, %v after installing it", why, err)
	}
	if old, err := os.ReadFile(other + ".old"); err != nil || string(old) != "MZ grub" {
		t.Errorf("the other loader was lost: %q, %v", old, err)
	}
	seed, err := os.ReadFile(filepath.Join(esp, "loader/random-seed"))
	if err != nil || len(seed) != 512 {
		t.Errorf("random seed: %d bytes, %v", len(seed), err)
	}
}

func TestBootVariableIsThere(t *testing.T) {
	list := "BootOrder: 0001,0000\nBoot0000* UiApp\tFvVol(7cb8bdc9)\n" +
		"Boot0001* hvinstall\tHD(1,GPT,5a8f0c1d-1111-4222-8333-444455556666,0x800,0x200000)/File(\\EFI\\systemd\\systemd-bootx64.efi)\n"
	if !bootVariableIsThere(list, "5A8F0C1D-1111-4222-8333-444455556666") {
		t.Error("our entry is not found")
	}
	if bootVariableIsThere(list, "99999999-1111-4222-8333-444455556666") {
		t.Error("an entry of another disk is taken for ours")
	}
}
