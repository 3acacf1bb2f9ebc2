// Package step runs a plan: one loop that checks each step, does what is
// absent, and checks again.
//
// It knows nothing of disks, networks or VMs. It touches nothing itself: what
// a step does is the step's own. Steps report by events and never print.
package step

import (
	"context"
	"fmt"
	"time"
)

// State is what a step's Check found.
type State int

// A step's work is absent, done, or stands in the way as somebody else's.
const (
	Absent  State = iota // not there: Do makes it
	Done                 // right as it is: left alone
	Foreign              // something else is there: the run stops and names it
)

func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Done:
		return "done"
	case Foreign:
		return "foreign"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// Step is one thing that a run makes true. Keys and passphrases never enter it.
type Step struct {
	ID     string   // stable across runs, as disk/gpt/nvme-QEMU_1
	Title  string   // what a person reads: "partition nvme-QEMU_1"
	Wipes  []string // by-id names of the disks whose old content it destroys
	Detail []string // lines shown in the preview below the title
	After  []string // IDs of steps that must be done before this one starts
	// CheckAfter are IDs of steps whose Check finds what this one's Check looks
	// with; for where steps are only looked at, and After counts for nothing.
	CheckAfter []string
	// Contained keeps a failure to the steps that wait for this one; others go
	// on. One VM that cannot be started is no reason to leave the next one off.
	Contained bool
	Memory    uint64 // bytes that Do needs at its peak; bounds what runs side by side

	// Check reads the machine and says whether the step's work is there. The
	// string says why: what is absent, or what is foreign and whose it is.
	Check func(ctx context.Context) (State, string, error)

	// Do makes it. It is called only after Check said Absent, and Check is
	// called again after it and must then say Done. When ctx ends, Do either
	// finishes or leaves a state that the next run's Check understands.
	Do func(ctx context.Context, report Reporter) error
}

// Reporter takes a running step's news. It may be called from several
// goroutines.
type Reporter interface {
	// Progress says how much of the step is done. unit is "B" for bytes, else
	// a plural noun; total is 0 where it is not known.
	Progress(done, total int64, unit string)
	// Log adds a line for the log, such as a command as typed. Never a secret.
	Log(format string, args ...any)
	// Warn adds a line that a person should read.
	Warn(format string, args ...any)
}

// Kind is what an event tells.
type Kind string

// The kinds of event, in the order in which a step emits them.
const (
	RunStarted   Kind = "run-started"
	StepSkipped  Kind = "step-skipped" // done already
	StepStarted  Kind = "step-started"
	StepProgress Kind = "step-progress"
	StepLog      Kind = "step-log"
	StepWarning  Kind = "step-warning"
	StepDone     Kind = "step-done"
	StepFailed   Kind = "step-failed"
	RunDone      Kind = "run-done"
	RunFailed    Kind = "run-failed"
)

// Event is one line of a run's story; the terminal, the JSON output and the
// log render the same stream. Its JSON form is API.
type Event struct {
	Time    time.Time     `json:"time"`
	Kind    Kind          `json:"kind"`
	Step    string        `json:"step,omitempty"`
	Title   string        `json:"title,omitempty"`
	Message string        `json:"message,omitempty"`
	Done    int64         `json:"done,omitempty"`
	Total   int64         `json:"total,omitempty"`
	Unit    string        `json:"unit,omitempty"`
	Error   string        `json:"error,omitempty"`
	Elapsed time.Duration `json:"elapsed_ns,omitempty"`
	// Steps and Changed count, in RunStarted and RunDone: all steps of the
	// run, and those that changed something.
	Steps   int `json:"steps,omitempty"`
	Changed int `json:"changed,omitempty"`
}

// Refusal is a reason not to start, with the way out. Refusals are collected
// by planners, shown together, and end a run with exit code 3.
type Refusal struct {
	Code  string `json:"code"`           // stable, as disk-missing
	Where string `json:"where"`          // by-id name, NIC or VM
	What  string `json:"what"`           // what is wrong
	Hint  string `json:"hint,omitempty"` // what to do next
}

func (r Refusal) Error() string {
	s := r.What
	if r.Where != "" {
		s = r.Where + ": " + s
	}
	if r.Hint != "" {
		s += "; " + r.Hint
	}
	return s
}

// ForeignError is a run's end at a step whose place is taken by something else
// than the layout says: a stranger's, or hvinstall's own of an earlier layout.
type ForeignError struct {
	Step  string
	Found string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s: %s; it is not what the layout says, and is left as it is", e.Step, e.Found)
}

// NotVerifiedError is a step that ran without an error and whose work is
// nevertheless not there.
type NotVerifiedError struct {
	Step  string
	State State
	Found string
}

func (e *NotVerifiedError) Error() string {
	return fmt.Sprintf("%s: done without an error, yet found %s afterwards: %s", e.Step, e.State, e.Found)
}

// MarshalText writes the state as a word, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
