package github_test

import (
	"bytes"
	"testing"

	"github.com/countersign/countersign/reconciler/github"
)

// TestGuard is about a workflow's log: no line that a requester had a hand in is a command to the runner, in however
// many pieces it is written.
func TestGuard(t *testing.T) {
	t.Parallel()
	job := github.Kind().Job(func(name string) string { return map[string]string{"GITHUB_ACTIONS": "true"}[name] })
	tests := []struct {
		name, in, text, json string
	}{
		{"plain", "one\ntwo\n", "one\ntwo\n", "one\ntwo\n"},
		{"a command", "::error::gotcha\n", "U+003A:error::gotcha\n", "::error::gotcha\n"},
		{"behind white space", " \t::set-output name=x::y\n", " \tU+003A:set-output name=x::y\n", " \t::set-output name=x::y\n"},
		{"inside a line, where it is none", "a::b\n", "a::b\n", "a::b\n"},
		{"the old form, anywhere", "see ##[command]x\n", "see ##U+005Bcommand]x\n", "see ##\\u005bcommand]x\n"},
		{"without an end of line", "::stop", "U+003A:stop", "::stop"},
	}
	for _, tt := range tests {
		for _, json := range []bool{false, true} {
			var out bytes.Buffer
			w, flush := job.Guard(&out, func() bool { return json })
			for i := range len(tt.in) {
				if _, err := w.Write([]byte{tt.in[i]}); err != nil {
					t.Fatal(err)
				}
			}
			flush()
			want := tt.text
			if json {
				want = tt.json
			}
			if got := out.String(); got != want {
				t.Errorf("%s, json %t: %q, want %q", tt.name, json, got, want)
			}
		}
	}
}
