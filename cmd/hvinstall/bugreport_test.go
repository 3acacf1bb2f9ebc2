package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/disk"
	"hvinstall/install"
)

// TestReportHasNoSecrets: what goes into a bug report needs no blanking.
func TestReportHasNoSecrets(t *testing.T) {
	const word = "hunter2word"
	path := filepath.Join(t.TempDir(), "layout.yaml")
	text := "# " + word + "\nhostname: a\npools: {bulk: {disks: [/dev/disk/by-id/ata-ST4000_ZGY0A1B2, /dev/disk/by-id/ata-ST4000_ZGY0A1B3], storage_media: hdd}}\n" +
		"users: [{name: me, password_hash: \"$6$" + word + "$" + word + "\"}]\n" +
		"libvirt_vms: [{name: x, cloud_init: {user_data: \"#cloud-config " + word + "\", network_config: \"" + word + "\"}, disk_image: {url: \"https://me:" + word + "@127.0.0.1:1/a?s=" + word + "\", dest: /mnt/vmstore/x/a.qcow2}}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	report := bugReport(t.Context(), path, time.Now())
	for _, secret := range []string{word, "ZGY0A1B2"} {
		if at := strings.Index(report, secret); at >= 0 {
			t.Errorf("%s is in the report: %s", secret, report[max(0, at-100):min(len(report), at+100)])
		}
	}
	for _, want := range []string{"===== versions", "===== layout, its public copy", "===== facts", "===== plan", "ata-ST4000_", "127.0.0.1"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report has no %q", want)
		}
	}
	output := filepath.Join(t.TempDir(), "r.txt")
	var out, errs bytes.Buffer
	if code := run(t.Context(), terminal{nil, &out, &errs}, []string{"report", "--plan", path, "-o", output}); code != exitDone {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	if info, err := os.Stat(output); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	// A link that somebody has put there is not followed, and nothing replaced.
	if code := run(t.Context(), terminal{nil, &out, &errs}, []string{"report", "--plan", path, "-o", output}); code != exitFailed {
		t.Errorf("what is there is replaced: exit code %d", code)
	}
}

func TestPseudonyms(t *testing.T) {
	facts := install.Facts{Disks: disk.Facts{Disks: []disk.Disk{{Serial: "S466NX0M712345A", WWN: "eui.0025385b71b00a11"}}}}
	text := "nvme-X_S466NX0M712345A S466NX0M712345A nvme-eui.0025385b71b00a11 1F0b2C3d-0000-1111-2222-333344445555 52:54:00:12:34:56 8B34-7D3C ata-Y_ZGY0A1B2"
	got := pseudonymsOf(facts).replace(text)
	for _, name := range []string{"S466NX0M712345A", "0025385b71b00a11", "1F0b2C3d-0000", "52:54:00:12:34:56", "8B34-7D3C", "ZGY0A1B2"} {
		if strings.Contains(got, name) {
			t.Errorf("%s is left in %s", name, got)
		}
	}
	words := strings.Fields(got)
	if !strings.HasSuffix(words[0], "_"+words[1]) || !strings.HasPrefix(words[2], "nvme-eui.") {
		t.Errorf("not the same name for the same part: %s", got)
	}
	if len(got) != len(text) {
		t.Errorf("another length: %s", got)
	}
}
