package boot

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestModulesRoundTrip(t *testing.T) {
	want := Modules{
		List: []Module{
			{Name: "dm_mod", Path: "/lib/modules/6.1/kernel/drivers/md/dm-mod.ko"},
			{Name: "dm_crypt", Path: "/lib/modules/6.1/kernel/drivers/md/dm-crypt.ko", Needs: []string{"dm_mod", "x"}, Always: true},
		},
		Aliases: []Alias{{"pci:v*bc01sc08i02*", "nvme"}},
	}
	var text bytes.Buffer
	if err := want.Write(&text); err != nil {
		t.Fatal(err)
	}
	got, err := ReadModules(&text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := ReadModules(strings.NewReader("modul x\n")); err == nil {
		t.Error("a line of an unknown form is taken")
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, modalias string
		want              bool
	}{
		{"pci:v*d*sv*sd*bc01sc08i02*", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02", true},
		{"pci:v*d*sv*sd*bc01sc08i02*", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc06i01", false},
		{"usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*", "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00", true},
		{"hid:b0003g*v*p*", "hid:b0003g0001v00000627p00000001", true},
		{"scsi:t-0x00*", "scsi:t-0x00", true},
		{"acpi*:PNP0D40:*", "acpi:PNP0D40:", true},
		{"of:N*T*Cvendor,x/y*", "of:NsdhciT(null)Cvendor,x/y", true}, // a slash is no folder
		{"dmi:*svn[A-C]cme*", "dmi:bvnX:svnAcme:pn1", true},
		{"virtio:d00000002v*", "virtio:d00000008v00001AF4", false},
		{"plain", "plain", true},
		{"plain", "plainer", false},
	} {
		if got := matches(c.pattern, c.modalias); got != c.want {
			t.Errorf("matches(%q, %q) = %v, want %v", c.pattern, c.modalias, got, c.want)
		}
	}
}

func TestModuleName(t *testing.T) {
	for file, want := range map[string]string{
		"kernel/drivers/md/dm-crypt.ko": "dm_crypt", "kernel/x.ko.xz": "x", "nls_iso8859-1.ko.zst": "nls_iso8859_1",
	} {
		if got := ModuleName(file); got != want {
			t.Errorf("ModuleName(%q) = %q, want %q", file, got, want)
		}
	}
}
