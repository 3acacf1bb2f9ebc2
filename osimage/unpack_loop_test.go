//go:build loop

package osimage

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hvinstall/host"
	"hvinstall/step"
)

// run runs a program, whose absence or failure is the test's.
func run(t testing.TB, argv ...string) string {
	t.Helper()
	if missing := host.Missing(argv[0]); len(missing) > 0 {
		t.Fatalf("%s is not installed; apt-get install squashfs-tools btrfs-progs acl attr libcap2-bin rsync", argv[0])
	}
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// target is a btrfs with the subvolumes root and home, mounted as the disks'
// steps mount them.
func target(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: loop devices and mounts")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "disk")
	run(t, "truncate", "-s", "8G", file)
	run(t, "mkfs.btrfs", "-q", file)
	top, root := filepath.Join(dir, "top"), filepath.Join(dir, "target")
	for _, d := range []string{top, root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "mount", "-o", "loop", file, top)
	t.Cleanup(func() { run(t, "umount", top) })
	run(t, "btrfs", "subvolume", "create", top+"/root")
	run(t, "btrfs", "subvolume", "create", top+"/home")
	device := strings.TrimSpace(run(t, "findmnt", "-no", "SOURCE", top))
	run(t, "mount", "-o", "subvol=root,compress=zstd", device, root)
	t.Cleanup(func() { run(t, "umount", "-R", root) })
	if err := os.Mkdir(root+"/home", 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "subvol=home", device, root+"/home")
	return root
}

// difficult is a tree with everything that is easily lost on the way.
const difficult = `
mkdir -p usr/bin usr/lib/hvinstall var/log/journal home/keep etc "odd name"
echo plain > etc/plain; chown 1234:5678 etc/plain; chmod 640 etc/plain
echo x > usr/bin/ping; chmod 755 usr/bin/ping; setcap cap_net_raw+ep usr/bin/ping
echo x > usr/bin/sudo; chmod 4755 usr/bin/sudo
mkdir -m 1777 tmp; mkdir -m 2755 var/mail; chgrp 8 var/mail
ln usr/bin/sudo usr/bin/sudo-link; ln -s ../etc/plain usr/link; ln -s /nowhere dangling
setfattr -n user.comment -v hello etc/plain; setfattr -n trusted.t -v secret etc
setfacl -m u:1234:rx -m d:g:8:rwx var/log/journal; setfacl -m u:99:r etc/plain
truncate -s 300M etc/sparse; echo end >> etc/sparse
mkfifo var/fifo; mknod var/null c 1 3
printf 'ü\n' > "odd name/with
newline and \\ backslash"
touch -d @1000000000 etc/plain; chown -h 55:66 usr/link
touch -d @1100000000 etc usr/bin
getfacl --recursive --physical --skip-base . 2>/dev/null > usr/lib/hvinstall/acls
`

func makeImage(t *testing.T) (tree, image string) {
	t.Helper()
	dir := t.TempDir()
	tree, image = filepath.Join(dir, "tree"), filepath.Join(dir, "root.squashfs")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-euc", difficult)
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("making the tree: %v\n%s", err, out)
	}
	run(t, "mksquashfs", tree, image, "-comp", "zstd", "-xattrs", "-no-progress", "-quiet")
	return tree, image
}

func imagePlan(t testing.TB, image string) Plan {
	t.Helper()
	have, err := host.SHA256(context.Background(), image)
	if err != nil {
		t.Fatal(err)
	}
	return Plan{Image: ImagePlan{URL: "file://" + image, SHA256: have}}
}

func unpackInto(p Plan, root string) (int, error) {
	r := step.Runner{}
	return r.Run(context.Background(), []step.Step{p.unpackStep(Env{Root: root}, nil)})
}

// differences is rsync's opinion, which compares owners, modes, times, links,
// ACLs, xattrs and content, without what hvinstall adds. -S is not compared by
// it, see holes.
func differences(t *testing.T, tree, root string) string {
	t.Helper()
	return run(t, "rsync", "-aHAXn", "--numeric-ids", "--checksum", "--delete", "--itemize-changes", "--out-format=%i %n",
		"--exclude=/var/lib/hvinstall", "--exclude=/var/lib", tree+"/", root+"/")
}

func TestUnpackKeepsEverything(t *testing.T) {
	root := target(t)
	tree, image := makeImage(t)
	p := imagePlan(t, image)
	if changed, err := unpackInto(p, root); err != nil || changed != 1 {
		t.Fatalf("unpacking: %d changed, %v", changed, err)
	}
	// rsync opens trusted.* as root too; what it prints is what was lost. A
	// folder that got our marks has another time.
	for line := range strings.SplitSeq(differences(t, tree, root), "\n") {
		if line != "" && !strings.HasSuffix(line, " ./") && !strings.HasSuffix(line, " var/") {
			t.Errorf("differs: %s", line)
		}
	}
	have, err := os.Stat(filepath.Join(root, "etc/sparse"))
	if err != nil {
		t.Fatal(err)
	}
	if blocks := have.Sys().(*syscall.Stat_t).Blocks; have.Size() != 300<<20+4 || blocks > 2048 {
		t.Errorf("etc/sparse: %d bytes in %d blocks of 512, want its hole", have.Size(), blocks)
	}
	if changed, err := unpackInto(p, root); err != nil || changed != 0 {
		t.Errorf("the second run: %d changed, %v; want nothing to do", changed, err)
	}
}

func TestUnpackRefusesAnotherImage(t *testing.T) {
	root := target(t)
	_, image := makeImage(t)
	p := imagePlan(t, image)
	p.Image.SHA256 = strings.Repeat("0", 64)
	_, err := unpackInto(p, root)
	var wrong *SumError
	if !errors.As(err, &wrong) {
		t.Fatalf("error = %v, want a SumError", err)
	}
	if _, whole, err := ReadInstalled(root); whole || err != nil {
		t.Errorf("an unverified image counts as installed: %v, %v", whole, err)
	}
	if _, err := os.Stat(filepath.Join(root, "usr")); err == nil {
		t.Error("files of an unverified image are left")
	}
}

// A run that was killed leaves half of another image; the next one must not
// keep any of it, and must not touch the user's files in /home.
func TestUnpackAfterAnInterruptedRun(t *testing.T) {
	root := target(t)
	tree, image := makeImage(t)
	for name, content := range map[string]string{
		startedMark: "", "etc/left-over": "x", "usr/bin/deep/er/left": "x", "home/user/photo": "mine",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := unpackInto(imagePlan(t, image), root); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(root, "home/user/photo")); err != nil || string(data) != "mine" {
		t.Errorf("the user's file: %q, %v", data, err)
	}
	if err := os.RemoveAll(filepath.Join(root, "home/user")); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(differences(t, tree, root), "\n") {
		if line != "" && !strings.HasSuffix(line, " ./") && !strings.HasSuffix(line, " var/") && !strings.HasSuffix(line, " home/") {
			t.Errorf("differs: %s", line)
		}
	}
}

// Killed at any moment: the process dies, and another one goes on.
func TestUnpackKilledAnywhere(t *testing.T) {
	root := target(t)
	tree, image := makeImage(t)
	p := imagePlan(t, image)
	for i := range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		r := step.Runner{Events: func(e step.Event) {
			// The n-th news of the step is its end.
			if e.Kind == step.StepLog {
				if i--; i < 0 {
					cancel()
				}
			}
		}}
		_, err := r.Run(ctx, []step.Step{p.unpackStep(Env{Root: root}, nil)})
		cancel()
		if err == nil {
			break
		}
		if _, whole, err := ReadInstalled(root); whole || err != nil {
			t.Fatalf("a run that was ended counts as whole: %v, %v", whole, err)
		}
	}
	if _, err := unpackInto(p, root); err != nil {
		t.Fatal(err)
	}
	if got := differences(t, tree, root); strings.Contains(got, "deleting") {
		t.Errorf("left over: %s", got)
	}
}

// BenchmarkUnpack puts the step beside unsquashfs alone, on one file system,
// turn by turn; the ratio is what matters.
func BenchmarkUnpack(b *testing.B) {
	image := "../build/os-image/hvinstall-debian.squashfs"
	if _, err := os.Stat(image); err != nil {
		b.Fatalf("%v; run: make os-image", err)
	}
	image, err := filepath.Abs(image)
	if err != nil {
		b.Fatal(err)
	}
	plan := imagePlan(b, image) // the layout names the sum
	var ours, theirs time.Duration
	for b.Loop() {
		for _, who := range []string{"unsquashfs", "hvinstall"} {
			root := target(b)
			started := time.Now()
			if who == "unsquashfs" {
				run(b, "unsquashfs", "-quiet", "-no-progress", "-force", "-dest", root, image)
				run(b, "sync", "-f", root)
				theirs += time.Since(started)
				continue
			}
			if _, err := unpackInto(plan, root); err != nil {
				b.Fatal(err)
			}
			ours += time.Since(started)
		}
	}
	b.ReportMetric(ours.Seconds()/float64(b.N), "s/hvinstall")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "s/unsquashfs")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
}
