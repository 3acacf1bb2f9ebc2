package vmstore

import "testing"

// TestReadTree keeps what it does not know, and takes nothing that is cut off.
func TestReadTree(t *testing.T) {
	for _, text := range []string{
		"<domain type='kvm'>\n  <!-- mine -->\n  <a:b xmlns:a='urn:a' a:c='&lt;&amp;'>x &gt; y</a:b>\n  <![CDATA[<raw>]]>\n  <e/>\n</domain>",
		"<?xml version='1.0'?>\n<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' type='kvm'>\n  <qemu:commandline>\n    <qemu:arg value='-s'/>\n  </qemu:commandline>\n</domain>\n",
	} {
		doc, err := readTree(text)
		if err != nil {
			t.Fatal(err)
		}
		if have, err := doc.WriteToString(); err != nil || have != text {
			t.Errorf("it came back (%v) as\n%s\nwant\n%s", err, have, text)
		}
	}
	for _, text := range []string{"", "text", "<domain>", "<domain><a></domain>", "<domain></a></domain>", "<a/><b/>", "<domain>\x00</domain>"} {
		if doc, err := readTree(text); err == nil {
			out, _ := doc.WriteToString()
			t.Errorf("%q was read, as %q", text, out)
		}
	}
}
