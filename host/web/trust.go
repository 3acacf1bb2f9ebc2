package web

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// bundle is where Debian's ca-certificates has what a system trusts.
const bundle = "etc/ssl/certs/ca-certificates.crt"

// StickCA is where a private authority's certificates are on the live medium:
// beside layout.yaml, or beside the image where the machine started from the
// network.
func StickCA() []string {
	return []string{"/run/hvinstall/live/ca.pem", "/run/hvinstall/live/hvinstall/ca.pem"}
}

// authorities are those whose certificates count: the running system's, those of
// another file tree, and those brought along. A static binary has none itself. A
// file that was brought along and cannot be used is an error: without it the
// server would be called a stranger.
func authorities(root string, brought []string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if root != "" && root != "/" {
		if pem, err := os.ReadFile(filepath.Join(root, bundle)); err == nil {
			pool.AppendCertsFromPEM(pem)
		}
	}
	for _, path := range brought {
		pem, err := os.ReadFile(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return pool, fmt.Errorf("reading the certificates of your own authority: %w", err)
		case !pool.AppendCertsFromPEM(pem):
			return pool, fmt.Errorf("%s has no certificate in it: it is text that begins with -----BEGIN CERTIFICATE-----; write it anew, or delete it", path)
		}
	}
	return pool, nil
}

// explain adds the way out to what TLS says.
func explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; where it is an authority of your own, its certificate goes to ca.pem on the live stick, beside layout.yaml, and on an installed host to /usr/local/share/ca-certificates/NAME.crt (then: update-ca-certificates); is the package ca-certificates installed?", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w; this machine's clock says %s: if that is wrong, timedatectl set-time sets it", err, time.Now().UTC().Format("2006-01-02 15:04 UTC"))
	}
	return err
}
