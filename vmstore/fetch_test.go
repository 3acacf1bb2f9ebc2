package vmstore

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/host/web"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// impatient is a client that waits for half a second.
func impatient() *web.Client { return web.New("", 500*time.Millisecond) }

// news collects what a step reports.
type news struct{ lines []string }

func (n *news) Progress(int64, int64, string) {}
func (n *news) Log(format string, args ...any) {
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}
func (n *news) Warn(format string, args ...any) { n.Log(format, args...) }

// qcow2Image is a file with a valid qcow2 header and size bytes in all, the
// same for the same seed.
func qcow2Image(size int, seed uint64) []byte {
	image := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = random.Read(image[512 : size/2]) // the rest is zeroes: holes
	copy(image, "QFI\xfb\x00\x00\x00\x03")
	for at, value := range map[int]uint32{20: 16, 28: 16 << 20, 36: 1, 44: 256, 52: 256, 100: 104} {
		binary.BigEndian.PutUint32(image[at:], value) // cluster bits, size, L1 size and place, refcounts' place, header's length
	}
	clear(image[8:20])
	return image
}

func testFetcher() fetcher {
	return fetcher{client: web.New("", 10*time.Second), stall: 10 * time.Second, backoff: time.Millisecond, limit: 1 << 30}
}

// fetchOne fetches into dir/disk.qcow2.
func fetchOne(t *testing.T, f fetcher, dir, url, sum string) (*news, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	n := &news{}
	return n, f.fetch(ctx, Image{URL: url, Checksum: sum}, []string{filepath.Join(dir, "disk.qcow2")}, n)
}

func wantFile(t *testing.T, path string, want []byte) {
	t.Helper()
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s has %d bytes that differ from the %d wanted", path, len(have), len(want))
	}
}

// wantClean checks that only the named files are in dir.
func wantClean(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if strings.Join(have, " ") != strings.Join(names, " ") {
		t.Errorf("the directory holds %v, want %v", have, names)
	}
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func compressed(t *testing.T, kind string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch kind {
	case "gz":
		w := gzip.NewWriter(&b)
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	case "zst":
		w, e := zstd.NewWriter(&b)
		if e != nil {
			t.Fatal(e)
		}
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	case "xz":
		w, e := xz.NewWriter(&b)
		if e != nil {
			t.Fatal(e)
		}
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	case "zip":
		w := zip.NewWriter(&b)
		for name, content := range map[string][]byte{"image/README.md": []byte("# books"), "image/disk.qcow2": data, "SHA256SUMS": []byte("0  x"), "LICENCE": []byte("GPL")} {
			entry, e := w.Create(name)
			if e != nil {
				t.Fatal(e)
			}
			_, e = entry.Write(content)
			err = errors.Join(err, e)
		}
		err = errors.Join(err, w.Close())
	case "tar":
		return tarOf(t, tar.Header{Name: "image/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "image/README", Mode: 0o644, Size: 5}, []byte("books"), tar.Header{Name: "image/disk.qcow2.sha256", Mode: 0o644, Size: 4}, []byte("0  x"), tar.Header{Name: "image/disk.qcow2", Mode: 0o644, Size: int64(len(data))}, data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarOf writes entries; a []byte is the content of the one before.
func tarOf(t *testing.T, parts ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range parts {
		var err error
		switch p := p.(type) {
		case tar.Header:
			err = w.WriteHeader(&p)
		case []byte:
			_, err = w.Write(p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFetchKinds(t *testing.T) {
	image := qcow2Image(768<<10, 1)
	kinds := map[string][]byte{"plain": image}
	for _, kind := range []string{"gz", "zst", "xz", "zip", "tar"} {
		kinds[kind] = compressed(t, kind, image)
	}
	for _, kind := range []string{"gz", "zst", "xz"} {
		kinds["tar."+kind] = compressed(t, kind, kinds["tar"])
	}
	bz2, err := os.ReadFile("testdata/image.bz2")
	if err != nil {
		t.Fatal(err)
	}
	web := newServer(t)
	for kind, data := range kinds {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			// The name says nothing: the first bytes do.
			url := web.put("/"+kind, &served{data: data, etag: `"1"`})
			if log, err := fetchOne(t, testFetcher(), dir, url, sha(data)); err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(log.lines, "\n"))
			}
			wantFile(t, filepath.Join(dir, "disk.qcow2"), image)
			wantClean(t, dir, "disk.qcow2")
			info, err := os.Stat(filepath.Join(dir, "disk.qcow2"))
			if err != nil {
				t.Fatal(err)
			}
			if kind != "plain" && allocated(info) > 512<<10 {
				t.Errorf("it takes %d bytes on the disk: its zeroes are no holes", allocated(info))
			}
		})
	}
	t.Run("bz2", func(t *testing.T) {
		dir := t.TempDir()
		if _, err := fetchOne(t, testFetcher(), dir, web.put("/bz2", &served{data: bz2}), ""); err != nil {
			t.Fatal(err)
		}
		wantFile(t, filepath.Join(dir, "disk.qcow2"), qcow2Image(64<<10, 7))
	})
	t.Run("file", func(t *testing.T) {
		for kind, data := range kinds {
			dir := t.TempDir()
			from := filepath.Join(t.TempDir(), kind)
			if err := os.WriteFile(from, data, 0o444); err != nil {
				t.Fatal(err)
			}
			if _, err := fetchOne(t, testFetcher(), dir, "file://"+from, sha(data)); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			wantFile(t, filepath.Join(dir, "disk.qcow2"), image)
			wantFile(t, from, data)
			wantClean(t, dir, "disk.qcow2")
		}
	})
	t.Run("without xz", func(t *testing.T) {
		t.Setenv("PATH", "/nowhere")
		data := kinds["xz"]
		dir := t.TempDir()
		r, closer, err := decompressor(compressionXZ, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer closer()
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := (unpacking{to: out, limit: 1 << 30}).write("xz", r); err != nil {
			t.Fatal(err)
		}
		wantFile(t, out.Name(), image)
	})
}

func TestFetchOneURLForSeveral(t *testing.T) {
	image, web, dir := qcow2Image(1<<20, 2), newServer(t), t.TempDir()
	url := web.put("/a.gz", &served{data: compressed(t, "gz", image)})
	paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")}
	if err := testFetcher().fetch(t.Context(), Image{URL: url}, paths, &news{}); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		wantFile(t, p, image)
	}
	wantClean(t, dir, "a", "b", "c")
	if n := len(web.asked("/a.gz")); n != 1 {
		t.Errorf("it was downloaded %d times, want once", n)
	}
}

func TestFetchSurvives(t *testing.T) {
	image := qcow2Image(2<<20, 3)
	packed := compressed(t, "gz", image)
	other := compressed(t, "gz", qcow2Image(2<<20, 4))
	for name, c := range map[string]struct {
		file  served
		want  []byte
		asked []string // the ranges asked for; nil: not compared
	}{
		"slow":                      {served{rate: 4 << 20}, image, []string{""}},
		"cut twice, by ETag":        {served{etag: `"x"`, cutAfter: 300 << 10, cuts: 2}, image, []string{"", "bytes=*", "bytes=*"}},
		"cut, by date":              {served{modified: "Mon, 02 Jan 2023 15:04:05 GMT", cutAfter: 300 << 10, cuts: 1}, image, []string{"", "bytes=*"}},
		"cut, no validator":         {served{cutAfter: 300 << 10, cuts: 1}, image, []string{"", ""}},
		"cut, weak ETag":            {served{etag: `W/"x"`, cutAfter: 300 << 10, cuts: 1}, image, []string{"", ""}},
		"cut, no ranges":            {served{etag: `"x"`, noRanges: true, cutAfter: 300 << 10, cuts: 1}, image, []string{"", "bytes=*"}},
		"stalls":                    {served{etag: `"x"`, stallAt: 200 << 10}, image, []string{"", "bytes=*"}},
		"503 first":                 {served{etag: `"x"`, statuses: []int{503, 500}}, image, []string{"", "", ""}},
		"chunked":                   {served{chunked: true}, image, []string{""}},
		"chunked and cut":           {served{chunked: true, etag: `"x"`, cutAfter: 300 << 10, cuts: 1}, image, []string{"", "bytes=*"}},
		"redirect":                  {served{to: "/real"}, image, nil},
		"cut, then another file":    {served{etag: `"x"`, cutAfter: 300 << 10, cuts: 1}, nil, nil},
		"cut, another, same length": {served{etag: `"x"`, cutAfter: 300 << 10, cuts: 1}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			web, dir := newServer(t), t.TempDir()
			f := c.file
			f.data = packed
			web.put("/real", &served{data: packed})
			want := c.want
			if strings.Contains(name, "another") {
				want = qcow2Image(2<<20, 4)
				f.on = func(n int) {
					if n == 1 {
						web.mu.Lock()
						web.files["/f"].data, web.files["/f"].etag = other, `"y"`
						web.mu.Unlock()
					}
				}
			}
			url := web.put("/f", &f)
			fetcher := testFetcher()
			if name == "stalls" {
				fetcher.client = impatient()
			}
			log, err := fetchOne(t, fetcher, dir, url, "")
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(log.lines, "\n"))
			}
			wantFile(t, filepath.Join(dir, "disk.qcow2"), want)
			wantClean(t, dir, "disk.qcow2")
			asked := web.asked("/f")
			if c.asked == nil {
				return
			}
			ok := len(asked) == len(c.asked)
			for i := range min(len(asked), len(c.asked)) {
				ok = ok && (asked[i] == c.asked[i] || c.asked[i] == "bytes=*" && strings.HasPrefix(asked[i], "bytes=") && asked[i] != "bytes=0-")
			}
			if !ok {
				t.Errorf("asked for %q, want %q", asked, c.asked)
			}
		})
	}
}

// TestFetchResumes leaves a .part, as a killed run does, and goes on.
func TestFetchResumes(t *testing.T) {
	image := qcow2Image(2<<20, 5)
	packed := compressed(t, "gz", image)
	half := len(packed) / 2
	note := func(url, etag string, size int, boot string) string {
		return fmt.Sprintf(`{"url":%q,"etag":%q,"size":%d,"boot":%q}`, url, etag, size, boot)
	}
	for name, c := range map[string]struct {
		have  []byte
		note  func(url string) string
		sum   string
		file  served
		asked []string
	}{
		"the same file":               {packed[:half], func(u string) string { return note(u, `"x"`, len(packed), bootID()) }, "", served{etag: `"x"`}, []string{fmt.Sprintf("bytes=%d-", half)}},
		"all of it":                   {packed, func(u string) string { return note(u, `"x"`, len(packed), bootID()) }, "", served{etag: `"x"`}, nil},
		"all, length unknown":         {packed, func(u string) string { return note(u, `"x"`, -1, bootID()) }, "", served{etag: `"x"`}, []string{fmt.Sprintf("bytes=%d-", len(packed))}},
		"another file":                {packed[:half], func(u string) string { return note(u, `"old"`, len(packed), bootID()) }, "", served{etag: `"x"`}, []string{fmt.Sprintf("bytes=%d-", half), ""}},
		"a shorter file now":          {append(bytes.Clone(packed), 1, 2, 3), func(u string) string { return note(u, `"x"`, len(packed)+9, bootID()) }, "", served{etag: `"x"`}, []string{fmt.Sprintf("bytes=%d-", len(packed)+3), ""}},
		"no note":                     {packed[:half], nil, "", served{etag: `"x"`}, []string{""}},
		"another URL's":               {packed[:half], func(string) string { return note("http://elsewhere/", `"x"`, len(packed), bootID()) }, "", served{etag: `"x"`}, []string{""}},
		"longer than whole":           {append(bytes.Clone(packed), 1), func(u string) string { return note(u, `"x"`, len(packed), bootID()) }, "", served{etag: `"x"`}, []string{""}},
		"garbage, checksum":           {bytes.Repeat([]byte{0xAA}, half), func(u string) string { return note(u, `"x"`, len(packed), bootID()) }, sha(packed), served{etag: `"x"`}, []string{fmt.Sprintf("bytes=%d-", half), ""}},
		"garbage in the gz":           {append(bytes.Clone(packed[:half-100]), bytes.Repeat([]byte{0xAA}, 100)...), func(u string) string { return note(u, `"x"`, len(packed), bootID()) }, "", served{etag: `"x"`}, []string{fmt.Sprintf("bytes=%d-", half), ""}},
		"from before a power failure": {packed[:half], func(u string) string { return note(u, `"x"`, len(packed), "another boot") }, "", served{etag: `"x"`}, []string{""}},
		"from before a power failure, with checksum": {packed[:half], func(u string) string { return note(u, `"x"`, len(packed), "another boot") }, sha(packed), served{etag: `"x"`}, []string{fmt.Sprintf("bytes=%d-", half)}},
	} {
		t.Run(name, func(t *testing.T) {
			web, dir := newServer(t), t.TempDir()
			f := c.file
			f.data = packed
			url := web.put("/f", &f)
			if err := os.WriteFile(filepath.Join(dir, "disk.qcow2.part"), c.have, 0o600); err != nil {
				t.Fatal(err)
			}
			if c.note != nil {
				if err := os.WriteFile(filepath.Join(dir, "disk.qcow2.part.json"), []byte(c.note(url)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			log, err := fetchOne(t, testFetcher(), dir, url, c.sum)
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(log.lines, "\n"))
			}
			wantFile(t, filepath.Join(dir, "disk.qcow2"), image)
			wantClean(t, dir, "disk.qcow2")
			if asked := web.asked("/f"); fmt.Sprint(asked) != fmt.Sprint(c.asked) {
				t.Errorf("asked for %q, want %q", asked, c.asked)
			}
		})
	}
}

func TestFetchRefuses(t *testing.T) {
	image := qcow2Image(1<<20, 6)
	packed := compressed(t, "gz", image)
	withBacking := bytes.Clone(image)
	withBacking[14] = 4
	cutOff := qcow2Image(1<<20, 6)
	cutOff[44] = 1
	good := tar.Header{Name: "disk.qcow2", Mode: 0o644, Size: int64(len(image))}
	for name, c := range map[string]struct {
		file served
		sum  string
		want string
	}{
		"404":                    {served{status: 404}, "", "404 Not Found"},
		"403":                    {served{status: 403}, "", "403 Forbidden"},
		"always 500":             {served{status: 500}, "", "attempts brought nothing"},
		"a loop of redirects":    {served{to: "/f"}, "", "more than 10 are not followed"},
		"a length that is a lie": {served{data: packed, etag: `"x"`, claims: int64(len(packed)) + 999}, "", "server"},
		"wrong checksum":         {served{data: packed}, sha(image), "the checksum in the layout is another file's"},
		"no length at all":       {served{data: packed, bare: true}, "", "without a length"},
		"cut gzip":               {served{data: packed[:len(packed)-9]}, "", "unpacking gz: it ends before it is whole; compare the file"},
		"broken xz":              {served{data: append([]byte("\xfd7zXZ\x00"), packed...)}, "", "unpacking xz"},
		"a web page":             {served{data: []byte("<!DOCTYPE html><html>log in</html>")}, "", `it begins with "<!DOCTYPE html>`},
		"nothing":                {served{data: nil}, "", "it is empty"},
		"backing file":           {served{data: withBacking}, "", "backing file"},
		"cut off before it came": {served{data: cutOff}, "", "cut off"},
		"an ISO":                 {served{data: isoOf(t)}, "", "use iso_image"},
		"two files":              {served{data: tarOf(t, good, image, tar.Header{Name: "data.img", Size: 1, Mode: 0o644}, []byte("x"))}, "", `"data.img" is there beside "disk.qcow2"`},
		"a large README":         {served{data: tarOf(t, good, image, tar.Header{Name: "README", Size: 2 << 20, Mode: 0o644}, make([]byte, 2<<20))}, "", `"README" is there beside "disk.qcow2"`},
		"texts only":             {served{data: tarOf(t, tar.Header{Name: "README.md", Size: 1, Mode: 0o644}, []byte("x"))}, "", "it holds no image"},
		"a part of a VHD":        {served{data: append(make([]byte, 4096), append([]byte("conectix"), make([]byte, 504)...)...)}, "", "the VHD is of type 0"},
		"no file":                {served{data: tarOf(t, tar.Header{Name: "d/", Typeflag: tar.TypeDir})}, "", "it holds no image"},
		"a path upwards":         {served{data: tarOf(t, tar.Header{Name: "../disk.qcow2", Mode: 0o644, Size: int64(len(image))}, image)}, "", "leaves the directory"},
		"a hidden path upwards":  {served{data: tarOf(t, tar.Header{Name: "a/../../disk", Mode: 0o644, Size: int64(len(image))}, image)}, "", "leaves the directory"},
		"an absolute path":       {served{data: tarOf(t, tar.Header{Name: "/etc/passwd", Mode: 0o644, Size: int64(len(image))}, image)}, "", "leaves the directory"},
		"a symlink":              {served{data: tarOf(t, tar.Header{Name: "disk.qcow2", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"})}, "", "is a symlink"},
		"a hard link":            {served{data: tarOf(t, tar.Header{Name: "disk.qcow2", Typeflag: tar.TypeLink, Linkname: "/etc/shadow"})}, "", "is a symlink"},
		"a device":               {served{data: tarOf(t, tar.Header{Name: "disk.qcow2", Typeflag: tar.TypeBlock, Devmajor: 8})}, "", "is a block device"},
		"a symlink in tar.gz":    {served{data: compressed(t, "gz", tarOf(t, tar.Header{Name: "disk.qcow2", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}))}, "", "is a symlink"},
		"a symlink in tar.xz":    {served{data: compressed(t, "xz", tarOf(t, tar.Header{Name: "disk.qcow2", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}))}, "", "is a symlink"},
		"zip with two":           {served{data: zipOf(t, "a.qcow2", "b.qcow2")}, "", "is there beside"},
		"zip with a path":        {served{data: zipOf(t, "../a.qcow2")}, "", "leaves the directory"},
		"zip with a password":    {served{data: encryptedZip(t)}, "", `"a.qcow2" in it is encrypted`},
		"a bomb in gz":           {served{data: compressed(t, "gz", make([]byte, 9<<20))}, "", "unpacks to more than"},
		"a bomb in xz":           {served{data: compressed(t, "xz", make([]byte, 9<<20))}, "", "unpacks to more than"},
		"a bomb in zip":          {served{data: compressed(t, "zip", make([]byte, 9<<20))}, "", "unpacks to more than"},
		"a bomb in tar.zst":      {served{data: compressed(t, "zst", compressed(t, "tar", make([]byte, 9<<20)))}, "", "unpacks to more than"},
	} {
		t.Run(name, func(t *testing.T) {
			web, dir := newServer(t), t.TempDir()
			url := web.put("/f", &c.file)
			f := testFetcher()
			if strings.HasPrefix(name, "a bomb") {
				f.limit = 8 << 20
			}
			_, err := fetchOne(t, f, dir, url, c.sum)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want one with %q", err, c.want)
			}
			if _, err := os.Lstat(filepath.Join(dir, "disk.qcow2")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is a disk.qcow2 (%v), want none", err)
			}
			if IsFinal(err) {
				wantClean(t, dir)
			}
		})
	}
}

// TestFetchKeepsWhatIsThere: an image in the place is a VM's disk.
func TestFetchKeepsWhatIsThere(t *testing.T) {
	web, dir := newServer(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "disk.qcow2"), []byte("a VM's disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fetchOne(t, testFetcher(), dir, web.put("/f", &served{data: qcow2Image(1<<20, 1)}), ""); err == nil {
		t.Error("err = nil, want a refusal to replace the file")
	}
	wantFile(t, filepath.Join(dir, "disk.qcow2"), []byte("a VM's disk"))
}

func TestChecksumLists(t *testing.T) {
	image, web := qcow2Image(1<<20, 8), newServer(t)
	sum := strings.TrimPrefix(sha(image), "sha256:")
	for name, c := range map[string]struct{ list, want string }{
		"sha256sum":   {strings.Repeat("0", 64) + "  other.img\n" + sum + "  f.qcow2\n", ""},
		"binary mode": {sum + " *f.qcow2\n", ""},
		"with a path": {sum + "  ./images/f.qcow2\n", ""},
		"--tag":       {"SHA256 (f.qcow2) = " + sum + "\n", ""},
		"alone":       {sum + "\n", ""},
		"signed":      {"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + sum + "  f.qcow2\n-----BEGIN PGP SIGNATURE-----\n", ""},
		"other files": {strings.Repeat("0", 64) + "  other.img\n", "it has no line for f.qcow2"},
		"wrong":       {strings.Repeat("0", 64) + "  f.qcow2\n", "the checksum in the layout is another file's"},
	} {
		t.Run(name, func(t *testing.T) {
			url := web.put("/f.qcow2", &served{data: image})
			list := web.put("/SHA256SUMS", &served{data: []byte(c.list)})
			_, err := fetchOne(t, testFetcher(), t.TempDir(), url, "sha256:"+list)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("err = %v, want %q", err, c.want)
			}
		})
	}
	for _, bad := range []string{"md5:abc", "sha256:12", "sha256:" + strings.Repeat("g", 64), "abc"} {
		if _, err := parseChecksum(bad); err == nil {
			t.Errorf("parseChecksum(%q) = nil, want an error", bad)
		}
	}
}

func zipOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		entry, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write(qcow2Image(64<<10, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func isoOf(t *testing.T) []byte {
	t.Helper()
	image, err := isoImage("TEST", []isoFile{{"a", []byte("b")}})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// encryptedZip has an entry that is marked as zip -e does.
func encryptedZip(t *testing.T) []byte {
	data := zipOf(t, "a.qcow2")
	for _, header := range []struct {
		magic string
		flags int
	}{{"PK\x03\x04", 6}, {"PK\x01\x02", 8}} {
		at := bytes.Index(data, []byte(header.magic))
		if at < 0 {
			t.Fatal("the zip has no such header")
		}
		data[at+header.flags] |= 1
	}
	return data
}
