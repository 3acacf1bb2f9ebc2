package nixos

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"hvinstall/step"
)

// progress turns nix's messages into log lines and a count. Without a
// terminal nix prints one line for each thing it does, see
// src/libmain/shared.cc (printMissing) and src/libstore (copying path,
// building).
type progress struct {
	report step.Reporter

	mu          sync.Mutex
	line        []byte
	last        []string // the last lines, for an error
	done, total int64
}

var (
	announced = regexp.MustCompile(`^(?:these (\d+)|this) (?:derivations?|paths?) will be (?:built|fetched)`)
	doing     = regexp.MustCompile(`^(?:copying (\d+ )?paths?|building) '/nix/store/`)
)

const tailLines = 20

func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range b {
		if c != '\n' && c != '\r' {
			p.line = append(p.line, c)
			continue
		}
		p.said()
	}
	return len(b), nil
}

func (p *progress) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said()
}

// said takes the finished line.
func (p *progress) said() {
	line := strings.TrimRight(string(bytes.ToValidUTF8(p.line, []byte("?"))), " ")
	p.line = p.line[:0]
	if line == "" {
		return
	}
	p.report.Log("%s", line)
	if p.last = append(p.last, line); len(p.last) > tailLines {
		p.last = p.last[1:]
	}
	if m := announced.FindStringSubmatch(line); m != nil {
		n := int64(1)
		if m[1] != "" {
			n, _ = strconv.ParseInt(m[1], 10, 64)
		}
		p.total += n
		p.report.Progress(p.done, p.total, "store paths")
	}
	if doing.MatchString(line) {
		p.done++
		p.total = max(p.total, p.done)
		p.report.Progress(p.done, p.total, "store paths")
	}
}

func (p *progress) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.last, "\n")
}
