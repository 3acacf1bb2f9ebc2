package vmstore

import (
	"fmt"
	"os"
	"strings"

	"hvinstall/configs"
)

// Seed is a NoCloud seed: three small files that cloud-init reads from a
// volume labelled CIDATA at the guest's first start.
type Seed struct {
	Name  string        `json:"name"`
	Cloud configs.Cloud `json:"-"` // may hold password hashes: in no plan that is shown
}

// image is the seed as an ISO, the same bytes for the same texts.
func (s Seed) image() ([]byte, error) {
	user, err := textOrFile(s.Cloud.UserData)
	if err != nil {
		return nil, fmt.Errorf("cloud_init.user_data of %s: %w", s.Name, err)
	}
	meta, err := textOrFile(s.Cloud.MetaData)
	if err != nil {
		return nil, fmt.Errorf("cloud_init.meta_data of %s: %w", s.Name, err)
	}
	network, err := textOrFile(s.Cloud.NetworkConfig)
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
	if !strings.HasPrefix(s, "/") || strings.Contains(s, "\n") {
		return s, nil
	}
	text, err := os.ReadFile(s)
	return string(text), err
}
