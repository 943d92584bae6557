package server_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/branch"
	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// TestTwoRunnersAtOnce has two runners that begin with nothing work over the same merge: it is judged, applied and
// recorded once, whichever is first.
func TestTwoRunnersAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.land("reader", files{"requests/reader.yaml": creation("reader")})
	reports := make([]*schemas.RunReport, 2)
	var wg sync.WaitGroup
	for i := range reports {
		p := w.runner(fmt.Sprintf("run %d", i))
		wg.Go(func() {
			var err error
			if reports[i], err = p.Run(context.Background()); err != nil {
				t.Errorf("run %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	applied := 0
	for _, rep := range reports {
		for _, a := range rep.Applications {
			applied += len(a.Outcomes)
		}
	}
	if applied != 1 {
		t.Errorf("%d operations were carried out, want the one creation", applied)
	}
	// A third runner knows of it all, and of nothing twice.
	p := w.runner("run 3")
	if _, err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), ledger.Config{Path: reconciler.LedgerPath(w.state), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	judged := map[string]int{}
	if err := l.Admissions(t.Context(), func(a schemas.AdmissionRecord) error { judged[a.Commit]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(judged) != 2 {
		t.Errorf("%d commits are on record, want the anchor and the merge", len(judged))
	}
	for c, n := range judged {
		if n != 1 {
			t.Errorf("%s was judged %d times", c, n)
		}
	}
	if rep, err := l.Verify(t.Context(), ledger.VerifyOptions{}); err != nil || len(rep.Problems) > 0 {
		t.Errorf("the chain does not hold: %v %v", rep.Problems, err)
	}
}

// runner is a machine with nothing, whose ledger is on the branch. Its state folder and its clone become the world's.
func (w *world) runner(holder string) server.Pass {
	w.t.Helper()
	dir := w.t.TempDir()
	w.state = filepath.Join(dir, "state")
	b, err := branch.New(branch.Config{Dir: filepath.Join(dir, "ledger.git"), URL: w.Git + "acme/access.git", Password: w.client.Password, Holder: holder, Lease: 20 * time.Second, Key: w.key})
	if err != nil {
		w.t.Fatal(err)
	}
	w.clone = filepath.Join(dir, "clone.git")
	if err := w.fetch(w.t.Context(), mainSpec); err != nil {
		w.t.Fatal(err)
	}
	repo, err := history.Open(w.clone)
	if err != nil {
		w.t.Fatal(err)
	}
	registry, err := connectors.NewRegistry(casbin.New())
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := reconciler.New(reconciler.Config{Heads: w.heads, Repository: repo, State: w.state, Secrets: secrets.New(secrets.Config{Allow: []string{"/*"}}), Replica: b, LedgerKey: w.key, Connectors: registry, Version: "1", Now: w.now,
		Forge: func(_ context.Context, s schemas.SettingsSpec) (signoff.Forge, error) { return w.client.Evidence(s) }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return server.Pass{Reconciler: r, Options: reconciler.RunOptions{To: "refs/heads/main"}, Forge: w.client}
}

// TestAnAlteredLedgerStopsWriting has somebody with the right to push change what was recorded.
func TestAnAlteredLedgerStopsWriting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.runner("run 1")
	if _, err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.git(w.work, "fetch", "-q", "origin")
	w.git(w.work, "checkout", "-q", "-B", "ledger", "origin/countersign/ledger")
	w.write(files{strings.Fields(w.git(w.work, "ls-files"))[0]: "{}\n"})
	w.git(w.work, "commit", "-q", "-C", "HEAD")
	w.git(w.work, "push", "-q", "origin", "HEAD:countersign/ledger")
	w.land("reader", files{"requests/reader.yaml": creation("reader")})
	again := w.runner("run 2")
	if _, err := again.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the ledger's branch was altered") {
		t.Errorf("the run over an altered ledger: %v", err)
	}
	if strings.Contains(w.stored(), "reader") {
		t.Error("something was applied all the same")
	}
}

// TestAPullRequestOf301Files has more than GitHub's own comparison lists; the last of them is the wrong one.
func TestAPullRequestOf301Files(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := files{}
	for i := range 198 {
		many[fmt.Sprintf("requests/r%03d.yaml", i)] = strings.Replace(creation(fmt.Sprintf("r%03d", i)), "name: it", fmt.Sprintf("name: it%03d", i), 1)
	}
	for i := range 150 {
		many[fmt.Sprintf("docs/%03d.md", i)] = "hello\n"
	}
	many["requests/zzz.yaml"] = strings.Replace(creation("zzz"), "source_name", "sourcename", 1)
	n := w.ask("many", many)
	p := w.preview(n)
	if p.Verdict != schemas.VerdictInvalid || len(p.Files) != 199 {
		t.Errorf("verdict = %s with %d files", p.Verdict, len(p.Files))
	}
	if got := w.comment(n); !strings.Contains(got, "requests/zzz.yaml") {
		t.Errorf("the comment does not name the wrong file:\n%s", got)
	}
}

// TestRedacted leaves out who the identities are, wherever it is told. Approvals of a preview that hides them don't count,
// and neither do earlier previews of the same head prove what reviewers see then.
func TestRedacted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.ask("reader", files{"requests/access.yaml": grant("base", user("dave"))})
	p := server.Preview{Reconciler: w.reconciler(), Forge: w.client, Fetch: w.fetch, Branch: "refs/heads/main", BranchSpec: mainSpec, Number: n}
	preview := func() *schemas.Preview {
		t.Helper()
		out, _, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	preview()
	p.Redact = true
	preview()
	if got := w.comment(n); strings.Contains(got, "dave") || !strings.Contains(got, "don't count: it hides who gains or loses access") {
		t.Errorf("the comment names the identity, or doesn't explain that approvals don't count:\n%s", got)
	}
	w.repo.Review(n, "bob", "APPROVED")
	if out := preview(); out.Verdict != schemas.VerdictSignoff {
		t.Errorf("approved with the names hidden, the preview is %s", out.Verdict)
	}
	p.Redact = false
	preview()
	w.repo.Review(n, "bob", "APPROVED")
	if out := preview(); out.Verdict != schemas.VerdictReady {
		t.Errorf("approved with the names shown, the preview is %s", out.Verdict)
	}
	w.repo.Merge(n, "merge", "carol")
	pass := server.Pass{Reconciler: w.reconciler(), Options: reconciler.RunOptions{To: "refs/heads/main"}, Forge: w.client, Redact: true}
	if _, err := pass.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.comment(n); strings.Contains(got, "dave") || !strings.Contains(got, "Applied and verified") {
		t.Errorf("the receipt names the identity, or is none:\n%s", got)
	}
}
