package step

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Journal writes events as JSON lines. It explains a run; nothing is ever
// decided from it.
type Journal struct {
	mu sync.Mutex
	to *json.Encoder
	// Quiet leaves out progress events, which a log does not need.
	Quiet bool
}

// NewJournal writes to w.
func NewJournal(w io.Writer) *Journal { return &Journal{to: json.NewEncoder(w)} }

// Event writes one event as one line.
func (j *Journal) Event(e Event) error {
	if j.Quiet && e.Kind == StepProgress {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.to.Encode(e); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}
