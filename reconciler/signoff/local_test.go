package signoff_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history"
	. "github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

type everything struct{}

func (everything) Dir(string) bool  { return true }
func (everything) File(string) bool { return true }

// evidence is the local forge's for the last commit of main.
func evidence(t testing.TB, repo *Repo, c signoff.LocalConfig, instant time.Time) schemas.Evidence {
	t.Helper()
	forge, err := signoff.NewLocal(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := history.Open(repo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	tip, err := r.Resolve("main")
	if err != nil {
		t.Fatal(err)
	}
	known, err := r.Commit(tip)
	if err != nil {
		t.Fatal(err)
	}
	var e schemas.Evidence
	err = r.Walk(t.Context(), known.Parent, tip, everything{}, func(commit *history.Commit) error {
		merged, err := r.MergedCommits(t.Context(), commit)
		if err != nil {
			return err
		}
		e, err = forge.Evidence(t.Context(), signoff.Change{Commit: commit, Merged: merged, Digest: "digest", Instant: instant})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// approvals are lines of person, method, authenticated or not, and why not.
func approvals(e schemas.Evidence) (out []string) {
	for _, a := range e.Approvals {
		l := a.Person + " " + a.Method
		if a.Authenticated {
			l += " authenticated"
		}
		if a.Why != "" {
			l += ": " + a.Why
		}
		out = append(out, l)
	}
	return out
}

func begun(t testing.TB) *Repo {
	r := New(t)
	r.Write("requests/first.yaml", "first").Commit(CommitOptions{Message: "root", Author: Carol()})
	return r
}

func ask(r *Repo, o CommitOptions) {
	o.Message = "ask"
	r.Branch("a", "").Write("requests/a.yaml", "asked").Commit(o)
	r.Checkout("main")
}

func TestLocalTrailers(t *testing.T) {
	t.Parallel()
	both := []string{"alice@acme.test"}
	tests := []struct {
		name         string
		build        func(*Repo)
		authors      []string
		unattributed []string
		approvals    []string
	}{
		{"merge", func(r *Repo) { ask(r, CommitOptions{}); r.Land(Merge, MergeOptions{Approvers: []Person{Bob()}}, "a") },
			both, nil, []string{"bob@acme.test trailer"}},
		{"squash", func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Squash, MergeOptions{Author: Alice(), Approvers: []Person{Bob()}}, "a")
		}, both, nil, []string{"bob@acme.test trailer"}},
		{"rebase", func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Rebase, MergeOptions{Approvers: []Person{Bob(), Carol()}}, "a")
		},
			both, nil, []string{"bob@acme.test trailer", "carol@acme.test trailer"}},
		{"direct push", func(r *Repo) {
			r.Write("requests/a.yaml", "asked").Commit(CommitOptions{Trailers: []string{"Approved-by: " + Bob().String()}})
		}, both, nil, []string{"bob@acme.test trailer"}},
		{"nobody", func(r *Repo) { ask(r, CommitOptions{}); r.Land(Merge, MergeOptions{}, "a") }, both, nil, nil},
		{"trailers of the branch's commits", func(r *Repo) {
			ask(r, CommitOptions{Trailers: []string{"Approved-by: " + Bob().String()}})
			r.Land(Merge, MergeOptions{}, "a")
		}, both, nil, nil},
		{"a committer of the branch", func(r *Repo) { ask(r, CommitOptions{Committer: Carol()}); r.Land(Merge, MergeOptions{}, "a") },
			[]string{"alice@acme.test", "carol@acme.test"}, nil, nil},
		{"co-authors of the branch and of the merge", func(r *Repo) {
			ask(r, CommitOptions{Trailers: []string{"co-authored-BY: Carol <CAROL@acme.test>"}})
			r.Land(Merge, MergeOptions{Trailers: []string{"Co-authored-by: Dave <dave@acme.test>"}}, "a")
		}, []string{"alice@acme.test", "carol@acme.test", "dave@acme.test"}, nil, nil},
		{"a co-author in the middle of a squash", func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Squash, MergeOptions{Author: Alice(), Message: "Squash\n\n* ask\n\nCo-authored-by: Bob <bob@acme.test>\n\n* more", Approvers: []Person{Bob()}}, "a")
		}, []string{"alice@acme.test", "bob@acme.test"}, nil, []string{"bob@acme.test trailer"}},
		{"a co-author without an address", func(r *Repo) {
			ask(r, CommitOptions{Trailers: []string{"Co-authored-by: Bob"}})
			r.Land(Merge, MergeOptions{}, "a")
		}, both, []string{"Bob <>"}, nil},
		{"an approval in the middle of the message", func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Merge, MergeOptions{Message: "Merge\n\nApproved-by: Bob <bob@acme.test>\n\nand that is all"}, "a")
		}, both, nil, []string{"bob@acme.test trailer: the line Approved-by is not at the end of the message: put all of them in the last paragraphs, with nothing else in them"}},
		{"approvals in paragraphs of their own", func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Merge, MergeOptions{Message: "Merge\n\nWhy not\n\nApproved-by: Bob <bob@acme.test>\n\nApproved-by: Carol <carol@acme.test>"}, "a")
		}, both, nil, []string{"bob@acme.test trailer", "carol@acme.test trailer"}},
		{"an approval for a title", func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Merge, MergeOptions{Message: "Approved-by: Bob <bob@acme.test>"}, "a")
		}, both, nil, []string{"bob@acme.test trailer: the line Approved-by is not at the end of the message: put all of them in the last paragraphs, with nothing else in them"}},
		{"approvals that are none", func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Merge, MergeOptions{Trailers: []string{"Approved-by: Bob", "Approved-by: Bob <bob@host>", "Approved-by: GitHub <noreply@github.com>", "Approved-by: B <b@acme.test> really"}}, "a")
		}, both, nil, []string{
			"Bob trailer: it needs an e-mail address that identifies a person: write Approved-by: Name <address>",
			"Bob <bob@host> trailer: it needs an e-mail address that identifies a person: write Approved-by: Name <address>",
			"GitHub <noreply@github.com> trailer: it needs an e-mail address that identifies a person: write Approved-by: Name <address>",
			"B <b@acme.test> really trailer: it needs an e-mail address that identifies a person: write Approved-by: Name <address>"}},
		{"authors that are nobody", func(r *Repo) {
			ask(r, CommitOptions{Author: Person{Name: "root", Email: "root@localhost"}, Committer: Person{Name: "GitHub", Email: "noreply@github.com"}})
			r.Land(Merge, MergeOptions{}, "a")
		}, []string{}, []string{"GitHub <noreply@github.com>", "root <root@localhost>"}, nil},
		{"something slipped into the merge", func(r *Repo) {
			ask(r, CommitOptions{})
			r.Git("merge", "-q", "--no-ff", "--no-commit", "a")
			r.Write("requests/evil.yaml", "evil").Commit(CommitOptions{Author: Bob(), Message: "Merge", Trailers: []string{"Approved-by: " + Bob().String()}})
		}, []string{"alice@acme.test", "bob@acme.test"}, nil, []string{"bob@acme.test trailer"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			repo := begun(t)
			tt.build(repo)
			e := evidence(t, repo, signoff.LocalConfig{Unauthenticated: true}, time.Time{})
			if diff := cmp.Diff(tt.authors, e.Authors); diff != "" {
				t.Errorf("authors (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.unattributed, e.Unattributed); diff != "" {
				t.Errorf("unattributed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.approvals, approvals(e)); diff != "" {
				t.Errorf("approvals (-want +got):\n%s", diff)
			}
			if e.Forge != "local" || e.ContentDigest != "digest" || e.MergedAt == nil {
				t.Errorf("evidence = %+v", e)
			}
		})
	}
}

func TestLocalSignatures(t *testing.T) {
	t.Parallel()
	alice, bob, other := NewKey(t), NewKey(t), NewKey(t)
	ask := func(r *Repo, o CommitOptions) {
		if o.Key == nil {
			o.Key = alice
		}
		ask(r, o)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, rs := KeyOf(t, curve), KeyOf(t, big)
	land := func(k *Key) func(*Repo) {
		return func(r *Repo) { ask(r, CommitOptions{}); r.Land(Merge, MergeOptions{Key: k}, "a") }
	}
	resign := func(change func(payload string) string, namespace string) func(*Repo) {
		return func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Merge, MergeOptions{}, "a")
			payload := r.Git("cat-file", "commit", "HEAD") + "\n"
			r.Git("reset", "-q", "--soft", r.WriteSigned(change(payload), bob.Signature(t, payload, namespace)))
		}
	}
	same := func(p string) string { return p }
	line := "bob@acme.test " + bob.Public()
	tests := []struct {
		name    string
		signers string
		build   func(*Repo)
		instant time.Time
		want    []string // parts of the approvals
		authors []string // alice@acme.test unless set
	}{
		{name: "merge", signers: line, build: land(bob), want: []string{"bob@acme.test signature authenticated"}},
		{name: "ecdsa", signers: "bob@acme.test " + ec.Public(), build: land(ec), want: []string{"bob@acme.test signature authenticated"}},
		{name: "rsa", signers: "bob@acme.test " + rs.Public(), build: land(rs), want: []string{"bob@acme.test signature authenticated"}},
		{name: "squash", signers: line, build: func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Squash, MergeOptions{Author: Alice(), Key: bob}, "a")
		}, want: []string{"bob@acme.test signature authenticated: the signature shows who made the commit"}, authors: []string{"alice@acme.test", "bob@acme.test"}},
		{name: "each commit of a rebase", signers: line, build: func(r *Repo) { ask(r, CommitOptions{}); r.Land(Rebase, MergeOptions{Key: bob}, "a") },
			want: []string{"bob@acme.test signature authenticated: the signature shows who made the commit"}, authors: []string{"alice@acme.test", "bob@acme.test"}},
		{name: "one's own commit under another's name", signers: line, build: func(r *Repo) {
			r.Write("requests/a.yaml", "x").Commit(CommitOptions{Author: Carol(), Committer: Bob(), Key: bob})
		}, want: []string{"bob@acme.test signature authenticated: the signature shows who made the commit"}, authors: []string{"bob@acme.test", "carol@acme.test"}},
		{name: "one's own commit", signers: line, build: func(r *Repo) {
			r.Write("requests/a.yaml", "x").Commit(CommitOptions{Author: Bob(), Key: bob})
		}, want: []string{"bob@acme.test signature authenticated: the signature shows who made the commit"}, authors: []string{"bob@acme.test"}},
		{name: "no signature", signers: line, build: land(nil)},
		{name: "a trailer instead", signers: line, build: func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Merge, MergeOptions{Approvers: []Person{Bob()}}, "a")
		}, want: []string{"bob@acme.test trailer: a trailer counts only with signoff: unauthenticated"}},
		{name: "another key", signers: line, build: land(other), want: []string{"is not in the allowed signers"}},
		{name: "another's key", signers: line + "\ncarol@acme.test " + other.Public(), build: land(other),
			want: []string{"the signing key belongs to carol@acme.test, but the committer is bob@acme.test"}},
		{name: "changed after it was signed", signers: line, build: resign(func(p string) string { return p + "more\n" }, "git"), want: []string{"is invalid"}},
		{name: "another namespace", signers: line, build: resign(same, "file"), want: []string{"is invalid"}},
		{name: "the namespace of Git named", signers: `bob@acme.test namespaces="file,git" ` + bob.Public(), build: land(bob), want: []string{"bob@acme.test signature authenticated"}},
		{name: "a key for files", signers: `bob@acme.test namespaces="file" ` + bob.Public(), build: land(bob), want: []string{"is not valid for commits at"}},
		{name: "a key that ran out", signers: `bob@acme.test valid-before="20251231" ` + bob.Public(), build: land(bob), want: []string{"is not valid for commits at 2026-01-01T09:02:00Z"}},
		{name: "a key that is not valid yet", signers: `bob@acme.test valid-after="20260102Z" ` + bob.Public(), build: land(bob), want: []string{"is not valid for commits at"}},
		{name: "a key that is valid", signers: `bob@acme.test valid-after="20251231",valid-before="202601010903Z" ` + bob.Public(), build: land(bob), want: []string{"bob@acme.test signature authenticated"}},
		{name: "a key that ran out, and a commit dated back", signers: `bob@acme.test valid-before="20260201" ` + bob.Public(), build: land(bob),
			instant: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), want: []string{"is not valid for commits at 2026-03-01T00:00:00Z"}},
		{name: "a new line for the same key", signers: `bob@acme.test valid-before="20251231" ` + bob.Public() + "\n" + line, build: land(bob), want: []string{"bob@acme.test signature authenticated"}},
		{name: "several principals", signers: `"carol@acme.test,Bob@Acme.test" ` + bob.Public() + " a comment", build: land(bob), want: []string{"bob@acme.test signature authenticated"}},
		{name: "a key that is the author's too", signers: line + "\nalice@acme.test " + bob.Public(), build: land(bob),
			want: []string{"the signing key also belongs to alice@acme.test, who made the change"}},
		{name: "a branch that the approver signed under another's name", signers: line, build: func(r *Repo) {
			ask(r, CommitOptions{Key: bob})
			r.Land(Merge, MergeOptions{Key: bob}, "a")
		}, want: []string{"bob@acme.test signature authenticated"}, authors: []string{"alice@acme.test", "bob@acme.test"}},
		{name: "PGP", signers: line, build: func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Merge, MergeOptions{}, "a")
			r.Git("reset", "-q", "--soft", r.WriteSigned(r.Git("cat-file", "commit", "HEAD")+"\n", "-----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----\n"))
		}, want: []string{"is not an SSH signature"}},
		{name: "two signatures in one", signers: line, build: func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Merge, MergeOptions{}, "a")
			payload := r.Git("cat-file", "commit", "HEAD") + "\n"
			r.Git("reset", "-q", "--soft", r.WriteSigned(payload, other.Signature(t, payload, "git")+bob.Signature(t, payload, "git")))
		}, want: []string{"more than one part"}},
		{name: "an integrator that is nobody", signers: line, build: func(r *Repo) {
			ask(r, CommitOptions{})
			r.Land(Merge, MergeOptions{By: Person{Name: "root", Email: "root@host"}, Key: bob}, "a")
		}, want: []string{"the committer's address does not identify a person"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			repo := begun(t)
			tt.build(repo)
			e := evidence(t, repo, signoff.LocalConfig{AllowedSigners: []byte("# who counts\n\nalice@acme.test " + alice.Public() + "\n" + tt.signers + "\n"), AllowedSignersPath: "signers"}, tt.instant)
			got := approvals(e)
			if len(got) != len(tt.want) {
				t.Fatalf("approvals = %q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.Contains(got[i], tt.want[i]) {
					t.Errorf("approval = %q, want %q in it", got[i], tt.want[i])
				}
			}
			authors := tt.authors
			if authors == nil {
				authors = []string{"alice@acme.test"}
			}
			if diff := cmp.Diff(authors, e.Authors); diff != "" {
				t.Errorf("authors (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLocalAgreesWithGit holds our signatures against git verify-commit, and git's against us.
func TestLocalAgreesWithGit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("there is no ssh-keygen")
	}
	ours := NewKey(t)
	folder := t.TempDir()
	private := filepath.Join(folder, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	public, err := os.ReadFile(private + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	signers := "bob@acme.test " + ours.Public() + "\nbob@acme.test " + string(public)
	file := filepath.Join(folder, "signers")
	if err := os.WriteFile(file, []byte(signers), 0o600); err != nil {
		t.Fatal(err)
	}
	repo := begun(t)
	repo.Git("config", "gpg.format", "ssh")
	repo.Git("config", "gpg.ssh.allowedSignersFile", file)
	repo.Git("config", "user.signingKey", private)
	ask(repo, CommitOptions{})
	repo.Land(Merge, MergeOptions{Key: ours}, "a")
	if out, err := repo.Try("verify-commit", "HEAD"); err != nil {
		t.Errorf("git does not take our signature: %s", out)
	}
	repo.Git("-c", "user.name=Bob", "commit", "-q", "--amend", "--no-edit", "--reset-author", "-S")
	// Carol's environment committed it; the key is Bob's.
	e := evidence(t, repo, signoff.LocalConfig{AllowedSigners: []byte(signers), AllowedSignersPath: "signers"}, time.Time{})
	if len(e.Unattributed) != 1 {
		t.Errorf("unattributed = %q, want the commit of the branch, which is not signed", e.Unattributed)
	}
	if got := approvals(e); len(got) != 1 || !strings.Contains(got[0], "belongs to bob@acme.test, but the committer is carol@acme.test") {
		t.Errorf("approvals = %q, want a signature that holds and is not the committer's", got)
	}
	if out, err := repo.Try("verify-commit", "HEAD"); err != nil {
		t.Errorf("git does not take its own signature: %s", out)
	}
}

func TestNewLocalRefuses(t *testing.T) {
	t.Parallel()
	key := NewKey(t).Public()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err)
	}
	tests := []struct{ name, signers, want string }{
		{"nobody", "# nobody\n", "signers lists no signer"},
		{"an authority", "bob@acme.test cert-authority " + key, "line 1: certificate authorities are not supported"},
		{"anybody", "\n* " + key, `line 2: principal "*": patterns are not allowed; list each person`},
		{"a pattern", "*@acme.test " + key, "patterns are not allowed; list each person"},
		{"a negation", "bob@acme.test,!carol@acme.test " + key, "patterns are not allowed; list each person"},
		{"no address", "bob " + key, `principal "bob" is not an e-mail address`},
		{"revoked", "@revoked bob@acme.test " + key, "to revoke a key, remove its line"},
		{"no key", "bob@acme.test", "expected: principals"},
		{"an odd key", "bob@acme.test ssh-ed25519 AAAA", "the key cannot be read"},
		{"a weak key", "bob@acme.test " + KeyOf(t, small).Public(), "fewer than 2048 bits"},
		{"an unknown option", `bob@acme.test no-touch-required ` + key, "unknown option"},
		{"an option twice", `bob@acme.test valid-after="20260101",valid-after="20270101" ` + key, "duplicate option"},
		{"an odd time", `bob@acme.test valid-before="tomorrow" ` + key, "is not YYYYMMDD"},
		{"never valid", `bob@acme.test valid-after="20260101",valid-before="20250101" ` + key, "never valid"},
		{"an empty option", `bob@acme.test namespaces="" ` + key, "needs a value"},
		{"a quote left open", `"bob@acme.test ` + key, "expected: principals"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := signoff.NewLocal(signoff.LocalConfig{AllowedSigners: []byte(tt.signers), AllowedSignersPath: "signers"})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewLocal = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestUnauthenticatedLooksAtNoStrangersSignature(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	ask(repo, CommitOptions{})
	repo.Land(Merge, MergeOptions{Key: NewKey(t), Approvers: []Person{Bob()}}, "a")
	e := evidence(t, repo, signoff.LocalConfig{Unauthenticated: true}, time.Time{})
	if diff := cmp.Diff([]string{"bob@acme.test trailer"}, approvals(e)); diff != "" {
		t.Errorf("approvals (-want +got):\n%s", diff)
	}
}

func TestPending(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	ask(repo, CommitOptions{Committer: Carol(), Trailers: []string{"Approved-by: " + Bob().String()}})
	r, err := history.Open(repo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	commits, err := r.CommitsBetween(t.Context(), repo.Git("rev-parse", "main"), repo.Git("rev-parse", "a"))
	if err != nil {
		t.Fatal(err)
	}
	forge, err := signoff.NewLocal(signoff.LocalConfig{Unauthenticated: true})
	if err != nil {
		t.Fatal(err)
	}
	e, err := forge.Pending(t.Context(), signoff.Pending{Head: "head", Commits: commits, Digest: "digest"})
	want := schemas.Evidence{Forge: "local", Head: "head", ContentDigest: "digest", Authors: []string{"alice@acme.test", "carol@acme.test"}, Approvals: []schemas.Approval{}}
	if diff := cmp.Diff(want, e); diff != "" || err != nil {
		t.Errorf("Pending = %v (-want +got):\n%s", err, diff)
	}
}

func FuzzAllowedSigners(f *testing.F) {
	key := NewKey(f).Public()
	for _, s := range []string{"bob@acme.test " + key, `"a@b.c,d@e.f" namespaces="git",valid-after="20260101Z" ` + key, "# x\n", "* " + key, `"`, "a@b.c cert-authority " + key, "\x00 \xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := signoff.NewLocal(signoff.LocalConfig{AllowedSigners: []byte(s), AllowedSignersPath: "signers"})
		if err == nil && !strings.Contains(s, "@") {
			t.Errorf("%q names a signer", s)
		}
	})
}
