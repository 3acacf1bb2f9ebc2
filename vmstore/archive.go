package vmstore

import (
	"archive/tar"
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// EntryError is an archive that holds something that it must not.
type EntryError struct {
	Name string
	Why  string
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("the archive's %q %s; an archive must hold one image, and small texts at most: unpack it yourself and use a file:// URL", e.Name, e.Why)
}

// isTar judges a first block by its checksum (POSIX ustar), which the oldest
// archives have as well as those with a magic.
func isTar(block []byte) bool {
	if len(block) < 512 {
		return false
	}
	want := int64(0)
	for _, c := range strings.Trim(string(block[148:156]), " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		want = want*8 + int64(c-'0')
	}
	sum := int64(8 * ' ')
	for i, b := range block[:512] {
		if i < 148 || i >= 156 {
			sum += int64(b)
		}
	}
	return want == sum && block[0] != 0
}

// allowed refuses an entry by its name and kind; ok is true for a file.
func allowed(name string, mode fs.FileMode) (ok bool, err error) {
	clean := strings.ReplaceAll(name, `\`, "/")
	switch {
	case path.IsAbs(clean) || clean == ".." || strings.HasPrefix(path.Clean(clean), "../") || strings.Contains("/"+clean+"/", "/../"):
		return false, &EntryError{name, "leaves the directory"}
	case mode.IsDir():
		return false, nil
	case !mode.IsRegular():
		return false, &EntryError{name, "is a " + kindOf(mode)}
	}
	return true, nil
}

// largestText is what a file beside the image may have.
const largestText = 1 << 20

// isBeside knows the small texts that vendors put beside an image: a README, a
// licence, checksums, an OVA's description. They are passed over.
func isBeside(name string, size int64) bool {
	if size > largestText {
		return false
	}
	name = strings.ToLower(path.Base(strings.ReplaceAll(name, `\`, "/")))
	for _, begin := range []string{"readme", "license", "licence", "copying", "changelog", "release", "notice", "md5sum", "sha1sum", "sha256sum", "sha512sum"} {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	switch path.Ext(name) {
	case ".txt", ".md", ".ovf", ".mf", ".cert", ".md5", ".sha1", ".sha256", ".sha512", ".asc", ".sig", ".nvram", ".json", ".pdf", ".html":
		return true
	}
	return false
}

// tar unpacks the one image of a tar archive, and reads on to its end to be
// sure that it is the only one.
func (u unpacking) tar(r io.Reader) error {
	archive := tar.NewReader(r)
	found := ""
	for {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return badArchive("tar", err)
		}
		if entry.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		mode := entry.FileInfo().Mode()
		if entry.Typeflag == tar.TypeLink {
			mode |= fs.ModeSymlink // a hard link is a link too
		}
		ok, err := allowed(entry.Name, mode)
		if err != nil {
			return err
		}
		if !ok || isBeside(entry.Name, entry.Size) {
			continue
		}
		if found != "" {
			return &EntryError{entry.Name, fmt.Sprintf("is there beside %q", found)}
		}
		found = entry.Name
		out := &sparseWriter{file: u.to, limit: u.limit}
		if err := pump(out, archive); err != nil {
			return noRoom(u.to.Name(), badArchive("tar", err))
		}
		if err := out.finish(); err != nil {
			return err
		}
	}
	if found == "" {
		return badArchive("tar", errors.New("it holds no image"))
	}
	// The compressed stream has its own checksum at its end.
	_, err := io.Copy(io.Discard, r)
	return badArchive("tar", err)
}

// zip unpacks the one image of a zip archive. Its directory is at its end, so
// this one kind waits for the whole download.
func (u unpacking) zip(source *follower) error {
	_, err := source.g.wait(1 << 62)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	archive, err := zip.NewReader(source.g.file, source.g.size())
	if err != nil {
		return badArchive("zip", err)
	}
	var image *zip.File
	for _, entry := range archive.File {
		mode := entry.Mode()
		if strings.HasSuffix(entry.Name, "/") {
			mode = fs.ModeDir
		}
		ok, err := allowed(entry.Name, mode)
		if err != nil {
			return err
		}
		ok = ok && !isBeside(entry.Name, int64(min(entry.UncompressedSize64, 1<<62)))
		if ok && image != nil {
			return &EntryError{entry.Name, fmt.Sprintf("is there beside %q", image.Name)}
		}
		if ok {
			image = entry
		}
	}
	if image != nil && image.Flags&1 != 0 {
		return badArchive("zip", fmt.Errorf("%q in it is encrypted", image.Name))
	}
	if image == nil {
		return badArchive("zip", errors.New("it holds no image"))
	}
	if u.limit > 0 && image.UncompressedSize64 > uint64(u.limit) {
		return &BombError{u.limit}
	}
	r, err := image.Open()
	if err != nil {
		return badArchive("zip", err)
	}
	defer r.Close()
	return u.write("zip", r)
}
