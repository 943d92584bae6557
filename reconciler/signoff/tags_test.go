package signoff_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history"
	. "github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/reconciler/signoff"
)

// tag writes a tag of a commit, signed unless key is nil.
func tag(t *testing.T, r *Repo, name, target, message string, by Person, key *Key) {
	t.Helper()
	content := "object " + target + "\ntype commit\ntag " + name + "\ntagger " + by.String() + " 1767258000 +0000\n\n" + message + "\n"
	if key != nil {
		content += key.Signature(t, content, "git")
	}
	r.Git("update-ref", "refs/tags/"+name, r.GitInput(content, "hash-object", "-t", "tag", "-w", "--stdin"))
}

func TestLocalTags(t *testing.T) {
	t.Parallel()
	alice, bob, carol, stranger := NewKey(t), NewKey(t), NewKey(t), NewKey(t)
	base := "Base: " + strings.Repeat("a", 40)
	signers := "alice@acme.test " + alice.Public() + "\nbob@acme.test " + bob.Public() + "\ncarol@acme.test " + carol.Public()
	tests := []struct {
		name         string
		tag          func(t *testing.T, r *Repo, head string)
		same         string // why the change is another one, "" if it is the same
		unsigned     bool   // the branch's commit
		want         []string
		unattributed string
	}{
		{name: "one for each approver", tag: func(t *testing.T, r *Repo, head string) {
			tag(t, r, "ok/bob", head, base, Bob(), bob)
			tag(t, r, "ok/carol", head, "Fine\n\n"+base, Carol(), carol)
		}, want: []string{"bob@acme.test tag authenticated", "carol@acme.test tag authenticated"}},
		{name: "a tag that is not signed", tag: func(t *testing.T, r *Repo, head string) { tag(t, r, "v1", head, base, Bob(), nil) }},
		{name: "another's name", tag: func(t *testing.T, r *Repo, head string) { tag(t, r, "ok", head, base, Carol(), bob) },
			want: []string{"the signing key belongs to bob@acme.test, but the tagger is carol@acme.test"}},
		{name: "a key that is not listed", tag: func(t *testing.T, r *Repo, head string) { tag(t, r, "ok", head, base, Bob(), stranger) },
			want: []string{"is not in the allowed signers"}},
		{name: "no base", tag: func(t *testing.T, r *Repo, head string) { tag(t, r, "ok", head, "Fine", Bob(), bob) },
			want: []string{"does not name the commit that it was reviewed on top of"}},
		{name: "two bases", tag: func(t *testing.T, r *Repo, head string) { tag(t, r, "ok", head, base+"\n"+base, Bob(), bob) },
			want: []string{"does not name the commit that it was reviewed on top of"}},
		{name: "another change", same: "it was merged before", tag: func(t *testing.T, r *Repo, head string) { tag(t, r, "ok", head, base, Bob(), bob) },
			want: []string{"the tag ok is not about what was merged: it was merged before"}},
		{name: "another commit", tag: func(t *testing.T, r *Repo, head string) {
			tag(t, r, "ok", r.Git("rev-parse", "main"), base, Bob(), bob)
		}},
		{name: "the merged commit is not signed", unsigned: true, unattributed: "it is not signed",
			tag:  func(t *testing.T, r *Repo, head string) { tag(t, r, "ok", head, base, Bob(), bob) },
			want: []string{"bob@acme.test tag authenticated"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			repo := begun(t)
			o := CommitOptions{Key: alice}
			if tt.unsigned {
				o.Key = nil
			}
			ask(repo, o)
			tt.tag(t, repo, repo.Git("rev-parse", "a"))
			repo.Land(Merge, MergeOptions{}, "a")
			r, err := history.Open(repo.Dir)
			if err != nil {
				t.Fatal(err)
			}
			commit, err := r.Commit(repo.Head())
			if err != nil {
				t.Fatal(err)
			}
			merged, err := r.MergedCommits(t.Context(), commit)
			if err != nil {
				t.Fatal(err)
			}
			tags, err := r.Tags(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			forge, err := signoff.NewLocal(signoff.LocalConfig{AllowedSigners: []byte(signers), AllowedSignersPath: "signers"})
			if err != nil {
				t.Fatal(err)
			}
			e, err := forge.Evidence(t.Context(), signoff.Change{Commit: commit, Merged: merged, Instant: time.Time{},
				Tags: func(_ context.Context, c string) ([]*history.Tag, error) { return tags[c], nil },
				Same: func(context.Context, string, string) (bool, string, error) { return tt.same == "", tt.same, nil }})
			if err != nil {
				t.Fatal(err)
			}
			got := approvals(e)
			if len(got) != len(tt.want) {
				t.Fatalf("approvals = %q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.Contains(got[i], tt.want[i]) {
					t.Errorf("approval = %q, want %q in it", got[i], tt.want[i])
				}
			}
			if diff := cmp.Diff([]string{"alice@acme.test"}, e.Authors); diff != "" {
				t.Errorf("authors (-want +got):\n%s", diff)
			}
			if got := strings.Join(e.Unattributed, "\n"); (tt.unattributed == "") != (got == "") || !strings.Contains(got, tt.unattributed) {
				t.Errorf("unattributed = %q, want %q", got, tt.unattributed)
			}
		})
	}
}
