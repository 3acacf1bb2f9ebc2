//go:build libvirt

package vmstore

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// TestPoolFull: a download that does not fit ends before the pool is full,
// leaves no image, and goes on where it was when there is room.
func TestPoolFull(t *testing.T) {
	root, web := store(t), newServer(t)
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=6m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	image := qcow2Image(6<<20, 11) // 3 MiB of it are no holes
	kinds := map[string][]byte{"gz": compressed(t, "gz", image), "xz": compressed(t, "xz", image), "qcow2": append(image, make([]byte, 3<<20)...)}
	for kind, data := range kinds {
		url := web.put("/a."+kind, &served{data: data, etag: `"1"`, chunked: true})
		want := qemuPlan(root, blank(t, root, "a"))
		want.VMs[0].DiskImage.URL = url
		filler := filepath.Join(root, "filler")
		if err := os.WriteFile(filler, make([]byte, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := tryRun(testContext(t), want, Env{Backoff: time.Millisecond})
		var room *NoRoomError
		if !errors.As(err, &room) {
			t.Errorf("%s: err = %v, want a NoRoomError", kind, err)
		}
		if _, err := os.Stat(filepath.Join(root, "a", "a.qcow2")); err == nil {
			t.Errorf("%s: there is an image", kind)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("", root, "", unix.MS_REMOUNT, "size=40m"); err != nil {
			t.Fatal(err)
		}
		mustRun(t, want, Env{Backoff: time.Millisecond})
		wantFile(t, filepath.Join(root, "a", "a.qcow2"), data0(kind, image, data))
		forgetAll(t)
		if err := os.RemoveAll(filepath.Join(root, "a")); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("", root, "", unix.MS_REMOUNT, "size=6m"); err != nil {
			t.Fatal(err)
		}
	}
}

func data0(kind string, image, data []byte) []byte {
	if kind == "qcow2" {
		return data
	}
	return image
}

// TestOnBtrfs: copies share their data, nocow is set only where it was asked
// for, and a guest's discard gives the room back to the pool.
func TestOnBtrfs(t *testing.T) {
	root := store(t)
	disk := filepath.Join(t.TempDir(), "btrfs")
	pack(t, "truncate", "-s", "256M", disk)
	pack(t, "mkfs.btrfs", "-q", disk)
	pack(t, "mount", "-o", "loop", disk, root)
	t.Cleanup(func() { _ = unix.Unmount(root, 0) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	a, b := blank(t, root, "a"), blank(t, root, "b")
	b.NoCOW = true
	want := qemuPlan(root, a, b)
	mustRun(t, want, Env{})
	wantNothing(t, want, Env{})
	for name, nocow := range map[string]bool{"a": false, "b": true} {
		out, err := exec.Command("lsattr", "-d", filepath.Join(root, name)).CombinedOutput()
		if err != nil || strings.Contains(strings.Fields(string(out))[0], "C") != nocow {
			t.Errorf("lsattr of %s says %s %v, want nocow %v", name, out, err, nocow)
		}
		out, err = exec.Command("lsattr", filepath.Join(root, name, name+".qcow2")).CombinedOutput()
		if err != nil || strings.Contains(strings.Fields(string(out))[0], "C") != nocow {
			t.Errorf("lsattr of %s's disk says %s %v, want nocow %v", name, out, err, nocow)
		}
	}
	// The definition asks QEMU for it; QEMU's own tool shows what it does.
	d := domainOf(t, "a")
	if !strings.Contains(d.Inactive, "discard='unmap'") || !strings.Contains(d.Inactive, "detect_zeroes='unmap'") {
		t.Errorf("the disk has no discard:\n%s", d.Inactive)
	}
	path := filepath.Join(root, "a", "a.qcow2")
	pack(t, "qemu-io", "-f", "qcow2", "-c", "write -P 1 0 32M", path)
	full, err := inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	pack(t, "qemu-io", "-f", "qcow2", "-d", "unmap", "-c", "discard 0 32M", path)
	empty, err := inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	if full.Allocated < 32<<20 || empty.Allocated > 8<<20 {
		t.Errorf("before the discard %d bytes, after it %d", full.Allocated, empty.Allocated)
	}
}

// TestOverSSH defines VMs through qemu+ssh://, with a small SSH server that
// hands the connection to libvirt's socket.
func TestOverSSH(t *testing.T) {
	root := store(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	address := serveSSH(t, signer)
	disk := filepath.Join(root, "a/a.qcow2")
	if err := os.Mkdir(filepath.Dir(disk), 0o755); err != nil {
		t.Fatal(err)
	}
	pack(t, "qemu-img", "create", "-q", "-f", "qcow2", disk, "64M")
	want := qemuPlan(root, running(blank(t, root, "a")), blank(t, root, "b"))
	want.URI = fmt.Sprintf("qemu+ssh://root@%s/system?keyfile=%s&no_verify=1&socket=%s", address, keyFile, libvirtSocket)
	r := mustRun(t, want, Env{})
	if did := r.did(); len(did) != 5 || did[4] != "vms/a/start" {
		t.Errorf("did %v, want define and autostart of both, and the start of a", did)
	}
	if len(r.plan.Notes) != 2 || r.plan.Notes[0].Code != "remote-image" {
		t.Errorf("notes %v, want that images are not brought there", r.plan.Notes)
	}
	wantNothing(t, want, Env{})
	if _, err := os.Stat(filepath.Join(root, "b")); err == nil {
		t.Error("a directory was made for a VM of another machine")
	}
}

// serveSSH is an SSH server that knows one thing: direct-streamlocal, by which
// a client reaches a socket.
func serveSSH(t *testing.T, signer ssh.Signer) string {
	t.Helper()
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(signer.PublicKey().Marshal()) {
			return nil, errors.New("another key")
		}
		return nil, nil //nolint:nilnil // the library's form of "yes, without conditions"
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, channels, requests, err := ssh.NewServerConn(conn, config)
				if err != nil {
					return
				}
				go ssh.DiscardRequests(requests)
				for c := range channels {
					if c.ChannelType() != "direct-streamlocal@openssh.com" {
						_ = c.Reject(ssh.UnknownChannelType, "")
						continue
					}
					var to struct {
						Path     string
						Reserved string
						Port     uint32
					}
					if err := ssh.Unmarshal(c.ExtraData(), &to); err != nil {
						_ = c.Reject(ssh.ConnectionFailed, err.Error())
						continue
					}
					socket, err := net.Dial("unix", to.Path)
					if err != nil {
						_ = c.Reject(ssh.ConnectionFailed, err.Error())
						continue
					}
					channel, more, err := c.Accept()
					if err != nil {
						return
					}
					go ssh.DiscardRequests(more)
					go func() { _, _ = io.Copy(channel, socket); channel.Close() }()
					go func() { _, _ = io.Copy(socket, channel); socket.Close() }()
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestSideBySide: two downloads run at the same time, and a URL that two VMs
// use runs once.
func TestSideBySide(t *testing.T) {
	root, web := store(t), newServer(t)
	image := compressed(t, "gz", qcow2Image(1<<20, 12))
	// Each answer waits until the other was asked for.
	both := make(chan struct{}, 2)
	meet := func(int) {
		both <- struct{}{}
		for end := time.Now().Add(10 * time.Second); len(both) < 2 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		if len(both) < 2 {
			t.Error("the second download did not begin while the first was under way")
		}
	}
	var vms []configs.VM
	for i, name := range []string{"a", "b", "c"} {
		vm := blank(t, root, name)
		vm.DiskImage.URL = web.put([]string{"/one", "/two", "/two"}[i], &served{data: image, on: meet})
		vms = append(vms, vm)
	}
	mustRun(t, qemuPlan(root, vms...), Env{})
	if n := len(web.asked("/two")); n != 1 {
		t.Errorf("a URL that two VMs use was downloaded %d times, want once", n)
	}
}
