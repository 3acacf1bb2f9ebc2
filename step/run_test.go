package step

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// switchStep is a step over a boolean: absent until Do sets it.
func switchStep(id string, made *bool, after ...string) Step {
	return Step{
		ID: id, Title: "make " + id, After: after,
		Check: func(context.Context) (State, string, error) {
			if *made {
				return Done, "", nil
			}
			return Absent, "not made", nil
		},
		Do: func(context.Context, Reporter) error { *made = true; return nil },
	}
}

func kinds(events []Event) []Kind {
	var ks []Kind
	for _, e := range events {
		ks = append(ks, e.Kind)
	}
	return ks
}

func TestRunMakesWhatIsAbsentAndSkipsWhatIsDone(t *testing.T) {
	var one bool
	two := true
	var events []Event
	r := Runner{Events: func(e Event) { events = append(events, e) }}
	changed, err := r.Run(t.Context(), []Step{switchStep("one", &one), switchStep("two", &two)})
	if err != nil || changed != 1 {
		t.Fatalf("Run = %d, %v, want 1 changed", changed, err)
	}
	want := []Kind{RunStarted, StepStarted, StepDone, StepSkipped, RunDone}
	if got := kinds(events); !slices.Equal(got, want) {
		t.Errorf("events = %v, want %v", got, want)
	}
	changed, err = r.Run(t.Context(), []Step{switchStep("one", &one), switchStep("two", &two)})
	if err != nil || changed != 0 {
		t.Errorf("second Run = %d, %v, want nothing changed", changed, err)
	}
}

func TestRunStopsAtForeign(t *testing.T) {
	var later bool
	foreign := Step{
		ID:    "disk/gpt/x",
		Check: func(context.Context) (State, string, error) { return Foreign, "a GPT of somebody else", nil },
		Do:    func(context.Context, Reporter) error { t.Error("Do ran on a foreign state"); return nil },
	}
	r := Runner{}
	_, err := r.Run(t.Context(), []Step{foreign, switchStep("later", &later, "disk/gpt/x")})
	var found *ForeignError
	if !errors.As(err, &found) || found.Found != "a GPT of somebody else" {
		t.Errorf("Run = %v, want a ForeignError that names what was found", err)
	}
	if later {
		t.Error("a step ran after the foreign one that it waits for")
	}
}

func TestRunVerifies(t *testing.T) {
	lying := Step{
		ID:    "liar",
		Check: func(context.Context) (State, string, error) { return Absent, "still not there", nil },
		Do:    func(context.Context, Reporter) error { return nil },
	}
	r := Runner{}
	changed, err := r.Run(t.Context(), []Step{lying})
	var unverified *NotVerifiedError
	if !errors.As(err, &unverified) || changed != 1 {
		t.Errorf("Run = %d, %v, want a NotVerifiedError", changed, err)
	}
}

func TestRunFinishesRunningStepsAfterAFailure(t *testing.T) {
	failed := make(chan struct{})
	var slow, never bool
	steps := []Step{
		{
			ID:    "fails",
			Check: func(context.Context) (State, string, error) { return Absent, "", nil },
			Do:    func(context.Context, Reporter) error { close(failed); return errors.New("no power") },
		},
		{
			ID: "slow",
			Check: func(context.Context) (State, string, error) {
				if slow {
					return Done, "", nil
				}
				return Absent, "", nil
			},
			Do: func(context.Context, Reporter) error { <-failed; slow = true; return nil },
		},
		switchStep("never", &never, "slow"),
	}
	r := Runner{Side: 2}
	_, err := r.Run(t.Context(), steps)
	if err == nil || !strings.Contains(err.Error(), "no power") {
		t.Errorf("Run = %v, want the failure", err)
	}
	if !slow || never {
		t.Errorf("slow = %v, never = %v; want the running step finished and no new one begun", slow, never)
	}
}

func TestRunSideBySideWithinMemory(t *testing.T) {
	var mu sync.Mutex
	running, most := 0, 0
	var steps []Step
	for _, id := range []string{"a", "b", "c", "d"} {
		made := false
		steps = append(steps, Step{
			ID: id, Memory: 1 << 30,
			Check: func(context.Context) (State, string, error) {
				if made {
					return Done, "", nil
				}
				return Absent, "", nil
			},
			Do: func(context.Context, Reporter) error {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(20 * time.Millisecond) //nolint:forbidigo // gives the others the chance to overlap
				mu.Lock()
				running--
				mu.Unlock()
				made = true
				return nil
			},
		})
	}
	r := Runner{Side: 4, Memory: 2 << 30}
	if _, err := r.Run(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
	if most != 2 {
		t.Errorf("%d steps of 1 GiB ran side by side within 2 GiB, want 2", most)
	}
}

func TestRunEndsWhenInterrupted(t *testing.T) {
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	var one, two bool
	first := switchStep("one", &one)
	do := first.Do
	first.Do = func(ctx context.Context, r Reporter) error { cancel(interrupted); return do(ctx, r) }
	r := Runner{}
	_, err := r.Run(ctx, []Step{first, switchStep("two", &two, "one")})
	if !errors.Is(err, interrupted) {
		t.Errorf("Run = %v, want the cause of the cancellation", err)
	}
	if !one || two {
		t.Errorf("one = %v, two = %v; want the running step finished and no new one begun", one, two)
	}
}

func TestRunRejectsABrokenOrder(t *testing.T) {
	var made bool
	for name, steps := range map[string][]Step{
		"waits for a later step": {switchStep("a", &made, "b"), switchStep("b", &made)},
		"two of one ID":          {switchStep("a", &made), switchStep("a", &made)},
		"no ID":                  {switchStep("", &made)},
		"no Do":                  {{ID: "a", Check: switchStep("a", &made).Check}},
	} {
		r := Runner{}
		if _, err := r.Run(t.Context(), steps); err == nil {
			t.Errorf("%s: Run = nil, want an error", name)
		}
	}
	if made {
		t.Error("a step of a broken plan ran")
	}
}

func TestLookDoesNothing(t *testing.T) {
	var one bool
	two := true
	found, err := Look(t.Context(), []Step{switchStep("one", &one), switchStep("two", &two)}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if found[0].State != Absent || found[1].State != Done {
		t.Errorf("Look = %v, want absent, done", found)
	}
	if one {
		t.Error("Look ran Do")
	}
}

func TestJournalIsJSONLines(t *testing.T) {
	var b strings.Builder
	j := NewJournal(&b)
	j.Quiet = true
	for _, e := range []Event{{Kind: StepStarted, Step: "a"}, {Kind: StepProgress, Step: "a"}, {Kind: StepDone, Step: "a"}} {
		if err := j.Event(e); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(b.String(), "\n"); lines != 2 {
		t.Errorf("%d lines, want 2 without progress:\n%s", lines, b.String())
	}
}

func TestLookKeepsTheOrder(t *testing.T) {
	var seen atomic.Bool
	look := func(id string, check func() string, after ...string) Step {
		return Step{ID: id, CheckAfter: after, Check: func(context.Context) (State, string, error) { return Done, check(), nil }}
	}
	steps := []Step{
		look("read", func() string { runtime.Gosched(); seen.Store(true); return "" }),
		look("aside", func() string { return "" }),
		look("use", func() string { return fmt.Sprint(seen.Load()) }, "read", "a step of another part"),
	}
	for range 100 {
		seen.Store(false)
		found, err := Look(t.Context(), steps, 4)
		if err != nil || found[2].Step != "use" || found[2].Why != "true" {
			t.Fatalf("Look = %+v, %v; want use looked at after read", found, err)
		}
	}
}
