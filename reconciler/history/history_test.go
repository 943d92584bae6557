package history_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history"
	. "github.com/countersign/countersign/reconciler/history/historytest"
)

// everything is a filter that leaves nothing out.
type everything struct{}

func (everything) Dir(string) bool  { return true }
func (everything) File(string) bool { return true }

func open(t testing.TB, dir string) *history.Repository {
	t.Helper()
	r, err := history.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// walk returns the commits' changes as lines, the oldest first.
func walk(t testing.TB, r *history.Repository, from, to string, f history.Filter) []string {
	t.Helper()
	lines, err := tryWalk(t, r, from, to, f)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func tryWalk(t testing.TB, r *history.Repository, from, to string, f history.Filter) (lines []string, err error) {
	t.Helper()
	if to, err = r.Resolve(to); err != nil {
		return nil, err
	}
	err = r.Walk(t.Context(), from, to, f, func(c *history.Commit) error {
		title, _, _ := strings.Cut(c.Message, "\n")
		lines = append(lines, title)
		for _, x := range c.Changes {
			lines = append(lines, "  "+describe(x))
		}
		return nil
	})
	return lines, err
}

func describe(x history.Change) string {
	sign := "M"
	switch {
	case x.Before == history.Entry{}:
		sign = "A"
	case x.After == history.Entry{}:
		sign = "D"
	}
	mode := x.After.Mode
	if sign == "D" {
		mode = x.Before.Mode
	}
	if mode == 0o100644 {
		return sign + " " + x.Path
	}
	return fmt.Sprintf("%s %s %o", sign, x.Path, mode)
}

// merged are the titles of the commits that a revision brought, sorted.
func merged(t testing.TB, r *history.Repository, rev string) []string {
	t.Helper()
	to, err := r.Resolve(rev)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Commit(to)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	err = r.Walk(t.Context(), c.Parent, to, everything{}, func(c *history.Commit) error {
		if c.Hash != to {
			return nil
		}
		commits, err := r.MergedCommits(t.Context(), c)
		for _, m := range commits {
			title, _, _ := strings.Cut(m.Message, "\n")
			out = append(out, title)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// begun is a repository with the settings in its root commit.
func begun(t testing.TB) *Repo {
	r := New(t)
	r.Write("countersign.yaml", "settings\n").Write("README.md", "read\n").Write("requests/first.yaml", "first\n")
	r.Commit(CommitOptions{Message: "root", Author: Carol()})
	return r
}

func TestWalkStyles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		build  func(*Repo)
		want   []string
		merged []string // of main, at the end
	}{
		{
			name:   "root",
			build:  func(*Repo) {},
			want:   []string{"root", "  A countersign.yaml", "  A requests/first.yaml"},
			merged: []string{"root"},
		},
		{
			name: "merge",
			build: func(r *Repo) {
				r.Branch("a", "").Write("requests/a.yaml", "1").Commit(CommitOptions{Message: "one"})
				r.Write("requests/a.yaml", "2").Commit(CommitOptions{Message: "two"})
				r.Checkout("main").Land(Merge, MergeOptions{Message: "merge a"}, "a")
			},
			want:   []string{"root", "  A countersign.yaml", "  A requests/first.yaml", "merge a", "  A requests/a.yaml"},
			merged: []string{"one", "two"},
		},
		{
			name: "squash",
			build: func(r *Repo) {
				r.Branch("a", "").Write("requests/a.yaml", "1").Commit(CommitOptions{Message: "one"})
				r.Write("requests/b.yaml", "2").Commit(CommitOptions{Message: "two"})
				r.Checkout("main").Land(Squash, MergeOptions{Message: "squash a"}, "a")
			},
			want:   []string{"root", "  A countersign.yaml", "  A requests/first.yaml", "squash a", "  A requests/a.yaml", "  A requests/b.yaml"},
			merged: []string{"squash a"},
		},
		{
			name: "rebase",
			build: func(r *Repo) {
				r.Branch("a", "").Write("requests/a.yaml", "1").Commit(CommitOptions{Message: "one"})
				r.Write("requests/b.yaml", "2").Commit(CommitOptions{Message: "two"})
				r.Checkout("main").Write("requests/c.yaml", "3").Commit(CommitOptions{Message: "between"})
				r.Land(Rebase, MergeOptions{}, "a")
			},
			want: []string{"root", "  A countersign.yaml", "  A requests/first.yaml", "between", "  A requests/c.yaml",
				"one", "  A requests/a.yaml", "two", "  A requests/b.yaml"},
			merged: []string{"two"},
		},
		{
			name: "octopus",
			build: func(r *Repo) {
				for _, b := range []string{"a", "b", "c"} {
					r.Checkout("main").Branch(b, "").Write("requests/"+b+".yaml", b).Commit(CommitOptions{Message: "ask " + b})
				}
				r.Checkout("main").Land(Merge, MergeOptions{Message: "octopus"}, "a", "b", "c")
			},
			want: []string{"root", "  A countersign.yaml", "  A requests/first.yaml", "octopus", "  A requests/a.yaml", "  A requests/b.yaml",
				"  A requests/c.yaml"},
			merged: []string{"ask a", "ask b", "ask c"},
		},
		{
			name: "revert of a merge",
			build: func(r *Repo) {
				r.Branch("a", "").Write("requests/a.yaml", "1").Commit(CommitOptions{Message: "one"})
				r.Checkout("main").Land(Merge, MergeOptions{Message: "merge a"}, "a")
				r.Git("revert", "-m", "1", "--no-edit", "HEAD")
			},
			want: []string{"root", "  A countersign.yaml", "  A requests/first.yaml", "merge a", "  A requests/a.yaml",
				`Revert "merge a"`, "  D requests/a.yaml"},
			merged: []string{`Revert "merge a"`},
		},
		{
			name: "rename",
			build: func(r *Repo) {
				r.Git("mv", "requests/first.yaml", "requests/second.yaml")
				r.Commit(CommitOptions{Message: "rename"})
			},
			want:   []string{"root", "  A countersign.yaml", "  A requests/first.yaml", "rename", "  D requests/first.yaml", "  A requests/second.yaml"},
			merged: []string{"rename"},
		},
		{
			name: "the base merged into the branch",
			build: func(r *Repo) {
				r.Branch("a", "").Write("requests/a.yaml", "1").Commit(CommitOptions{Message: "one"})
				r.Checkout("main").Write("requests/c.yaml", "3").Commit(CommitOptions{Message: "between"})
				r.Checkout("a").Land(Merge, MergeOptions{Message: "update"}, "main")
				r.Write("requests/a.yaml", "2").Commit(CommitOptions{Message: "two"})
				r.Checkout("main").Land(Merge, MergeOptions{Message: "merge a"}, "a")
			},
			want: []string{"root", "  A countersign.yaml", "  A requests/first.yaml", "between", "  A requests/c.yaml", "merge a", "  A requests/a.yaml"},
			// Who updated the branch could have written into the update.
			merged: []string{"one", "two", "update"},
		},
		{
			name: "modes and links",
			build: func(r *Repo) {
				r.WriteExecutable("requests/run.yaml", "x").Link("requests/link.yaml", "first.yaml")
				r.Git("update-index", "--add", "--cacheinfo", "160000,"+r.Head()+",requests/sub.yaml")
				r.Git("add", "requests/run.yaml", "requests/link.yaml")
				r.Git("commit", "-q", "-m", "odd")
			},
			want: []string{"root", "  A countersign.yaml", "  A requests/first.yaml", "odd", "  A requests/link.yaml 120000",
				"  A requests/run.yaml 100755", "  A requests/sub.yaml 160000"},
			merged: []string{"odd"},
		},
		{
			name: "a link in place of the folder",
			build: func(r *Repo) {
				r.Delete("requests").Write("elsewhere/evil.yaml", "x").Link("requests", "elsewhere").Commit(CommitOptions{Message: "link"})
				r.Delete("requests").Write("requests/b.yaml", "x").Commit(CommitOptions{Message: "back"})
			},
			want: []string{"root", "  A countersign.yaml", "  A requests/first.yaml",
				"link", "  A requests 120000", "  D requests/first.yaml", "back", "  D requests 120000", "  A requests/b.yaml"},
			merged: []string{"back"},
		},
		{
			name: "a submodule in place of the folder",
			build: func(r *Repo) {
				head := r.Head()
				r.Git("rm", "-q", "-r", "requests")
				r.Git("update-index", "--add", "--cacheinfo", "160000,"+head+",requests")
				r.Git("commit", "-q", "-m", "module")
			},
			want: []string{"root", "  A countersign.yaml", "  A requests/first.yaml",
				"module", "  A requests 160000", "  D requests/first.yaml"},
			merged: []string{"module"},
		},
		{
			name: "nothing of ours",
			build: func(r *Repo) {
				r.Write("src/main.c", "x").Commit(CommitOptions{Message: "code"})
			},
			want:   []string{"root", "  A countersign.yaml", "  A requests/first.yaml", "code"},
			merged: []string{"code"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			repo := begun(t)
			tt.build(repo)
			for _, packed := range []bool{false, true} {
				if packed {
					repo.Git("gc", "-q", "--prune=now")
				}
				r := open(t, repo.Dir)
				if diff := cmp.Diff(tt.want, walk(t, r, "", "main", controls{})); diff != "" {
					t.Errorf("packed %t: changes (-want +got):\n%s", packed, diff)
				}
				if diff := cmp.Diff(tt.merged, merged(t, r, "main")); diff != "" {
					t.Errorf("packed %t: merged commits (-want +got):\n%s", packed, diff)
				}
			}
		})
	}
}

// TestMergedCommitsOwn is about what somebody slips into a merge.
func TestMergedCommitsOwn(t *testing.T) {
	t.Parallel()
	ask := func(r *Repo) {
		r.Branch("a", "").Write("requests/a.yaml", "asked").Commit(CommitOptions{Message: "ask"})
		r.Checkout("main")
	}
	merging := func(r *Repo) { r.Git("merge", "-q", "--no-ff", "--no-commit", "a") }
	tests := []struct {
		name  string
		build func(*Repo)
		want  []string
	}{
		{"as it was asked", func(r *Repo) { ask(r); merging(r) }, []string{"ask"}},
		{"beside others' work", func(r *Repo) {
			ask(r)
			r.Write("requests/b.yaml", "b").Commit(CommitOptions{Message: "other"})
			merging(r)
		}, []string{"ask"}},
		{"with a file more", func(r *Repo) { ask(r); merging(r); r.Write("requests/evil.yaml", "evil") }, []string{"ask", "land"}},
		{"with other content", func(r *Repo) { ask(r); merging(r); r.Write("requests/a.yaml", "evil") }, []string{"ask", "land"}},
		{"with something of the base taken away", func(r *Repo) {
			ask(r)
			r.Write("requests/b.yaml", "b").Commit(CommitOptions{Message: "other"})
			merging(r)
			r.Delete("requests/b.yaml")
		}, []string{"ask", "land"}},
		{"with something of the base put back", func(r *Repo) {
			ask(r)
			r.Write("requests/first.yaml", "second").Commit(CommitOptions{Message: "other"})
			merging(r)
			r.Write("requests/first.yaml", "first\n")
		}, []string{"ask", "land"}},
		{"with a mode changed", func(r *Repo) { ask(r); merging(r); r.WriteExecutable("requests/a.yaml", "asked") }, []string{"ask", "land"}},
		{"with another branch's version chosen", func(r *Repo) {
			ask(r)
			r.Write("requests/a.yaml", "mine").Commit(CommitOptions{Message: "other"})
			r.Git("merge", "-q", "--no-ff", "--no-commit", "-X", "theirs", "a")
		}, []string{"ask"}},
		{"with a conflict resolved by hand", func(r *Repo) {
			ask(r)
			r.Write("requests/a.yaml", "mine").Commit(CommitOptions{Message: "other"})
			if _, err := r.Try("merge", "-q", "--no-ff", "--no-commit", "a"); err == nil {
				panic("no conflict")
			}
			r.Write("requests/a.yaml", "both")
		}, []string{"ask", "land"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			repo := begun(t)
			tt.build(repo)
			repo.Commit(CommitOptions{Message: "land", Author: Bob()})
			if diff := cmp.Diff(tt.want, merged(t, open(t, repo.Dir), "main")); diff != "" {
				t.Errorf("merged commits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClones(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	repo.Branch("a", "").Write("requests/2026/a.yaml", "1").Commit(CommitOptions{Message: "one"})
	repo.Checkout("main").Land(Merge, MergeOptions{Message: "merge a"}, "a")
	want := walk(t, open(t, repo.Dir), "", "main", controls{})
	if len(want) != 5 {
		t.Fatalf("walk = %q", want)
	}
	shared := repo.CloneShared()
	sharedTwice := shared.CloneShared()
	relative := repo.Clone("--bare")
	if err := os.RemoveAll(filepath.Join(relative.Dir, "objects", "pack")); err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(filepath.Join(relative.Dir, "objects"), filepath.Join(repo.Dir, ".git", "objects"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(relative.Dir, "objects", "info", "alternates"), []byte("# borrowed\n"+up+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(t.TempDir(), "linked")
	repo.Git("worktree", "add", "-q", "--detach", linked, "main~1")
	bare := repo.Clone("--bare")
	ordinary := repo.Clone()
	sparse := repo.Clone()
	sparse.Git("sparse-checkout", "set", "requests")
	tests := []struct {
		name, dir, rev, workTree, gitDir string
	}{
		{"ordinary", ordinary.Dir, "main", ordinary.Dir, filepath.Join(ordinary.Dir, ".git")},
		{"a folder of it", filepath.Join(ordinary.Dir, "requests", "2026"), "origin/main", ordinary.Dir, filepath.Join(ordinary.Dir, ".git")},
		{"its Git directory", filepath.Join(ordinary.Dir, ".git"), "HEAD", "", filepath.Join(ordinary.Dir, ".git")},
		{"bare", bare.Dir, "main", "", bare.Dir},
		{"sparse", sparse.Dir, "main", sparse.Dir, filepath.Join(sparse.Dir, ".git")},
		{"shared", shared.Dir, "main", shared.Dir, filepath.Join(shared.Dir, ".git")},
		{"shared twice", sharedTwice.Dir, "main", sharedTwice.Dir, filepath.Join(sharedTwice.Dir, ".git")},
		{"relative alternates", relative.Dir, "main", "", relative.Dir},
		{"linked work tree", linked, "main", linked, filepath.Join(repo.Dir, ".git")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, tt.dir)
			if diff := cmp.Diff(want, walk(t, r, "", tt.rev, controls{})); diff != "" {
				t.Errorf("walk (-want +got):\n%s", diff)
			}
			if got := filepath.Clean(r.GitDir()); got != tt.gitDir {
				t.Errorf("GitDir = %s, want %s", got, tt.gitDir)
			}
			if r.WorkTree() != tt.workTree {
				t.Errorf("WorkTree = %s, want %s", r.WorkTree(), tt.workTree)
			}
		})
	}
	t.Run("a linked work tree's own HEAD", func(t *testing.T) {
		t.Parallel()
		got, err := open(t, linked).Resolve("HEAD")
		if want := repo.Git("rev-parse", "main~1"); err != nil || got != want {
			t.Errorf("HEAD = %s, %v, want %s", got, err, want)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	repo.Write("requests/b.yaml", "b").Commit(CommitOptions{})
	sha256 := New(t)
	sha256.Git("init", "-q", "--object-format=sha256", filepath.Join(sha256.Dir, "x"))
	reftable := begun(t)
	reftable.Git("config", "core.repositoryformatversion", "1")
	reftable.Git("config", "extensions.refStorage", "reftable")
	dangling := begun(t).CloneShared()
	if err := os.WriteFile(filepath.Join(dangling.Dir, ".git", "objects", "info", "alternates"), []byte("/nowhere/objects\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := t.TempDir()
	if err := os.WriteFile(filepath.Join(link, ".git"), []byte("nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, dir, want string }{
		{"shallow", repo.Clone("--depth=1").Dir, "git fetch --unshallow"},
		{"no repository", t.TempDir(), "is in no Git repository"},
		{"sha256", filepath.Join(sha256.Dir, "x"), "only sha1 is read here"},
		{"reftable", reftable.Dir, "only files are read here"},
		{"lost alternates", dangling.Dir, "folder not found"},
		{"broken link", link, "is not a Git link"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := history.Open(tt.dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open = %v, want %q", err, tt.want)
			}
			if tt.name == "shallow" && !errors.Is(err, history.ErrShallow) {
				t.Errorf("Open = %v, want ErrShallow", err)
			}
		})
	}
}

func TestPartialClone(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	repo.Git("config", "uploadpack.allowFilter", "true")
	r := open(t, repo.Clone("--bare", "--filter=blob:none").Dir)
	_, err := r.Blob(repo.Git("rev-parse", "HEAD:requests/first.yaml"), 100)
	if !errors.Is(err, history.ErrNotFound) || !strings.Contains(err.Error(), "partial clone") {
		t.Errorf("Blob = %v, want ErrNotFound and that the clone is partial", err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	root := repo.Head()
	repo.Git("tag", "light", "HEAD")
	repo.Branch("a", "").Write("requests/a.yaml", "1").Commit(CommitOptions{Message: "one"})
	one := repo.Head()
	repo.Git("tag", "-a", "-m", "annotated", "v1", "HEAD")
	repo.Git("tag", "-a", "-m", "a tag of a tag", "v2", "v1")
	repo.Git("tag", "blob", "HEAD:requests/a.yaml")
	repo.Checkout("main").Write("requests/b.yaml", "2").Commit(CommitOptions{Message: "two"})
	two := repo.Head()
	merge := repo.Land(Merge, MergeOptions{}, "a")
	repo.Git("branch", "feature/x", root)
	repo.Git("branch", "same", root)
	repo.Git("tag", "same", root)
	repo.Git("branch", "double", root)
	repo.Git("tag", "double", one)
	repo.Git("branch", one[:6], root)
	clone := repo.Clone()
	clone.Git("pack-refs", "--all")
	tests := []struct {
		rev, want, fails string
		in               *Repo
	}{
		{rev: "HEAD", want: merge}, {rev: "@", want: merge}, {rev: "main", want: merge}, {rev: "refs/heads/main", want: merge},
		{rev: "heads/main", want: merge}, {rev: "HEAD~1", want: two}, {rev: "HEAD~", want: two}, {rev: "HEAD~2", want: root},
		{rev: "HEAD^2", want: one}, {rev: "main^2~1", want: root}, {rev: "HEAD^0", want: merge}, {rev: "HEAD~0", want: merge},
		{rev: "@~^", want: root}, {rev: "v1", want: one}, {rev: "v2", want: one}, {rev: "v2^{}", want: one}, {rev: "v1^{commit}~1", want: root},
		{rev: "light", want: root}, {rev: merge, want: merge}, {rev: strings.ToUpper(merge), want: merge}, {rev: merge[:7], want: merge},
		{rev: merge[:10] + "~1", want: two}, {rev: strings.ToUpper(merge[:9]), want: merge}, {rev: "feature/x", want: root}, {rev: "same", want: root},
		{rev: "origin/main", want: merge, in: clone}, {rev: "origin", want: merge, in: clone}, {rev: "origin/feature/x", want: root, in: clone},
		{rev: "", fails: "no revision was named"}, {rev: "nothing", fails: "revision not found"}, {rev: "HEAD~9", fails: "doesn't have a parent"},
		{rev: "HEAD^3", fails: "has 2 parents"}, {rev: "double", fails: "ambiguous"}, {rev: one[:6], fails: "ambiguous"},
		{rev: "blob", fails: "it is not a commit"}, {rev: "feature", fails: "revision not found"}, {rev: "HEAD@{1}", fails: "not understood"},
		{rev: "HEAD:requests", fails: "not understood"}, {rev: "main..a", fails: "not understood"}, {rev: "HEAD^{tree}", fails: "not understood"},
		{rev: "refs/heads/../../HEAD", fails: "not understood"}, {rev: "../HEAD", fails: "not understood"}, {rev: "--help", fails: "not understood"},
		{rev: strings.Repeat("0", 40), fails: "object not found"}, {rev: "HEAD~99999999999999999999", fails: "out of range"}, {rev: "abc", fails: "revision not found"},
		{rev: "~1", fails: "not understood"},
	}
	for _, tt := range tests {
		t.Run(tt.rev, func(t *testing.T) {
			t.Parallel()
			in := tt.in
			if in == nil {
				in = repo
			}
			got, err := open(t, in.Dir).Resolve(tt.rev)
			switch {
			case tt.fails == "" && (err != nil || got != tt.want):
				t.Errorf("Resolve = %s, %v, want %s", got, err, tt.want)
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
				t.Errorf("Resolve = %s, %v, want an error with %q", got, err, tt.fails)
			}
		})
	}
}

func TestBlob(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	big := strings.Repeat("0123456789", 10_000)
	repo.Write("requests/big.yaml", big).Commit(CommitOptions{})
	repo.Write("requests/big.yaml", big+"x").Commit(CommitOptions{})
	hash := func(rev string) string { return repo.Git("rev-parse", rev) }
	blobs := []string{hash("HEAD:requests/big.yaml"), hash("HEAD~1:requests/big.yaml")}
	sizes := []int64{100_001, 100_000}
	tree, commit := hash("HEAD^{tree}"), hash("HEAD")
	for _, state := range []string{"loose", "packed"} {
		if state == "packed" {
			repo.Git("gc", "-q", "--prune=now")
		}
		r := open(t, repo.Dir)
		for i, b := range blobs {
			if content, err := r.Blob(b, sizes[i]); err != nil || int64(len(content)) != sizes[i] || string(content[:100_000]) != big {
				t.Errorf("%s: Blob = %d bytes, %v, want %d", state, len(content), err, sizes[i])
			}
			if content, err := r.Blob(b, sizes[i]-1); !errors.Is(err, history.ErrTooLarge) || content != nil {
				t.Errorf("%s: Blob over the limit = %d bytes, %v, want ErrTooLarge", state, len(content), err)
			}
		}
		for _, other := range []string{tree, commit, strings.Repeat("1", 40), "HEAD", "", "../../../../etc/passwd"} {
			if _, err := r.Blob(other, 1<<20); !errors.Is(err, history.ErrNotFound) {
				t.Errorf("%s: Blob(%s) = %v, want ErrNotFound", state, other, err)
			}
		}
	}
}

// TestDamage is about objects whose content is not what they are named for.
func TestDamage(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	swap := func(name, by string) {
		t.Helper()
		object := func(h string) string { return filepath.Join(repo.Dir, ".git", "objects", h[:2], h[2:]) }
		content, err := os.ReadFile(object(by))
		if err == nil {
			err = errors.Join(os.Remove(object(name)), os.WriteFile(object(name), content, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	blob := repo.Git("rev-parse", "HEAD:requests/first.yaml")
	first := repo.Head()
	second := repo.Commit(CommitOptions{Message: "second"})
	swap(blob, repo.Git("rev-parse", "HEAD:README.md"))
	swap(second, first)
	r := open(t, repo.Dir)
	if _, err := r.Blob(blob, 100); err == nil || !strings.Contains(err.Error(), "the clone is damaged") {
		t.Errorf("Blob = %v, want that the clone is damaged", err)
	}
	if _, err := r.Commit(second); err == nil || !strings.Contains(err.Error(), "the clone is damaged") {
		t.Errorf("Commit = %v, want that the clone is damaged", err)
	}
}

func TestOddTrees(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		build func(r *Repo, blob, sub string) []TreeEntry
		want  []string
		fails string
	}{
		{name: "twice", build: func(r *Repo, blob, sub string) []TreeEntry {
			return []TreeEntry{{"100644", "people.yaml", blob}, {"100644", "people.yaml", sub}}
		}, fails: `duplicate entry "people.yaml"`},
		{name: "a file and a folder of one name", build: func(r *Repo, blob, sub string) []TreeEntry {
			return []TreeEntry{{"100644", "requests", blob}, {"40000", "requests", sub}}
		}, fails: `duplicate entry "requests"`},
		{name: "the same, with others between", build: func(r *Repo, blob, sub string) []TreeEntry {
			return []TreeEntry{{"120000", "requests", blob}, {"100644", "requests-a", blob}, {"100644", "requests.b", blob}, {"40000", "requests", sub}}
		}, fails: `duplicate entry "requests"`},
		{name: "out of order", build: func(r *Repo, blob, sub string) []TreeEntry {
			return []TreeEntry{{"40000", "requests", sub}, {"100644", "people.yaml", blob}}
		}, fails: "out of order"},
		{name: "a slash in a name", build: func(r *Repo, blob, sub string) []TreeEntry {
			return []TreeEntry{{"100644", "requests/a.yaml", blob}}
		}, fails: "doesn't have the form"},
		{name: "no name", build: func(r *Repo, blob, sub string) []TreeEntry { return []TreeEntry{{"100644", "", blob}} }, fails: "doesn't have the form"},
		{name: "no mode", build: func(r *Repo, blob, sub string) []TreeEntry { return []TreeEntry{{"", "a", blob}} }, fails: "doesn't have the form"},
		{name: "a strange mode", build: func(r *Repo, blob, sub string) []TreeEntry { return []TreeEntry{{"10o644", "a", blob}} }, fails: "doesn't have the form"},
		{name: "cut off", build: func(r *Repo, blob, sub string) []TreeEntry { return []TreeEntry{{"100644", "a", blob[:20]}} }, fails: "doesn't have the form"},
		{name: "names for the caller to refuse", build: func(r *Repo, blob, sub string) []TreeEntry {
			inner := r.WriteTree(TreeEntry{"100644", "..", blob}, TreeEntry{"100644", ".git", blob}, TreeEntry{"100644", "a\nb.yaml", blob}, TreeEntry{"100644", "a\\b.yaml", blob})
			return []TreeEntry{{"40000", "requests", inner}}
		}, want: []string{"odd", "  A requests/..", "  A requests/.git", "  A requests/a\nb.yaml", "  A requests/a\\b.yaml"}},
		{name: "old modes", build: func(r *Repo, blob, sub string) []TreeEntry {
			return []TreeEntry{{"100664", "people.yaml", blob}, {"040000", "requests", sub}}
		}, want: []string{"odd", "  A people.yaml 100664", "  A requests/x.yaml"}},
		{name: "a bomb", build: func(r *Repo, blob, sub string) []TreeEntry {
			for range 40 {
				sub = r.WriteTree(TreeEntry{"40000", "a", sub}, TreeEntry{"40000", "b", sub}, TreeEntry{"40000", "c", sub})
			}
			return []TreeEntry{{"40000", "requests", sub}}
		}, fails: "more than 1000000"},
		{name: "too deep", build: func(r *Repo, blob, sub string) []TreeEntry {
			for range 80 {
				sub = r.WriteTree(TreeEntry{"40000", "a", sub})
			}
			return []TreeEntry{{"40000", "requests", sub}}
		}, fails: "nested deeper than 64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			repo := New(t)
			blob := repo.WriteObject("blob", "x")
			sub := repo.WriteTree(TreeEntry{"100644", "x.yaml", blob})
			commit := repo.CommitTree(repo.WriteTree(tt.build(repo, blob, sub)...), "odd\n")
			r := open(t, repo.Dir)
			if tt.fails != "" {
				// A reading of the commit alone is strict; a walk leaves out what can't be read, and goes on.
				if _, err := r.Snapshot(t.Context(), commit, everything{}); err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("Snapshot = %v, want %q", err, tt.fails)
				}
				err := r.Walk(t.Context(), "", commit, everything{}, func(c *history.Commit) error {
					if c.Odd == nil || !strings.Contains(c.Odd.Error(), tt.fails) || len(c.Changes) > 0 {
						t.Errorf("Walk: %v with %d changes, want %q and none", c.Odd, len(c.Changes), tt.fails)
					}
					return nil
				})
				if err != nil {
					t.Errorf("Walk = %v", err)
				}
				return
			}
			got, err := tryWalk(t, r, "", commit, everything{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Walk (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOddCommits(t *testing.T) {
	t.Parallel()
	const who = "Alice <alice@acme.test> 1767258000 +0000"
	tests := []struct {
		name, headers, fails string
		check                func(*testing.T, *history.Commit)
	}{
		{name: "ordinary", headers: "author " + who + "\ncommitter " + who + "\n\nmessage"},
		{name: "a second tree", headers: "tree TREE\nauthor " + who + "\ncommitter " + who + "\n\nm", fails: "its header author is missing"},
		{name: "a tree later", headers: "author " + who + "\ncommitter " + who + "\ntree TREE\n\nm", fails: "its header tree is duplicate"},
		{name: "a parent later", headers: "author " + who + "\ncommitter " + who + "\nparent TREE\n\nm", fails: "its header parent is duplicate"},
		{name: "two authors", headers: "author " + who + "\nauthor " + who + "\ncommitter " + who + "\n\nm", fails: "its header committer is missing"},
		{name: "an author that goes on", headers: "author " + who + "\n more\ncommitter " + who + "\n\nm", fails: "its header author is missing"},
		{name: "no committer", headers: "author " + who + "\n\nm", fails: "its header committer is missing"},
		{name: "two signatures", headers: "author " + who + "\ncommitter " + who + "\ngpgsig a\ngpgsig b\n\nm", fails: "it has two signatures"},
		{name: "a NUL byte", headers: "author " + who + "\ncommitter " + who + "\n\nm\x00Approved-by: x", fails: "NUL"},
		{name: "no end of headers", headers: "author " + who + "\ncommitter " + who + "\n", fails: "doesn't have the form"},
		{name: "no date", headers: "author Alice <alice@acme.test>\ncommitter " + who + "\n\nm", check: func(t *testing.T, c *history.Commit) {
			if !c.AuthoredAt.IsZero() || c.Author.Email != "alice@acme.test" {
				t.Errorf("author = %+v at %v", c.Author, c.AuthoredAt)
			}
		}},
		{name: "two addresses", headers: "author Alice <alice@acme.test> <bob@acme.test> 1 +0000\ncommitter " + who + "\n\nm", check: func(t *testing.T, c *history.Commit) {
			if c.Author.Email != "alice@acme.test> <bob@acme.test" {
				t.Errorf("author = %+v", c.Author)
			}
		}},
		{name: "other headers", headers: "author " + who + "\ncommitter " + who + "\nencoding x\nmergetag object a\n b\n \n c\nodd\ngpgsig one\n two\n\nm\n\nn", check: func(t *testing.T, c *history.Commit) {
			if c.Signature != "one\ntwo\n" || c.Message != "m\n\nn" {
				t.Errorf("signature = %q, message = %q", c.Signature, c.Message)
			}
			if want := "encoding x\nmergetag object a\n b\n \n c\nodd\n\nm\n\nn"; !strings.HasSuffix(string(c.Payload), want) {
				t.Errorf("payload = %q, want it to end in %q", c.Payload, want)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			repo := New(t)
			tree := repo.WriteTree()
			hash := repo.WriteObject("commit", "tree "+tree+"\n"+strings.ReplaceAll(tt.headers, "TREE", tree))
			c, err := open(t, repo.Dir).Commit(hash)
			switch {
			case tt.fails != "":
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("Commit = %v, want %q", err, tt.fails)
				}
			case err != nil:
				t.Error(err)
			case tt.check != nil:
				tt.check(t, c)
			}
		})
	}
}

// TestWalkRanges is about where a walk begins and ends.
func TestWalkRanges(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	root := repo.Head()
	repo.Branch("a", "").Write("requests/a.yaml", "1").Commit(CommitOptions{Message: "one"})
	side := repo.Head()
	repo.Checkout("main").Land(Merge, MergeOptions{Message: "merge a"}, "a")
	r := open(t, repo.Dir)
	if diff := cmp.Diff([]string{"merge a", "  A requests/a.yaml"}, walk(t, r, root, "main", controls{})); diff != "" {
		t.Errorf("from the root (-want +got):\n%s", diff)
	}
	if got := walk(t, r, repo.Head(), "main", controls{}); got != nil {
		t.Errorf("from the end = %q, want nothing", got)
	}
	if _, err := tryWalk(t, r, side, "main", controls{}); !errors.Is(err, history.ErrOffLine) {
		t.Errorf("from beside the line = %v", err)
	}
	stop := errors.New("stop")
	calls := 0
	err := r.Walk(t.Context(), "", repo.Head(), controls{}, func(*history.Commit) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("Walk = %v after %d calls, want stop after 1", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Walk(ctx, "", repo.Head(), controls{}, func(*history.Commit) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Walk with an ended context = %v", err)
	}
}

func TestSnapshotAndCompare(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	repo.Branch("a", "").Write("requests/2026/a.yaml", "1").Write("src/x.yaml", "1").Delete("requests/first.yaml").Commit(CommitOptions{})
	r := open(t, repo.Dir)
	files, err := r.Snapshot(t.Context(), "a", controls{})
	if err != nil {
		t.Fatal(err)
	}
	want := []history.File{
		{Path: "countersign.yaml", Entry: history.Entry{Blob: repo.Git("rev-parse", "a:countersign.yaml"), Mode: 0o100644}},
		{Path: "requests/2026/a.yaml", Entry: history.Entry{Blob: repo.Git("rev-parse", "a:requests/2026/a.yaml"), Mode: 0o100644}},
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("Snapshot (-want +got):\n%s", diff)
	}
	changes, err := r.Compare(t.Context(), repo.Git("rev-parse", "main"), repo.Git("rev-parse", "a"), controls{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range changes {
		got = append(got, describe(x))
	}
	if diff := cmp.Diff([]string{"A requests/2026/a.yaml", "D requests/first.yaml"}, got); diff != "" {
		t.Errorf("Compare (-want +got):\n%s", diff)
	}
}

// TestRepacked reads on while another process repacks and fetches.
func TestRepacked(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	r := open(t, repo.Dir)
	walk(t, r, "", "main", controls{})
	repo.Write("requests/b.yaml", "b").Commit(CommitOptions{Message: "later"})
	repo.Git("gc", "-q", "--prune=now")
	if got := walk(t, r, "", "main", controls{}); len(got) != 5 || got[4] != "  A requests/b.yaml" {
		t.Errorf("walk = %q", got)
	}
	repo.Write("requests/c.yaml", "c").Commit(CommitOptions{Message: "again"})
	repo.Git("repack", "-q", "-a", "-d", "-f")
	if got := walk(t, r, "", "main", controls{}); len(got) != 7 {
		t.Errorf("walk = %q", got)
	}
}

func TestRewritten(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	root := repo.Head()
	old := repo.Write("requests/b.yaml", "b").Commit(CommitOptions{Message: "will go"})
	repo.Git("reset", "-q", "--hard", root)
	fresh := repo.Write("requests/c.yaml", "c").Commit(CommitOptions{Message: "came instead"})
	r := open(t, repo.Dir)
	for _, tt := range []struct {
		a, b string
		want bool
	}{{root, fresh, true}, {root, root, true}, {old, fresh, false}, {fresh, root, false}} {
		if got, err := r.IsAncestor(t.Context(), tt.a, tt.b); err != nil || got != tt.want {
			t.Errorf("IsAncestor(%s, %s) = %t, %v, want %t", tt.a, tt.b, got, err, tt.want)
		}
	}
	if _, err := r.IsAncestor(t.Context(), strings.Repeat("1", 40), fresh); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("IsAncestor of nothing = %v, want ErrNotFound", err)
	}
	for commit, want := range map[string]bool{root: true, old: false, strings.Repeat("1", 40): false} {
		if got, err := r.Contains(t.Context(), "main", commit); err != nil || got != want {
			t.Errorf("Contains(%s) = %t, %v, want %t", commit, got, err, want)
		}
	}
	if _, err := tryWalk(t, r, old, "main", controls{}); err == nil {
		t.Error("a walk from a commit that was rewritten away succeeded")
	}
}

// TestDifferential holds random histories against git: branches, merges of merges, clocks that lie.
func TestDifferential(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			differential(t, seed)
		})
	}
}

func differential(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	repo := begun(t)
	base := repo.Now
	clock := func() {
		switch seed % 3 {
		case 1: // Every commit in one second, as scripts make them.
			repo.Now = base
		case 2: // Clocks that lie, hours back and forth.
			repo.Now = base.Add(time.Duration(rnd.IntN(600)) * time.Minute)
		}
	}
	step := func() {
		clock()
		for range 1 + rnd.IntN(3) {
			p := fmt.Sprintf("requests/%d/%d.yaml", rnd.IntN(3), rnd.IntN(6))
			switch rnd.IntN(5) {
			case 0:
				repo.Delete(p)
			case 1:
				repo.Delete(fmt.Sprintf("requests/%d", rnd.IntN(3)))
			default:
				repo.Write(p, fmt.Sprint(rnd.IntN(1000)))
			}
		}
		repo.Commit(CommitOptions{Message: fmt.Sprint("step ", rnd.Uint32())})
	}
	branches := 0
	for range 14 {
		switch rnd.IntN(4) {
		case 0:
			step()
		default:
			branches++
			name := fmt.Sprint("b", branches)
			from := "main"
			if branches > 2 && rnd.IntN(3) == 0 {
				from = fmt.Sprint("b", 1+rnd.IntN(branches-1))
			}
			repo.Branch(name, from)
			for range 1 + rnd.IntN(3) {
				step()
			}
			if rnd.IntN(3) == 0 {
				_, _ = repo.Try("merge", "-q", "-X", "ours", "-m", "update "+name, "main")
				settle(repo)
			}
			repo.Checkout("main")
			if rnd.IntN(2) == 0 {
				step()
			}
			clock()
			_, _ = repo.Try("merge", "-q", "--no-ff", "-X", "theirs", "-m", "land "+name, name)
			settle(repo)
		}
	}
	if seed%2 == 0 {
		repo.Git("gc", "-q", "--prune=now")
	}
	r := open(t, repo.Dir)
	var got strings.Builder
	err := r.Walk(t.Context(), "", repo.Head(), everything{}, func(c *history.Commit) error {
		fmt.Fprintln(&got, c.Hash)
		for _, x := range c.Changes {
			fmt.Fprintf(&got, "%06o %06o %s %s %s\n", x.Before.Mode, x.After.Mode, orZero(x.Before.Blob), orZero(x.After.Blob), x.Path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, l := range strings.Split(repo.Git("log", "--first-parent", "--reverse", "--raw", "-m", "--root", "--no-renames", "--no-abbrev", "--format=%H"), "\n") {
		if f := strings.Fields(strings.TrimPrefix(l, ":")); len(f) == 6 {
			fmt.Fprintln(&want, f[0], f[1], f[2], f[3], f[5])
		} else if l != "" {
			fmt.Fprintln(&want, l)
		}
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("walk (-git +ours):\n%s", diff)
	}
	// git rev-list b ^a goes by the clocks and is wrong where they lie: the graph itself is the oracle.
	parents := map[string][]string{}
	for _, l := range strings.Split(repo.Git("rev-list", "--all", "--parents"), "\n") {
		f := strings.Fields(l)
		parents[f[0]] = f[1:]
	}
	var reach func(into map[string]bool, from string) map[string]bool
	reach = func(into map[string]bool, from string) map[string]bool {
		if !into[from] {
			into[from] = true
			for _, p := range parents[from] {
				reach(into, p)
			}
		}
		return into
	}
	commits := slices.Sorted(maps.Keys(parents))
	for range 200 {
		a, b := commits[rnd.IntN(len(commits))], commits[rnd.IntN(len(commits))]
		between, err := r.CommitsBetween(t.Context(), a, b)
		if err != nil {
			t.Fatal(err)
		}
		var hashes []string
		for _, c := range between {
			hashes = append(hashes, c.Hash)
		}
		known := reach(map[string]bool{}, a)
		want := slices.DeleteFunc(slices.Sorted(maps.Keys(reach(map[string]bool{}, b))), func(c string) bool { return known[c] })
		slices.Sort(hashes)
		if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(hashes, "\n")); diff != "" {
			t.Errorf("CommitsBetween(%s, %s) (-want +got):\n%s", a, b, diff)
		}
		bases, _ := repo.Try("merge-base", "--all", a, b)
		base, err := r.MergeBase(t.Context(), a, b)
		switch want := strings.Fields(bases); {
		case len(want) == 1 && base != want[0]:
			t.Errorf("MergeBase(%s, %s) = %s, %v, want %s", a, b, base, err, want[0])
		case len(want) > 1 && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d merge bases", len(want)))):
			t.Errorf("MergeBase(%s, %s) = %s, %v, want an error that there are %d", a, b, base, err, len(want))
		}
		_, no := repo.Try("merge-base", "--is-ancestor", a, b)
		if ancestor, err := r.IsAncestor(t.Context(), a, b); err != nil || ancestor != (no == nil) {
			t.Errorf("IsAncestor(%s, %s) = %t, %v, want %t", a, b, ancestor, err, no == nil)
		}
	}
}

func orZero(hash string) string {
	if hash == "" {
		return strings.Repeat("0", 40)
	}
	return hash
}

// settle ends a merge that a deletion on one side left open.
func settle(repo *Repo) {
	if _, err := repo.Try("rev-parse", "-q", "--verify", "MERGE_HEAD"); err == nil {
		repo.Commit(CommitOptions{Message: "settle"})
	}
}

// TestSkew has a base whose clock went back for a while, so that its old commits look younger than its new ones.
func TestSkew(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	for i := range 5 {
		repo.Write("requests/a.yaml", fmt.Sprint(i)).Commit(CommitOptions{Message: fmt.Sprint("good clock ", i)})
	}
	fork := repo.Head()
	now := repo.Now
	repo.Now = now.AddDate(-20, 0, 0)
	for i := range 30 {
		repo.Write("requests/b.yaml", fmt.Sprint(i)).Commit(CommitOptions{Message: fmt.Sprint("bad clock ", i)})
	}
	repo.Branch("topic", fork)
	repo.Now = now
	repo.Write("requests/c.yaml", "c").Commit(CommitOptions{Message: "asked"})
	repo.Checkout("main").Land(Merge, MergeOptions{}, "topic")
	r := open(t, repo.Dir)
	if diff := cmp.Diff([]string{"asked"}, merged(t, r, "main")); diff != "" {
		t.Errorf("merged commits (-want +got):\n%s", diff)
	}
}

// TestSkewBelowMerge has a branch that reaches an old commit twice: by itself, and through the base, by commits
// whose clock was far behind and unsteady.
func TestSkewBelowMerge(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	tree := repo.Git("rev-parse", "HEAD^{tree}")
	start := repo.Now
	commit := func(minute int, parents ...string) string {
		repo.Now = start.Add(time.Duration(minute) * time.Minute)
		return repo.CommitTree(tree, fmt.Sprintln("at", minute), parents...)
	}
	old := commit(1000, repo.Head())
	for i := range 20 {
		old = commit(1001+i, old)
	}
	low := old
	for i := range 40 {
		low = commit(-100+i-3*(i%2), low)
	}
	fork := commit(900, low)
	base := commit(2000, fork)
	beside := commit(1500, old)
	head := commit(2000, beside, fork)
	r := open(t, repo.Dir)
	commits, err := r.CommitsBetween(t.Context(), base, head)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range commits {
		got = append(got, c.Hash)
	}
	if diff := cmp.Diff([]string{head, beside}, got); diff != "" {
		t.Errorf("CommitsBetween (-want +got):\n%s", diff)
	}
}

func TestTooManyCommits(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	root := repo.Head()
	tree := repo.Git("rev-parse", "HEAD^{tree}")
	var in strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&in, "commit refs/heads/long\ncommitter %s %d +0000\ndata 1\nx\n", Alice(), repo.Now.Unix()+int64(i))
		if i == 0 {
			fmt.Fprintf(&in, "from %s\n", root)
		}
	}
	repo.GitInput(in.String(), "fast-import", "--quiet")
	merge := repo.CommitTree(tree, "merge\n", root, repo.Git("rev-parse", "long"))
	r := open(t, repo.Dir)
	c, err := r.Commit(merge)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.MergedCommits(t.Context(), c); err == nil || !strings.Contains(err.Error(), "1001 commits (expected at most 1000)") {
		t.Errorf("MergedCommits = %v", err)
	}
}
