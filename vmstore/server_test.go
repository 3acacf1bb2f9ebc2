package vmstore

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is a web server of files that can be made to misbehave.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]*served
	// log is what was asked for: "GET /a", "GET /a bytes=5-".
	log []string
}

// served is a file and how it is served.
type served struct {
	data     []byte
	etag     string      // "": none
	modified string      // "": none
	noRanges bool        // answers 200 to a Range
	cutAfter int         // the connection is cut after so many bytes of each answer; 0: never
	cuts     int         // how often it is cut; 0 with cutAfter: always
	rate     int         // bytes in a second; 0: as fast as it goes
	stallAt  int         // stops sending there, once
	claims   int64       // a Content-Length that is not true
	chunked  bool        // no Content-Length
	bare     bool        // no length and no chunks: HTTP/1.0
	status   int         // answers this and nothing else
	statuses []int       // answers these first, one each
	to       string      // redirects there
	on       func(n int) // called at each GET with its number
	gets     int
	delay    time.Duration
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{files: map[string]*served{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) put(path string, f *served) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = f
	return s.URL + path
}

// asked counts the GETs of a path.
func (s *server) asked(path string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for _, line := range s.log {
		if rest, ok := strings.CutPrefix(line, "GET "+path); ok {
			found = append(found, strings.TrimSpace(rest))
		}
	}
	return found
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f := s.files[r.URL.Path]
	s.log = append(s.log, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	if f == nil {
		s.mu.Unlock()
		http.NotFound(w, r)
		return
	}
	get := r.Method == http.MethodGet
	number := f.gets
	if get {
		f.gets++
	}
	on := f.on
	s.mu.Unlock()
	if on != nil && get {
		on(number)
	}
	s.mu.Lock()
	status := f.status
	if get && len(f.statuses) > 0 {
		status, f.statuses = f.statuses[0], f.statuses[1:]
	}
	g := *f // as it is now
	s.mu.Unlock()
	time.Sleep(g.delay)
	switch {
	case status != 0:
		w.WriteHeader(status)
		return
	case g.to != "":
		http.Redirect(w, r, g.to, http.StatusFound)
		return
	}
	if g.etag != "" {
		w.Header().Set("ETag", g.etag)
	}
	if g.modified != "" {
		w.Header().Set("Last-Modified", g.modified)
	}
	from := 0
	if span := r.Header.Get("Range"); span != "" && !g.noRanges {
		match := r.Header.Get("If-Range")
		if match == "" || match == g.etag && g.etag != "" || match == g.modified && g.modified != "" {
			from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(span, "bytes="), "-"))
			if from >= len(g.data) {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", len(g.data)))
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(g.data)-1, len(g.data)))
		}
	}
	body := g.data[from:]
	length := int64(len(body))
	if g.claims != 0 {
		length = g.claims
	}
	if g.bare {
		s.bare(w, body)
		return
	}
	if !g.chunked {
		w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if w.Header().Get("Content-Range") != "" {
		w.WriteHeader(http.StatusPartialContent)
	}
	if !get {
		return
	}
	s.send(w, f, g, body, from)
}

func (s *server) send(w http.ResponseWriter, f *served, g served, body []byte, from int) {
	sent := 0
	for len(body) > 0 {
		n := min(len(body), 64<<10)
		if g.rate > 0 {
			n = min(n, max(g.rate/50, 1))
			time.Sleep(20 * time.Millisecond)
		}
		if g.cutAfter > 0 && sent+n >= g.cutAfter {
			s.mu.Lock()
			cut := f.cuts != 1
			if f.cuts > 1 {
				f.cuts--
			} else if f.cuts == 1 {
				f.cutAfter = 0
				cut = true
			}
			s.mu.Unlock()
			if cut {
				_, _ = w.Write(body[:max(g.cutAfter-sent, 0)])
				panic(http.ErrAbortHandler)
			}
		}
		if g.stallAt > 0 && from+sent >= g.stallAt {
			s.mu.Lock()
			stall := f.stallAt > 0
			f.stallAt = 0
			s.mu.Unlock()
			if stall {
				w.(http.Flusher).Flush()
				time.Sleep(3 * time.Second)
				panic(http.ErrAbortHandler)
			}
		}
		if _, err := w.Write(body[:n]); err != nil {
			return
		}
		body, sent = body[n:], sent+n
	}
	if g.claims > int64(sent) {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// bare answers as HTTP/1.0 does: the end of the connection is the end of the
// file.
func (s *server) bare(w http.ResponseWriter, body []byte) {
	conn, buffer, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer func(c net.Conn) { c.Close() }(conn)
	_, _ = buffer.WriteString("HTTP/1.0 200 OK\r\n\r\n")
	_, _ = buffer.Write(body)
	_ = buffer.Flush()
}
