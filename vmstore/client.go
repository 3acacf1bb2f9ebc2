package vmstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// maxRedirects is how far a URL may lead on.
const maxRedirects = 10

// newClient makes the HTTP client of the downloads. It heeds HTTP_PROXY,
// HTTPS_PROXY and NO_PROXY. A static binary has no certificates of its own: it
// trusts those of the running system (ca-certificates), and in the live system
// those of the installed one too.
func newClient(root string) *http.Client {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   30 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		IdleConnTimeout:       30 * time.Second,
		// A body that was compressed for the way would not match its checksum.
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
		ReadBufferSize:     64 << 10,
	}
	if root != "" && root != "/" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if pem, err := os.ReadFile(filepath.Join(root, "etc/ssl/certs/ca-certificates.crt")); err == nil {
			pool.AppendCertsFromPEM(pem)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}
}

func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("the URL leads on more than %d times", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && request.URL.Scheme != "https" {
		return errors.New("an https URL leads to a plain " + request.URL.Scheme + " one; use that URL with a checksum if it is right")
	}
	return nil
}
