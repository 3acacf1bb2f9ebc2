package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hvinstall/host"
	"hvinstall/step"
)

// report is what each step of a run took. Steps run side by side, so their
// times together are more than the run's.
type report struct {
	started time.Time
	ended   time.Time
	began   map[string]time.Time
	rows    []reportRow
}

type reportRow struct {
	title        string
	result       string // changed, kept or failed
	after, taken time.Duration
}

func (r *report) event(e step.Event) {
	result := ""
	switch e.Kind {
	case step.RunStarted:
		r.started, r.began = e.Time, map[string]time.Time{}
	case step.StepStarted:
		r.began[e.Step] = e.Time
	case step.StepDone:
		result = "changed"
	case step.StepSkipped:
		result = "kept"
	case step.StepFailed:
		result = "failed"
	case step.RunDone, step.RunFailed:
		r.ended = e.Time
	case step.StepProgress, step.StepLog, step.StepWarning:
	}
	if result == "" {
		return
	}
	began, known := r.began[e.Step]
	if !known {
		began = e.Time
	}
	r.rows = append(r.rows, reportRow{e.Title, result, began.Sub(r.started), e.Elapsed})
}

// longest is the steps that took longest, in seconds at least.
func (r *report) longest(n int) []reportRow {
	var rows []reportRow
	for _, row := range r.rows {
		if row.taken >= time.Second {
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b reportRow) int { return cmp.Compare(b.taken, a.taken) })
	return rows[:min(n, len(rows))]
}

// shortRun is a run that nobody wonders about.
const shortRun = 20 * time.Second

// summary is the part of the report that is shown on the screen.
func (r *report) summary(s style) string {
	rows := r.longest(5)
	if r.ended.Sub(r.started) < shortRun || len(rows) < 2 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", s.bold("WHAT TOOK LONGEST"))
	for _, row := range rows {
		fmt.Fprintln(&b, s.wrapped("-", row.title, seconds(row.taken), nil))
	}
	return b.String()
}

// text is the whole report, by when each step began.
func (r *report) text(hostname string) string {
	rows := slices.Clone(r.rows)
	slices.SortStableFunc(rows, func(a, b reportRow) int { return cmp.Compare(a.after, b.after) })
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s\n\n%9s  %9s  %-7s  %s\n", hostname, r.started.UTC().Format("2006-01-02 15:04:05 UTC"),
		seconds(r.ended.Sub(r.started)), "began", "took", "result", "step")
	for _, row := range rows {
		fmt.Fprintf(&b, "%9s  %9s  %-7s  %s\n", seconds(row.after), seconds(row.taken), row.result, row.title)
	}
	return b.String()
}

// keep writes the report beside the log of its run, and returns its path.
func (r *report) keep(log, hostname string) (string, error) {
	path := strings.TrimSuffix(log, filepath.Ext(log)) + ".txt"
	return path, host.WriteFile(path, []byte(r.text(hostname)), 0o600)
}
