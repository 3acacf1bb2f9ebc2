package step

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestContained: a contained failure stops what waits for it, and nothing else.
func TestContained(t *testing.T) {
	for _, contained := range []bool{true, false} {
		var did []string
		made := map[string]bool{}
		make := func(id string, fails bool, after ...string) Step {
			return Step{
				ID: id, After: after, Contained: contained,
				Check: func(context.Context) (State, string, error) {
					if made[id] {
						return Done, "", nil
					}
					return Absent, "", nil
				},
				Do: func(context.Context, Reporter) error {
					if fails {
						return errors.New("broken")
					}
					made[id] = true
					did = append(did, id)
					return nil
				},
			}
		}
		steps := []Step{make("a", true), make("a2", false, "a"), make("b", false), make("b2", false, "b")}
		_, err := (&Runner{}).Run(t.Context(), steps)
		want := ""
		if contained {
			want = "b b2"
		}
		if have := strings.Join(did, " "); err == nil || have != want {
			t.Errorf("contained %v: did %q with error %v, want %q and an error", contained, have, err, want)
		}
	}
}
