//go:build loop

package crypt

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"hvinstall/step"
)

// TestMark: a new volume's header has its mark from the start; one made before
// there were marks gets it by the step; a changed one is replaced, and other
// tokens and slots stay as they are.
func TestMark(t *testing.T) {
	mark := func(of string) json.RawMessage {
		return json.RawMessage(`{"type":"hvinstall-host","keyslots":[],"version":1,"host":"h-1","role":"pool","pool":"p","number":1,"of":` + of + `}`)
	}
	for name, made := range map[string]json.RawMessage{"made with it": mark("2"), "made without": nil} {
		t.Run(name, func(t *testing.T) {
			v := newVolume(t, "marked")
			v.Mark = made
			p, k := Plan{Volumes: []VolumePlan{v}}, ring()
			if err := do(t, p.FormatStep(v, k, yes), p.PassphraseStep(v, k)); err != nil {
				t.Fatal(err)
			}
			before, err := ReadHeader(v.Device)
			if err != nil {
				t.Fatal(err)
			}
			v.Mark = mark("2")
			state, why, err := p.MarkStep(v).Check(t.Context())
			if err != nil || (state == step.Done) != (made != nil) {
				t.Errorf("the step finds %v (%s, %v)", state, why, err)
			}
			if err := do(t, p.MarkStep(v)); err != nil {
				t.Fatal(err)
			}
			v.Mark = mark("3")
			if err := do(t, p.MarkStep(v)); err != nil {
				t.Fatal(err)
			}
			after, err := ReadHeader(v.Device)
			if err != nil {
				t.Fatal(err)
			}
			if len(after.Marks) != 1 || after.marked(v.Mark) < 0 || after.PassphraseSlot() != before.PassphraseSlot() || len(after.Slots) != len(before.Slots) || after.Damaged {
				t.Errorf("header = %+v, want the new mark and the slots of %+v", after, before)
			}
			if !opensBy(t, v, []byte(loopPassphrase)) {
				t.Error("the passphrase no longer opens the volume")
			}
			out, err := exec.Command("cryptsetup", "luksDump", v.Device).CombinedOutput()
			if err != nil || strings.Count(string(out), "hvinstall-host") != 1 {
				t.Errorf("cryptsetup luksDump: %v\n%s", err, out)
			}
		})
	}
}
