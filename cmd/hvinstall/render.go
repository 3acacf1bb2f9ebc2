package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"hvinstall/disk"
	"hvinstall/step"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// renderer shows a run's events on one output.
type renderer interface {
	event(step.Event)
	close() // waits until everything is shown
}

// jsonLines writes one event as one line.
type jsonLines struct{ to *json.Encoder }

func (j jsonLines) event(e step.Event) { _ = j.to.Encode(e) } // a reader that went away does not end a run
func (j jsonLines) close()             {}

// plainLines writes one line for each step that ends, for logs and pipes.
type plainLines struct {
	style
	to io.Writer
}

func (l plainLines) event(e step.Event) {
	if line := l.line(e); line != "" {
		fmt.Fprintln(l.to, line)
	}
}

func (l plainLines) close() {}

// line is what a person reads of an event; empty for those that only a log or
// a progress bar shows.
func (s style) line(e step.Event) string {
	switch e.Kind {
	case step.StepDone:
		return s.stepLine(s.good("✓"), e)
	case step.StepSkipped:
		return s.stepLine(s.dim("·"), step.Event{Title: e.Title + ": as it should be"})
	case step.StepFailed:
		return s.stepLine(s.danger("✗"), e)
	case step.StepWarning:
		return s.wrapped(s.warn("!"), e.Message, "", s.warn)
	case step.RunDone:
		if e.Changed == 0 {
			return fmt.Sprintf("\nNothing to do: all %s are as they should be.", quantity(e.Steps, "step"))
		}
		return fmt.Sprintf("\nDone: %d of %s changed something, in %s.", e.Changed, quantity(e.Steps, "step"), seconds(e.Elapsed))
	case step.RunStarted, step.RunFailed, step.StepStarted, step.StepProgress, step.StepLog:
	}
	return ""
}

func (s style) stepLine(mark string, e step.Event) string {
	right := ""
	if e.Elapsed >= 50*time.Millisecond {
		right = seconds(e.Elapsed)
	}
	return s.wrapped(mark, e.Title, right, nil)
}

// wrapped is a mark, a text wrapped beside it, and a short text at the right
// edge of its first line.
func (s style) wrapped(mark, text, right string, colour func(string) string) string {
	var b strings.Builder
	for i, line := range wrap(text, s.width-4-len(right)-2) {
		painted := line
		if colour != nil {
			painted = colour(line)
		}
		if i == 0 {
			fmt.Fprintf(&b, "  %s %s", mark, painted)
			if right != "" {
				b.WriteString(s.dim(alignRight(right, s.width-4-len([]rune(line)))))
			}
			continue
		}
		fmt.Fprintf(&b, "\n    %s", painted)
	}
	return b.String()
}

func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	if d < time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%d:%02d min", int(d.Minutes()), int(d.Seconds())%60)
}

// liveBars shows, below the lines of the steps that ended, one bar for each
// step that is running.
type liveBars struct {
	style
	container *mpb.Progress
	bars      map[string]*stepBar
}

type stepBar struct {
	*mpb.Bar
	bytes atomic.Bool // what is counted is bytes
}

func newLiveBars(w io.Writer, s style) *liveBars {
	return &liveBars{
		style:     s,
		container: mpb.New(mpb.WithOutput(w), mpb.WithWidth(s.width), mpb.WithRefreshRate(120*time.Millisecond)),
		bars:      map[string]*stepBar{},
	}
}

func (l *liveBars) event(e step.Event) {
	switch e.Kind {
	case step.StepStarted:
		l.bars[e.Step] = l.add(e.Title)
	case step.StepProgress:
		if bar := l.bars[e.Step]; bar != nil && e.Total > 0 {
			bar.SetTotal(max(e.Total, e.Done+1), false)
			bar.SetCurrent(e.Done)
			bar.bytes.Store(e.Unit == "B")
		}
	case step.StepDone, step.StepFailed:
		if bar := l.bars[e.Step]; bar != nil {
			bar.Abort(true)
			delete(l.bars, e.Step)
		}
	case step.RunStarted, step.StepSkipped, step.StepLog, step.StepWarning, step.RunDone, step.RunFailed:
	}
	if line := l.line(e); line != "" {
		fmt.Fprintln(l.container, line)
	}
}

// add starts a bar: a spinner until the step tells how much there is to do.
func (l *liveBars) add(title string) *stepBar {
	titleWidth := max(20, l.width-46)
	if runes := []rune(title); len(runes) > titleWidth {
		title = string(runes[:titleWidth-1]) + "…"
	}
	started := time.Now()
	bar := &stepBar{}
	bar.Bar = l.container.New(0, mpb.BarStyle().Lbound("").Rbound("").Filler("━").Tip("━").Padding("─"),
		mpb.BarWidth(16),
		mpb.PrependDecorators(
			decor.Spinner([]string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}, decor.WC{W: 3}),
			decor.Name(" "+pad(title, titleWidth)),
		),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string { return rate(s, time.Since(started), bar.bytes.Load()) })),
	)
	return bar
}

// rate is how far a step is, its speed where it counts bytes, and the time
// left; or the time so far, where nobody knows.
func rate(s decor.Statistics, elapsed time.Duration, bytes bool) string {
	if s.Total <= 0 || s.Current <= 0 {
		return " " + seconds(elapsed)
	}
	if s.Current+1 >= s.Total {
		return " finishing" // what is left, as writing to the disk, is not counted
	}
	perSecond := float64(s.Current) / max(elapsed.Seconds(), 0.001)
	left := time.Duration(float64(s.Total-s.Current) / perSecond * float64(time.Second))
	speed := ""
	if bytes {
		speed = disk.DecimalSize(uint64(perSecond)) + "/s "
	}
	return fmt.Sprintf(" %3d%% %s%s", s.Current*100/s.Total, speed, seconds(max(left, 0)))
}

func (l *liveBars) close() {
	for _, bar := range l.bars {
		bar.Abort(true)
	}
	l.container.Wait()
}
