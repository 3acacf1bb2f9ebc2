package configs

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
)

var keyTypes = []string{
	"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
	"ssh-ed25519-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com", "ecdsa-sha2-nistp256-cert-v01@openssh.com",
}

// checkSSHKey reads a line of authorized_keys, see sshd(8): options, type,
// the key in base64, comment. The key begins with its own type.
func checkSSHKey(text string) (string, string) {
	if strings.Contains(text, "PRIVATE KEY") {
		return "this is a private key", "put the public one here (the .pub file), and make a new pair: this one has been in a layout"
	}
	words := strings.Fields(text)
	i := slices.IndexFunc(words, func(w string) bool { return slices.Contains(keyTypes, w) })
	if i < 0 {
		if len(words) > 0 && words[0] == "ssh-dss" {
			return "a DSA key, which sshd no longer takes", "make one with: ssh-keygen -t ed25519"
		}
		return "not a line of an authorized_keys file", "it looks like: ssh-ed25519 AAAAC3... me@laptop"
	}
	if i+1 == len(words) {
		return "the key is missing after " + words[i], "copy the whole line of the .pub file"
	}
	blob, err := base64.StdEncoding.DecodeString(words[i+1])
	if err != nil || len(blob) < 4 {
		return "the key is cut or mistyped", "copy the whole line of the .pub file"
	}
	n := int(min(binary.BigEndian.Uint32(blob), 1<<16))
	if n > len(blob)-4 || string(blob[4:4+n]) != words[i] || len(blob) < 4+n+32 {
		return "the key is cut or mistyped", "copy the whole line of the .pub file"
	}
	return "", ""
}

func fixPassword(text string) string {
	switch {
	case strings.HasPrefix(text, "$1$"):
		return "MD5 is broken; make a new one with: mkpasswd -m yescrypt"
	case text == "!" || text == "*" || text == "!!":
		return "to forbid passwords, remove the key"
	default:
		return "make one with: mkpasswd -m yescrypt"
	}
}

// checkUserData looks at how cloud-init will take the text: by its first line.
func checkUserData(text string) (string, string) {
	if strings.HasPrefix(text, "#") || strings.HasPrefix(text, "Content-Type:") || strings.HasPrefix(text, "MIME-Version:") ||
		strings.HasPrefix(text, "/") && !strings.Contains(text, "\n") {
		return "", ""
	}
	return "cloud-init would ignore it", "user data begins with #cloud-config or with #!"
}
