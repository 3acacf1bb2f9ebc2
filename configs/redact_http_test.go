package configs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestPublicTextOfHTTPErrors: the addresses are in no layout; what net/http
// itself says of them is asked.
func TestPublicTextOfHTTPErrors(t *testing.T) {
	const word = "hunter2word"
	query := "?sig=" + word + "&b=c#" + word
	ended := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop"+query, http.StatusFound)
		case "/unread":
			w.Header().Set("Location", "/%zz"+query)
			w.WriteHeader(http.StatusFound)
		case "/away":
			w.Header().Set("Location", "https://me:"+word+"@127.0.0.1:1/x"+query)
			w.WriteHeader(http.StatusFound)
		case "/scheme":
			w.Header().Set("Location", "gopher://me:"+word+"@127.0.0.1/x"+query)
			w.WriteHeader(http.StatusFound)
		case "/slow":
			<-ended
		}
	})
	plain := httptest.NewServer(handler)
	secure := httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	defer close(ended)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := closed.Addr().String()
	closed.Close()

	withUser := func(address, path string) string {
		return strings.Replace(address, "://", "://"+word+":"+word+"@", 1) + path + query
	}
	for name, from := range map[string]string{
		"refused":           withUser("http://"+refused, "/x"),
		"no name":           withUser("http://no.such.name.invalid", "/x"),
		"redirect loop":     withUser(plain.URL, "/loop"),
		"unread redirect":   withUser(plain.URL, "/unread"),
		"redirect refused":  withUser(plain.URL, "/away"),
		"redirect's scheme": withUser(plain.URL, "/scheme"),
		"unknown authority": withUser(secure.URL, "/x"),
		"not TLS":           withUser(strings.Replace(plain.URL, "http:", "https:", 1), "/x"),
		"timeout":           withUser(plain.URL, "/slow"),
		"unread":            withUser("http://x.org", "/%zz"),
		"quotes":            withUser("http://"+refused, "/x") + "'a\"" + word,
	} {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Timeout: 300 * time.Millisecond, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			err := ask(t.Context(), client, from)
			if err == nil {
				t.Fatal("it went well")
			}
			said := fmt.Sprintf("fetching it: %v; try again. %v", err, errors.Join(err, err))
			shown := PublicText(said)
			if !strings.Contains(said, word) {
				t.Fatalf("the test tests nothing: %s", said)
			}
			if strings.Contains(shown, word) {
				t.Errorf("%s\nis shown as\n%s", said, shown)
			}
			t.Log(shown)
			if PublicText(shown) != shown {
				t.Errorf("shown twice it is %q", PublicText(shown))
			}
		})
	}
}

func ask(ctx context.Context, client *http.Client, from string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	reply, err := client.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	_, err = io.Copy(io.Discard, reply.Body)
	return err
}

func TestPublicText(t *testing.T) {
	for in, want := range map[string]string{
		"no address": "no address",
		"see https://x.org/a (or https://x.org/b?c=d).":      "see https://x.org/a (or https://x.org/b).",
		"sha256:https://me:hunter2@x.org/SUMS is no sum":     "sha256:https://x.org/SUMS is no sum",
		`Get "https://me:***@x.org/?sig=hunter2": refused`:   `Get "https://x.org/": refused`,
		`said "Get \"https://x.org/?sig=hunter2\": refused"`: `said "Get \"https://x.org/\": refused"`,
		"https://me:%zz@x.org/: refused":                     "https://(hidden): refused",
		"qemu+tls://host/system?pkipath=/root/secret":        "qemu+tls://host/system",
	} {
		if got := PublicText(in); got != want {
			t.Errorf("PublicText(%q)\n is %q\nnot %q", in, got, want)
		}
	}
}

func FuzzPublicText(f *testing.F) {
	f.Add("https://me:hunter2@x.org/a?b=c", "sig")
	f.Fuzz(func(t *testing.T, before, query string) {
		if strings.ContainsAny(query, " \t\r\n\f\"<>\\") || query == "" {
			return
		}
		shown := PublicText(before + " https://x.org/?hunter2word=" + query + " end")
		if strings.Contains(shown, "hunter2word") {
			t.Errorf("%q is shown", shown)
		}
	})
}
