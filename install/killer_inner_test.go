//go:build guest_inner

package install

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hvinstall/step"
)

// killer prints the events, and kills this process where the test says so:
//
//	done N         after the Nth step done
//	during N MS    MS after the Nth step started
//	at {JSON}      see moments
func killer(when string) func(step.Event) {
	out := json.NewEncoder(os.Stderr)
	mode, rest, _ := strings.Cut(when, " ")
	first, second, _ := strings.Cut(rest, " ")
	n, _ := strconv.Atoi(first)
	delay, _ := strconv.Atoi(second)
	var at moments
	if mode == "at" {
		if err := json.Unmarshal([]byte(rest), &at); err != nil {
			panic(err)
		}
	}
	die := func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
	done, begun := 0, 0
	return func(e step.Event) {
		if e.Kind != step.StepSkipped {
			_ = out.Encode(e)
		}
		switch e.Kind { //nolint:exhaustive // only these two kill
		case step.StepDone:
			if done++; mode == "done" && done == n || at.After[e.Step] {
				die()
			}
		case step.StepStarted:
			if begun++; mode == "during" && begun == n {
				time.AfterFunc(time.Duration(delay)*time.Millisecond, die)
			}
			switch delay, there := at.During[e.Step]; {
			case there && delay == 0: // a timer would come after a step of a millisecond
				die()
			case there:
				time.AfterFunc(delay, die)
			}
		}
	}
}

// moments are those at which a run is to be killed: the first that it comes
// to counts.
type moments struct {
	During map[string]time.Duration // by step: so long after it started
	After  map[string]bool          // by step: when it is done
}

func (m moments) String() string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return "at " + string(text)
}

// story is what a run's events tell of its steps.
type story struct {
	order  []string                 // the steps that it did, as they ended
	took   map[string]time.Duration // of those
	middle []string                 // the steps that it was at work on when it was killed
	last   string                   // the step whose end is the last thing that it told
}

func tell(events string) story {
	s := story{took: map[string]time.Duration{}}
	begun := map[string]bool{}
	for line := range strings.Lines(events) {
		var e step.Event
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		s.last = ""
		switch e.Kind { //nolint:exhaustive // only these two matter
		case step.StepStarted:
			begun[e.Step] = true
		case step.StepDone:
			delete(begun, e.Step)
			s.order, s.took[e.Step], s.last = append(s.order, e.Step), e.Elapsed, e.Step
		}
	}
	for id := range begun {
		s.middle = append(s.middle, id)
	}
	return s
}
