package reconciler_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// Merges are examined while those before them are still being judged. What comes out is what comes out of
// judging each when it lands, whatever is quarantined on the way.
func TestJudgingAheadIsJudgingEachInTurn(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, files{"requests/first.yaml": creation("authz", "r0")})
			commits := randomHistory(w, rand.New(rand.NewPCG(seed, 1)), 50)
			turn, clone := *w, *w.Repo
			turn.Repo = &clone
			turn.elsewhere()
			admitted, quarantined := 0, 0
			var each []schemas.AdmissionRecord
			for _, c := range commits {
				r, err := turn.try(reconciler.RunOptions{To: c, Application: "authz"})
				if err != nil {
					t.Fatal(err)
				}
				each = append(each, r.Admissions...)
			}
			for _, a := range each {
				if a.Verdict == "quarantined" {
					quarantined++
				} else {
					admitted++
				}
			}
			if admitted < 8 || quarantined < 8 {
				t.Fatalf("%d admitted and %d quarantined: the history shows too little", admitted, quarantined)
			}
			once := w.runWith(reconciler.RunOptions{Application: "authz", DryRun: true})
			if diff := cmp.Diff(turn.runWith(reconciler.RunOptions{Application: "authz", DryRun: true}).Quarantined, once.Quarantined); diff != "" {
				t.Errorf("quarantined (-each in turn +at once):\n%s", diff)
			}
			if diff := cmp.Diff(each, w.runWith(reconciler.RunOptions{Application: "authz"}).Admissions); diff != "" {
				t.Errorf("verdicts (-each in turn +at once):\n%s", diff)
			}
			// What was judged before is taken from the ledger, and comes to the same state.
			before, err := w.open().Status(t.Context(), "main", "")
			if err != nil {
				t.Fatal(err)
			}
			w.forgetIndex()
			after, err := w.open().Status(t.Context(), "main", "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("status after the index was lost:\n%s", diff)
			}
		})
	}
}

// randomHistory lands changes that stand on one another, some of which nobody approved, and returns the
// first-parent commits.
func randomHistory(w *world, r *rand.Rand, n int) []string {
	var commits, paths []string
	for i := range n {
		bob, frank := historytest.Bob(), frank()
		approvers := [][]historytest.Person{nil, {bob}, {frank}, {bob, frank}, {bob, frank}}[r.IntN(5)]
		role := fmt.Sprintf("r%d", r.IntN(6))
		path := fmt.Sprintf("requests/%d.yaml", i)
		f := files{}
		switch r.IntN(12) {
		case 0, 1:
			f[path] = creation("authz", role)
		case 2, 3, 4:
			f[path] = assignment("authz", role, grants(read("sales.orders"), user([]string{"dave", "erin", "gina"}[r.IntN(3)])))
		case 5:
			f[path] = assignment("authz", role, revokes(read("sales.orders")))
		case 6:
			f[path] = deletion("authz", role)
		case 7, 8: // undo, or edit, an earlier one: it may have been quarantined
			if len(paths) == 0 {
				continue
			}
			path = paths[r.IntN(len(paths))]
			f[path] = ""
			if r.IntN(2) == 0 {
				f[path] = assignment("authz", role, grants(user("erin")))
			}
			if !w.exists(path) {
				continue
			}
		case 9: // broken
			f[path] = strings.ReplaceAll(creation("authz", role), "source_name", "name")
		case 10: // what later changes are judged by
			owners := []string{"user:bob@acme.test", "user:frank@acme.test", "user:bob@acme.test, user:frank@acme.test"}[r.IntN(3)]
			f["applications/authz.yaml"] = w.application("authz", fmt.Sprintf("owners: [%s]\nlimits: {deletions: %d}\n", owners, 1+r.IntN(90)))
			approvers = append(approvers, bob, frank, historytest.Carol())
		case 11: // something that nobody judges
			f[fmt.Sprintf("notes/%d.md", i)] = "note"
		}
		if len(f) == 1 && f[path] != "" {
			paths = append(paths, path)
		}
		commits = append(commits, w.land(f, approvers...))
	}
	return commits
}
