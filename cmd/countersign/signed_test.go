package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors/casbin"
)

// keys makes an SSH key for somebody and returns its file and its line of an allowed signers file.
func keys(t *testing.T, dir string, p who) (file, line string) {
	t.Helper()
	file = filepath.Join(dir, p.name)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", p.mail, "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen (run .ci/test, which installs it): %v\n%s", err, out)
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, p.mail + ` namespaces="git" ` + string(public)
}

// TestSignedMerges lets only the verified signer of a merge commit sign off.
func TestSignedMerges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bobKey, bobLine := keys(t, dir, bob())
	carolKey, carolLine := keys(t, dir, carol())
	aliceKey, aliceLine := keys(t, dir, alice())
	strayKey, _ := keys(t, dir, mallory())
	_, expiredLine := keys(t, dir, who{"Frank", "frank@acme.test"})
	expiredLine = strings.Replace(expiredLine, `namespaces="git"`, `namespaces="git",valid-before="20250101"`, 1)
	tests := []struct {
		name, key string
		merger    who
		trailer   who
		style     string
		branch    string    // the key of the branch's commit, alice's where it is ""
		tags      []who     // who signs a tag on the branch's head
		base      string    // the base that the tags name, main where it is ""
		dated     time.Time // the merge commit's own time, where it is false
		code      int
		output    string
	}{
		{name: "the owner signs", key: bobKey, merger: bob()},
		{name: "the owner signs a squash", key: bobKey, merger: bob(), style: "squash", code: 4, output: "the signature shows who made the commit"},
		{name: "the branch is not signed", key: bobKey, merger: bob(), branch: "none", code: 4, output: "it is not signed"},
		{name: "the owner signs the branch under another's name", key: bobKey, merger: bob(), branch: bobKey, code: 4, output: "authored part of this change"},
		{name: "the owner signs a tag", merger: carol(), tags: []who{bob()}},
		{name: "two sign tags, and one of them may", merger: mallory(), tags: []who{carol(), bob()}},
		{name: "a tag on top of another base", merger: carol(), tags: []who{bob()}, base: strings.Repeat("a", 40), code: 4, output: "is not a commit of the branch before the merge"},
		{name: "nobody signs, a trailer names the owner", merger: bob(), trailer: bob(), code: 4, output: "QUARANTINED"},
		{name: "a key that is not allowed", key: strayKey, merger: bob(), code: 4, output: "not in the allowed signers"},
		{name: "somebody else's key under the owner's name", key: carolKey, merger: bob(), code: 4, output: "belongs to carol@acme.test"},
		{name: "a signer who owns nothing", key: carolKey, merger: carol(), code: 4, output: "QUARANTINED"},
		{name: "a key whose time is over", key: filepath.Join(dir, "Frank"), merger: who{"Frank", "frank@acme.test"}, code: 4, output: "not valid for commits at"},
		{name: "a key whose time is over, the commit dated back", key: filepath.Join(dir, "Frank"), merger: who{"Frank", "frank@acme.test"},
			dated: time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC), code: 4, output: "not valid for commits at"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, map[string]string{
				"countersign.yaml":        strings.ReplaceAll(settingsFile, "signoff: unauthenticated", "allowed_signers: allowed_signers"),
				"allowed_signers":         aliceLine + bobLine + carolLine + expiredLine,
				"people.yaml":             peopleFile,
				"applications/authz.yaml": authzFile, ".gitignore": "authz/\n", "requests/base.yaml": creation("base", "sales_reader"),
			})
			if err := os.MkdirAll(filepath.Join(w.dir, "authz"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := casbin.Init(filepath.Join(w.dir, "authz", "policy.csv"), casbin.Contents{Users: []string{"dave"}}); err != nil {
				t.Fatal(err)
			}
			w.must(0, "apply")
			w.now = w.now.Add(time.Hour)
			w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave()})
			if tc.branch == "" {
				tc.branch = aliceKey
			}
			if tc.branch != "none" {
				w.git(alice(), "checkout", "-q", "x")
				w.git(alice(), "-c", "gpg.format=ssh", "-c", "user.signingkey="+tc.branch, "commit", "-q", "--amend", "--no-edit", "-S")
				w.git(alice(), "checkout", "-q", "main")
			}
			if tc.base == "" {
				tc.base = strings.TrimSpace(w.git(alice(), "rev-parse", "main"))
			}
			for _, by := range tc.tags {
				w.git(by, "-c", "gpg.format=ssh", "-c", "user.signingkey="+filepath.Join(dir, by.name), "tag", "-s", "-m", "Base: "+tc.base, "ok-"+by.name, "x")
			}
			if tc.style == "" {
				tc.style = "merge"
			}
			now := w.now
			if !tc.dated.IsZero() {
				w.now = tc.dated
			}
			w.merge(tc.merger, tc.style, "x", tc.trailer)
			if tc.key != "" {
				w.git(tc.merger, "-c", "gpg.format=ssh", "-c", "user.signingkey="+tc.key, "commit", "-q", "--amend", "--no-edit", "-S")
			}
			w.now = now
			r := w.run("apply")
			if r.code != tc.code {
				t.Fatalf("apply: exit code %d, want %d\n%s%s", r.code, tc.code, r.out, r.errors)
			}
			if !strings.Contains(strings.Join(strings.Fields(r.out), " "), tc.output) {
				t.Errorf("apply doesn't print %q:\n%s", tc.output, r.out)
			}
			want := ""
			if tc.code == 0 {
				want = "dave"
			}
			if got := w.members(); got != want {
				t.Errorf("in sales_reader: %q, want %q", got, want)
			}
		})
	}
}

// TestSignedTagIsGoodForOneMerge undoes a change that a tag signed off, and brings the same commit again.
func TestSignedTagIsGoodForOneMerge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bobKey, bobLine := keys(t, dir, bob())
	aliceKey, aliceLine := keys(t, dir, alice())
	w := newWorld(t, map[string]string{
		"countersign.yaml": strings.ReplaceAll(settingsFile, "signoff: unauthenticated", "allowed_signers: allowed_signers"),
		"allowed_signers":  aliceLine + bobLine, "people.yaml": peopleFile,
		"applications/authz.yaml": authzFile, ".gitignore": "authz/\n", "requests/base.yaml": creation("base", "sales_reader"),
	})
	if err := os.MkdirAll(filepath.Join(w.dir, "authz"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := casbin.Init(filepath.Join(w.dir, "authz", "policy.csv"), casbin.Contents{Users: []string{"dave"}}); err != nil {
		t.Fatal(err)
	}
	sign := func(by who, key string, args ...string) {
		w.git(by, append([]string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + key}, args...)...)
	}
	w.must(0, "apply")
	base := strings.TrimSpace(w.git(alice(), "rev-parse", "main"))
	w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave()})
	w.git(alice(), "checkout", "-q", "x")
	sign(alice(), aliceKey, "commit", "-q", "--amend", "--no-edit", "-S")
	w.git(alice(), "checkout", "-q", "main")
	sign(bob(), bobKey, "tag", "-s", "-m", "Base: "+base, "ok-bob", "x")
	w.merge(alice(), "merge", "x", who{})
	w.must(0, "apply")
	// Bob signs off the undoing by merging it.
	w.git(alice(), "checkout", "-q", "-b", "undo")
	w.git(alice(), "rm", "-q", "requests/dave.yaml")
	sign(alice(), aliceKey, "commit", "-q", "-S", "-m", "Undo")
	w.git(alice(), "checkout", "-q", "main")
	w.merge(bob(), "merge", "undo", who{})
	sign(bob(), bobKey, "commit", "-q", "--amend", "--no-edit", "-S")
	w.must(0, "apply")
	if got := w.members(); got != "" {
		t.Fatalf("in sales_reader: %q", got)
	}
	// Git itself would not merge it again; its plumbing does.
	tree := strings.TrimSpace(w.git(alice(), "rev-parse", "x^{tree}"))
	again := strings.TrimSpace(w.git(alice(), "commit-tree", "-p", "main", "-p", "x", "-m", "Again", tree))
	w.git(alice(), "reset", "-q", "--hard", again)
	r := w.run("apply")
	if got := w.members(); got != "" || r.code != 4 || !strings.Contains(strings.Join(strings.Fields(r.out), " "), "was merged before") {
		t.Errorf("apply: exit code %d, in sales_reader: %q\n%s", r.code, got, r.out)
	}
}
