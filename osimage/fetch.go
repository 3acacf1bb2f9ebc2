package osimage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"hvinstall/configs"
	"hvinstall/host"
	"hvinstall/step"
)

// downloadName is where an image from the network is kept while it is
// unpacked: on the disk, because a live system may have little memory.
const downloadName = ".hvinstall-image"

// fetch returns a local path of the image. A file is used where it lies; a
// download is kept below root, and continued where an earlier run stopped.
func (p Plan) fetch(ctx context.Context, root string, report step.Reporter) (string, error) {
	u, err := url.Parse(p.Image.URL)
	if err != nil {
		return "", err
	}
	if u.Scheme == "file" {
		if _, err := os.Stat(u.Path); err != nil {
			return "", fmt.Errorf("the system's image: %w; on the live stick it is file:///run/hvinstall/live/hvinstall/root.squashfs", err)
		}
		return u.Path, nil
	}
	path := filepath.Join(root, downloadName)
	if have, err := host.SHA256(ctx, path); err == nil && have == p.Image.SHA256 {
		return path, nil
	}
	report.Log("fetching %s", configs.PublicURL(p.Image.URL))
	// A network that stumbles is asked again from where it stopped; one that
	// stays away ends the run, and the next run goes on from there.
	var last error
	for attempt := range 5 {
		if attempt > 0 {
			report.Warn("fetching the image: %v; trying again", last)
			select {
			case <-ctx.Done():
				return "", context.Cause(ctx)
			case <-time.After(time.Duration(attempt) * 2 * time.Second):
			}
		}
		if last = download(ctx, p.Image.URL, path, report); last == nil {
			return path, nil
		}
		var status *statusError
		if ctx.Err() != nil || (errors.As(last, &status) && !status.temporary()) {
			break
		}
	}
	return "", fmt.Errorf("fetching %s: %w; run the same command again, it goes on where this stopped", p.Image.URL, last)
}

type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

func (e *statusError) temporary() bool {
	return e.code >= 500 || e.code == http.StatusTooManyRequests || e.code == http.StatusRequestTimeout
}

// client has no time limit for a whole transfer, only for its silence: see
// stallReader.
var client = &http.Client{Transport: &http.Transport{
	Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: time.Minute, ForceAttemptHTTP2: true,
}}

// stall is how long a server may send nothing.
const stall = time.Minute

func download(ctx context.Context, from, path string, report step.Reporter) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(stall, func() { cancel(fmt.Errorf("the server sent nothing for %s", stall)) })
	defer silence.Stop()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	if have > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	response, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusPartialContent:
	case http.StatusRequestedRangeNotSatisfiable:
		// What is there is longer than the image: of another one.
		if err := file.Truncate(0); err != nil {
			return err
		}
		return errors.New("the image has changed on the server")
	case http.StatusOK:
		have = 0
		if err := file.Truncate(0); err != nil {
			return err
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
	default:
		return &statusError{response.StatusCode}
	}
	total := int64(0)
	if response.ContentLength > 0 {
		total = have + response.ContentLength
	}
	err = host.Copy(ctx, file, response.Body, func(n int64) {
		silence.Reset(stall)
		report.Progress(have+n, total, "B")
	})
	if err != nil {
		return err
	}
	return file.Sync()
}

// LiveSum reads the sum that the live medium states for its image, in the form
// of sha256sum(1), from <image>.sha256; empty where there is none.
func LiveSum(image string) (string, error) {
	data, err := os.ReadFile(image + ".sha256")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if len(data) < 64 {
		return "", fmt.Errorf("%s.sha256 holds no sha256", image)
	}
	if _, err := hex.DecodeString(string(data[:64])); err != nil {
		return "", fmt.Errorf("%s.sha256 holds no sha256", image)
	}
	return string(data[:64]), nil
}
