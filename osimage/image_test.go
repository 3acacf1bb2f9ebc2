package osimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hvinstall/host"
	"hvinstall/host/web"
	"hvinstall/step"
)

// quiet takes a step's news; last keeps the progress.
type quiet struct{ done, total int64 }

func (q *quiet) Progress(done, total int64, _ string) { q.done, q.total = done, total }
func (*quiet) Log(string, ...any)                     {}
func (*quiet) Warn(string, ...any)                    {}

var _ step.Reporter = &quiet{}

func TestProgressBar(t *testing.T) {
	q := &quiet{}
	bar := &progressBar{report: q}
	for _, chunk := range []string{"Parallel unsquashfs\n\r[=|      ]   12/43", "21   0%\r[=====-    ] 2000/4321  46%", "\r[=====/    ] 2100/4321  48%\r"} {
		if _, err := bar.Write([]byte(chunk)); err != nil {
			t.Fatal(err)
		}
	}
	if q.done != 2100 || q.total != 4321 {
		t.Errorf("progress = %d/%d, want 2100/4321", q.done, q.total)
	}
}

func TestDownloadGoesOn(t *testing.T) {
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i * 7)
	}
	sum := sha256.Sum256(content)
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if requests == 1 {
			// The server dies in the middle.
			w.Header().Set("Content-Length", "3145728")
			_, _ = w.Write(content[:1<<20])
			return
		}
		if got := r.Header.Get("Range"); got == "" {
			t.Error("the second request asks for everything again")
		}
		http.ServeContent(w, r, "", time.Time{}, readerAt(content))
	}))
	defer server.Close()
	root := t.TempDir()
	p := Plan{Image: ImagePlan{URL: server.URL, SHA256: hex.EncodeToString(sum[:])}}
	path, err := p.fetch(context.Background(), root, &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	if have, err := host.SHA256(context.Background(), path); err != nil || have != p.Image.SHA256 {
		t.Errorf("sum = %s, %v; want %s", have, err, p.Image.SHA256)
	}
	if requests != 2 {
		t.Errorf("%d requests, want 2", requests)
	}
	if _, err := p.fetch(context.Background(), root, &quiet{}); err != nil || requests != 2 {
		t.Errorf("a whole image is fetched again: %d requests, %v", requests, err)
	}
}

func TestDownloadSaysWhatTheServerSays(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	p := Plan{Image: ImagePlan{URL: server.URL + "/image", SHA256: "00"}}
	_, err := p.fetch(context.Background(), t.TempDir(), &quiet{})
	var status *web.StatusError
	if !errors.As(err, &status) || status.Code != 404 {
		t.Errorf("error = %v, want the server's 404", err)
	}
}

func TestStrangers(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "mnt/vmstore"), 0o755); err != nil {
		t.Fatal(err)
	}
	if name, err := strangers(root); err != nil || name != "" {
		t.Errorf("strangers = %q, %v for empty folders", name, err)
	}
	// The headers' backups and the log come before the system.
	for _, name := range []string{"var/lib/hvinstall/headers/cryptroot.img", "var/log/hvinstall/run.log"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte("header"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if name, err := strangers(root); err != nil || name != "" {
		t.Errorf("strangers = %q, %v for hvinstall's own files", name, err)
	}
	if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if name, err := strangers(root); err != nil || name != "var" {
		t.Errorf("strangers = %q, %v; want var", name, err)
	}
	if err := wipe(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "var/lib/hvinstall/headers/cryptroot.img")); err != nil {
		t.Errorf("the backup of a header was removed: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "var/lib/dpkg")); err == nil {
		t.Error("what an earlier run left is still there")
	}
	if err := os.MkdirAll(filepath.Join(root, "mnt/vmstore"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "mnt/vmstore/photo"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if name, err := strangers(root); err != nil || name != "mnt" {
		t.Errorf("strangers = %q, %v; want mnt", name, err)
	}
}

// The three answers of the unpacking, and the fourth case: a mark of a whole
// image beside the mark of a start is not whole.
func TestUnpackCheck(t *testing.T) {
	root := t.TempDir()
	p := Plan{Image: ImagePlan{URL: "file:///x", SHA256: "00"}}
	check := func(want step.State) {
		t.Helper()
		got, why, err := p.unpackStep(Env{Root: root}, nil).Check(context.Background())
		if err != nil || got != want {
			t.Errorf("state = %v (%s), %v; want %v", got, why, err, want)
		}
	}
	check(step.Absent)
	if err := writeInstalled(root, Installed{SHA256: "0123456789abcdef"}); err != nil {
		t.Fatal(err)
	}
	check(step.Done)
	if err := os.WriteFile(filepath.Join(root, startedMark), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(step.Absent)
	for _, mark := range []string{startedMark, doneMark} {
		if err := os.Remove(filepath.Join(root, mark)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "photo"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(step.Foreign)
}

func readerAt(b []byte) *bytes.Reader { return bytes.NewReader(b) }
