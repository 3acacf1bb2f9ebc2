package main

import (
	"strings"
	"testing"
	"time"

	"hvinstall/step"
)

func TestReport(t *testing.T) {
	r := &report{}
	at := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	for _, e := range []step.Event{
		{Kind: step.RunStarted, Time: at},
		{Kind: step.StepSkipped, Time: at.Add(time.Second), Step: "a", Title: "partition os"},
		{Kind: step.StepStarted, Time: at.Add(2 * time.Second), Step: "b", Title: "format cryptroot"},
		{Kind: step.StepStarted, Time: at.Add(3 * time.Second), Step: "c", Title: "unpack the system"},
		{Kind: step.StepDone, Time: at.Add(12 * time.Second), Step: "b", Title: "format cryptroot", Elapsed: 10 * time.Second},
		{Kind: step.StepDone, Time: at.Add(93 * time.Second), Step: "c", Title: "unpack the system", Elapsed: 90 * time.Second},
		{Kind: step.RunDone, Time: at.Add(94 * time.Second)},
	} {
		r.event(e)
	}
	want := `hypervisor, 2026-11-24 01:02:03 UTC, 1:34 min

    began       took  result   step
    1.0 s      0.0 s  kept     partition os
    2.0 s       10 s  changed  format cryptroot
    3.0 s   1:30 min  changed  unpack the system
`
	if got := r.text("hypervisor"); got != want {
		t.Errorf("the report =\n%s\nwant\n%s", got, want)
	}
	summary := r.summary(style{width: 80})
	if !strings.Contains(summary, "unpack the system") || strings.Index(summary, "unpack") > strings.Index(summary, "format") {
		t.Errorf("the summary =\n%s\nwant the longest step first", summary)
	}
	if strings.Contains(summary, "partition") {
		t.Errorf("the summary =\n%s\nwant no step that was kept", summary)
	}
	r.ended = at.Add(5 * time.Second)
	if got := r.summary(style{width: 80}); got != "" {
		t.Errorf("the summary of a short run = %q, want none", got)
	}
}
