// Package web is the only door to servers: layouts, images and their sums come
// through its one HTTP client, with one rule for where a server may lead on, one
// limit for its silence, and bounds for what it says.
//
// It writes no file. Who asks has a sum to compare, or says that there is none.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// maxRedirects is how far a URL may lead on.
	maxRedirects = 10
	// maxHeader bounds the header of an answer.
	maxHeader = 64 << 10
	// Stall is how long a server may send nothing, where nobody says otherwise.
	Stall = time.Minute
)

// Client asks servers. It heeds HTTP_PROXY, HTTPS_PROXY and NO_PROXY. There is
// no limit for a whole transfer, only for its silence.
type Client struct {
	http  http.Client
	stall time.Duration
	trust error // why the certificates cannot be used; every https request says so
}

// New makes a client. root is the file tree whose certificates count beside the
// running system's, as the installed one's in the live system; may be "". A
// stall of 0 is Stall.
func New(root string, stall time.Duration) *Client { return with(root, StickCA(), stall) }

// NewWith makes a client that knows the authority whose certificate is in the
// file, beside the running system's.
func NewWith(ca string, stall time.Duration) *Client { return with("", []string{ca}, stall) }

func with(root string, brought []string, stall time.Duration) *Client {
	if stall == 0 {
		stall = Stall
	}
	pool, err := authorities(root, brought)
	c := &Client{stall: stall, trust: err}
	c.http.CheckRedirect = checkRedirect
	c.http.Transport = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    30 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		TLSClientConfig:        &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		// A body that was compressed for the way would not match its checksum.
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
		ReadBufferSize:     64 << 10,
	}
	return c
}

// Close lets go of the connections that wait for another request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// RedirectError is a server that leads on to where nobody may follow.
type RedirectError struct{ From, To, Why string }

func (e *RedirectError) Error() string {
	return fmt.Sprintf("%s leads on to %s: %s", e.From, e.To, e.Why)
}

// checkRedirect is the one rule. What was https stays https, from each step to
// the next: the first address may be http and lead to https and back.
func checkRedirect(next *http.Request, via []*http.Request) error {
	// The address that led here may have a secret in its query.
	next.Header.Del("Referer")
	last := via[len(via)-1]
	if len(via) > maxRedirects {
		return &RedirectError{via[0].URL.Redacted(), next.URL.Redacted(), fmt.Sprintf("that is the %dth time, and more than %d are not followed; use the address at the end of it", len(via), maxRedirects)}
	}
	switch scheme := next.URL.Scheme; {
	case scheme != "http" && scheme != "https":
		return &RedirectError{last.URL.Redacted(), next.URL.Redacted(), "that is neither http nor https"}
	case last.URL.Scheme == "https" && scheme != "https":
		return &RedirectError{last.URL.Redacted(), next.URL.Redacted(), "https never leads to plain http, where anybody on the way can answer; where that address is right, name it itself, with its sha256"}
	}
	return nil
}

// Get asks for an address. The body of the answer fails once the server sends
// nothing for as long as the client waits. The status is in hvinstall's own
// words: a server's phrase says no more than its number.
func (c *Client) Get(ctx context.Context, from string, header http.Header) (*http.Response, error) {
	return c.ask(ctx, http.MethodGet, from, header)
}

// Head asks what Get would bring.
func (c *Client) Head(ctx context.Context, from string) (*http.Response, error) {
	return c.ask(ctx, http.MethodHead, from, nil)
}

func (c *Client) ask(ctx context.Context, method, from string, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	request, err := http.NewRequestWithContext(ctx, method, from, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if c.trust != nil && request.URL.Scheme == "https" {
		cancel(nil)
		return nil, c.trust
	}
	if header != nil {
		request.Header = header.Clone()
	}
	request.Header.Set("Accept-Encoding", "identity")
	idle := time.AfterFunc(c.stall, func() { cancel(fmt.Errorf("the server sent nothing for %s", c.stall)) })
	reply, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		idle.Stop()
		cancel(nil)
		return nil, explain(err)
	}
	idle.Stop()
	reply.Status = status(reply.StatusCode)
	reply.Body = &body{from: reply.Body, ctx: ctx, cancel: cancel, idle: idle, stall: c.stall}
	return reply, nil
}

func status(code int) string {
	if text := http.StatusText(code); text != "" {
		return fmt.Sprintf("%d %s", code, text)
	}
	return fmt.Sprint(code)
}

// body is an answer's body that ends when nothing comes.
type body struct {
	from   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   *time.Timer
	stall  time.Duration
}

func (b *body) Read(p []byte) (int, error) {
	// Who asks may have been busy for longer than a server may be silent.
	b.idle.Reset(b.stall)
	n, err := b.from.Read(p)
	b.idle.Stop()
	if err != nil && !errors.Is(err, io.EOF) && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *body) Close() error {
	b.idle.Stop()
	b.cancel(nil)
	return b.from.Close()
}

// StatusError is an answer other than the one that was asked for.
type StatusError struct {
	URL, Status string
	Code        int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: the server answers %s; check the address", e.URL, e.Status)
}

// Temporary says whether the same request may be answered later.
func (e *StatusError) Temporary() bool {
	return e.Code >= 500 || e.Code == http.StatusTooManyRequests || e.Code == http.StatusRequestTimeout
}

// Text is a small file, all of it: it comes within the time and is no larger
// than most bytes, or it is something else.
func (c *Client) Text(ctx context.Context, from string, most int64, within time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("%s did not end within %s", from, within))
	defer cancel()
	reply, err := c.Get(ctx, from, nil)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return nil, &StatusError{from, reply.Status, reply.StatusCode}
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is larger than %d KiB, and so no such file", from, most>>10)
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}
