package web

import (
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// site is a plain server and one by TLS, whose authority the client knows.
type site struct {
	plain, secure *httptest.Server
	client        *Client
	seen          []http.Header
}

func newSite(t *testing.T, handler func(s *site, w http.ResponseWriter, r *http.Request)) *site {
	t.Helper()
	s := &site{}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.seen = append(s.seen, r.Header.Clone())
		handler(s, w, r)
	})
	s.plain, s.secure = httptest.NewServer(h), httptest.NewTLSServer(h)
	t.Cleanup(s.plain.Close)
	t.Cleanup(s.secure.Close)
	s.client = NewWith(s.authority(t), 2*time.Second)
	t.Cleanup(s.client.Close)
	return s
}

// authority is a file with the secure server's certificate.
func (s *site) authority(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.secure.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHostileRedirects: wherever a server leads, https is never left.
func TestHostileRedirects(t *testing.T) {
	s := newSite(t, func(s *site, w http.ResponseWriter, r *http.Request) {
		to, _ := strings.CutPrefix(r.URL.Path, "/to/")
		switch to {
		case "plain":
			http.Redirect(w, r, s.plain.URL+"/end", http.StatusFound)
		case "secure":
			http.Redirect(w, r, s.secure.URL+"/end", http.StatusFound)
		case "secure-plain":
			http.Redirect(w, r, s.secure.URL+"/to/plain", http.StatusTemporaryRedirect)
		case "secure-secure-plain":
			http.Redirect(w, r, s.secure.URL+"/to/secure-plain", http.StatusMovedPermanently)
		case "round":
			http.Redirect(w, r, "/to/round", http.StatusFound)
		case "file":
			http.Redirect(w, r, "file:///etc/shadow", http.StatusFound)
		default:
			fmt.Fprint(w, "the end")
		}
	})
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{s.plain.URL, "plain", true},
		{s.plain.URL, "secure", true},
		{s.secure.URL, "secure", true},
		{s.secure.URL, "plain", false},
		{s.plain.URL, "secure-plain", false}, // the first address was plain, and what it led to was not
		{s.secure.URL, "secure-secure-plain", false},
		{s.plain.URL, "secure-secure-plain", false},
		{s.plain.URL, "round", false},
		{s.secure.URL, "round", false},
		{s.plain.URL, "file", false},
	} {
		text, err := s.client.Text(t.Context(), c.from+"/to/"+c.to+"?sig=hunter2word", 100, 5*time.Second)
		var redirect *RedirectError
		switch {
		case c.ok && (err != nil || string(text) != "the end"):
			t.Errorf("%s to %s: %q, %v", c.from, c.to, text, err)
		case !c.ok && (!errors.As(err, &redirect) || len(text) > 0):
			t.Errorf("%s to %s: %q, %v; want a RedirectError", c.from, c.to, text, err)
		}
	}
	for _, header := range s.seen {
		if header.Get("Referer") != "" {
			t.Errorf("a server was told the address that led to it: %s", header.Get("Referer"))
		}
	}
}

// raw is a server that answers as it likes.
func raw(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096))
				answer(conn)
			}()
		}
	}()
	return "http://" + listener.Addr().String() + "/x"
}

// TestHostileServer: silence at any place, an endless header, an endless body
// and a phrase for the terminal.
func TestHostileServer(t *testing.T) {
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	for name, c := range map[string]struct {
		answer func(net.Conn)
		want   string
	}{
		"silent":        {func(net.Conn) { <-hold }, "nothing for"},
		"half a header": {func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX-A: "); <-hold }, "nothing for"},
		"half a body":   {func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"); <-hold }, "nothing for"},
		"cut":           {func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab") }, "unexpected EOF"},
		"endless header": {func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("a", 1000)); err != nil {
					return
				}
			}
		}, "exceeded"},
		"endless body": {func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				if _, err := c.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, "larger than"},
		"drop by drop": {func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := c.Write([]byte("a")); err != nil {
					return
				}
			}
		}, "did not end within"},
		"phrase": {func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 404 \x1b]0;owned\x07\r\nContent-Length: 0\r\n\r\n")
		}, "404 Not Found"},
		"number": {func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 599 \x1b]0;owned\x07\r\nContent-Length: 0\r\n\r\n")
		}, "answers 599;"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := New("", 500*time.Millisecond)
			text, err := client.Text(t.Context(), raw(t, c.answer), 64<<10, 2*time.Second)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(text) > 0 {
				t.Errorf("%q, %v; want an error with %q", text, err, c.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\x07") {
				t.Errorf("the server's own phrase is handed on: %q", err)
			}
		})
	}
}

// TestSlowReaderIsNoSilentServer: who writes what comes to a slow disk does not
// blame the server.
func TestSlowReaderIsNoSilentServer(t *testing.T) {
	s := newSite(t, func(_ *site, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 200<<10)) })
	client := New("", 200*time.Millisecond)
	reply, err := client.Get(t.Context(), s.plain.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	h := sha256.New()
	buffer := make([]byte, 64<<10)
	for {
		n, err := reply.Body.Read(buffer)
		h.Write(buffer[:n])
		if err != nil {
			if !strings.Contains(err.Error(), "EOF") {
				t.Errorf("after a pause of the reader: %v", err)
			}
			return
		}
		<-time.After(100 * time.Millisecond)
	}
}

// TestAuthority: a private one counts where its certificate is brought along,
// and a file that is none is not passed over.
func TestAuthority(t *testing.T) {
	s := newSite(t, func(_ *site, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") })
	if _, err := New("", 0).Text(t.Context(), s.secure.URL, 10, 5*time.Second); err == nil || !strings.Contains(err.Error(), "ca.pem on the live stick") {
		t.Errorf("a stranger's certificate: %v", err)
	}
	if text, err := s.client.Text(t.Context(), s.secure.URL, 10, 5*time.Second); err != nil || string(text) != "x" {
		t.Errorf("with the authority: %q, %v", text, err)
	}
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("MIIB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := authorities("", []string{empty})
	if err == nil || !strings.Contains(err.Error(), "has no certificate") {
		t.Errorf("a file without a certificate: %v", err)
	}
	client := &Client{trust: err}
	if _, err := client.Text(t.Context(), s.secure.URL, 10, time.Second); err == nil || !strings.Contains(err.Error(), "has no certificate") {
		t.Errorf("asked nevertheless: %v", err)
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(bundle)), 0o755); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(s.authority(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, bundle), pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := New(root, 0).Text(t.Context(), s.secure.URL, 10, 5*time.Second); err != nil || string(text) != "x" {
		t.Errorf("with the installed system's certificates: %q, %v", text, err)
	}
}
