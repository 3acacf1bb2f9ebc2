package live

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Medium is where the init of the live stick mounts it.
const Medium = "/run/hvinstall/live"

// Request is what the kernel's command line asks of the live system.
type Request struct {
	Plan    string // a file on the medium, by its full path, or an http(s) URL
	Yes     bool   // consent to a plan that erases nothing that holds data
	Confirm string // consent to the plan with this digest
	Sum     string // sha256 that the plan's file must have; empty: not said
	// Passphrase is a file on the medium. The passphrase itself never stands on
	// the command line, where every process can read it.
	Passphrase string
	// Clear says that whoever asks knows that the passphrase came with the boot
	// from the network, where others may have read it.
	Clear bool
	Then  Then
}

// Then is what follows an installation that went well.
type Then string

// After a failure the live system always stays, with the reason on its screen.
const (
	Stay     Then = "stay"
	Reboot   Then = "reboot"
	PowerOff Then = "poweroff"
)

// ErrNoRequest is a command line that asks for nothing.
var ErrNoRequest = errors.New("the kernel's command line has no hvinstall.plan=")

// ParseRequest reads the kernel's command line.
func ParseRequest(commandLine string) (Request, error) {
	r := Request{Then: Stay}
	var wrong []error
	fromNetwork := false
	for _, word := range words(commandLine) {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "hvinstall.plan":
			r.Plan, err = planPath(value)
		case "hvinstall.yes":
			if r.Yes = value == "" || value == "1" || value == "yes"; !r.Yes {
				err = errors.New("write it without a value, or leave it out")
			}
		case "hvinstall.live":
			fromNetwork = value == "ram"
		case "hvinstall.plan_sha256":
			if r.Sum = strings.ToLower(value); len(r.Sum) != 64 || strings.Trim(r.Sum, "0123456789abcdef") != "" {
				err = errors.New("it is 64 hexadecimal digits: sha256sum layout.yaml prints them")
			}
		case "hvinstall.confirm":
			if r.Confirm = value; value == "" {
				err = errors.New("the digest is missing: hvinstall --plan layout.yaml --dry-run prints it")
			}
		case "hvinstall.passphrase_file":
			r.Passphrase, err = onMedium(value)
		case "hvinstall.passphrase":
			// Not even its length may be told.
			err = errors.New("a passphrase on the command line can be read by every process: put it into a file on the stick, and name that by hvinstall.passphrase_file=")
		case "hvinstall.passphrase_clear":
			r.Clear = true
		case "hvinstall.then":
			if r.Then = Then(value); !slices.Contains([]Then{Stay, Reboot, PowerOff}, r.Then) {
				err = fmt.Errorf("%q is none of stay, reboot and poweroff", value)
			}
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", key, err))
		}
	}
	if r.Plan == "" && len(wrong) == 0 {
		return r, ErrNoRequest
	}
	if r.Yes && r.Confirm != "" {
		wrong = append(wrong, errors.New("hvinstall.yes and hvinstall.confirm: give one of them"))
	}
	if !r.Yes && r.Confirm == "" {
		wrong = append(wrong, errors.New("hvinstall.plan without consent: add hvinstall.yes (erases nothing that holds data) or hvinstall.confirm=DIGEST"))
	}
	if r.Yes && r.Sum == "" && strings.HasPrefix(r.Plan, "http://") {
		wrong = append(wrong, errors.New("hvinstall.yes with a plan by plain http gives this machine to whoever answers first: name the file by hvinstall.plan_sha256= (sha256sum layout.yaml), or serve it by https, or consent by hvinstall.confirm=DIGEST"))
	}
	if fromNetwork && r.Passphrase != "" && !r.Clear {
		wrong = append(wrong, errors.New("hvinstall.passphrase_file: a passphrase that came with a boot from the network can have been read by everybody on it: leave it out (encryption: fallback_to_password: false), or start from a stick; hvinstall.passphrase_clear says that you know, and want it"))
	}
	return r, errors.Join(wrong...)
}

// words splits the command line as the kernel does: at spaces outside of
// double quotes.
func words(s string) []string {
	quoted := false
	return strings.FieldsFunc(strings.TrimSpace(s), func(c rune) bool {
		if c == '"' {
			quoted = !quoted
			return true
		}
		return !quoted && (c == ' ' || c == '\t' || c == '\n')
	})
}

func planPath(value string) (string, error) {
	if u, err := url.Parse(value); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		if u.Host == "" {
			return "", fmt.Errorf("%q has no host", value)
		}
		return u.String(), nil // the scheme in small letters
	}
	return onMedium(strings.TrimPrefix(value, "file://"))
}

// onMedium is a path on the medium: plain as layout.yaml, or in full.
func onMedium(value string) (string, error) {
	if value == "" {
		return "", errors.New("the file's name is missing")
	}
	if value == Medium || strings.HasPrefix(value, Medium+"/") {
		return path.Clean(value), nil
	}
	if !filepath.IsLocal(strings.TrimPrefix(value, "/")) {
		return "", fmt.Errorf("%q leads out of the stick", value)
	}
	return path.Join(Medium, value), nil
}

// IsURL reports whether the plan comes from the network.
func (r Request) IsURL() bool {
	return strings.HasPrefix(r.Plan, "http://") || strings.HasPrefix(r.Plan, "https://")
}

// Arguments are those of hvinstall that carry the request out, with the plan
// as a local file, and the passphrase as its file descriptor 3: on a VFAT every
// file can be read by everybody, which hvinstall refuses of a passphrase file.
func (r Request) Arguments(plan string) []string {
	args := []string{"--plan", plan}
	if r.Yes {
		args = append(args, "--yes")
	}
	if r.Confirm != "" {
		args = append(args, "--confirm", r.Confirm)
	}
	if r.Passphrase != "" {
		args = append(args, "--passphrase-fd", "3")
	}
	return args
}
