package vmstore

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hvinstall/host"
	"hvinstall/host/web"
	"hvinstall/step"

	"golang.org/x/sys/unix"
)

// fetcher brings images from their URLs to their places.
type fetcher struct {
	client  *web.Client
	stall   time.Duration // how long a list of sums may take
	backoff time.Duration // the pause after a fruitless attempt, doubled each time
	limit   int64         // what an archive may unpack to
}

// fetch brings the image to each of the paths. A path appears only with the
// whole image in it: everything before happens beside it, under names that end
// in .part (the download), .unpacking and .converting. The first path is the
// last to appear, because the .part lies beside it.
func (f fetcher) fetch(ctx context.Context, image Image, paths []string, report step.Reporter) error {
	sum, err := parseChecksum(cmp.Or(image.Sum, image.Checksum))
	if err != nil {
		return err
	}
	if sum, err = sum.resolve(ctx, f.client, image.URL, f.stall); err != nil {
		return err
	}
	work := fetching{fetcher: f, image: image, sum: sum, base: paths[0], report: report}
	defer work.close()
	from, err := work.bring(ctx)
	if err == nil {
		from, err = work.form(ctx, from)
	}
	if IsFinal(err) {
		return errors.Join(err, work.tidy())
	}
	if err != nil {
		return err
	}
	if err := work.place(from, paths); err != nil {
		return err
	}
	return work.tidy()
}

// tidy leaves nothing beside the image.
func (w *fetching) tidy() error {
	for _, leftover := range []string{w.part(), w.sidecar(), w.sidecar() + ".new", w.unpacked(), w.converted()} {
		if err := removeIfThere(leftover); err != nil {
			return err
		}
	}
	return nil
}

// IsFinal says of a failed run that the same command gives the same again: what
// was downloaded is refused for what it is, and something else must change.
func IsFinal(err error) bool {
	var image *NotAnImageError
	var entry *EntryError
	var archive *ArchiveError
	var bomb *BombError
	var sum *ChecksumError
	return errors.As(err, &image) || errors.As(err, &entry) || errors.As(err, &archive) || errors.As(err, &bomb) || errors.As(err, &sum)
}

// fetching is one image under way.
type fetching struct {
	fetcher
	image  Image
	sum    checksum
	base   string
	report step.Reporter

	source *os.File // the .part, or the file of a file:// URL
	output *os.File
	have   int64   // of source, that is from before
	known  partial // what source is the beginning of
	local  bool
}

func (w *fetching) part() string      { return w.base + ".part" }
func (w *fetching) sidecar() string   { return w.base + ".part.json" }
func (w *fetching) unpacked() string  { return w.base + ".unpacking" }
func (w *fetching) converted() string { return w.base + ".converting" }

func (w *fetching) close() {
	for _, f := range []*os.File{w.source, w.output} {
		if f != nil {
			f.Close()
		}
	}
}

// bring downloads and unpacks, and gives the path of the image that came of it.
func (w *fetching) bring(ctx context.Context) (string, error) {
	if err := w.open(); err != nil {
		return "", err
	}
	for round := 0; ; round++ {
		resumed := w.have > 0 && !w.local
		plain, err := w.pass(ctx)
		if err == nil {
			if plain && w.local {
				return w.unpacked(), noRoom(w.unpacked(), copyFile(w.output, w.source))
			}
			if plain {
				return w.part(), nil
			}
			return w.unpacked(), nil
		}
		var wrong *ChecksumError
		var broken *ArchiveError
		bad := errors.As(err, &wrong) || errors.As(err, &broken)
		again := errors.Is(err, errChanged) || bad && resumed
		if w.local || !bad && !again {
			return "", errors.Join(err, w.empty(w.output))
		}
		// What is there is no use: the next attempt begins anew.
		if e := errors.Join(os.Remove(w.sidecar()), w.empty(w.source), w.empty(w.output)); e != nil && !errors.Is(e, os.ErrNotExist) {
			return "", errors.Join(err, e)
		}
		w.have, w.known = 0, partial{}
		if !again || round == 2 {
			return "", err
		}
		w.report.Log("%v; downloading it from the beginning", err)
	}
}

func (w *fetching) empty(f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return f.Truncate(0)
}

// open opens the .part and decides whether it is a beginning.
func (w *fetching) open() (err error) {
	const flags = os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if w.output, err = os.OpenFile(w.unpacked(), flags|os.O_TRUNC, 0o600); err != nil {
		return fmt.Errorf("opening a place to unpack: %w", err)
	}
	u, err := url.Parse(w.image.URL)
	if err != nil {
		return err
	}
	if u.Scheme == "file" {
		w.local = true
		if w.source, err = os.Open(u.Path); err != nil {
			return fmt.Errorf("opening the image: %w", err)
		}
		info, err := w.source.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return &NotAnImageError{Path: u.Path, Why: "it is a " + kindOf(info.Mode())}
		}
		w.have = info.Size()
		return nil
	}
	if w.source, err = os.OpenFile(w.part(), flags, 0o600); err != nil {
		return fmt.Errorf("opening the .part: %w", err)
	}
	info, err := w.source.Stat()
	if err != nil {
		return err
	}
	note, ok := readPartial(w.sidecar())
	usable := ok && note.URL == w.image.URL && note.validator() != "" && (note.Size < 0 || info.Size() <= note.Size) &&
		(note.Boot == bootID() || w.sum.sum != "")
	if usable {
		w.have, w.known = info.Size(), note
		return nil
	}
	return w.source.Truncate(0)
}

// pass downloads, hashes and unpacks, all at the same time.
func (w *fetching) pass(ctx context.Context) (plain bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	data := newGrowing(w.source, w.have)
	received := make(chan error, 1)
	go func() {
		err := w.receive(ctx, data)
		data.end(err)
		received <- err
	}()
	hashed := make(chan error, 1)
	go func() {
		err := w.hash(data)
		if err != nil {
			cancel(err)
		}
		hashed <- err
	}()
	u := unpacking{from: data, to: w.output, limit: w.limit, log: w.report.Log}
	if w.image.Extract != nil && !*w.image.Extract {
		_, err = data.wait(1 << 62)
		plain = true
		if errors.Is(err, io.EOF) {
			err = nil
		}
	} else {
		plain, err = u.run(ctx)
	}
	if err != nil {
		cancel(err)
	}
	// The download's own failure is the reason of the others'.
	if e := <-received; e != nil && !errors.Is(e, err) {
		err = e
	}
	if e := <-hashed; e != nil && err == nil {
		err = e
	}
	return plain, err
}

func (w *fetching) receive(ctx context.Context, data *growing) error {
	if w.local {
		w.report.Progress(w.have, w.have, "B")
		return nil
	}
	d := download{
		client: w.client, url: w.image.URL, sidecar: w.sidecar(), into: data, known: w.known, sized: w.sum.sum != "",
		backoff: w.backoff, log: w.report.Log,
		progress: throttled(func(done, total int64) { w.report.Progress(done, total, "B") }),
	}
	return d.run(ctx)
}

// throttled passes on ten reports in a second, and the last.
func throttled(report func(done, total int64)) func(done, total int64) {
	var last time.Time
	return func(done, total int64) {
		if now := time.Now(); now.Sub(last) > 100*time.Millisecond || done == total {
			last = now
			report(done, total)
		}
	}
}

func (w *fetching) hash(data *growing) error {
	h := w.sum.hash()
	if h == nil {
		return nil
	}
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{data.reader()}, make([]byte, copyBuffer)); err != nil {
		return err
	}
	if have := hex.EncodeToString(h.Sum(nil)); have != w.sum.sum {
		return &ChecksumError{URL: w.image.URL, Algorithm: w.sum.algorithm, Have: have, Want: w.sum.sum}
	}
	return nil
}

// form checks that it is an image of the right kind, and makes it qcow2.
func (w *fetching) form(ctx context.Context, path string) (string, error) {
	file, err := inspect(path)
	if err != nil {
		return "", err
	}
	if file.Problem != "" {
		return "", &NotAnImageError{Path: w.image.URL, Why: file.Problem}
	}
	if file.Needs != "" {
		return "", &NotAnImageError{Path: w.image.URL, Why: "it needs " + file.Needs}
	}
	switch {
	case w.image.ISO && file.Format == formatISO:
		return path, nil
	case w.image.ISO:
		return "", &NotAnImageError{Path: w.image.URL, Why: "it is " + file.Format + ", and iso_image needs an ISO; use disk_image"}
	case file.Format == formatISO:
		return "", &NotAnImageError{Path: w.image.URL, Why: "it is an ISO; use iso_image"}
	case file.Format == formatQCOW2:
		return path, nil
	}
	if err := removeIfThere(w.converted()); err != nil {
		return "", err
	}
	cmd := host.Cmd{Argv: []string{"qemu-img", "convert", "-f", file.Format, "-O", "qcow2", path, w.converted()},
		Confined: &host.Confinement{Read: path, Write: w.converted()}, Log: w.report.Log}
	if err := cmd.Run(ctx); err != nil {
		// What qemu-img itself finds fault with is refused as the readers refuse;
		// that it could not be started, or was ended, is no fault of the image's.
		var failed *host.CommandError
		if errors.As(err, &failed) && ctx.Err() == nil && failed.ExitCode() == 1 && strings.Contains(failed.Stderr, "qemu-img: ") && checkRoom(w.converted()) == nil {
			return "", &NotAnImageError{Path: w.image.URL, Why: "qemu-img cannot read it as " + file.Format + ": " + failed.Stderr}
		}
		return "", noRoomNow(w.converted(), err)
	}
	return w.converted(), nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// place puts the image under its names, each in one rename after the data is
// on the disk.
func (w *fetching) place(from string, paths []string) error {
	for _, path := range paths[1:] {
		copied := path + ".unpacking"
		if err := duplicate(copied, from); err != nil {
			return noRoom(copied, err)
		}
		if err := publish(copied, path); err != nil {
			return err
		}
	}
	return publish(from, paths[0])
}

func duplicate(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := copyFile(out, in); err != nil {
		out.Close()
		return fmt.Errorf("copying the image to %s: %w", to, err)
	}
	return out.Close()
}

// publish gives a finished file its name. It never replaces a file: an image
// that is there is a VM's disk.
func publish(from, to string) error {
	file, err := os.OpenFile(from, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = errors.Join(file.Chmod(0o600), file.Sync())
	if err := errors.Join(err, file.Close()); err != nil {
		return noRoom(to, fmt.Errorf("writing %s to the disk: %w", from, err))
	}
	err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) {
		// A file system without that flag, such as NFS: a link refuses as well.
		if err = os.Link(from, to); err == nil {
			err = os.Remove(from)
		}
	}
	if err != nil {
		return fmt.Errorf("renaming %s to %s: %w", from, to, err)
	}
	return syncDir(filepath.Dir(to))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
