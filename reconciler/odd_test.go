package reconciler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/history/historytest"
)

// One commit that can't be read strictly is quarantined by itself: what ends in time ends, and what comes later is judged.
func TestOddCommitStopsOnlyItself(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	end := w.Now.Add(time.Hour)
	w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(limited("dave", time.Time{}, end)))}, historytest.Bob())
	w.run()
	branch := w.propose("odd", files{"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin")))})
	header, _, _ := strings.Cut(w.Git("cat-file", "commit", branch), "\n\n")
	w.Git("update-ref", "refs/heads/odd", w.WriteObject("commit", header+"\n"))
	w.merge("odd", historytest.Bob(), frank())
	w.Now = end
	if r := w.run(); len(r.Admissions) != 1 || r.Admissions[0].Verdict != "quarantined" {
		t.Errorf("the merge of a commit without a message: %+v", r.Admissions)
	}
	w.land(files{"requests/gina.yaml": assignment("authz", "sales_reader", grants(user("gina")))}, historytest.Bob())
	w.run()
	w.wantHolds("authz", "sales_reader", "sales_reader read sales.orders", "sales_reader: gina")
}

// A folder that can't be read counts as it was read last. Of what shows later, a merge is judged for what its own branch
// brought, and the rest is quarantined; the same is true when the index is made again.
func TestOddTreeStopsOnlyItself(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	end := w.Now.Add(time.Hour)
	w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(limited("dave", time.Time{}, end)))}, historytest.Bob())
	w.run()
	// Somebody smuggles a request in by a tree that has one file twice; the next merge makes the tree readable again.
	tip := w.Git("rev-parse", "main")
	var entries []historytest.TreeEntry
	add := func(line string) {
		meta, name, _ := strings.Cut(line, "\t")
		f := strings.Fields(meta)
		entries = append(entries, historytest.TreeEntry{strings.TrimPrefix(f[0], "0"), name, f[2]})
	}
	for line := range strings.Lines(w.Git("ls-tree", "main:requests")) {
		add(strings.TrimSuffix(line, "\n"))
	}
	evil := historytest.TreeEntry{"100644", "mallory.yaml", w.WriteObject("blob", assignment("authz", "sales_reader", grants(user("erin"))))}
	good := w.WriteTree(append(entries, evil)...)
	odd := w.WriteTree(append(entries, evil, evil)...)
	root := func(requests string) string {
		var lines []string
		for line := range strings.Lines(w.Git("ls-tree", tip)) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasSuffix(line, "\trequests") {
				line = "040000 tree " + requests + "\trequests"
			}
			lines = append(lines, line)
		}
		return w.GitInput(strings.Join(lines, "\n")+"\n", "mktree")
	}
	bad := w.CommitTree(root(odd), "A small fix\n", tip)
	w.Git("update-ref", "refs/heads/main", bad)
	w.Now = end
	if r := w.run(); len(r.Admissions) != 1 || r.Admissions[0].Verdict != "quarantined" || !strings.Contains(strings.Join(r.Admissions[0].Reasons, " "), "duplicate entry") {
		t.Errorf("the odd tree: %+v", r.Admissions)
	}
	w.wantHolds("authz", "sales_reader", "sales_reader read sales.orders")
	// The next pull request brings gina; its merge also has what the odd tree brought.
	w.Git("update-ref", "refs/heads/main", w.CommitTree(root(good), "Repair\n", bad))
	w.Git("checkout", "-q", "-f", "main")
	w.land(files{"requests/gina.yaml": assignment("authz", "sales_reader", grants(user("gina")))}, historytest.Bob())
	for range 2 {
		r := w.run()
		if len(r.Quarantined) != 1 || r.Quarantined[0].Path != "requests/mallory.yaml" {
			t.Errorf("quarantined are %+v", r.Quarantined)
		}
		w.wantHolds("authz", "sales_reader", "sales_reader read sales.orders", "sales_reader: gina")
		w.forget()
	}
}
