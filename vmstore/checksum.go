package vmstore

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"hvinstall/host/web"
)

// maxSumsFile is the size beyond which a list of checksums is something else.
const maxSumsFile = 4 << 20

// checksum is what a download must hash to.
type checksum struct {
	algorithm string // sha256 or sha512
	sum       string // hex; empty until the list at list is read
	list      string // URL of a file of sums
}

// ChecksumError is a download that is not what the layout says.
type ChecksumError struct {
	URL, Algorithm, Have, Want string
}

func (e *ChecksumError) Error() string {
	return fmt.Sprintf("%s: %s is %s, want %s; the file at the URL has changed, or the checksum in the layout is another file's",
		e.URL, e.Algorithm, e.Have, e.Want)
}

// parseChecksum reads sha256:HEX, sha512:HEX, or sha256:URL.
func parseChecksum(s string) (checksum, error) {
	if s == "" {
		return checksum{}, nil
	}
	algorithm, rest, found := strings.Cut(s, ":")
	length, known := map[string]int{"sha256": 64, "sha512": 128}[strings.ToLower(algorithm)]
	if !found || !known {
		return checksum{}, fmt.Errorf("checksum %q is of no known kind; write sha256:… or sha512:…", s)
	}
	c := checksum{algorithm: strings.ToLower(algorithm)}
	if strings.Contains(rest, "://") {
		c.list = rest
		return c, nil
	}
	c.sum = strings.ToLower(strings.TrimSpace(rest))
	if _, err := hex.DecodeString(c.sum); err != nil || len(c.sum) != length {
		return checksum{}, fmt.Errorf("checksum %q: %s has %d hex digits", s, c.algorithm, length)
	}
	return c, nil
}

func (c checksum) hash() hash.Hash {
	switch c.algorithm {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// resolve reads the list of sums, when the checksum is one's URL, and finds
// the line of the image. A list is small: all of it comes within the time, or it
// has no end.
func (c checksum) resolve(ctx context.Context, client *web.Client, image string, within time.Duration) (checksum, error) {
	if c.list == "" {
		return c, nil
	}
	text, err := readText(ctx, client, c.list, within)
	if err != nil {
		return c, fmt.Errorf("reading the checksums: %w; give the sum itself, or another server", err)
	}
	name := image
	if u, err := url.Parse(image); err == nil {
		name = path.Base(u.Path)
	}
	c.sum, err = findSum(strings.NewReader(text), name, c.hash().Size()*2)
	if err != nil {
		return c, fmt.Errorf("%s: %w", c.list, err)
	}
	return c, nil
}

// findSum finds a file's line in the output of sha256sum, plain or --tag, or
// takes the one sum of a file that holds nothing else.
func findSum(r io.Reader, name string, digits int) (string, error) {
	var sums []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		sum, file := "", ""
		if head, tail, found := strings.Cut(line, ") = "); found { // SHA256 (file) = sum
			_, file, _ = strings.Cut(head, " (")
			sum = tail
		} else {
			sum, file, _ = strings.Cut(line, " ")
			file = strings.TrimPrefix(strings.TrimSpace(file), "*")
		}
		sum = strings.ToLower(sum)
		if _, err := hex.DecodeString(sum); err != nil || len(sum) != digits {
			continue
		}
		if path.Base(file) == name {
			return sum, nil
		}
		if file == "" {
			sums = append(sums, sum)
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	if len(sums) == 1 {
		return sums[0], nil
	}
	return "", fmt.Errorf("it has no line for %s", name)
}

func readText(ctx context.Context, client *web.Client, from string, within time.Duration) (string, error) {
	u, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	if u.Scheme == "file" {
		file, err := os.Open(u.Path)
		if err != nil {
			return "", err
		}
		defer file.Close()
		text, err := io.ReadAll(io.LimitReader(file, maxSumsFile))
		return string(text), err
	}
	text, err := client.Text(ctx, from, maxSumsFile, within)
	return string(text), err
}
