package server_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/branch"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

// Anybody with write access to the repository can push to the branch of the ledger, delete it or put it back.

// ledgerKey makes the operator's key.
func ledgerKey(t *testing.T) *seal.Key {
	t.Helper()
	private, _, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newSignedWorld is one whose runners sign the ledger; nothing has run yet.
func newSignedWorld(t *testing.T) *world {
	t.Helper()
	w := bareWorld(t)
	w.key = ledgerKey(t)
	w.push("main", "carol", files{"countersign.yaml": settings + "  ledger: {public_key: " + w.key.Public().String() + "}\n", "people.yaml": people,
		"applications/authz.yaml": w.application("user:bob, user:frank"), "requests/base.yaml": creation("base") + "---\n" + grant("base", reads)})
	return w
}

func (w *world) isIn(who, role string) bool {
	return strings.Contains(w.stored(), "g, "+who+", "+role)
}

// heads is where the ledger's head is left at GitHub.
func (w *world) heads(context.Context, schemas.SettingsSpec) (forge.Heads, error) {
	return w.client, nil
}

// let previews and lands a request that somebody approves.
func (w *world) let(branch, approver string, f files) (number int, review int64) {
	w.t.Helper()
	number = w.ask(branch, f)
	w.preview(number)
	review = w.repo.Review(number, approver, "APPROVED")
	w.repo.Merge(number, "merge", "carol")
	return number, review
}

func revokeOf(role, target string) string {
	return strings.Replace(strings.Replace(grant(role, target), "grants:", "revokes:", 1), "name: it", "name: out", 1)
}

// once makes a pass on a machine that has nothing; its ledger is on the branch.
func (w *world) once(name string) error {
	w.t.Helper()
	_, err := w.runner(name).Run(w.t.Context())
	return err
}

// revokedOnBranch lets Dave into base by Frank's approval and out again by Bob's, each on a fresh machine. It returns where
// the ledger's branch was in between.
func (w *world) revokedOnBranch() (was string) {
	w.t.Helper()
	step := func(name string) {
		if err := w.once(name); err != nil {
			w.t.Fatal(err)
		}
	}
	step("1")
	w.let("in", "frank", files{"requests/dave.yaml": grant("base", user("dave"))})
	step("2")
	if !w.isIn("dave", "base") {
		w.t.Fatalf("not granted\n%s", w.stored())
	}
	was = w.repo.Run("rev-parse", "refs/heads/countersign/ledger")
	w.let("out", "bob", files{"requests/dave-out.yaml": revokeOf("base", user("dave"))})
	step("3")
	if w.isIn("dave", "base") {
		w.t.Fatalf("not revoked\n%s", w.stored())
	}
	return was
}

// refused makes a pass on a fresh machine that must not believe the branch.
func (w *world) refused(want string) {
	w.t.Helper()
	before := w.stored()
	if err := w.once("4"); !ledger.IsAlarm(err) || !strings.Contains(err.Error(), want) {
		w.t.Errorf("the pass: %v, want an alarm about %q", err, want)
	}
	if w.stored() != before {
		w.t.Errorf("the application was changed:\n%s", w.stored())
	}
}

// Alice deletes the branch after an approver moved on, puts it back, or goes on with it: what was revoked stays revoked.
func TestLedgersBranchInOtherHands(t *testing.T) {
	t.Parallel()
	const name = "refs/heads/countersign/ledger"
	for what, tc := range map[string]struct {
		do   func(w *world, was string)
		want string
	}{
		"deleted": {func(w *world, _ string) {
			w.repo.Level("read", "bob") // Bob moved to another team
			w.git(w.work, "push", "-q", "origin", ":"+name)
		}, "it is missing"},
		"put back": {func(w *world, was string) {
			w.git(w.work, "push", "-q", "-f", "origin", was+":"+name)
		}, "older than what was recorded"},
		"put back, and its witness with it": {func(w *world, was string) {
			w.git(w.work, "push", "-q", "-f", "origin", was+":"+name, was+":refs/countersign/head")
		}, "a status of commit"},
		"deleted with its witness": {func(w *world, _ string) {
			w.repo.Level("read", "bob")
			w.git(w.work, "push", "-q", "origin", ":"+name, ":refs/countersign/head")
		}, "it is missing, and a status of commit"},
		"gone on with": {func(w *world, _ string) {
			w.goOn()
		}, "isn't signed by this run's key"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newSignedWorld(t)
			was := w.revokedOnBranch()
			w.git(w.work, "fetch", "-q", "origin", name)
			tc.do(w, was)
			w.refused(tc.want)
		})
	}
}

// goOn adds a record with a chain that is right, by countersign's own program, without its key.
func (w *world) goOn() {
	w.t.Helper()
	w.forge(func(l *ledger.Ledger) error {
		_, err := l.Append(w.t.Context(), schemas.Record{Type: schemas.RecordFinding, Finding: &schemas.Finding{Code: "x", Severity: "info", Message: "by hand"}})
		return err
	})
}

// forge lets somebody with write access change the ledger's branch with a program of their own, which signs with a key of
// their own.
func (w *world) forge(change func(*ledger.Ledger) error) {
	w.t.Helper()
	token, dir := w.User("alice"), w.t.TempDir()
	b, err := branch.New(branch.Config{Dir: filepath.Join(dir, "ledger.git"), URL: w.Git + "acme/access.git", Password: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		w.t.Fatal(err)
	}
	key, path := ledgerKey(w.t), filepath.Join(dir, "ledger.db")
	with := func(do func(*ledger.Ledger) error) {
		w.t.Helper()
		l, err := ledger.Open(w.t.Context(), ledger.Config{Path: path, Now: w.now, Replicate: func(ctx context.Context, batch ledger.Batch) (err error) {
			if batch.Note, err = key.Sign(seal.Head{Origin: strings.Repeat("a", 40), Sequence: batch.Last, Hash: batch.Head}); err != nil {
				return err
			}
			return b.Replicate(ctx, batch)
		}})
		if err == nil {
			err = errors.Join(do(l), l.Close())
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	with(func(l *ledger.Ledger) error { return b.Pull(w.t.Context(), l) })
	// The ledger's own program would refuse to go on without the key.
	db, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = db.Exec(`DELETE FROM signature`)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	with(change)
}

// Alice merges without any approval, and pushes the admission of it to the ledger's branch herself.
func TestMadeUpAdmissionOnTheLedgersBranch(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	if err := w.once("1"); err != nil {
		t.Fatal(err)
	}
	n := w.ask("evil", files{"requests/evil.yaml": grant("base", user("dave"))})
	merge := w.repo.Merge(n, "merge", "alice")
	w.forge(func(l *ledger.Ledger) error {
		last, _, err := l.LastAdmission(t.Context())
		if err != nil {
			return err
		}
		_, err = l.Append(t.Context(), schemas.Record{Type: schemas.RecordAdmission, Admission: &schemas.AdmissionRecord{Commit: merge, Parent: last.Commit, Sequence: last.Sequence + 1,
			Verdict: schemas.AdmissionAdmitted, Changes: []schemas.FileChange{{Path: "requests/evil.yaml", After: w.repo.Run("rev-parse", merge+":requests/evil.yaml")}},
			Evidence: &schemas.Evidence{Forge: "github", Authors: []string{"alice"}, Approvals: []schemas.Approval{}}}})
		return err
	})
	w.refused("isn't signed by this run's key")
	if w.isIn("dave", "base") {
		t.Error("a verdict that Alice wrote is taken for countersign's own")
	}
}

// TestLeaseThatSomebodyElsePushes has Alice push to the lease's branch whenever a run looks at it, while that waits, and
// holds it.
func TestLeaseThatSomebodyElsePushes(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	const lease = "refs/heads/countersign/ledger-lease"
	token := w.User("alice")
	git := func(args ...string) string {
		out, err := exec.Command("git", append([]string{"-C", w.work, "-c", "user.name=alice", "-c", "user.email=alice@acme.test"}, args...)...).Output()
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	tree, n := git("hash-object", "-t", "tree", "-w", "/dev/null"), 0
	push := func() {
		n++
		git("push", "-q", "-f", strings.Replace(w.Git, "://", "://x:"+token+"@", 1)+"acme/access.git", git("commit-tree", tree, "-m", fmt.Sprint("mine ", n))+":"+lease)
	}
	push()
	watch := time.Unix(0, 0)
	c := branch.Config{Dir: filepath.Join(t.TempDir(), "ledger.git"), URL: w.Git + "acme/access.git", Password: w.client.Password, Lease: 3 * time.Second, Key: w.key,
		Watch: func() time.Time { return watch },
		After: func(d time.Duration) <-chan time.Time {
			push()
			watch = watch.Add(d)
			out := make(chan time.Time, 1)
			out <- watch
			return out
		}}
	b, err := branch.New(c)
	if err != nil {
		t.Fatal(err)
	}
	release, err := b.Acquire(t.Context(), 10*time.Second)
	if err != nil {
		t.Fatalf("nobody gets the lease while Alice pushes to its branch: %v", err)
	}
	if watch.Sub(time.Unix(0, 0)) > 0 {
		t.Errorf("it waited for %s for a lease that isn't countersign's", watch.Sub(time.Unix(0, 0)))
	}
	ours := w.repo.Run("rev-parse", lease)
	w.git(w.work, "fetch", "-q", "origin", lease)
	// She pushes over it while the run writes: it takes it back.
	push()
	watch = watch.Add(2 * time.Second)
	l, err := ledger.Open(t.Context(), ledger.Config{Path: filepath.Join(t.TempDir(), "ledger.db"), Replicate: b.Replicate})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Pull(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), schemas.Record{Type: schemas.RecordFinding, Finding: &schemas.Finding{Code: "x", Severity: "info", Message: "m"}}); err != nil {
		t.Errorf("a write after Alice pushed over the lease: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	// One that countersign took, put back by her after it was released, keeps nobody out for long, however often she does it.
	if err := release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.git(w.work, "push", "-q", "origin", ours+":"+lease)
	c.Dir = filepath.Join(t.TempDir(), "ledger.git")
	after, flips := c.After, 0
	c.After = func(d time.Duration) <-chan time.Time {
		if flips++; flips%2 == 0 {
			w.git(w.work, "push", "-q", "-f", "origin", ours+":"+lease)
			watch = watch.Add(d)
			out := make(chan time.Time, 1)
			out <- watch
			return out
		}
		return after(d)
	}
	if b, err = branch.New(c); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Acquire(t.Context(), 10*time.Second); err != nil {
		t.Errorf("an old lease keeps everybody out: %v", err)
	}
}

// TestDoctorLooksAtTheLedgersBranch runs doctor as init tells one to, without naming the ledger's branch.
func TestDoctorLooksAtTheLedgersBranch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, err := w.reconciler().Configuration(t.Context(), "refs/heads/main")
	if err != nil {
		t.Fatal(err)
	}
	examine := func() (open, ok int) {
		t.Helper()
		checks, err := w.client.Examine(t.Context(), forge.Examination{Settings: c.Settings, File: func(context.Context, string) (string, error) { return "* @carol", nil }})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range checks {
			switch {
			case k.Name != "ledger" && k.Name != "lease":
			case k.State == schemas.CheckOpen:
				open++
			default:
				ok++
			}
		}
		return open, ok
	}
	w.repo.Rules([]any{}, []any{})
	if open, ok := examine(); open != 2 || ok != 0 {
		t.Errorf("without rules %d checks of the ledger's branches are open and %d closed, want 2 and 0", open, ok)
	}
	rule := func(kind string) any { return map[string]any{"type": kind, "ruleset_id": 1} }
	w.repo.Rules([]any{rule("creation"), rule("update"), rule("deletion"), rule("non_fast_forward")}, []any{})
	if open, ok := examine(); open != 0 || ok != 2 {
		t.Errorf("with rules %d checks of the ledger's branches are open and %d closed, want 0 and 2", open, ok)
	}
}
