package vmstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"hvinstall/host/web"

	"golang.org/x/sys/unix"
)

// partial is the small file beside a .part that says of what it is a part.
type partial struct {
	URL          string `json:"url"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	Size         int64  `json:"size"` // of the whole; -1 where the server does not say
	// Boot is the boot in which it was written: after a power failure a file
	// can have its length and not its content.
	Boot string `json:"boot,omitempty"`
}

// validator is what the server is asked to compare before it continues a
// file: a strong ETag, else the date. Without either nothing is continued.
func (p partial) validator() string {
	if p.ETag != "" && !strings.HasPrefix(p.ETag, "W/") {
		return p.ETag
	}
	return p.LastModified
}

func (p partial) same(q partial) bool {
	return p.validator() != "" && p.validator() == q.validator() && (p.Size < 0 || q.Size < 0 || p.Size == q.Size)
}

// errChanged is a server that has another file now than the one we have the
// beginning of.
var errChanged = errors.New("the file at the server has changed since the download began")

// download brings one URL into a growing file.
type download struct {
	client   *web.Client
	url      string
	sidecar  string
	into     *growing
	known    partial // what into is the beginning of
	sized    bool    // a checksum or the format tells a whole file from a part
	backoff  time.Duration
	progress func(done, total int64)
	log      func(string, ...any)
}

// maxFruitless is how many attempts in a row may bring nothing.
const maxFruitless = 5

// run downloads to the end, continuing after every interruption as long as
// the server has the same file and something still comes.
func (d *download) run(ctx context.Context) error {
	if d.known.Size >= 0 && d.known.validator() != "" && d.into.size() == d.known.Size {
		return nil // a run that ended after the download and before the rename
	}
	for fruitless := 0; ; {
		before := d.into.size()
		err := d.attempt(ctx)
		var status *web.StatusError
		var redirect *web.RedirectError
		var noRoom *NoRoomError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errChanged), errors.As(err, &noRoom):
			return err
		case errors.As(err, &redirect), errors.As(err, &status) && !status.Temporary():
			return err
		}
		if d.into.size() > before {
			fruitless = 0
		}
		if fruitless++; fruitless >= maxFruitless {
			return fmt.Errorf("downloading %s: %w (%d attempts brought nothing more)", d.url, err, fruitless)
		}
		d.log("%s: %v; going on at %d bytes", d.url, err, d.into.size())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(d.backoff << fruitless):
		}
	}
}

// attempt makes one request and takes what comes.
func (d *download) attempt(ctx context.Context) error {
	header := http.Header{}
	at := d.into.size()
	if at > 0 {
		if d.known.validator() == "" {
			return errChanged
		}
		header.Set("Range", fmt.Sprintf("bytes=%d-", at))
		header.Set("If-Range", d.known.validator())
	}
	reply, err := d.client.Get(ctx, d.url, header)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	offer, skip, done, err := d.judge(reply, at)
	if err != nil || done {
		return err
	}
	if at == 0 || d.known.URL == "" {
		if err := d.remember(offer); err != nil {
			return err
		}
	}
	return d.take(ctx, reply, skip)
}

// judge compares a reply with what we have of the file. skip is how many bytes
// of the body we have already, from a server that knows no ranges.
func (d *download) judge(reply *http.Response, at int64) (offer partial, skip int64, done bool, err error) {
	offer = partial{
		URL: d.url, ETag: reply.Header.Get("ETag"), LastModified: reply.Header.Get("Last-Modified"),
		Size: reply.ContentLength, Boot: bootID(),
	}
	switch reply.StatusCode {
	case http.StatusOK:
		if at > 0 {
			if !d.known.same(offer) {
				return offer, 0, false, errChanged
			}
			skip = at
		}
		if reply.ContentLength < 0 && len(reply.TransferEncoding) == 0 && !d.sized {
			return offer, 0, false, &web.StatusError{URL: d.url, Code: http.StatusLengthRequired,
				Status: reply.Status + " without a length, so that a part could be taken for the whole; give a checksum"}
		}
		return offer, skip, false, nil
	case http.StatusPartialContent:
		from, total, ok := contentRange(reply.Header.Get("Content-Range"))
		if !ok || from != at {
			return offer, 0, false, fmt.Errorf("%s: asked for bytes from %d, and got %q", d.url, at, reply.Header.Get("Content-Range"))
		}
		offer.Size = total
		if offer.validator() != "" && !d.known.same(offer) || d.known.Size >= 0 && total >= 0 && total != d.known.Size {
			return offer, 0, false, errChanged
		}
		return offer, 0, false, nil
	case http.StatusRequestedRangeNotSatisfiable:
		_, total, _ := contentRange(reply.Header.Get("Content-Range"))
		if at > 0 && total == at && (d.known.Size < 0 || d.known.Size == at) {
			return offer, 0, true, nil // we have all of it
		}
		return offer, 0, false, errChanged
	}
	return offer, 0, false, &web.StatusError{URL: d.url, Status: reply.Status, Code: reply.StatusCode}
}

func (d *download) remember(offer partial) error {
	d.known = offer
	if d.sidecar == "" {
		return nil
	}
	text, err := json.Marshal(offer)
	if err != nil {
		return err
	}
	// Whole or not at all, but not synced: after a power failure the note is
	// not believed anyway, and the disk is better used for the image.
	unfinished := d.sidecar + ".new"
	// A link that somebody has put there is taken away, and not followed.
	if err := removeIfThere(unfinished); err != nil {
		return err
	}
	file, err := os.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return noRoom(d.sidecar, err)
	}
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, file.Close()); err != nil {
		return noRoom(d.sidecar, err)
	}
	return os.Rename(unfinished, d.sidecar)
}

// take reads a body to its end and checks its length.
func (d *download) take(ctx context.Context, reply *http.Response, skip int64) error {
	buffer := make([]byte, copyBuffer)
	sinceCheck := int64(0)
	for {
		n, err := fill(reply.Body, buffer)
		drop := min(skip, int64(n))
		body := buffer[drop:n]
		skip -= drop
		if len(body) > 0 {
			if sinceCheck += int64(len(body)); sinceCheck > 64<<20 {
				sinceCheck = 0
				if err := checkRoom(d.into.file.Name()); err != nil {
					return err
				}
			}
			if err := d.into.append(body); err != nil {
				return noRoom(d.into.file.Name(), err)
			}
			d.progress(d.into.size(), max(d.known.Size, 0))
		}
		if err == nil {
			continue
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		if have := d.into.size(); d.known.Size >= 0 && have != d.known.Size {
			return fmt.Errorf("%d bytes came, and the server had announced %d", have, d.known.Size)
		}
		return nil
	}
}

// fill reads until there is enough for a write that is worth its cost, or a
// fifth of a second has passed. It keeps the reader's own error: a cut
// connection is not the end of the body.
func fill(r io.Reader, buffer []byte) (n int, err error) {
	started := time.Now()
	for n < 256<<10 && (n == 0 || time.Since(started) < 200*time.Millisecond) && err == nil {
		var m int
		m, err = r.Read(buffer[n:])
		n += m
	}
	return n, err
}

// contentRange reads "bytes 5-9/10", "bytes 5-9/*" and "bytes */10".
func contentRange(s string) (from, total int64, ok bool) {
	rest, found := strings.CutPrefix(s, "bytes ")
	span, whole, found2 := strings.Cut(rest, "/")
	if !found || !found2 {
		return 0, -1, false
	}
	total, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		total = -1
	}
	start, _, found := strings.Cut(span, "-")
	from, err = strconv.ParseInt(start, 10, 64)
	return from, total, found && err == nil
}

// readPartial reads the note beside a .part; a note that cannot be read is as
// none.
func readPartial(path string) (p partial, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &p) != nil {
		return partial{}, false
	}
	return p, true
}

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
