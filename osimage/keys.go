package osimage

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
)

// Lines between these are the layout's, and go with it.
const (
	keysBegin = "# hvinstall: from layout.yaml; lines outside of this block are yours"
	keysEnd   = "# hvinstall: end"
)

// authorizedKeys makes the layout's lines hvinstall's block, and keeps the lines
// outside of it: these are of people. A key of the layout's that also stands
// outside is moved in, for sshd takes the first line of a key, and one without
// the layout's options would lift them. For the same reason a line outside with
// options stays the key's only one, where the layout's has none.
func authorizedKeys(old string, keys []string) string {
	_, own := keyBlock(old)
	var ours []string
	for _, line := range keys {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, options := keyOf(line)
		restricted := false
		own = slices.DeleteFunc(own, func(have string) bool {
			haveKey, haveOptions := keyOf(have)
			if key == "" || haveKey != key {
				return have == line
			}
			if options == "" && haveOptions != "" {
				restricted = true
				return false
			}
			return true
		})
		if !restricted {
			ours = append(ours, line)
		}
	}
	if len(ours) > 0 {
		own = append(append(append(own, keysBegin), ours...), keysEnd)
	}
	if len(own) == 0 {
		return ""
	}
	return strings.Join(own, "\n") + "\n"
}

// keyBlock parts a file into the lines of hvinstall's blocks and those of
// people. A block without its end has no lines: where it ends nobody knows.
func keyBlock(file string) (ours, own []string) {
	var lines []string
	if file = strings.TrimSuffix(file, "\n"); file != "" {
		lines = strings.Split(file, "\n")
	}
	for i := 0; i < len(lines); i++ {
		if lines[i] != keysBegin {
			own = append(own, lines[i])
			continue
		}
		if n := slices.Index(lines[i:], keysEnd); n > 0 {
			ours = append(ours, lines[i+1:i+n]...)
			i += n
		}
	}
	return ours, own
}

// keyName is what sshd's log and ssh-keygen -l call a key, and its comment.
func keyName(line string) string {
	key, options := keyOf(line)
	if key == "" {
		return ""
	}
	_, blob, _ := strings.Cut(key, " ")
	name := blob
	if raw, err := base64.StdEncoding.DecodeString(blob); err == nil {
		digest := sha256.Sum256(raw)
		name = "SHA256:" + base64.RawStdEncoding.EncodeToString(digest[:])
	}
	_, comment, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), options), blob)
	if comment = strings.TrimSpace(comment); comment != "" {
		name += " (" + comment + ")"
	}
	return name
}

// keyOf is the key in a line of authorized_keys, and the options before it, see
// sshd(8), "AUTHORIZED_KEYS FILE FORMAT". A comment holds no key.
func keyOf(line string) (key, options string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", ""
	}
	if !isKeyType(line) {
		end, quoted := len(line), false
		for i := 0; i < len(line); i++ {
			switch c := line[i]; {
			case c == '\\' && i+1 < len(line) && line[i+1] == '"':
				i++
			case c == '"':
				quoted = !quoted
			case (c == ' ' || c == '\t') && !quoted:
				end = i
			}
			if end < len(line) {
				break
			}
		}
		options, line = line[:end], strings.TrimSpace(line[end:])
	}
	words := strings.Fields(line)
	if len(words) < 2 || !isKeyType(line) {
		return "", ""
	}
	return words[0] + " " + words[1], options
}

func isKeyType(line string) bool {
	return strings.HasPrefix(line, "ssh-") || strings.HasPrefix(line, "ecdsa-") || strings.HasPrefix(line, "sk-")
}
