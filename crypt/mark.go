package crypt

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strconv"

	"hvinstall/host"
	"hvinstall/step"
)

// MarkStepID is the ID of the step that says in the header whose the volume is.
func (v VolumePlan) MarkStepID() string { return "crypt/mark/" + v.Mapping }

// MarkStep keeps the mark in the header: a volume made before there were marks
// gets one, and one whose pool has more members now gets another. It comes
// after the volume was opened: what only looks like the host's is not marked.
func (p Plan) MarkStep(v VolumePlan, after ...string) step.Step {
	return step.Step{
		ID: v.MarkStepID(), Title: "mark " + v.Mapping + " as this host's", After: after,
		Detail: []string{"a LUKS2 token that needs no key to be read"},
		Check: func(context.Context) (step.State, string, error) {
			header, err := ReadHeader(v.Device)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNoHeader) {
				return step.Absent, "not formatted yet", nil
			}
			if err != nil {
				return 0, "", err
			}
			if len(header.Marks) == 1 && header.marked(v.Mark) >= 0 {
				return step.Done, "", nil
			}
			return step.Absent, "its header does not say whose it is, as it is now", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error { return v.setMark(ctx, report.Log) },
	}
}

// marked is the token that says just this, or -1.
func (h Header) marked(mark json.RawMessage) int {
	var want, have any
	if json.Unmarshal(mark, &want) != nil {
		return -1
	}
	for _, id := range sortedKeys(h.Marks) {
		if json.Unmarshal(h.Marks[id], &have) == nil && reflect.DeepEqual(want, have) {
			return id
		}
	}
	return -1
}

// setMark writes the new mark before it removes an old one: a header without
// any is known less surely.
func (v VolumePlan) setMark(ctx context.Context, log logger) error {
	header, err := ReadHeader(v.Device)
	if err != nil {
		return err
	}
	keep := header.marked(v.Mark)
	if keep < 0 {
		argv := []string{"token", "import", "--json-file", host.SecretPath(0)}
		if old := sortedKeys(header.Marks); len(old) > 0 {
			keep = old[0]
			argv = append(argv, "--token-id", strconv.Itoa(keep), "--token-replace")
		}
		if err := cryptsetup(ctx, log, []Secret{NewSecret([]byte(string(v.Mark)))}, append(argv, v.Device)...); err != nil {
			return err
		}
	}
	for _, id := range sortedKeys(header.Marks) {
		if id == keep {
			continue
		}
		if err := cryptsetup(ctx, log, nil, "token", "remove", "--token-id", strconv.Itoa(id), v.Device); err != nil {
			return err
		}
	}
	return nil
}
