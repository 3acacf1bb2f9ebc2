package configs

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
)

func checkURL(text string) (string, string) {
	u, err := url.Parse(text)
	if err != nil {
		return "not an address that can be read", ""
	}
	if u.Scheme == "file" {
		if clean := path.Clean(u.Path); clean != u.Path {
			return fmt.Sprintf("%s is not a clean path", quote(u.Path)), "write file://" + short(clean)
		}
		if strings.ContainsAny(u.Path, "\x00\n\r") {
			return "a path with a line break", ""
		}
		return "", ""
	}
	if u.Hostname() == "" {
		return "an address without a host", ""
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return fmt.Sprintf("%s is no port", short(p)), ""
		}
	}
	return "", ""
}

func fixURL(text string) string {
	scheme, rest, hasScheme := strings.Cut(text, "://")
	switch {
	case strings.HasPrefix(text, "/"):
		return "a file of this machine is file://" + short(text)
	case hasScheme && scheme == "file" && !strings.HasPrefix(rest, "/"):
		return "a file's address has three slashes: file:///" + short(rest)
	case strings.ContainsAny(text, " \t"):
		return "write a space as %20"
	case !hasScheme:
		return "it begins with https://, http:// or file:///"
	}
	return ""
}

func fixChecksum(text string) string {
	switch {
	case isHex(text, 64):
		return "write sha256:" + text
	case isHex(text, 128):
		return "write sha512: and the digits"
	case isHex(text, 32), strings.HasPrefix(text, "md5:"), strings.HasPrefix(text, "sha1:"):
		return "MD5 and SHA-1 protect nothing; use the SHA-256 sum"
	}
	if kind, digits, ok := strings.Cut(text, ":"); ok && (kind == "sha256" || kind == "sha512") && isHex(digits, len(digits)) {
		return fmt.Sprintf("%s has %d hex digits, this has %d", kind, map[string]int{"sha256": 64, "sha512": 128}[kind], len(digits))
	}
	return ""
}

func isHex(text string, length int) bool {
	return len(text) == length && length > 0 && strings.Trim(text, "0123456789abcdefABCDEF") == ""
}
