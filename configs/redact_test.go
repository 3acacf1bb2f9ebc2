package configs

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestRedactor: whatever a run shows of its layout, these words are not in it.
func TestRedactor(t *testing.T) {
	l, err := Load("layout", []byte(`hostname: a
users:
  - {name: me, password_hash: "$6$e2e$JIQj2kbhunter2"}
libvirt_vms:
  - name: haos
    disk_image:
      url: "https://me:hunter2@x.org/a.qcow2?sig=hunter2&b=c"
      dest: /mnt/vmstore/haos/a.qcow2
      checksum: "sha256:https://x.org/SUMS?token=hunter2"
    cloud_init:
      user_data: "#cloud-config\npassword: \"hunter2\"\n"
      network_config: "key: hunter2"
`))
	if err != nil {
		t.Fatal(err)
	}
	r := l.Redactor()
	vm := l.VMs[0]
	shown := r.Text(fmt.Sprintf("%s\n%s\n%s\nGet %q: refused\n%s", vm.DiskImage.URL, vm.DiskImage.Checksum, vm.CloudInit.UserData,
		"https://me:xxxxx@x.org/a.qcow2?sig=hunter2&b=c", l.Users[0].PasswordHash))
	if strings.Contains(shown, "hunter2") || !strings.Contains(shown, "https://x.org/a.qcow2\n") {
		t.Errorf("the text shows\n%s", shown)
	}
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil || !strings.Contains(string(text), "hunter2") {
		t.Fatalf("the test tests nothing: %v", err)
	}
	redacted := r.JSON(text)
	if strings.Contains(string(redacted), "hunter2") || !json.Valid(redacted) {
		t.Errorf("the JSON shows\n%s", redacted)
	}
}
