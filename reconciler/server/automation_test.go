package server_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/schemas"
)

// TestAutomation is about the files that run countersign at GitHub: the settings' owners sign them off, alone.
func TestAutomation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const script = "on: push\njobs: {}\n"
	for _, tt := range []struct {
		name, path string
		request    bool
		want       schemas.PreviewVerdict
	}{
		{"a workflow", ".github/workflows/countersign-apply.yml", false, schemas.VerdictSignoff},
		{"a script beside it", ".github/scripts/build.sh", false, schemas.VerdictSignoff},
		{"the owners of code", "docs/CODEOWNERS", false, schemas.VerdictSignoff},
		{"an action", "tools/build/action.yml", false, schemas.VerdictSignoff},
		{"a workflow beside a request", ".github/workflows/other.yml", true, schemas.VerdictDenied},
		{"a template", ".github/ISSUE_TEMPLATE/bug.yml", false, schemas.VerdictNothing},
		{"something else", "docs/README.md", false, schemas.VerdictNothing},
	} {
		branch := strings.ReplaceAll(tt.name, " ", "-")
		ask := files{tt.path: script}
		if tt.request {
			ask["requests/beside.yaml"] = creation("beside")
		}
		n := w.ask(branch, ask)
		p := w.preview(n)
		if p.Verdict != tt.want {
			t.Errorf("%s: verdict %s, want %s", tt.name, p.Verdict, tt.want)
		}
		if tt.want == schemas.VerdictNothing {
			continue
		}
		if !strings.Contains(w.comment(n), tt.path) {
			t.Errorf("%s: the comment does not name %s:\n%s", tt.name, tt.path, w.comment(n))
		}
		w.repo.Review(n, "bob", "APPROVED")
		w.preview(n)
		if got := w.repo.Status(p.Head, "countersign/sign-off"); strings.HasPrefix(got, "success") {
			t.Errorf("%s: with the approval of an application's owner, sign-off is %s", tt.name, got)
		}
	}
	n := w.ask("approved", files{".github/workflows/x.yml": script})
	w.preview(n)
	w.repo.Review(n, "carol", "APPROVED")
	p := w.preview(n)
	if got := w.repo.Status(p.Head, "countersign/sign-off"); !strings.HasPrefix(got, "success") {
		t.Errorf("approved by an owner of the settings: %s", got)
	}
	w.repo.Merge(n, "merge", "bob")
	if got := verdicts(w.apply()); got != "admitted" {
		t.Errorf("verdict = %s", got)
	}
}
