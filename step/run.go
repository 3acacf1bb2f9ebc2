package step

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Runner runs steps. The zero Runner runs one step at a time and tells nobody.
type Runner struct {
	Events func(Event)      // called by one goroutine at a time; may be nil
	Side   int              // how many steps may run side by side; 0 means 1
	Memory uint64           // bytes that the steps running side by side may need together; 0 means no bound
	Now    func() time.Time // nil means time.Now

	mu sync.Mutex
}

type outcome struct {
	index   int
	changed bool
	err     error
}

// Run checks, does and verifies every step, side by side where After allows it.
// It returns how many steps changed something. After the first failure no new
// step starts, unless the failed one was Contained; those that are running
// finish. When ctx ends, it does the same and returns ctx's cause.
func (r *Runner) Run(ctx context.Context, steps []Step) (changed int, err error) {
	started := r.now()
	if err := validate(steps); err != nil {
		return 0, err
	}
	r.emit(Event{Kind: RunStarted, Steps: len(steps)})
	side := max(r.Side, 1)

	done := make(map[string]bool, len(steps))
	begun := make([]bool, len(steps))
	outcomes := make(chan outcome)
	var failures []error
	stopped := false
	running, remaining := 0, len(steps)
	var memory uint64

	for remaining > 0 {
		if !stopped && ctx.Err() == nil {
			for i := range steps {
				if running >= side {
					break
				}
				if begun[i] || !ready(steps[i], done) {
					continue
				}
				if r.Memory > 0 && running > 0 && memory+steps[i].Memory > r.Memory {
					continue
				}
				begun[i] = true
				running++
				memory += steps[i].Memory
				go func() {
					changed, err := r.one(ctx, steps[i])
					outcomes <- outcome{i, changed, err}
				}()
			}
		}
		if running == 0 {
			break
		}
		o := <-outcomes
		running--
		remaining--
		memory -= steps[o.index].Memory
		if o.changed {
			changed++
		}
		if o.err != nil {
			failures = append(failures, o.err)
			stopped = stopped || !steps[o.index].Contained
			continue
		}
		done[steps[o.index].ID] = true
	}

	err = errors.Join(failures...)
	if err == nil && remaining > 0 {
		err = context.Cause(ctx)
	}
	end := Event{Kind: RunDone, Steps: len(steps), Changed: changed, Elapsed: r.now().Sub(started)}
	if err != nil {
		end.Kind, end.Error = RunFailed, err.Error()
	}
	r.emit(end)
	return changed, err
}

// one is the loop's body: check, do, check again.
func (r *Runner) one(ctx context.Context, s Step) (changed bool, err error) {
	started := r.now()
	fail := func(changed bool, err error) (bool, error) {
		r.emit(Event{Kind: StepFailed, Step: s.ID, Title: s.Title, Error: err.Error(), Elapsed: r.now().Sub(started)})
		return changed, err
	}
	state, found, err := s.Check(ctx)
	if err != nil {
		return fail(false, fmt.Errorf("%s: looking: %w", s.ID, err))
	}
	switch state {
	case Done:
		r.emit(Event{Kind: StepSkipped, Step: s.ID, Title: s.Title, Message: found, Elapsed: r.now().Sub(started)})
		return false, nil
	case Foreign:
		return fail(false, &ForeignError{Step: s.ID, Found: found})
	case Absent:
	}
	r.emit(Event{Kind: StepStarted, Step: s.ID, Title: s.Title, Message: found})
	if err := s.Do(ctx, &reporter{runner: r, step: s}); err != nil {
		return fail(true, fmt.Errorf("%s: %w", s.ID, err))
	}
	state, found, err = s.Check(ctx)
	if err != nil {
		return fail(true, fmt.Errorf("%s: looking again: %w", s.ID, err))
	}
	if state != Done {
		return fail(true, &NotVerifiedError{Step: s.ID, State: state, Found: found})
	}
	r.emit(Event{Kind: StepDone, Step: s.ID, Title: s.Title, Message: found, Elapsed: r.now().Sub(started)})
	return true, nil
}

func ready(s Step, done map[string]bool) bool {
	for _, id := range s.After {
		if !done[id] {
			return false
		}
	}
	return true
}

// validate finds what would make a run hang or lie: two steps of one ID, or a
// step that waits for one that does not come before it.
func validate(steps []Step) error {
	seen := make(map[string]bool, len(steps))
	for _, s := range steps {
		for _, id := range s.After {
			if !seen[id] {
				return fmt.Errorf("step %s waits for %s, which does not come before it", s.ID, id)
			}
		}
		if s.ID == "" || seen[s.ID] {
			return fmt.Errorf("step ID %q is empty or used twice", s.ID)
		}
		if s.Check == nil || s.Do == nil {
			return fmt.Errorf("step %s lacks Check or Do", s.ID)
		}
		seen[s.ID] = true
	}
	return nil
}

func (r *Runner) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Runner) emit(e Event) {
	if r.Events == nil {
		return
	}
	e.Time = r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Events(e)
}

type reporter struct {
	runner *Runner
	step   Step
}

func (p *reporter) Progress(done, total int64, unit string) {
	p.runner.emit(Event{Kind: StepProgress, Step: p.step.ID, Title: p.step.Title, Done: done, Total: total, Unit: unit})
}

func (p *reporter) Log(format string, args ...any) {
	p.runner.emit(Event{Kind: StepLog, Step: p.step.ID, Title: p.step.Title, Message: fmt.Sprintf(format, args...)})
}

func (p *reporter) Warn(format string, args ...any) {
	p.runner.emit(Event{Kind: StepWarning, Step: p.step.ID, Title: p.step.Title, Message: fmt.Sprintf(format, args...)})
}

// LookSide is how many steps to look at side by side: some wait for a disk or a
// program, and more threads than these for each other.
const LookSide = 8

// Look checks every step without doing any, side by side where CheckAfter
// allows it, and returns the states in the steps' order. It is a run without
// Do: what --dry-run and status show.
func Look(ctx context.Context, steps []Step, side int) ([]Found, error) {
	found := make([]Found, len(steps))
	errs := make([]error, len(steps))
	slots := make(chan struct{}, max(side, 1))
	looked := make(map[string]chan struct{}, len(steps))
	for _, s := range steps {
		looked[s.ID] = make(chan struct{})
	}
	var wait sync.WaitGroup
	for i, s := range steps {
		wait.Add(1)
		go func() {
			defer wait.Done()
			defer close(looked[s.ID])
			for _, id := range s.CheckAfter {
				if before, there := looked[id]; there {
					<-before
				}
			}
			slots <- struct{}{}
			defer func() { <-slots }()
			state, why, err := s.Check(ctx)
			if err != nil {
				errs[i] = fmt.Errorf("%s: looking: %w", s.ID, err)
			}
			found[i] = Found{Step: s.ID, State: state, Why: why}
		}()
	}
	wait.Wait()
	return found, errors.Join(errs...)
}

// Found is what Look saw of one step.
type Found struct {
	Step  string `json:"step"`
	State State  `json:"state"`
	Why   string `json:"why,omitempty"`
}
