package vmstore

import (
	"fmt"
	"io"
	"strings"

	"hvinstall/configs"
)

// Seed is a NoCloud seed: three small files that cloud-init reads from a
// volume labelled CIDATA at the guest's first start.
type Seed struct {
	Name  string        `json:"name"`
	Cloud configs.Cloud `json:"-"` // may hold password hashes: in no plan that is shown
	// Files are the sums of the files that it names, as they were when the plan
	// was made.
	Files map[string]string `json:"files,omitempty"`
}

// image is the seed as an ISO, the same bytes for the same texts.
func (s Seed) image() ([]byte, error) {
	user, err := s.text(s.Cloud.UserData)
	if err != nil {
		return nil, fmt.Errorf("cloud_init.user_data of %s: %w", s.Name, err)
	}
	meta, err := s.text(s.Cloud.MetaData)
	if err != nil {
		return nil, fmt.Errorf("cloud_init.meta_data of %s: %w", s.Name, err)
	}
	network, err := s.text(s.Cloud.NetworkConfig)
	if err != nil {
		return nil, fmt.Errorf("cloud_init.network_config of %s: %w", s.Name, err)
	}
	if meta == "" {
		meta = "instance-id: " + s.Name + "\nlocal-hostname: " + s.Name + "\n"
	}
	if user == "" {
		user = "#cloud-config\n{}\n"
	}
	files := []isoFile{{"meta-data", []byte(meta)}, {"user-data", []byte(user)}}
	if network != "" {
		files = append(files, isoFile{"network-config", []byte(network)})
	}
	return isoImage("CIDATA", files)
}

// textOrFile takes a text as it is, and the path of a file for its content.
func textOrFile(s string) (string, error) {
	if !isFile(s) {
		return s, nil
	}
	file, info, err := openAnything(s)
	if err != nil {
		return "", err
	}
	defer file.Close()
	switch {
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is a %s, and no file with a text", s, kindOf(info.Mode()))
	case info.Size() > largestSeed:
		return "", fmt.Errorf("%s is larger than %d MiB, and no such text", s, largestSeed>>20)
	}
	text, err := io.ReadAll(io.LimitReader(file, largestSeed))
	return string(text), err
}

const largestSeed = 16 << 20

// isFile tells the path of a file from a text.
func isFile(s string) bool { return strings.HasPrefix(s, "/") && !strings.Contains(s, "\n") }

// text is a text of the seed. A file must be as it was when the plan was shown.
func (s Seed) text(named string) (string, error) {
	text, err := textOrFile(named)
	if want := s.Files[named]; err == nil && isFile(named) && len(want) == 64 && sumOf(text) != want {
		return "", fmt.Errorf("%s has changed since the plan was shown; run the same command again", named)
	}
	return text, err
}
