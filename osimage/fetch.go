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
	"hvinstall/host/web"
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
	client := web.New("", 0)
	defer client.Close()
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
		if last = download(ctx, client, p.Image.URL, path, report); last == nil {
			return path, nil
		}
		var status *web.StatusError
		var redirect *web.RedirectError
		if ctx.Err() != nil || errors.As(last, &redirect) || errors.As(last, &status) && !status.Temporary() {
			break
		}
	}
	return "", fmt.Errorf("fetching %s: %w; run the same command again, it goes on where this stopped", p.Image.URL, last)
}

func download(ctx context.Context, client *web.Client, from, path string, report step.Reporter) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	header := http.Header{}
	if have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	response, err := client.Get(ctx, from, header)
	if err != nil {
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
		return &web.StatusError{URL: from, Status: response.Status, Code: response.StatusCode}
	}
	total := int64(0)
	if response.ContentLength > 0 {
		total = have + response.ContentLength
	}
	err = host.Copy(ctx, file, io.LimitReader(response.Body, largestImage-have+1), func(n int64) { report.Progress(have+n, total, "B") })
	if err != nil {
		return err
	}
	if end, err := file.Seek(0, io.SeekCurrent); err != nil || end > largestImage {
		return errors.Join(err, file.Truncate(0), fmt.Errorf("it is larger than %d GiB, and so no image of hvinstall's", largestImage>>30))
	}
	return file.Sync()
}

// largestImage is what no system's image is larger than: a server that never
// ends fills no disk.
const largestImage = 16 << 30

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
