package history_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history"
	. "github.com/countersign/countersign/reconciler/history/historytest"
)

// seen is what a walk shows of a commit.
type seen struct {
	Title            string
	Odd              bool
	Changes, Unknown []string
}

func lookAt(t *testing.T, r *history.Repository, from, to string) []seen {
	t.Helper()
	var out []seen
	err := r.Walk(t.Context(), from, to, everything{}, func(c *history.Commit) error {
		title, _, _ := strings.Cut(c.Message, "\n")
		s := seen{Title: title, Odd: c.Odd != nil}
		for _, x := range c.Changes {
			s.Changes = append(s.Changes, describe(x))
		}
		for _, x := range c.Unaccounted {
			s.Unknown = append(s.Unknown, describe(x))
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A tree that can't be read is left out with its folder. The next one that can be read is compared with the last one
// that could be: a merge's own branch accounts for what it brought, and nobody for the rest. Where the walk begins makes
// no difference.
func TestUnreadableTrees(t *testing.T) {
	t.Parallel()
	repo := New(t)
	blob := func(content string) string { return repo.WriteObject("blob", content) }
	tree := func(requests ...TreeEntry) string {
		return repo.WriteTree(TreeEntry{"100644", "README", blob("r")}, TreeEntry{"40000", "requests", repo.WriteTree(requests...)})
	}
	a, b, c, d := TreeEntry{"100644", "a", blob("a")}, TreeEntry{"100644", "b", blob("b")}, TreeEntry{"100644", "c", blob("c")}, TreeEntry{"100644", "d", blob("d")}
	first := repo.CommitTree(tree(a), "first\n")
	odd := repo.CommitTree(tree(a, b, b), "odd\n", first)
	// Another folder changes meanwhile, and the odd one stays.
	still := repo.WriteTree(TreeEntry{"100644", "README", blob("r2")}, TreeEntry{"40000", "requests", repo.WriteTree(a, b, b)})
	stays := repo.CommitTree(still, "stays\n", odd)
	branch := repo.CommitTree(tree(a, c), "branch\n", first)
	merge := repo.CommitTree(tree(a, b, c), "merge\n", stays, branch)
	last := repo.CommitTree(tree(a, b, c, d), "last\n", merge)
	r := open(t, repo.Dir)
	want := []seen{
		{"first", false, []string{"A README", "A requests/a"}, nil},
		{"odd", true, nil, nil},
		{"stays", false, []string{"M README"}, nil},
		{"merge", false, []string{"M README", "A requests/c"}, []string{"A requests/b"}},
		{"last", false, []string{"A requests/d"}, nil},
	}
	from := ""
	for i, commit := range []string{first, odd, stays, merge, last} {
		if diff := cmp.Diff(want[i:], lookAt(t, r, from, last)); diff != "" {
			t.Errorf("from %d (-want +got):\n%s", i, diff)
		}
		from = commit
	}
	// A direct push accounts for nothing of it.
	push := repo.CommitTree(tree(a, b, c), "push\n", odd)
	if diff := cmp.Diff([]seen{{"push", false, nil, []string{"A requests/b", "A requests/c"}}}, lookAt(t, r, odd, push)); diff != "" {
		t.Errorf("push (-want +got):\n%s", diff)
	}
	// Taken back, there is nothing left of it.
	back := repo.CommitTree(tree(a), "back\n", odd)
	if diff := cmp.Diff([]seen{{"back", false, nil, nil}}, lookAt(t, r, odd, back)); diff != "" {
		t.Errorf("back (-want +got):\n%s", diff)
	}
}

// A commit that can't be read strictly is on the line all the same, with its changes, and its author is nobody.
func TestUnreadableCommits(t *testing.T) {
	t.Parallel()
	repo := New(t)
	first := repo.CommitTree(repo.WriteTree(TreeEntry{"100644", "a", repo.WriteObject("blob", "a")}), "first\n")
	tree := repo.WriteTree(TreeEntry{"100644", "b", repo.WriteObject("blob", "b")})
	head := "tree " + tree + "\nparent " + first + "\n"
	people := "author A <a@b.test> 1767258000 +0000\ncommitter A <a@b.test> 1767258000 +0000\n"
	r := open(t, repo.Dir)
	for name, content := range map[string]string{
		"no message":                  head + people,
		"a NUL byte":                  head + people + "\nx\x00Co-authored-by: M <m@b.test>\n",
		"no author":                   head + "committer A <a@b.test> 1767258000 +0000\n\nx\n",
		"two authors":                 head + "author A <a@b.test> 1767258000 +0000\n" + people + "\nx\n",
		"a parent after the people":   head + people + "parent " + first + "\n\nx\n",
		"a header without a line end": head + people + "encoding latin-1",
	} {
		odd := repo.WriteObject("commit", content)
		if _, err := r.Commit(odd); err == nil {
			t.Errorf("%s: Commit reads it", name)
		}
		next := repo.CommitTree(tree, "next\n", odd)
		want := []seen{{Odd: true, Changes: []string{"D a", "A b"}}, {Title: "next"}}
		if diff := cmp.Diff(want, lookAt(t, r, first, next)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		merge, err := r.Commit(repo.CommitTree(tree, "merge\n", first, odd))
		if err != nil {
			t.Fatal(err)
		}
		merged, err := r.MergedCommits(t.Context(), merge)
		if err != nil || len(merged) != 1 || merged[0].Odd == nil || merged[0].Author.Email != "" || !strings.Contains(merged[0].Author.Name, odd) {
			t.Errorf("%s: MergedCommits = %+v, %v", name, merged, err)
		}
		if ok, err := r.IsAncestor(t.Context(), first, next); err != nil || !ok {
			t.Errorf("%s: IsAncestor = %v, %v", name, ok, err)
		}
	}
}
