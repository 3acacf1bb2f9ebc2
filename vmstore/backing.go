package vmstore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// longestName is what a qcow2 may name another file with (docs/interop/qcow2.txt
// in QEMU).
const longestName = 1023

// deepestChain ends a chain that names itself.
const deepestChain = 64

// neededFiles are the files whose content a qcow2 image builds on: its backing
// file and its data file. Only the header is read, and nothing that it names is
// opened. What is no path (nbd://…) is left out.
func neededFiles(path string) []string {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	var found []string
	for _, name := range namedFiles(file) {
		for _, p := range pathsIn(name) {
			if !filepath.IsAbs(p) {
				p = filepath.Join(filepath.Dir(path), p)
			}
			p = filepath.Clean(p)
			found = append(found, p)
			if real, err := filepath.EvalSymlinks(p); err == nil && real != p {
				found = append(found, real)
			}
		}
	}
	return found
}

// namedFiles reads the names as they stand in a qcow2 header.
func namedFiles(r io.ReaderAt) []string {
	head := make([]byte, 104)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) || n < 72 || !bytes.HasPrefix(head, []byte("QFI\xfb")) {
		return nil
	}
	be := binary.BigEndian
	var names []string
	read := func(at int64, length uint32) {
		if length == 0 || length > longestName {
			return
		}
		name := make([]byte, length)
		if _, err := r.ReadAt(name, at); err == nil {
			names = append(names, string(name))
		}
	}
	if at := be.Uint64(head[8:]); at > 0 && at < 1<<62 {
		read(int64(at), be.Uint32(head[16:]))
	}
	at := int64(72)
	if be.Uint32(head[4:]) >= 3 && n >= 104 {
		at = int64(be.Uint32(head[100:]))
	}
	// The extensions end with one of the type 0.
	const dataFile = 0x44415441
	for range 32 {
		extension := make([]byte, 8)
		if _, err := r.ReadAt(extension, at); err != nil || be.Uint32(extension) == 0 {
			break
		}
		length := be.Uint32(extension[4:])
		if be.Uint32(extension) == dataFile {
			read(at+8, length)
		}
		at += 8 + (int64(length)+7)&^7
	}
	return names
}

// pathsIn are the paths in a name, which QEMU also takes as file:PATH and as
// json:{"file":{"filename":PATH}}.
func pathsIn(name string) []string {
	if text, isJSON := strings.CutPrefix(name, "json:"); isJSON {
		var options any
		if json.Unmarshal([]byte(text), &options) != nil {
			return nil
		}
		return filenames(options)
	}
	name = strings.TrimPrefix(name, "file:")
	before, _, _ := strings.Cut(name, "/")
	if strings.Contains(before, ":") {
		return nil
	}
	return []string{name}
}

func filenames(options any) []string {
	fields, _ := options.(map[string]any)
	var found []string
	for key, v := range fields {
		switch v := v.(type) {
		case string:
			if key == "filename" || strings.HasSuffix(key, ".filename") {
				found = append(found, pathsIn(v)...)
			}
		case map[string]any:
			found = append(found, filenames(v)...)
		}
	}
	slices.Sort(found)
	return found
}

// Link is an image that builds on another file.
type Link struct {
	Image string `json:"image"`
	On    string `json:"on"`
}

// probeLinks finds the images that build on others: those that domains name,
// with their chains, those beside the layout's disks, and, before a directory
// is deleted, all in the store.
func probeLinks(root, store string, whole bool, facts *Facts) {
	seen := map[string]bool{}
	var look func(path string, depth int)
	look = func(path string, depth int) {
		if seen[path] || depth > deepestChain {
			return
		}
		seen[path] = true
		for _, on := range neededFiles(filepath.Join(root, path)) {
			facts.Links = append(facts.Links, Link{Image: path, On: on})
			if _, known := facts.Files[on]; !known {
				if file, err := inspect(filepath.Join(root, on)); err == nil {
					facts.Files[on] = file
				} else if errors.Is(err, fs.ErrNotExist) {
					facts.Missing = append(facts.Missing, on)
				}
			}
			look(on, depth+1)
		}
	}
	paths, beside := []string{}, map[string]bool{}
	for path := range facts.Files {
		paths = append(paths, path)
		beside[filepath.Dir(path)] = true
	}
	for dir := range beside {
		entries, _ := os.ReadDir(filepath.Join(root, dir))
		for _, e := range entries {
			if e.Type().IsRegular() {
				paths = append(paths, filepath.Join(dir, e.Name()))
			}
		}
	}
	if whole {
		_ = filepath.WalkDir(filepath.Join(root, store), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				paths = append(paths, filepath.Join("/", strings.TrimPrefix(path, filepath.Clean(root))))
			}
			return nil
		})
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		look(path, 0)
	}
	slices.Sort(facts.Missing)
	facts.Missing = slices.Compact(facts.Missing)
}

// overlayBeside is an image in the same directory that builds on the file.
func overlayBeside(path string) string {
	entries, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		other := filepath.Join(filepath.Dir(path), e.Name())
		if other != path && e.Type().IsRegular() && slices.Contains(neededFiles(other), path) {
			return other
		}
	}
	return ""
}
