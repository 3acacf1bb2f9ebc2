package tour

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hvinstall/testvm/spechost"

	"golang.org/x/term"
)

// Show is what the person at the terminal sees, and its recording. The guest's
// console is mirrored as it comes, between headings that say what is going on.
type Show struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	cast     *os.File // asciinema v2, see docs.asciinema.org/manual/asciicast/v2
	started  time.Time
	stage    int
	stages   []stage
	midLine  bool
}

type stage struct {
	title string
	began time.Time
}

// NewShow begins a show on out, recorded in dir/demo.cast.
func NewShow(out io.Writer, dir string) (*Show, error) {
	s := &Show{out: out, started: time.Now()}
	if file, isFile := out.(*os.File); isFile {
		s.terminal = term.IsTerminal(int(file.Fd()))
	}
	var err error
	if s.cast, err = os.Create(filepath.Join(dir, "demo.cast")); err != nil {
		return nil, err
	}
	header := map[string]any{"version": 2, "width": spechost.Columns, "height": spechost.Rows, "timestamp": s.started.Unix(), "title": "hvinstall: from blank disks to a running VM"}
	return s, json.NewEncoder(s.cast).Encode(header)
}

// Write is the guest's console.
func (s *Show) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(string(p))
	return len(p), nil
}

func (s *Show) put(text string) {
	event := []any{time.Since(s.started).Seconds(), "o", text}
	_ = json.NewEncoder(s.cast).Encode(event) // a recording that fails does not end the demo
	if !s.terminal {
		text = spechost.Plain(text)
	}
	if text != "" {
		s.midLine = !strings.HasSuffix(text, "\n")
		_, _ = io.WriteString(s.out, text)
	}
}

// Heading begins a stage.
func (s *Show) Heading(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage++
	title := fmt.Sprintf(format, args...)
	s.stages = append(s.stages, stage{title, time.Now()})
	line := ""
	if s.midLine {
		line = "\n"
	}
	// Colours and the cursor may be anywhere after a guest's console.
	s.put(fmt.Sprintf("\x1b[0m%s\r\n\x1b[1;36m━━ %d. %s\x1b[0m\r\n", line, s.stage, title))
}

// Say prints a line.
func (s *Show) Say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(fmt.Sprintf(format, args...) + "\r\n")
}

// Times lists how long each stage took.
func (s *Show) Times() string {
	var b strings.Builder
	for i, st := range s.stages {
		end := time.Now()
		if i+1 < len(s.stages) {
			end = s.stages[i+1].began
		}
		d := end.Sub(st.began).Round(time.Second)
		fmt.Fprintf(&b, "  %2d. %-52s %3d:%02d min\r\n", i+1, st.title, int(d.Minutes()), int(d.Seconds())%60)
	}
	return b.String()
}
